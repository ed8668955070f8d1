"""Replay measured open loops whole on profiles fitted to the first half of their requests; judge the other half."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fitting import Data, Estimate, fit
from ground_truth import REQUEST

from inferometer.analyzer.replay import Arrivals, Scenario, replay
from inferometer.analyzer.workload import made_up_workload


@dataclass(frozen=True)
class OpenLoop:
    """One run: how many requests taught and were judged, and the latter's absolute relative errors."""

    hardware: str
    taught: int
    judged: int
    errors: dict[str, np.ndarray]


def first_halves(data: Data) -> np.ndarray:
    """Return where a row may teach: everything but the later half of each run's requests, by arrival."""
    teaches = np.ones(len(data.observations), dtype=bool)
    requests = data.is_kind(REQUEST)
    for pair in set(data.of_pair[requests].tolist()):
        rows = np.where(requests & (data.of_pair == pair))[0]
        teaches[rows[len(rows) // 2 :]] = False
    return teaches


def replay_open_loops(data: Data, path: Path, calibration_lines: object) -> list[OpenLoop]:
    """Fit without the later halves, replay each run whole, and return the errors of its later half.

    Args:
        data: all observations.
        path: the file of requests.
        calibration_lines: (data, estimate, pair) to the TOML of one calibration.
    """
    estimate = fit(data, np.where(first_halves(data))[0])
    runs: dict[str, list[dict[str, str]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            runs.setdefault(row["hardware"], []).append(row)
    with _profiles(data, estimate, calibration_lines):
        return [_judge(hardware, rows) for hardware, rows in runs.items()]


@contextmanager
def _profiles(data: Data, estimate: Estimate, calibration_lines: object) -> Iterator[None]:
    assert callable(calibration_lines)
    requests = data.is_kind(REQUEST)
    pairs = sorted(set(data.of_pair[requests].tolist()))
    before = os.environ.get("INFEROMETER_PROFILES")
    with tempfile.TemporaryDirectory() as folder:
        for engine in {data.pairs[pair][0] for pair in pairs}:
            lines = [line for p in pairs if data.pairs[p][0] == engine for line in calibration_lines(data, estimate, p)]
            target = Path(folder) / "engines" / f"{engine}.calibration.toml"
            target.parent.mkdir(exist_ok=True)
            target.write_text("\n".join(lines))
        os.environ["INFEROMETER_PROFILES"] = folder
        try:
            yield
        finally:
            os.environ.pop("INFEROMETER_PROFILES")
            if before is not None:
                os.environ["INFEROMETER_PROFILES"] = before


def _judge(hardware: str, rows: list[dict[str, str]]) -> OpenLoop:
    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    first = rows[0]
    scenario = Scenario(
        hardware,
        first["engine"],
        first["model"],
        precision=first["precision"],
        tp=int(first["tp"]),
        dp=int(first["dp"]),
        max_sequences=int(first["max_num_seqs"]),
        max_step_tokens=int(first["max_batched_tokens"]),
        arrivals=Arrivals(kind="recorded", open_loop=True),
    )
    workload = made_up_workload(column("arrival_s"), column("isl"), column("osl"))
    simulation = replay(workload, scenario, with_interval=False).simulation
    said = {
        "end to end": (simulation.end_s - simulation.ready_s, column("e2e_s")),
        "TTFT": (simulation.first_s - simulation.ready_s, column("ttft_s")),
        "TPOT": ((simulation.end_s - simulation.first_s) / np.maximum(column("osl") - 1, 1), column("tpot_s")),
    }
    half = len(rows) // 2
    errors = {name: np.abs(found[half:] / measured[half:] - 1) for name, (found, measured) in said.items()}
    return OpenLoop(hardware, half, len(rows) - half, errors)
