"""Inference against training: the ratio in dollars billed, in dollars of own hardware, and in FLOP, never mixed.

``R = C_inference(horizon) / C_training(allocated)``. Inference is what the traces show, projected over the horizon;
training is what the ledger states, plus traced calls whose purpose is to train, written off over the model's lifetime.
Where no training is stated R is undefined, not infinite.

Source: lifetime FLOP = 6 N D_train + 2 N D_inference, Sardana et al., arXiv 2401.00448.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.fanout import day_of
from inferometer.analyzer.ledger import DAYS_PER_MONTH, Ledger, PublishedRun
from inferometer.analyzer.spending import spending
from inferometer.schema.records import Purpose

Z80 = 1.2815515655446004
"""Standard normal quantile of 0.9: the bounds of an 80 % interval."""

NO_TRAINING = "no training stated; the training inside a provider's prices is not visible"


@dataclass(slots=True, frozen=True)
class TrainingCost:
    """Cost of one training run: dollars, and FLOP where known."""

    cost_usd: Decimal
    flop: Decimal | None


PublishedCost = Callable[[PublishedRun], TrainingCost]


@dataclass(slots=True, frozen=True)
class Range:
    """An 80 % interval with its middle."""

    low: float
    mid: float
    high: float

    def as_dict(self, places: int | None = None) -> dict[str, Any]:
        """Return low, mid and high; as Decimal where decimal places are named, so that money stays money."""
        values = {"low": self.low, "mid": self.mid, "high": self.high}
        if places is None:
            return dict(values)
        return {name: Decimal(repr(value)).quantize(Decimal(1).scaleb(-places)) for name, value in values.items()}


def by_purpose(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Return calls, tokens and cost by purpose; ``unknown`` holds runs that state none."""
    groups: dict[str, list[CostedCall]] = defaultdict(list)
    for call in dataset.calls:
        groups[call.placement.purpose or "unknown"].append(call)
    return {
        str(name): {
            "inferences": round(sum(call.weight for call in groups.get(name, []))),
            "tokens": round(
                sum((call.input_tokens + call.output_tokens) * call.weight for call in groups.get(name, []))
            ),
            **spending(groups.get(name, [])).as_dict(),
        }
        for name in (*(purpose.value for purpose in Purpose), "unknown")
    }


def daily_rate(dataset: Dataset, amount: Callable[[CostedCall], float]) -> Range | None:
    """Return an amount per day with its sampling interval; None where nothing has a time.

    The spread is the larger of the runs' own (Poisson arrivals: the variance of a sum of costs is the sum of their
    squares) and that between days.
    """
    days = dataset.days
    if not days:
        return None
    by_run: dict[str, float] = defaultdict(float)
    by_day: dict[str, float] = defaultdict(float)
    for call in dataset.calls:
        if call.is_dated:
            value = amount(call) * call.weight
            by_run[call.placement.run_id or call.key[1].hex()] += value
            by_day[day_of(call.start_ns)] += value
    total = sum(by_run.values())
    spread = math.sqrt(sum(value * value for value in by_run.values()))
    if len(by_day) >= 5:
        mean = total / len(by_day)
        variance = sum((value - mean) ** 2 for value in by_day.values()) / (len(by_day) - 1)
        spread = max(spread, math.sqrt(variance * len(by_day)))
    return Range(max(0.0, total - Z80 * spread) / days, total / days, (total + Z80 * spread) / days)


def accumulated(rate_per_day: float, growth_per_month: float, days: float) -> float:
    """Return what a daily rate that grows by a share each month adds up to."""
    growth = math.log1p(growth_per_month) / float(DAYS_PER_MONTH)
    return rate_per_day * days if abs(growth) < 1e-12 else rate_per_day * math.expm1(growth * days) / growth


def days_until(amount: float, rate_per_day: float, growth_per_month: float) -> float | None:
    """Return the days until a growing rate has added up to an amount; None where it never does."""
    if rate_per_day <= 0:
        return None
    growth = math.log1p(growth_per_month) / float(DAYS_PER_MONTH)
    if abs(growth) < 1e-12:
        return amount / rate_per_day
    inner = 1 + amount * growth / rate_per_day
    return math.log(inner) / growth if inner > 0 else None


def projected(rate: Range, ledger: Ledger, days: float) -> Range:
    """Return what the rate adds up to over days, at the ledger's growth and its bounds."""
    low, high = ledger.inference.growth_range
    return Range(
        accumulated(rate.low, float(low), days),
        accumulated(rate.mid, float(ledger.inference.growth_per_month), days),
        accumulated(rate.high, float(high), days),
    )


