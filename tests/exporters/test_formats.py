from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from inferometer.analyzer.accounting import Group, account
from inferometer.analyzer.workload import load_workload
from inferometer.exporters.mooncake import BlockIds, write_mooncake
from inferometer.exporters.otlp_file import write_otlp
from inferometer.exporters.parquet import write_parquet
from inferometer.exporters.weka import write_weka
from inferometer.ingest.commit import commit
from inferometer.ingest.importing import import_paths
from inferometer.profiles.prices import load_prices
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Charge,
    Inference,
    PrefixChain,
    Purpose,
    RecordBatch,
    Resource,
    Span,
    SpanKind,
    Status,
    ToolCall,
    UsageSource,
)
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store

START_NS = 1_763_600_000 * 1_000_000_000
SECOND = 1_000_000_000
EVERYTHING = Selection()


def block(*path: int) -> bytes:
    return b"".join(hash(path[: place + 1]).to_bytes(8, "little", signed=True) for place in range(len(path)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two runs of one session: an agent that calls, uses a tool, and asks a sub-agent; one call is seen twice."""
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        for number in range(2):
            trace, root, sub = bytes([number + 1]) * 16, b"rootspan", b"subagent"
            begin = START_NS + number * 100 * SECOND
            batch = RecordBatch()

            def add(
                span_id: bytes,
                kind: SpanKind,
                parent: bytes | None,
                start: int,
                end: int,
                trace: bytes = trace,
                begin: int = begin,
                batch: RecordBatch = batch,
            ) -> None:
                span = Span(trace, span_id, kind.value, kind, parent)
                span.start_ns, span.end_ns = begin + start * SECOND, begin + end * SECOND
                span.session_id, span.scope, span.status = "session 1", "test", Status.OK
                span.resource = Resource((("service.name", "shop"),))
                span.tags = {"team": "search"}
                span.purpose = Purpose.EVALUATE
                batch.spans.append(span)

            add(root, SpanKind.AGENT, None, 0, 50)
            add(b"call-one", SpanKind.INFERENCE, root, 1, 5)
            add(b"the-tool", SpanKind.TOOL, root, 6, 9)
            add(b"call-two", SpanKind.INFERENCE, root, 10, 20)
            add(sub, SpanKind.AGENT, root, 21, 40)
            add(b"sub-call", SpanKind.INFERENCE, sub, 22, 30)
            chain = block(number, 1, 2, 3, 4, 5, 6, 7, 8, 9)
            for place, span_id in enumerate((b"call-one", b"call-two", b"sub-call")):
                meters = Meters(600 + place, 40 * place, 7, None, 50 + place, 9)
                batch.inferences.append(
                    Inference(
                        trace,
                        span_id,
                        "anthropic",
                        "claude-opus-4-5",
                        response_id=f"response-{number}-{place}",
                        meters=meters,
                        usage_source=UsageSource.PROVIDER,
                        stream=True,
                        ttft_ns=SECOND,
                        finish_reason="stop",
                        recorded_cost_usd=Decimal("0.01"),
                        prefix=PrefixChain(chain[: 8 * (8 + place)], 64, "o200k_base", "key"),
                    )
                )
            batch.tool_calls.append(ToolCall(trace, b"the-tool", "search", duration_ns=3 * SECOND, result_tokens=12))
            batch.charges.append(Charge(trace, b"the-tool", "search", Decimal(2), "call", Decimal("0.005")))
            with opened.transaction() as tx:
                commit(tx, batch)
        yield opened


def comparable(group: Group) -> tuple[object, ...]:
    return (group.inferences, group.runs, group.meters, group.cost_usd, group.recorded_cost_usd, group.estimated)


def imported(tmp_path: Path, path: Path) -> Group:
    with open_store(str(tmp_path / "imported.sqlite")) as other:
        report = import_paths(other, [str(path)])
        assert report.failed == []
        return account(other).total


def test_otlp_comes_back_as_it_went(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with path.open("w") as target:
        assert write_otlp(store, EVERYTHING, target) == 12
    assert comparable(imported(tmp_path, path)) == comparable(account(store).total)
    with open_store(str(tmp_path / "imported.sqlite")) as other:
        runs = {run.run_id: run for run in other.runs()}
        assert {run.run_id for run in store.runs()} == set(runs)
        assert {(run.session_id, run.purpose, run.service) for run in runs.values()} == {
            ("session 1", Purpose.EVALUATE, "shop")
        }
        [ours, theirs] = [
            [(row.inference.meters, row.inference.ttft_ns, row.placement.tags) for row in one.inferences()]
            for one in (store, other)
        ]
        assert ours == theirs


def test_otlp_of_real_spans_has_their_sums(tmp_path: Path, shared: Path) -> None:
    path = tmp_path / "out.jsonl"
    with open_store(str(tmp_path / "real.sqlite")) as real:
        import_paths(real, [str(shared / "data" / "spans"), str(shared / "data" / "sessions" / "pi-mono")])
        wanted = account(real).total
        with path.open("w") as target:
            write_otlp(real, EVERYTHING, target)
    found = imported(tmp_path, path)
    assert wanted.inferences > 500
    assert (found.inferences, found.meters, found.cost_usd) == (wanted.inferences, wanted.meters, wanted.cost_usd)


def test_otlp_takes_no_content_and_no_other_convention_along(store: Store) -> None:
    with store.transaction() as tx:
        span = Span(bytes(16), b"openinfe", "x", attributes={"llm.token_count.prompt": 5, "http.route": "/a"})
        commit(tx, RecordBatch(spans=[span]))
    target = io.StringIO()
    write_otlp(store, EVERYTHING, target)
    assert "llm.token_count" not in target.getvalue()


def test_weka_comes_back_with_its_calls_runs_and_sub_agents(store: Store, tmp_path: Path) -> None:
    counts = write_weka(store, EVERYTHING, tmp_path / "weka")
    assert (counts.sessions, counts.calls, counts.left_out) == (1, 6, 0)
    [path] = (tmp_path / "weka").iterdir()
    document = json.loads(path.read_text())
    assert [entry["type"] for entry in document["requests"]] == ["s", "s", "subagent", "s", "s", "subagent"]
    first, second = document["requests"][0]["hash_ids"], document["requests"][1]["hash_ids"]
    assert first[:8] == second[:8]
    assert len(first) == 8
    total = imported(tmp_path, path)
    ours = account(store).total
    # such a file has no cache meters: all input is fresh there
    given = sum(ours.meters[name] or 0 for name in ("input_fresh", "cache_read", "cache_write_5m"))
    assert (total.inferences, total.runs) == (6, 2)
    assert (total.meters["input_fresh"], total.meters["output"]) == (given, ours.meters["output"])


def test_sessions_whose_names_differ_in_signs_alone_have_files_of_their_own(tmp_path: Path) -> None:
    sessions = ["team/chat", "team_chat", "team:chat", "../chat", "x" * 300, "x" * 301]
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        for number, session in enumerate(sessions, start=1):
            span = Span(
                bytes([number]) * 16,
                b"callspan",
                "chat",
                SpanKind.INFERENCE,
                start_ns=START_NS,
                end_ns=START_NS + SECOND,
            )
            span.session_id = session
            call = Inference(span.trace_id, b"callspan", "openai", "gpt-4o", meters=Meters(input_fresh=10, output=5))
            with opened.transaction() as tx:
                commit(tx, RecordBatch(spans=[span], inferences=[call]))
        counts = write_weka(opened, EVERYTHING, tmp_path / "weka")
    files = sorted((tmp_path / "weka").iterdir())
    assert len(files) == counts.sessions == len(sessions)
    assert "team_chat.json" in {path.name for path in files}


def test_weka_files_come_back_as_they_were(tmp_path: Path, shared: Path) -> None:
    files = sorted((shared / "data" / "sessions" / "kv-cache-tester").glob("*.json"))[:4]
    with open_store(str(tmp_path / "real.sqlite")) as real:
        import_paths(real, [str(path) for path in files])
        write_weka(real, EVERYTHING, tmp_path / "weka")
    for path in files:
        original = json.loads(path.read_text())
        again = (
            json.loads((tmp_path / "weka" / path.name).read_text())
            if (tmp_path / "weka" / path.name).exists()
            else None
        )
        again = again or next(
            document
            for other in (tmp_path / "weka").iterdir()
            if (document := json.loads(other.read_text()))["id"] == original["id"]
        )

        def calls(requests: list[dict[str, object]]) -> list[tuple[object, ...]]:
            found: list[tuple[object, ...]] = []
            for entry in requests:
                if entry["type"] == "subagent":
                    found += calls(entry["requests"])  # type: ignore[arg-type]
                else:
                    found.append((entry["model"], entry["in"], entry["out"], len(entry["hash_ids"])))  # type: ignore[arg-type]
            return found

        assert sorted(calls(again["requests"]), key=repr) == sorted(calls(original["requests"]), key=repr)


def test_weka_sessions_wait_as_they_did(tmp_path: Path, shared: Path) -> None:
    with open_store(str(tmp_path / "real.sqlite")) as real:
        import_paths(real, [str(shared / "data" / "sessions" / "kv-cache-tester")])
        write_weka(real, EVERYTHING, tmp_path / "weka")
        before = load_workload(real, EVERYTHING)
    with open_store(str(tmp_path / "again.sqlite")) as again:
        import_paths(again, [str(tmp_path / "weka")])
        after = load_workload(again, EVERYTHING)
    assert after.warnings == before.warnings


def test_mooncake_names_shared_blocks_alike(store: Store) -> None:
    target = io.StringIO()
    assert write_mooncake(store, EVERYTHING, target) == {"calls": 6, "calls_without_date": 0}
    lines = [json.loads(line) for line in target.getvalue().splitlines()]
    assert [set(line) for line in lines] == [{"timestamp", "input_length", "output_length", "hash_ids"}] * 6
    assert [line["timestamp"] for line in lines[:3]] == [0, 9000, 21000]
    assert all(len(line["hash_ids"]) == -(-line["input_length"] // 512) for line in lines)
    assert lines[0]["hash_ids"][0] == lines[1]["hash_ids"][0] == lines[2]["hash_ids"][0]
    assert lines[0]["hash_ids"][0] != lines[3]["hash_ids"][0]


def test_mooncake_counts_dated_calls_from_the_first_of_them_and_others_from_their_session(tmp_path: Path) -> None:
    starts = [0, 3 * SECOND, START_NS, START_NS + SECOND]
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        for number, start_ns in enumerate(starts, start=1):
            span = Span(bytes([number]) * 16, b"callspan", "chat", SpanKind.INFERENCE, start_ns=start_ns)
            call = Inference(span.trace_id, b"callspan", "openai", "gpt-4o", meters=Meters(input_fresh=10, output=5))
            with opened.transaction() as tx:
                commit(tx, RecordBatch(spans=[span], inferences=[call]))
        target = io.StringIO()
        counts = write_mooncake(opened, EVERYTHING, target)
    assert counts == {"calls": 4, "calls_without_date": 2}
    assert [json.loads(line)["timestamp"] for line in target.getvalue().splitlines()] == [0, 3000, 0, 1000]


def test_agentic_mooncake_says_what_a_call_waits_for(store: Store) -> None:
    target = io.StringIO()
    write_mooncake(store, EVERYTHING, target, agentic=True)
    lines = [json.loads(line) for line in target.getvalue().splitlines()]
    assert lines[0]["wait_for"] == []
    assert lines[1]["wait_for"] == [lines[0]["request_id"]]
    assert lines[1].get("delay", lines[1].get("tool_wait_ms")) == 5000
    assert {line["session_id"] for line in lines} == {"session 1"}


def test_blocks_beyond_the_chain_are_nobody_elses() -> None:
    ids = BlockIds(512)
    one = Inference(bytes(16), b"call-one", prefix=PrefixChain(block(1, 2, 3, 4, 5, 6, 7, 8), 64, "v", "k"))
    other = Inference(bytes(16), b"call-two", prefix=one.prefix)
    assert ids.ids_of(one, 3) == [0, 1, 2]
    assert ids.ids_of(other, 3) == [0, 3, 4]


def test_parquet_holds_the_calls_with_their_cost(store: Store, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    counts = write_parquet(store, EVERYTHING, load_prices(), tmp_path / "out")
    assert counts == {"inferences": 6, "tool_calls": 2, "runs": 2}
    table = parquet.read_table(tmp_path / "out" / "inferences.parquet").to_pylist()
    total = account(store).total
    assert sum(row["list_cost_usd"] for row in table) == total.cost_usd
    assert sum(row["output"] for row in table) == total.meters["output"]
    assert {row["service"] for row in table} == {"shop"}
    assert parquet.read_table(tmp_path / "out" / "runs.parquet").num_rows == 2
