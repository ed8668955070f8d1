"""The step-time model: its three implementations agree, and it behaves as machines do."""

from __future__ import annotations

import re
import struct
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferometer.analyzer.stepterms import TERM_NAMES, Parallelism, StepLoad, demand
from inferometer.analyzer.steptime import Speculation, StepModel, step_model
from inferometer.profiles.engines import load_engine
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model
from inferometer.schema.errors import InfeasibleError, UnknownNameError

np = pytest.importorskip("numpy")

CASES = [
    ("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", {"precision": "fp8", "tp": 4}),
    ("b200_sxm", "trtllm", "deepseek-r1", {"precision": "fp4", "tp": 1, "dp": 8, "ep": 8}),
    ("h200_sxm", "sglang", "gpt-oss-120b", {"tp": 2}),
    ("b200_sxm", "sglang", "zai-org/GLM-5", {"precision": "fp8", "tp": 8}),
    ("mi300x", "vllm", "Qwen/Qwen3.5-397B-A17B", {"precision": "fp8", "tp": 8, "ep": 8}),
    ("rtx_pro_6000", "vllm", "llama3.1-8b", {"precision": "bf16", "pp": 2}),
]


def build(hardware: str, engine: str, model: str, options: dict[str, object]) -> StepModel:
    return step_model(load_hardware(hardware), load_engine(engine), load_model(model), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[2].split('/')[-1]}")
def model(request: pytest.FixtureRequest) -> StepModel:
    return build(*request.param)


def members(header: str, struct_name: str) -> list[str]:
    body = re.search(rf"typedef struct {struct_name} {{(.*?)}} {struct_name};", header, re.S)
    assert body is not None
    return re.findall(r"^\s*double (\w+);", body.group(1), re.M)


def test_python_terms_have_the_headers_order(repository: Path) -> None:
    header = (repository / "analyzer" / "csrc" / "steptime.h").read_text()
    assert tuple(members(header, "StepModel")) == TERM_NAMES
    assert members(header, "StepLoad") == [field.name for field in fields(StepLoad)]


loads = st.builds(
    StepLoad,
    sequences=st.integers(1, 512).map(float),
    decode_sequences=st.integers(0, 512).map(float),
    decode_kv_tokens=st.integers(0, 4_000_000).map(float),
    draft_tokens=st.integers(0, 512).map(float),
    prefill_tokens=st.integers(0, 16384).map(float),
    prefill_attention_pairs=st.floats(0, 1e9),
)


@given(load=loads)
@settings(max_examples=60, deadline=None)
def test_c_and_python_agree_on_every_step(model: StepModel, load: StepLoad) -> None:
    native = pytest.importorskip("inferometer.analyzer._replay")
    packed = struct.pack("6d", *(getattr(load, field.name) for field in fields(StepLoad)))
    (seconds,) = struct.unpack("d", native.step_seconds(model.as_array(), packed))
    assert seconds == pytest.approx(model.seconds(load), rel=1e-9, abs=1e-12)


@given(load=loads)
@settings(max_examples=40, deadline=None)
def test_arrays_and_scalars_agree(model: StepModel, load: StepLoad) -> None:
    from inferometer.analyzer.closedloop import stack, steps_seconds

    one = np.ones(1)
    said = steps_seconds(
        stack([model.terms]),
        load.decode_sequences * one,
        load.decode_kv_tokens * one * (load.decode_sequences > 0),
        load.prefill_tokens * one,
        load.prefill_attention_pairs * one,
    )
    same = StepLoad(
        sequences=load.decode_sequences + (load.prefill_tokens > 0),
        decode_sequences=load.decode_sequences,
        decode_kv_tokens=load.decode_kv_tokens,
        prefill_tokens=load.prefill_tokens,
        prefill_attention_pairs=load.prefill_attention_pairs,
    )
    if same.sequences:
        assert float(said[0]) == pytest.approx(model.seconds(same), rel=1e-9)


def test_empty_step_takes_no_time(model: StepModel) -> None:
    assert model.seconds(StepLoad(0)) == 0.0


@given(users=st.integers(1, 256), context=st.integers(16, 30_000))
@settings(max_examples=30, deadline=None)
def test_more_work_never_takes_less_time(model: StepModel, users: int, context: int) -> None:
    here = model.seconds(StepLoad(users, users, users * context))
    assert model.seconds(StepLoad(users + 1, users + 1, (users + 1) * context)) >= here
    assert model.seconds(StepLoad(users, users, users * (context + 100))) >= here
    assert model.seconds(StepLoad(users + 1, users, users * context, 0, 512, 512 * 256)) >= here


