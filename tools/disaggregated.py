"""Trends of published disaggregated deployments, whose rows do not say how many ranks either side had.

Without ranks nothing can be computed from first principles. What can be said is what such deployments took at a load:
the logarithms of TPOT and TTFT as straight lines over those of users and lengths, one line per (chip, engine, model,
precision), drawn to what chips, engines and models have in common.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from holdout import HIGH, LOW, Band, quantile

from inferometer.analyzer.predict import is_disaggregated, read_rows
from inferometer.profiles.engines import Trend, load_engine, split_version
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model

FOLDS = 10
SPREAD, FREEDOM, ROUNDS = 0.25, 4.0, 8
INTERCEPT_RIDGE, SLOPE_RIDGE, LENGTH_RIDGE = 4.0, 16.0, 0.1
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Row:
    """One published point: its chip, engine, model and precision, and its logarithms."""

    key: Key
    configuration: str
    users: float
    input_tokens: float
    output_tokens: float
    tpot: float
    ttft: float


@dataclass
class Trends:
    """The trends by engine, their held-out errors, and the interval that held 80 % of held-out rows."""

    by_engine: dict[str, list[Trend]]
    band: Band
    tpot_errors: np.ndarray
    ttft_errors: np.ndarray
    families: np.ndarray


def read_disaggregated(path: Path) -> list[Row]:
    """Return the disaggregated rows of a file of points."""
    return list(_rows(path))


def _rows(path: Path) -> Iterator[Row]:
    for row in read_rows(path):
        if not is_disaggregated(row) or not row["concurrency"]:
            continue
        model = load_model(row["model"])
        precision = row["precision"] or model.native_precision
        engine = load_engine(split_version(row["engine"])[0]).id
        key = (load_hardware(row["hardware"]).id, engine, model.id, precision)
        numbers = (float(row[name]) for name in ("concurrency", "isl", "osl", "tpot_ms", "ttft_ms"))
        yield Row(key, f"{' '.join(key)} {row['isl']} {row['osl']}", *np.log(list(numbers)))


def _design(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, list[Key]]:
    """Return (columns, ridge of each, the keys in order); every key's own columns come last, two each."""
    users = np.array([row.users for row in rows]) - np.log(Trend.USERS)
    lengths = [np.array([row.input_tokens for row in rows]), np.array([row.output_tokens for row in rows])]
    columns = [np.ones(len(rows)), users, *(each - np.log(Trend.TOKENS) for each in lengths)]
    ridge = [1e-6, 1e-6, LENGTH_RIDGE, LENGTH_RIDGE]
    keys = sorted({row.key for row in rows})
    for parts in ((0,), (1,), (2, 3), (0, 1, 2, 3)):
        level = [tuple(row.key[part] for part in parts) for row in rows]
        for value in sorted(set(level)):
            here = np.array([each == value for each in level], dtype=float)
            columns += [here, here * users]
            ridge += [INTERCEPT_RIDGE, SLOPE_RIDGE]
    return np.array(columns).T, np.array(ridge), keys


def _solve(columns: np.ndarray, ridge: np.ndarray, target: np.ndarray) -> np.ndarray:
    weights = np.ones(len(target))
    found = np.zeros(columns.shape[1])
    for _ in range(ROUNDS):
        weighed = columns * weights[:, None] / SPREAD**2
        found = np.linalg.solve(weighed.T @ columns + np.diag(ridge), weighed.T @ target)
        weights = (FREEDOM + 1) / (FREEDOM + ((target - columns @ found) / SPREAD) ** 2)
    return found


def fit_trends(rows: list[Row]) -> Trends:
    """Return the trends fitted to all rows, and the errors of configurations held out whole."""
    columns, ridge, keys = _design(rows)
    folds = np.array([_fold(row.configuration) for row in rows])
    targets = {"tpot": np.array([row.tpot for row in rows]), "ttft": np.array([row.ttft for row in rows])}
    residuals = {}
    for name, target in targets.items():
        residuals[name] = np.zeros(len(rows))
        for fold in range(FOLDS):
            rest, out = folds != fold, folds == fold
            residuals[name][out] = target[out] - columns[out] @ _solve(columns[rest], ridge, target[rest])
    one = np.ones(len(rows))
    limits = [quantile(residuals[name], one, share) for name in ("tpot", "ttft") for share in (LOW, HIGH)]
    solved = {name: _solve(columns, ridge, target) for name, target in targets.items()}
    by_engine: dict[str, list[Trend]] = {}
    for key in keys:
        by_engine.setdefault(key[1], []).append(_trend(key, columns, rows, solved))
    return Trends(
        by_engine=by_engine,
        band=Band(*limits, len(rows)),
        tpot_errors=np.abs(np.expm1(-residuals["tpot"])),
        ttft_errors=np.abs(np.expm1(-residuals["ttft"])),
        families=np.array([load_model(row.key[2]).family for row in rows]),
    )


def _fold(configuration: str) -> int:
    return int.from_bytes(hashlib.sha256(configuration.encode()).digest()[:8], "big") % FOLDS


def _trend(key: Key, columns: np.ndarray, rows: list[Row], solved: dict[str, np.ndarray]) -> Trend:
    """Add up what a key's line is made of: its columns at the reference point, and one step in users."""
    own = [row for row in rows if row.key == key]
    first = next(index for index, row in enumerate(rows) if row.key == key)
    here = columns[first].copy()
    offset = here[1]
    flat, steep = here.copy(), np.zeros_like(here)
    levels = here[4::2]
    flat[1], flat[2], flat[3], flat[5::2] = 0.0, 0.0, 0.0, 0.0
    steep[1], steep[5::2] = 1.0, levels
    assert np.allclose(here[5::2], levels * offset)
    users = [float(np.exp(row.users)) for row in own]
    values = {
        f"{name}_{what}": value
        for name, found in solved.items()
        for what, value in (
            ("ms", float(np.exp(flat @ found))),
            ("users_exponent", float(steep @ found)),
            ("input_exponent", float(found[2])),
            ("output_exponent", float(found[3])),
        )
    }
    return Trend(key[0], key[2], key[3], len(own), min(users), max(users), **values)
