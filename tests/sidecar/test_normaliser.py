from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest import otlp
from inferometer.schema.errors import StoreError
from inferometer.sidecar import normaliser as module
from inferometer.sidecar.normaliser import Normaliser
from inferometer.sidecar.normaliser_settings import NormaliserSettings
from inferometer.sidecar.settings import Settings
from inferometer.store import Store
from inferometer.store.journal import STORE_CONSUMER, Journal
from inferometer.store.log_records import NewEntry
from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids

SETTINGS = NormaliserSettings.of(Settings(), "")


def append(journal: Journal, *bodies: bytes) -> None:
    journal.append([NewEntry("traces", "protobuf", "identity", 1, body, 1) for body in bodies])


def drain(normaliser: Normaliser) -> None:
    for _ in range(50):
        if not normaliser.step():
            return
    pytest.fail("the journal was not emptied")


def poisoned(monkeypatch: pytest.MonkeyPatch, mark: bytes) -> None:
    """Make the decoder fail for requests that hold a mark."""
    decode = otlp.decode_traces

    def decode_or_fail(body: bytes, *rest: Any) -> Any:
        if mark in body:
            raise ValueError("poison")
        return decode(body, *rest)

    monkeypatch.setattr("inferometer.sidecar.reading.decode_traces", decode_or_fail)


def test_a_poison_request_is_set_aside_and_the_others_are_stored(
    store: Store, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, b"the-mark")
    good = [build_request(2) for _ in range(4)]
    poison = build_request(2, content="spoken words", attributes={"team": "the-mark"})
    bodies = [request.SerializeToString() for request in good]
    append(journal, *bodies[:2], poison.SerializeToString(), *bodies[2:])
    reports: list[dict[str, Any]] = []
    drain(Normaliser(store, journal, SETTINGS, reports.append))
    assert set(stored_ids(tmp_path / "store.sqlite")) == set().union(*map(ids_of, good))
    (kept,) = journal.quarantined()
    assert (kept.reason, kept.consumer) == ("ValueError", STORE_CONSUMER)
    assert kept.body is not None
    assert b"spoken words" not in kept.body
    assert sum(report.get("quarantined_total", 0) for report in reports) == 1

    # mended, the request is retried from the command line, and lands
    monkeypatch.undo()
    words = [sys.executable, "-P", "-m", "inferometer", "sidecar", "--store", str(tmp_path / "store.sqlite")]
    listed = subprocess.run([*words, "--quarantine", "list"], capture_output=True, text=True, check=True, timeout=60)
    assert "ValueError" in listed.stdout
    subprocess.run([*words, "--quarantine", "retry"], capture_output=True, check=True, timeout=60)
    drain(Normaliser(store, journal, SETTINGS, reports.append))
    assert ids_of(poison) <= set(stored_ids(tmp_path / "store.sqlite"))
    assert journal.quarantined() == []


def test_a_request_that_only_the_store_refuses_is_found_and_set_aside(
    store: Store, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = module.commit

    def commit_or_fail(tx: Any, batch: Any) -> Any:
        if any(span.tags.get("x") == "poison" or span.name == "poison" for span in batch.spans):
            raise OverflowError("too large to store")
        return commit(tx, batch)

    monkeypatch.setattr(module, "commit", commit_or_fail)
    good = [build_request(1) for _ in range(3)]
    poison = build_request(1)
    poison.resource_spans[0].scope_spans[0].spans[0].name = "poison"
    append(journal, *(request.SerializeToString() for request in (good[0], poison, *good[1:])))
    drain(Normaliser(store, journal, SETTINGS, lambda _: None))
    assert set(stored_ids(tmp_path / "store.sqlite")) == set().union(*map(ids_of, good))
    assert [kept.reason for kept in journal.quarantined()] == ["OverflowError"]


def test_while_the_store_is_away_nothing_is_moved_or_set_aside(
    store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(journal, build_request().SerializeToString())
    normaliser = Normaliser(store, journal, SETTINGS, lambda _: None)

    def away() -> Any:
        raise StoreError("store", "is away")

    monkeypatch.setattr(store, "transaction", away)
    with pytest.raises(StoreError, match="is away"):
        normaliser.step()
    assert journal.quarantined() == []
    assert journal.backlog(STORE_CONSUMER).entries == 1
    monkeypatch.undo()
    drain(normaliser)
    assert journal.backlog(STORE_CONSUMER).entries == 0


def test_a_request_that_ends_the_process_again_and_again_is_set_aside(store: Store, journal: Journal) -> None:
    append(journal, build_request().SerializeToString(), build_request().SerializeToString())

    class Crash(BaseException):
        pass

    careful = replace(SETTINGS, careful=True)
    (first,) = journal.read(STORE_CONSUMER, max_items=1, max_bytes=1)
    for _ in range(3):
        crashing = Normaliser(store, journal, careful, lambda _: None)

        def crash(_: Any) -> Any:
            raise Crash

        crashing._read = crash  # type: ignore[method-assign]
        with pytest.raises(Crash):
            crashing.step()
    drain(Normaliser(store, journal, careful, lambda _: None))
    (kept,) = journal.quarantined()
    assert "ended 3 times" in kept.reason
    assert kept.entry_id == first.entry_id
