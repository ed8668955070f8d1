"""The accuracy page: errors of rows that a fit had not seen, set against what was promised."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path

import numpy as np
from disaggregated import Trends
from fitting import Data
from ground_truth import FOLDS, LOOP, REQUEST, THROUGHPUT
from holdout import Band, HeldOut, bands_of_pairs, cross_bands, fitting_stretch, main_ratio, ratios
from open_loop import OpenLoop
from sram import Machine

from inferometer.analyzer.stepterms import WEIGHT_BYTES
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model

OUTLIER = 3.0
"""A held-out row whose time is wrong by more than this factor is flagged; it still counts in every figure but one."""
TAIL = 10.0
"""Two over alpha, alpha = 0.2: what leaving an 80 % interval costs in the interval score."""
APART = 1.15
SLO_TPOT_MS = (10.0, 15.0, 20.0, 30.0, 50.0)


@dataclass
class Study:
    """Predictions of rows that were held out: by configuration, prompt length, chip and model."""

    configurations: HeldOut
    lengths: HeldOut
    chips: HeldOut
    models: HeldOut


@dataclass(frozen=True)
class Errors:
    """Absolute relative errors of one quantity."""

    values: np.ndarray

    def line(self) -> str:
        """Return count, median, mean and 90th percentile as table cells."""
        v = self.values
        if not v.size:
            return "0 | – | – | –"
        return f"{v.size} | {np.median(v):.1%} | {v.mean():.1%} | {np.quantile(v, 0.9):.1%}"

    @property
    def median(self) -> float:
        """The median error; NaN of nothing."""
        return float(np.median(self.values)) if self.values.size else float("nan")


def errors(said: np.ndarray, measured: np.ndarray, rows: np.ndarray) -> Errors:
    """Return |said / measured - 1| of `rows` where both exist."""
    values = np.abs(said[rows] / measured[rows] - 1)
    return Errors(values[np.isfinite(values)])


class Page:
    """Lines of Markdown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, *lines: str) -> None:
        """Append lines."""
        self.lines += lines

    def table(self, *columns: str) -> None:
        """Begin a table."""
        self.add("", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns))

    def row(self, *cells: str) -> None:
        """Append one row of a table."""
        self.add("| " + " | ".join(cells) + " |")


def write_accuracy(
    data: Data,
    study: Study,
    bands: dict[str, Band],
    left_out: Counter[str],
    peer: Path | None,
    as_of: date,
    loops: list[OpenLoop],
    trends: Trends,
    machines: list[Machine],
) -> str:
    """Return the whole page."""
    page = Page()
    _introduction(page, data, left_out, as_of)
    _gates(page, data, study)
    _by_pair(page, data, study)
    _intervals(page, data, study)
    _unseen(page, data, study, bands)
    _disaggregated(page, trends)
    _ranking(page, data, study)
    _peers(page, data, study, peer)
    _open_loops(page, data, study, loops)
    _machines(page, machines)
    return "\n".join(page.lines).rstrip() + "\n"


def _introduction(page: Page, data: Data, left_out: Counter[str], as_of: date) -> None:
    configurations = len({each.configuration for each in data.observations})
    page.add(
        "# Accuracy",
        "",
        f"Written by `tools/fit_profiles.py` on {as_of.isoformat()}; not edited by hand.",
        "",
        f"{len(data.observations)} measured rows, {configurations} configurations. A configuration is hardware,",
        "engine, model, precision, parallelism and lengths; all its loads, versions and repeated publications belong",
        "to it.",
        f"Its fold is the first eight bytes of the SHA-256 of its name, modulo {FOLDS}. Every error below is of a row",
        "that was predicted by a fit which saw none of its configuration; the shipped profiles are then fitted to all",
        "rows. Errors are |predicted / measured - 1|. Rows published more than once share one vote in the fit.",
        "",
        f"Outliers, by a rule stated beforehand: a held-out TPOT off by more than a factor of {OUTLIER:g}. They count",
        "in every median and mean below unless a column says otherwise.",
        "",
        "Rows left out before any fit:",
        "",
        *(f"- {count}: {reason}" for reason, count in left_out.most_common()),
    )


