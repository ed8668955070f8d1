"""Large documents read in parts: they say what the whole says, and take the memory of a part."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from inferometer.ingest.importers import lines, opening, parts
from inferometer.ingest.importers.parts import Cuts, read_parts, sketch
from inferometer.ingest.importing import ImportReport, import_paths
from inferometer.store import open_store

NOW_NS = 1_800_000_000_000_000_000
SMALL_BYTES = 2000

LEAVES = Cuts({"leaves": Cuts(needs=frozenset({"branch"}))}, frozenset({"tree"}))
FOREST = Cuts({"trees": LEAVES, "around": Cuts({"trees": LEAVES})})

text = st.text(st.sampled_from('ab"\\[]{},: é\n\x07'), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e300, 1e300) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def branches(draw: st.DrawFn) -> dict[str, Any]:
    """An object in any order of its members, of which one is to be cut."""
    members = {"branch": draw(values), "leaves": draw(st.lists(values, max_size=4)), "note": draw(values)}
    return {key: members[key] for key in draw(st.permutations(list(members)))}


@st.composite
def forests(draw: st.DrawFn) -> Any:
    trees = {"trees": draw(st.lists(branches(), max_size=4))}
    shape = draw(st.sampled_from(["plain", "inside", "list"]))
    if shape == "inside":
        return {"note": draw(values), "around": trees}
    return trees if shape == "plain" else [trees, draw(branches()), {}]


def leaves_of(document: Any) -> Iterator[str]:
    """Each leaf with the branch that it is on."""
    if isinstance(document, list):
        for part in document:
            yield from leaves_of(part)
        return
    for tree in document.get("around", document).get("trees", ()):
        for leaf in tree["leaves"]:
            yield json.dumps([tree["branch"], leaf], sort_keys=True)


@given(forests(), st.sampled_from([1, 7, 30, 100, 5000]), st.sampled_from([None, 2]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_parts_say_what_the_whole_says(forest: Any, part_bytes: int, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(forest, indent=indent, ensure_ascii=ascii_only).encode()
    read = [leaf for part in read_parts(io.BytesIO(body), FOREST, part_bytes) for leaf in leaves_of(part)]
    assert read == list(leaves_of(json.loads(body)))


@given(forests(), st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_no_json_whole_is_none_in_parts(forest: Any, data: st.DataObject) -> None:
    body = json.dumps(forest).encode()
    cut = data.draw(st.integers(0, len(body) - 1))
    broken = body[:cut] + data.draw(st.sampled_from([b"", b"{", b"]", b'"', b",", b"\\"])) + body[cut + 1 :]
    try:
        orjson.loads(broken)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - what it says is the parser's affair
            list(read_parts(io.BytesIO(broken), FOREST, 20))
    else:
        assert list(read_parts(io.BytesIO(broken), FOREST, 20))


@given(st.lists(st.sampled_from([*'{}[]",:\\ 0at', '"trees":', '"leaves":[', "\xef"]), max_size=30).map("".join))
@settings(max_examples=300, deadline=None)
def test_nothing_broken_raises_anything_but_value_errors(body: str) -> None:
    sketch(body.encode("latin-1"))
    with suppress(ValueError):
        list(read_parts(io.BytesIO(body.encode("latin-1")), FOREST, 5))


@pytest.mark.parametrize(
    "document", [{"trees": []}, {"trees": [{}]}, [{}], {}, {"trees": 1}, {"around": {"trees": []}}]
)
def test_objects_without_what_may_be_cut_are_told_whole(document: Any) -> None:
    assert list(read_parts(io.BytesIO(json.dumps(document).encode()), FOREST, 4)) == [document]


def test_what_is_deeper_than_a_pattern_is_read() -> None:
    deep: Any = 1
    for _ in range(150):
        deep = [{"[": deep}]
    document = {"trees": [{"branch": 1, "leaves": [1, deep, 2]}]}
    body = json.dumps(document).encode()
    for part_bytes in (3, 100, 10_000):
        assert list(leaves_of(list(read_parts(io.BytesIO(body), FOREST, part_bytes)))) == list(leaves_of(document))


def test_sketch_ends_what_is_open() -> None:
    body = b'\xef\xbb\xbf{"a": [{"b": "x, ]", "c": {"d": [1, 2, {"e": "never'
    assert sketch(body) == {"a": [{"b": "x, ]", "c": {"d": [1, 2]}}]}
    assert sketch(b'{"a": 1}}, ') is None
    assert sketch(b'{"a"') is None


def told(database: Path, path: Path) -> tuple[ImportReport, dict[str, Any]]:
    """All that a new store holds after an import."""
    with open_store(str(database)) as store:
        report = import_paths(store, [path], now_ns=NOW_NS)
        runs = sorted(store.runs(), key=lambda run: run.run_id)
        found = {
            "runs": runs,
            "spans": [sorted(store.spans_of_run(run.run_id), key=lambda span: span.span_id) for run in runs],
            "calls": sorted(
                (row.inference for row in store.inferences(billable_only=False, with_prefix=True)),
                key=lambda call: (call.trace_id, call.span_id),
            ),
            "tools": sorted(
                (row.tool_call for row in store.tool_calls()), key=lambda tool: (tool.trace_id, tool.span_id)
            ),
            "outcomes": sorted(store.outcomes(), key=repr),
            "charges": sorted(store.charges(), key=repr),
            "samples": sorted(store.serving_samples(), key=repr),
        }
    return report, found


def compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path, whole_bytes: int = SMALL_BYTES
) -> ImportReport:
    """Import a file whole and in parts; both must add the same."""
    whole = told(tmp_path / f"{path.name}.whole.db", path)
    with monkeypatch.context() as patch:
        call_large(patch, whole_bytes)
        read = Mock(side_effect=partial(read_parts, part_bytes=1000))
        patch.setattr(lines, "read_parts", read)
        in_parts = told(tmp_path / f"{path.name}.parts.db", path)
    assert read.called, path
    assert in_parts == whole
    return whole[0]


def call_large(patch: pytest.MonkeyPatch, whole_bytes: int = SMALL_BYTES) -> None:
    """Let documents be large that have that many bytes."""
    patch.setattr(opening, "HEAD_BYTES", whole_bytes // 20)
    patch.setattr(opening, "WHOLE_BYTES", whole_bytes)
    patch.setattr(parts, "SKETCH_BYTES", whole_bytes)


def attribute(key: str, value: object) -> dict[str, Any]:
    return {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}


def span(number: int, parent: int | None, begin_s: float, took_s: float, **attributes: object) -> dict[str, Any]:
    begin_ns = 1_750_000_000_000_000_000 + round(begin_s * 1e9)
    return {
        "traceId": "ab" * 16,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": f'span {number} {{[\\"',
        "kind": 3,
        "startTimeUnixNano": str(begin_ns),
        "endTimeUnixNano": str(begin_ns + round(took_s * 1e9)),
        "attributes": [attribute(key.replace("__", "."), value) for key, value in attributes.items()],
    }


def chat(number: int, parent: int, begin_s: float, given: int) -> dict[str, Any]:
    return span(
        number, parent, begin_s, 2, gen_ai__operation__name="chat", gen_ai__request__model="gpt-4o",
        gen_ai__usage__input_tokens=given, gen_ai__usage__output_tokens=7,
    )  # fmt: skip


def group(service: str, spans: list[dict[str, Any]], *, late: bool = False) -> dict[str, Any]:
    scope = {"name": "opentelemetry.util.genai.handler", "version": "1"}
    resource = {"attributes": [attribute("service.name", service)]}
    if late:
        return {"scopeSpans": [{"spans": spans, "scope": scope}], "schemaUrl": "x", "resource": resource}
    return {"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}], "schemaUrl": "x"}


def one_trace_of_many_groups() -> dict[str, Any]:
    """An agent in one service, its calls in another, a server's view of each in a third, all in one trace."""
    agent = span(1, None, 0, 500, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="planner")
    calls = [chat(10 + number, 1, number * 3, 100 + number) for number in range(40)]
    served = [{**chat(100 + number, 10 + number, number * 3 + 0.1, 100 + number), "kind": 2} for number in range(40)]
    spread = [group(f"serving-{number % 3}", [each]) for number, each in enumerate(served)]
    log = {
        "timeUnixNano": "1750000000000000000",
        "eventName": "gen_ai.evaluation.result",
        "traceId": "ab" * 16,
        "spanId": f"{1:016x}",
        "attributes": [attribute("gen_ai.evaluation.name", "helpful"), attribute("gen_ai.evaluation.score.value", 1)],
    }
    gauge = {
        "name": "vllm:num_requests_running",
        "gauge": {"dataPoints": [{"timeUnixNano": "1750000000000000000", "asInt": "3"}]},
    }
    return {
        "resourceSpans": [group("calls", calls, late=True), *spread, group("agent", [agent]), {"resource": {}}, None],
        "resourceLogs": [{"scopeLogs": [{"logRecords": [log]}], "resource": {}}],
        "resourceMetrics": [{"resource": {}, "scopeMetrics": [{"metrics": [gauge]}]}],
    }  # fmt: skip


