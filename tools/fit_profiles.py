"""Fit the engines' constants to measured rows and write profiles/engines/*.calibration.toml and docs/accuracy.md.

    python tools/fit_profiles.py [--peer FILE.csv] [--forms FILE.json]

Reads nothing but ``../shared/groundtruth`` and the other profiles. Prices and predictions never enter. ``--peer`` is
the output of ``tools/compare_aiconfigurator.py``, ``--forms`` that of ``tools/forms.py``; both are shown beside our own
errors.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import fields
from datetime import date
from pathlib import Path

import numpy as np
from accuracy import Beside, write_accuracy
from closed_loops import compare_loops
from disaggregated import Trends, fit_trends, read_disaggregated
from fitting import Data, Estimate, fit, gather
from ground_truth import LOOP, read_ground_truth
from holdout import (
    Band,
    Study,
    band,
    bands_of_pairs,
    by_chip,
    by_configuration,
    by_length,
    by_model,
    fitting_stretch,
    hold_out,
    hull_of,
    main_ratio,
    ratios,
)
from open_loop import replay_open_loops
from sram import ENGINE as SRAM_ENGINE
from sram import Machine, fit_machines

from inferometer.analyzer.predict import DISAGGREGATED
from inferometer.profiles.engines import ANY_VERSION, CALIBRATION, CONSTANT_NAMES, CORRECTION_FACTORS, Constants

ROOT = Path(__file__).parent.parent
HEADER = "# Written by tools/fit_profiles.py; change the fit, not this file."
PEER_COLUMNS = (
    *("row", "hardware", "engine", "model", "family", "precision"),
    *("tp", "ep", "dp", "users", "isl", "osl"),
)
SOURCE = "tools/fit_profiles.py over the ground truth described in docs/accuracy.md"


def study(data: Data) -> Study:
    """Hold out configurations, long prompts, chips and models in turn."""
    return Study(
        configurations=hold_out(data, by_configuration(data)),
        lengths=hold_out(data, by_length(data)),
        chips=hold_out(data, by_chip(data), known="engine"),
        models=hold_out(data, by_model(data)),
    )


def number(value: float) -> str:
    """Write a number with five significant digits as TOML."""
    text = f"{value:.5g}"
    return text if any(mark in text for mark in ".e") else f"{text}.0"


def spread_lines(header: str, of: str, found: Band) -> list[str]:
    """Write one interval; a factor that would not hold the prediction itself is moved to it."""
    low, high = (lambda x: min(x, -0.005)), (lambda x: max(x, 0.005))
    ttft = (
        (found.ttft_low, found.ttft_high) if np.isfinite(found.ttft_low) else (found.tpot_low * 2, found.tpot_high * 2)
    )
    return [
        f"[[{header}spread]]",
        f'of = "{of}"',
        f"tpot_p10_factor = {number(float(np.exp(low(found.tpot_low))))}",
        f"tpot_p90_factor = {number(float(np.exp(high(found.tpot_high))))}",
        f"ttft_p10_factor = {number(float(np.exp(low(ttft[0]))))}",
        f"ttft_p90_factor = {number(float(np.exp(high(ttft[1]))))}",
        f"rows = {found.rows}",
        "",
    ]


def constant_lines(constants: Constants) -> list[str]:
    """Write constants."""
    return [f"{name} = {number(getattr(constants, name))}" for name in CONSTANT_NAMES]


def dated(as_of: date, confidence: str) -> list[str]:
    """Write where values come from."""
    return [f"as_of = {as_of.isoformat()}", f'source = "{SOURCE}"', f'confidence = "{confidence}"', ""]


def correction_lines(data: Data, estimate: Estimate, pair: int) -> list[str]:
    """Write each model's corrections: over all versions, and of each where there are several."""
    lines = []
    for model, key in enumerate(data.models):
        if key[:2] != data.pairs[pair]:
            continue
        rows = data.of_model == model
        versions = sorted(set(data.of_version[rows].tolist()))
        entries = [(ANY_VERSION, None if len(versions) > 1 else versions[0], int(rows.sum()))]
        if len(versions) > 1:
            entries += [(data.versions[v][4], v, int((data.of_version == v).sum())) for v in versions]
        for name, version, count in entries:
            factors = estimate.factors(model, version)
            lines += ["[[calibration.correction]]", f'model = "{key[2]}"', f'precision = "{key[3]}"']
            lines += [f'version = "{name}"', *(f"{each} = {number(factors[each])}" for each in CORRECTION_FACTORS)]
            lines += [f"rows = {count}", ""]
    return lines


