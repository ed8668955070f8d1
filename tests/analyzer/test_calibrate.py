"""Calibrating on kernels and on traces: what is measured comes back as a profile that commands can use."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from inferometer.analyzer.calibrate import Effort, Gemm, Measurements, measure, profile_text
from inferometer.analyzer.calibrate_traces import (
    Served,
    calibrate_on,
    calibration_text,
    concurrency,
    served_requests,
)
from inferometer.analyzer.steptime import StepLoad, StepModel, step_model
from inferometer.cli import run
from inferometer.profiles.documents import Document
from inferometer.profiles.engines import load_engine
from inferometer.profiles.hardware import load_hardware, read_hardware
from inferometer.profiles.models import load_model
from inferometer.schema.errors import UserError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, Status
from inferometer.schema.rows import InferenceRow, Placement

NS = 1_000_000_000
TODAY = date(2026, 11, 23)
LLAMA = "meta-llama/Llama-3.1-70B"
TINY = Effort(copy_bytes=2**22, gemm_width=128, context_tokens=128, decode_sequences=2, prompt_tokens=64, seconds=0.01)
MEASURED = Measurements(
    device='My "GPU" \\ 1',
    kind="gpu",
    software="torch 2.13",
    memory_bytes=80 * 2.0**30,
    copy_bytes_per_s=2.68e12,
    gemms=(Gemm("bf16", 1, 2e12), Gemm("bf16", 4096, 6.923e14), Gemm("fp8", 4096, 1.2e15)),
    decode_attention_bytes_per_s=2.0e12,
    prefill_attention_flop_per_s=4.945e14,
    all_reduce_seconds=12e-6,
    all_reduce_bytes_per_s=3.6e11,
)


def test_measurements_become_a_profile_that_reads() -> None:
    chip = read_hardware(Document("own.toml", "own", profile_text(MEASURED, TODAY)))
    assert chip.measured is not None
    assert chip.measured.copy_bytes_per_s == pytest.approx(2.68e12)
    assert chip.measured.gemm_rates == pytest.approx({"bf16": 6.923e14, "fp8": 1.2e15})
    assert chip.compute.rate("int8") is None
    assert chip.memory.provenance.as_of == TODAY
    assert "inferometer calibrate" in chip.memory.provenance.source


def test_data_sheet_of_a_like_chip_gives_the_shares_their_meaning() -> None:
    sheet = load_hardware("h100_sxm")
    chip = read_hardware(Document("own.toml", "own", profile_text(MEASURED, TODAY, sheet)))
    assert chip.memory.bandwidth_bytes_per_s == sheet.memory.bandwidth_bytes_per_s
    model = step_model(chip, load_engine("vllm"), load_model(LLAMA), precision="bf16", tp=4)
    assert model.constants.weight_bandwidth_efficiency == pytest.approx(2.68e12 / 3.35e12)
    assert model.constants.attention_compute_efficiency == pytest.approx(0.5)
    assert model.constants.collective_us == pytest.approx(12.0)
    assert model.constants.host_ms_per_step == load_engine("vllm").defaults.host_ms_per_step
    assert model.confidence == "uncalibrated"
    assert "measured on this machine" in model.reason


def test_faster_memory_means_faster_steps() -> None:
    def step(copy: float) -> float:
        found = replace(MEASURED, copy_bytes_per_s=copy)
        chip = read_hardware(Document("own.toml", "own", profile_text(found, TODAY, load_hardware("h100_sxm"))))
        model = step_model(chip, load_engine("vllm"), load_model(LLAMA), precision="bf16", tp=4)
        return model.seconds(StepLoad(1, 1, 100))

    assert step(3.0e12) < step(1.5e12)


def test_this_machine_is_measured() -> None:
    pytest.importorskip("torch", reason="PyTorch (extra calibrate) is not installed")
    found = measure("cpu", TINY)
    assert found.kind == "cpu"
    assert found.copy_bytes_per_s > 1e7
    assert found.peak("fp32") is not None
    assert found.peak("fp32") > 1e7  # type: ignore[operator]
    assert found.all_reduce_seconds is None
    idle = replace(found, copy_bytes_per_s=max(found.copy_bytes_per_s, 1e9))  # tests share the machine
    read_hardware(Document("own.toml", "own", profile_text(idle, TODAY)))


def test_busy_machine_is_not_taken_for_a_slow_one() -> None:
    with pytest.raises(UserError, match=r"copied 0.35 GB/s: it is busy"):
        profile_text(replace(MEASURED, copy_bytes_per_s=0.35e9), TODAY)


def test_unknown_device_is_the_users_mistake() -> None:
    pytest.importorskip("torch", reason="PyTorch (extra calibrate) is not installed")
    with pytest.raises(UserError, match="no device"):
        measure("nonsense", TINY)


def test_missing_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(["calibrate"]) == 2
    assert "inferometer[calibrate]" in capsys.readouterr().err


def request(start: float, end: float) -> Served:
    return Served(int(start * NS), int(end * NS), 100, 100, 10, 0.0, 0.1, 1.0, None)


def test_concurrency_is_averaged_over_each_request() -> None:
    found = concurrency([request(0, 4), request(2, 6), request(10, 11)])
    assert found == pytest.approx([1.5, 1.5, 1.0])


@pytest.fixture
def deployed() -> StepModel:
    return step_model(load_hardware("h100_sxm"), load_engine("vllm"), load_model(LLAMA), precision="fp8", tp=4)


def alone(model: StepModel, index: int, slowdown: float, prompt_slowdown: float) -> Served:
    """One request on an otherwise idle server, as slow as asked for."""
    tokens_in, tokens_out = 500 + 37 * index, 100 + 5 * index
    context = tokens_in + tokens_out / 2
    decode = model.seconds(StepLoad(1, 1, context))
    prompt = model.seconds(StepLoad(2, 1, context, 0, tokens_in, tokens_in**2 / 2))
    start = index * 100
    return Served(
        start * NS,
        (start + 90) * NS,
        tokens_in,
        tokens_in,
        tokens_out,
        0.0,
        prompt * prompt_slowdown,
        decode * (tokens_out - 1) * slowdown,
        prompt * prompt_slowdown + 0.05,
    )


def test_slower_deployment_is_recognised(deployed: StepModel) -> None:
    found = calibrate_on([alone(deployed, index, 1.3, 1.56) for index in range(30)], deployed)
    assert found.step_factor == pytest.approx(1.3, rel=1e-6)
    assert found.compute_factor == pytest.approx(1.2, rel=1e-6)
    assert found.frontend_factor == pytest.approx(0.05 / deployed.frontend_seconds, rel=1e-6)
    assert found.tpot_error < 1e-6
    assert found.hull["hit_rate"].high == 0.0


def test_too_few_requests_say_what_to_do(deployed: StepModel) -> None:
    with pytest.raises(UserError, match="at least 20 are needed"):
        calibrate_on([alone(deployed, 0, 1, 1)], deployed)


def test_own_calibration_replaces_the_shipped_one_of_its_chip_and_model_alone(
    deployed: StepModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = calibrate_on([alone(deployed, index, 1.3, 1.3) for index in range(30)], deployed)
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "vllm.calibration.toml").write_text(calibration_text(found, deployed, TODAY))
    others = [each for each in load_engine("vllm").calibrations if each.hardware != "h100_sxm"]
    monkeypatch.setenv("INFEROMETER_PROFILES", str(tmp_path))
    engine = load_engine("vllm")
    assert [each for each in engine.calibrations if each.hardware != "h100_sxm"] == others
    own = step_model(deployed.hardware, engine, deployed.model, precision="fp8", tp=4)
    assert own.confidence == "calibrated"
    assert "30 rows" in own.reason
    other = step_model(deployed.hardware, engine, load_model("gpt-oss-120b"), precision="fp4", tp=4)
    assert other.confidence == "calibrated"


def row(index: int, **changes: Any) -> InferenceRow:
    inference = Inference(
        trace_id=index.to_bytes(16, "big"),
        span_id=index.to_bytes(8, "big"),
        response_model=changes.get("model", LLAMA),
        meters=Meters(input_fresh=400, cache_read=100, output=changes.get("output", 50)),
        queue_ns=1,
        prefill_ns=changes.get("prefill_ns", 50_000_000),
        decode_ns=900_000_000,
        ttft_ns=60_000_000,
    )
    place = Placement(run_id=None, parent_id=None, start_ns=index * NS, end_ns=(index + 1) * NS, status=Status.OK)
    return InferenceRow(inference, place)


def test_only_timed_requests_of_the_model_count() -> None:
    rows = [row(3), row(1), row(2, model="other"), row(4, prefill_ns=None), row(5, output=1)]
    found = served_requests(rows, load_model(LLAMA))
    assert [each.start_ns // NS for each in found] == [1, 3]
    assert found[0].input_tokens == 500
    assert found[0].fresh_tokens == 400


def test_verb_needs_to_know_the_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", "--from-traces"]) == 2
    assert "--hardware and --model" in capsys.readouterr().err


def test_verb_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="PyTorch (extra calibrate) is not installed")
    pytest.importorskip("sqlalchemy")
    import inferometer.analyzer.calibrate as module

    out = tmp_path / "mine.toml"
    patched = pytest.MonkeyPatch()
    patched.setattr(module, "MODEST", TINY)
    try:
        assert run(["calibrate", "--device", "cpu", "--out", str(out), "--json"]) == 0
    finally:
        patched.undo()
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(out)
    assert read_hardware(Document(str(out), "mine", out.read_text())).measured is not None
