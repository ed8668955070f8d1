"""Spans of calls come back with what was kept of them."""

from __future__ import annotations

from pathlib import Path

from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind
from inferometer.store import open_store
from inferometer.store.call_spans import read_call_spans


def span(trace: int, number: int, **attributes: str) -> Span:
    return Span(bytes([trace]) * 16, bytes([number]) * 8, "chat", SpanKind.INFERENCE, attributes=dict(attributes))


def test_calls_of_the_asked_traces_come_with_their_attributes(tmp_path: Path) -> None:
    spans = [span(1, 1, said="one"), span(1, 2, said="no call"), span(1, 3), span(2, 4, said="another trace")]
    calls = [Inference(each.trace_id, each.span_id) for each in spans if each.attributes.get("said") != "no call"]
    with open_store(str(tmp_path / "calls.sqlite")) as store:
        with store.transaction() as tx:
            tx.write(RecordBatch(spans=spans, inferences=calls))
        found = {each.span_id: each.attributes for each in read_call_spans(store, [bytes([1]) * 16] * 3)}
        everything = list(read_call_spans(store, [bytes([trace]) * 16 for trace in range(1, 200)]))
    assert found == {bytes([1]) * 8: {"said": "one"}}  # no call, no attributes, another trace: none of these
    assert len(everything) == 2
