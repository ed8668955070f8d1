"""Calibrate an engine on the server spans of a store: what one's own deployment took, over what the model says.

vLLM's and SGLang's request spans carry the times in queue, prefill and decode. How many requests ran together is known
from the spans themselves, so each one is set beside the step-time model at its own load, and the medians of the ratios
become a correction of the model on that hardware.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate

from inferometer.analyzer.steptime import StepLoad, StepModel
from inferometer.profiles.engines import ANY_VERSION, CONSTANT_NAMES, CORRECTION_FACTORS, Range
from inferometer.profiles.models import Model
from inferometer.schema.errors import UserError
from inferometer.schema.rows import InferenceRow

LEAST_REQUESTS = 20
LOW, HIGH = 0.1, 0.9


@dataclass(frozen=True, slots=True)
class Served:
    """One request as its server timed it; seconds and tokens."""

    start_ns: int
    end_ns: int
    input_tokens: int
    fresh_tokens: int
    output_tokens: int
    queue_s: float
    prefill_s: float
    decode_s: float
    ttft_s: float | None


@dataclass(frozen=True, slots=True)
class TraceCalibration:
    """What the requests say of a deployment; ratios are measured over modelled."""

    requests: int
    step_factor: float
    compute_factor: float
    frontend_factor: float
    tpot_p10: float
    tpot_p90: float
    ttft_p10: float
    ttft_p90: float
    tpot_error: float
    hull: dict[str, Range]


def served_requests(rows: Iterable[InferenceRow], model: Model) -> list[Served]:
    """Return a model's inferences that a server timed, oldest first; those without times or tokens are left out."""
    names = {name.casefold() for name in (model.id, *model.aliases)}
    found = []
    for row in rows:
        inference, place = row.inference, row.placement
        meters = inference.meters
        if (inference.model or "").casefold() not in names:
            continue
        if inference.prefill_ns is None or inference.decode_ns is None or place.start_ns is None:
            continue
        if place.end_ns is None or not meters.output or meters.output < 2 or not meters.input_total:
            continue
        found.append(
            Served(
                start_ns=place.start_ns,
                end_ns=place.end_ns,
                input_tokens=meters.input_total,
                fresh_tokens=meters.input_total - (meters.cache_read or 0),
                output_tokens=meters.output,
                queue_s=(inference.queue_ns or 0) / 1e9,
                prefill_s=inference.prefill_ns / 1e9,
                decode_s=inference.decode_ns / 1e9,
                ttft_s=None if inference.ttft_ns is None else inference.ttft_ns / 1e9,
            )
        )
    return sorted(found, key=lambda request: request.start_ns)


def calibrate_on(requests: Sequence[Served], model: StepModel, replicas: int = 1) -> TraceCalibration:
    """Return what requests say of the deployment that `model` describes.

    Args:
        requests: of one model on one deployment, as `served_requests` returns them.
        model: the deployment's step-time model.
        replicas: how many such deployments shared the requests.

    Raises:
        UserError: there are too few timed requests to say anything.
    """
    if len(requests) < LEAST_REQUESTS:
        raise UserError(
            f"{len(requests)} requests of {model.model.id} carry a server's prefill and decode times; at least "
            f"{LEAST_REQUESTS} are needed: import the engine's own spans "
            "(vLLM: --otlp-traces-endpoint with --collect-detailed-traces=all)"
        )
    together = [max(count / replicas, 1.0) for count in concurrency(requests)]
    tpot, prompt, front = [], [], []
    for request, users in zip(requests, together, strict=True):
        context = request.input_tokens + request.output_tokens / 2
        decode = model.seconds(StepLoad(users, users, users * context))
        others = (users - 1) * _prompt_seconds(request, model, users) / request.output_tokens
        tpot.append(request.decode_s / (request.output_tokens - 1) / (decode + others))
        prompt.append(request.prefill_s / (_prompt_seconds(request, model, users) + decode))
        if request.ttft_s is not None:
            front.append(max(request.ttft_s - request.queue_s - request.prefill_s, 1e-4))
    step, compute = statistics.median(tpot), statistics.median(prompt)
    seconds = model.frontend_seconds or 1e-3
    ordered, firsts = sorted(each / step for each in tpot), sorted(each / compute for each in prompt)
    return TraceCalibration(
        requests=len(requests),
        step_factor=step,
        compute_factor=compute / step,
        frontend_factor=statistics.median(front) / seconds if front else 1.0,
        tpot_p10=min(_at(ordered, LOW), 0.995),
        tpot_p90=max(_at(ordered, HIGH), 1.005),
        ttft_p10=min(_at(firsts, LOW), 0.995),
        ttft_p90=max(_at(firsts, HIGH), 1.005),
        tpot_error=statistics.median(abs(each - 1) for each in ordered),
        hull=_hull(requests, together, model),
    )


