"""What is not asked for is not kept: secrets planted everywhere, and everything exported searched for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

import inferometer
from inferometer.schema import attributes as names
from inferometer.testing import Recorded, record
from inferometer.testing.model_stub import Failure, ModelStub, Reply, ToolUse

SECRET = "Xyzzy-4711"


def _everything_with_secrets() -> None:
    """Make every kind of call, with a secret in every place that content can be in."""
    inferometer.instrument("openai")

    @inferometer.tool
    def look(key: str, more: dict[str, str]) -> str:
        return f"found {key} {more}"

    @inferometer.tool
    def fail(key: str) -> None:
        raise RuntimeError(f"no {key}")

    @inferometer.agent
    def clerk(question: str) -> str:
        look(SECRET, {SECRET: SECRET})
        with pytest.raises(RuntimeError):
            fail(SECRET)
        messages: Any = [
            {"role": "system", "content": SECRET},
            {"role": "user", "content": [{"type": "text", "text": question}]},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "look", "arguments": f'{{"key": "{SECRET}"}}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": SECRET},
        ]
        tools: Any = [{"type": "function", "function": {"name": "look", "description": SECRET, "parameters": {}}}]
        chat = client.chat.completions
        chat.create(model="gpt-4o", messages=messages, tools=tools, user=SECRET, stop=[SECRET], metadata={"a": SECRET})
        list(chat.create(model="gpt-4o", messages=messages, stream=True))
        client.responses.create(model="gpt-4o", input=SECRET, instructions=SECRET)
        client.embeddings.create(model="e", input=[SECRET])
        with pytest.raises(openai.BadRequestError):
            chat.create(model="gpt-4o", messages=messages)
        return SECRET

    with ModelStub() as stub, openai.OpenAI(base_url=stub.openai_url, api_key=SECRET, max_retries=0) as client:
        stub.script(Reply(tools=[ToolUse("look", {"key": SECRET})]), Reply(SECRET), Reply(SECRET), Failure(400, SECRET))
        with inferometer.session("chat", user=SECRET):
            clerk(SECRET)
    inferometer.uninstrument()


def _exported(recorded: Recorded) -> str:
    return "\n".join(span.to_json() for span in recorded.spans)


@pytest.mark.parametrize("capture", [None, "none", "metadata"])
def test_no_secret_leaves_by_default(capture: str | None, caplog: pytest.LogCaptureFixture) -> None:
    with record(capture=capture) as recorded:
        _everything_with_secrets()
        text = _exported(recorded)
    # the stop sequence is a parameter of the convention; nothing else may hold the secret
    assert text.count(SECRET) == (0 if capture == "none" else 1), text
    assert SECRET not in caplog.text.replace("Request options", "").split("inferometer")[-1]
    assert "gen_ai.request.model" in text


def test_no_secret_is_in_any_file_of_the_store(tmp_path: Path) -> None:
    inferometer.configure(store=str(tmp_path / "store.sqlite"), capture="none")
    _everything_with_secrets()
    inferometer.flush()
    files = list(tmp_path.iterdir())
    assert len(files) >= 1
    assert [file.name for file in files if SECRET.encode() in file.read_bytes()] == []
    inferometer.shutdown()


def test_content_is_kept_where_it_is_asked_for() -> None:
    with record(capture="content") as recorded:
        _everything_with_secrets()
        spans = recorded.spans
    kept = {name for span in spans for name, value in (span.attributes or {}).items() if SECRET in str(value)}
    assert kept == names.CONTENT | {names.REQUEST_STOP_SEQUENCES}


@pytest.mark.parametrize(
    ("switch", "kept"),
    [("true", True), ("SPAN_ONLY", True), ("span_and_event", True), ("NO_CONTENT", False), ("EVENT_ONLY", False)],
)
def test_switch_of_the_convention_is_honoured(switch: str, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", switch)
    with record() as recorded:
        _everything_with_secrets()
        assert (_exported(recorded).count(SECRET) > 1) is kept


def test_code_beats_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    with record(capture="none") as recorded:
        _everything_with_secrets()
        assert SECRET not in _exported(recorded)


def test_redaction_sees_all_content_and_its_failure_keeps_none() -> None:
    seen = set()

    def redact(name: str, text: str) -> str | None:
        seen.add(name)
        return None if name == names.TOOL_RESULT else text.replace(SECRET, "[cut]")

    with record(capture="content", redact=redact) as recorded:
        _everything_with_secrets()
        text = _exported(recorded)
    assert text.count(SECRET) == 1
    assert "[cut]" in text
    assert names.TOOL_RESULT not in text
    assert seen == names.CONTENT

    def fail(name: str, text: str) -> str:
        raise KeyError(text)

    with record(capture="content", redact=fail) as recorded:
        _everything_with_secrets()
        assert _exported(recorded).count(SECRET) == 1


def test_content_is_capped_and_the_cut_counted() -> None:
    with record(capture="content", content_bytes=100) as recorded:

        @inferometer.tool
        def look(text: str) -> str:
            return text

        look("ä" * 500)
        said = recorded.spans[0].attributes
    assert len(said[names.TOOL_RESULT].encode()) <= 100
    assert said[names.ATTRIBUTES_CUT] == 2


def test_fingerprints_tell_equal_calls_and_nothing_else(recorded: Recorded) -> None:
    @inferometer.tool
    def look(key: str, depth: int = 1) -> str:
        return key

    look("a", 2)
    look(depth=2, key="a")
    look("b", 2)
    first, second, third = (span.attributes[names.ARGUMENT_FINGERPRINT] for span in recorded.spans)
    assert first == second != third


def test_objects_are_told_apart_by_what_they_hold(recorded: Recorded) -> None:
    class Order:
        def __init__(self, number: int) -> None:
            self.number = number

    @inferometer.tool
    def look(order: Order) -> None: ...

    for number in (1, 1, 2):
        look(Order(number))
    first, second, third = (span.attributes[names.ARGUMENT_FINGERPRINT] for span in recorded.spans)
    assert first == second != third


def test_arguments_changed_after_the_call_do_not_change_its_fingerprint(recorded: Recorded) -> None:
    @inferometer.tool
    def look(keys: list[str]) -> None: ...

    keys = ["a"]
    look(keys)
    keys.append("b")
    look(["a"])
    first, second = (span.attributes[names.ARGUMENT_FINGERPRINT] for span in recorded.spans)
    assert first == second
