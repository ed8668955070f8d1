# ruff: noqa: E501 - files are written as their makers write them
"""After an import with default settings no file of the store holds a word of what people and models said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.importing import ImportReport, import_paths
from inferometer.store import open_store

SECRET = "hunter2-xyzzy"
SAID = f"my password is {SECRET}, keep it"


def otlp(attributes: dict[str, Any], scope: str | None = None, events: list[dict[str, Any]] | None = None) -> bytes:
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    span = {
        "traceId": "0" * 31 + "1",
        "spanId": "0" * 15 + "1",
        "name": "chat gpt-4o",
        "startTimeUnixNano": "1750000000000000000",
        "endTimeUnixNano": "1750000001000000000",
        "status": {"code": 2, "message": SAID},
        "attributes": pairs,
        "events": events or [],
        "links": [{"traceId": "0" * 31 + "2", "spanId": "0" * 15 + "2", "attributes": pairs[:1]}],
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": scope or ""}, "spans": [span]}]}]}).encode()


MESSAGES = json.dumps([{"role": "user", "parts": [{"type": "text", "content": SAID}]}])
EVENTS = [
    {"name": "gen_ai.user.message", "attributes": [{"key": "content", "value": {"stringValue": SAID}}]},
    {"name": "exception", "attributes": [{"key": "exception.message", "value": {"stringValue": SAID}}]},
]
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}

SPANS: dict[str, bytes] = {
    "gen_ai": otlp({
        **CHAT, "gen_ai.input.messages": MESSAGES, "gen_ai.output.messages": MESSAGES, "gen_ai.system_instructions": SAID,
        "gen_ai.prompt.0.content": SAID, "gen_ai.completion.0.content": SECRET, "gen_ai.tool.definitions": SAID,
    }, events=EVENTS),
    "tool": otlp({**TOOL, "gen_ai.tool.call.arguments": json.dumps({"q": SECRET}), "gen_ai.tool.call.result": SECRET}),
    "openinference": otlp({
        "openinference.span.kind": "LLM", "input.value": SECRET, "output.value": SAID,
        "llm.input_messages.0.message.content": SECRET, "llm.output_messages.0.message.content": SAID,
        "llm.invocation_parameters": json.dumps({"stop": SECRET}), "llm.prompt_template.variables": SECRET,
        "metadata": json.dumps({"note": SECRET}), "retrieval.documents.0.document.content": SECRET,
    }, "openinference.instrumentation.openai", EVENTS),
    "openllmetry": otlp({
        "traceloop.span.kind": "tool", "traceloop.entity.input": SECRET, "traceloop.entity.output": SAID,
        "traceloop.association.properties.note": SAID,
    }),
    "ai": otlp({
        "ai.operationId": "ai.generateText.doGenerate", "ai.prompt": SECRET, "ai.prompt.messages": MESSAGES,
        "ai.response.text": SECRET, "ai.response.toolCalls": SAID, "ai.toolCall.args": SECRET,
        "ai.response.providerMetadata": json.dumps({"x": SECRET}), "ai.request.headers.authorization": SECRET,
    }, "ai"),
    "langfuse": otlp({
        "langfuse.observation.type": "generation", "langfuse.observation.input": SECRET,
        "langfuse.observation.output": SAID, "langfuse.trace.input": SECRET, "langfuse.observation.metadata.x": SECRET,
    }, "langfuse-sdk"),
    "pydantic-ai": otlp({**CHAT, "all_messages_events": MESSAGES, "final_result": SECRET, "events": MESSAGES}, "pydantic-ai"),
    "mlflow": otlp({"mlflow.spanType": '"LLM"', "mlflow.spanInputs": SECRET, "mlflow.spanOutputs": SECRET}, "mlflow"),
    "langsmith": otlp({"langsmith.span.kind": "llm", "gen_ai.prompt": SECRET, "langsmith.metadata.q": SECRET}, "langsmith"),
    "adk": otlp({
        "gcp.vertex.agent.llm_request": json.dumps({"contents": SECRET}), "gcp.vertex.agent.tool_call_args": SECRET,
    }, "gcp.vertex.agent"),
    "claude-code": otlp({"span.type": "tool", "full_command": SECRET, "file_path": SECRET, "user_prompt": SECRET}, "com.anthropic.claude_code"),
    "person": otlp({**CHAT, "user.id": SECRET, "enduser.id": SECRET, "user.email": SECRET, "ai.telemetry.metadata.userId": SECRET}),
    "unknown": otlp({"app.question": SECRET, "my.prompt": SECRET, "notes": SAID, "customer_message": SECRET}),
}  # fmt: skip

USAGE = {"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
TRANSCRIPT = [
    {"type": "user", "uuid": "1", "sessionId": "s", "timestamp": "2026-01-01T00:00:00Z", "cwd": f"/home/{SECRET}",
     "message": {"role": "user", "content": SAID}},
    {"type": "assistant", "uuid": "2", "sessionId": "s", "timestamp": "2026-01-01T00:00:02Z", "gitBranch": SECRET,
     "message": {"role": "assistant", "id": "m", "model": "claude-opus-4-7", "usage": USAGE, "content": [
         {"type": "text", "text": SAID}, {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": SECRET}}]}},
    {"type": "user", "uuid": "3", "sessionId": "s", "timestamp": "2026-01-01T00:00:03Z", "toolUseResult": {"stdout": SECRET},
     "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": SECRET}]}},
]  # fmt: skip
PI = [
    {"type": "session", "id": "p", "cwd": f"/home/{SECRET}"},
    {"type": "message", "message": {"role": "user", "content": [{"type": "text", "text": SAID}]}},
    {"type": "message", "message": {"role": "assistant", "model": "gpt-5", "usage": {"input": 1, "output": 2}, "errorMessage": SECRET,
     "content": [{"type": "text", "text": SAID}, {"type": "toolCall", "id": "t", "name": "bash", "arguments": {"c": SECRET}}]}},
]  # fmt: skip
TRAJECTORY = {
    "environment": "swe_main",
    "trajectory": [{"response": SAID, "thought": SECRET}],
    "history": [{"role": "user", "content": SECRET}, {"role": "assistant", "content": SAID}],
    "info": {"submission": SECRET, "exit_status": "submitted", "model_stats": {"tokens_sent": 5, "tokens_received": 2}},
}
LMCACHE = {"timestamp": 1760428436442742, "input": SECRET, "output": SAID, "session_id": "l"}
TAU = [{"task_id": 0, "reward": 1.0, "info": {"task": {"instruction": SAID}}, "traj": [{"role": "user", "content": SECRET}, {"role": "assistant", "content": SAID}]}]  # fmt: skip
OPENHANDS = {
    "instruction": SECRET, "instance_id": "a", "git_patch": SECRET, "metrics": {"costs": [0.1]},
    "history": [{"action": "run", "command": SECRET, "thought": SAID}, {"observation": "run", "content": SECRET}],
}  # fmt: skip
LANGFUSE = {
    "trace": {"id": "0" * 32, "input": SAID, "userId": SECRET, "name": "t", "scores": [{"name": "ok", "value": 1, "comment": SAID}]},
    "observations": [{"id": "0" * 16, "traceId": "0" * 32, "type": "GENERATION", "name": "chat", "input": SECRET, "output": SAID,
                      "startTime": "2026-01-01T00:00:00Z", "statusMessage": SECRET, "metadata": {"attributes": {"input.value": SECRET}}}],
}  # fmt: skip
CASSETTE = f"""interactions:
- request:
    body: '{json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": SECRET}]})}'
    uri: https://api.openai.com/v1/chat/completions
    headers: {{Authorization: ['{SECRET}']}}
  response:
    body: {{string: '{json.dumps({"model": "gpt-4o", "choices": [{"message": {"content": SECRET}}]})}'}}
    status: {{code: 200}}
