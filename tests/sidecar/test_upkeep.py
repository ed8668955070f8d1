from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from inferometer.analyzer.accounting import account
from inferometer.ingest.commit import commit
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind, Status, ToolCall, UsageSource
from inferometer.sidecar.normaliser_settings import NormaliserSettings
from inferometer.sidecar.settings import Settings
from inferometer.sidecar.upkeep import Upkeep, _lot
from inferometer.store import Store
from inferometer.store.journal import Journal
from inferometer.store.upkeep import purge

NOW_NS = 1_760_000_000_000_000_000
HOUR_NS = 3600 * 1_000_000_000
SETTINGS = NormaliserSettings.of(Settings(), "")


def build_batch(number: int, *, start_ns: int = NOW_NS, status: Status = Status.OK, tokens: int = 1000) -> RecordBatch:
    """Return one run: agent > step > (inference, tool > inner span > inference)."""
    trace_id = number.to_bytes(16, "big")
    kinds = [
        (1, None, SpanKind.AGENT),
        (2, 1, SpanKind.STEP),
        (3, 2, SpanKind.INFERENCE),
        (4, 2, SpanKind.TOOL),
        (5, 4, SpanKind.OTHER),
        (6, 5, SpanKind.INFERENCE),
    ]
    batch = RecordBatch()
    for span_id, parent_id, kind in kinds:
        batch.spans.append(
            Span(
                trace_id,
                span_id.to_bytes(8, "big"),
                f"span {span_id}",
                kind,
                parent_id.to_bytes(8, "big") if parent_id else None,
                start_ns=start_ns + span_id,
                end_ns=start_ns + 1_000_000 - span_id,
                status=status,
                attributes={"team": "search"},
            )
        )
        if kind is SpanKind.INFERENCE:
            batch.inferences.append(
                Inference(
                    trace_id,
                    span_id.to_bytes(8, "big"),
                    provider="openai",
                    request_model="gpt-4o",
                    meters=Meters(input_fresh=tokens + span_id, output=span_id),
                    usage_source=UsageSource.PROVIDER,
                )
            )
        if kind is SpanKind.TOOL:
            batch.tool_calls.append(ToolCall(trace_id, span_id.to_bytes(8, "big"), "search"))
    return batch


def write(store: Store, *batches: RecordBatch) -> None:
    for batch in batches:
        with store.transaction() as tx:
            commit(tx, batch, NOW_NS + 2_000_000)


def upkeep(store: Store, journal: Journal, *, now_ns: int = NOW_NS + HOUR_NS, **changes: Any) -> Upkeep:
    return Upkeep(store, journal, replace(SETTINGS, **changes), lambda _: None, lambda: now_ns)


def test_a_run_is_closed_once_it_was_quiet_long_enough(store: Store, journal: Journal) -> None:
    write(store, build_batch(1))
    assert store.runs()[0].is_open
    assert upkeep(store, journal, now_ns=NOW_NS + 60_000_000_000).settle() == 0
    assert store.runs()[0].is_open
    assert upkeep(store, journal).settle() == 1
    assert not store.runs()[0].is_open


def test_sampling_keeps_every_inference_and_tool_with_its_meters_and_thins_the_rest(
    store: Store, journal: Journal
) -> None:
    write(store, *(build_batch(number) for number in range(1, 41)))
    before = account(store)
    assert upkeep(store, journal, sample=0.5).settle() == 40
    after = account(store)
    assert after.total == before.total
    assert len(list(store.tool_calls())) == 40
    sizes = {run.run_id: len(store.spans_of_run(run.run_id)) for run in store.runs()}
    assert {run_id: size == 6 for run_id, size in sizes.items()} == {run_id: _lot(run_id) < 0.5 for run_id in sizes}
    assert set(sizes.values()) == {4, 6}
    for run_id, size in sizes.items():
        spans = {span.span_id[-1]: span for span in store.spans_of_run(run_id)}
        if size == 4:
            assert {number: span.parent_id and span.parent_id[-1] for number, span in spans.items()} == {
                1: None,
                3: 1,
                4: 1,
                6: 4,
            }
            assert all(span.attributes == {} for span in spans.values())
        else:
            assert {number: span.weight for number, span in spans.items()} == {
                **dict.fromkeys((1, 3, 4, 6)),
                **dict.fromkeys((2, 5), 2.0),
            }


