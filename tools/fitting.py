"""Constants of engines on chips, fitted to measured rows: one maximum a posteriori estimate over all of them.

Every constant of an (engine, chip) is a prior's value, moved by a global offset, an offset of the engine, and one of
the pair; each offset is drawn to zero with a known strength, so that a pair with ten rows leans on what the others
showed and one with hundreds speaks for itself. Models, precisions and versions correct the step's parts the same way.
Residuals are logarithms, weighed as of a Student t with four degrees of freedom: a row off by a factor counts little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from ground_truth import Observation

from inferometer.analyzer.closedloop import Join, Loops, add, settle
from inferometer.analyzer.stepterms import Demand, Peaks, StepTerms, demand, peaks, terms_of
from inferometer.analyzer.steptime import corrected, replica_memory
from inferometer.profiles.engines import (
    ANY_VERSION,
    CONSTANT_NAMES,
    CORRECTION_FACTORS,
    Constants,
    Correction,
    load_engine,
)
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model
from inferometer.schema.errors import InfeasibleError

# name: (prior value, how far, in logits of a share or logarithms of another number, an offset may easily move it)
PRIOR = {
    "weight_bandwidth_efficiency": (0.72, 0.5),
    "compute_efficiency": (0.5, 0.5),
    "kv_bandwidth_efficiency": (0.65, 0.5),
    "attention_compute_efficiency": (0.45, 0.4),
    "expert_bandwidth_efficiency": (0.6, 0.6),
    "expert_compute_efficiency": (0.3, 0.6),
    "expert_imbalance": (0.3, 0.7),
    "collective_us": (7.0, 0.6),
    "link_efficiency": (0.6, 0.6),
    "host_ms_per_step": (0.6, 0.7),
    "host_us_per_layer": (15.0, 0.6),
    "host_us_per_sequence": (10.0, 0.7),
    "frontend_ms": (60.0, 0.7),
    "arrival_burst": (0.12, 0.7),
}
IS_SHARE = np.array([name.endswith("_efficiency") for name in CONSTANT_NAMES])
CENTRE = np.array(
    [
        np.log(PRIOR[n][0] / (1 - PRIOR[n][0])) if s else np.log(PRIOR[n][0])
        for n, s in zip(CONSTANT_NAMES, IS_SHARE, strict=True)
    ]
)
REACH = np.array([PRIOR[name][1] for name in CONSTANT_NAMES])
GLOBAL, OF_ENGINE, OF_PAIR = 1.5, 0.7, 1.0
MODEL_REACH = {
    "weight_factor": 0.25,
    "kv_factor": 0.25,
    "compute_factor": 0.25,
    "host_factor": 0.25,
    "frontend_factor": 0.35,
    "burst_factor": 0.35,
}
VERSION_REACH = {"step_factor": 0.2, "frontend_factor": 0.3, "burst_factor": 0.3}
TPOT_SPREAD, TTFT_SPREAD, RATE_SPREAD, FREEDOM = 0.07, 0.22, 0.1, 4.0
EFFECTIVELY_UNLIMITED = 1e12


def constants_of(offsets: np.ndarray) -> np.ndarray:
    """Return constants from offsets in units of reach; shares stay between 0 and 1, the others above 0."""
    raw = CENTRE + offsets * REACH
    return np.where(IS_SHARE, 1 / (1 + np.exp(-raw)), np.exp(np.clip(raw, -12, 12)))


@dataclass
class Data:
    """Observations as arrays, with the group that each belongs to."""

    observations: list[Observation]
    demands: Demand
    peaks: Peaks
    loops: Loops
    engines: list[str]
    pairs: list[tuple[str, str]]
    models: list[tuple[str, str, str, str]]
    versions: list[tuple[str, str, str, str, str]]
    of_engine: np.ndarray
    of_pair: np.ndarray
    of_model: np.ndarray
    of_version: np.ndarray
    join: Join = field(default=add)
    """How reading weights and computing with them make one time."""

    def array(self, name: str) -> np.ndarray:
        """Return one member of every observation."""
        return np.array([getattr(each, name) for each in self.observations])

    def is_kind(self, kind: str) -> np.ndarray:
        """Return where observations are of a kind."""
        return np.array([each.kind == kind for each in self.observations])


def gather(observations: Sequence[Observation]) -> tuple[Data, list[Observation]]:
    """Return (the data, observations that no profile can run)."""
    kept, refused, demands, all_peaks, capacities = [], [], [], [], []
    for each in observations:
        point = each.point
        hardware, engine, model = load_hardware(point.hardware), load_engine(each.engine), load_model(point.model)
        kv = "fp8" if point.precision not in ("bf16", "fp32") and hardware.compute.rate("fp8") else "bf16"
        if model.attention.heads % point.parallelism.tensor:
            refused.append(each)
            continue
        try:
            asked = demand(model, point.parallelism, point.precision, kv)
            rates = peaks(hardware, model, point.parallelism, point.precision)
            rules = engine.scheduler.on(hardware.memory.capacity_bytes)
            engine = replace(engine, scheduler=rules)
            capacity = replica_memory(hardware, engine, model, point.parallelism, point.precision, kv)[2]
        except InfeasibleError:
            refused.append(each)
            continue
        kept.append(each)
        demands.append([getattr(asked, field.name) for field in fields(Demand)])
        all_peaks.append([getattr(rates, field.name) for field in fields(Peaks)])
        capacities.append(float(capacity))
    pair_keys = [(each.engine, each.point.hardware) for each in kept]
    model_keys = [(each.engine, each.point.hardware, each.point.model, each.point.precision) for each in kept]
    version_keys = [(*key, each.version) for key, each in zip(model_keys, kept, strict=True)]
    engines, pairs = sorted({each.engine for each in kept}), sorted(set(pair_keys))
    models, versions = sorted(set(model_keys)), sorted(set(version_keys))
    schedulers = [
        load_engine(each.engine).scheduler.on(load_hardware(each.point.hardware).memory.capacity_bytes) for each in kept
    ]
    sequences = [each.max_sequences or rules.max_sequences for each, rules in zip(kept, schedulers, strict=True)]
    chunks = [each.max_batched_tokens or rules.max_batched_tokens for each, rules in zip(kept, schedulers, strict=True)]
    data = Data(
        observations=kept,
        demands=Demand(*np.array(demands).T),
        peaks=Peaks(*np.array(all_peaks).T),
        loops=Loops(
            users=np.array([each.point.users for each in kept]),
            input_tokens=np.array([each.point.input_tokens for each in kept]),
            output_tokens=np.array([each.point.output_tokens for each in kept]),
            kv_capacity_tokens=np.array(capacities),
            max_sequences=np.array(
                [limit * float(each.point.parallelism.data) for limit, each in zip(sequences, kept, strict=True)]
            ),
            chunk_tokens=np.array(chunks, dtype=float),
            prefill_first=np.array([each.batching == "prefill_first" for each in schedulers]),
            reserve_all=np.array([each.admission == "reserve_all" for each in schedulers]),
            frontend_seconds=np.zeros(len(kept)),
            arrival_burst=np.zeros(len(kept)),
        ),
        engines=engines,
        pairs=pairs,
        models=models,
        versions=versions,
        of_engine=np.array([engines.index(each.engine) for each in kept]),
        of_pair=np.array([pairs.index(key) for key in pair_keys]),
        of_model=np.array([models.index(key) for key in model_keys]),
        of_version=np.array([versions.index(key) for key in version_keys]),
    )
    return data, refused


@dataclass
class Estimate:
    """Offsets in units of their reach: of all, of engines, of pairs, of models and of versions."""

    shared: np.ndarray
    engine: np.ndarray
    pair: np.ndarray
    model: np.ndarray
    version: np.ndarray

    @classmethod
    def zero(cls, data: Data) -> Estimate:
        """Return the prior."""
        k = len(CONSTANT_NAMES)
        return cls(
            np.zeros(k),
            np.zeros((len(data.engines), k)),
            np.zeros((len(data.pairs), k)),
            np.zeros((len(data.models), len(MODEL_REACH))),
            np.zeros((len(data.versions), len(VERSION_REACH))),
        )

    def flat(self) -> np.ndarray:
        """Return all offsets as one vector."""
        return np.concatenate(
            [self.shared, *(each.ravel() for each in (self.engine, self.pair, self.model, self.version))]
        )

    def like(self, flat: np.ndarray) -> Estimate:
        """Return an estimate of this one's shape from one vector."""
        parts, start = [], 0
        for old in (self.shared, self.engine, self.pair, self.model, self.version):
            parts.append(flat[start : start + old.size].reshape(old.shape))
            start += old.size
        return Estimate(*parts)

    def constants(self, engine: int, pair: int | None) -> Constants:
        """Return the constants of an engine, on a chip or (None) on one without rows."""
        offsets = GLOBAL * self.shared + OF_ENGINE * self.engine[engine]
        if pair is not None:
            offsets = offsets + OF_PAIR * self.pair[pair]
        return Constants(*(float(value) for value in constants_of(offsets)))

    def factors(self, model: int, version: int | None) -> dict[str, float]:
        """Return a model's correction factors, at a version or (None) over all of them."""
        found = dict.fromkeys(CORRECTION_FACTORS, 1.0)
        for index, (name, reach) in enumerate(MODEL_REACH.items()):
            found[name] *= float(np.exp(self.model[model, index] * reach))
        if version is not None:
            for index, (name, reach) in enumerate(VERSION_REACH.items()):
                found[name] *= float(np.exp(self.version[version, index] * reach))
        return found