def training_cost(ledger: Ledger, published: PublishedCost, traced_usd: Decimal = ZERO) -> TrainingCost | None:
    """Return the product's training cost, failed runs included; None where neither ledger nor traces state any."""
    training = ledger.training
    if training is None:
        return TrainingCost(traced_usd, None) if traced_usd else None
    known = [published(run) for run in training.published]
    compute = (
        sum((run.cost_usd for run in training.run), ZERO)
        + sum((run.cost_usd for run in training.rl), ZERO)
        + sum((run.cost_usd for run in known), ZERO)
    )
    cost = (
        compute * training.failed_run_multiplier
        + sum((job.cost_usd for job in training.fine_tune), ZERO)
        + training.data_usd
        + training.staff_usd
        + traced_usd
    )
    if not cost:
        return None
    flops = [
        *(None if run.training_flop is None else run.training_flop * run.share for run in training.run),
        *(None if run.flop is None else run.flop * run.share for run in training.rl),
        *(run.flop for run in known),
        *(None for _ in training.fine_tune),
    ]
    stated = [flop for flop in flops if flop is not None]
    complete = bool(stated) and len(stated) == len(flops)
    return TrainingCost(cost, sum(stated, ZERO) * training.failed_run_multiplier if complete else None)


def inference_flop(calls: Iterable[CostedCall], params_active: Callable[[str], float | None]) -> float | None:
    """Return FLOP of inference, 2 N per fresh and output token; None where any call went to a closed model."""
    total = 0.0
    for call in calls:
        params = params_active(call.model)
        if params is None:
            return None
        meters = call.meters
        written = (meters.cache_write_5m or 0) + (meters.cache_write_1h or 0)
        total += 2 * params * ((meters.input_fresh or 0) + written + (meters.output or 0)) * call.weight
    return total


def ratio(
    dataset: Dataset,
    ledger: Ledger,
    *,
    published: PublishedCost,
    params_active: Callable[[str], float | None],
    own_hardware_usd_per_day: Range | None = None,
) -> dict[str, Any]:
    """Return the ``ratio`` part of the audit document.

    Args:
        dataset: what is audited.
        ledger: what the user states; growth and horizon come from it.
        published: gives the cost of an open model's published training.
        params_active: active parameters of an open model, None where closed or unknown.
        own_hardware_usd_per_day: what serving all calls on hardware of one's own costs, from a replay, at the low,
            middle and high price of the hardware.
    """
    purposes = by_purpose(dataset)
    serving = dataset.with_calls(
        [call for call in dataset.calls if call.is_dated and call.placement.purpose is not Purpose.TRAIN]
    )
    training = training_cost(ledger, published, purposes["train"]["cost_usd"] or ZERO)
    training_usd = float(training.cost_usd) if training else None
    billed = daily_rate(serving, lambda call: float(call.cost_usd or 0))
    tokens = daily_rate(serving, _tokens)
    own = None
    if own_hardware_usd_per_day is not None and tokens is not None and tokens.mid:
        # the replay's calls may hold undated ones and those made to train
        part = sum(_tokens(call) * call.weight for call in serving.calls)
        part /= sum(_tokens(call) * call.weight for call in dataset.calls)
        own = _spread(own_hardware_usd_per_day, part, tokens)
    flop = _flop_rate(serving, params_active)
    tokens_per_day = tokens.mid if tokens else 0.0
    days = _break_even_days(billed, ledger, training)
    origin = dataset.span_ns[0] if dataset.span_ns else None
    return {
        "billed_usd": _basis(billed, training_usd, ledger, tokens_per_day),
        "own_hardware_usd": _basis(
            own, training_usd, ledger, tokens_per_day, missing="no replay on hardware of one's own"
        ),
        "flop": _basis(
            flop,
            float(training.flop) if training and training.flop is not None else None,
            ledger,
            tokens_per_day,
            missing="a model is closed: its active parameters are not public",
            missing_training="the FLOP of some training stated is not known" if training else NO_TRAINING,
            unit="FLOP",
        ),
        "rests_on": _rests_on(serving, dataset),
        "by_purpose": purposes,
        "break_even_date": _date_after(origin, days),
        "break_even_days": days,
        "horizon_days": ledger.inference.horizon_days,
        "growth_per_month": float(ledger.inference.growth_per_month),
        "lifetime_days": float(ledger.training.lifetime_days) if ledger.training else None,
        "amortise": ledger.training.amortise if ledger.training else None,
        "with_research_multiplier": _with_research(billed, training, ledger, origin),
        "by_horizon": _curve(billed, training, ledger),
        "running_usd_per_month": _running(ledger),
    }


def _tokens(call: CostedCall) -> float:
    return call.input_tokens + call.output_tokens


def _spread(price: Range, factor: float, like: Range) -> Range:
    """Return a range of prices times a factor, widened in proportion to another range."""
    return Range(
        price.low * factor * like.low / like.mid, price.mid * factor, price.high * factor * like.high / like.mid
    )


def _flop_rate(dataset: Dataset, params_active: Callable[[str], float | None]) -> Range | None:
    """Return FLOP per day; None where any call went to a closed model."""
    if not dataset.calls or inference_flop(dataset.calls, params_active) is None:
        return None
    return daily_rate(dataset, lambda call: (inference_flop([call], params_active) or 0.0) / call.weight)


