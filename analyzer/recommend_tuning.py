"""Proposals that teach a step to a smaller model: training once, a dearer price per token than the base model's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_repricing import with_model
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.recommend import Proposal
from inferometer.analyzer.recommend_models import REPEATED_SHARE
from inferometer.analyzer.waste import Examined
from inferometer.analyzer.waste_calls import is_small
from inferometer.profiles.fine_tuning import FineTuning, list_fine_tuning

EXAMPLES = 500
"""Recorded calls that are trained on; a step that was made less often is none that repeats."""
EPOCHS = 3
LIFETIME_DAYS = Decimal(365)
"""How long a tuned model is used where the ledger states no life of trained models."""

Step = tuple[str, str, str]
"""Provider, model and agent."""


def tuning_proposals(examined: Examined, students: Iterable[FineTuning] | None = None) -> list[Proposal]:
    """Return the step for which a tuned model saves most over its life, training paid; none where none pays.

    Args:
        examined: the audited calls and the ledger.
        students: models to tune; those of the profiles where None.
    """
    dataset = examined.dataset
    steps: dict[Step, list[CostedCall]] = {}
    for call in dataset.calls:
        if call.cost_usd and is_small(call) and call.placement.agent_name and not call.inference.batch:
            steps.setdefault(_step(call), []).append(call)
    repeated = {step: calls for step, calls in steps.items() if len(calls) >= EXAMPLES}
    if not repeated or not dataset.days:
        return []
    training = examined.ledger.training
    life = training.lifetime_days if training else LIFETIME_DAYS
    chosen = list(students if students is not None else list_fine_tuning().values())
    found: list[tuple[Decimal, Proposal]] = []
    for step, calls in sorted(repeated.items()):
        for student in chosen:
            if student.provider == step[0] and student.id != step[1]:
                found += _tuned(dataset, step, calls, student, life)
    return [max(found, key=lambda pair: pair[0])[1]] if found else []


def _step(call: CostedCall) -> Step:
    return call.provider or "", call.model, call.placement.agent_name or ""


def _tuned(
    dataset: Dataset, step: Step, calls: Sequence[CostedCall], student: FineTuning, life_days: Decimal
) -> list[tuple[Decimal, Proposal]]:
    """Return the proposal with what it saves over a model's life, where that is more than its training."""
    after = [_served(call, dataset, student, REPEATED_SHARE["mid"]) for call in calls]
    saving = sum((old.weighted_cost_usd - new.weighted_cost_usd for old, new in zip(calls, after, strict=True)), ZERO)
    tokens = Decimal(sum(call.input_tokens + call.output_tokens for call in calls)) / len(calls)
    training_usd = EXAMPLES * tokens * EPOCHS * student.usd_per_mtok / 1_000_000
    per_day = Decimal(repr(sum(call.weight for call in calls))) / Decimal(repr(dataset.days))
    over_life = saving / Decimal(repr(dataset.days)) * life_days
    if saving <= 0 or over_life <= training_usd:
        return []
    least_per_day = per_day * training_usd / over_life

    def variant(level: str) -> Callable[[Sequence[CostedCall]], list[CostedCall]]:
        share = REPEATED_SHARE[level]
        return lambda every: [
            _served(call, dataset, student, share)
            if call.cost_usd and is_small(call) and _step(call) == step and not call.inference.batch
            else call
            for call in every
        ]

    model = step[1]
    proposal = Proposal(
        id="fine_tune",
        title="Teach a repeated step to a smaller model",
        apply=variant("mid"),
        apply_low=variant("low"),
        apply_high=variant("high"),
        action=f"Fine-tune {student.id} on {EXAMPLES} recorded short calls of one agent to {model}, and send "
        "those there.",
        method=f"The same tokens at {student.serving_factor} times the base model's price; 25 %, 10 % and 0 % of the "
        f"calls are made again on {model} for low, mid and high. Training: {EXAMPLES} examples of {tokens:,.0f} "
        f"tokens, {EPOCHS} epochs, at ${student.usd_per_mtok} per million tokens ({student.provenance.source}, "
        f"{student.provenance.as_of}).",
        order=51,
        preconditions=[
            f"{len(calls):,} short calls without reasoning, by one agent to one model: {per_day:,.1f} a day",
            f"below {least_per_day:,.1f} calls a day its training is never earned back within {life_days:,.0f} days",
            "the provider still trains this model, and scored runs show that its answers are good enough",
        ],
        effort="high: a data set, a scored comparison, training again when the step changes",
        latency_effect="a smaller model answers sooner; by how much is unknown",
        exclusive_with=("smaller_model", "other_provider"),
        one_off_usd=training_usd,
        confidence="recount, behaviour held fixed",
    )
    return [(over_life - training_usd, proposal)]


def _served(call: CostedCall, dataset: Dataset, student: FineTuning, repeated: Decimal) -> CostedCall:
    """Return a call on the tuned model, some of it paid for again; the call itself where that is no cheaper."""
    moved = with_model(call, dataset.price, student.id)
    if moved.cost_usd is None or call.cost_usd is None:
        return call
    extra = (student.serving_factor - 1) * (moved.cost_usd - moved.extra_usd) + repeated * call.cost_usd
    moved = moved.with_extra(extra)
    return moved if moved.cost_usd is not None and moved.cost_usd < call.cost_usd else call
