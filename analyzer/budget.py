"""Budgets: limits on an audit's figures, and on how much they may grow against a baseline. A gate for a pipeline.

``[limits]`` holds figures with the words ``_max`` or ``_min`` behind their name, ``[regression]`` per cent by which a
figure may be worse than in the baseline, with ``_pct`` behind its name.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from inferometer.profiles.toml import read_toml
from inferometer.schema.errors import InputError, ProfileError
from inferometer.schema.wording import counted

Document = Mapping[str, Any]
Value = float | None


@dataclass(slots=True, frozen=True)
class LeftOut:
    """What a figure leaves out, as the sum of some numbers of the document and in words."""

    paths: tuple[tuple[str, ...], ...] = ()
    noun: str = "call"
    words: str = ""

    def said(self, document: Document) -> str:
        """Return it as ``2 calls not wholly priced``; nothing where nothing is left out."""
        number = sum(int(_path(*path)(document) or 0) for path in self.paths)
        return f"{counted(number, self.noun)} {self.words}" if number else ""


NOTHING = LeftOut()
UNPRICED_CALLS = LeftOut((("totals", "unpriced"), ("totals", "partial")), words="not wholly priced")
UNPRICED_RUNS = LeftOut((("fanout", "unpriced_runs"), ("fanout", "partly_priced_runs")), "run", "not wholly priced")
UNSTATED_INPUT = LeftOut((("totals", "meters_open", "input_fresh"),), words="without stated input")


@dataclass(slots=True, frozen=True)
class Figure:
    """One figure of an audit that a budget can bound.

    Attributes:
        unit: usd, count, tokens, share or ratio.
        lower_is_better: which way is worse.
        command: what shows the calls behind it.
        left_out: what its value is told without.
    """

    name: str
    title: str
    unit: str
    value: Callable[[Document], Value]
    lower_is_better: bool = True
    command: str = "inferometer audit"
    left_out: LeftOut = NOTHING


def _path(*keys: str) -> Callable[[Document], Value]:
    def value(document: Document) -> Value:
        at: Any = document
        for key in keys:
            at = at.get(key) if isinstance(at, Mapping) else None
        return None if at is None else float(at)

    return value


def _share_of_calls(key: str) -> Callable[[Document], Value]:
    def value(document: Document) -> Value:
        coverage = document["coverage"]
        return float(coverage[key]) / coverage["inferences"] if coverage["inferences"] else None

    return value


def _per_day(document: Document) -> Value:
    # calls without a date are in the total and in no day
    costs, days = [day["cost_usd"] for day in document["by_day"]], document["window"]["days"]
    known = [float(cost) for cost in costs if cost is not None]
    return sum(known) / days if known and days else None


def _waste(document: Document) -> Value:
    cost = document["totals"]["cost_usd"]
    if not cost or not float(cost):
        return None
    return max((float(found["cost_usd"] or 0) for found in document["waste"]), default=0.0) / float(cost)


def _quantiles(
    name: str, title: str, unit: str, key: str, command: str, left_out: LeftOut = NOTHING
) -> tuple[Figure, ...]:
    words = {"p50": "median", "p90": "90th percentile", "p99": "99th percentile", "mean": "mean", "max": "most"}
    return tuple(
        Figure(
            f"{name}_{quantile}",
            f"{title}, {word}",
            unit,
            _path("fanout", key, quantile),
            command=command,
            left_out=left_out,
        )
        for quantile, word in words.items()
    )


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(
            "cost_usd",
            "cost of the window",
            "usd",
            _path("totals", "cost_usd"),
            command="inferometer cost",
            left_out=UNPRICED_CALLS,
        ),
        Figure(
            "cost_usd_per_day",
            "cost a day",
            "usd",
            _per_day,
            command="inferometer cost --by day",
            left_out=UNPRICED_CALLS,
        ),
        Figure(
            "cost_usd_per_success",
            "cost of a success",
            "usd",
            _path("outcomes", "cost_usd_per_success"),
            left_out=LeftOut((("outcomes", "unpriced"),), words="not wholly priced"),
        ),
        *_quantiles(
            "cost_usd_per_run",
            "cost of a run",
            "usd",
            "cost_usd_per_run",
            "inferometer runs --sort cost",
            UNPRICED_RUNS,
        ),
        *_quantiles(
            "inferences_per_run",
            "model calls per run",
            "count",
            "inferences_per_run",
            "inferometer runs --sort inferences",
        ),
        *_quantiles(
            "tool_calls_per_run",
            "tool calls per run",
            "count",
            "tool_calls_per_run",
            "inferometer runs --sort tools",
        ),
        *_quantiles(
            "input_tokens_per_run",
            "input tokens per run",
            "tokens",
            "input_tokens_per_run",
            "inferometer runs --sort tokens",
            UNSTATED_INPUT,
        ),
        *_quantiles("amplification", "tokens processed per user token", "ratio", "amplification", "inferometer runs"),
        *_quantiles("context_resend", "times the context is sent again", "ratio", "context_resend", "inferometer runs"),
        Figure("ratio", "inference to training", "ratio", _path("ratio", "billed_usd", "ratio", "mid")),
        Figure("cache_read_share", "input read from cache", "share", _path("prefix", "cache_read_share"), False),
        Figure("traced_share", "traced share of the bill", "share", _path("reconciliation", "traced_share"), False),
        Figure("unpriced_share", "calls without a price", "share", lambda one: _unpriced(one)),
        Figure("without_usage_share", "calls without usage", "share", _share_of_calls("absent")),
        Figure("largest_waste_share", "largest kind of waste", "share", _waste),
    )
}


def _unpriced(document: Document) -> Value:
    priced = _share_of_calls("priced")(document)
    return None if priced is None else 1 - priced


@dataclass(slots=True, frozen=True)
class Limit:
    """One line of a budget: a bound (``max`` or ``min``), or the per cent by which a figure may get worse (``pct``)."""

    figure: Figure
    kind: str
    bound: float


@dataclass(slots=True, frozen=True)
class Verdict:
    """What became of one line of a budget; ``ok`` is None where the figure or its baseline is unknown."""

    limit: Limit
    value: Value
    baseline: Value
    ok: bool | None
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as the ``check`` document has it."""
        return {
            "figure": self.limit.figure.name,
            "kind": self.limit.kind,
            "bound": self.limit.bound,
            "value": self.value,
            "baseline": self.baseline,
            "ok": self.ok,
            "message": self.message,
            "command": self.limit.figure.command,
        }