def _gates(page: Page, data: Data, study: Study) -> None:
    held, family = study.configurations, data.array("family")
    loop, rate = data.is_kind(LOOP), data.array("file") == "trtllm_saturation.csv"
    tpot, ttft, tokens = data.array("tpot_s"), data.array("ttft_s"), data.array("output_tokens_per_s")
    page.add("", "## Held-out configurations, all together")
    page.table("what", "rows", "median", "mean", "90th percentile", "promised", "kept")
    for name, names, t, f, s in (
        ("dense", ("dense",), 0.10, 0.30, 0.12),
        ("mixture of experts, MLA", ("moe", "mla"), 0.20, 0.45, 0.20),
    ):
        of = np.isin(family, names)
        for what, said, measured, rows, limit in (
            ("TPOT", held.tpot, tpot, of & loop, t),
            ("TTFT", held.ttft, ttft, of & loop, f),
            ("saturated throughput", held.rate, tokens, of & rate, s),
        ):
            found = errors(said, measured, rows)
            kept = "yes" if found.median <= limit else "**no**"
            page.row(f"{name}: {what}", *found.line().split(" | "), f"median <= {limit:.0%}", kept)
    dense = errors(held.tpot, tpot, (family == "dense") & loop)
    mean = float(dense.values.mean())
    page.row("dense: mean TPOT", *dense.line().split(" | "), "mean <= 15%", "yes" if mean <= 0.15 else "**no**")
    with np.errstate(invalid="ignore"):
        off = loop & (np.abs(np.log(held.tpot / tpot)) > np.log(OUTLIER))
    flagged = Counter(_where(data, row) for row in np.where(off)[0])
    page.add("", f"{int(off.sum())} of {int(loop.sum())} loop rows are flagged as outliers:", "")
    page.add(*(f"- {count}: {name}" for name, count in flagged.most_common(12)))


def _where(data: Data, row: int) -> str:
    each = data.observations[row]
    return f"{each.point.hardware}, {each.engine} {each.version}, {each.point.model} {each.point.precision}"


def _by_pair(page: Page, data: Data, study: Study) -> None:
    held, family = study.configurations, data.array("family")
    tpot, ttft, tokens = data.array("tpot_s"), data.array("ttft_s"), data.array("output_tokens_per_s")
    page.add("", "## By hardware, engine and family")
    page.table("hardware", "engine", "family", "what", "rows", "median", "mean", "90th percentile")
    for pair, (engine, hardware) in enumerate(data.pairs):
        for name in ("dense", "moe", "mla"):
            rows = (data.of_pair == pair) & (family == name)
            for what, said, measured in (
                ("TPOT", held.tpot, np.where(data.is_kind(LOOP), tpot, np.nan)),
                ("TTFT", held.ttft, ttft),
                ("throughput", held.rate, tokens),
            ):
                found = errors(said, measured, rows)
                if found.values.size:
                    page.row(hardware, engine, name, what, *found.line().split(" | "))


