"""What a replay answers: refusals, clocks, cost, energy, and how scenarios differ."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferometer.analyzer.replay import Arrivals, Payment, ReplayResult, Scenario, replay
from inferometer.analyzer.replay_capacity import OFFICE, Target, plan_capacity
from inferometer.analyzer.replay_cost import Use, bill, energy, hourly_price
from inferometer.analyzer.replay_engine import simulate
from inferometer.analyzer.replay_fleet import build_deployment, build_step_model
from inferometer.analyzer.replay_recount import count_as
from inferometer.analyzer.replay_sensitivity import measure_sensitivity
from inferometer.analyzer.replay_sweep import mark_pareto, sweep
from inferometer.analyzer.stepterms import StepLoad
from inferometer.analyzer.workload import Recorded, Workload, build_workload, made_up_workload
from inferometer.analyzer.workload_edges import EdgeList
from inferometer.analyzer.workload_prefix import forest_of
from inferometer.cli import run as run_command
from inferometer.profiles.hardware import load_hardware
from inferometer.schema.errors import InfeasibleError, UnknownNameError, UserError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Dependency, Inference, Status
from inferometer.schema.rows import InferenceRow, Placement

H100 = Scenario("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", precision="fp8", tp=4)


def agents(sessions: int = 6, steps: int = 5, *, timed: bool = True, seed: int = 3) -> Workload:
    """Return sessions whose prompts grow by what each step adds, started a minute apart."""
    draw = np.random.default_rng(seed)
    rows = []
    for session in range(sessions):
        clock_s = 1_780_000_000.0 + 60 * session if timed else 0.0
        prompt = 4000 + int(draw.integers(0, 2000))
        for step in range(steps):
            output = int(draw.integers(50, 400))
            inference = Inference(
                session.to_bytes(16, "big"),
                step.to_bytes(8, "big"),
                meters=Meters(input_fresh=prompt, output=output),
                depends_on=[Dependency((step - 1).to_bytes(8, "big"), gap_ns=2_000_000_000)] if step else [],
            )
            begin, end = round(clock_s * 1e9), round((clock_s + 4) * 1e9)
            place = Placement(f"run{session}", None, begin, end, Status.OK, session_id=f"session{session}")
            rows.append(InferenceRow(inference, place))
            clock_s += 6
            prompt += output + int(draw.integers(100, 800))
    workload = build_workload(rows, lambda row: Decimal("0.02"))
    hashes = [
        np.array([hash((int(workload.run[call]), place)) % 2**63 for place in range(tokens // 64)], np.uint64)
        for call, tokens in enumerate(workload.input_tokens.tolist())
    ]
    return replace(workload, prefixes=forest_of(hashes, 64)[0], warnings=workload.warnings)


@pytest.fixture(scope="module")
def workload() -> Workload:
    return agents()


@pytest.fixture(scope="module")
def result(workload: Workload) -> ReplayResult:
    return replay(workload, H100)


def test_document_matches_its_schema(result: ReplayResult, repository: Path) -> None:
    schema = json.loads((repository / "docs/schemas/replay.json").read_text())
    document = json.loads(json.dumps({"schema_version": 1, **result.as_dict()}, default=str))
    jsonschema.validate(document, schema)
    assert set(document) == set(schema["required"])


@pytest.mark.parametrize("document", ["replay", "sweep", "predict"])
def test_every_key_of_a_document_is_explained(document: str, repository: Path) -> None:
    """In its own description, or in that of what it is a part of."""

    def unexplained(node: dict[str, Any], path: str) -> list[str]:
        found = []
        for name, value in node.get("properties", {}).items():
            if "description" not in value:
                found.append(f"{path}{name}")
            elif value.get("type") == "array":
                found += unexplained(value["items"], f"{path}{name}[].")
        return found

    schema = json.loads((repository / f"docs/schemas/{document}.json").read_text())
    assert unexplained(schema, "") == []


def test_all_is_served_and_prefixes_are_found(result: ReplayResult) -> None:
    answer = result.as_dict()
    assert answer["refused"] == {"over_context": 0, "over_memory": 0}
    assert answer["infeasible_runs_share"] == 0
    assert 0 < answer["prefix_hit_rate"] <= answer["prefix_hit_rate_infinite"] < 1
    assert answer["prefix_hit_rate_infinite_served"] == answer["prefix_hit_rate_infinite"]
    assert answer["output_tokens"] == result.workload.output_tokens.sum()
    assert 0 < answer["mfu"] < 1
    assert 0 < answer["mbu"] < 1


def test_long_calls_are_refused_and_their_runs_infeasible() -> None:
    calls = made_up_workload([0.0, 1.0, 2.0, 3.0], [1000, 131_072, 131_073, 200_000], [10, 10, 10, 10])
    answer = replay(calls, H100).as_dict()
    assert answer["refused"] == {"over_context": 2, "over_memory": 0}
    assert answer["infeasible_runs_share"] == 0.5
    assert answer["warnings"]["output_past_window"] == 1


def test_calls_over_kv_memory_are_refused_at_that_parallelism() -> None:
    calls = made_up_workload([0.0, 1.0], [1000, 120_000], [10, 10])
    narrow = replace(H100, tp=1)
    assert build_deployment(narrow, calls).step_model.kv_capacity_tokens < 120_000
    assert replay(calls, narrow).as_dict()["refused"] == {"over_context": 0, "over_memory": 1}
    assert replay(calls, H100).as_dict()["refused"] == {"over_context": 0, "over_memory": 0}


def test_sessions_without_times_start_so_many_at_a_time_and_say_so() -> None:
    untimed = agents(timed=False)
    for concurrency in (1, 3):
        result = replay(untimed, replace(H100, arrivals=Arrivals(concurrency=concurrency)))
        stated = result.arrivals
        assert (stated["sessions"], stated["concurrency"]) == ("assumed", concurrency)
        assert "concurrency" in stated["note"]
        starts, ends = _session_spans(result)
        open_at = [int(((starts <= moment) & (ends > moment)).sum()) for moment in starts]
        assert max(open_at) == concurrency


def _session_spans(result: ReplayResult) -> tuple[Any, Any]:
    first = result.workload.session_first
    ready, end = result.simulation.ready_s, result.simulation.end_s
    pairs = list(pairwise(first))
    return np.array([ready[a:b].min() for a, b in pairs]), np.array([end[a:b].max() for a, b in pairs])


def test_recorded_starts_are_kept_and_said(result: ReplayResult) -> None:
    assert result.arrivals["sessions"] == "recorded"
    assert _session_spans(result)[0].tolist() == pytest.approx([0.0, 60.0, 120.0, 180.0, 240.0, 300.0])


def test_same_hardware_and_run_leaves_no_residual(workload: Workload) -> None:
    """A trace of the simulated run, its gaps told by times alone, replays to the nanosecond it was written with."""
    first = replay(workload, H100, with_interval=False).simulation
    rows = []
    for call in range(workload.calls):
        trace, span = workload.keys[call]
        step = int.from_bytes(span, "big")
        inference = Inference(
            trace,
            span,
            meters=Meters(input_fresh=int(workload.input_tokens[call]), output=int(workload.output_tokens[call])),
            depends_on=[Dependency((step - 1).to_bytes(8, "big"))] if step else [],
        )
        begin, end = (
            1_780_000_000 * 10**9 + round(float(moment[call]) * 1e9) for moment in (first.ready_s, first.end_s)
        )
        run = f"run{workload.run[call]}"
        rows.append(InferenceRow(inference, Placement(run, None, begin, end, Status.OK, session_id=run)))
    again = replace(build_workload(rows), prefixes=workload.prefixes)
    second = replay(again, H100, with_interval=False)
    assert second.simulation.end_s == pytest.approx(first.end_s, abs=1e-6)
    assert second.as_dict()["recorded"]["e2e_s"]["p50"] == pytest.approx(second.as_dict()["e2e_s"]["p50"], abs=1e-6)


def test_hardware_is_billed_in_whole_rental_units(result: ReplayResult) -> None:
    answer = result.as_dict()
    assert answer["makespan_s"] < 3600
    assert answer["billed_hours"] == 4.0
    price = hourly_price(load_hardware("h100_sxm"), 4, Payment())
    assert price is not None
    assert answer["cost_usd_by_basis"]["dedicated"] == price.usd.mid.quantize(Decimal("0.000001"))
    finer = replay(result.workload, replace(H100, payment=Payment(rental_unit_h=1 / 60))).as_dict()
    assert finer["billed_hours"] == pytest.approx(4 * -(-answer["makespan_s"] // 60) / 60)


def test_bases_differ_as_defined(result: ReplayResult) -> None:
    answer = result.as_dict()
    costs = answer["cost_usd_by_basis"]
    assert costs["shared"] == pytest.approx(costs["pay_per_use"] / Decimal("0.3"), abs=Decimal("0.00001"))
    assert sum(answer["bill_shares_usd"].values()) == costs["dedicated"]
    assert answer["break_even_utilisation"] == pytest.approx(
        float(costs["pay_per_use"] / answer["recorded"]["cost_usd"]), rel=1e-4
    )
    for spread in answer["cost_usd_range_by_basis"].values():
        assert spread["low"] <= spread["mid"] <= spread["high"]


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 64), st.sampled_from((1 / 60, 1.0, 24.0))
)
def test_shares_of_all_tenants_and_idle_sum_to_the_bill(
    own: float, others: float, idle: float, replicas: int, unit: float
) -> None:
    makespan = (own + others + idle) / replicas
    price = hourly_price(load_hardware("h100_sxm"), replicas, Payment())
    assert price is not None
    use = Use((own,) * 3, (others,) * 3, (makespan,) * 3, replicas)
    found = bill(price, use, Payment(rental_unit_h=unit), None)
    assert sum(found.shares_usd.values()) == found.by_basis["dedicated"].mid.quantize(Decimal("0.000001"))
    assert all(share >= Decimal("-0.000001") for share in found.shares_usd.values())


@pytest.mark.parametrize(
    "arrivals", [Arrivals(scale=10.0), Arrivals(idle_cap_s=1.0), Arrivals(open_loop=True)], ids=str
)
def test_no_cost_is_told_from_compressed_time(workload: Workload, arrivals: Arrivals) -> None:
    answer = replay(workload, replace(H100, arrivals=arrivals)).as_dict()
    assert answer["cost_usd"] == {"low": None, "mid": None, "high": None}
    assert (answer["billed_hours"], answer["energy_kwh"], answer["cost_usd_per_mtok_output"]) == (None, None, None)
    assert answer["warnings"]["no_cost_on_compressed_time"] == 1
    assert answer["ttft_s"]["p50"] > 0


def test_medians_lie_within_their_interval(result: ReplayResult) -> None:
    answer = result.as_dict()
    for name, ends in answer["median_interval"].items():
        assert ends["low"] < answer[name]["p50"] < ends["high"]


def test_open_loop_starts_every_call_at_its_recorded_time(workload: Workload) -> None:
    simulation = replay(workload, replace(H100, arrivals=Arrivals(open_loop=True))).simulation
    assert simulation.ready_s.tolist() == pytest.approx(
        [60 * session + 6 * step for session in range(6) for step in range(5)]
    )


def test_idle_cap_cuts_only_a_persons_gaps() -> None:
    rows = agents(1, 2)
    human = replace(rows, edges=replace(rows.edges, is_human=np.array([True]), gap_s=np.array([50.0])))
    capped = replay(human, replace(H100, arrivals=Arrivals(idle_cap_s=5.0))).simulation
    assert capped.ready_s[1] - capped.end_s[0] == pytest.approx(5.0)
    tool = replace(rows, edges=replace(rows.edges, gap_s=np.array([50.0])))
    kept = replay(tool, replace(H100, arrivals=Arrivals(idle_cap_s=5.0))).simulation
    assert kept.ready_s[1] - kept.end_s[0] == pytest.approx(50.0)


def test_poisson_arrivals_are_the_seeds(workload: Workload) -> None:
    asked = replace(H100, arrivals=Arrivals("poisson", rate_per_s=0.1), seed=4)
    first, second = (replay(workload, asked, with_interval=False).simulation.ready_s for _ in range(2))
    assert first.tolist() == second.tolist()
    assert first.tolist() != replay(workload, replace(asked, seed=5)).simulation.ready_s.tolist()


@pytest.mark.parametrize(
    ("arrivals", "text"),
    [
        (Arrivals("recorded"), "no absolute start time"),
        (Arrivals("poisson"), "poisson:0.5"),
        (Arrivals("times", times_s=(1.0,)), "1 arrival times are given for 6"),
        (Arrivals("times", times_s=(1.0, 2.0, -1.0, 3.0, 4.0, 5.0)), "0 or more"),
    ],
)
def test_arrivals_that_cannot_be_made_are_refused(arrivals: Arrivals, text: str) -> None:
    with pytest.raises(UserError, match=text):
        replay(agents(timed=False), replace(H100, arrivals=arrivals))


def test_background_takes_time_and_pays_its_share(workload: Workload, result: ReplayResult) -> None:
    crowded = replay(workload, replace(H100, background_rate_per_s=2.0, background_profile="azure_conv"))
    answer = crowded.as_dict()
    assert crowded.simulation.background_calls > 100
    assert answer["ttft_s"]["mean"] > result.as_dict()["ttft_s"]["mean"]
    assert answer["bill_shares_usd"]["other_tenants"] > 0
    assert sum(answer["bill_shares_usd"].values()) == answer["cost_usd_by_basis"]["dedicated"]
    assert answer["cost_basis"] == "shared"


def test_each_lever_does_what_it_is_for(workload: Workload, result: ReplayResult) -> None:
    base = result.as_dict()
    drafted = replay(workload, replace(H100, speculative_tokens=3)).as_dict()
    assert drafted["tpot_s"]["p50"] < base["tpot_s"]["p50"]
    small = replace(
        H100, speculative_tokens=3, speculative_kind="draft", draft_model="meta-llama/Llama-3.2-1B-Instruct"
    )
    assert drafted["tpot_s"]["p50"] < replay(workload, small).as_dict()["tpot_s"]["p50"] < base["tpot_s"]["p50"]
    far = replay(workload, replace(H100, round_trip_s=0.2)).as_dict()
    assert far["ttft_s"]["p50"] == pytest.approx(base["ttft_s"]["p50"] + 0.2, rel=0.05)
    cold = replay(workload, replace(H100, prefix_cache=False)).as_dict()
    assert cold["prefix_hit_rate"] == 0
    assert cold["ttft_s"]["mean"] > base["ttft_s"]["mean"]
    split = replay(workload, replace(H100, disaggregate=(1, 1))).as_dict()
    assert split["scenario"]["chips"] == 8
    assert split["refused"] == base["refused"]
    starved = replay(workload, replace(H100, gateway_workers=1, gateway_call_s=3.0)).as_dict()
    assert starved["gateway_s"]["mean"] > 3.0
    assert starved["queue_s"]["mean"] < 1.0


def test_queue_is_the_wait_for_a_place_in_the_batch() -> None:
    """With one place, the nth of ten calls that come at once waits until those before it have ended."""
    crowd = made_up_workload(np.zeros(10), np.full(10, 1000), np.full(10, 100))
    one = replay(crowd, replace(H100, max_sequences=1), with_interval=False)
    simulation = one.simulation
    assert simulation.admitted_s[1:] == pytest.approx(simulation.end_s[:-1])
    served = simulation.end_s[0] - simulation.admitted_s[0]
    queue = one.as_dict()["queue_s"]
    assert queue["p50"] == pytest.approx(4.5 * served)
    assert queue["max"] == pytest.approx(9 * served)
    assert queue["p90"] == pytest.approx(8.1 * served)
    wide = replay(crowd, H100, with_interval=False).as_dict()
    assert wide["queue_s"]["p50"] == 0  # eight of them fill the first step, the last waits for its end
    assert 0 < wide["queue_s"]["max"] < served
    assert wide["gateway_s"] == one.as_dict()["gateway_s"]  # the same whatever the engine's load


def test_offload_tier_brings_back_what_memory_forgot(workload: Workload) -> None:
    together = replace(workload, session_start_s=np.zeros(workload.sessions))
    deployment = build_deployment(H100, together)
    small = replace(deployment.fleet, rules=replace(deployment.fleet.rules, kv_tokens=12_000))
    backed = replace(small, rules=replace(small.rules, offload_tokens=10**6, offload_s_per_token=1e-7))
    without, with_tier = (simulate(together, fleet) for fleet in (small, backed))
    assert with_tier.loaded_tokens.sum() > 0
    assert with_tier.total("prefill_tokens") < without.total("prefill_tokens")


def test_next_prompt_finds_what_the_output_filled(workload: Workload) -> None:
    """Prompts here grow by the output and more, so that every call but a run's first goes on from the one before."""
    answer = replay(workload, H100).simulation
    size = workload.prefixes.block_tokens
    for source, target in zip(workload.edges.sources.tolist(), workload.edges.to.tolist(), strict=True):
        prompt, output = int(workload.input_tokens[source]), int(workload.output_tokens[source])
        assert answer.hit_tokens[target] == (prompt + output - 1) // size * size
        assert answer.reused_tokens[target] == answer.hit_tokens[target] - prompt // size * size
    document = replay(workload, H100).as_dict()
    assert document["generated_hit_rate"] > 0
    assert document["prefix_hit_rate"] == document["prefix_hit_rate_infinite"]
    rewritten = replace(workload, edges=EdgeList.none(workload.calls))
    assert replay(rewritten, H100).simulation.reused_tokens.sum() == 0


