"""A user's ``prices.toml``: own models, self-hosted models, tools, contracts.

Numbers may be written as numbers or as texts; both are read exactly. Days are ``YYYY-MM-DD``, ``until`` is the last day
that counts. A model may hold ``*`` for any text. Earlier entries win over later ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from inferometer.profiles.documents import Table
from inferometer.profiles.prices.cards import PARTS, Rate, RateCard
from inferometer.profiles.toml import read_toml
from inferometer.schema.errors import ProfileError

_SECONDS_PER_HOUR = Decimal(3600)
_MILLION = Decimal(1_000_000)

_LARGEST = Decimal(10**12)
"""Of any price, amount or rate: what is larger is a slip, and its sums would outgrow a decimal's 28 digits."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which calls an entry is about; None is any."""

    provider: str | None = None
    model: str | None = None
    first: date | None = None
    last: date | None = None

    def holds(self, providers: tuple[str | None, ...], models: tuple[str, ...], day: date | None) -> bool:
        """Return whether a call is meant, by any of its names; an entry with days needs a call with one."""
        if self.provider is not None and self.provider.lower() not in {(name or "").lower() for name in providers}:
            return False
        if self.model is not None and not any(fnmatchcase(model.lower(), self.model.lower()) for model in models):
            return False
        if self.first is None and self.last is None:
            return True
        return day is not None and (self.first or day) <= day <= (self.last or day)


@dataclass(frozen=True, slots=True)
class OwnModel:
    """Rates of a model, instead of a published list's."""

    scope: Scope
    card: RateCard
    batch_factor: Decimal | None


@dataclass(frozen=True, slots=True)
class Discount:
    """A negotiated price: a share off the list, or rates of its own."""

    scope: Scope
    share: Decimal
    rates: dict[str, Rate]


@dataclass(frozen=True, slots=True)
class ToolPrice:
    """What a call of a tool costs: by call and by second, which add up, or by whatever unit a charge is counted in."""

    per_call_usd: Decimal | None = None
    per_second_usd: Decimal | None = None
    per_unit_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Money that is not paid call by call.

    A ``commitment`` is ``amount_usd`` promised over its term; ``provisioned`` throughput costs ``usd_per_hour``, used
    or not; a ``credit`` is ``amount_usd`` that the provider gave.
    """

    kind: str
    name: str
    scope: Scope
    amount_usd: Decimal | None = None
    usd_per_hour: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OwnPrices:
    """All that a ``prices.toml`` says."""

    name: str = "prices.toml"
    version: str = ""
    models: tuple[OwnModel, ...] = ()
    discounts: tuple[Discount, ...] = ()
    tools: Mapping[str, ToolPrice] = field(default_factory=dict)
    agreements: tuple[Agreement, ...] = ()


def find_own_file() -> Path | None:
    """Return ``INFEROMETER_PRICES``, else ``prices.toml`` in the user's configuration directory if it is there."""
    named = os.environ.get("INFEROMETER_PRICES")
    if named:
        return Path(named).expanduser()
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = base / "inferometer" / "prices.toml"
    return path if path.is_file() else None


def load_own(path: Path) -> OwnPrices:
    """Read a ``prices.toml``.

    Raises:
        ProfileError: it cannot be read or breaks its rules; the message names the table and key.
    """
    values = read_toml(path, parse_float=str)
    top = Table(str(path), "", _as_text(values))
    name = top.text("name", path.name)
    version = str(top.day("as_of")) if _has(top, "as_of") else ""
    if _has(top, "source"):
        top.text("source")
    models = [_own_model(table, name, version) for table in top.tables("models")]
    models += [_self_hosted(table, name, version) for table in top.tables("self_hosted")]
    own = OwnPrices(
        name=name,
        version=version,
        models=tuple(models),
        discounts=tuple(_discounts(top.optional_table("contract"))),
        tools=_tools(top.optional_table("tools"), values.get("tools")),
        agreements=tuple(
            _agreement(kind, table)
            for key, kind in (("commitments", "commitment"), ("provisioned", "provisioned"), ("credits", "credit"))
            for table in top.tables(key)
        ),
    )
    top.finish()
    return own


