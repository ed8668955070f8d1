from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest import normalise
from inferometer.ingest.importing import import_paths
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.reprocess import reprocess
from inferometer.schema.records import RecordBatch
from inferometer.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path):
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        yield opened


def test_reading_real_spans_again_keeps_every_total(store: Store, shared: Path) -> None:
    import_paths(store, [str(shared / "data" / "spans")])
    changes = reprocess(store, everything=True)
    assert changes.spans > 100
    assert changes.before == changes.after
    # a second time there is nothing left that content alone said
    assert reprocess(store, everything=True).fields == {}


def test_what_was_read_by_this_version_is_left_alone(store: Store, shared: Path) -> None:
    import_paths(store, [str(shared / "data" / "spans" / "agent-prism")])
    assert reprocess(store).spans == 0


def test_a_newer_normaliser_is_applied_and_says_what_changed(
    store: Store, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_paths(store, [str(shared / "data" / "spans" / "agent-prism")])
    from inferometer.ingest import reprocess as module

    plain = normalise.normalise

    def newer(raw_spans: Iterable[RawSpan], **options: Any) -> RecordBatch:
        batch = plain(raw_spans, **options)
        for span in batch.spans:
            span.normaliser_version = 99
        for call in batch.inferences:
            if call.meters.output is not None:
                call.meters.output += 1
        return batch

    monkeypatch.setattr(module, "normalise", newer)
    monkeypatch.setattr(module, "NORMALISER_VERSION", 99)
    changes = reprocess(store)
    assert changes.spans > 10
    assert changes.after["output"] > changes.before["output"]
    assert changes.fields["inference meters"] > 0
    assert any(line.startswith("output: ") for line in changes.lines())
    assert reprocess(store).spans == 0


def test_content_that_was_asked_for_stays(store: Store, shared: Path) -> None:
    import_paths(store, [shared / "data" / "spans" / "agent-prism"], keep_content=True)
    before = {span.span_id: span for run in store.runs() for span in store.spans_of_run(run.run_id)}
    assert sum(len(str(span.attributes)) for span in before.values()) > 100_000
    assert reprocess(store, everything=True).fields == {}
    assert {span.span_id: span for run in store.runs() for span in store.spans_of_run(run.run_id)} == before
