"""Outlines of spans: what of them the shape of a run is made of, for many runs at once."""

from __future__ import annotations

from pathlib import Path

from inferometer.schema.records import Decisions, RecordBatch, Run, Span, SpanKind
from inferometer.store import open_store


def test_outlines_are_those_of_the_whole_spans_in_order_of_start(tmp_path: Path) -> None:
    batch, decisions = RecordBatch(), Decisions()
    for number in range(700):  # more runs than one query names
        trace_id, root = number.to_bytes(16, "big"), number.to_bytes(8, "big")
        child, run_id = (1000 + number).to_bytes(8, "big"), f"{number:016x}"
        batch.spans.append(Span(trace_id, child, "x", SpanKind.TOOL, root, start_ns=20, end_ns=None))
        batch.spans.append(Span(trace_id, root, "x", SpanKind.AGENT, start_ns=10, end_ns=30))
        decisions.runs.append(Run(run_id, trace_id, root, "x", start_ns=10))
        decisions.run_ids |= {(trace_id, root): run_id, (trace_id, child): run_id}
    with open_store(str(tmp_path / "store.sqlite")) as store:
        with store.transaction() as tx:
            tx.write(batch)
            tx.apply(decisions)
        runs = [run.run_id for run in store.runs()]
        found = store.outlines_of_runs([*runs, runs[0], "unknown"])
        assert found.pop("unknown") == []
        assert found.keys() == set(runs)
        for run_id in (runs[0], runs[350], runs[-1]):
            assert [(one.span_id, one.parent_id, one.kind, one.start_ns, one.end_ns) for one in found[run_id]] == [
                (span.span_id, span.parent_id, span.kind, span.start_ns, span.end_ns)
                for span in store.spans_of_run(run_id)
            ]
        assert len(found[runs[0]]) == 2
