"""The measured rows that profiles are fitted to, as one list of observations."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from inferometer.analyzer.predict import Point, is_disaggregated, read_point, read_rows
from inferometer.analyzer.stepterms import Parallelism
from inferometer.profiles.engines import split_version
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model
from inferometer.schema.errors import UserError

LOOP, THROUGHPUT, REQUEST = "loop", "throughput", "request"
UNLIMITED_USERS = 1e6
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured row: a loop has TTFT and TPOT, a throughput row output tokens/s of a replica, a request its TPOT."""

    kind: str
    file: str
    row: int
    point: Point
    engine: str
    version: str
    family: str
    ttft_s: float
    tpot_s: float
    output_tokens_per_s: float
    weight: float
    max_batched_tokens: int | None = None
    max_sequences: int | None = None

    @property
    def configuration(self) -> str:
        """What is held out whole: everything but the load and the engine's version (aliases of a model are one).

        The requests of an open loop are one configuration each: there is one run a chip, and half of it must teach.
        """
        p = self.point
        ranks = f"tp{p.parallelism.tensor} pp{p.parallelism.pipeline} ep{p.parallelism.expert} dp{p.parallelism.data}"
        lengths = f"request {self.row}" if self.kind == REQUEST else f"{p.input_tokens:.0f} {p.output_tokens:.0f}"
        return f"{p.hardware} {self.engine} {p.model} {p.precision} {ranks} {lengths}"

    @property
    def fold(self) -> int:
        """The fold a configuration falls into: the first eight bytes of its SHA-256, modulo `FOLDS`."""
        return int.from_bytes(hashlib.sha256(self.configuration.encode()).digest()[:8], "big") % FOLDS


def read_ground_truth(folder: Path) -> tuple[list[Observation], Counter[str]]:
    """Return (observations, rows left out by reason)."""
    left_out: Counter[str] = Counter()
    found = [
        *_serving(folder / "silicon_serving.csv", left_out),
        *_saturation(folder / "trtllm_saturation.csv", left_out),
        *_mi300x(folder / "amd_mi300x.csv", left_out),
        *_requests(folder / "vllm_per_request.csv"),
    ]
    return _weigh(found), left_out


def _canonical(point: Point) -> tuple[Point, str, str, str]:
    """Return (point with profile ids, engine id, version, family)."""
    from inferometer.profiles.engines import load_engine

    model = load_model(point.model)
    name, version = split_version(point.engine)
    named = replace(point, hardware=load_hardware(point.hardware).id, model=model.id)
    return named, load_engine(name).id, version or "unstated", model.family


def _serving(path: Path, left_out: Counter[str]) -> Iterator[Observation]:
    for number, row in enumerate(read_rows(path)):
        if is_disaggregated(row):
            left_out["disaggregated rows, which do not state their ranks: see below"] += 1
            continue
        try:
            point = read_point(row)
        except UserError as error:
            left_out[str(error).split(";")[0]] += 1
            continue
        point, engine, version, family = _canonical(point)
        ttft, tpot = float(row["ttft_ms"]) / 1e3, float(row["tpot_ms"]) / 1e3
        yield Observation(LOOP, path.name, number, point, engine, version, family, ttft, tpot, math.nan, 1.0)


def _saturation(path: Path, left_out: Counter[str]) -> Iterator[Observation]:
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            chips = int(row["count"])
            parallelism = _ranks(row["parallelism"], chips)
            if parallelism.chips != chips:
                left_out["saturation row whose ranks are not its chips"] += 1
                continue
            raw = Point(
                row["hardware"], row["engine"], row["model"], row["precision"].lower(), parallelism,
                UNLIMITED_USERS, 1.0, float(row["isl"]), float(row["osl"]),
            )  # fmt: skip
            point, engine, version, family = _canonical(raw)
            rate = float(row["value"]) * (chips if row["metric"].endswith("per_gpu") else 1)
            yield Observation(
                THROUGHPUT, path.name, number, point, engine, version, family, math.nan, math.nan, rate, 1.0
            )


def _ranks(text: str, chips: int) -> Parallelism:
    """Read ``TP4``, ``TP1PP2`` and ``DEP8`` (attention in data-parallel groups, experts over all chips)."""
    if text.startswith("DEP"):
        return Parallelism(1, 1, chips, chips)
    tensor, _, pipeline = text.removeprefix("TP").partition("PP")
    return Parallelism(int(tensor), int(pipeline or 1), 1, 1)


def _mi300x(path: Path, left_out: Counter[str]) -> Iterator[Observation]:
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if row["metric"] != "output_tokens_per_s_total":
                left_out[f"{path.name}: metric {row['metric']}"] += 1
                continue
            raw = Point(
                row["hardware"], row["engine"], row["model"], row["precision"], Parallelism(int(row["count"])),
                float(row["concurrency"]), 1.0, float(row["isl"]), float(row["osl"]),
            )  # fmt: skip
            point, engine, version, family = _canonical(raw)
            rate = float(row["value"])
            yield Observation(
                THROUGHPUT, path.name, number, point, engine, version, family, math.nan, math.nan, rate, 1.0
            )


def _requests(path: Path) -> Iterator[Observation]:
    """Yield each request of an open loop as if in a closed one of the requests that decoded while it did.

    The batch decides a request's TPOT, so the point's users and lengths are those of the batch, averaged over its time.
    """
    runs: dict[tuple[str, str], list[tuple[int, dict[str, str]]]] = defaultdict(list)
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            runs[row["hardware"], row["model"]].append((number, row))
    for rows in runs.values():
        spans = [
            (float(row["arrival_s"]) + float(row["ttft_s"]), float(row["arrival_s"]) + float(row["e2e_s"]))
            for _, row in rows
        ]
        for (number, row), (start, end) in zip(rows, spans, strict=True):
            shared = [max(0.0, min(end, other[1]) - max(start, other[0])) for other in spans]
            users, total = sum(shared) / (end - start), sum(shared)
            lengths = [
                sum(time * float(other[key]) for time, (_, other) in zip(shared, rows, strict=True)) / total
                for key in ("isl", "osl")
            ]
            ranks = Parallelism(int(row["tp"]), 1, 1, int(row["dp"]))
            raw = Point(row["hardware"], row["engine"], row["model"], row["precision"], ranks, users, 1.0, *lengths)
            point, engine, version, family = _canonical(raw)
            tpot, limits = float(row["tpot_s"]), (int(row["max_batched_tokens"]), int(row["max_num_seqs"]))
            yield Observation(
                REQUEST, path.name, number, point, engine, version, family, math.nan, tpot, math.nan, 1.0, *limits
            )


def _weigh(found: list[Observation]) -> list[Observation]:
    """Give repeated publications of one measurement one vote together, and a run's many requests a tenth each."""
    keys = [
        (each.configuration, each.version, each.point.users, round(math.log(each.tpot_s), 2))
        if each.kind == LOOP
        else (each.file, each.row)
        for each in found
    ]
    copies = Counter(keys)
    return [
        replace(each, weight=(0.1 if each.kind == REQUEST else 1.0) / copies[key])
        for each, key in zip(found, keys, strict=True)
    ]
