"""Recorded traffic: what was asked for again is one call, what is no call to a model is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.importing import ImportReport
from inferometer.store import Store

Load = Callable[..., ImportReport]

API = "https://api.openai.com/v1"
RUN_USAGE = {
    "prompt_tokens": 381,
    "completion_tokens": 89,
    "total_tokens": 470,
    "prompt_token_details": {"cached_tokens": 256},
}


def exchange(method: str, path: str, answer: dict[str, Any], second: int = 0) -> dict[str, Any]:
    return {
        "request": {"method": method, "uri": f"{API}/{path}", "body": "{}"},
        "response": {
            "status": {"code": 200},
            "headers": {"Content-Type": ["application/json"], "Date": [f"Thu, 01 Jan 2026 00:00:{second:02} GMT"]},
            "body": {"string": json.dumps(answer)},
        },
    }


def run_of(name: str, status: str, usage: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": name, "object": "thread.run", "status": status, "model": "gpt-4o-mini", "usage": usage}


def write(path: Path, *exchanges: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"interactions": list(exchanges)}))
    return path


def test_assistants_run_that_is_polled_is_one_call(tmp_path: Path, store: Store, load: Load) -> None:
    runs = "threads/thread_1/runs"
    done = run_of("run_1", "completed", RUN_USAGE)
    report = load(write(
        tmp_path / "cassette.json",
        exchange("POST", "assistants", {"id": "asst_1", "object": "assistant", "model": "gpt-4o-mini"}),
        exchange("POST", "threads", {"id": "thread_1", "object": "thread"}),
        exchange("POST", "threads/thread_1/messages", {"id": "msg_1", "object": "thread.message", "role": "user"}),
        exchange("POST", runs, run_of("run_1", "queued")),
        exchange("GET", f"{runs}/run_1", run_of("run_1", "in_progress"), 1),
        exchange("GET", f"{runs}/run_1", run_of("run_1", "requires_action"), 2),
        exchange("POST", f"{runs}/run_1/submit_tool_outputs", run_of("run_1", "queued"), 3),
        exchange("GET", f"{runs}/run_1", done, 4),
        exchange("GET", f"{runs}/run_1?include=x", done, 5),
        exchange("GET", runs, {"object": "list", "data": [done]}, 6),
        exchange("GET", f"{runs}/run_1/steps", {"object": "list", "data": [{"usage": RUN_USAGE}]}, 7),
        exchange("GET", "threads/thread_1/messages", {"object": "list", "data": []}, 8),
        exchange("POST", "threads/runs", run_of("run_2", "queued"), 9),
        exchange("GET", "threads/thread_2/runs/run_2", run_of("run_2", "completed", RUN_USAGE), 10),
    ))  # fmt: skip
    assert (report.inferences, report.warnings["other_requests"]) == (2, 6)
    for row in store.inferences():
        assert row.inference.meters.as_dict() == {"input_fresh": 125, "cache_read": 256, "output": 89}
        assert (row.inference.finish_reason, row.inference.provider) == ("completed", "openai")


def test_response_that_is_asked_for_again_is_one_call(tmp_path: Path, store: Store, load: Load) -> None:
    done = {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5", "output": [],
            "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}}  # fmt: skip
    load(write(
        tmp_path / "cassette.json",
        exchange("POST", "responses", {"id": "resp_1", "object": "response", "status": "queued", "model": "gpt-5"}),
        exchange("GET", "responses/resp_1", done),
        exchange("GET", "responses/resp_1", done),
    ))  # fmt: skip
    [row] = store.inferences()
    assert row.inference.meters.as_dict() == {"input_fresh": 9, "output": 4}


def test_same_id_sent_for_again_is_another_call(tmp_path: Path, store: Store, load: Load) -> None:
    """Recordings may have all ids made the same."""
    done = {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5", "output": [],
            "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}}  # fmt: skip
    assert load(write(tmp_path / "cassette.json", *[exchange("POST", "responses", done)] * 3)).inferences == 3


@pytest.mark.parametrize("took_ms", [1500.25, None])
def test_archive_tells_when_a_call_began_and_ended(
    tmp_path: Path, store: Store, load: Load, took_ms: float | None
) -> None:
    answer = {
        "model": "gpt-4o",
        "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
    entry = {
        "startedDateTime": "2026-01-01T00:00:00.500Z",
        "time": took_ms,
        "request": {"method": "POST", "url": f"{API}/chat/completions", "postData": {"text": "{}"}},
        "response": {
            "status": 200,
            "headers": [],
            "content": {"mimeType": "application/json", "text": json.dumps(answer)},
        },
    }
    path = tmp_path / "archive.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": [entry]}}))
    load(path)
    [row] = store.inferences()
    assert row.placement.start_ns == 1_767_225_600_500_000_000
    assert row.placement.duration_ns == (None if took_ms is None else 1_500_250_000)


@pytest.mark.parametrize("text", ["\u00e9", "=", "x", "{}"])
def test_body_that_is_no_base64_costs_an_archive_no_other_call(
    tmp_path: Path, store: Store, load: Load, text: str
) -> None:
    request = {"method": "POST", "url": f"{API}/chat/completions", "postData": {"text": "{}"}}
    answer = {"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    contents = [{"encoding": "base64", "text": text}, {"mimeType": "application/json", "text": json.dumps(answer)}]
    entries = [{"request": request, "response": {"status": 200, "content": content}} for content in contents]
    path = tmp_path / "archive.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}, ensure_ascii=False))
    assert load(path).failed == []
    assert {row.inference.meters.output for row in store.inferences()} == {None, 2}
