"""The ledger: what the user states beside the traces, in TOML - training, development, platform, contracts, growth.

Every amount names its unit in its key (``usd``, ``gpu_hours``, ``usd_per_month``), so that a bare number cannot be read
two ways. Unknown keys, negative amounts and amounts without a unit are refused with the line that says so.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inferometer.profiles.toml import read_toml
from inferometer.schema.errors import ProfileError

Amount = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False)]
Multiplier = Annotated[Decimal, Field(ge=1, allow_inf_nan=False)]

DEFAULT_TRAINING_MFU = Decimal("0.35")
"""Share of peak FLOP/s that a training run reaches where it does not say; public runs lie between 0.14 and 0.46.

Source: implied by published GPU-hours and tokens of Llama 2 to 4, DeepSeek-V3 and OLMo 3 model cards.
"""
RESEARCH_MULTIPLIER = (Decimal("4.4"), Decimal("10.4"))
"""All research compute over that of the final runs; final runs were 9.6 to 22.6 % of it.

Source: Epoch AI, 2026-03-23 (OpenAI, MiniMax, Z.ai).
"""
DAYS_PER_MONTH = Decimal("30.4375")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingRun(_Entry):
    """One training run of one's own: dollars, or GPU-hours at a price, or FLOP on a GPU at a price.

    ``peak_flops_per_gpu`` is dense, in FLOP/s at the precision trained in.
    """

    name: str
    usd: Amount | None = None
    gpu_hours: Amount | None = None
    usd_per_gpu_hour: Amount | None = None
    flop: Amount | None = None
    params_active: Amount | None = None
    tokens: Amount | None = None
    peak_flops_per_gpu: Amount | None = None
    mfu: Annotated[Decimal, Field(gt=0, le=1)] = DEFAULT_TRAINING_MFU
    share: Share = Decimal(1)

    @model_validator(mode="after")
    def _has_a_cost(self) -> TrainingRun:
        if self.usd is None and (self.usd_per_gpu_hour is None or self.hours is None):
            raise ValueError(
                "needs usd, or usd_per_gpu_hour with gpu_hours (or with flop, or params_active and tokens, and "
                "peak_flops_per_gpu)"
            )
        return self

    @property
    def training_flop(self) -> Decimal | None:
        """FLOP of the run: as stated, else 6 N D, else GPU-hours times peak times MFU; None where none is stated."""
        if self.flop is not None:
            return self.flop
        if self.params_active is not None and self.tokens is not None:
            return 6 * self.params_active * self.tokens
        if self.gpu_hours is not None and self.peak_flops_per_gpu is not None:
            return self.gpu_hours * 3600 * self.peak_flops_per_gpu * self.mfu
        return None

    @property
    def hours(self) -> Decimal | None:
        """GPU-hours: as stated, else FLOP / (peak x MFU)."""
        if self.gpu_hours is not None:
            return self.gpu_hours
        flop = self.training_flop
        if flop is None or not self.peak_flops_per_gpu:
            return None
        return flop / (self.peak_flops_per_gpu * self.mfu * 3600)

    @property
    def cost_usd(self) -> Decimal:
        """Dollars, times the share that is this product's."""
        if self.usd is not None:
            return self.usd * self.share
        assert self.hours is not None
        assert self.usd_per_gpu_hour is not None
        return self.hours * self.usd_per_gpu_hour * self.share


class FineTuneJob(_Entry):
    """A job of a fine-tuning API: dollars, or tokens x epochs at a price, or hours at a price."""

    name: str
    usd: Amount | None = None
    tokens: Amount | None = None
    epochs: Amount = Decimal(1)
    usd_per_mtok: Amount | None = None
    hours: Amount | None = None
    usd_per_hour: Amount | None = None
    share: Share = Decimal(1)

    @model_validator(mode="after")
    def _has_a_cost(self) -> FineTuneJob:
        by_tokens = self.tokens is not None and self.usd_per_mtok is not None
        by_hours = self.hours is not None and self.usd_per_hour is not None
        if self.usd is None and not by_tokens and not by_hours:
            raise ValueError("needs usd, or tokens and usd_per_mtok, or hours and usd_per_hour")
        return self

    @property
    def cost_usd(self) -> Decimal:
        """Dollars, times the share that is this product's."""
        if self.usd is not None:
            return self.usd * self.share
        cost = Decimal(0)
        if self.tokens is not None and self.usd_per_mtok is not None:
            cost += self.tokens * self.epochs * self.usd_per_mtok / 1_000_000
        if self.hours is not None and self.usd_per_hour is not None:
            cost += self.hours * self.usd_per_hour
        return cost * self.share


class ReinforcementRun(_Entry):
    """Reinforcement learning: the updates, and the rollouts, which are inference done for training."""

    name: str
    update_gpu_hours: Amount = Decimal(0)
    rollout_gpu_hours: Amount = Decimal(0)
    usd_per_gpu_hour: Amount | None = None
    rollout_usd: Amount = Decimal(0)
    grader_usd: Amount = Decimal(0)
    flop: Amount | None = None
    share: Share = Decimal(1)

    @model_validator(mode="after")
    def _has_a_price(self) -> ReinforcementRun:
        if self.update_gpu_hours + self.rollout_gpu_hours > 0 and self.usd_per_gpu_hour is None:
            raise ValueError("has GPU-hours without usd_per_gpu_hour")
        return self

    @property
    def cost_usd(self) -> Decimal:
        """Dollars, times the share that is this product's."""
        hours = self.update_gpu_hours + self.rollout_gpu_hours
        return (hours * (self.usd_per_gpu_hour or 0) + self.rollout_usd + self.grader_usd) * self.share