def _take(bundle: object, rows: np.ndarray) -> object:
    return type(bundle)(*(getattr(bundle, field.name)[rows] for field in fields(bundle)))  # type: ignore[arg-type]


@dataclass
class Predicted:
    """What an estimate says of rows: seconds, and output tokens/s of a replica."""

    ttft: np.ndarray
    tpot: np.ndarray
    rate: np.ndarray


def terms_and_loops(
    data: Data, estimate: Estimate, rows: np.ndarray, known: str = "version"
) -> tuple[StepTerms, Loops]:
    """Return the step terms and closed loops of `rows`, by what is ``known``: version, model, pair or engine."""
    offsets = GLOBAL * estimate.shared + OF_ENGINE * estimate.engine[data.of_engine[rows]]
    if known != "engine":
        offsets = offsets + OF_PAIR * estimate.pair[data.of_pair[rows]]
    constants = Constants(*constants_of(offsets).T)
    factors = {name: np.ones(len(rows)) for name in CORRECTION_FACTORS}
    if known in ("version", "model"):
        for index, (name, reach) in enumerate(MODEL_REACH.items()):
            factors[name] = factors[name] * np.exp(estimate.model[data.of_model[rows], index] * reach)
    if known == "version":
        for index, (name, reach) in enumerate(VERSION_REACH.items()):
            factors[name] = factors[name] * np.exp(estimate.version[data.of_version[rows], index] * reach)
    terms = terms_of(_take(data.demands, rows), _take(data.peaks, rows), constants)  # type: ignore[arg-type]
    terms = corrected(terms, Correction("", "", ANY_VERSION, **factors, rows=1))  # type: ignore[arg-type]
    loops = replace(
        _take(data.loops, rows),  # type: ignore[type-var]
        frontend_seconds=constants.frontend_ms * 1e-3 * factors["frontend_factor"],
        arrival_burst=constants.arrival_burst * factors["burst_factor"],
    )
    return terms, loops  # type: ignore[return-value]


