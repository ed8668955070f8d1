"""Two audits compared: each figure, the bridge between their bills, and what waste came and went."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from inferometer.analyzer.bridge import Spend, bridge
from inferometer.analyzer.budget import FIGURES

SHOWN = (
    "cost_usd",
    "cost_usd_per_day",
    "cost_usd_per_run_p50",
    "cost_usd_per_run_p99",
    "cost_usd_per_success",
    "inferences_per_run_p50",
    "inferences_per_run_p99",
    "input_tokens_per_run_p50",
    "context_resend_p50",
    "amplification_p50",
    "cache_read_share",
    "ratio",
    "unpriced_share",
    "without_usage_share",
)


def spend_document(spend: Spend) -> dict[str, Any]:
    """Return a window's spend as the audit document holds it, so that two audits can be bridged exactly."""
    return {
        "runs": float(spend.runs),
        "calls": float(spend.calls),
        "other_usd": _decimal(spend.other_usd),
        "cells": [
            {
                "model": model,
                "meter": meter,
                "tokens": float(count),
                "cost_usd": _decimal(spend.cost_usd.get((model, meter), Fraction(0))),
            }
            for (model, meter), count in sorted(spend.tokens.items())
        ],
    }


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def read_spend(document: Mapping[str, Any]) -> Spend:
    """Return the spend that `spend_document` wrote."""
    cells = document["cells"]
    return Spend(
        runs=Fraction(document["runs"]),
        calls=Fraction(document["calls"]),
        tokens={(cell["model"], cell["meter"]): Fraction(cell["tokens"]) for cell in cells},
        cost_usd={(cell["model"], cell["meter"]): Fraction(str(cell["cost_usd"])) for cell in cells},
        other_usd=Fraction(str(document["other_usd"])),
    )


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``diff`` document of two audits."""
    figures = []
    for name in SHOWN:
        figure = FIGURES[name]
        one, other = figure.value(before), figure.value(after)
        if one is None and other is None:
            continue
        change = None if one is None or other is None else other - one
        figures.append(
            {
                "figure": name,
                "title": figure.title,
                "unit": figure.unit,
                "before": one,
                "after": other,
                "change": change,
                "change_share": change / one if change is not None and one else None,
                "better": _better(change, figure.lower_is_better),
            }
        )
    return {
        "before": _side(before),
        "after": _side(after),
        "figures": figures,
        "bridge": bridge(read_spend(before["spend"]), read_spend(after["spend"])),
        "waste": _waste(before, after),
    }


def _better(change: float | None, lower_is_better: bool) -> bool | None:
    if not change:
        return None
    return (change < 0) is lower_is_better


def _side(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "generated_at": document["generated_at"],
        "window": document["window"],
        "inferences": document["totals"]["inferences"],
        "runs": document["totals"]["runs"],
        "cost_usd": document["totals"]["cost_usd"],
        "charges_usd": document["totals"]["charges_usd"],
        "unpriced": document["totals"]["unpriced"],
    }


def _waste(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    one = {found["id"]: found for found in before["waste"]}
    other = {found["id"]: found for found in after["waste"]}
    rows = []
    for id_ in sorted(one.keys() | other.keys()):
        was, now = one.get(id_), other.get(id_)
        title = (now or was or {})["title"]
        rows.append(
            {
                "id": id_,
                "title": title,
                "state": "new" if was is None else "gone" if now is None else "both",
                "before_usd": was and was["cost_usd"],
                "after_usd": now and now["cost_usd"],
            }
        )
    return rows
