"""From a scenario to a fleet: acceptance lengths, machines sold whole, other tenants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inferometer.analyzer.replay import replay
from inferometer.analyzer.replay_background import background_lengths
from inferometer.analyzer.replay_fleet import ACCEPTANCE_LENGTHS, build_step_model, speculation_of
from inferometer.analyzer.replay_scenario import Scenario
from inferometer.analyzer.replay_sweep import sweep
from inferometer.analyzer.workload import made_up_workload
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model
from inferometer.schema.errors import InfeasibleError, InputError, UserError

KIMI = Scenario("h200_sxm", "vllm", "moonshotai/Kimi-K2.5", tp=8, speculative_tokens=3)
LLAMA = replace(KIMI, model="meta-llama/Llama-3.1-70B")


@pytest.mark.parametrize(
    ("scenario", "length"),
    [
        (KIMI, load_model("moonshotai/Kimi-K2.5").acceptance_lengths[2]),
        (replace(KIMI, acceptance_length=2.0), 2.0),
        (replace(KIMI, speculative_kind="draft", draft_model="moonshotai/Kimi-K2.5"), ACCEPTANCE_LENGTHS[3]),
        (LLAMA, ACCEPTANCE_LENGTHS[3]),
    ],
    ids=["published-for-the-model", "given", "another-model-drafts", "nothing-published"],
)
def test_acceptance_length_is_the_nearest_known(scenario: Scenario, length: float) -> None:
    speculation = speculation_of(scenario)
    assert speculation is not None
    assert speculation.acceptance_length == length
    assert load_model("moonshotai/Kimi-K2.5").acceptance_lengths[2] != ACCEPTANCE_LENGTHS[3]


WHOLE = ("groq_lpu", "groq_lpx_rack", "cerebras_cs3", "sambanova_sn40l", "sambanova_sn50")
SWEPT = Scenario("", "vllm", "meta-llama/Llama-3.1-8B")
FEW_CALLS = made_up_workload([0.0, 0.5, 0.6], [900, 4000, 2000], [200, 50, 10])


@pytest.mark.parametrize("name", WHOLE)
def test_machine_only_had_whole_is_replayed_as_its_profile_says(name: str) -> None:
    machine = load_hardware(name).deployment
    assert machine is not None
    precision = "int8" if name == "groq_lpu" else None
    scenario = Scenario(name, "vendor_runtime", "meta-llama/Llama-3.1-70B", precision=precision)
    if name == "groq_lpx_rack":
        scenario = replace(scenario, precision="fp8")
    ranks = build_step_model(scenario).parallelism
    assert (ranks.tensor, ranks.pipeline) == (machine.chips // machine.pipeline_stages, machine.pipeline_stages)
    answer = replay(FEW_CALLS, scenario, with_interval=False).as_dict()
    assert answer["scenario"]["chips"] == machine.chips
    assert (answer["cost_usd"]["mid"] is None) == (machine.usd_low is None)


def test_stated_parallelism_of_a_whole_machine_is_kept() -> None:
    scenario = Scenario("cerebras_cs3", "vendor_runtime", "meta-llama/Llama-3.1-8B", pp=2)
    assert build_step_model(scenario).parallelism.chips == 2
    with pytest.raises(InfeasibleError, match="tensor parallelism is 0"):
        build_step_model(replace(scenario, tp=0))


def test_fewer_layers_than_stages_leave_chips_idle_and_are_billed_whole() -> None:
    row = sweep(FEW_CALLS, SWEPT, hardware=["groq_lpu"], precisions=["int8"]).rows[0]
    assert (row["tp"], row["pp"], row["chips"]) == (8, 32, 576)


def test_sweep_takes_as_many_whole_machines_as_hold_the_model() -> None:
    base = replace(SWEPT, model="meta-llama/Llama-3.1-405B-Instruct")
    found = sweep(FEW_CALLS, base, hardware=["cerebras_cs3", "groq_lpu"], precisions=["bf16"])
    assert [(row["hardware"], row["engine"], row["chips"]) for row in found.rows] == [
        ("cerebras_cs3", "vendor_runtime", 20)  # 19 by its vendor, sold by four here
    ]
    assert [skipped["hardware"] for skipped in found.skipped] == ["groq_lpu"]
    assert "does not fit" in found.skipped[0]["reason"]


TRACES = {
    "BurstGPT_1.csv": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,230,1317,Conversation log\n"
    "118,GPT-4,417,0,417,API log\n",
    "conv.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:46.6805900,472,18\n2023-11-16 18:15:50.9951690,1087,230\n",
    "trace.jsonl": '{"timestamp": 0, "input_length": 472, "output_length": 18, "hash_ids": [0]}\n'
    '{"timestamp": 9, "input_length": 1087, "output_length": 230, "hash_ids": [0, 1, 2]}\n',
}


@pytest.mark.parametrize("name", TRACES)
def test_background_takes_the_lengths_of_a_traces_answered_requests(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TRACES[name])
    inputs, outputs = background_lengths(str(tmp_path / name), FEW_CALLS)
    assert list(zip(inputs.tolist(), outputs.tolist(), strict=True)) == [(472, 18), (1087, 230)]
    h100 = Scenario("h100_sxm", "vllm", "meta-llama/Llama-3.1-8B", background_rate_per_s=200.0)
    crowded = replay(FEW_CALLS, replace(h100, background_profile=str(tmp_path / name)), with_interval=False)
    assert crowded.simulation.background_calls > 10


def test_background_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "BurstGPT_1.csv"
    path.write_text(TRACES["BurstGPT_1.csv"])
    assert background_lengths(str(path), FEW_CALLS)[0].tolist() == [472, 1087]
    path.write_text(TRACES["BurstGPT_1.csv"].replace("472", "47"))
    assert background_lengths(str(path), FEW_CALLS)[0].tolist() == [47, 1087]


def test_background_that_is_none_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="own, azure_conv, azure_code, mooncake, or the path"):
        background_lengths("burstgpt", FEW_CALLS)
    with pytest.raises(InputError, match=r"missing.csv.*cannot be read"):
        background_lengths(str(tmp_path / "missing.csv"), FEW_CALLS)
    (tmp_path / "failed.csv").write_text(TRACES["BurstGPT_1.csv"].replace(",18,", ",0,").replace(",230,", ",0,"))
    with pytest.raises(InputError, match="states no request's"):
        background_lengths(str(tmp_path / "failed.csv"), FEW_CALLS)
    (tmp_path / "notes.txt").write_text("not a trace")
    with pytest.raises(InputError, match="no format"):
        background_lengths(str(tmp_path / "notes.txt"), FEW_CALLS)