def test_no_step_beats_the_data_sheet() -> None:
    """Reading all weights once at peak bandwidth is a floor of a decode step."""
    for hardware in ("h100_sxm", "h200_sxm", "b200_sxm"):
        chip = load_hardware(hardware)
        model = build(hardware, "vllm", "meta-llama/Llama-3.1-70B", {"precision": "fp8", "tp": 4})
        floor = demand(model.model, Parallelism(4), "fp8", "bf16").weight_bytes / chip.memory.bandwidth_bytes_per_s
        assert model.seconds(StepLoad(1, 1, 128)) > floor


def test_lower_precision_reads_less() -> None:
    slow = build("b200_sxm", "trtllm", "meta-llama/Llama-3.1-70B", {"precision": "bf16", "tp": 2})
    fast = build("b200_sxm", "trtllm", "meta-llama/Llama-3.1-70B", {"precision": "fp8", "tp": 2})
    assert fast.weight_bytes_per_chip < 0.6 * slow.weight_bytes_per_chip
    assert fast.kv_capacity_tokens > slow.kv_capacity_tokens


def test_experts_are_read_as_they_are_touched() -> None:
    model = build("b200_sxm", "vllm", "gpt-oss-120b", {"tp": 1})
    times = [model.seconds(StepLoad(n, n, n * 100)) for n in (1, 4, 16, 64)]
    growth = [later / earlier for earlier, later in pairwise(times)]
    assert times[-1] > 1.5 * times[0]
    assert growth[-1] < 4.0


def test_latent_attention_is_replicated_over_tensor_ranks() -> None:
    one = demand(load_model("deepseek-r1"), Parallelism(1), "fp8", "fp8")
    eight = demand(load_model("deepseek-r1"), Parallelism(8), "fp8", "fp8")
    assert one.kv_bytes_per_token == eight.kv_bytes_per_token
    grouped = [demand(load_model("llama3.1-8b"), Parallelism(t), "fp8", "fp8").kv_bytes_per_token for t in (1, 8, 16)]
    assert grouped[0] == 8 * grouped[1]
    assert grouped[1] == grouped[2]


def test_windowed_layers_stop_reading() -> None:
    model = build("h200_sxm", "vllm", "gpt-oss-120b", {"tp": 1})
    short = model.seconds(StepLoad(8, 8, 8 * 1024))
    long = model.seconds(StepLoad(8, 8, 8 * 2048))
    full = model.terms.kv_seconds_per_token * 8 * 1024
    assert long - short == pytest.approx(full, rel=1e-6)


def test_sparse_attention_stops_at_its_top_k() -> None:
    sparse, dense = load_model("deepseek-v3.2"), load_model("deepseek-r1")
    one, other = (demand(each, Parallelism(8), "fp8", "fp8") for each in (sparse, dense))
    assert one.window_tokens == 2048
    assert one.kv_bytes_per_token < 0.2 * other.kv_bytes_per_token


def test_speculation_costs_drafts_and_must_be_possible() -> None:
    options = {"precision": "fp8", "tp": 4}
    plain = build("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", options)
    drafted = build(
        "h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", {**options, "speculation": Speculation("eagle", 3, 2.4)}
    )
    load = StepLoad(4, 4, 4000, 12)
    assert drafted.seconds(load) > plain.seconds(load) > plain.seconds(StepLoad(4, 4, 4000))
    per_token = drafted.seconds(load) / 2.4
    assert per_token < plain.seconds(StepLoad(4, 4, 4000))
    with pytest.raises(InfeasibleError, match="impossible"):
        build("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", {**options, "speculation": Speculation("eagle", 3, 4.5)})


def test_draft_model_is_read_too() -> None:
    small = load_model("meta-llama/Llama-3.2-1B")
    options = {"precision": "fp8", "tp": 4}
    name = "meta-llama/Llama-3.1-70B"
    head = build("h100_sxm", "vllm", name, {**options, "speculation": Speculation("eagle", 3, 2.0)})
    whole = build("h100_sxm", "vllm", name, {**options, "speculation": Speculation("draft", 3, 2.0, small)})
    assert whole.terms.draft_seconds > head.terms.draft_seconds


def test_lacking_precision_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(InfeasibleError, match="no int8 arithmetic at speed; it has bf16, fp8, fp4"):
        build("b300_sxm", "vllm", "meta-llama/Llama-3.1-70B", {"precision": "int8"})
    with pytest.raises(UnknownNameError, match="precision"):
        build("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", {"precision": "fp7", "tp": 8})


def test_four_bit_weights_are_widened_where_the_chip_has_no_rate() -> None:
    assert build("h100_sxm", "vllm", "gpt-oss-120b", {"precision": "fp4", "tp": 2}).kv_capacity_tokens > 0


