"""What a fit says of rows that it has not seen: by configuration, model, chip and prompt length."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from fitting import Data, fit, predict
from ground_truth import FOLDS, LOOP, REQUEST, THROUGHPUT

from inferometer.analyzer.predict import TOLERANCE
from inferometer.profiles.engines import Range

HULL = ("input_tokens", "output_tokens", "users", "chips")
LONG_PROMPT_TOKENS = 8192
SHRINK_TPOT_ROWS, SHRINK_TTFT_ROWS = 25, 150
"""Rows of a chip and engine at which its own quantiles count as much as its family's; TTFT's tails are longer."""
LOW, HIGH = 0.1, 0.9
Stretch = tuple[float, float]


@dataclass
class HeldOut:
    """Predictions of rows by fits without them; NaN where a row was never held out."""

    ttft: np.ndarray
    tpot: np.ndarray
    rate: np.ndarray
    confidence: np.ndarray
    distance: np.ndarray

    @classmethod
    def empty(cls, size: int) -> HeldOut:
        """Return nothing predicted yet."""
        nan = np.full(size, np.nan)
        return cls(nan.copy(), nan.copy(), nan.copy(), np.full(size, "", dtype=object), np.zeros(size))


def hull_of(data: Data, rows: np.ndarray) -> dict[str, Range]:
    """Return the least and greatest values of `rows`; users without limit are left out."""
    values = measures(data, rows)
    hull = {}
    for name in HULL:
        finite = values[name][values[name] < 1e5]
        if finite.size:
            hull[name] = Range(float(finite.min()), float(finite.max()))
    return hull


def measures(data: Data, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return what hulls are made of, for `rows`."""
    chips = np.array([float(data.observations[row].point.parallelism.chips) for row in rows])
    loops = data.loops
    return {
        "input_tokens": loops.input_tokens[rows],
        "output_tokens": loops.output_tokens[rows],
        "users": loops.users[rows],
        "chips": chips,
    }


def hold_out(data: Data, groups: np.ndarray, known: str = "version") -> HeldOut:
    """Fit without each group in turn (-1: never held out) and predict it; say how far each row was from the rest."""
    held = HeldOut.empty(len(data.observations))
    for group in sorted(set(groups.tolist()) - {-1}):
        out, rest = np.where(groups == group)[0], np.where(groups != group)[0]
        said = predict(data, fit(data, rest), out, known)
        held.ttft[out], held.tpot[out], held.rate[out] = said.ttft, said.tpot, said.rate
        _classify(data, held, out, rest)
    return held


def _classify(data: Data, held: HeldOut, out: np.ndarray, rest: np.ndarray) -> None:
    pairs, models = set(data.of_pair[rest].tolist()), set(data.of_model[rest].tolist())
    by_pair: dict[int, list[int]] = defaultdict(list)
    for row in rest:
        by_pair[int(data.of_pair[row])].append(int(row))
    hulls = {pair: hull_of(data, np.array(rows)) for pair, rows in by_pair.items()}
    values = measures(data, out)
    for index, row in enumerate(out):
        pair = int(data.of_pair[row])
        if pair not in pairs:
            held.confidence[row] = "uncalibrated"
            continue
        limits = {k: r for k, r in hulls[pair].items() if values[k][index] < 1e5}
        held.distance[row] = max((r.distance(float(values[k][index])) for k, r in limits.items()), default=0.0)
        if held.distance[row] > TOLERANCE:
            held.confidence[row] = "extrapolated"
        else:
            held.confidence[row] = "calibrated" if int(data.of_model[row]) in models else "family"


def by_configuration(data: Data) -> np.ndarray:
    """Return each row's fold."""
    return np.array([each.fold for each in data.observations])


def by_model(data: Data) -> np.ndarray:
    """Return each loop row's model as a number; other rows are never held out with their fold, but leave with it."""
    names = sorted({each.point.model for each in data.observations})
    return np.array([names.index(each.point.model) for each in data.observations])


def by_chip(data: Data) -> np.ndarray:
    """Return each row's chip as a number."""
    names = sorted({each.point.hardware for each in data.observations})
    return np.array([names.index(each.point.hardware) for each in data.observations])


def by_length(data: Data) -> np.ndarray:
    """Return 0 for loop rows with prompts of `LONG_PROMPT_TOKENS` and more, -1 for the others."""
    loop = data.is_kind(LOOP)
    return np.where(loop & (data.loops.input_tokens >= LONG_PROMPT_TOKENS * 0.95), 0, -1)


@dataclass(frozen=True)
class Ratios:
    """Measured over predicted, of rows that were held out, with their weights; logarithms."""

    tpot: np.ndarray
    ttft: np.ndarray
    rate: np.ndarray


