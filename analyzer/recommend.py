"""Recommendations: changes whose saving is priced again or replayed, never a rule of thumb.

A proposal turns the recorded calls into what they would have been. Its saving is the difference of the two bills, by
the same price list of the same days; low and high come from the same recount under a harder and an easier reading of
what the traces leave open. The best set is the proposals applied one after the other, so that what one saves no other
saves again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import nlargest
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_repricing import saving_usd
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.waste import EVIDENCE_LIMIT, Evidence, Examined, evidence_of

Apply = Callable[[Sequence[CostedCall]], Sequence[CostedCall]]

MINIMUM_SHARE = Decimal("0.001")
"""A recommendation that saves less than a thousandth of the bill is not worth reading."""


JOINT_CALLS = 6_000


@dataclass(slots=True, frozen=True)
class Money:
    """Dollars with an interval."""

    low: Decimal
    mid: Decimal
    high: Decimal

    @classmethod
    def ordered(cls, *amounts: Decimal) -> Money:
        """Return three amounts in order of size."""
        return cls(*sorted(amounts))

    def as_dict(self) -> dict[str, Decimal]:
        """Return low, mid and high."""
        return {"low": self.low, "mid": self.mid, "high": self.high}

    def part(self, share: Decimal) -> Money:
        """Return a share of it."""
        return Money(self.low * share, self.mid * share, self.high * share)


@dataclass(slots=True)
class Proposal:
    """A change to the recorded calls; each ``apply`` returns as many calls as it is given, in the same order.

    Attributes:
        order: where it stands when several are applied: what shortens input comes before what caches it.
        preconditions: what must hold, each as checked against the traces.
    """

    id: str
    title: str
    apply: Apply
    apply_low: Apply
    apply_high: Apply
    action: str
    method: str
    order: int
    preconditions: list[str]
    effort: str
    latency_effect: str
    exclusive_with: tuple[str, ...] = ()
    one_off_usd: Decimal = ZERO
    confidence: str = "recount"


@dataclass(slots=True)
class Recommendation:
    """A proposal with what it would have saved over the audited window."""

    id: str
    title: str
    action: str
    method: str
    saving_usd: Money
    saving_share: float | None
    period_days: float
    cash_usd: Money
    freed_capacity_usd: Money
    latency_effect: str
    effort: str
    payback_days: float | None
    one_off_usd: Decimal
    preconditions: list[str]
    evidence: list[Evidence]
    exclusive_with: tuple[str, ...]
    confidence: str
    calls: int
    basis: str = "billed"
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the recommendation as the audit document has it."""
        ranked = sorted(self.evidence, key=lambda item: (-(item.cost_usd or 0), item.span_id))
        return {
            "id": self.id,
            "title": self.title,
            "action": self.action,
            "method": self.method,
            "basis": self.basis,
            "saving_usd": self.saving_usd.as_dict(),
            "saving_share": self.saving_share,
            "period_days": self.period_days,
            "cash_usd": self.cash_usd.as_dict(),
            "freed_capacity": {"usd": self.freed_capacity_usd.as_dict()},
            "latency_effect": self.latency_effect,
            "effort": self.effort,
            "payback_days": self.payback_days,
            "one_off_usd": self.one_off_usd,
            "preconditions": list(self.preconditions),
            "evidence": [item.as_dict() for item in ranked[:EVIDENCE_LIMIT]],
            "exclusive_with": list(self.exclusive_with),
            "confidence": self.confidence,
            "calls": self.calls,
            "details": self.details,
        }


def proposals(examined: Examined) -> list[Proposal]:
    """Return every change worth pricing, whether or not it saves anything."""
    from inferometer.analyzer.recommend_caching import caching_proposals
    from inferometer.analyzer.recommend_context import context_proposals
    from inferometer.analyzer.recommend_models import model_proposals
    from inferometer.analyzer.recommend_providers import provider_proposals
    from inferometer.analyzer.recommend_tuning import tuning_proposals

    return [
        *context_proposals(examined),
        *model_proposals(examined),
        *tuning_proposals(examined),
        *provider_proposals(examined),
        *caching_proposals(examined),
    ]


