"""A small agent, traced: ``python examples/traced_agent.py``. It talks to the bundled model server, no key is needed.

With a real provider, leave out the server and its ``base_url``.
"""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI

import inferometer
from inferometer.testing.model_stub import ModelStub

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
        },
    }
]


@inferometer.tool
def find_order(number: int) -> str:
    """Look an order up."""
    return json.dumps({"order": number, "state": "on its way"})


@inferometer.agent(max_inferences=8, max_repeats=3)
def answer(client: OpenAI, question: str) -> str:
    """Answer one question, calling the tool as often as the model asks."""
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        with inferometer.step("turn"):
            reply: Any = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
            message = reply.choices[0].message
            if not message.tool_calls:
                inferometer.outcome("answered", True)
                return str(message.content)
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls:
                result = find_order(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def main() -> None:
    """Configure, hook, ask."""
    inferometer.configure(service="shop-agent")
    inferometer.instrument("openai")
    inferometer.session("chat-1", user="anna")
    with ModelStub() as server, OpenAI(base_url=server.openai_url, api_key="not-a-key") as client:
        print(answer(client, "Where is order 4711?"))
    inferometer.flush()
    print("look at it with: inferometer runs, inferometer cost, inferometer audit --html audit.html")


if __name__ == "__main__":
    main()
