"""Predict TTFT, TPOT and throughput of serving configurations, each with an interval and how far to trust it.

A file of points has the columns of published serving benchmarks (`COLUMNS`); one prediction comes out per row, in row
order, and a row that cannot be predicted says why instead of failing the file.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inferometer.analyzer.closedloop import Latencies, Loops, settle, stack
from inferometer.analyzer.stepconstants import FAMILY
from inferometer.analyzer.steptime import Parallelism, StepModel, step_model
from inferometer.profiles.engines import Range, Spread, load_engine
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model
from inferometer.schema.errors import InfeasibleError, InputError, UserError

COLUMNS = ("hardware", "engine", "model", "precision", "mode", "tp", "isl", "osl", "concurrency")
"""Required; ``pp``, ``dp``, ``moe_tp``, ``moe_ep`` and ``batch_per_replica`` are read where they are there."""

EXTRAPOLATED, UNSUPPORTED = "extrapolated", "unsupported"
DISAGGREGATED = "disaggregated"
TOLERANCE = 0.1
"""How far outside the hull, as a ratio minus one, still counts as inside."""


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration in a closed loop. ``users`` are of one replica; tokens are of one request."""

    hardware: str
    engine: str
    model: str
    precision: str
    parallelism: Parallelism
    users: float
    replicas: float
    input_tokens: float
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer; times in milliseconds, None where nothing can be said. p10 to p90 is an 80 % interval."""

    confidence: str
    reason: str
    ttft_ms: float | None = None
    ttft_ms_p10: float | None = None
    ttft_ms_p90: float | None = None
    tpot_ms: float | None = None
    tpot_ms_p10: float | None = None
    tpot_ms_p90: float | None = None
    output_tokens_per_s: float | None = None


def predict_file(path: Path) -> list[Prediction]:
    """Return one prediction per row of a CSV file, in row order.

    Raises:
        InputError: the file cannot be read, is empty, or lacks a required column.
    """
    return predict_rows(read_rows(path))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file of points.

    Raises:
        InputError: the file cannot be read, is empty, or lacks a required column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(str(path), f"cannot be read as CSV: {getattr(error, 'strerror', None) or error}") from error
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InputError(str(path), f"lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
    if not rows:
        raise InputError(str(path), "holds no rows")
    return rows


def predict_rows(rows: Iterable[Mapping[str, str]]) -> list[Prediction]:
    """Return one prediction per row, in order; see `COLUMNS`."""
    answers: list[Prediction | None] = []
    points: list[tuple[int, Point, StepModel]] = []
    for index, row in enumerate(rows):
        try:
            if is_disaggregated(row):
                answers.append(_follow_trend(row))
                continue
            point = read_point(row)
            model = model_of(point)
            _check_room(point, model)
            points.append((index, point, model))
            answers.append(None)
        except UserError as error:
            answers.append(Prediction(UNSUPPORTED, str(error)))
    solved = solve([point for _, point, _ in points], [model for _, _, model in points])
    for position, (index, point, model) in enumerate(points):
        answers[index] = _answer(point, model, solved, position)
    return [answer for answer in answers if answer is not None]


def read_point(row: Mapping[str, str]) -> Point:
    """Return the configuration a row describes.

    Raises:
        InputError: a number is missing or is none, or the row says too little to be computed.
    """
    if row.get("mode", "").lower() not in ("", "agg", "aggregated"):
        raise InputError("row", f"mode is {row['mode']!r}; it can be agg or disagg")
    precision = row["precision"].lower() or load_model(row["model"]).native_precision
    tensor, data, expert = _ranks(row)
    concurrency = _number(row, "concurrency")
    batch = _optional(row, "batch_per_replica")
    replicas = concurrency / batch if data == 1 and batch and concurrency / batch > 1.5 else 1.0
    return Point(
        hardware=row["hardware"],
        engine=row["engine"],
        model=row["model"],
        precision=precision,
        parallelism=Parallelism(tensor, _whole(row, "pp") or 1, expert, data),
        users=concurrency / replicas,
        replicas=replicas,
        input_tokens=_number(row, "isl"),
        output_tokens=_number(row, "osl"),
    )


def is_disaggregated(row: Mapping[str, str]) -> bool:
    """Return whether a row is of a deployment with a prefill and a decode side."""
    return row.get("mode", "").lower().startswith("disagg")


def _follow_trend(row: Mapping[str, str]) -> Prediction:
    """Answer a row that does not say how many ranks its prefill and decode sides have, from published ones like it.

    Raises:
        UserError: nothing was published for the chip, engine, model and precision, or a number is missing.
    """
    hardware, engine, model = load_hardware(row["hardware"]), load_engine(row["engine"]), load_model(row["model"])
    precision = row["precision"].lower() or model.native_precision
    users, tokens_in, tokens_out = (_number(row, name) for name in ("concurrency", "isl", "osl"))
    for trend in engine.trends:
        if (trend.hardware, trend.model, trend.precision) == (hardware.id, model.id, precision):
            break
    else:
        raise InputError("row", "a disaggregated deployment whose ranks are not stated, and none like it was published")
    ttft, tpot = trend.at(users, tokens_in, tokens_out)
    distance = Range(trend.users_low, trend.users_high).distance(users)
    spread = widened(engine.spreads[DISAGGREGATED], engine.spreads.get(EXTRAPOLATED), distance)
    confidence = EXTRAPOLATED if distance > TOLERANCE else FAMILY
    reason = f"ranks of the two sides are not stated: the trend of {trend.rows} published rows"
    return _prediction(confidence, reason, ttft, tpot, spread, users, tokens_out)


def _number(row: Mapping[str, str], key: str) -> float:
    value = _optional(row, key)
    if not value:
        raise InputError("row", f"{key} is missing or zero")
    return value


def _optional(row: Mapping[str, str], key: str) -> float:
    text = row.get(key) or "0"
    try:
        value = float(text)
    except ValueError as error:
        raise InputError("row", f"{key} is {text!r}, not a number") from error
    if not math.isfinite(value) or value < 0:
        raise InputError("row", f"{key} is {text!r}, not a positive number")
    return value


def _whole(row: Mapping[str, str], key: str) -> int:
    value = _optional(row, key)
    if not value.is_integer():
        raise InputError("row", f"{key} is {row[key]!r}, not a whole number")
    return int(value)


def _ranks(row: Mapping[str, str]) -> tuple[int, int, int]:
    """Return (tensor, data, expert) ranks.

    Published tables write the same eight chips in several ways. Where data-parallel attention is stated, expert ranks
    may have been multiplied into the others: ``tp 64, moe_tp 8, moe_ep 8`` and ``dp 64, moe_tp 8, moe_ep 8`` are eight
    chips, and ``tp 4, dp 4, moe_ep 16`` repeats ``tp 4, moe_ep 4`` (the rows hold the same measured times). Experts
    spread over more chips than attention is means data-parallel attention.
    """
    tensor, data = _whole(row, "tp"), _whole(row, "dp")
    expert_tensor, expert = max(_whole(row, "moe_tp"), 1), max(_whole(row, "moe_ep"), 1)
    stated = data > 0
    data = max(data, 1)
    if not tensor:
        raise InputError("row", "tp is missing")
    if stated and expert_tensor == expert > 1 and tensor * data == expert_tensor * expert:
        return (expert, 1, expert) if data == 1 else (1, expert, expert)
    if stated and expert_tensor == 1 and tensor == data > 1 and expert == tensor * data:
        return tensor, 1, tensor
    spread = expert_tensor * expert
    if data == 1 and spread > tensor and spread % tensor == 0:
        data = spread // tensor
    if (tensor * data) % expert:
        expert = 1
    return tensor, data, expert


def model_of(point: Point) -> StepModel:
    """Return the step-time model of a point.

    Raises:
        UnknownNameError: a profile it names is unknown.
        InfeasibleError: it cannot run.
    """
    hardware = load_hardware(point.hardware)
    eight_bit = point.precision not in ("bf16", "fp32") and hardware.compute.rate("fp8") is not None
    return step_model(
        hardware,
        load_engine(point.engine),
        load_model(point.model),
        precision=point.precision,
        # benchmarks of quantised weights quantise the KV cache as well, whatever the engine's default is
        kv_precision="fp8" if eight_bit else "bf16",
        tp=point.parallelism.tensor,
        pp=point.parallelism.pipeline,
        ep=point.parallelism.expert,
        dp=point.parallelism.data,
    )


def _check_room(point: Point, model: StepModel) -> None:
    """Refuse a request that no replica could serve even alone.

    Raises:
        InfeasibleError: it is over the model's window, or over KV memory; says by how much.
    """
    window, tokens = model.model.context_tokens, point.input_tokens + point.output_tokens
    if point.input_tokens > window:
        raise InfeasibleError(f"{point.input_tokens:.0f} tokens in are over the {window} of {model.model.id}'s window")
    if tokens > model.kv_capacity_tokens:
        raise InfeasibleError(
            f"a request of {tokens:.0f} tokens is over the {model.kv_capacity_tokens} that KV memory holds"
        )


def solve(points: Sequence[Point], models: Sequence[StepModel]) -> Latencies:
    """Return the stationary latencies of points; arrays over them."""
    if not points:
        empty = np.zeros(0)
        return Latencies(empty, empty, empty, empty, empty.astype(bool))
    return settle(stack([model.terms for model in models]), loops_of(points, models))


def loops_of(points: Sequence[Point], models: Sequence[StepModel]) -> Loops:
    """Return the closed loops of points, as arrays."""
    schedulers = [model.engine.scheduler for model in models]
    return Loops(
        users=np.array([point.users for point in points]),
        input_tokens=np.array([point.input_tokens for point in points]),
        output_tokens=np.array([point.output_tokens for point in points]),
        kv_capacity_tokens=np.array([float(model.kv_capacity_tokens) for model in models]),
        max_sequences=np.array([float(each.engine.scheduler.max_sequences * each.parallelism.data) for each in models]),
        chunk_tokens=np.array([float(scheduler.max_batched_tokens) for scheduler in schedulers]),
        prefill_first=np.array([scheduler.batching == "prefill_first" for scheduler in schedulers]),
        reserve_all=np.array([scheduler.admission == "reserve_all" for scheduler in schedulers]),
        frontend_seconds=np.array([model.frontend_seconds for model in models]),
        arrival_burst=np.array([model.arrival_burst for model in models]),
    )


def _answer(point: Point, model: StepModel, solved: Latencies, position: int) -> Prediction:
    ttft = float(solved.ttft_seconds[position]) * 1e3
    tpot = float(solved.tpot_seconds[position]) * 1e3
    confidence, reason = model.confidence, model.reason
    distance = extrapolation(point, model)
    spread = model.spread
    if distance > TOLERANCE and confidence in ("calibrated", FAMILY):
        confidence = EXTRAPOLATED
        reason = f"{reason}; a factor of {1 + distance:.2g} outside the fitted rows"
        spread = widened(spread, model.engine.spreads.get(EXTRAPOLATED), distance)
    if solved.waiting[position]:
        reason += f"; KV memory holds {solved.running[position]:.0f} of {point.users:.0f} users at a time"
    users = point.replicas * point.users
    return _prediction(confidence, reason, ttft, tpot, spread, users, point.output_tokens)


def _prediction(
    confidence: str, reason: str, ttft: float, tpot: float, spread: Spread, users: float, output_tokens: float
) -> Prediction:
    cycle_s = (ttft + (output_tokens - 1) * tpot) / 1e3
    decodes = output_tokens > 1  # the only token of an answer comes with the prompt
    return Prediction(
        confidence=confidence,
        reason=reason,
        ttft_ms=ttft,
        ttft_ms_p10=ttft * spread.ttft_p10,
        ttft_ms_p90=ttft * spread.ttft_p90,
        tpot_ms=tpot if decodes else None,
        tpot_ms_p10=tpot * spread.tpot_p10 if decodes else None,
        tpot_ms_p90=tpot * spread.tpot_p90 if decodes else None,
        output_tokens_per_s=users * output_tokens / cycle_s,
    )


def extrapolation(point: Point, model: StepModel) -> float:
    """Return how far a point lies outside the hull of the rows its constants were fitted to."""
    return model.extrapolation(
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        users=point.users,
        chips=float(point.parallelism.chips),
    )


def widened(spread: Spread, per_doubling: Spread | None, distance: float) -> Spread:
    """Return an interval that grows with the distance from what was fitted, by ``per_doubling`` each factor of two."""
    if per_doubling is None:
        return spread
    doublings = math.log2(1.0 + distance)
    return replace(
        spread,
        tpot_p10=spread.tpot_p10 * per_doubling.tpot_p10**doublings,
        tpot_p90=spread.tpot_p90 * per_doubling.tpot_p90**doublings,
        ttft_p10=spread.ttft_p10 * per_doubling.ttft_p10**doublings,
        ttft_p90=spread.ttft_p90 * per_doubling.ttft_p90**doublings,
    )