def _rests_on(serving: Dataset, dataset: Dataset) -> dict[str, Any]:
    """Return what the rates are taken from: dated calls; those without a price or usage make them lower bounds."""
    undated = [call for call in dataset.calls if not call.is_dated and call.placement.purpose is not Purpose.TRAIN]
    found, rest = spending(serving.calls), spending(undated)
    return {
        "inferences": round(sum(call.weight for call in serving.calls)),
        **found.as_dict(),
        "without_usage": round(sum(call.weight for call in serving.calls if not call.meters.is_known)),
        "undated": round(sum(call.weight for call in undated)),
        "undated_cost_usd": rest.cost_usd,
    }


def _allocated(training: float, ledger: Ledger, rate: Range, horizon_days: float) -> float:
    """Return the part of training that a horizon carries."""
    if ledger.training is None:
        return training
    life = float(ledger.training.lifetime_days)
    if ledger.training.amortise == "straight_line":
        return training * min(1.0, horizon_days / life)
    growth = float(ledger.inference.growth_per_month)
    used = accumulated(rate.mid, growth, min(horizon_days, life))
    whole = accumulated(rate.mid, growth, life)
    return training * used / whole if whole else training


def _basis(
    rate: Range | None,
    training: float | None,
    ledger: Ledger,
    tokens_per_day: float,
    *,
    missing: str = "no priced call carries a date, so there is no rate to project",
    missing_training: str = NO_TRAINING,
    unit: str = "USD",
) -> dict[str, Any]:
    places = 6 if unit == "USD" else None
    horizon = ledger.inference.horizon_days
    result: dict[str, Any] = {
        "unit": unit,
        "inference_per_day": None,
        "inference_over_horizon": None,
        "training": None,
        "training_allocated": None,
        "ratio": None,
        "inference_share": None,
        "parity_tokens": None,
        "reason": None,
    }
    if training:
        result["training"] = Decimal(repr(training)) if unit == "USD" else training
    if rate is None or not rate.mid:
        result["reason"] = missing
        return result
    total = projected(rate, ledger, horizon)
    result["inference_per_day"] = rate.as_dict(places)
    result["inference_over_horizon"] = total.as_dict(places)
    if not training:
        result["reason"] = missing_training
        return result
    allocated = _allocated(training, ledger, rate, horizon)
    result["training_allocated"] = Decimal(repr(allocated)) if unit == "USD" else allocated
    result["ratio"] = Range(total.low / allocated, total.mid / allocated, total.high / allocated).as_dict()
    result["inference_share"] = total.mid / (total.mid + allocated)
    result["parity_tokens"] = training / (rate.mid / tokens_per_day) if tokens_per_day else None
    return result


def _break_even_days(rate: Range | None, ledger: Ledger, training: TrainingCost | None) -> float | None:
    if rate is None or training is None:
        return None
    return days_until(float(training.cost_usd), rate.mid, float(ledger.inference.growth_per_month))


def _date_after(origin_ns: int | None, days: float | None) -> str | None:
    if origin_ns is None or days is None or days > 365 * 200:
        return None
    return (datetime.fromtimestamp(origin_ns / 1e9, UTC) + timedelta(days=days)).date().isoformat()


def _with_research(
    rate: Range | None, training: TrainingCost | None, ledger: Ledger, origin_ns: int | None
) -> dict[str, Any]:
    low, high = ledger.training.research_multiplier if ledger.training else (None, None)
    result: dict[str, Any] = {"multiplier_low": low, "multiplier_high": high, "ratio": None, "break_even_date": None}
    if rate is None or not rate.mid or training is None or low is None or high is None:
        return result
    total = projected(rate, ledger, ledger.inference.horizon_days)
    allocated = _allocated(float(training.cost_usd), ledger, rate, ledger.inference.horizon_days)
    middle = math.sqrt(float(low) * float(high))
    result["ratio"] = Range(
        total.low / allocated / float(high), total.mid / allocated / middle, total.high / allocated / float(low)
    ).as_dict()
    growth = float(ledger.inference.growth_per_month)
    result["break_even_date"] = _date_after(origin_ns, days_until(float(training.cost_usd) * middle, rate.mid, growth))
    return result


def _curve(rate: Range | None, training: TrainingCost | None, ledger: Ledger) -> list[dict[str, Any]]:
    """Return cumulated inference over the whole training cost, by horizon."""
    if rate is None or not rate.mid or training is None:
        return []
    cost = float(training.cost_usd)
    points = []
    for days in (7, 14, 30, 60, 90, 120, 180, 270, 365, 540, 730, 1095):
        total = projected(rate, ledger, days)
        points.append({"days": days, "low": total.low / cost, "mid": total.mid / cost, "high": total.high / cost})
    return points


def _running(ledger: Ledger) -> dict[str, Decimal | None]:
    entries = {"development": ledger.development, "platform": ledger.platform, "other_ai": ledger.other_ai}
    return {name: entry.usd_per_month if entry else None for name, entry in entries.items()}
