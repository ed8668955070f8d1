"""Waste: tokens and dollars that bought nothing, each finding open to the calls behind it.

A pass is a plain function from what is audited to findings; `passes` names them all. A finding counts what happened;
what could be done about it, and what that would save, is a recommendation's business. Findings may overlap (a call that
failed may also have re-sent its context), so their dollars are not to be added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import CostedCall
from inferometer.analyzer.ledger import Ledger
from inferometer.schema.rows import ToolCallRow

if TYPE_CHECKING:
    from inferometer.analyzer.waste_cache import Reached

EVIDENCE_LIMIT = 50


@dataclass(slots=True, frozen=True)
class CacheRule:
    """How one provider caches prompts of one model, on one day.

    Attributes:
        minimum_tokens: the shortest prefix that is cached.
        grain_tokens: cached lengths are multiples of this.
        ttl_s: seconds that an unused entry lives; refreshed by use.
        long_ttl_s: seconds of the longer life that can be bought; None where there is none.
        automatic: whether the provider caches unasked.
    """

    name: str
    minimum_tokens: int
    grain_tokens: int
    ttl_s: float
    long_ttl_s: float | None
    automatic: bool
    source: str


@dataclass(slots=True, frozen=True)
class Evidence:
    """One call behind a finding; ``weight`` calls like it happened."""

    trace_id: str
    span_id: str
    run_id: str | None
    tokens: int | None
    cost_usd: Decimal | None
    note: str
    weight: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return the evidence as the audit document has it."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def weighted_cost_usd(self) -> Decimal:
        """Cost times weight; 0 where unpriced."""
        cost = self.cost_usd or Decimal(0)
        return cost if self.weight == 1.0 else cost * Decimal(repr(self.weight))


@dataclass(slots=True)
class Finding:
    """One kind of waste.

    Attributes:
        calls: how many calls show it, weighted.
        tokens: tokens wasted; None where unknown.
        cost_usd: dollars wasted, weighted; None where unknown or unpriced.
        unpriced: calls whose part of it has no price, weighted; above 0 the cost is a lower bound.
        method: how it was counted, in one sentence.
        estimated: whether some of it rests on what the traces do not say.
    """

    id: str
    title: str
    calls: int
    tokens: int | None
    cost_usd: Decimal | None
    method: str
    evidence: list[Evidence] = field(default_factory=list)
    estimated: bool = False
    duration_ns: int | None = None
    unpriced: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as the audit document has it, its costliest evidence first."""
        return {
            "id": self.id,
            "title": self.title,
            "calls": self.calls,
            "tokens": self.tokens,
            "cost_usd": self.cost_usd,
            "unpriced": self.unpriced,
            "method": self.method,
            "estimated": self.estimated,
            "duration_s": None if self.duration_ns is None else self.duration_ns / 1e9,
            "evidence": [item.as_dict() for item in ranked(self.evidence)[:EVIDENCE_LIMIT]],
        }


def ranked(evidence: Iterable[Evidence]) -> list[Evidence]:
    """Return evidence, the costliest first."""
    return sorted(evidence, key=lambda item: (-item.weighted_cost_usd, -(item.tokens or 0), item.span_id))


@dataclass(slots=True)
class Examined:
    """What a pass looks at."""

    dataset: Dataset
    cache_rule: Callable[[CostedCall], CacheRule | None] = field(default=lambda call: None)
    ledger: Ledger = field(default_factory=Ledger)
    evidence_limit: int = EVIDENCE_LIMIT
    """How many calls a finding or a recommendation keeps at least."""
    reach: list[Reached] | None = field(default=None, init=False, repr=False)
    """What `waste_cache.reach_by_rule` worked out."""


def evidence_of(call: CostedCall, note: str, tokens: int | None = None, cost_usd: Decimal | None = None) -> Evidence:
    """Return a model call as evidence."""
    trace_id, span_id = call.key
    return Evidence(trace_id.hex(), span_id.hex(), call.placement.run_id, tokens, cost_usd, note, call.weight)


def evidence_of_tool(
    tool: ToolCallRow, note: str, tokens: int | None = None, cost_usd: Decimal | None = None
) -> Evidence:
    """Return a tool call as evidence."""
    found, placement = tool.tool_call, tool.placement
    return Evidence(
        found.trace_id.hex(), found.span_id.hex(), placement.run_id, tokens, cost_usd, note, placement.weight or 1.0
    )


def finding(
    id_: str, title: str, method: str, evidence: list[Evidence], calls: float, tokens: float | None
) -> list[Finding]:
    """Return what evidence adds up to; nothing where there is none."""
    if not evidence:
        return []
    priced = [item for item in evidence if item.cost_usd is not None]
    return [
        Finding(
            id_,
            title,
            round(calls),
            None if tokens is None or all(item.tokens is None for item in evidence) else round(tokens),
            sum((item.weighted_cost_usd for item in priced), Decimal(0)) if priced else None,
            method,
            evidence,
            unpriced=round(sum(item.weight for item in evidence) - sum(item.weight for item in priced)),
        )
    ]


Pass = Callable[[Examined], list[Finding]]


def passes() -> Sequence[Pass]:
    """Return every pass, in the order of a report."""
    from inferometer.analyzer.waste_cache import broken_prefix, prefix_resent, unread_writes
    from inferometer.analyzer.waste_calls import (
        disproportionate_reasoning,
        failed_calls,
        failed_runs,
        idle_reserved,
        small_work,
        waiting_for_engine,
    )
    from inferometer.analyzer.waste_doubles import possible_doubles
    from inferometer.analyzer.waste_tools import loops, oversized_results, unused_tools

    return (
        prefix_resent,
        broken_prefix,
        unread_writes,
        loops,
        failed_calls,
        oversized_results,
        unused_tools,
        disproportionate_reasoning,
        small_work,
        failed_runs,
        idle_reserved,
        waiting_for_engine,
        possible_doubles,
    )


def waste(examined: Examined) -> list[Finding]:
    """Run every pass and return the findings, the costliest first."""
    findings = [found for examine in passes() for found in examine(examined)]
    return sorted(findings, key=lambda found: (-(found.cost_usd or 0), -(found.tokens or 0), found.id))
