"""Proposals that buy the same open model from somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_repricing import with_meters, with_model
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.recommend import Proposal
from inferometer.analyzer.waste import Examined
from inferometer.profiles.models import load_model
from inferometer.profiles.prices.published import SELF_HOSTED
from inferometer.schema.errors import UnknownNameError

COMPARED_CALLS = 50
"""Sellers are compared on so many calls of a model, evenly spread; the saving is over all of them."""

Bought = tuple[str, str]
"""A provider and the model's name there."""


def provider_proposals(examined: Examined) -> list[Proposal]:
    """Return the proposal to buy open models where they are cheapest; none where they are bought there already."""
    dataset = examined.dataset
    sellers = cheapest_sellers(dataset)
    return [_other_provider(dataset, sellers)] if sellers else []


def cheapest_sellers(dataset: Dataset) -> dict[Bought, Bought]:
    """Return, for each open model as bought, who sells the same name for less; closed models have one maker.

    A seller counts where it can price each compared call; equal costs are decided by the sellers' names.
    """
    bought: dict[Bought, list[CostedCall]] = {}
    for call in dataset.calls:
        if call.cost_usd and not call.inference.batch:
            bought.setdefault(_bought(call), []).append(call)
    found: dict[Bought, Bought] = {}
    for (provider, model), calls in bought.items():
        if provider.lower() in SELF_HOSTED or not _is_open(model):
            continue
        compared = calls[:: -(-len(calls) // COMPARED_CALLS)]
        best = sum((call.cost_usd or ZERO for call in compared), ZERO)
        for seller, name in sorted(dataset.prices.other_sellers(provider, model)):
            costs = [with_model(call, dataset.price, name, seller).cost_usd for call in compared]
            total = sum((cost or ZERO for cost in costs), ZERO)
            if None not in costs and ZERO < total < best:
                best, found[provider, model] = total, (seller, name)
    return found


def _bought(call: CostedCall) -> Bought:
    return call.provider or "", call.model


def _is_open(model: str) -> bool:
    for name in (model, model.rpartition("/")[2]):
        try:
            load_model(name)
        except UnknownNameError:
            continue
        return True
    return False


def _other_provider(dataset: Dataset, sellers: dict[Bought, Bought]) -> Proposal:
    def moved(call: CostedCall, *, cached: bool) -> CostedCall:
        target = sellers.get(_bought(call))
        if target is None or call.inference.batch or not call.cost_usd:
            return call
        found = with_model(call, dataset.price, target[1], target[0])
        read = call.meters.cache_read
        if not cached and read:
            fresh = (call.meters.input_fresh or 0) + read
            found = with_meters(found, dataset.price, input_fresh=fresh, cache_read=0)
        return call if found.cost_usd is None else found

    def apply(calls: Sequence[CostedCall]) -> list[CostedCall]:
        return [moved(call, cached=True) for call in calls]

    def apply_uncached(calls: Sequence[CostedCall]) -> list[CostedCall]:
        return [moved(call, cached=False) for call in calls]

    names = [
        f"{model} from {seller} in place of {provider}" for (provider, model), (seller, _) in sorted(sellers.items())
    ]
    return Proposal(
        id="other_provider",
        title="Buy open models where they cost less",
        apply=apply,
        apply_low=apply_uncached,
        apply_high=apply,
        action=f"Buy {'; '.join(names[:3])}.",
        method="The same tokens by the published price of the same model at the cheapest provider that lists it, by "
        "the day of each call. Low: nothing is read from a cache there.",
        order=60,
        preconditions=[
            "the provider serves the model at the same precision and context, in a region that is allowed",
            "its speed and rate limits are enough; the list does not say",
        ],
        effort="low: another address and key",
        latency_effect="unknown: that of the other provider",
        one_off_usd=Decimal(0),
        exclusive_with=("self_host", "smaller_model"),
        confidence="recount, behaviour held fixed",
    )
