"""The model server is deterministic and behaves as providers do."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from inferometer.testing.model_stub import ModelStub, Reply


def _ask(stub: ModelStub, path: str, **body: Any) -> Any:
    request = urllib.request.Request(stub.openai_url + path, json.dumps(body).encode())
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read())


def _conversation(turns: int) -> list[str]:
    with ModelStub() as stub:
        return [
            json.dumps(
                _ask(stub, "/chat/completions", model="m", messages=[{"role": "user", "content": f"turn {turn}"}])
            )
            for turn in range(turns)
        ]


def test_same_requests_get_the_same_answers() -> None:
    assert _conversation(5) == _conversation(5)


def test_prompts_that_begin_alike_are_read_from_the_cache() -> None:
    long = "a long beginning " * 400
    with ModelStub() as stub:
        first, second, third = (
            _ask(stub, "/chat/completions", model="m", messages=[{"role": "user", "content": text}])["usage"]
            for text in (long + "one", long + "two", "short")
        )
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert second["prompt_tokens_details"]["cached_tokens"] >= 1024
    assert second["prompt_tokens_details"]["cached_tokens"] % 128 == 0
    assert third["prompt_tokens_details"]["cached_tokens"] == 0


def test_offered_tools_are_called_one_after_the_other_then_comes_a_text() -> None:
    tools = [
        {
            "type": "function",
            "function": {"name": name, "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        }
        for name in ("first", "second")
    ]
    messages: list[Any] = [{"role": "user", "content": "go"}]
    called = []
    with ModelStub() as stub:
        for _ in range(3):
            message = _ask(stub, "/chat/completions", model="m", messages=messages, tools=tools)["choices"][0][
                "message"
            ]
            if not message.get("tool_calls"):
                break
            (call,) = message["tool_calls"]
            called.append((call["function"]["name"], json.loads(call["function"]["arguments"])))
            messages += [message, {"role": "tool", "tool_call_id": call["id"], "content": "ok"}]
    assert called == [("first", {"n": 1}), ("second", {"n": 1})]
    assert message["content"]


def test_scripted_answers_come_first_and_requests_are_kept() -> None:
    with ModelStub() as stub:
        stub.script(Reply("scripted", input_tokens=5, output_tokens=1))
        answer = _ask(stub, "/chat/completions", model="m", messages=[])
        assert answer["choices"][0]["message"]["content"] == "scripted"
        assert answer["usage"]["prompt_tokens"] == 5
        assert stub.requests[0].path == "/v1/chat/completions"
        assert stub.requests[0].body["model"] == "m"