def predict(data: Data, estimate: Estimate, rows: np.ndarray, known: str = "version") -> Predicted:
    """Return what an estimate says of `rows`, using what is ``known``: version, model (any version), pair or engine."""
    terms, loops = terms_and_loops(data, estimate, rows, known)
    solved = settle(terms, loops, data.join)
    saturated = loops.users >= EFFECTIVELY_UNLIMITED / 1e6
    cycle = np.where(
        saturated, solved.cycle_seconds, solved.ttft_seconds + (loops.output_tokens - 1) * solved.tpot_seconds
    )
    busy = np.where(saturated, solved.running, loops.users)
    return Predicted(solved.ttft_seconds, solved.tpot_seconds, busy * loops.output_tokens / cycle)


def loss_of(data: Data, estimate: Estimate, rows: np.ndarray, known: str = "version") -> float:
    """Return the weighted misfit of `rows`, as the fit minimises it: minus the log of their Student t densities."""
    return _loss(_residuals(data, estimate, rows, known), np.tile(data.array("weight")[rows], 2))


def _loss(residuals: np.ndarray, weights: np.ndarray) -> float:
    return float((weights * (FREEDOM + 1) / 2 * np.log1p(residuals**2 / FREEDOM)).sum())


def _residuals(data: Data, estimate: Estimate, rows: np.ndarray, known: str = "version") -> np.ndarray:
    """Return residuals in units of their spread: TPOT or rate first, then TTFT (0 where a row has none)."""
    said = predict(data, estimate, rows, known)
    has_rate = np.isfinite(data.array("output_tokens_per_s")[rows])
    with np.errstate(invalid="ignore"):
        main = np.where(
            has_rate,
            np.log(said.rate / data.array("output_tokens_per_s")[rows]) / RATE_SPREAD,
            np.log(said.tpot / data.array("tpot_s")[rows]) / TPOT_SPREAD,
        )
        first = np.log(said.ttft / data.array("ttft_s")[rows]) / TTFT_SPREAD
    return np.concatenate([main, np.where(np.isfinite(first), first, 0.0)])