@pytest.mark.parametrize("shape", ["request", "list", "groups", "batches", "trace"])
def test_trace_of_several_resources_is_decided_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    path = tmp_path / "trace.json"
    request = one_trace_of_many_groups()
    groups = request["resourceSpans"]
    shapes = {"list": [request], "groups": groups, "batches": {"batches": groups}, "trace": {"trace": request}}
    path.write_text(json.dumps(shapes.get(shape, request), indent=1))
    report = compare(tmp_path, monkeypatch, path)
    assert (report.runs, report.inferences, report.spans) == (1, 40, 81)
    assert report.warnings["not_an_object"] == 1


def langfuse_trace(observations: int, *, scored: bool = True) -> dict[str, Any]:
    """A trace as Langfuse exports it: inner observations first, all of them twice, one an orphan."""
    found = [
        {
            "id": f"o{number}",
            "traceId": "t",
            "type": "GENERATION" if number else "AGENT",
            "parentObservationId": "gone" if number == 7 else "o0" if number else None,
            "startTime": f"2026-01-01T00:00:{number % 60:02}.000Z",
            "endTime": f"2026-01-01T00:01:{number % 60:02}.000Z",
            "model": "gpt-4o",
            "usageDetails": {"input": 100 + number, "output": 9, "total": 109 + number},
            "input": "what is it? " * 9,
        }
        for number in reversed(range(observations))
    ]
    scores = [{"name": "ok", "value": 1, "source": "API"}] if scored else []
    trace = {"id": "t", "userId": "me", "sessionId": "s", "tags": ["x"], "scores": scores, "observations": found}
    return {"trace": trace, "observations": found}