def assess(proposal: Proposal, examined: Examined, trial: Trial | None = None) -> Recommendation | None:
    """Price a proposal over the audited calls; None where it saves nothing that is worth reading."""
    dataset = examined.dataset
    trial = trial or Trial(dataset)
    after = trial.applied([proposal], "apply") if trial.is_whole else proposal.apply(dataset.calls)
    mid = saving_usd(dataset.calls, after)
    if dataset.cost_usd == 0 or mid < dataset.cost_usd * MINIMUM_SHARE:
        return None
    saving = _interval(proposal, trial, mid)
    changed = [
        (old, new)
        for old, new in zip(dataset.calls, after, strict=True)
        if old is not new and old.cost_usd != new.cost_usd
    ]
    shown = nlargest(examined.evidence_limit, changed, key=lambda pair: (_gain(*pair), pair[0].key))
    committed = committed_share(changed, examined)
    daily = mid * (1 - committed) / Decimal(repr(dataset.days)) if dataset.days else ZERO
    return Recommendation(
        id=proposal.id,
        title=proposal.title,
        action=proposal.action,
        method=proposal.method,
        saving_usd=saving,
        saving_share=float(mid / dataset.cost_usd),
        period_days=dataset.days,
        cash_usd=saving.part(1 - committed),
        freed_capacity_usd=saving.part(committed),
        latency_effect=proposal.latency_effect,
        effort=proposal.effort,
        payback_days=float(proposal.one_off_usd / daily) if proposal.one_off_usd and daily > 0 else None,
        one_off_usd=proposal.one_off_usd,
        preconditions=proposal.preconditions,
        evidence=[
            evidence_of(old, f"${old.cost_usd:.6f} becomes ${new.cost_usd:.6f}", old.meters.total, _gain(old, new))
            for old, new in shown
            if old.cost_usd is not None and new.cost_usd is not None
        ],
        exclusive_with=proposal.exclusive_with,
        confidence=proposal.confidence,
        calls=round(sum(old.weight for old, _ in changed)),
    )


def _interval(proposal: Proposal, trial: Trial, mid: Decimal) -> Money:
    """Return a saving with its low and high; of a large dataset their distance is taken from a sample of sessions."""
    low, within, high = (trial.saving_usd([proposal], variant) for variant in ("apply_low", "apply", "apply_high"))
    if trial.is_whole:
        return Money.ordered(low, mid, high)
    return Money.ordered(mid * low / within, mid, mid * high / within) if within > 0 else Money(mid, mid, mid)


def _gain(old: CostedCall, new: CostedCall) -> Decimal:
    return (old.cost_usd or ZERO) - (new.cost_usd or ZERO)


def is_committed(call: CostedCall, examined: Examined) -> bool:
    """Whether a call is paid for by a commitment or provisioned throughput, of the price list or of the ledger."""
    if examined.dataset.committed_places.intersection(call.priced.coverage):
        return True
    return any(
        commitment.provider == call.provider and commitment.model in (None, call.model, call.inference.request_model)
        for commitment in examined.ledger.commitment
    )


def committed_share(changed: Iterable[tuple[CostedCall, CostedCall]], examined: Examined) -> Decimal:
    """Return the share of a saving on calls that a commitment pays for: it frees capacity and saves no cash."""
    total = committed = ZERO
    for old, new in changed:
        gain = old.weighted_cost_usd - new.weighted_cost_usd
        total += gain
        if is_committed(old, examined):
            committed += gain
    return min(max(committed / total, ZERO), Decimal(1)) if total else ZERO


@dataclass(slots=True)
class BestSet:
    """Compatible proposals applied together."""

    ids: list[str]
    saving_usd: Money
    saving_share: float | None
    sum_of_parts_usd: Decimal
    remaining_usd: Decimal
    sampled_calls: int | None = None
    """On how many calls the set was priced together; None: on all."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a recommendation is not in the set, by its id."""

    def as_dict(self) -> dict[str, Any]:
        """Return the set as the audit document has it."""
        return {
            "ids": list(self.ids),
            "saving_usd": self.saving_usd.as_dict(),
            "saving_share": self.saving_share,
            "sum_of_parts_usd": self.sum_of_parts_usd,
            "remaining_usd": self.remaining_usd,
            "sampled_calls": self.sampled_calls,
            "left_out": [{"id": id_, "reason": reason} for id_, reason in self.left_out.items()],
        }