def test_what_comes_late_to_a_thinned_run_finds_the_same_runs(store: Store, journal: Journal) -> None:
    write(store, build_batch(1))
    upkeep(store, journal, sample=1e-9).settle()
    (before,) = store.runs()
    late = RecordBatch(spans=[replace(build_batch(1).spans[4], span_id=bytes(7) + b"\x09")])
    write(store, late)
    (after,) = store.runs()
    assert after.run_id == before.run_id
    assert len({row.placement.run_id for row in store.inferences()}) == 1


@pytest.mark.parametrize("places", [range(6), (1,), (4,), (1, 4), (2, 3, 5)])
def test_what_is_sent_again_to_a_thinned_run_stays_as_it_is(
    store: Store, journal: Journal, places: Iterable[int]
) -> None:
    """A span that was taken out does not come back, and one that hung under it is not torn off its tree."""
    write(store, build_batch(1))
    upkeep(store, journal, sample=1e-9).settle()
    (before,) = store.runs()
    tree = {span.span_id: span.parent_id for span in store.spans_of_run(before.run_id)}
    accounted = account(store)
    batch = build_batch(1)
    again = RecordBatch(spans=[batch.spans[place] for place in places])
    chosen = {span.span_id for span in again.spans}
    again.inferences = [call for call in batch.inferences if call.span_id in chosen]
    with store.transaction() as tx:
        counts = commit(tx, again, NOW_NS + 2_000_000)
    assert (counts.spans, counts.duplicates) == (0, len(again.spans))
    (after,) = store.runs()
    assert after.run_id == before.run_id
    assert {span.span_id: span.parent_id for span in store.spans_of_run(after.run_id)} == tree
    assert account(store).total == accounted.total


def test_what_comes_late_under_a_span_that_was_taken_out_hangs_higher(store: Store, journal: Journal) -> None:
    write(store, build_batch(1))
    upkeep(store, journal, sample=1e-9).settle()
    (before,) = store.runs()
    inner = build_batch(1).spans[1]
    assert inner.span_id not in {span.span_id for span in store.spans_of_run(before.run_id)}
    late = replace(build_batch(1).spans[2], span_id=bytes(7) + b"\x0a", parent_id=inner.span_id)
    write(store, RecordBatch(spans=[late]))
    (after,) = store.runs()
    assert after.run_id == before.run_id
    (stored,) = (span for span in store.spans_of_run(after.run_id) if span.span_id == late.span_id)
    assert stored.parent_id == inner.parent_id
    # the run is thinned again, and still knows what was taken out first
    upkeep(store, journal, sample=1e-9).settle()
    write(store, build_batch(1))
    assert [run.run_id for run in store.runs()] == [before.run_id]


def test_nothing_is_remembered_of_a_run_that_was_erased(store: Store, journal: Journal) -> None:
    write(store, build_batch(1))
    upkeep(store, journal, sample=1e-9).settle()
    purge(store, runs=[store.runs()[0].run_id])
    with store.transaction() as tx:
        assert tx.fit_into_thinned(build_batch(1), {build_batch(1).spans[0].trace_id})[1] == 0
    write(store, build_batch(1))
    assert len(store.spans_of_run(store.runs()[0].run_id)) == 6


@pytest.mark.parametrize("changes", [{"status": Status.ERROR}, {"tokens": 10_000_000}])
def test_failed_and_costly_runs_stay_whole(store: Store, journal: Journal, changes: dict[str, Any]) -> None:
    write(store, build_batch(1, **changes))
    assert upkeep(store, journal, sample=1e-9).settle() == 1
    assert len(store.spans_of_run(store.runs()[0].run_id)) == 6


def test_what_is_older_than_is_kept_is_erased(store: Store, journal: Journal) -> None:
    write(store, build_batch(1, start_ns=NOW_NS - 10 * 24 * HOUR_NS), build_batch(2))
    upkeep(store, journal, keep_s=7 * 86400).forget_old()
    assert [run.trace_id[-1] for run in store.runs()] == [2]
