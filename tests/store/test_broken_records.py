"""Whatever a record holds, it is stored as far as a database can, and what lies beside it is stored whole."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Charge,
    Inference,
    Outcome,
    PrefixChain,
    RecordBatch,
    Resource,
    ServingSample,
    Span,
    ToolCall,
)
from inferometer.store import open_store

numbers = st.integers(-(2**70), 2**70)
texts = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(["\x00", "\ud800", "a\udfffb", ""])
floats = st.floats(allow_nan=True, allow_infinity=True)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | floats | texts | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
maybe_text, maybe_number = st.none() | texts, st.none() | numbers


@st.composite
def batches(draw: st.DrawFn) -> RecordBatch:
    trace = draw(st.binary(min_size=16, max_size=16))
    ids = draw(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=3))
    resource = Resource(((draw(texts), draw(texts)),))
    batch = RecordBatch()
    for span_id in ids:
        batch.spans.append(
            Span(
                trace,
                span_id,
                draw(texts),
                start_ns=draw(maybe_number),
                end_ns=draw(maybe_number),
                resource=resource,
                session_id=draw(maybe_text),
                tags={draw(texts): draw(texts)},
                attributes=draw(st.dictionaries(texts, values, max_size=3)),
                attributes_dropped=draw(st.integers(0, 2**63 - 1)),
            )
        )
        batch.inferences.append(
            Inference(
                trace,
                span_id,
                draw(maybe_text),
                draw(maybe_text),
                meters=Meters(input_fresh=draw(maybe_number), output=draw(maybe_number)),
                raw_usage={"usage": draw(values)},
                recorded_cost_usd=draw(st.none() | st.decimals(0, 10, places=12)),
                prefix=draw(st.none() | st.builds(PrefixChain, st.binary(max_size=20), st.just(64), texts, texts)),
                reasons=[draw(texts)],
            )
        )
        batch.tool_calls.append(ToolCall(trace, span_id, draw(texts), result_tokens=draw(maybe_number)))
        batch.charges.append(Charge(trace, span_id, draw(texts), Decimal(1), draw(texts)))
        batch.outcomes.append(Outcome(trace, span_id, draw(texts), draw(st.none() | floats), draw(maybe_text)))
    batch.serving_samples.append(ServingSample(draw(st.integers(0, 2**62)), draw(texts), draw(floats), resource))
    return batch


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_server").create_database("broken_records")
    else:
        url = str(Path(tmp_path_factory.mktemp("broken")) / "store.sqlite")
    with open_store(url) as opened:
        yield opened


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches())
def test_broken_records_are_stored_and_come_back(store, batch: RecordBatch) -> None:
    keys = {(span.trace_id, span.span_id) for span in batch.spans}
    with store.transaction() as tx:
        tx.write(batch)
        assert tx.write(batch).spans == 0
    with store.transaction() as tx:
        loaded = tx.load_traces({span.trace_id for span in batch.spans})
    for records in (loaded.spans, loaded.inferences, loaded.tool_calls):
        assert keys <= {(record.trace_id, record.span_id) for record in records}
    found = {(row.inference.trace_id, row.inference.span_id) for row in store.inferences(with_prefix=True)}
    assert keys <= found
    store.serving_samples()
    store.outcomes()
