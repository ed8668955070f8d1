"""The accuracy page: errors of rows that a fit had not seen, set against what was promised."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from closed_loops import Loop, add_loops
from disaggregated import Trends
from fitting import Data
from forms import add_forms
from ground_truth import FOLDS, LOOP, REQUEST, THROUGHPUT
from holdout import Band, Study, bands_of_pairs, cross_bands, fitting_stretch, main_ratio, ratios
from open_loop import OpenLoop
from page import Errors, Page, errors
from peers import add_peers
from ranking import add_ranking
from sram import Machine

OUTLIER = 3.0
"""A held-out row whose time is wrong by more than this factor is flagged; it still counts in every figure but one."""
TAIL = 10.0
"""Two over alpha, alpha = 0.2: what leaving an 80 % interval costs in the interval score."""


@dataclass(frozen=True)
class Beside:
    """What other tools found, shown where it was given: a peer's predictions, the nested choice of the step's form."""

    peer: Path | None
    forms: Path | None


def write_accuracy(
    data: Data,
    study: Study,
    bands: dict[str, Band],
    left_out: Counter[str],
    beside: Beside,
    as_of: date,
    loops: list[OpenLoop],
    trends: Trends,
    machines: list[Machine],
    closed: list[Loop],
) -> str:
    """Return the whole page."""
    page = Page()
    _introduction(page, data, left_out, as_of)
    _gates(page, data, study)
    _by_pair(page, data, study)
    _intervals(page, data, study)
    _unseen(page, data, study, bands)
    _disaggregated(page, trends)
    add_ranking(page, data, study)
    if beside.forms:
        add_forms(page, beside.forms)
    add_peers(page, data, study, beside.peer)
    _open_loops(page, data, study, loops)
    add_loops(page, closed)
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
        f"by one factor for all, {stretch[0]:.2f} of TPOT and {stretch[1]:.2f} of TTFT: quantiles of few rows are too",
        "narrow for new ones. The score is width plus ten times what lies outside, relative to the measured value",
        "(Gneiting and Raftery 2007; lower is better); beside it, the score of one interval for all rows that covers",
        "as often.",
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