def best_set(kept: Sequence[tuple[Proposal, Recommendation]], dataset: Dataset, trial: Trial | None = None) -> BestSet:
    """Choose compatible proposals greedily by their saving and price them together.

    A proposal joins only where it does not exclude a member and makes the joint bill smaller. Of a large dataset the
    members are chosen, and priced together, on whole sessions of about `JOINT_CALLS` calls, scaled by their share of
    the bill.
    """
    trial = trial or Trial(dataset)
    chosen: list[Proposal] = []
    left_out: dict[str, str] = {}
    parts, best = ZERO, ZERO
    for proposal, recommendation in sorted(kept, key=lambda pair: (-pair[1].saving_usd.mid, pair[0].id)):
        excluding = [member.id for member in chosen if exclude(member, proposal)]
        if excluding:
            left_out[proposal.id] = f"excludes {', '.join(excluding)}"
            continue
        saving = trial.saving_usd([*chosen, proposal], "apply")
        if saving > best:
            chosen, best, parts = [*chosen, proposal], saving, parts + recommendation.saving_usd.mid
        else:
            left_out[proposal.id] = f"saves nothing beside {', '.join(member.id for member in chosen)}"
    low, high = (trial.saving_usd(chosen, variant) for variant in ("apply_low", "apply_high"))
    saving_range = Money.ordered(low, best, high).part(trial.scale)
    return BestSet(
        ids=[proposal.id for proposal in chosen],
        saving_usd=saving_range,
        saving_share=float(saving_range.mid / dataset.cost_usd) if dataset.cost_usd else None,
        sum_of_parts_usd=parts,
        remaining_usd=dataset.cost_usd - saving_range.mid,
        sampled_calls=None if trial.is_whole else len(trial.calls),
        left_out=left_out,
    )


def exclude(one: Proposal | Recommendation, other: Proposal | Recommendation) -> bool:
    """Whether two changes cannot be made both."""
    return one.id in other.exclusive_with or other.id in one.exclusive_with


class Trial:
    """Whole sessions of a dataset on which proposals are priced together; what was applied once is remembered."""

    def __init__(self, dataset: Dataset) -> None:
        self.calls, self.scale = sampled_sessions(dataset)
        self.is_whole = len(self.calls) == len(dataset.calls)
        self._applied: dict[tuple[str, ...], Sequence[CostedCall]] = {}

    def applied(self, chosen: Iterable[Proposal], variant: str) -> Sequence[CostedCall]:
        """Return the calls after proposals, in the proposals' own order; `variant` names which of their functions."""
        calls: Sequence[CostedCall] = self.calls
        done: tuple[str, ...] = (variant,)
        for proposal in sorted(chosen, key=lambda one: (one.order, one.id)):
            done = *done, proposal.id
            if done not in self._applied:
                apply: Apply = getattr(proposal, variant)
                self._applied[done] = apply(calls)
            calls = self._applied[done]
        return calls

    def saving_usd(self, chosen: Iterable[Proposal], variant: str) -> Decimal:
        """Return what proposals save together on these calls."""
        return saving_usd(self.calls, self.applied(chosen, variant))


def sampled_sessions(dataset: Dataset, limit: int | None = None) -> tuple[list[CostedCall], Decimal]:
    """Return whole sessions, evenly spread, of about `limit` calls, and what the bill is in theirs."""
    limit = limit or JOINT_CALLS
    if len(dataset.calls) <= limit:
        return dataset.calls, Decimal(1)
    sessions = sorted({_session(call) for call in dataset.calls})
    kept = frozenset(sessions[:: -(-len(dataset.calls) // limit)])
    calls = [call for call in dataset.calls if _session(call) in kept]
    cost = sum((call.weighted_cost_usd for call in calls), ZERO)
    return (calls, dataset.cost_usd / cost) if cost else (dataset.calls, Decimal(1))


def _session(call: CostedCall) -> str:
    return call.placement.session_id or call.placement.run_id or ""


def recommend(
    examined: Examined, beside: Iterable[tuple[Proposal, Recommendation]] = ()
) -> tuple[list[Recommendation], BestSet]:
    """Return the recommendations that save something, the largest cash saving first, and the best set of them.

    Args:
        examined: what is audited.
        beside: recommendations made already, with what they do to the bill: they may join the set.
    """
    trial = Trial(examined.dataset)
    kept: list[tuple[Proposal, Recommendation]] = []
    for proposal in proposals(examined):
        recommendation = assess(proposal, examined, trial)
        if recommendation is not None:
            kept.append((proposal, recommendation))
    ranked = sorted(
        (found for _, found in kept), key=lambda found: (-found.cash_usd.mid, -found.saving_usd.mid, found.id)
    )
    return ranked, best_set([*kept, *beside], examined.dataset, trial)
