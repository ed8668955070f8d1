"""Totals and groups of an audit: the G of every document, over calls that are already priced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from inferometer.analyzer.accounting import Accounting, account_rows
from inferometer.analyzer.audit_dataset import ZERO, CostedCall, Dataset
from inferometer.analyzer.fanout import day_of
from inferometer.analyzer.grouping import Grouping
from inferometer.schema.meters import DISJOINT_METERS
from inferometer.schema.records import Inference, Run, UsageSource
from inferometer.schema.rows import Placement

Key = Callable[[Inference, Placement], str | None]


def accounted(dataset: Dataset, name: str, key: Key) -> Accounting:
    """Return the ``cost`` document of a dataset by a key, from the same code as ``inferometer cost``."""
    keys = Grouping(name, lambda row: key(row.inference, row.placement), lambda *_: None)
    return account_rows(
        (call.row for call in dataset.calls),
        [(charge.charge, charge.placement) for charge in dataset.charges],
        dataset.tool_calls if dataset.prices.has_tools else [],
        keys,
        dataset.prices,
        dataset.selection,
    )


def groups_of(accounting: Accounting) -> list[dict[str, Any]]:
    """Return the groups that hold calls, the costliest first; what has no key is called ``unknown``."""
    return [
        {**group.as_dict(), "key": group.key or "unknown"}
        for group in accounting.groups
        if group.inferences or group.observed
    ]


def by_model(inference: Inference, _: Placement) -> str | None:
    """Return the model of a call."""
    return inference.model


def by_agent(dataset: Dataset) -> Key:
    """Return a key that names the agent of a call: its own, else its run's."""

    def key(_: Inference, placement: Placement) -> str | None:
        if placement.agent_name:
            return placement.agent_name
        run = dataset.run_by_id.get(placement.run_id or "")
        return (run.agent_name or run.name) if run else None

    return key


def by_day(call: CostedCall) -> str | None:
    """Return the UTC day of a call; None where its time is no date."""
    return day_of(call.start_ns) if call.is_dated else None


def series_by_day(dataset: Dataset) -> list[dict[str, Any]]:
    """Return cost by day and model of dated calls, in order of the days."""
    cells: dict[tuple[str, str], list[CostedCall]] = defaultdict(list)
    for call in dataset.calls:
        day = by_day(call)
        if day is not None:
            cells[day, call.model].append(call)
    return [
        {
            "day": day,
            "model": model,
            "inferences": round(sum(call.weight for call in calls)),
            "cost_usd": sum((call.weighted_cost_usd for call in calls), ZERO),
        }
        for (day, model), calls in sorted(cells.items())
    ]


def cost_by_meter(calls: Iterable[CostedCall]) -> list[dict[str, Any]]:
    """Return weighted tokens and dollars by meter; what is not of tokens is ``other``."""
    dollars: dict[str, Decimal] = defaultdict(Decimal)
    tokens: dict[str, float] = defaultdict(float)
    for call in calls:
        weight = Decimal(repr(call.weight))
        for meter, cost in call.cost_by_meter_usd.items():
            dollars[meter if meter in DISJOINT_METERS else "other"] += cost * weight
        for meter in DISJOINT_METERS:
            tokens[meter] += (getattr(call.inference.meters, meter) or 0) * call.weight
    names = [name for name in (*DISJOINT_METERS, "other") if tokens.get(name) or dollars.get(name)]
    return [
        {"meter": name, "tokens": round(tokens.get(name, 0)), "cost_usd": dollars.get(name, ZERO)} for name in names
    ]


def allocation(dataset: Dataset) -> list[dict[str, Any]]:
    """Return cost by the values of each tag that runs carry, with the share that no run of it is tagged with."""
    names = sorted({name for run in dataset.runs for name in run.tags})
    total = dataset.cost_usd
    rows = []
    for name in names:
        spent: dict[str, Decimal] = defaultdict(Decimal)
        for run in dataset.runs:
            if name in run.tags:
                spent[run.tags[name]] += _run_cost(dataset, run)
        tagged = sum(spent.values(), ZERO)
        rows.append(
            {
                "tag": name,
                "values": [
                    {"value": value, "cost_usd": cost}
                    for value, cost in sorted(spent.items(), key=lambda item: (-item[1], item[0]))
                ],
                "untagged_usd": total - tagged,
                "untagged_share": float((total - tagged) / total) if total else None,
            }
        )
    return rows


def _run_cost(dataset: Dataset, run: Run) -> Decimal:
    return sum((call.weighted_cost_usd for call in dataset.calls_by_run.get(run.run_id, [])), ZERO)


def coverage(dataset: Dataset) -> dict[str, Any]:
    """Return how much of the audit rests on what: usage of the provider, counts, estimates, nothing."""
    by_source: dict[UsageSource, int] = defaultdict(int)
    for call in dataset.calls:
        by_source[call.inference.usage_source] += 1
    weights = [call.placement.weight for call in dataset.calls]
    return {
        "inferences": len(dataset.calls),
        "with_usage": by_source[UsageSource.PROVIDER],
        "counted": by_source[UsageSource.COUNTED],
        "estimated": by_source[UsageSource.ESTIMATED],
        "absent": by_source[UsageSource.ABSENT],
        "priced": sum(call.cost_usd is not None for call in dataset.calls),
        "sampled": sum(weight is not None and weight > 1 for weight in weights),
        "merged": len(dataset.merged_calls),
        "undated": sum(not call.is_dated for call in dataset.calls),
        "with_prefix": sum(call.inference.prefix is not None for call in dataset.calls),
        "open_runs": sum(run.is_open for run in dataset.runs),
    }