def _score(low: np.ndarray, high: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Return interval scores (Gneiting and Raftery 2007) relative to the measured value; inputs are logarithms."""
    lower, upper = np.exp(low - actual), np.exp(high - actual)
    return np.asarray((upper - lower) + TAIL * np.maximum(lower - 1, 0) + TAIL * np.maximum(1 - upper, 0))


def _intervals(page: Page, data: Data, study: Study) -> None:
    found = ratios(data, study.configurations)
    stretch = fitting_stretch(data, study.configurations, found)
    bands = cross_bands(data, study.configurations, found, stretch)
    kind = data.array("kind")
    rows = np.array([i for i, each in enumerate(bands) if each is not None and kind[i] != REQUEST])
    page.add(
        "",
        "## Intervals",
        "",
        "The 80 % interval of a row's chip, engine and family, made from the other folds' errors alone, then stretched",
        f"by one factor for all, {stretch:.2f}: quantiles of few rows are too narrow for new ones. The score is",
        "width plus ten times what lies outside, relative to the measured value (Gneiting and Raftery 2007; lower is",
        "better); beside it, the score of one interval for all rows that covers as often.",
    )
    page.table("what", "rows", "holds", "median width", "mean score", "mean score of one interval for all")
    for what, values, low, high in (
        ("TPOT and throughput", main_ratio(data, found), "tpot_low", "tpot_high"),
        ("TTFT", found.ttft, "ttft_low", "ttft_high"),
    ):
        good = rows[np.isfinite(values[rows])]
        lows = np.array([getattr(bands[i], low) for i in good])
        highs = np.array([getattr(bands[i], high) for i in good])
        actual = values[good]
        holds = float(np.mean((lows <= actual) & (actual <= highs)))
        flat = _score(
            np.full_like(actual, np.quantile(actual, 0.1)), np.full_like(actual, np.quantile(actual, 0.9)), actual
        )
        width = float(np.median(np.exp(highs) - np.exp(lows)))
        score = float(_score(lows, highs, actual).mean())
        page.row(what, str(good.size), f"{holds:.1%}", f"{width:.0%}", f"{score:.2f}", f"{flat.mean():.2f}")


def _unseen(page: Page, data: Data, study: Study, bands: dict[str, Band]) -> None:
    family = data.array("family")
    loop = data.is_kind(LOOP)
    tpot, ttft, tokens = data.array("tpot_s"), data.array("ttft_s"), data.array("output_tokens_per_s")
    page.add(
        "",
        "## Outside what was fitted",
        "",
        "*Extrapolated*: all rows with prompts of 8,192 tokens and more held out at once. *Uncalibrated*: all rows of",
        "a chip held out, the engine's other chips' constants used. *Family*: all rows of a model held out.",
    )
    page.table("class", "family", "what", "rows", "median", "mean", "90th percentile")
    for name, held in (("extrapolated", study.lengths), ("uncalibrated", study.chips), ("family", study.models)):
        for kind in ("dense", "moe", "mla", "all"):
            of = (held.confidence == name) & ((family == kind) | (kind == "all"))
            for what, said, measured in (
                ("TPOT", held.tpot, np.where(loop, tpot, np.nan)),
                ("TTFT", held.ttft, ttft),
                ("throughput", held.rate, tokens),
            ):
                found = errors(said, measured, of)
                if found.values.size:
                    page.row(name, kind, what, *found.line().split(" | "))
    _extrapolated_coverage(page, data, study, bands)
    page.add("", "Their 80 % intervals, as factors of the prediction (`extrapolated`: for each factor of two outside):")
    page.table("class", "TPOT", "TTFT")
    for name, b in bands.items():
        page.row(
            name,
            f"{np.exp(b.tpot_low):.2f} to {np.exp(b.tpot_high):.2f}",
            f"{np.exp(b.ttft_low):.2f} to {np.exp(b.ttft_high):.2f}",
        )


def _disaggregated(page: Page, trends: Trends) -> None:
    page.add(
        "",
        "## Disaggregated deployments",
        "",
        "The published rows do not state the ranks of either side, so nothing can be computed; they are answered by",
        "the trend of rows like them, labelled `family`, with this interval. Configurations held out whole, ten folds:",
    )
    page.table("family", "what", "rows", "median", "mean", "90th percentile")
    for name in sorted(set(trends.families.tolist())):
        for what, found in (("TPOT", trends.tpot_errors), ("TTFT", trends.ttft_errors)):
            page.row(name, what, *Errors(found[trends.families == name]).line().split(" | "))
    b = trends.band
    page.add("", f"80 % interval: TPOT {np.exp(b.tpot_low):.2f} to {np.exp(b.tpot_high):.2f}, ")
    page.lines[-1] += f"TTFT {np.exp(b.ttft_low):.2f} to {np.exp(b.ttft_high):.2f} times the prediction."


def _extrapolated_coverage(page: Page, data: Data, study: Study, bands: dict[str, Band]) -> None:
    """Say how often the widened interval holds the rows that lay outside, by distance."""
    near, far = ratios(data, study.configurations), ratios(data, study.lengths)
    calibrated = np.where(study.configurations.confidence == "calibrated")[0]
    own = bands_of_pairs(data, near, calibrated, fitting_stretch(data, study.configurations, near))
    family, wider = data.array("family"), bands["extrapolated"]
    tpot, ttft = [], []
    for row in np.where(study.lengths.confidence == "extrapolated")[0]:
        base = own.get((int(data.of_pair[row]), str(family[row])))
        if base is None:
            continue
        doublings = np.log2(1 + study.lengths.distance[row])
        for inside, low, high, more_low, more_high, actual in (
            (tpot, base.tpot_low, base.tpot_high, wider.tpot_low, wider.tpot_high, far.tpot[row]),
            (ttft, base.ttft_low, base.ttft_high, wider.ttft_low, wider.ttft_high, far.ttft[row]),
        ):
            inside.append(low + doublings * more_low <= actual <= high + doublings * more_high)
    page.add(
        "",
        f"The widened interval of the {len(tpot)} extrapolated rows holds {np.mean(tpot):.1%} of TPOT and "
        f"{np.mean(ttft):.1%} of TTFT.",
    )


def _ranking(page: Page, data: Data, study: Study) -> None:
    """Compare which of two held-out configurations is cheaper per output token under a TPOT limit."""
    right = total = 0
    by_limit: dict[float, list[int]] = {limit: [0, 0] for limit in SLO_TPOT_MS}
    for limit in SLO_TPOT_MS:
        for options in _offers(data, study, limit).values():
            for a, b in combinations(options, 2):
                if max(a[0], b[0]) < APART * min(a[0], b[0]):
                    continue
                agrees = (a[0] < b[0]) == (a[1] < b[1])
                by_limit[limit][0] += agrees
                by_limit[limit][1] += 1
                right, total = right + agrees, total + 1
    page.add(
        "",
        "## Which is cheaper",
        "",
        "Two held-out configurations of one model and one pair of lengths, each at its cheapest load whose TPOT keeps",
        "a limit; cost is chip-hours at the median on-demand price, or the owned one where there is none, per output",
        f"token. Pairs whose measured costs are at least {APART - 1:.0%} apart.",
    )
    page.table("TPOT limit", "pairs", "right")
    for limit, (good, pairs) in by_limit.items():
        if pairs:
            page.row(f"{limit:g} ms", str(pairs), f"{good / pairs:.1%}")
    if total:
        page.row("all", str(total), f"**{right / total:.1%}**")


def _offers(data: Data, study: Study, limit_ms: float) -> dict[tuple[object, ...], list[tuple[float, float]]]:
    """Return (measured, predicted) cost of each configuration's cheapest load under a limit, by model and lengths."""
    held = study.configurations
    measured: dict[str, list[float]] = defaultdict(list)
    said: dict[str, list[float]] = defaultdict(list)
    group: dict[str, tuple[object, ...]] = {}
    for row, each in enumerate(data.observations):
        if each.kind != LOOP or not np.isfinite(held.tpot[row]):
            continue
        point, name = each.point, f"{each.configuration} {each.version}"
        price = _price(point.hardware) * point.parallelism.chips
        group[name] = (point.model, point.input_tokens, point.output_tokens)
        for times, ttft, tpot in ((measured, each.ttft_s, each.tpot_s), (said, held.ttft[row], held.tpot[row])):
            if tpot * 1e3 <= limit_ms:
                rate = point.users * point.output_tokens / (ttft + (point.output_tokens - 1) * tpot)
                times[name].append(price / rate)
    offers: dict[tuple[object, ...], list[tuple[float, float]]] = defaultdict(list)
    for name in measured:
        # a configuration that wrongly looks unable to keep the limit counts as infinitely dear
        offers[group[name]].append((min(measured[name]), min(said[name], default=float("inf"))))
    return offers


def _price(hardware: str) -> float:
    found = load_hardware(hardware)
    prices = found.price_range() or found.price_range("owned") or found.price_range("rental_3_years")
    return float(prices[1]) if prices else 1.0


def _naive(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Return the naive roofline's (TTFT, TPOT): all weights and KV once at peak bandwidth, or operations at peak."""
    ttft, tpot = np.full(len(data.observations), np.nan), np.full(len(data.observations), np.nan)
    for row, each in enumerate(data.observations):
        point, model, chip = each.point, load_model(each.point.model), load_hardware(each.point.hardware)
        chips = point.parallelism.chips
        rate = chip.compute.rate(point.precision) or chip.compute.rates["bf16"]
        bandwidth = chip.memory.bandwidth_bytes_per_s
        users = min(point.users, 1e4)
        touched = model.common_parameters
        if model.experts:
            share = 1 - (1 - model.experts.active / model.experts.total) ** users
            touched += model.experts.parameters * share
        context = point.input_tokens + point.output_tokens / 2
        moved = touched * WEIGHT_BYTES[point.precision] + users * context * model.attention.kv_elements_per_token
        worked = 2 * model.active_parameters * users
        tpot[row] = max(moved / bandwidth, worked / rate) / chips
        ttft[row] = 2 * model.active_parameters * point.input_tokens / rate / chips
    return ttft, tpot


def _peers(page: Page, data: Data, study: Study, peer: Path | None) -> None:
    loop, family = data.is_kind(LOOP), data.array("family")
    tpot, ttft = data.array("tpot_s"), data.array("ttft_s")
    held = study.configurations
    naive_ttft, naive_tpot = _naive(data)
    page.add("", "## Beside others, on the same rows")
    page.table("model", "family", "what", "rows", "median", "mean", "90th percentile")
    for name in ("dense", "moe", "mla"):
        rows = loop & (family == name)
        for label, first, each in (("held out", held.ttft, held.tpot), ("naive roofline", naive_ttft, naive_tpot)):
            page.row(label, name, "TPOT", *errors(each, tpot, rows).line().split(" | "))
            page.row(label, name, "TTFT", *errors(first, ttft, rows).line().split(" | "))
    if peer is None or not peer.is_file():
        return
    peer_ttft, peer_tpot = np.full(len(tpot), np.nan), np.full(len(tpot), np.nan)
    places = {(each.file, each.row): index for index, each in enumerate(data.observations)}
    with peer.open(newline="") as file:
        answers = list(csv.DictReader(file))
    for answer in answers:
        index = places.get(("silicon_serving.csv", int(answer["row"])))
        if index is not None and answer["tpot_ms"]:
            peer_ttft[index], peer_tpot[index] = float(answer["ttft_ms"]) / 1e3, float(answer["tpot_ms"]) / 1e3
    answered = np.isfinite(peer_tpot)
    versions = sorted({answer["version"] for answer in answers})
    page.add(
        "",
        f"{', '.join(versions)}, its estimate API at default database versions, on a random sample of "
        f"{len(answers)} rows, of which it answered {int(answered.sum())}:",
    )
    page.table("model", "family", "what", "rows", "median", "mean", "90th percentile")
    for name in ("dense", "moe", "mla"):
        rows = answered & (family == name)
        for label, first, each in (("held out", held.ttft, held.tpot), (versions[0], peer_ttft, peer_tpot)):
            if rows.any():
                page.row(label, name, "TPOT", *errors(each, tpot, rows).line().split(" | "))
                page.row(label, name, "TTFT", *errors(first, ttft, rows).line().split(" | "))


def _open_loops(page: Page, data: Data, study: Study, loops: list[OpenLoop]) -> None:
    page.add(
        "",
        "## Whole replays of open loops",
        "",
        "Real vLLM 0.19 runs, replayed whole by the C core on constants fitted without the later half of their",
        "requests (and with all other rows). Errors are of those later requests; promised: end to end, median <= 10%.",
    )
    page.table("hardware", "taught", "judged", "what", "rows", "median", "mean", "90th percentile")
    for run in loops:
        for what, found in run.errors.items():
            page.row(run.hardware, str(run.taught), str(run.judged), what, *Errors(found).line().split(" | "))
    amd = (data.array("kind") == THROUGHPUT) & (data.array("file") == "amd_mi300x.csv")
    found_amd = errors(study.configurations.rate, data.array("output_tokens_per_s"), amd)
    page.add(
        "", f"Published MI300X throughput (16 rows, vLLM), held out by configuration: median {found_amd.median:.1%}."
    )


def _machines(page: Page, machines: list[Machine]) -> None:
    page.add(
        "",
        "## SRAM machines",
        "",
        "One constant a machine, the time of a layer, from vendors' and secondary speeds of single users (ranges, not",
        "measurements of ours; not held out). Other such machines have no rows, or rows that contradict their data",
        "sheets.",
    )
    page.table("machine", "time of a layer", "rows", "median error", "measured over modelled")
    for each in machines:
        ratios_ = np.exp(each.ratios)
        off = float(np.median(np.abs(np.expm1(-each.ratios))))
        span = f"{ratios_.min():.2f} to {ratios_.max():.2f}"
        page.row(each.hardware, f"{each.constants.host_us_per_layer:.1f} µs", str(each.ratios.size), f"{off:.0%}", span)