@pytest.mark.parametrize("shape", ["one", "list", "bare", "late"])
def test_langfuse_trace_is_whole_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    document: Any = langfuse_trace(50)
    if shape == "list":
        document = [document, {"trace": {**document["trace"], "id": "u"}, "observations": []}]
    elif shape == "bare":
        document = document["trace"]
    elif shape == "late":
        document = dict(reversed(document.items()))
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document))
    report = compare(tmp_path, monkeypatch, path)
    assert (report.inferences, report.spans, report.warnings["orphan_span"]) == (49, 50, 1)


def test_real_files_are_whole_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    """A document is recognised by its beginning: some tell what they are late."""
    looked_at = dict.fromkeys(("spans/langfuse", "spans/monocle", "spans/agent-prism"), 0.75) | {
        f"sessions/{name}": 0.5 for name in ("tau-bench", "kv-cache-tester", "swe-agent")
    }
    counts = []
    for name, share in looked_at.items():
        files = [path for path in sorted((shared / "data" / name).rglob("*.*")) if ".md" not in path.suffixes]
        large = [path for path in files if path.is_file() and path.stat().st_size > 20_000][:9]
        counts.append(len(large))
        for path in large:
            assert compare(tmp_path, monkeypatch, path, int(path.stat().st_size * share)).files == 1
    assert counts == [9, 8, 6, 1, 9, 4]


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["plain", "gzip", "zstd"]
)
def test_parts_come_out_of_every_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    body = json.dumps(one_trace_of_many_groups()).encode()
    path = tmp_path / "trace.json"
    path.write_bytes(pack(body))
    assert compare(tmp_path, monkeypatch, path).inferences == 40


