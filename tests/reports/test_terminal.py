"""Tables on narrow terminals: whole columns are left out and named, and no figure is cut."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from inferometer.analyzer.accounting import Accounting, account
from inferometer.analyzer.runs import RunSummary, list_runs
from inferometer.ingest.importing import import_paths
from inferometer.profiles.prices import load_prices
from inferometer.reports.terminal import print_accounting, print_runs
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store
from inferometer.testing.sample_sessions import write_sample_sessions


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("samples")
    write_sample_sessions(folder / "sessions")
    with open_store(str(folder / "store.sqlite")) as opened:
        import_paths(opened, [folder / "sessions"])
        yield opened


@pytest.fixture(scope="module")
def accounting(store: Store) -> Accounting:
    return account(store, Selection(), "agent", load_prices())


@pytest.fixture(scope="module")
def runs(store: Store) -> list[RunSummary]:
    return list_runs(store, load_prices(), Selection())


def printed(accounting: Accounting, width: int) -> str:
    file = io.StringIO()
    print_accounting(accounting, Console(file=file, width=width, color_system=None))
    return file.getvalue()


@pytest.mark.parametrize("width", [200, 100, 80, 60, 40])
def test_no_figure_is_cut_however_narrow_the_terminal(accounting: Accounting, width: int) -> None:
    lines = printed(accounting, width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    table = lines[: next(place for place, line in enumerate(lines) if line.startswith("total")) + 1]
    assert table[0].split()[-1] == "cost"
    assert all(line.split()[-1].startswith("$") for line in table[1:])
    assert [line.split()[0] for line in table[1:]] == [*(str(group.key) for group in accounting.groups), "total"]


def test_what_has_no_room_is_named(accounting: Accounting) -> None:
    assert "for want of width" not in printed(accounting, 200)
    narrow = " ".join(printed(accounting, 50).split())
    assert "for want of width without: runs, fresh in, cache read, write 5m" in narrow


@pytest.mark.parametrize("width", [200, 100, 80, 60])
def test_a_run_is_named_and_priced_however_narrow_the_terminal(runs: list[RunSummary], width: int) -> None:
    file = io.StringIO()
    print_runs(runs, len(runs), Console(file=file, width=width, color_system=None))
    # a long name goes on in a line of its own
    heading, *lines = [line for line in file.getvalue().splitlines() if line[:1].strip()][: len(runs) + 1]
    assert heading.split()[:2] == ["run", "name"]
    assert heading.split()[-1] == "cost"
    for line, summary in zip(lines, runs, strict=True):
        assert line.startswith(f"{summary.run.run_id}  {summary.run.agent_name}")
        assert line.split()[-1].startswith("$")
        assert "…" not in line
        assert len(line) <= width
