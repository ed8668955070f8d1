from __future__ import annotations

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