"""


def lines(entries: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(entry).encode() for entry in entries)


FILES: dict[str, bytes] = {
    **{f"{name}.json": body for name, body in SPANS.items()},
    "claude.jsonl": lines(TRANSCRIPT),
    "pi.jsonl": lines(PI),
    "run.traj": json.dumps(TRAJECTORY).encode(),
    "lmcache.jsonl": lines([LMCACHE, LMCACHE]),
    "tau.json": json.dumps(TAU).encode(),
    "openhands.jsonl": lines([OPENHANDS, OPENHANDS]),
    "langfuse.json": json.dumps(LANGFUSE).encode(),
    "cassette.yaml": CASSETTE.encode(),
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_word_of_content_reaches_the_store(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    folder = tmp_path / "store"
    folder.mkdir()
    with open_store(str(folder / "store.db")) as store:
        report = import_paths(store, [path])
        assert (report.files, report.failed) == (1, []), name
        assert report.spans >= 1
        # while the store is open its write-ahead log is a file of its own
        kept = b"".join(file.read_bytes() for file in folder.iterdir())
    kept += b"".join(file.read_bytes() for file in folder.iterdir())
    assert SECRET.encode() not in kept
    assert b"password" not in kept


def test_content_is_kept_where_asked_for(tmp_path: Path, load: Callable[..., ImportReport]) -> None:
    path = tmp_path / "span.json"
    path.write_bytes(SPANS["gen_ai"])
    load(path, keep_content=True)
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
    assert SECRET.encode() in kept


PERSON = "anna.karenina@example.org"
PERSONS = {
    "span.json": otlp({**CHAT, "gen_ai.input.messages": MESSAGES, "user.id": PERSON, "enduser.id": PERSON,
                       "user.email": PERSON, "ai.telemetry.metadata.userId": PERSON}),
    "openllmetry.json": otlp({"traceloop.span.kind": "workflow", "traceloop.association.properties.user_id": PERSON}),
    "langsmith.json": otlp({"langsmith.span.kind": "llm", "langsmith.metadata.user_id": PERSON}, "langsmith"),
    "langfuse.json": json.dumps({**LANGFUSE, "trace": {**LANGFUSE["trace"], "userId": PERSON}}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("keep_content", [False, True])
@pytest.mark.parametrize("name", sorted(PERSONS))
def test_person_is_a_pseudonym_whether_content_is_kept_or_not(tmp_path: Path, name: str, keep_content: bool) -> None:
    path = tmp_path / name
    path.write_bytes(PERSONS[name])
    folder = tmp_path / "store"
    folder.mkdir()
    with open_store(str(folder / "store.db")) as store:
        import_paths(store, [path], keep_content=keep_content)
        users = {span.user_id for run in store.runs() for span in store.spans_of_run(run.run_id)}
    kept = b"".join(file.read_bytes() for file in folder.iterdir())
    assert PERSON.encode() not in kept
    assert [len(user) for user in users if user is not None] == [16]