def _prompt_seconds(request: Served, model: StepModel, users: float) -> float:
    """Return what a prompt adds to a step of `users` decoding sequences."""
    context = users * (request.input_tokens + request.output_tokens / 2)
    cached = request.input_tokens - request.fresh_tokens
    pairs = request.fresh_tokens * (cached + request.fresh_tokens / 2)
    beside = model.seconds(StepLoad(users + 1, users, context, 0.0, request.fresh_tokens, pairs))
    return beside - model.seconds(StepLoad(users, users, context))


def concurrency(requests: Sequence[Served]) -> list[float]:
    """Return how many requests ran on average while each one did, itself included."""
    events = sorted({moment for request in requests for moment in (request.start_ns, request.end_ns)})
    change = dict.fromkeys(events, 0)
    for request in requests:
        change[request.start_ns] += 1
        change[request.end_ns] -= 1
    running = list(accumulate(change[moment] for moment in events))
    spans = [(later - earlier) for earlier, later in zip(events, [*events[1:], events[-1]], strict=True)]
    area = [0, *accumulate(count * span for count, span in zip(running, spans, strict=True))]

    def until(moment: int) -> float:
        index = bisect_right(events, moment) - 1
        return area[index] + running[index] * (moment - events[index])

    return [
        (until(request.end_ns) - until(request.start_ns)) / max(request.end_ns - request.start_ns, 1)
        for request in requests
    ]


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _hull(requests: Sequence[Served], together: Sequence[float], model: StepModel) -> dict[str, Range]:
    chips = float(model.parallelism.chips)
    hits = [1 - request.fresh_tokens / request.input_tokens for request in requests]
    values = {
        "input_tokens": [float(request.input_tokens) for request in requests],
        "output_tokens": [float(request.output_tokens) for request in requests],
        "users": list(together),
        "chips": [chips],
        "hit_rate": hits,
    }
    return {name: Range(min(found), max(found)) for name, found in values.items()}


def calibration_text(found: TraceCalibration, model: StepModel, as_of: date) -> str:
    """Return the calibration as TOML for the user's folder of engine profiles."""
    factors = dict.fromkeys(CORRECTION_FACTORS, 1.0)
    factors["step_factor"], factors["compute_factor"] = found.step_factor, found.compute_factor
    factors["frontend_factor"] = found.frontend_factor
    lines = ["[[calibration]]", f'hardware = "{model.hardware.id}"', f'versions = ["{model.engine.version or "own"}"]']
    lines += ["", "[calibration.constants]"]
    lines += [f"{name} = {getattr(model.constants, name)!r}" for name in CONSTANT_NAMES]
    lines += ["", "[calibration.fit]", f"rows = {found.requests}", "held_out_rows = 0"]
    lines += [f"tpot_median_error = {found.tpot_error:.5f}", f"as_of = {as_of.isoformat()}"]
    lines += ['source = "inferometer calibrate --from-traces"', 'confidence = "high"', "", "[calibration.fit.hull]"]
    for name, limits in found.hull.items():
        lines += [f"{name}_low = {limits.low:.6g}", f"{name}_high = {limits.high:.6g}"]
    lines += ["", "[[calibration.spread]]", f'of = "{model.model.family}"']
    lines += [
        f"{name}_factor = {getattr(found, name):.5f}" for name in ("tpot_p10", "tpot_p90", "ttft_p10", "ttft_p90")
    ]
    lines += [f"rows = {found.requests}", "", "[[calibration.correction]]", f'model = "{model.model.id}"']
    lines += [f'precision = "{model.precision}"', f'version = "{ANY_VERSION}"']
    lines += [f"{name} = {factors[name]:.6g}" for name in CORRECTION_FACTORS]
    return "\n".join([*lines, f"rows = {found.requests}"]) + "\n"
