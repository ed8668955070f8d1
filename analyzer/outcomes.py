"""Outcomes: what a run that succeeded costs, and what went into runs that failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from inferometer.analyzer.audit_dataset import ZERO, Dataset
from inferometer.schema.records import Outcome, Run

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


def _cost(dataset: Dataset, runs: Iterable[Run]) -> Decimal | None:
    """Return the runs' weighted cost; None where none of their calls is priced."""
    total, priced = ZERO, False
    for run in runs:
        for call in dataset.calls_by_run.get(run.run_id, []):
            priced = priced or call.cost_usd is not None
            total += call.weighted_cost_usd
    return total if priced else None


def _summary(dataset: Dataset, runs: list[Run], verdict: dict[str, bool]) -> dict[str, Any]:
    known = [run for run in runs if run.run_id in verdict]
    good = [run for run in known if verdict[run.run_id]]
    weight = sum(run.weight or 1.0 for run in good)
    cost = _cost(dataset, known)
    return {
        "runs": round(sum(run.weight or 1.0 for run in runs)),
        "known": round(sum(run.weight or 1.0 for run in known)),
        "succeeded": round(weight),
        # what failed attempts cost belongs to the successes; runs of unknown outcome are left out and counted
        "cost_usd_per_success": cost / Decimal(repr(weight)) if cost is not None and weight else None,
        "cost_usd_of_known": cost,
        "cost_usd_of_failed": _cost(dataset, (run for run in known if not verdict[run.run_id])) if known else None,
    }


def outcomes(dataset: Dataset) -> dict[str, Any]:
    """Return the ``outcomes`` part of the audit document, over all runs and by agent."""
    verdict = verdicts(dataset)
    by_agent: dict[str, list[Run]] = defaultdict(list)
    for run in dataset.runs:
        by_agent[run.agent_name or run.name].append(run)
    rows = [{"agent": agent, **_summary(dataset, runs, verdict)} for agent, runs in by_agent.items()]
    rows = [row for row in rows if row["known"]]
    return {
        **_summary(dataset, dataset.runs, verdict),
        "by_agent": sorted(rows, key=lambda row: (-(row["cost_usd_of_known"] or ZERO), row["agent"])),
    }