def test_broken_large_document_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_large(monkeypatch)
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(one_trace_of_many_groups())[:-10])
    report, found = told(tmp_path / "store.db", path)
    assert [failure.reason.partition(":")[0] for failure in report.failed] == ["not JSON"]
    assert not any(found.values())


def gemini_session(turns: int) -> dict[str, Any]:
    tokens = {"input": 9, "output": 1, "thoughts": 2, "total": 12}
    call = {"name": "read_file", "args": {"path": "x"}, "status": "error", "result": ["y" * 50]}
    messages = [
        {"id": f"u{number}", "type": "user", "timestamp": f"2026-01-01T00:{number % 60:02}:00Z", "content": "x" * 50}
        if number % 3 == 0
        else {"type": "gemini", "model": "gemini-3-pro", "timestamp": f"2026-01-01T00:{number % 60:02}:01Z",
              "id": f"g{number}", "tokens": tokens, "toolCalls": [{**call, "id": f"t{number}"}]}
        for number in range(turns)
    ]  # fmt: skip
    return {"sessionId": "s", "projectHash": "x", "messages": messages, "kind": "subagent"}


def weka_session(requests: int) -> dict[str, Any]:
    """A session with a sub-agent, broken values, and totals after its requests."""
    found: list[Any] = [
        {"t": number * 5, "type": "n", "in": 640, "out": 5, "hash_ids": [*range(number), 2**63], "api_time": 1}
        for number in range(requests)
    ]  # fmt: skip
    inner = [{"t": 0, "type": "s", "in": 64, "out": 1, "hash_ids": [7]}, {"t": 1, "hash_ids": [-1]}, None]
    agent = {"t": 60, "type": "subagent", "duration_ms": 9000, "requests": inner, "tool_tokens": 4}
    totals = {"combined_tokens": {"input": 640 * requests + 64, "output": 5 * requests + 1}}
    return {"id": "w", "block_size": 16, "requests": [*found, agent], "tool_tokens": 3, "totals": totals}


def swe_trajectory(steps: int) -> dict[str, Any]:
    history = [
        {"role": role, "content": f"{number} words"} for number in range(steps) for role in ("user", "assistant")
    ]
    trajectory = [{"response": f"{number} words", "query": history[:9]} for number in range(steps + 2)]
    stats = {"tokens_sent": 999, "tokens_received": 99, "api_calls": steps + 2}
    info = {"exit_status": "submitted", "model_stats": stats}
    return {"environment": "swe", "trajectory": trajectory, "history": history, "info": info}


def mini_trajectory(steps: int) -> dict[str, Any]:
    messages = [
        {"role": role, "content": f"{number} words"} for number in range(steps) for role in ("user", "assistant")
    ]
    info = {"exit_status": "Submitted", "model_stats": {"instance_cost": 1.5, "api_calls": steps}}
    return {"info": info, "messages": messages, "trajectory_format": "mini-swe-agent-1"}


@pytest.mark.parametrize(
    ("name", "document", "calls"),
    [
        ("session.json", gemini_session(60), 40),
        ("weka.json", weka_session(30), 32),
        ("gpt-4o.traj", swe_trajectory(40), 42),
        ("gpt-4o.traj.json", mini_trajectory(40), 40),
        ("bare.traj.json", mini_trajectory(40)["messages"], 40),
    ],
    ids=["gemini-cli", "weka", "swe-agent", "mini-swe-agent", "bare messages"],
)
def test_session_of_one_file_is_whole_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, document: Any, calls: int
) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(document))
    report = compare(tmp_path, monkeypatch, path)
    assert (report.inferences, report.warnings["totals_differ"]) == (calls, 0)


