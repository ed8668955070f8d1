"""The published list: the `genai-prices` package, read by the day of the call.

Prices are those of the package's own objects; they are compiled once per model, day and tier into a `RateCard`, which
prices a call some fifty times faster than the package does. A test holds both to the same result for every model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from inferometer.profiles.prices.cards import Rate, RateCard

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

LIST_NAME = "genai-prices"

_PROVIDER_IDS = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
    "togetherai": "together",
    "fireworks_ai": "fireworks",
    "fireworks-ai": "fireworks",
    "openai-codex": "openai",
    "claude_code": "anthropic",
    "claude-code": "anthropic",
    "z_ai": "zai",
    "voyage": "voyageai",
}
"""Names of the OpenTelemetry convention and of frameworks that the list does not match itself."""

SELF_HOSTED = frozenset(
    {"vllm", "sglang", "ollama", "llama.cpp", "llamacpp", "llama_cpp", "lmstudio", "tgi", "local", "triton", "trtllm"}
)
"""Engines one runs oneself: a list price of somebody else's for the same weights is not what they cost."""

_PRICE_KEYS: dict[str, tuple[str, ...]] = {
    # part of `cards.PARTS`: keys of the list, the first that is priced; parts that a list may not tell apart end there
    "input": ("input_mtok",),
    "input_audio": ("input_audio_mtok",),
    "input_image": ("input_image_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_read_audio": ("cache_audio_read_mtok",),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "output": ("output_mtok",),
    "output_audio": ("output_audio_mtok",),
    "output_image": ("output_image_mtok",),
    "reasoning": ("output_reasoning_mtok",),
}

_FEE_KEYS = {
    "request": "requests_kcount",
    "web_search": "web_searches_kcount",
    "file_search": "storage_searches_kcount",
    "code_execution": "code_executions_kcount",
    "rerank": "rerank_searches_kcount",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A model found in the list."""

    provider: Provider
    model: ModelInfo
    by_time_of_day: bool
    notes: tuple[str, ...] = ()


class PublishedPrices:
    """Looks models up and compiles their cards, remembering both."""

    def __init__(self) -> None:
        from genai_prices.data_snapshot import get_snapshot

        self._snapshot = get_snapshot()
        self.version = version("genai-prices")
        self._found: dict[tuple[str | None, str], Listed | str] = {}
        self._cards: dict[tuple[int, int, object, tuple[tuple[str, str], ...]], RateCard | str] = {}
        self._sellers: dict[str, list[tuple[str, str]]] | None = None

    @property
    def as_of(self) -> date:
        """The newest day from which the list has a price that was already in force when it was made."""
        days = [
            day
            for provider in self._snapshot.providers
            for model in provider.models
            if isinstance(model.prices, list)
            for price in model.prices
            if (day := getattr(price.constraint, "start_date", None)) is not None
        ]
        today = datetime.now(UTC).date()
        return max((day for day in days if day <= today), default=today)

    def find(self, provider: str | None, model: str) -> Listed | str:
        """Return a listed model, or the reason why there is none."""
        key = (provider, model)
        if key not in self._found:
            self._found[key] = self._find(provider, model)
        return self._found[key]

    def sellers(self, model: str) -> list[tuple[str, str]]:
        """Return providers that list a model, each with the name it has there; names differ in the owner's at most."""
        if self._sellers is None:
            self._sellers = {}
            for provider in self._snapshot.providers:
                for listed in provider.models:
                    self._sellers.setdefault(_bare(listed.id), []).append((provider.id, listed.id))
        return list(self._sellers.get(_bare(model), ()))

    def provider_id(self, provider: str | None) -> str | None:
        """Return the list's name of a provider."""
        return _PROVIDER_IDS.get(provider.lower(), provider.lower()) if provider else None

    def card(self, listed: Listed, moment: datetime | None, context: Mapping[str, str]) -> RateCard | str:
        """Return the card of a model at a moment (None: unknown, then today's), or why it cannot be priced."""
        when = moment or datetime.now(UTC)
        stamp: object = when.replace(second=0, microsecond=0) if listed.by_time_of_day else when.date()
        key = (
            id(listed.provider),
            id(listed.model),
            (stamp, moment is None, listed.notes),
            tuple(sorted(context.items())),
        )
        if key not in self._cards:
            self._cards[key] = self._card(listed, when, moment is not None, context)
        return self._cards[key]

    def _find(self, provider: str | None, model: str) -> Listed | str:
        notes: tuple[str, ...] = ()
        wanted = _PROVIDER_IDS.get(provider.lower(), provider) if provider else None
        if wanted and wanted.lower() in SELF_HOSTED:
            return f"{wanted} is self-hosted: price it in prices.toml"
        if wanted and not self._has_provider(wanted):
            notes = (f"the list has no provider {provider!r}: priced by the model's name",)
            wanted = None
        for provider_id, name in _spellings(wanted, model):
            try:
                found_provider, found = self._snapshot.find_provider_model(name, None, provider_id, None)
            except LookupError:
                continue
            prices = found.prices if isinstance(found.prices, list) else []
            by_time = any(hasattr(price.constraint, "start_time") for price in prices) or any(
                hasattr(variant.constraint, "start_time") for variant in found.price_variants or ()
            )
            return Listed(found_provider, found, by_time, notes)
        return f"no price list has {model!r}" + (f" of {provider!r}" if provider else "")

    def _has_provider(self, name: str) -> bool:
        from genai_prices.data_snapshot import find_provider_by_id

        return find_provider_by_id(self._snapshot.providers, name) is not None

    def _card(self, listed: Listed, when: datetime, known: bool, context: Mapping[str, str]) -> RateCard | str:
        own = any(listed.model is model for model in listed.provider.models)
        prices, notes = _prices_at(listed.model, when, context if own else {})
        if context and not own:
            notes.append(f"{listed.provider.id} lists no {_tier_of(context)} price for this model: standard price")
        values = {key: value for key, value in prices.__dict__.items() if value is not None}
        rates = {}
        for part, keys in _PRICE_KEYS.items():
            found = next((values[key] for key in keys if key in values), None)
            if found is not None:
                rates[part] = _rate(found)
        if not rates:
            units = ", ".join(sorted(values)) or "nothing"
            return f"the list prices {listed.model.id!r} by {units}, not by tokens"
        fees = {sku: value / 1000 for sku, key in _FEE_KEYS.items() if isinstance(value := values.get(key), Decimal)}
        if not known:
            notes.append("the time of the call is unknown: today's list")
        return RateCard(
            provider=listed.provider.id,
            model=listed.model.id,
            list_name=LIST_NAME,
            list_version=self.version,
            as_of=when.date() if known else None,
            tier=_tier_of(context),
            rates=rates,
            fees_usd=fees,
            notes=(*listed.notes, *notes),
        )


def _bare(model: str) -> str:
    return model.rpartition("/")[2].casefold()


def _spellings(provider: str | None, model: str) -> Iterable[tuple[str | None, str]]:
    """Yield the ways in which a model may be listed, the plainest first."""
    yield provider, model
    head, slash, tail = model.partition("/")
    if slash and provider is None:
        # as routers write it: anthropic/claude-sonnet-4-5
        yield head, tail
        yield None, tail
    if slash and provider is not None:
        yield provider, tail


def _prices_at(model: ModelInfo, when: datetime, context: Mapping[str, str]) -> tuple[ModelPrice, list[str]]:
    standard = model.get_prices(when)
    if not context:
        return standard, []
    special = model.get_prices(when, context)
    if special != standard or _has_variant(model, when, context):
        return special, []
    tier = _tier_of(context)
    later = [variant for variant in model.price_variants or () if _matches(variant.when, context)]
    if not later:
        return standard, [f"the list has no {tier} price for this model: standard price"]
    # the list knows the tier from a later day only; what it takes off is applied to the prices of the day
    constraint = later[0].constraint
    begin = getattr(constraint, "start_date", None)
    then = model.get_prices(datetime(begin.year, begin.month, begin.day, tzinfo=UTC)) if begin else standard
    changed = type(standard)(**standard.__dict__)
    for key, price in later[0].prices.__dict__.items():
        before, base = standard.__dict__.get(key), then.__dict__.get(key)
        if isinstance(price, Decimal) and isinstance(before, Decimal) and isinstance(base, Decimal) and base:
            changed.__dict__[key] = before * price / base
    return changed, [f"the list has the {tier} price from {begin} on: its discount is applied to the earlier price"]


def _has_variant(model: ModelInfo, when: datetime, context: Mapping[str, str]) -> bool:
    return any(
        _matches(variant.when, context) and (variant.constraint is None or variant.constraint.active(when))
        for variant in model.price_variants or ()
    )


def _matches(wanted: Mapping[str, str], context: Mapping[str, str]) -> bool:
    return all(context.get(key) == value for key, value in wanted.items())


def _tier_of(context: Mapping[str, str]) -> str:
    return "batch" if "processing" in context else next(iter(context.values()), "standard")


def _rate(price: Any) -> Rate:
    if isinstance(price, Decimal):
        return Rate(price)
    return Rate(price.base, tuple((tier.start, tier.price) for tier in price.tiers))
