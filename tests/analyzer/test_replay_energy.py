"""What replayed hardware draws, set beside what was measured."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from tests.analyzer.agents import H100

from inferometer.analyzer.replay import ReplayResult, Scenario, replay
from inferometer.analyzer.replay_cost import energy
from inferometer.analyzer.replay_fleet import build_step_model
from inferometer.analyzer.stepterms import StepLoad
from inferometer.analyzer.workload import Workload
from inferometer.profiles.hardware import load_hardware


@pytest.mark.parametrize(
    ("item", "condition", "model", "precision", "hardware", "tp"),
    [
        ("Llama-3.1-8B best", "H100", "meta-llama/Llama-3.1-8B-Instruct", "bf16", "h100_sxm", 1),
        ("Llama-3.1-8B best", "B200", "meta-llama/Llama-3.1-8B-Instruct", "bf16", "b200_sxm", 1),
        ("Llama-3.1-70B BF16 best", "H100", "meta-llama/Llama-3.1-70B", "bf16", "h100_sxm", 4),
        ("Llama-3.1-70B BF16 best", "B200", "meta-llama/Llama-3.1-70B", "bf16", "b200_sxm", 2),
        ("Llama-3.1-405B FP8 best", "H100", "meta-llama/Llama-3.1-405B-Instruct", "fp8", "h100_sxm", 8),
        ("Llama-3.1-405B FP8 best", "B200", "meta-llama/Llama-3.1-405B-Instruct", "fp8", "b200_sxm", 8),
        ("gpt-oss-120b best", "H100", "openai/gpt-oss-120b", "fp4", "h100_sxm", 2),
        ("gpt-oss-120b best", "B200", "openai/gpt-oss-120b", "fp4", "b200_sxm", 1),
        ("Llama-3.1-70B batch 8", "H100", "meta-llama/Llama-3.1-70B", "bf16", "h100_sxm", 4),
    ],
)
def test_energy_range_holds_what_was_measured(
    shared: Path, item: str, condition: str, model: str, precision: str, hardware: str, tp: int
) -> None:
    """Joules of the boards per output token, at the best batch or at eight; chips and lengths are not in the record."""
    with (shared / "facts/energy.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["item"] == item and condition in row["condition"]]
    measured = float(rows[0]["value"].partition("-")[0])
    step = build_step_model(Scenario(hardware, "vllm", model, precision=precision, tp=tp))
    batches = [8] if "batch 8" in item else [64, 128, 256, 512, 1024]
    fits = [batch for batch in batches if batch * 1400 <= step.kv_capacity_tokens]
    seconds = min(step.seconds(StepLoad(batch, batch, batch * 700)) / batch for batch in fits)
    board = replace(step.hardware, power=replace(step.hardware.power, all_in_w=step.hardware.power.board_w))  # type: ignore[type-var,union-attr]
    fast, slow = (
        energy(board, busy_chip_s=seconds * factor * tp, idle_chip_s=0.0, pue=None)
        for factor in (step.spread.tpot_p10, step.spread.tpot_p90)
    )
    assert fast is not None
    assert slow is not None
    assert fast.kwh_low * 3.6e6 < measured < slow.kwh_high * 3.6e6


def test_energy_range_holds_fast_and_slow_steps(workload: Workload, result: ReplayResult) -> None:
    alone = replay(workload, H100, with_interval=False)
    assert alone.energy is not None
    assert result.energy is not None
    assert result.energy.kwh == alone.energy.kwh
    assert result.energy.kwh_low < alone.energy.kwh_low < alone.energy.kwh_high < result.energy.kwh_high


def test_energy_needs_a_known_power_and_counts_idling() -> None:
    h100 = load_hardware("h100_sxm")
    busy, idle = energy(h100, 1.0, 0.0, None), energy(h100, 0.0, 1.0, None)
    assert busy is not None
    assert idle is not None
    assert busy.kwh * 3.6e6 == pytest.approx(0.74 * 1730)
    assert 0 < idle.kwh < busy.kwh
    hosted = energy(h100, 1.0, 0.0, 1.1)
    assert hosted is not None
    assert hosted.kwh * 3.6e6 == pytest.approx(0.74 * 700 * (1 + 25 / 58) * 1.1)
    assert energy(replace(h100, power=None), 1.0, 0.0, None) is None