def test_priorities_let_serving_go_first() -> None:
    calls = made_up_workload([0.0, 0.0, 0.0], [8000, 8000, 8000], [10, 10, 10])
    calls = replace(calls, priority=np.array([2, 1, 0], np.uint8))
    one = replace(H100, max_sequences=1)
    plain = replay(calls, one).simulation.end_s
    by_purpose = replay(calls, replace(one, use_priorities=True)).simulation.end_s
    assert plain.argsort().tolist() == [0, 1, 2]
    assert by_purpose.argsort().tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("scenario", "error", "text"),
    [
        (replace(H100, hardware="h100sxm"), UnknownNameError, "h100_sxm"),
        (replace(H100, model="meta-llama/Llama-3.1-70"), UnknownNameError, "Llama-3.1-70B"),
        (replace(H100, tp=1, precision="bf16"), InfeasibleError, "missing.*smallest tensor parallelism that fits is 2"),
        (replace(H100, hardware="b300_sxm", precision="int8"), InfeasibleError, "no int8"),
        (replace(H100, replicas=0), InfeasibleError, "replicas is 0"),
        (replace(H100, round_trip_s=-1.0), InfeasibleError, "round trip is -1.0"),
        (replace(H100, background_rate_per_s=float("nan")), InfeasibleError, "background rate is nan"),
        (replace(H100, output_scale=float("inf")), InfeasibleError, "output scale"),
        (replace(H100, router="best"), UnknownNameError, "least_loaded"),
        (replace(H100, payment=Payment(utilisation=1.5)), InfeasibleError, "share of 1"),
        (replace(H100, speculative_tokens=20), InfeasibleError, "acceptance length"),
        (replace(H100, speculative_tokens=2, speculative_kind="draft"), InfeasibleError, "small model"),
        (replace(H100, speculative_kind="medusa"), UnknownNameError, "kind of drafting"),
        (replace(H100, arrivals=Arrivals("sometimes")), UnknownNameError, "arrival kind"),
    ],
)
def test_what_cannot_be_is_refused(workload: Workload, scenario: Scenario, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        replay(workload, scenario)


def test_prices_are_paid_in_the_providers_unit() -> None:
    price = hourly_price(load_hardware("h100_sxm"), 4, Payment())
    assert price is not None
    assert price.usd.low == Decimal("9.6")  # Vast by the chip
    assert price.usd.high == Decimal("98.32")  # Azure by the eight
    given_price = hourly_price(load_hardware("h100_sxm"), 4, Payment(usd_per_chip_hour=Decimal("2")))
    assert given_price is not None
    assert given_price.usd.mid == 8


def test_machine_that_nobody_rents_is_written_off() -> None:
    groq = load_hardware("groq_lpu")
    price = hourly_price(groq, 576, Payment())
    assert price is not None
    assert price.billed_chips == 576
    assert float(price.usd.mid) == pytest.approx(11_520_000 / (4 * 8766) * 1.25)


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


def test_sensitivity_brackets_the_recorded_behaviour(workload: Workload) -> None:
    lines = {(line["output"], line["steps"]): line for line in measure_sensitivity(workload, H100)}
    assert set(lines) == {(0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, 0.5), (1.0, 2.0)}
    used = {key: line["cost_usd_by_basis"]["pay_per_use"] for key, line in lines.items()}
    assert used[0.5, 1.0] < used[1.0, 1.0] < used[2.0, 1.0]
    assert used[1.0, 0.5] < used[1.0, 1.0] < used[1.0, 2.0]


def test_capacity_is_the_smallest_fleet_that_meets_the_objective() -> None:
    busy = made_up_workload(np.full(300, np.nan), np.full(300, 8000), np.full(300, 200))
    asked = replace(H100, arrivals=Arrivals("poisson", rate_per_s=6.0))
    target = Target.named("ttft_p95", 2.0)
    plan = plan_capacity(busy, asked, [target], shape=OFFICE)
    peak = replace(asked, arrivals=replace(asked.arrivals, rate_per_s=6.0 * max(OFFICE) / (sum(OFFICE) / 24)))
    assert plan.needed > 1
    for replicas, meets in ((plan.needed, True), (plan.needed - 1, False)):
        found = replay(busy, replace(peak, replicas=replicas), with_interval=False)
        assert (np.percentile(found.latencies.ttft_s, 95) <= 2.0) is np.bool_(meets)
    assert max(plan.hourly_replicas) == plan.needed + plan.spare
    assert min(plan.hourly_replicas) < plan.needed
    assert plan.autoscaled_chip_hours < plan.fixed_chip_hours


def test_prefill_and_decode_grow_together() -> None:
    busy = made_up_workload(np.full(200, np.nan), np.full(200, 8000), np.full(200, 100))
    asked = replace(H100, disaggregate=(1, 1), arrivals=Arrivals("poisson", rate_per_s=8.0))
    plan = plan_capacity(busy, asked, [Target.named("ttft_p90", 2.0)], spare=0)
    assert plan.needed > 1
    assert plan.chips_per_replica == 8


def test_fleet_too_large_to_simulate_is_refused(workload: Workload) -> None:
    fleet = build_deployment(H100, workload).fleet
    wide = replace(fleet, replicas=30_000, rules=replace(fleet.rules, max_sequences=4096))
    with pytest.raises(UserError, match="GB to simulate"):
        simulate(workload, wide)
    with pytest.raises(InfeasibleError, match="32,767"):
        replay(workload, replace(H100, replicas=40_000))


def test_objective_that_more_replicas_cannot_meet_is_refused(workload: Workload) -> None:
    with pytest.raises(InfeasibleError, match="a faster deployment is needed"):
        plan_capacity(workload, H100, [Target.named("ttft_p50", 0.000001)])
    with pytest.raises(UserError, match="ttft_p95"):
        Target.named("ttft", 1.0)
    with pytest.raises(UserError, match="poisson"):
        plan_capacity(workload, H100, [Target.named("ttft_p50", 60.0)], shape=OFFICE)


def test_sweep_marks_what_nothing_beats(workload: Workload, repository: Path) -> None:
    found = sweep(workload, H100, hardware=["h100_sxm", "b200_sxm", "mi300x", "l4"], precisions=["fp8"])
    document = found.as_dict()
    schema = json.loads((repository / "docs/schemas/sweep.json").read_text())
    jsonschema.validate(json.loads(json.dumps({"schema_version": 1, **document}, default=str)), schema)
    front = [row for row in found.rows if row["pareto"]]
    assert front
    assert all(row["infeasible_runs_share"] == 0 for row in front)
    for row in found.rows:
        if not row["pareto"] and row["infeasible_runs_share"] == 0:
            assert any(
                other["cost_usd"]["mid"] <= row["cost_usd"]["mid"]
                and other["run_e2e_s"]["p50"] <= row["run_e2e_s"]["p50"]
                for other in front
            )
    assert {skipped["hardware"] for skipped in found.skipped} == {"l4"}
    again = sweep(workload, H100, hardware=["h100_sxm", "b200_sxm", "mi300x", "l4"], precisions=["fp8"], jobs=1)
    assert again.rows == found.rows


def test_row_that_serves_fewer_runs_is_never_on_the_front() -> None:
    def row(cost: int | None, latency: float, infeasible: float) -> dict[str, Any]:
        mid = None if cost is None else Decimal(cost)
        return {"cost_usd": {"mid": mid}, "run_e2e_s": {"p50": latency}, "infeasible_runs_share": infeasible}

    rows = [row(1, 1.0, 0.5), row(5, 2.0, 0.0), row(4, 3.0, 0.0), row(6, 3.0, 0.0), row(None, 1.0, 0.0)]
    mark_pareto(rows)
    assert [found["pareto"] for found in rows] == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("recorded", "target", "factor"),
    [
        ("gpt-4o-2024-08-06", "meta-llama/Llama-3.1-70B", 1.011),
        ("openai/gpt-4o", "Qwen/Qwen3-32B", 1.052),
        ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-R1", 1.0),
        ("claude-opus-4-5", "meta-llama/Llama-3.1-70B", None),
        (None, "meta-llama/Llama-3.1-70B", None),
    ],
)
def test_tokens_are_scaled_where_both_vocabularies_are_measured(
    recorded: str | None, target: str, factor: float | None
) -> None:
    calls = made_up_workload([0.0] * 3, [1000] * 3, [100] * 3)
    calls = replace(calls, model=np.array([0, 0, 1], np.int32), models=(recorded, "unheard-of"))
    found = count_as(calls, H100, target)
    expected = [round((factor or 1.0) * 1000)] * 2 + [1000]
    assert found.workload.input_tokens.tolist() == expected
    assert found.workload.output_tokens.tolist() == [round(tokens / 10) for tokens in expected]
    how = "unknown" if factor is None else "same_vocabulary" if factor == 1.0 else "ratio"
    assert found.input_counted_by == found.output_counted_by
    assert found.input_counted_by[how] == pytest.approx(2 / 3 if factor else 1.0)
    assert sum(found.input_counted_by.values()) == pytest.approx(1.0)


