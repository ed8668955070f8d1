"""Laws that hold for every trace: tokens are conserved, order does not matter, nothing broken raises but our errors."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.ingest.test_secrets import FILES

from inferometer.ingest.commit import commit
from inferometer.ingest.importing import import_paths
from inferometer.ingest.logs import decode_logs
from inferometer.ingest.metrics import decode_metrics
from inferometer.ingest.normalise import normalise
from inferometer.ingest.otlp import decode_traces
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.resolve import resolve
from inferometer.schema.errors import InferometerError
from inferometer.schema.records import Decisions
from inferometer.store import open_store
from inferometer.testing.raw_spans import SECOND, START, TRACE, agent, chat, raw, span_id

NOW = START + 10**6 * SECOND
QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=40)


@dataclass
class Trace:
    """Spans, and what their true calls add up to."""

    spans: list[RawSpan] = field(default_factory=list)
    given: int = 0
    out: int = 0
    calls: int = 0
    tools: int = 0
    _next: int = 1

    def number(self) -> int:
        self._next += 1
        return self._next - 1


def build(seed: int) -> Trace:
    """A random tree of agents, steps, tools and calls, seen by several instrumentations at once."""
    chance = random.Random(seed)
    trace = Trace()
    _add_agent(trace, chance, None, 0.0, 1000.0, 0)
    return trace


def _add_agent(
    trace: Trace, chance: random.Random, parent: int | None, begin: float, end: float, depth: int
) -> tuple[int, int]:
    number = trace.number()
    place = len(trace.spans)
    given = out = 0
    count = chance.randint(1, 4)
    width = (end - begin) / count
    for turn in range(count):
        at = begin + turn * width
        kind = chance.random()
        if kind < 0.15 and depth < 3:
            sums = _add_agent(trace, chance, number, at, at + width * 0.9, depth + 1)
        elif kind < 0.3:
            _add_tool(trace, chance, number, at, at + width * 0.5)
            sums = (0, 0)
        elif kind < 0.45:
            # parallel calls of one shape: best-of-n
            sums = (0, 0)
            tokens = (chance.randint(1, 10**5), chance.randint(1, 10**4))
            for _ in range(chance.randint(2, 5)):
                got = _add_call(trace, chance, number, at, at + width * 0.8, tokens)
                sums = (sums[0] + got[0], sums[1] + got[1])
        else:
            sums = _add_call(trace, chance, number, at, at + width * 0.8, None)
        given, out = given + sums[0], out + sums[1]
    usage = {"gen_ai__usage__input_tokens": given, "gen_ai__usage__output_tokens": out} if chance.random() < 0.7 else {}
    trace.spans.insert(place, agent(number, parent, start=begin, end=end, scope="framework", **usage))
    return given, out


def _add_tool(trace: Trace, chance: random.Random, parent: int, begin: float, end: float) -> None:
    number = trace.number()
    names = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": "search"}
    trace.spans.append(raw(number, "execute_tool search", parent, start=begin, end=end, scope="framework", **names))
    trace.tools += 1
    if chance.random() < 0.5:
        rest = {"scope": "mcp-python-sdk", "otel_kind": "server", "mcp__method__name": "tools/call"}
        inner = raw(
            trace.number(), "tools/call search", number, start=begin, end=end, gen_ai__tool__name="search", **rest
        )
        trace.spans.append(inner)


def _add_call(
    trace: Trace, chance: random.Random, parent: int, begin: float, end: float, tokens: tuple[int, int] | None
) -> tuple[int, int]:
    given, out = tokens or (chance.randint(1, 10**5), chance.randint(1, 10**4))
    number = trace.number()
    inside = {"start": begin + 0.01, "end": end - 0.01}
    trace.spans.append(
        chat(number, parent, given=given, out=out, start=begin, end=end, scope="outer", gen_ai__response__id="r")
    )
    innermost = number
    if chance.random() < 0.4:
        innermost = trace.number()
        dated = "gpt-4o-2024-08-06"
        trace.spans.append(chat(innermost, number, given=given, out=out, model=dated, scope="inner", **inside))
    if chance.random() < 0.4:
        skew = chance.choice([-30.0, 0.0, 30.0])
        usage = {"gen_ai__usage__prompt_tokens": given, "gen_ai__usage__completion_tokens": out}
        rest = {"scope": "vllm.engine", "otel_kind": "server", **usage}
        trace.spans.append(raw(trace.number(), "llm_request", innermost, start=begin + skew, end=end + skew, **rest))
    trace.given, trace.out, trace.calls = trace.given + given, trace.out + out, trace.calls + 1
    return given, out


def canonical(decisions: Decisions) -> Any:
    calls = []
    for call in decisions.inferences:
        edges = tuple(sorted((edge.span_id, edge.kind, edge.gap_ns) for edge in call.depends_on))
        calls.append((call.span_id, call.billable, call.merged_into, call.agent_name, edges))
    return (
        sorted(calls, key=repr),
        sorted((tool.span_id, tool.merged_into) for tool in decisions.tool_calls),
        sorted(decisions.run_ids.items()),
        sorted((run.run_id, run.start_ns, run.end_ns) for run in decisions.runs),
    )


@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
@QUICK
def test_total_is_that_of_the_true_calls_in_any_order(seed: int, chance: random.Random) -> None:
    trace = build(seed)
    shuffled = trace.spans[:]
    chance.shuffle(shuffled)
    batch = normalise(shuffled)
    decisions = resolve(batch, NOW)
    meters = {call.span_id: call.meters for call in batch.inferences}
    billed = [meters[call.span_id] for call in decisions.inferences if call.billable]
    assert len(billed) == trace.calls
    assert sum(each.input_total or 0 for each in billed) == trace.given
    assert sum(each.output or 0 for each in billed) == trace.out
    assert sum(tool.merged_into is None for tool in decisions.tool_calls) == trace.tools
    assert canonical(decisions) == canonical(resolve(normalise(trace.spans), NOW))


@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
@settings(QUICK, max_examples=5)
def test_store_ends_the_same_however_spans_arrive(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chance: random.Random
) -> None:
    trace = build(seed)
    folder = tmp_path_factory.mktemp("arrival")
    found = []
    for name in ("whole", "pieces"):
        # some spans are sent while they still run, and again when they have ended
        early = [replace(span, end_ns=None) for span in trace.spans if chance.random() < 0.3]
        sent = trace.spans + early + chance.sample(trace.spans, len(trace.spans) // 3)
        chance.shuffle(sent)
        size = len(sent) if name == "whole" else max(1, len(sent) // 5)
        with open_store(str(folder / f"{name}.db")) as store:
            for begin in range(0, len(sent), size):
                with store.transaction() as transaction:
                    commit(transaction, normalise(sent[begin : begin + size]), NOW)
            rows = list(store.inferences())
            found.append((
                len(rows),
                sum(row.inference.meters.input_total or 0 for row in rows),
                sum(row.inference.meters.output or 0 for row in rows),
                {row.inference.span_id: (row.placement.run_id, row.placement.agent_name) for row in rows},
                sorted((run.run_id, run.start_ns, run.end_ns) for run in store.runs()),
            ))  # fmt: skip
    assert found[0] == found[1]
    assert found[0][:3] == (trace.calls, trace.given, trace.out)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        *("traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes"),
        *("events", "links", "status", "key", "value", "resourceSpans", "scopeSpans", "spans", "resource", "scope"),
        *("resourceLogs", "scopeLogs", "logRecords", "resourceMetrics", "scopeMetrics", "metrics", "gauge"),
        *("dataPoints", "requests", "messages", "usage", "choices", "interactions", "history", "observations"),
        *("traj", "message", "type", "role"),
    ]
)
SHAPED = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)
VALUES = JSON | st.sampled_from([-1, 2**70, float("nan"), "\0", "\ud800", "x" * 5000, True, "-5", "1e400"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from([
        "gen_ai.operation.name", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens",
        "openinference.span.kind", "llm.token_count.prompt", "ai.operationId",
        "ai.response.providerMetadata", "langfuse.observation.type", "langfuse.observation.usage_details",
        "mlflow.spanType", "mlflow.chat.tokenUsage", "traceloop.span.kind", "gcp.vertex.agent.llm_response",
        "gen_ai.input.messages", "llm.input_messages.0.message.content", "span.type",
        "inferometer.prefix.hashes", "inferometer.prefix.base", "inferometer.attempt.statuses",
        "gen_ai.tool.call.arguments", "user.id", "session.id", "tag.tags", "gen_ai.response.finish_reasons",
        "inferometer.recorded_cost_usd",
    ]),
    VALUES,
)  # fmt: skip


@given(SHAPED)
@QUICK
def test_no_json_raises_anything_but_our_errors(document: Any) -> None:
    body = json.dumps(document).encode("utf-8", "replace")
    for decode in (decode_traces, decode_logs, decode_metrics):
        try:
            found = decode(body, "json", Counter())
        except InferometerError:
            continue
        if isinstance(found, list):
            resolve(normalise(found), NOW)


@given(st.binary(max_size=300))
@QUICK
def test_no_bytes_raise_anything_but_our_errors(body: bytes) -> None:
    for decode in (decode_traces, decode_logs, decode_metrics):
        for encoding in ("json", "protobuf"):
            try:
                decode(body, encoding, Counter())  # type: ignore[arg-type]
            except InferometerError:
                continue


@given(
    st.lists(ATTRIBUTES, max_size=4),
    st.text(max_size=10),
    st.none() | st.sampled_from(["ai", "vllm", "langfuse-sdk", "strands.x"]),
)
@QUICK
def test_no_attributes_raise(spans: list[dict[str, Any]], name: str, scope: str | None) -> None:
    raws = [
        RawSpan(
            TRACE,
            span_id(number + 1),
            name,
            span_id(number),
            "client",
            START,
            START,
            attributes=attributes,
            scope=scope,
        )
        for number, attributes in enumerate(spans)
    ]
    batch = normalise(raws)
    resolve(batch, NOW)
    for call in batch.inferences:
        assert all(value >= 0 for value in call.meters.as_dict().values())


@given(st.one_of(st.binary(max_size=400), SHAPED.map(lambda value: json.dumps(value).encode("utf-8", "replace"))))
@settings(QUICK, max_examples=12)
def test_no_file_raises_anything_but_our_errors(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "file.json"
    path.write_bytes(content)
    with open_store(str(Path(path.parent, "store.db"))) as store:
        report = import_paths(store, [path], now_ns=NOW)
    assert report.files + len(report.failed) == 1


ODD = [None, True, -1, 2**70, 1e300, "", "x", [], {}, [[]], {"a": {}}, ["a"], "\0"]


def mutated(value: Any, chance: random.Random) -> Any:
    """The same with some of it replaced by what nobody foresaw."""
    if isinstance(value, dict):
        return {key: mutated(inner, chance) for key, inner in value.items()}
    if isinstance(value, list):
        return [mutated(inner, chance) for inner in value]
    return value if chance.random() > 0.1 else chance.choice(ODD)


@given(st.integers(0, 2**32))
@settings(QUICK, max_examples=8, phases=[Phase.generate])
def test_no_odd_value_costs_a_file_its_other_records(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Files of each format with sound records, and after them the same with odd values in them."""
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("files")
    for name, content in FILES.items():
        if name.endswith((".json", ".jsonl")):
            documents = [json.loads(line) for line in content.split(b"\n")]
            odd = [mutated(each, chance) for each in documents * 3]
            if isinstance(documents[0], list):
                documents, odd = [[*documents[0], *(entry for each in odd for entry in each)]], []
            (folder / name).write_text("\n".join(map(json.dumps, [*documents, *odd])))
    with open_store(str(tmp_path_factory.mktemp("store") / "store.db")) as store:
        report = import_paths(store, [folder], now_ns=NOW)
    assert report.failed == []
    assert report.files == len(FILES) - 2  # a trajectory is one document and a cassette YAML
