"""SRAM and dataflow machines: the time a layer takes, from published speeds per user.

Their vendors and secondary sources contradict each other, so nothing but ranges is taken: one constant per machine, the
time of a layer beyond reading its weights, is the median over its rows, and the interval is as wide as the rows are.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inferometer.analyzer.stepterms import Parallelism, StepLoad, demand, peaks, seconds_of, terms_of
from inferometer.profiles.engines import Constants, load_engine
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model
from inferometer.schema.errors import UserError

ENGINE = "vendor_runtime"
NAMES = {"Groq": "groq_lpu", "Cerebras": "cerebras_cs3", "SambaNova": "sambanova_sn40l"}
DRAFTED = "specdec"
CONTEXT_TOKENS = 1000


@dataclass(frozen=True)
class Machine:
    """One machine's constants, and how far its rows lie from them (measured over predicted, logarithms)."""

    hardware: str
    constants: Constants
    ratios: np.ndarray


def fit_machines(path: Path) -> list[Machine]:
    """Return the machines whose rows a time per layer explains; the others' rows contradict their data sheets."""
    rows: dict[str, list[tuple[str, float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            machine = next((each for name, each in NAMES.items() if row["hardware"].startswith(name)), None)
            alone = row["metric"] == "output_tokens_per_s_per_user" and row["concurrency"] == "1"
            if machine and alone and DRAFTED not in row["engine"]:
                rows.setdefault(machine, []).append((row["model"], 1.0 / float(row["value"])))
    return [fitted for machine, found in sorted(rows.items()) if (fitted := _fit(machine, found)) is not None]


def _fit(machine: str, rows: list[tuple[str, float]]) -> Machine | None:
    constants = replace(load_engine(ENGINE).defaults, host_us_per_layer=0.0)
    per_layer, steps = [], []
    for model, seconds in rows:
        try:
            rest, launches = _without_layers(machine, model, constants)
        except UserError:
            continue
        per_layer.append((seconds - rest) / launches * 1e6)
        steps.append((seconds, rest, launches))
    micros = float(np.median(per_layer)) if per_layer else 0.0
    if micros <= 0.0:
        return None
    ratios = np.array([np.log(seconds / (rest + launches * micros * 1e-6)) for seconds, rest, launches in steps])
    return Machine(machine, replace(constants, host_us_per_layer=micros), ratios)


def _without_layers(machine: str, name: str, constants: Constants) -> tuple[float, float]:
    """Return (seconds of one user's step without any time per layer, layers as launches)."""
    hardware, model = load_hardware(machine), load_model(name)
    whole = hardware.deployment
    assert whole is not None
    parallelism = Parallelism(tensor=whole.chips // whole.pipeline_stages, pipeline=whole.pipeline_stages)
    precision = next(each for each in ("fp8", "int8", "bf16") if each in hardware.compute.rates)
    asked = demand(model, parallelism, precision, "bf16")
    terms = terms_of(asked, peaks(hardware, model, parallelism, precision), constants)
    return seconds_of(terms, StepLoad(1, 1, CONTEXT_TOKENS)), asked.launches