class PublishedRun(_Entry):
    """The published training of an open model, by its name, at a price per GPU-hour of the user's choice."""

    model: str
    usd_per_gpu_hour: Amount | None = None
    share: Share = Decimal(1)


class Training(_Entry):
    """All that training cost, and the life over which it is written off."""

    lifetime_days: Annotated[Decimal, Field(gt=0)] = Decimal(365)
    amortise: Literal["straight_line", "use"] = "straight_line"
    failed_run_multiplier: Multiplier = Decimal(1)
    research_multiplier: tuple[Multiplier, Multiplier] = RESEARCH_MULTIPLIER
    data_usd: Amount = Decimal(0)
    staff_usd: Amount = Decimal(0)
    run: tuple[TrainingRun, ...] = ()
    fine_tune: tuple[FineTuneJob, ...] = ()
    rl: tuple[ReinforcementRun, ...] = ()
    published: tuple[PublishedRun, ...] = ()


class Monthly(_Entry):
    """A running cost."""

    usd_per_month: Amount


class Projection(_Entry):
    """How inference is expected to grow, as a share a month; low and high bound the interval."""

    horizon_days: Annotated[int, Field(gt=0, le=3650)] = 365
    growth_per_month: Decimal = Decimal(0)
    growth_per_month_low: Decimal | None = None
    growth_per_month_high: Decimal | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Projection:
        low, high = self.growth_range
        if not -1 < low <= self.growth_per_month <= high:
            raise ValueError("needs -1 < growth_per_month_low <= growth_per_month <= growth_per_month_high")
        return self

    @property
    def growth_range(self) -> tuple[Decimal, Decimal]:
        """Lowest and highest growth."""
        low, high = self.growth_per_month_low, self.growth_per_month_high
        return (self.growth_per_month if low is None else low, self.growth_per_month if high is None else high)


class Commitment(_Entry):
    """Capacity that is paid for whether it is used or not; savings within it free capacity, not cash."""

    provider: str
    model: str | None = None
    usd_per_month: Amount
    ends: date | None = None


class Reserved(_Entry):
    """Accelerators that are paid for by the hour, used or idle."""

    hardware: str
    gpus: Annotated[int, Field(gt=0)]
    usd_per_gpu_hour: Amount
    discount: Share | None = None


class Electricity(_Entry):
    """What is paid for electricity of hardware of one's own, and what it emits."""

    usd_per_kwh: Amount
    gco2e_per_kwh: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None


class Ledger(_Entry):
    """What the user states beside the traces; everything in it is optional."""

    currency: str = "USD"
    usd_per_unit: Annotated[Decimal, Field(gt=0)] | None = None
    training: Training | None = None
    development: Monthly | None = None
    platform: Monthly | None = None
    other_ai: Monthly | None = None
    inference: Projection = Projection()
    commitment: tuple[Commitment, ...] = ()
    reserved: tuple[Reserved, ...] = ()
    electricity: Electricity | None = None

    @property
    def rate(self) -> Decimal:
        """US dollars per unit of the ledger's currency."""
        return Decimal(1) if self.currency == "USD" else (self.usd_per_unit or Decimal(1))


def load_ledger(path: str | Path) -> Ledger:
    """Read a ledger file; amounts in another currency are turned into US dollars by its ``usd_per_unit``.

    Raises:
        ProfileError: the file is unreadable, no TOML, or breaks a rule; the message names the key.
    """
    ledger: Ledger = validated(path, Ledger, in_dollars=True)
    return ledger


def validated(path: str | Path, model: Any, *, in_dollars: bool = False) -> Any:
    """Read a TOML file into a pydantic model.

    Raises:
        ProfileError: the file is unreadable, no TOML, or breaks a rule of the model.
    """
    values = read_toml(path, parse_float=Decimal)
    if in_dollars:
        values = _dollars(str(path), values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ProfileError(str(path), _first_line(error)) from error


def _dollars(path: str, values: dict[str, Any]) -> dict[str, Any]:
    currency = values.get("currency", "USD")
    rate = values.get("usd_per_unit")
    if currency == "USD":
        if rate is not None:
            raise ProfileError(path, "usd_per_unit makes no sense where the currency is USD; remove it")
        return values
    if not isinstance(rate, int | Decimal) or rate <= 0:
        raise ProfileError(
            path, f"currency is {currency!r} without a rate; add usd_per_unit = (US dollars for one {currency})"
        )
    return {key: _scaled(key, value, Decimal(rate)) for key, value in values.items()}


def _scaled(key: str, value: Any, rate: Decimal) -> Any:
    """Return a value in dollars; keys that hold money say ``usd``, read here as the ledger's own currency."""
    if isinstance(value, dict):
        return {inner: _scaled(inner, found, rate) for inner, found in value.items()}
    if isinstance(value, list):
        return [_scaled(key, item, rate) for item in value]
    is_money = key.startswith("usd") or key.endswith("_usd")
    if is_money and key != "usd_per_unit" and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value * rate
    return value


def _first_line(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ""
    for part in problem["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    key = where.rsplit(".", 1)[-1]
    if problem["type"] == "extra_forbidden":
        hint = ""
        if key in {"cost", "price", "amount", "value", "budget", "total", "compute"}:
            hint = "; an amount names its unit, such as usd, gpu_hours or usd_per_month"
        return f"unknown key {where!r}{hint}{more}"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem.get("input")
    shown = f" (it is {given})" if isinstance(given, int | float | Decimal | str) else ""
    return f"{where}: {message[:1].lower()}{message[1:]}{shown}{more}"


def today() -> date:
    """Return the current UTC day."""
    return datetime.now(UTC).date()
