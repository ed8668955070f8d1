"""Others on the same rows: the naive roofline, and a peer asked in an environment of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from fitting import Data
from ground_truth import LOOP
from holdout import Study
from page import Page, errors

from inferometer.analyzer.stepterms import WEIGHT_BYTES
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model


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


def add_peers(page: Page, data: Data, study: Study, peer: Path | None) -> None:
    """Add the naive roofline on all rows, and a peer's answers on those it was asked about."""
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
