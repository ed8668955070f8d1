"""Totals and groups of an audit: the G of every document, over calls that are already priced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from inferometer.analyzer.accounting import Accounting, account_calls
from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.fanout import day_of
from inferometer.analyzer.grouping import Grouping
from inferometer.analyzer.open_meters import is_open
from inferometer.analyzer.spending import Spending, spending
from inferometer.schema.meters import DISJOINT_METERS
from inferometer.schema.records import Inference, UsageSource
from inferometer.schema.rows import Placement

Key = Callable[[Inference, Placement], str | None]


def accounted(dataset: Dataset, name: str, key: Key) -> Accounting:
    """Return the ``cost`` document of a dataset by a key, from the same code as ``inferometer cost``."""
    keys = Grouping(name, lambda row: key(row.inference, row.placement), lambda *_: None)
    return account_calls(
        ((call.row, call.priced) for call in dataset.calls),
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


def by_agent(_: Inference, placement: Placement) -> str | None:
    """Return the agent that made a call."""
    return placement.agent_name


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
            **spending(calls).as_dict(),
        }
        for (day, model), calls in sorted(cells.items())
    ]


def cost_by_meter(calls: Iterable[CostedCall]) -> list[dict[str, Any]]:
    """Return weighted tokens and dollars by meter; what is not of tokens is ``other``.

    ``priced_tokens`` are those that the dollars are for, ``unpriced`` the calls with tokens that have no price,
    ``open`` the calls that may hold such tokens and do not say.
    """
    meters = {name: _Meter() for name in (*DISJOINT_METERS, "other")}
    for call in calls:
        weight = call.weight
        priced = call.cost_by_meter_usd
        for meter in DISJOINT_METERS:
            tokens = getattr(call.meters, meter)
            if tokens:
                meters[meter].add(tokens * weight, weight, meter in priced)
            elif tokens is None and is_open(call.inference, meter, call.priced.card):
                meters[meter].open += weight
        if priced:
            factor = 1 if weight == 1 else Decimal(repr(weight))
            for meter, cost in priced.items():
                meters[meter if meter in DISJOINT_METERS else "other"].cost_usd += cost * factor
    return [{"meter": name, **found.as_dict()} for name, found in meters.items() if found.tokens or found.cost_usd]


@dataclass(slots=True)
class _Meter:
    tokens: float = 0.0
    priced_tokens: float = 0.0
    unpriced: float = 0.0
    open: float = 0.0
    cost_usd: Decimal = ZERO

    def add(self, tokens: float, calls: float, is_priced: bool) -> None:
        self.tokens += tokens
        if is_priced:
            self.priced_tokens += tokens
        else:
            self.unpriced += calls

    def as_dict(self) -> dict[str, Any]:
        known = self.cost_usd or self.priced_tokens or not self.unpriced
        return {
            "tokens": round(self.tokens),
            "priced_tokens": round(self.priced_tokens),
            "cost_usd": self.cost_usd if known else None,
            "unpriced": round(self.unpriced),
            "open": round(self.open),
        }


def allocation(dataset: Dataset) -> list[dict[str, Any]]:
    """Return cost by the values of each tag that runs carry, with the share that no run of it is tagged with."""
    total = spending(dataset.calls)
    return [_allocated(dataset, name, total) for name in sorted({name for run in dataset.runs for name in run.tags})]


def _allocated(dataset: Dataset, name: str, total: Spending) -> dict[str, Any]:
    tagged: dict[str, list[CostedCall]] = defaultdict(list)
    for run in dataset.runs:
        if name in run.tags:
            tagged[run.tags[name]] += dataset.calls_by_run.get(run.run_id, [])
    spent = {value: spending(calls) for value, calls in tagged.items()}
    rest = None
    if total.cost_usd is not None:
        rest = total.cost_usd - sum((found.cost_usd or ZERO for found in spent.values()), ZERO)
    return {
        "tag": name,
        "values": [
            {"value": value, **found.as_dict()}
            for value, found in sorted(spent.items(), key=lambda item: (-(item[1].cost_usd or ZERO), item[0]))
        ],
        "untagged_usd": rest,
        "untagged_unpriced": total.unpriced - sum(found.unpriced for found in spent.values()),
        "untagged_share": float(rest / total.cost_usd) if rest is not None and total.cost_usd else None,
    }


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
