"""What real frameworks left, read back: every call that the server answered is billed once, whoever told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.resolve import resolve
from inferometer.schema.attributes import CONTENT, EMITTED, TAG
from inferometer.schema.records import SpanKind, Status

GOLDENS = sorted((Path(__file__).parent.parent / "frameworks" / "goldens").glob("*.json"))
OWN_SCOPE = "inferometer"
UNMETERED = {"litellm-embedding", "openai-agents-run-alone-chat-streamed"}
"""Goldens of calls for which the framework has no usage, or the server's own count is not that of a model."""


def _spans(golden: dict[str, Any]) -> list[RawSpan]:
    return [
        RawSpan(
            trace_id=b"\x01" * 16,
            span_id=(number + 1).to_bytes(8),
            parent_id=None if span["parent"] is None else (span["parent"] + 1).to_bytes(8),
            name=span["name"],
            otel_kind=span["kind"].lower(),
            start_ns=1_000_000 * (number + 1),
            end_ns=1_000_000_000 - 1_000_000 * number,
            status=Status(span["status"].lower()),
            attributes=span["attributes"],
            scope=span["scope"],
        )
        for number, span in enumerate(golden["spans"])
    ]


TRACED_BY_THEMSELVES = {
    "agent-framework-core-agent-streamed": ({"clerk"}, ["look"]),
    "agent-framework-core-agent-whole": ({"clerk"}, ["look"]),
    "dspy-agent-auto": (set(), ["_look", "finish"]),
    "dspy-agent-litellm": (set(), ["_look", "finish"]),
    "google-adk-agent": ({"clerk"}, ["look"]),
    "llama-index-core-agent-alone": ({"FunctionAgent"}, ["look"]),
    "llama-index-core-agent-with-client": ({"FunctionAgent"}, ["look"]),
    "mistralai-chat": (set(), []),
    "pydantic-ai-slim-agent": ({"clerk"}, ["look"]),
    "smolagents-agent-alone": ({"clerk"}, ["look", "final_answer"]),
    "smolagents-agent-with-client": ({"clerk"}, ["look", "final_answer"]),
    "strands-agents-agent": ({"clerk"}, ["look"]),
}
"""Goldens of frameworks without a hook of ours: the agents in them, and the tools that these called in order."""


@pytest.mark.parametrize("name", TRACED_BY_THEMSELVES)
def test_frameworks_that_trace_themselves_keep_their_agents_and_tools(name: str) -> None:
    path = next(path for path in GOLDENS if path.stem == name)
    batch = normalise(_spans(json.loads(path.read_text(encoding="utf-8"))))
    decisions = resolve(batch, 2**62)
    agents, tools = TRACED_BY_THEMSELVES[name]
    assert {span.agent_name for span in batch.spans if span.kind is SpanKind.AGENT} == agents
    assert [call.name for call in batch.tool_calls] == tools
    assert {run.agent_name for run in decisions.runs} <= {*agents, None}
    by_id = {span.span_id: span for span in batch.spans}
    for call in (*batch.inferences, *batch.tool_calls):
        above, kinds = by_id[call.span_id], set()
        while above.parent_id is not None:
            above = by_id[above.parent_id]
            kinds.add(above.kind)
        assert (SpanKind.AGENT in kinds) is bool(agents)
    assert all(call.model in {"gpt-4o", "mistral-large-latest", "gemini-2.5-flash"} for call in batch.inferences)
    assert {call.provider for call in batch.inferences} <= {"openai", "mistral_ai", "gcp.gemini", None}


@pytest.mark.parametrize("name", ["mcp-first-release-fastmcp", "mcp-first-release-low-level"])
def test_a_tool_call_seen_by_client_and_server_counts_once(name: str) -> None:
    path = next(path for path in GOLDENS if path.stem == name)
    batch = normalise(_spans(json.loads(path.read_text(encoding="utf-8"))))
    merged = {one.span_id: one.merged_into for one in resolve(batch, 2**62).tool_calls}
    kinds = {span.span_id: span.otel_kind for span in batch.spans}
    assert len(batch.tool_calls) == 4
    assert all((kinds[view] == "server") is (into is not None) for view, into in merged.items())
    assert sum(into is None for into in merged.values()) == 2


def test_there_are_goldens() -> None:
    assert len({path.name.split("-")[0] for path in GOLDENS}) >= 8


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_golden_bills_what_was_served(path: Path) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    batch = normalise(_spans(golden))
    billable = {(one.trace_id, one.span_id): one.billable for one in resolve(batch, 2**62).inferences}
    failed = {(span.trace_id, span.span_id) for span in batch.spans if span.error_type is not None}
    calls = [
        call
        for call in batch.inferences
        if billable[(call.trace_id, call.span_id)] and (call.trace_id, call.span_id) not in failed
    ]
    found = sorted([call.meters.input_total, call.meters.output, call.meters.cache_read or 0] for call in calls)
    if path.stem in UNMETERED:
        assert len(found) >= len(golden["served"])
    else:
        assert found == sorted(golden["served"])


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_golden_holds_the_contract_of_hooks(path: Path) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    own = [span for span in golden["spans"] if span["scope"] == OWN_SCOPE]
    for span in own:
        unknown = {name for name in span["attributes"] if name not in EMITTED and not name.startswith(TAG)}
        assert not unknown
        assert not CONTENT & span["attributes"].keys()
    calls = [
        span["attributes"] for span in own if span["kind"] == "CLIENT" and "mcp.method.name" not in span["attributes"]
    ]
    for call in calls:
        assert {
            "gen_ai.operation.name",
            "gen_ai.provider.name",
            "inferometer.usage.source",
        } <= call.keys()
        assert {"gen_ai.request.model", "gen_ai.response.model"} & call.keys()
    kinds = {span.kind for span in normalise(_spans(golden)).spans}
    assert SpanKind.INFERENCE in kinds or SpanKind.TOOL in kinds