def _as_text(value: Any) -> Any:
    """Return a document whose numbers are the texts that were written, so that no binary fraction comes between."""
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _has(table: Table, key: str) -> bool:
    """Return whether a table has a key, and let it know that this is a key: it proposes those for misspelt ones."""
    return key in table or table.flag(key)


def _decimal(table: Table, key: str, *, most: Decimal = _LARGEST) -> Decimal | None:
    if not _has(table, key):
        return None
    text = table.text(key)
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ProfileError(table.path, f"{table.name}.{key} is {text!r}, not a number") from None
    if not value.is_finite() or not 0 <= value <= most:
        raise ProfileError(table.path, f"{table.name}.{key} is {text}; it can be 0 to {most:,f}")
    return value


def _needed(table: Table, key: str) -> Decimal:
    value = _decimal(table, key)
    if value is None:
        raise ProfileError(table.path, f"{table.name} lacks {key}")
    return value


def _scope(table: Table, *, needs_model: bool = False) -> Scope:
    first = table.day("from") if _has(table, "from") else None
    last = table.day("until") if _has(table, "until") else None
    if first is not None and last is not None and last < first:
        raise ProfileError(table.path, f"{table.name} ends on {last}, before it begins on {first}")
    model = table.text("model") if needs_model or _has(table, "model") else None
    return Scope(table.text("provider") if _has(table, "provider") else None, model, first, last)


def _rates(table: Table) -> dict[str, Rate]:
    names = [part for part, _ in PARTS]
    bases = {name: _decimal(table, f"{name}_usd_per_mtok") for name in names}
    tiers: dict[str, list[tuple[int, Decimal]]] = {name: [] for name in names}
    for tier in table.tables("tiers"):
        above = _needed(tier, "above_input_tokens")
        for name in names:
            rate = _decimal(tier, f"{name}_usd_per_mtok")
            if rate is not None:
                tiers[name].append((int(above), rate))
        tier.finish()
    rates = {name: Rate(base, tuple(sorted(tiers[name]))) for name, base in bases.items() if base is not None}
    if tiered := [name for name, found in tiers.items() if found and name not in rates]:
        raise ProfileError(table.path, f"{table.name} has tiers of {tiered[0]} and no {tiered[0]}_usd_per_mtok")
    return rates


def _completed(rates: dict[str, Rate]) -> dict[str, Rate]:
    """Return rates in which cached input costs what fresh input does where nothing is said of it."""
    if "input" in rates:
        for name in ("cache_read", "cache_write_5m", "cache_write_1h"):
            rates.setdefault(name, rates["input"])
    return rates


def _own_model(table: Table, name: str, version: str) -> OwnModel:
    scope = _scope(table, needs_model=True)
    rates = _completed(_rates(table))
    fee = _decimal(table, "usd_per_request")
    discount = _decimal(table, "batch_discount", most=Decimal(1))
    table.finish()
    if not rates and fee is None:
        raise ProfileError(table.path, f"{table.name} has no price: write input_usd_per_mtok and output_usd_per_mtok")
    card = RateCard(
        provider=scope.provider or "own",
        model=str(scope.model),
        list_name=name,
        list_version=version,
        as_of=None,
        tier="standard",
        rates=rates,
        fees_usd={} if fee is None else {"request": fee},
    )
    return OwnModel(scope, card, None if discount is None else 1 - discount)


