"""Stores that can only be read."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from inferometer.schema.errors import StoreError
from inferometer.schema.records import RecordBatch, Span
from inferometer.store import open_store
from inferometer.store.location import is_unchangeable
from inferometer.store.upkeep import describe


def test_a_store_on_a_read_only_medium_is_read_without_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a %?# folder"
    folder.mkdir()
    path = folder / "store.sqlite"
    with open_store(str(path)) as store, store.transaction() as tx:
        tx.write(RecordBatch(spans=[Span(bytes(16), b"rootspan", "x")]))
    before = path.read_bytes()
    monkeypatch.setattr("inferometer.store.location.is_unchangeable", lambda path: True)
    with open_store(str(path), create=False) as store:
        assert store.name == str(path)
        assert sum(1 for _ in store.inferences()) == 0
        assert describe(store).rows["spans"] == 1
        assert [entry.name for entry in folder.iterdir()] == ["store.sqlite"]
        with pytest.raises(StoreError, match="readonly"), store.transaction() as tx:
            tx.write(RecordBatch(spans=[Span(bytes(16), b"another.", "y")]))
    assert path.read_bytes() == before


def test_an_older_store_on_a_read_only_medium_says_to_upgrade_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.sqlite"
    open_store(str(path)).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE inferometer_version SET version_num = '0001'")
    monkeypatch.setattr("inferometer.store.location.is_unchangeable", lambda path: True)
    with pytest.raises(StoreError, match="is at revision 0001, this version reads"):
        open_store(str(path), create=False)


def test_only_a_store_that_cannot_change_and_has_no_log_is_read_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.sqlite"
    open_store(str(path)).close()
    assert not is_unchangeable(path)
    for closed in (path, tmp_path):
        monkeypatch.setattr(os, "access", lambda place, mode, closed=closed: place != closed)
        assert is_unchangeable(path)
    (tmp_path / "store.sqlite-wal").touch()
    assert not is_unchangeable(path)