def test_stated_scale_replaces_the_measured_ratio(workload: Workload) -> None:
    spoken = replace(workload, model=np.zeros(workload.calls, np.int32), models=("gpt-4o",))
    measured = replay(spoken, H100, with_interval=False).as_dict()
    assert measured["scenario"]["input_counted_by"]["ratio"] == 1.0
    assert measured["scenario"]["input_recounted_share"] == 0.0
    assert measured["input_tokens"] == pytest.approx(1.011 * workload.input_tokens.sum(), rel=1e-3)
    stated = replay(spoken, replace(H100, input_scale=2.0), with_interval=False).as_dict()
    assert stated["input_tokens"] == 2 * workload.input_tokens.sum()
    assert stated["scenario"]["input_counted_by"] == {"scale": 1.0}
    longer = replay(spoken, replace(H100, output_scale=2.0), with_interval=False).as_dict()
    assert longer["output_tokens"] == pytest.approx(2 * measured["output_tokens"], rel=1e-3)


def test_nothing_recorded_reads_as_unknown() -> None:
    calls = made_up_workload([0.0], [100], [1])
    answer = replay(replace(calls, recorded=Recorded(np.array([np.nan]), np.array([np.nan]))), H100).as_dict()
    assert answer["recorded"]["ttft_s"] == dict.fromkeys(("p50", "p90", "p99", "mean", "max"))
    assert answer["recorded"]["cost_usd"] is None
    assert answer["break_even_utilisation"] is None
    assert answer["prefix_hit_rate"] is None
    assert answer["tpot_s"]["p50"] is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--disaggregate", "2"], "write P:D"),
        (["--arrivals", "often"], "poisson:RATE"),
        (["--arrivals", "poisson:x"], "not a number"),
        (["--arrivals", "recorded", "--concurrency", "3"], "give one"),
        (["--price", "much"], "not an amount"),
        (["--price", "1e400"], "from 0 to 1,000,000"),
        (["--slo", "ttft=-2s"], "no time"),
        (["--slo", "ttft=nan"], "no time"),
        (["--slo", "ttft_p95=0s"], "no time"),
        (["--seed", "-1"], "--seed"),
        (["--cold-start", "-5"], "--cold-start"),
        (["--acceptance-length", "2"], "no drafted tokens"),
        (["--draft-model", "llama-3.2-1b"], "no drafted tokens"),
        (["--pue", "0.5"], "starts at 1"),
        (["--pp", "81"], "more than the 80 layers"),
        (["--slo", "ttft"], "--slo"),
        (["--slo", "speed_p95=1s"], "no objective"),
        (["--background", "x:own"], "not a number"),
        (["--day", "sunday"], "flat"),
        (["--hardware", "h100sxm"], "h100_sxm"),
    ],
)
def test_wrong_words_are_one_line_and_code_two(
    words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ["--hardware", "h100_sxm", "--model", "meta-llama/Llama-3.1-70B", "--precision", "fp8", "--tp", "4"]
    assert run_command(["replay", *known, *words, "--store", str(tmp_path / "store.sqlite")]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.strip().splitlines()) == 1