def _self_hosted(table: Table, name: str, version: str) -> OwnModel:
    """Price a model by the hour of its hardware: an hour's tokens at full speed share the hour's cost.

    ``usd_per_mtok = 1e6 x usd_per_hour / (3600 x tokens_per_s x utilisation)``, for input and output alike: each token
    pays for the time that it keeps the machine busy, and for its share of the time that the machine waits.
    """
    scope = _scope(table, needs_model=True)
    hardware, accelerators = table.text("hardware"), _needed(table, "accelerators")
    hourly = _decimal(table, "usd_per_accelerator_hour")
    where = ""
    if hourly is None:
        hourly, where = _profile_price(hardware)
    utilisation = _decimal(table, "utilisation", most=Decimal(1))
    per_second = hourly * accelerators / _SECONDS_PER_HOUR / (1 if utilisation is None else utilisation)
    rates = {}
    for part in ("input", "cache_read", "output"):
        speed = _decimal(table, f"{part}_tokens_per_s")
        if speed:
            rates[part] = Rate(per_second / speed * _MILLION)
    table.finish()
    if "input" not in rates or "output" not in rates:
        raise ProfileError(table.path, f"{table.name} lacks input_tokens_per_s and output_tokens_per_s above 0")
    # a token read from the prefix cache keeps the machine busy for no time that is worth measuring
    rates.setdefault("cache_read", Rate(Decimal(0)))
    for part in ("cache_write_5m", "cache_write_1h"):
        rates[part] = rates["input"]
    share = "all the time" if utilisation is None else f"busy {utilisation:%} of the time"
    note = f"self-hosted on {accelerators} x {hardware} at ${hourly} an hour each{where}, {share}"
    card = RateCard(scope.provider or "own", str(scope.model), name, version, None, "standard", rates, {}, (note,))
    return OwnModel(scope, card, None)


def _profile_price(hardware: str) -> tuple[Decimal, str]:
    from inferometer.profiles.hardware import load_hardware

    profile = load_hardware(hardware)
    for basis in dict.fromkeys(["reserved", "on_demand", *(price.basis for price in profile.prices)]):
        price = profile.price_range(basis)
        if price is not None:
            return price[1], f" ({basis.replace('_', ' ')}, median of {profile.prices_as_of(basis)})"
    raise ProfileError(profile.path, "has no price for an hour: write usd_per_accelerator_hour")


def _discounts(contract: Table | None) -> list[Discount]:
    if contract is None:
        return []
    found = []
    for table in contract.tables("rates"):
        found.append(Discount(_scope(table), _decimal(table, "discount", most=Decimal(1)) or Decimal(0), _rates(table)))
        table.finish()
    share = _decimal(contract, "discount", most=Decimal(1))
    scope = _scope(contract)
    if share is not None:
        found.append(Discount(scope, share, {}))
    contract.finish()
    return found


def _tools(table: Table | None, names: Any) -> dict[str, ToolPrice]:
    if table is None:
        return {}
    prices = {}
    for name in names:
        tool = table.table(name)
        prices[name] = ToolPrice(*(_decimal(tool, key) for key in ("usd_per_call", "usd_per_second", "usd_per_unit")))
        tool.finish()
        if prices[name] == ToolPrice():
            raise ProfileError(
                table.path, f"tools.{name} has no price: write usd_per_call, usd_per_second or usd_per_unit"
            )
    return prices


def _agreement(kind: str, table: Table) -> Agreement:
    name, scope = table.text("name"), _scope(table)
    readers: dict[str, Callable[[], dict[str, Decimal]]] = {
        "commitment": lambda: {"amount_usd": _needed(table, "amount_usd")},
        "credit": lambda: {"amount_usd": _needed(table, "amount_usd")},
        "provisioned": lambda: {"usd_per_hour": _needed(table, "units") * _needed(table, "usd_per_unit_hour")},
    }
    amounts = readers[kind]()
    table.finish()
    if kind != "credit" and (scope.first is None or scope.last is None):
        raise ProfileError(table.path, f"{table.name} needs from and until: a {kind} has a term")
    return Agreement(kind, name, scope, **amounts)