def load_budget(path: str | Path) -> list[Limit]:
    """Read a budget file.

    Raises:
        ProfileError: it is unreadable, no TOML, names an unknown figure or holds something else than numbers.
    """
    values = read_toml(path)
    limits = []
    for table, kinds in (("limits", ("max", "min")), ("regression", ("pct",))):
        entries = values.pop(table, {})
        if not isinstance(entries, dict):
            raise ProfileError(str(path), f"{table} is not a table: write [{table}]")
        limits += [_limit(str(path), table, key, bound, kinds) for key, bound in entries.items()]
    if values:
        raise ProfileError(str(path), f"unknown key {next(iter(values))!r}; a budget has [limits] and [regression]")
    if not limits:
        raise ProfileError(str(path), "limits nothing: add a line such as cost_usd_per_run_p99_max = 5.0 to [limits]")
    return limits


def _limit(path: str, table: str, key: str, bound: object, kinds: tuple[str, ...]) -> Limit:
    name, _, kind = key.rpartition("_")
    if kind not in kinds or name not in FIGURES:
        known = [f"{figure}_{each}" for figure in FIGURES for each in kinds]
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.3)
        raise ProfileError(path, f"unknown key {table}.{key}; nearest known: {', '.join(near or known[:3])}")
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound < math.inf:
        raise ProfileError(path, f"{table}.{key} is {bound!r}, not a number from 0 on")
    return Limit(FIGURES[name], kind, float(bound))


def load_audit(path: str | Path) -> dict[str, Any]:
    """Read an audit document that ``inferometer audit --json`` wrote.

    Raises:
        InputError: it is unreadable or no audit.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), getattr(error, "strerror", None) or "cannot be read as text") from error
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), f"is not JSON: {error}") from error
    if not isinstance(document, dict) or not {"totals", "fanout", "coverage"} <= document.keys():
        raise InputError(str(path), "is no audit; write one with: inferometer audit --json FILE")
    return document


def check(limits: list[Limit], document: Document, baseline: Document | None) -> list[Verdict]:
    """Hold an audit against a budget.

    Args:
        limits: the budget.
        document: the audit.
        baseline: the audit that regressions are measured against; without one they cannot be told.
    """
    return [_marked(_verdict(limit, document, baseline), document) for limit in limits]


def _marked(verdict: Verdict, document: Document) -> Verdict:
    """Return a verdict that says what its value leaves out, for within a budget it is only as far as that goes."""
    words = verdict.limit.figure.left_out.said(document)
    if not words or verdict.value is None:
        return verdict
    return replace(verdict, message=f"{verdict.message}; {words}")


def _verdict(limit: Limit, document: Document, baseline: Document | None) -> Verdict:
    figure = limit.figure
    value = figure.value(document)
    before = figure.value(baseline) if baseline is not None else None
    if value is None:
        return Verdict(limit, None, before, None, f"{figure.title} is unknown, so its budget cannot be checked")
    if limit.kind == "pct":
        return _regression(limit, value, before, baseline is None)
    ok = value <= limit.bound if limit.kind == "max" else value >= limit.bound
    words = ("within", "of at most") if limit.kind == "max" else ("above", "of at least")
    shown, bound = show(value, figure.unit), show(limit.bound, figure.unit)
    if ok:
        return Verdict(limit, value, before, True, f"{figure.title} is {shown}, {words[0]} the budget of {bound}")
    off = abs(value - limit.bound) / limit.bound if limit.bound else None
    by = f" ({off:.0%} {'over' if limit.kind == 'max' else 'under'})" if off is not None else ""
    return Verdict(limit, value, before, False, f"{figure.title} is {shown}, against a budget {words[1]} {bound}{by}")


def _regression(limit: Limit, value: float, before: Value, no_baseline: bool) -> Verdict:
    figure = limit.figure
    if before is None or before == 0:
        why = "no --baseline was given" if no_baseline else "the baseline does not state it"
        return Verdict(limit, value, before, None, f"{figure.title} cannot be compared: {why}")
    change = (value - before) / before * 100
    worse = change if figure.lower_is_better else -change
    text = f"{figure.title} went from {show(before, figure.unit)} to {show(value, figure.unit)} ({change:+.1f} %)"
    if worse > limit.bound:
        return Verdict(limit, value, before, False, f"{text}, more than the {limit.bound:g} % allowed")
    return Verdict(limit, value, before, True, f"{text}, within the {limit.bound:g} % allowed")


def show(value: Value, unit: str) -> str:
    """Return a figure with its unit, for a reader."""
    if value is None:
        return "unknown"
    if unit == "usd":
        exact = Decimal(repr(value))
        return f"${exact:,.2f}" if abs(exact) >= 1 else f"${exact:.4g}"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "ratio":
        return f"{value:.3g}x"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
