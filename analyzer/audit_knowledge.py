"""What an audit knows beside the traces, put together from the profiles."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from inferometer.analyzer.audit import Knowledge
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.ledger import Ledger, PublishedRun
from inferometer.analyzer.ratio import TrainingCost
from inferometer.analyzer.waste import CacheRule
from inferometer.profiles.caching import CachingRule, load_caching
from inferometer.profiles.claims import list_claims
from inferometer.profiles.models import load_model
from inferometer.profiles.prices import PriceList
from inferometer.profiles.training import Stage, load_training
from inferometer.schema.errors import ProfileError, UnknownNameError


def knowledge_of(prices: PriceList, ledger: Ledger) -> Knowledge:
    """Return the knowledge of an audit.

    Raises:
        ProfileError: a profile breaks its rules, or a published run of the ledger has no price.
        UnknownNameError: a published run of the ledger has no profile.
    """
    for run in ledger.training.published if ledger.training else ():
        published_cost(run)
    return Knowledge(
        prices_as_of=prices.as_of.isoformat(),
        price_list=prices.version,
        cache_rule=cache_rules(),
        active_parameters=active_parameters(),
        published=published_cost,
        claims=tuple(list_claims().values()),
        ledger=ledger,
    )


def active_parameters() -> Callable[[str], float | None]:
    """Return a look-up of an open model's active parameters; None where it is closed or has no profile."""

    @lru_cache(maxsize=1024)
    def look_up(model: str) -> float | None:
        try:
            return load_model(model).active_parameters
        except UnknownNameError:
            return None

    return look_up


def cache_rules() -> Callable[[CostedCall], CacheRule | None]:
    """Return a look-up of how a call's provider caches prompts of its model; None where no profile says."""

    found: dict[tuple[str, str], CacheRule | None] = {}

    def look_up(call: CostedCall) -> CacheRule | None:
        names = call.provider or provider_of(call), call.model
        if names not in found:
            try:
                found[names] = _rule(load_caching(names[0]), names[1])
            except UnknownNameError:
                found[names] = None
        return found[names]

    return look_up


def provider_of(call: CostedCall) -> str:
    """Return a call's provider: as recorded, else the one by whose list it is priced; empty where neither is known."""
    if call.provider:
        return call.provider
    return call.priced.card.provider if call.priced.card else ""


def _rule(profile: CachingRule, model: str) -> CacheRule:
    return CacheRule(
        name=profile.name,
        minimum_tokens=profile.minimum_for(model),
        grain_tokens=profile.grain_tokens,
        ttl_s=profile.ttl_seconds,
        long_ttl_s=profile.long_ttl_seconds,
        automatic=profile.mode == "automatic",
        source=f"{profile.provenance.source}, {profile.provenance.as_of}",
    )


def published_cost(run: PublishedRun) -> TrainingCost:
    """Return what an open model's published training cost, at the ledger's price per chip-hour where one is given.

    Raises:
        UnknownNameError: the model's training has no profile.
        ProfileError: neither the ledger nor the publication has a price.
    """
    stages = load_training(run.model).stages
    costs = [_stage_cost(stage, run.usd_per_gpu_hour) for stage in stages]
    known = [cost for cost in costs if cost is not None]
    if not known:
        raise ProfileError(
            "ledger",
            f"training.published {run.model!r} has no published cost: add usd_per_gpu_hour, or state it as a run",
        )
    flops = [stage.flop for stage in stages if stage.flop is not None]
    flop = Decimal(repr(sum(flops))) * run.share if flops else None
    return TrainingCost(sum(known, ZERO) * run.share, flop)


def _stage_cost(stage: Stage, usd_per_hour: Decimal | None) -> Decimal | None:
    if stage.chip_hours is not None and usd_per_hour is not None:
        return Decimal(repr(stage.chip_hours)) * usd_per_hour
    if stage.usd_low is not None and stage.usd_high is not None:
        return (stage.usd_low + stage.usd_high) / 2
    return stage.usd_low if stage.usd_high is None else stage.usd_high
