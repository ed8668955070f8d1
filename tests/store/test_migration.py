from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from inferometer.store import migration, open_store
from inferometer.store.tables import METADATA


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
