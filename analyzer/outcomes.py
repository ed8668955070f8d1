"""Outcomes: what a run that succeeded costs, and what went into runs that failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import ZERO
from inferometer.analyzer.spending import Spending, spending
from inferometer.schema.records import Outcome, Run

Row = dict[str, Any]

SUCCESS_THRESHOLD = 0.5
"""A graded value succeeds where it is above half of a scale from 0 to 1; labels are read before values."""

GOOD_LABELS = frozenset({"success", "succeeded", "pass", "passed", "correct", "resolved", "true", "yes", "ok", "good"})
BAD_LABELS = frozenset({"failure", "failed", "fail", "incorrect", "unresolved", "false", "no", "error", "bad", "wrong"})


def succeeded(outcome: Outcome) -> bool | None:
    """Return whether an outcome says that its run succeeded; None where it says neither."""
    label = (outcome.label or "").strip().lower()
    if label in GOOD_LABELS:
        return True
    if label in BAD_LABELS:
        return False
    return None if outcome.value is None else outcome.value > SUCCESS_THRESHOLD


def verdicts(dataset: Dataset) -> dict[str, bool]:
    """Return whether each run succeeded, for the runs that say; several outcomes of a run must all succeed."""
    found: dict[str, bool] = {}
    for outcome in dataset.outcomes:
        run_id = dataset.run_of_span.get((outcome.trace_id, outcome.span_id))
        verdict = succeeded(outcome)
        if run_id is not None and verdict is not None:
            found[run_id] = found.get(run_id, True) and verdict
    return found


def _spent(dataset: Dataset, runs: Iterable[Run]) -> Spending:
    return spending(call for run in runs for call in dataset.calls_by_run.get(run.run_id, []))


def _summary(dataset: Dataset, runs: list[Run], verdict: dict[str, bool]) -> dict[str, Any]:
    known = [run for run in runs if run.run_id in verdict]
    failed = _spent(dataset, (run for run in known if not verdict[run.run_id]))
    whole = _spent(dataset, known)
    # what failed attempts cost belongs to the successes; runs of unknown outcome, and runs of which no call has a
    # price, are in neither and counted
    priced = [run for run in known if _spent(dataset, [run]).cost_usd is not None]
    successes = _weight(run for run in priced if verdict[run.run_id])
    return {
        "runs": round(_weight(runs)),
        "known": round(_weight(known)),
        "succeeded": round(_weight(run for run in known if verdict[run.run_id])),
        "cost_usd_per_success": whole.cost_usd / Decimal(repr(successes))
        if whole.cost_usd is not None and successes
        else None,
        "cost_usd_of_known": whole.cost_usd if known else None,
        "cost_usd_of_failed": failed.cost_usd if known else None,
        "unpriced": whole.unpriced,
        "unpriced_of_failed": failed.unpriced,
        "unpriced_runs": round(_weight(known) - _weight(priced)),
    }


def _weight(runs: Iterable[Run]) -> float:
    return sum(run.weight or 1.0 for run in runs)


def _grouped(dataset: Dataset, verdict: dict[str, bool], name: str, key: Callable[[Run], str | None]) -> list[Row]:
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in dataset.runs:
        if (value := key(run)) is not None:
            groups[value].append(run)
    rows = [{name: value, **_summary(dataset, runs, verdict)} for value, runs in groups.items()]
    rows = [row for row in rows if row["known"]]
    return sorted(rows, key=lambda row: (-(row["cost_usd_of_known"] or ZERO), row[name]))


def outcomes(dataset: Dataset) -> dict[str, Any]:
    """Return the ``outcomes`` part of the audit document, over all runs, by agent and by version."""
    verdict = verdicts(dataset)
    return {
        **_summary(dataset, dataset.runs, verdict),
        "by_agent": _grouped(dataset, verdict, "agent", lambda run: run.agent_name or run.name),
        "by_version": _grouped(dataset, verdict, "version", dataset.version_of),
    }