def test_model_that_does_not_fit_says_how_much_is_missing_and_what_fits() -> None:
    with pytest.raises(InfeasibleError, match=r"GiB a chip are missing.*smallest tensor parallelism that fits is 16"):
        build("h100_sxm", "vllm", "deepseek-r1", {"precision": "fp8", "tp": 8})


@pytest.mark.parametrize("options", [{"tp": 0}, {"tp": 4, "ep": 3}])
def test_impossible_ranks_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InfeasibleError):
        build("b200_sxm", "vllm", "gpt-oss-120b", dict(options))


def test_confidence_says_what_stands_behind_a_prediction() -> None:
    name = "meta-llama/Llama-3.1-70B"
    assert build("h100_sxm", "vllm", name, {"precision": "fp8", "tp": 4}).confidence == "calibrated"
    assert build("h100_sxm", "vllm", name, {"precision": "bf16", "tp": 4}).confidence == "family"
    assert build("h100_sxm", "vllm", "google/gemma-3-27b-it", {"tp": 2}).confidence == "family"
    unknown = build("tpu_v6e", "vllm", name, {"precision": "int8", "tp": 8})
    assert unknown.confidence == "uncalibrated"
    assert "no measured rows" in unknown.reason
    known = build("h100_sxm", "vllm", name, {"precision": "fp8", "tp": 4})
    assert unknown.spread.tpot_p90 / unknown.spread.tpot_p10 > known.spread.tpot_p90 / known.spread.tpot_p10


def test_version_picks_its_own_corrections() -> None:
    old = build("h200_sxm", "trtllm 1.1.0rc2.post2", "deepseek-r1", {"precision": "fp8", "tp": 8})
    other = build("h200_sxm", "trtllm unstated", "deepseek-r1", {"precision": "fp8", "tp": 8})
    assert old.terms.host_seconds != other.terms.host_seconds
    assert "1.1.0rc2.post2" in old.reason
    assert (old.versions, old.version_standing) == (("1.1.0rc2.post2",), "measured")


@pytest.mark.parametrize(
    ("version", "standing", "says"),
    [
        ("9.9", "newer", "9.9 is newer than any measured on h100_sxm: constants of 0.11.2 to 0.18.0 stand for it"),
        ("0.3.1", "older", "0.3.1 is older than any measured on h100_sxm: constants of 0.11.2 to 0.18.0 stand for it"),
        ("0.14.0", "between", "0.14.0 was not measured on h100_sxm: constants of 0.11.2 to 0.18.0 stand for it"),
        ("main-4f2a", "between", "version main-4f2a was not measured"),
        ("0.12.0", "measured", ""),
        ("0.12", "measured", ""),
        ("", "", ""),
    ],
)
def test_version_that_was_not_measured_is_told(version: str, standing: str, says: str) -> None:
    engine = f"vllm=={version}" if version else "vllm"
    model = build("h100_sxm", engine, "meta-llama/Llama-3.1-70B", {"precision": "fp8", "tp": 4})
    assert model.version_standing == standing
    assert says in model.reason
    assert ("stand for it" in model.reason) == bool(says)
    plain = build("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", {"precision": "fp8", "tp": 4})
    if standing not in ("", "measured"):
        assert model.versions == plain.versions
        assert model.terms == plain.terms


def test_versions_of_a_chip_without_rows_are_the_engines() -> None:
    model = build("tpu_v6e", "vllm==9.9", "meta-llama/Llama-3.1-70B", {"precision": "int8", "tp": 8})
    assert model.version_standing == "newer"
    assert "no measured rows" in model.reason
    assert "9.9 is newer than any measured" in model.reason


def test_leaving_the_hull_has_a_distance() -> None:
    model = build("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", {"precision": "fp8", "tp": 4})
    assert model.extrapolation(input_tokens=2048, users=16) == 0.0
    assert model.extrapolation(input_tokens=131_072) > 1.0
    assert model.extrapolation(hit_rate=0.97) == pytest.approx(0.97)


def test_machine_sold_whole_needs_no_link_and_is_serial_by_layer() -> None:
    small = build("groq_lpu", "vendor_runtime", "llama3.1-8b", {"precision": "int8", "tp": 8, "pp": 72})
    large = build("groq_lpu", "vendor_runtime", "meta-llama/Llama-3.3-70B", {"precision": "int8", "tp": 8, "pp": 72})
    one, other = (1.0 / model.seconds(StepLoad(1, 1, 1000)) for model in (small, large))
    assert 400 < one < 1200
    assert 150 < other < 500
    assert large.confidence == "family"
    assert large.spread.tpot_p90 / large.spread.tpot_p10 > 2
