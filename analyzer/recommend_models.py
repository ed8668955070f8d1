"""Proposals that send calls elsewhere: a smaller model for small work, batch processing for work that can wait."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_repricing import with_batch, with_model, with_tier
from inferometer.analyzer.costed_call import ZERO, CostedCall, PriceCall
from inferometer.analyzer.outcomes import verdicts
from inferometer.analyzer.recommend import Proposal
from inferometer.analyzer.waste import Examined
from inferometer.analyzer.waste_calls import cheaper_models, is_small
from inferometer.schema.records import Purpose

REPEATED_SHARE = {"low": Decimal("0.25"), "mid": Decimal("0.1"), "high": ZERO}
"""Share of rerouted calls that have to be made again on the large model: a sensitivity, not a measurement."""
PATIENT = frozenset({Purpose.EVALUATE, Purpose.TRAIN})


def model_proposals(examined: Examined) -> list[Proposal]:
    """Return the proposals that the calls give reason for."""
    dataset = examined.dataset
    found = []
    cheaper = cheaper_models(dataset.calls, lambda call, model: with_model(call, dataset.price, model).cost_usd)
    small = [call for call in dataset.calls if is_small(call) and call.model in cheaper]
    if small:
        found.append(_smaller_model(dataset, cheaper, small))
    lone = lone_calls(dataset)
    if any(_can_wait(call, lone) for call in dataset.calls):
        found.append(_batch(dataset, lone))
    if any(_is_patient(call, lone) for call in dataset.calls):
        found.append(_flex(dataset, lone))
    return found


def _smaller_model(dataset: Dataset, cheaper: dict[str, str], small: Sequence[CostedCall]) -> Proposal:
    names = sorted({f"{call.model} to {cheaper[call.model]}" for call in small})
    verdict = verdicts(dataset)
    scored = len({call.placement.run_id for call in small} & verdict.keys())

    def variant(level: str) -> Callable[[Sequence[CostedCall]], list[CostedCall]]:
        repeated = REPEATED_SHARE[level]
        return lambda calls: [
            _rerouted(call, dataset.price, cheaper[call.model], repeated)
            if is_small(call) and call.model in cheaper
            else call
            for call in calls
        ]

    return Proposal(
        id="smaller_model",
        title="Send small work to a smaller model",
        apply=variant("mid"),
        apply_low=variant("low"),
        apply_high=variant("high"),
        action=f"Route short calls without reasoning from {'; '.join(names[:3])}.",
        method="The same tokens priced on the cheapest model of the same provider that is in use already; 25 %, 10 % "
        "and 0 % of "
        "them made once more on the large model give low, mid and high.",
        order=30,
        preconditions=[
            "the model's behaviour is held fixed; check it on scored runs before switching",
            f"{scored:,} of the runs concerned have an outcome that could check it",
        ],
        effort="medium: a router and an evaluation",
        latency_effect="smaller models answer faster",
        confidence="recount, behaviour held fixed",
    )


def _rerouted(call: CostedCall, price: PriceCall, model: str, repeated: Decimal) -> CostedCall:
    """Return a call on another model, some of it paid for again on its own."""
    moved = with_model(call, price, model)
    if moved.cost_usd is None or call.cost_usd is None:
        return call
    moved = moved.with_extra(repeated * call.cost_usd)
    return moved if moved.cost_usd is not None and moved.cost_usd < call.cost_usd else call


def lone_calls(dataset: Dataset) -> frozenset[str]:
    """Return the runs that are a single model call and no tool: nothing waits for their answer within the run."""
    counts = Counter(call.placement.run_id for call in dataset.calls)
    return frozenset(
        run_id for run_id, count in counts.items() if run_id and count == 1 and run_id not in dataset.tools_by_run
    )


def _can_wait(call: CostedCall, lone: frozenset[str]) -> bool:
    return call.placement.purpose in PATIENT and call.placement.run_id in lone and not call.inference.batch


def _batch(dataset: Dataset, lone: frozenset[str]) -> Proposal:
    by_purpose: dict[str, int] = defaultdict(int)
    for call in dataset.calls:
        if _can_wait(call, lone):
            by_purpose[str(call.placement.purpose)] += 1

    def apply(calls: Sequence[CostedCall], purposes: frozenset[Purpose] = PATIENT) -> list[CostedCall]:
        return [
            _cheaper(call, with_batch(call, dataset.price))
            if _can_wait(call, lone) and call.placement.purpose in purposes
            else call
            for call in calls
        ]

    return Proposal(
        id="batch",
        title="Send work that can wait as batches",
        apply=apply,
        apply_low=lambda calls: apply(calls, frozenset({Purpose.EVALUATE})),
        apply_high=apply,
        action="Collect evaluation and training-data calls and send them through the provider's batch interface.",
        method="Calls of runs that are one model call and whose purpose is to evaluate or train, priced at the list's "
        "batch rate.",
        order=70,
        preconditions=[
            "an answer within 24 hours is soon enough",
            *(f"{count:,} calls with purpose {purpose}" for purpose, count in sorted(by_purpose.items())),
        ],
        effort="medium: another interface",
        latency_effect="answers come within hours",
    )


def _is_patient(call: CostedCall, lone: frozenset[str]) -> bool:
    tier = (call.inference.service_tier or "").lower()
    in_turns = call.placement.run_id not in lone
    return call.placement.purpose in PATIENT and in_turns and not call.inference.batch and tier != "flex"


def _flex(dataset: Dataset, lone: frozenset[str]) -> Proposal:
    count = sum(_is_patient(call, lone) for call in dataset.calls)

    def apply(calls: Sequence[CostedCall]) -> list[CostedCall]:
        return [
            _cheaper(call, with_tier(call, dataset.price, "flex")) if _is_patient(call, lone) else call
            for call in calls
        ]

    return Proposal(
        id="flex",
        title="Run evaluations at the flex tier",
        apply=apply,
        apply_low=apply,
        apply_high=apply,
        action="Ask for the flex service tier in runs that evaluate or make training data and take several turns.",
        method="Calls of runs with several turns whose purpose is to evaluate or train, priced at the list's flex rate "
        "where it has one.",
        order=71,
        preconditions=["answers may be slow, and are refused when the provider is busy", f"{count:,} calls"],
        effort="low: a request parameter and a retry",
        latency_effect="each turn may take minutes",
    )


def _cheaper(call: CostedCall, other: CostedCall) -> CostedCall:
    if call.cost_usd is None or other.cost_usd is None or other.cost_usd >= call.cost_usd:
        return call
    return other