def test_two_sessions_in_one_large_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_large(monkeypatch)
    path = tmp_path / "weka.json"
    path.write_text(json.dumps(weka_session(30)) * 2)
    report, found = told(tmp_path / "store.db", path)
    assert [failure.reason.partition(":")[0] for failure in report.failed] == ["not JSON"]
    assert not any(found.values())


def test_format_that_has_no_parts_is_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_large(monkeypatch)
    path = tmp_path / "answer.json"
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * 9000}}
    answer = {
        "id": "r",
        "object": "chat.completion",
        "model": "gpt-4o",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    path.write_text(json.dumps({**answer, "choices": [choice]}))
    assert told(tmp_path / "store.db", path)[0].inferences == 1


IMPORT = """
import sys
from pathlib import Path
from inferometer.ingest.importing import import_paths
from inferometer.store import open_store
with open_store(sys.argv[1]) as store:
    report = import_paths(store, sys.argv[2:])
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(report.inferences, int(peak.split()[1]) // 1024)
"""
"""The peak is that of the process' own memory; ``ru_maxrss`` begins with what the starting process held."""


def imported_mb(database: Path, name: str, body: Path | None = None) -> tuple[int, int]:
    """Import in a process of its own; return the calls added and the peak of its memory."""
    with (body or Path("/dev/null")).open("rb") as given:
        words = [sys.executable, "-c", IMPORT, str(database), name]
        done = subprocess.run(words, check=True, capture_output=True, text=True, stdin=given)
    calls, peak_mb = map(int, done.stdout.split())
    return calls, peak_mb


def write_large(path: Path, spans: int, padding: int) -> int:
    """Write one document of one scope on one line; return its size."""
    pad = {"attributes": [attribute("http.response.body", "x" * padding)]}
    with path.open("wb") as file:
        file.write(orjson.dumps({"resourceSpans": [group("agent", [])]})[: -len(b']}],"schemaUrl":"x"}]}')])
        for number in range(1, spans + 1):
            each = chat(number, 0, number, 9)
            file.write(
                b"," * (number > 1) + orjson.dumps({**each, "attributes": each["attributes"] + pad["attributes"]})
            )
        file.write(b']}],"schemaUrl":"x"}]}')
    return path.stat().st_size


def write_large_protobuf(path: Path, spans: int, padding: int) -> int:
    """Write one export request of one scope; return its size."""
    scope = ScopeSpans()
    scope.scope.name = "opentelemetry.util.genai.handler"
    for number in range(1, spans + 1):
        span = scope.spans.add(
            trace_id=b"t" * 16, span_id=number.to_bytes(8), start_time_unix_nano=10**18, end_time_unix_nano=10**18 + 1
        )
        for key, value in {"gen_ai.operation.name": "chat", "http.response.body": "x" * padding}.items():
            span.attributes.add(key=key).value.string_value = value
        span.attributes.add(key="gen_ai.usage.output_tokens").value.int_value = 7
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.append(scope)
    path.write_bytes(request.SerializeToString())
    return path.stat().st_size


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process' memory is read from /proc")
@pytest.mark.parametrize("way", ["file", "stdin", "protobuf"])
def test_memory_does_not_grow_with_the_document(tmp_path: Path, way: str) -> None:
    """A document of 120 MB that would take some 150 MB more if only its bytes were held."""
    path = tmp_path / "large.json"
    write = write_large_protobuf if way == "protobuf" else write_large
    assert write(path, 1200, 100_000) > 120_000_000
    name = "-" if way == "stdin" else str(path)
    calls, peak_mb = imported_mb(tmp_path / "store.db", name, path)
    assert calls == 1200
    assert peak_mb < 200
