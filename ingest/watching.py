"""Files that grow, followed by looking at them: one that changed is imported again, which adds the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

from inferometer.ingest.importing import ImportReport
from inferometer.ingest.receipts import Mark, mark_of
from inferometer.store import Store

INTERVAL_S = 2.0

Marks = dict[PurePath, Mark]


def changed_files(paths: Callable[[], Iterator[Path]], marks: Marks) -> list[Path]:
    """Return the files that are new or were written to since the last look, and note how they are now.

    Args:
        paths: the files to look at.
        marks: of each file at the last look; changed in place.
    """
    changed = []
    for path in paths():
        mark = mark_of(path)
        if mark is not None and marks.get(path) != mark:
            marks[path] = mark
            changed.append(path)
    return changed


def watch(
    store: Store,
    paths: Callable[[], Iterator[Path]],
    load: Callable[[Store, list[Path]], ImportReport],
    *,
    marks: Marks | None = None,
    interval_s: float = INTERVAL_S,
    rounds: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[ImportReport]:
    """Yield a report for each look that found something, for ever or for a number of looks.

    Args:
        store: where the records go.
        paths: the files to follow, asked for anew at each look.
        load: imports some files.
        marks: how files were when they were read before; none was where None.
        interval_s: seconds between looks.
        rounds: number of looks; without end where None.
        sleep: waits, for tests.
    """
    marks = {} if marks is None else marks
    done = 0
    while rounds is None or done < rounds:
        changed = changed_files(paths, marks)
        if changed:
            yield load(store, changed)
        done += 1
        if rounds is None or done < rounds:
            sleep(interval_s)