def calibration_lines(
    data: Data,
    estimate: Estimate,
    pair: int,
    as_of: date,
    errors: dict[str, np.ndarray] | None = None,
    bands: dict[str, Band] | None = None,
) -> list[str]:
    """Write one calibration; ``errors`` and ``bands`` are of rows that were held out."""
    rows = np.where(data.of_pair == pair)[0]
    versions = sorted({data.observations[row].version for row in rows})
    lines = ["[[calibration]]", f'hardware = "{data.pairs[pair][1]}"', f"versions = {versions!r}".replace("'", '"'), ""]
    engine = data.engines.index(data.pairs[pair][0])
    lines += ["[calibration.constants]", *constant_lines(estimate.constants(engine, pair)), ""]
    lines += ["[calibration.fit]", f"rows = {len(rows)}"]
    lines.append(f"held_out_rows = {max((len(each) for each in (errors or {}).values()), default=0)}")
    for key, found in (errors or {}).items():
        if np.isfinite(found).any():
            lines.append(f"{key}_median_error = {number(float(np.nanmedian(found)))}")
    lines += dated(as_of, "high" if len(rows) >= 30 else "medium")
    lines.append("[calibration.fit.hull]")
    for key, limits in hull_of(data, rows).items():
        lines += [f"{key}_low = {number(limits.low)}", f"{key}_high = {number(limits.high)}"]
    lines += ["hit_rate_low = 0.0", "hit_rate_high = 0.0", ""]
    for family, wide in (bands or {}).items():
        lines += spread_lines("calibration.", family, wide)
    return lines + correction_lines(data, estimate, pair)


def trend_lines(trends: Trends, engine: str) -> list[str]:
    """Write an engine's trends of disaggregated deployments."""
    lines = []
    for trend in trends.by_engine.get(engine, []):
        lines += ["[[disaggregated]]"]
        for field in fields(trend):
            value = getattr(trend, field.name)
            lines.append(f"{field.name} = " + (f'"{value}"' if isinstance(value, str) else f"{value:.5g}"))
        lines.append("")
    return lines


def calibration_file(data: Data, estimate: Estimate, result: Study, trends: Trends, engine: int, as_of: date) -> str:
    """Return the text of one engine's calibration file."""
    found = ratios(data, result.configurations)
    calibrated = np.where(result.configurations.confidence == "calibrated")[0]
    stretch = fitting_stretch(data, result.configurations, found)
    bands = bands_of_pairs(data, found, calibrated, stretch)
    lines = [HEADER, "", "[defaults]"]
    lines += constant_lines(estimate.constants(engine, None)) + dated(as_of, "low")
    for of, wide in {**class_bands(data, result), DISAGGREGATED: trends.band}.items():
        lines += spread_lines("", of, wide)
    lines += trend_lines(trends, data.engines[engine])
    for pair, (name, _) in enumerate(data.pairs):
        if name != data.engines[engine]:
            continue
        own = calibrated[data.of_pair[calibrated] == pair]
        errors = {
            key: np.abs(np.expm1(-values[own]))
            for key, values in (("tpot", main_ratio(data, found)), ("ttft", found.ttft))
        }
        of_pair = {family: wide for (number, family), wide in bands.items() if number == pair}
        lines += calibration_lines(data, estimate, pair, as_of, errors, of_pair)
    return "\n".join(lines).rstrip() + "\n"


