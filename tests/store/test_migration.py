from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, MetaData, create_engine
from tests.store.records import CALL, TRACE, full_batch, full_decisions

from inferometer.ingest.commit import commit
from inferometer.ingest.reprocess import reprocess
from inferometer.schema.records import RecordBatch, Span, SpanLink
from inferometer.store import Store, migration, open_store
from inferometer.store.tables import METADATA

FIRST_STORE = Path(__file__).parent / "store_0001.json"
"""Every row of a store into which code of revision 0001 wrote `full_batch` and `full_decisions`; bytes are in hex."""


def shape(engine: object) -> dict[str, object]:
    from sqlalchemy import inspect

    found = inspect(engine)
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(name)],
            sorted((index["name"], tuple(index["column_names"]), index["unique"]) for index in found.get_indexes(name)),
        )
        for name in found.get_table_names()
        if name in METADATA.tables
    }


def test_migrations_end_in_the_tables_of_the_code(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "migrated.sqlite")) as store:
        migrated = shape(store.engine)
    engine = create_engine(f"sqlite:///{tmp_path / 'created.sqlite'}")
    METADATA.create_all(engine)
    assert migrated == shape(engine)
    engine.dispose()


def test_head_is_the_newest_migration() -> None:
    versions = Path(migration.__file__).parent / "migrations" / "versions"
    assert max(path.name.split("_")[0] for path in versions.glob("[0-9]*.py")) == migration.HEAD


def test_an_open_store_is_not_migrated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "store.sqlite")
    open_store(path).close()
    monkeypatch.setattr(migration, "_upgrade", lambda connection: pytest.fail("migrated again"))
    open_store(path).close()


_OPEN_AND_WRITE = """
import os, sys
from inferometer.schema.records import RecordBatch, Span
from inferometer.store import open_store
with open_store(sys.argv[1]) as store, store.transaction() as tx:
    tx.write(RecordBatch(spans=[Span(os.urandom(16), os.urandom(8), "x")]))
"""


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_processes_that_open_a_new_store_at_once_all_can(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    on_server = database == "postgres"
    url = request.getfixturevalue("postgres_url") if on_server else str(tmp_path / "store.sqlite")
    command = [sys.executable, "-c", _OPEN_AND_WRITE, url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=120)[1] for process in processes] == ["", "", ""]
    with open_store(url) as store, store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM spans").scalar() == 3


def stored(value: Any, column: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return bool(value) if isinstance(column.type, Boolean) else value


def write_first_store(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a store as code of revision 0001 did."""
    with monkeypatch.context() as patch:
        patch.setattr(migration, "HEAD", "0001")
        with open_store(url) as store, store.engine.begin() as connection:
            old = MetaData()
            old.reflect(connection)
            for name, rows in json.loads(FIRST_STORE.read_bytes()).items():
                table = old.tables[name]
                for row in rows:
                    values = {key: stored(value, table.columns[key]) for key, value in row.items()}
                    connection.execute(table.insert().values(values))


def told(store: Store) -> dict[str, Any]:
    """All that a store tells of what is in it."""
    return {
        "runs": store.runs(),
        "spans": sorted(store.spans_of_run(store.runs()[0].run_id), key=lambda span: span.span_id),
        "inferences": list(store.inferences(billable_only=False, with_prefix=True)),
        "tool_calls": list(store.tool_calls()),
        "charges": store.charges(),
        "outcomes": store.outcomes(),
        "samples": store.serving_samples(),
    }


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_store_of_the_first_revision_is_read_whole_and_goes_on(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else str(tmp_path / "first.sqlite")
    write_first_store(url, monkeypatch)
    with open_store(str(tmp_path / "today.sqlite")) as store:
        with store.transaction() as tx:
            tx.write(full_batch())
            tx.apply(full_decisions())
        expected = told(store)
    assert all(expected.values())
    with open_store(url) as store:
        assert store.revision_before == "0001"
        assert told(store) == expected
        today = shape(store.engine)
        # the same records again change nothing
        with store.transaction() as tx:
            assert tx.write(full_batch()).spans == 0
        assert told(store) == expected
        # what comes now is joined to what was there, by the newer index too
        later = Span(b"n" * 16, b"nextspan", "x", session_id="session-1", links=[SpanLink(TRACE, CALL)])
        with store.transaction() as tx:
            commit(tx, RecordBatch(spans=[later]))
            assert tx.joined_trace_ids(RecordBatch(spans=[later])) == {TRACE, later.trace_id}
        reprocess(store, everything=True)
        kept = store.spans_of_run(store.runs()[0].run_id)
        assert {span.span_id for span in kept} == {span.span_id for span in expected["spans"]}
    assert today.keys() == METADATA.tables.keys()
    with open_store(url) as store:
        assert store.revision_before == migration.HEAD
