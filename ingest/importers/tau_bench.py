"""tau-bench results: a list of runs with messages, tool calls and rewards; no usage, no times."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from inferometer.ingest.importers.conversation import add_answers, model_in_path
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_entries
from inferometer.ingest.importers.parts import BETWEEN
from inferometer.ingest.importers.session import Session
from inferometer.ingest.values import as_list, as_mapping, as_money
from inferometer.schema.records import Outcome, Purpose, RecordBatch

_DOMAIN = re.compile(r"-(?:airline|retail|telecom)$", re.IGNORECASE)


def matches(source: Source) -> bool:
    """Return whether a file is a list of runs with trajectories and rewards."""
    first = source.first
    entry = as_mapping(first[0] if isinstance(first, list) and first else None)
    return "task_id" in entry and "reward" in entry and isinstance(entry.get("traj"), list)


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of each run."""
    warnings: Counter[str] = Counter()
    model = source.options.model or _model_of(source)
    for place, entry in enumerate(read_entries(source, warnings, BETWEEN)):
        if isinstance(entry, dict):
            yield _read_run(source, entry, place, model)
        else:
            warnings["not_an_object"] += 1
    yield RecordBatch(warnings=warnings)


def _model_of(source: Source) -> str | None:
    """Return the model that the file's name states before the benchmark's domain: ``gpt-4o-airline.json``."""
    stated = model_in_path(source.path)
    return stated and _DOMAIN.sub("", stated)


def _read_run(source: Source, entry: dict[str, Any], place: int, model: str | None) -> RecordBatch:
    name = f"{source.name}/task {entry.get('task_id')}/trial {entry.get('trial', place)}"
    session = Session("tau-bench", name, source.name, "tau-bench", str(place))
    session.begin_run("run", None)
    add_answers(session, as_list(entry.get("traj")), model)
    if not session.batch.spans:
        session.current_run(None)
    root = session.batch.spans[0]
    root.purpose = Purpose.EVALUATE
    reward = entry.get("reward")
    if isinstance(reward, (int, float)) and not isinstance(reward, bool):
        label = "success" if reward >= 1 else "failure"
        outcome = Outcome(root.trace_id, root.span_id, "reward", float(reward), label, "trajectory")
        session.batch.outcomes.append(outcome)
    user_cost = as_money(as_mapping(entry.get("info")).get("user_cost"))
    if user_cost is not None:
        root.tags["user_cost_usd"] = format(user_cost, "f")
    return session.finish()


IMPORTER = Importer(
    name="tau-bench",
    reads="tau-bench result lists: a run each with its reward as outcome, tokens counted from the messages",
    matches=matches,
    read=read,
    cuts=BETWEEN,
)