def fit(data: Data, rows: np.ndarray, rounds: int = 40) -> Estimate:
    """Return the maximum a posteriori estimate from `rows`, by damped Gauss-Newton on reweighted residuals."""
    estimate = Estimate.zero(data)
    weights = np.tile(data.array("weight")[rows], 2)
    flat, damping = estimate.flat(), 1e-2

    def objective(vector: np.ndarray) -> float:
        return _loss(_residuals(data, estimate.like(vector), rows), weights) + float((vector**2).sum()) / 2

    value = objective(flat)
    for _ in range(rounds):
        residuals = _residuals(data, estimate.like(flat), rows)
        w = weights * (FREEDOM + 1) / (FREEDOM + residuals**2)
        jacobian = _jacobian(data, estimate.like(flat), rows, residuals)
        curvature = jacobian.T @ (w[:, None] * jacobian) + np.eye(flat.size)
        gradient = jacobian.T @ (w * residuals) + flat
        for _ in range(6):
            step = -np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            step *= min(1.0, 2.0 / np.abs(step).max())
            new = objective(flat + step)
            if new < value:
                break
            damping *= 5
        else:
            break
        flat, gained, value = flat + step, value - new, new
        damping = max(damping / 3, 1e-5)
        if gained < 0.3:
            break
    return estimate.like(flat)


def _jacobian(data: Data, estimate: Estimate, rows: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Return derivatives by finite differences; one evaluation serves a constant's offsets of every group at once."""
    n, k, step = len(rows), len(CONSTANT_NAMES), 1e-4
    here = np.arange(n)
    starts = np.cumsum([0, estimate.shared.size, estimate.engine.size, estimate.pair.size, estimate.model.size])
    jacobian = np.zeros((2 * n, estimate.flat().size))

    def differ(part: str, column: int) -> np.ndarray:
        moved = getattr(estimate, part).copy()
        moved[..., column] += step
        return (_residuals(data, replace(estimate, **{part: moved}), rows) - residuals) / step

    def spread(start: int, groups: np.ndarray, width: int, column: int, slope: np.ndarray) -> None:
        for half in range(2):
            jacobian[half * n + here, start + groups * width + column] = slope[half * n : (half + 1) * n]

    for column in range(k):
        slope = differ("shared", column)
        jacobian[:, column] = slope
        spread(starts[1], data.of_engine[rows], k, column, slope * OF_ENGINE / GLOBAL)
        spread(starts[2], data.of_pair[rows], k, column, slope * OF_PAIR / GLOBAL)
    for column in range(len(MODEL_REACH)):
        spread(starts[3], data.of_model[rows], len(MODEL_REACH), column, differ("model", column))
    for column in range(len(VERSION_REACH)):
        spread(starts[4], data.of_version[rows], len(VERSION_REACH), column, differ("version", column))
    return jacobian
