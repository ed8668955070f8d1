"""A small real agent loop over the ``openai`` SDK: tools, a sub-agent, streaming, a rate limit on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import inferometer

if TYPE_CHECKING:
    from openai import OpenAI

MODEL = "gpt-4o-2024-08-06"
SMALL_MODEL = "gpt-4o-mini-2024-07-18"
MAX_TURNS = 8
QUESTIONS = (
    "How many orders were late last week, and why?",
    "Which supplier caused most of the delays?",
    "Draft a note to that supplier.",
)
_PLAYBOOK = " ".join(
    f"Rule {number}: check the figures of warehouse {number} against the ledger before you report them, name the "
    "source of each number, and say what is not known."
    for number in range(1, 90)
)


@inferometer.tool
def query_orders(week: str) -> str:
    """Look orders up."""
    return json.dumps([{"order": 1000 + place, "late_days": place % 4, "week": week[:40]} for place in range(40)])


@inferometer.tool
def read_ledger(warehouse: int) -> str:
    """Read a warehouse's ledger."""
    return json.dumps({"warehouse": warehouse, "rows": [[day, day * 7 % 11] for day in range(60)]})


class DemoAgent:
    """Answers questions about orders.

    Args:
        client: an ``openai.OpenAI`` client.
    """

    def __init__(self, client: OpenAI) -> None:
        self._client = client
        self._tools: dict[str, tuple[Callable[..., str], dict[str, Any]]] = {
            "query_orders": (query_orders, _schema("query_orders", week="string")),
            "read_ledger": (read_ledger, _schema("read_ledger", warehouse="integer")),
            "ask_researcher": (self._research, _schema("ask_researcher", question="string")),
        }

    @inferometer.agent(name="orders")
    def answer(self, question: str) -> str:
        """Answer one question with tools, a sub-agent and a streamed text."""
        messages: list[Any] = [{"role": "system", "content": _PLAYBOOK}, {"role": "user", "content": question}]
        schemas: Any = [schema for _, schema in self._tools.values()]
        for turn in range(MAX_TURNS):
            with inferometer.step(f"turn {turn + 1}"):
                reply = self._client.chat.completions.create(model=MODEL, messages=messages, tools=schemas)
                message: Any = reply.choices[0].message
                if not message.tool_calls:
                    break
                messages.append(message.model_dump(exclude_none=True))
                for call in message.tool_calls:
                    function, _ = self._tools[call.function.name]
                    result = function(**json.loads(call.function.arguments))
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        text = "".join(self._write(messages))
        inferometer.outcome("resolved", True)
        return text

    @inferometer.step(name="write")
    def _write(self, messages: list[Any]) -> Iterator[str]:
        stream: Any = self._client.chat.completions.create(model=MODEL, messages=messages, stream=True)
        for chunk in stream:
            yield chunk.choices[0].delta.content or ""

    @inferometer.agent(name="researcher")
    def _research(self, question: str) -> str:
        """Answer a part of the question with a smaller model."""
        reply: Any = self._client.responses.create(model=SMALL_MODEL, input=question, instructions=_PLAYBOOK)
        return str(reply.output_text)


def _schema(name: str, **parameters: str) -> dict[str, Any]:
    properties = {parameter: {"type": kind} for parameter, kind in parameters.items()}
    body = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": f"Call {name}.", "parameters": body}}


def run_demo_agent() -> int:
    """Run the agent on a few questions of one conversation against the bundled model server.

    Returns:
        The number of model calls that the server answered.
    """
    from openai import OpenAI

    from inferometer.testing.model_stub import Failure, ModelStub

    with ModelStub(chunk_delay_s=0.002) as stub:
        stub.script(Failure(429, "too many requests", retry_after_s=0.01))
        with OpenAI(base_url=stub.openai_url, api_key="not-a-key", max_retries=2) as client:
            agent = DemoAgent(client)
            with inferometer.session("demo-conversation", user="demo-user"), inferometer.tag(team="demo"):
                for question in QUESTIONS:
                    agent.answer(question)
        return len(stub.requests)