def ratios(data: Data, held: HeldOut) -> Ratios:
    """Return log(measured / predicted) of every row; NaN where either is missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return Ratios(
            np.log(data.array("tpot_s") / held.tpot),
            np.log(data.array("ttft_s") / held.ttft),
            np.log(data.array("output_tokens_per_s") / held.rate),
        )


def main_ratio(data: Data, found: Ratios) -> np.ndarray:
    """Return TPOT's log ratio, or that of the time per token behind a throughput row."""
    return np.where(data.is_kind(THROUGHPUT), -found.rate, found.tpot)


def quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """Return a weighted quantile; NaN of nothing."""
    good = np.isfinite(values)
    values, weights = values[good], weights[good]
    if not values.size:
        return float("nan")
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) - 0.5 * weights[order]
    return float(np.interp(share * weights.sum(), cumulative, values[order]))


@dataclass(frozen=True)
class Band:
    """An 80 % interval as log factors of TPOT and TTFT."""

    tpot_low: float
    tpot_high: float
    ttft_low: float
    ttft_high: float
    rows: int


def band(data: Data, found: Ratios, rows: np.ndarray) -> Band:
    """Return the interval that holds 80 % of `rows`."""
    w = data.array("weight")[rows]
    tpot, ttft = main_ratio(data, found)[rows], found.ttft[rows]
    return Band(
        quantile(tpot, w, LOW), quantile(tpot, w, HIGH), quantile(ttft, w, LOW), quantile(ttft, w, HIGH), len(rows)
    )


def shrunk(own: Band, wider: Band) -> Band:
    """Return a group's interval leaning on a wider group's, by its rows."""

    def lean(a: float, b: float, shrink: float) -> float:
        return b if not np.isfinite(a) else (own.rows * a + shrink * b) / (own.rows + shrink)

    return Band(
        lean(own.tpot_low, wider.tpot_low, SHRINK_TPOT_ROWS),
        lean(own.tpot_high, wider.tpot_high, SHRINK_TPOT_ROWS),
        lean(own.ttft_low, wider.ttft_low, SHRINK_TTFT_ROWS),
        lean(own.ttft_high, wider.ttft_high, SHRINK_TTFT_ROWS),
        own.rows,
    )


def bands_of_pairs(data: Data, found: Ratios, rows: np.ndarray, stretch: Stretch) -> dict[tuple[int, str], Band]:
    """Return the interval of every (pair, family) among `rows`, each leaning on its family's, times ``stretch``."""
    family = data.array("family")
    result = {}
    for name in sorted(set(family[rows].tolist())):
        of_family = rows[family[rows] == name]
        wide = band(data, found, of_family)
        for pair in sorted(set(data.of_pair[of_family].tolist())):
            own = shrunk(band(data, found, of_family[data.of_pair[of_family] == pair]), wide)
            tpot, ttft = stretch
            result[pair, name] = Band(
                own.tpot_low * tpot, own.tpot_high * tpot, own.ttft_low * ttft, own.ttft_high * ttft, own.rows
            )
    return result


def cross_bands(data: Data, held: HeldOut, found: Ratios, stretch: Stretch) -> list[Band | None]:
    """Return for every calibrated row the interval made from the other folds' rows alone."""
    folds = by_configuration(data)
    calibrated = held.confidence == "calibrated"
    family = data.array("family")
    result: list[Band | None] = [None] * len(data.observations)
    for fold in range(FOLDS):
        bands = bands_of_pairs(data, found, np.where(calibrated & (folds != fold))[0], stretch)
        for row in np.where(calibrated & (folds == fold))[0]:
            result[row] = bands.get((int(data.of_pair[row]), str(family[row])))
    return result


def coverage(data: Data, held: HeldOut, found: Ratios, stretch: Stretch) -> tuple[float, float]:
    """Return how often the other folds' intervals hold a row's TPOT or throughput, and its TTFT."""
    bands = cross_bands(data, held, found, stretch)
    main, first, requests = main_ratio(data, found), found.ttft, data.is_kind(REQUEST)
    tpot, ttft = [], []
    for row, each in enumerate(bands):
        if each is None or requests[row]:
            continue
        tpot.append(each.tpot_low <= main[row] <= each.tpot_high)
        if np.isfinite(first[row]):
            ttft.append(each.ttft_low <= first[row] <= each.ttft_high)
    return float(np.mean(tpot)), float(np.mean(ttft))


def fitting_stretch(data: Data, held: HeldOut, found: Ratios) -> Stretch:
    """Return the factors on all intervals at which they hold 80 % of rows of folds they were not made from.

    Quantiles of a few dozen rows are too narrow for new ones; this is by how much, for TPOT and for TTFT.
    """
    low, high = np.full(2, 0.8), np.full(2, 1.8)
    for _ in range(10):
        middle = (low + high) / 2
        short = np.array(coverage(data, held, found, (middle[0], middle[1]))) < HIGH - LOW
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return float(high[0]), float(high[1])


@dataclass
class Study:
    """Predictions of rows that were held out: by configuration, prompt length, chip and model."""

    configurations: HeldOut
    lengths: HeldOut
    chips: HeldOut
    models: HeldOut