def machine_file(machines: list[Machine], as_of: date) -> str:
    """Return the calibration file of SRAM machines: a time per layer each, and one interval as wide as their rows."""
    everything = np.concatenate([machine.ratios for machine in machines])
    low, high = float(everything.min()), float(everything.max())
    wide = Band(low, high, 2 * low, 2 * high, everything.size)
    lines = [
        "# Written by tools/fit_profiles.py; change the fit, not this file.",
        "",
        *spread_lines("", "family", wide),
    ]
    for machine in machines:
        lines += ["[[calibration]]", f'hardware = "{machine.hardware}"', 'versions = ["unstated"]', ""]
        lines += ["[calibration.constants]", *constant_lines(machine.constants), "", "[calibration.fit]"]
        lines += [f"rows = {machine.ratios.size}", "held_out_rows = 0"]
        lines.append(f"tpot_median_error = {number(float(np.median(np.abs(np.expm1(-machine.ratios)))))}")
        lines += [*dated(as_of, "low"), "[calibration.fit.hull]", "users_low = 1.0", "users_high = 1.0"]
        lines += ["hit_rate_low = 0.0", "hit_rate_high = 0.0", ""]
    return "\n".join(lines).rstrip() + "\n"


def class_bands(data: Data, result: Study) -> dict[str, Band]:
    """Return the intervals of what is not calibrated; ``extrapolated`` is what each factor of two adds."""
    found = {
        "family": band(data, ratios(data, result.models), np.where(result.models.confidence == "family")[0]),
        "uncalibrated": band(data, ratios(data, result.chips), np.where(result.chips.confidence == "uncalibrated")[0]),
    }
    calibrated = np.where(result.configurations.confidence == "calibrated")[0]
    near = band(data, ratios(data, result.configurations), calibrated)
    outside = np.where(result.lengths.confidence == "extrapolated")[0]
    far = band(data, ratios(data, result.lengths), outside)
    doublings = float(np.mean(np.log2(1 + result.lengths.distance[outside])))
    found["extrapolated"] = Band(
        min((far.tpot_low - near.tpot_low) / doublings, -0.02),
        max((far.tpot_high - near.tpot_high) / doublings, 0.02),
        min((far.ttft_low - near.ttft_low) / doublings, -0.05),
        max((far.ttft_high - near.ttft_high) / doublings, 0.05),
        far.rows,
    )
    return found


def write_peer_points(data: Data, path: Path) -> None:
    """Write what a peer is asked about: loop rows without their measured times."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(PEER_COLUMNS)
        for each in data.observations:
            p = each.point
            if each.kind == LOOP:
                ranks = (p.parallelism.tensor, p.parallelism.expert, p.parallelism.data)
                what = (each.row, p.hardware, each.engine, p.model, each.family, p.precision)
                writer.writerow([*what, *ranks, p.users, p.input_tokens, p.output_tokens])


def main() -> None:
    """Fit, write the profiles, write the accuracy page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--ground-truth", type=Path, default=ROOT.parent / "shared" / "groundtruth")
    parser.add_argument("--peer", type=Path, help="predictions of a peer, by row of silicon_serving.csv")
    parser.add_argument("--forms", type=Path, help="the nested choice of the step's form")
    parser.add_argument("--peer-points", type=Path, help="write the rows to ask a peer about, and stop")
    parser.add_argument("--as-of", type=date.fromisoformat, default=date.today())
    options = parser.parse_args()
    observations, left_out = read_ground_truth(options.ground_truth)
    data, refused = gather(observations)
    if options.peer_points:
        write_peer_points(data, options.peer_points)
        return
    left_out["does not fit in memory, or tensor ranks that do not divide the heads"] += len(refused)
    result = study(data)
    estimate = fit(data, np.arange(len(data.observations)))
    trends = fit_trends(read_disaggregated(options.ground_truth / "silicon_serving.csv"))
    requests = options.ground_truth / "vllm_per_request.csv"
    loops = replay_open_loops(data, requests, lambda d, e, p: calibration_lines(d, e, p, options.as_of))
    for engine, name in enumerate(data.engines):
        path = ROOT / "profiles" / "engines" / f"{name}{CALIBRATION}.toml"
        path.write_text(calibration_file(data, estimate, result, trends, engine, options.as_of), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    machines = fit_machines(options.ground_truth / "asic_per_user_speed.csv")
    path = ROOT / "profiles" / "engines" / f"{SRAM_ENGINE}{CALIBRATION}.toml"
    path.write_text(machine_file(machines, options.as_of), encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
    page = ROOT / "docs" / "accuracy.md"
    bands, closed = class_bands(data, result), compare_loops(data, estimate)
    beside = Beside(options.peer, options.forms)
    text = write_accuracy(data, result, bands, left_out, beside, options.as_of, loops, trends, machines, closed)
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
