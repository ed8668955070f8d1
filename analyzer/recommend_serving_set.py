"""The best compatible changes to how calls are served, replayed together on the same calls.

Each change turns the parts of a fleet, which are calls and the deployment they go to, into others: a lever changes
every deployment, another machine takes its place, a mixed fleet parts the calls. What several save is one difference of
two replays, whatever their single savings add up to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.recommend import BestSet, Money, Recommendation, exclude
from inferometer.analyzer.recommend_fleet import halves_by_length, workload_of
from inferometer.analyzer.recommend_serving import SHARED, Comparison, Lever, cost_range, least_replay
from inferometer.analyzer.replay import ReplayResult, Scenario
from inferometer.analyzer.workload import Workload

OTHER_BASIS = "it saves hours that are paid for, the others hours of busy hardware"


@dataclass(slots=True, frozen=True)
class Part:
    """Calls and the deployment that serves them."""

    workload: Workload
    scenario: Scenario


Parts = tuple[Part, ...]


@dataclass(slots=True, frozen=True)
class Candidate:
    """A recommendation with what it does to a fleet; None where it is not about busy hours of hardware.

    Attributes:
        beside: why it stands beside the set where it does nothing to a fleet.
        order: machines are chosen before their levers are set.
    """

    recommendation: Recommendation
    change: Callable[[Parts], Parts] | None
    order: int = 0
    beside: str = OTHER_BASIS

    @property
    def id(self) -> str:
        """The recommendation's id."""
        return self.recommendation.id


def lever_candidate(found: Recommendation, lever: Lever) -> Candidate:
    """Return a lever as a change of every deployment of a fleet."""
    return Candidate(
        found, lambda parts: tuple(Part(part.workload, lever.change(part.scenario)) for part in parts), order=1
    )


def machine_candidate(found: Recommendation, result: ReplayResult) -> Candidate:
    """Return another machine in place of every deployment's."""
    return Candidate(
        found, lambda parts: tuple(Part(part.workload, _moved(part.scenario, result.scenario)) for part in parts)
    )


def mixed_candidate(
    found: Recommendation, calls: Sequence[CostedCall], short: ReplayResult, long: ReplayResult
) -> Candidate:
    """Return a fleet that parts the calls by the length of their sessions."""

    def change(parts: Parts) -> Parts:
        halves = halves_by_length(calls)
        base = parts[0].scenario
        assert halves is not None
        return tuple(
            Part(workload, _moved(base, result.scenario))
            for half, result in zip(halves[:2], (short, long), strict=True)
            if (workload := workload_of(half, result.workload.texts_of)) is not None
        )

    return Candidate(found, change)


def _moved(scenario: Scenario, to: Scenario) -> Scenario:
    return replace(
        scenario,
        hardware=to.hardware,
        engine=to.engine,
        precision=to.precision,
        tp=to.tp,
        pp=to.pp,
        payment=to.payment,
    )


def serving_set(comparison: Comparison, workload: Workload, candidates: Sequence[Candidate]) -> BestSet | None:
    """Choose changes greedily by their saving and replay them together; None where there is nothing to choose from.

    One joins only where it does not exclude a member and makes the joint replay cheaper, with no more calls refused.
    """
    before = cost_range(comparison.baseline, SHARED)
    if before is None or not before.mid or not candidates:
        return None
    start = Part(workload, comparison.baseline.scenario)
    allowed = sum(comparison.baseline.as_dict()["refused"].values())
    chosen: list[Candidate] = []
    left_out: dict[str, str] = {}
    least = before.mid
    parts_usd = ZERO
    for candidate in sorted(candidates, key=lambda one: (-one.recommendation.saving_usd.mid, one.id)):
        excluding = [one.id for one in chosen if exclude(one.recommendation, candidate.recommendation)]
        if candidate.change is None:
            left_out[candidate.id] = candidate.beside
        elif excluding:
            left_out[candidate.id] = f"excludes {', '.join(excluding)}"
        else:
            usd = _joint_usd((start,), [*chosen, candidate], allowed)
            if usd is not None and usd < least:
                chosen.append(candidate)
                least, parts_usd = usd, parts_usd + candidate.recommendation.saving_usd.mid
            else:
                left_out[candidate.id] = f"saves nothing beside {', '.join(one.id for one in chosen)}"
    share = (before.mid - least) / before.mid
    saving = Money.ordered(before.low, before.mid, before.high).part(share * comparison.scale)
    return BestSet(
        ids=[one.id for one in chosen],
        saving_usd=saving,
        saving_share=float(share),
        sum_of_parts_usd=parts_usd,
        remaining_usd=before.mid * comparison.scale - saving.mid,
        sampled_calls=workload.calls if comparison.scale != 1 else None,
        left_out=left_out,
    )


def _joint_usd(parts: Parts, chosen: Sequence[Candidate], allowed: int) -> Decimal | None:
    """Return what the parts of a fleet cost after all changes; None where one is not possible or refuses more."""
    for candidate in sorted(chosen, key=lambda one: (one.order, one.id)):
        assert candidate.change is not None
        parts = candidate.change(parts)
    total = ZERO
    for part in parts:
        result = least_replay(part.workload, part.scenario, allowed, with_interval=False)
        usd = None if result is None else cost_range(result, SHARED)
        if result is None or usd is None:
            return None
        allowed -= sum(result.as_dict()["refused"].values())
        total += usd.mid
    return total
