"""Waste: each pass finds what was put there, counts it in tokens and dollars, and names the calls."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferometer.analyzer.ledger import Ledger, Reserved
from inferometer.analyzer.outcomes import outcomes
from inferometer.analyzer.waste import CacheRule, Examined, Finding, waste
from inferometer.analyzer.waste_prefix import reaches, reuse_share, shared_blocks, tokens_of
from inferometer.schema.records import Attempt, Composition, PrefixChain, ServingSample, Status, ToolOffered
from inferometer.testing.workload import EPOCH_NS, Workload, chain

RULE = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "documentation")
M = Decimal(1_000_000)


def found(work: Workload, rule: CacheRule | None = RULE, ledger: Ledger | None = None) -> dict[str, Finding]:
    return {one.id: one for one in waste(Examined(work.dataset(), lambda call: rule, ledger or Ledger()))}


def test_a_prefix_in_reach_is_paid_fresh_only_by_mistake() -> None:
    work = Workload()
    run = work.run()
    for at in (0, 10, 400):
        work.call(run, at, 5, blocks=range(50), input_fresh=3200, cache_read=0, output=0)
    one = found(work)["prefix_resent"]
    # the second call is in reach of the first; the third comes after the time to live
    assert (one.calls, one.tokens, one.cost_usd) == (1, 3200, 3200 * 9 / M)
    assert not one.estimated


def test_a_call_that_began_before_the_first_had_ended_could_not_read_its_cache() -> None:
    work = Workload()
    run = work.run()
    work.call(run, 0, 30, blocks=range(50), input_fresh=3200, cache_read=0, output=0)
    work.call(run, 5, 30, blocks=range(50), input_fresh=3200, cache_read=0, output=0)
    assert "prefix_resent" not in found(work)


def test_short_prefixes_and_unknown_rules_are_no_waste() -> None:
    work = Workload()
    run = work.run()
    for at in (0, 10):
        work.call(run, at, 5, blocks=range(15), input_fresh=960, cache_read=0, output=0)
    assert "prefix_resent" not in found(work)
    assert "prefix_resent" not in found(work, rule=None)


def test_a_changed_beginning_is_found_and_placed() -> None:
    work = Workload()
    run = work.run()
    first = work.call(run, 0, 5, blocks=range(100), input_fresh=6400, cache_read=0, output=0)
    first.composition = Composition(tools=64, system=3000)
    work.call(run, 10, 5, blocks=[0, 1, 2, *range(900, 1010)], input_fresh=7232, cache_read=0, output=0)
    one = found(work)["prefix_broken"]
    assert one.tokens == 97 * 64
    assert "the system prompt changed" in one.evidence[0].note
    assert "after 192 tokens" in one.evidence[0].note


def test_cache_writes_count_until_something_reads_them() -> None:
    work = Workload()
    run = work.run(session="s")
    work.call(run, 0, 1, input_fresh=0, cache_read=0, cache_write_5m=1000, output=0)
    work.call(run, 10, 1, input_fresh=0, cache_read=1000, cache_write_5m=500, output=0)
    work.call(run, 700, 1, input_fresh=0, cache_read=0, cache_write_5m=2000, output=0)
    one = found(work)["cache_write_unread"]
    # the 500 expired before the third call, and nothing came after the 2,000
    assert one.tokens == 2500
    assert one.cost_usd == 2500 * Decimal("2.5") / M


def test_loops_of_one_and_of_two_are_told_apart() -> None:
    work = Workload()
    run = work.run()
    for turn, mark in enumerate("aababab"):
        work.call(run, turn * 10, 5, input_fresh=1000, output=0)
        work.tool(run, turn * 10 + 5, 1, name="run", fingerprint=mark)
    ids = found(work)
    assert ids["loop_exact"].calls == 1
    assert ids["loop_alternating"].calls == 3
    assert ids["loop_exact"].cost_usd == 1000 * 10 / M


def test_failed_calls_and_retries_are_separate() -> None:
    work = Workload()
    run = work.run()
    work.call(run, status=Status.ERROR, input_fresh=1000, output=0)
    work.call(run, inference={"finish_reason": "aborted"}, input_fresh=1000, output=0)
    work.call(
        run, inference={"attempts": [Attempt(429, 0, 2_000_000_000), Attempt(200, 0, 1)]}, input_fresh=1000, output=0
    )
    ids = found(work)
    assert (ids["failed_calls"].calls, ids["failed_calls"].cost_usd) == (2, 2000 * 10 / M)
    assert (ids["retries"].calls, ids["retries"].duration_ns, ids["retries"].cost_usd) == (1, 2_000_000_000, None)


def test_a_large_result_costs_each_call_that_carries_it() -> None:
    work = Workload()
    run = work.run()
    work.call(run, 0, 5, input_fresh=100, cache_read=0, output=0)
    work.tool(run, 5, 1, name="dump", result_tokens=9000)
    work.call(run, 6, 5, input_fresh=9000, cache_read=100, output=0)
    work.call(run, 12, 5, input_fresh=0, cache_read=9100, output=0)
    one = found(work)["oversized_tool_result"]
    assert one.tokens == 18_000
    assert one.cost_usd == (9000 * 10 + 9000) / M


def test_a_context_that_was_cleared_carries_a_result_no_more() -> None:
    work = Workload()
    run = work.run()
    work.call(run, 0, 5, input_fresh=100, cache_read=0, output=0)
    work.tool(run, 5, 1, result_tokens=9000)
    work.call(run, 6, 5, input_fresh=9000, cache_read=100, output=0)
    work.call(run, 12, 5, input_fresh=500, cache_read=0, output=0)
    assert found(work)["oversized_tool_result"].tokens == 9000


def test_schemas_of_tools_never_called_weigh_on_every_call() -> None:
    work = Workload()
    run = work.run()
    offered = {"tools_offered": [ToolOffered("used", 100), ToolOffered("unused", 400), ToolOffered("unknown", None)]}
    work.call(run, input_fresh=1000, cache_read=0, output=0, inference=offered)
    work.tool(run, name="used")
    one = found(work)["unused_tool_schema"]
    assert (one.tokens, one.cost_usd) == (400, 400 * 10 / M)


def test_reasoning_beyond_ten_times_the_answer_is_out_of_proportion() -> None:
    work = Workload()
    work.call(work.run(), input_fresh=0, output=5100, reasoning=5000)
    one = found(work)["reasoning"]
    assert one.tokens == 4000
    assert one.cost_usd == 4000 * 50 / M
    modest = Workload()
    modest.call(modest.run(), input_fresh=0, output=1000, reasoning=900)
    assert "reasoning" not in found(modest)


def test_runs_that_failed_are_found_by_outcome_else_by_status() -> None:
    work = Workload()
    work.call(work.run(success=False), input_fresh=1000, output=0)
    work.call(work.run(success=True, status=Status.ERROR), input_fresh=1000, output=0)
    work.call(work.run(status=Status.ERROR), input_fresh=1000, output=0)
    assert found(work)["failed_runs"].calls == 2


def test_idle_hardware_is_told_from_measured_samples_alone() -> None:
    work = Workload()
    for day in (0, 1):
        work.call(work.run(day * 86_400), day * 86_400, 0, input_fresh=1, output=1)
    ledger = Ledger(reserved=(Reserved(hardware="h100_sxm", gpus=2, usd_per_gpu_hour=Decimal(3)),))
    assert "idle_reserved" not in found(work, ledger=ledger)
    dataset = work.dataset()
    dataset.serving_samples = [
        ServingSample(EPOCH_NS, "DCGM_FI_PROF_SM_ACTIVE", 0.2),
        ServingSample(EPOCH_NS, "DCGM_FI_DEV_GPU_UTIL", 40),
    ]
    one = next(one for one in waste(Examined(dataset, ledger=ledger)) if one.id == "idle_reserved")
    assert one.cost_usd == pytest.approx(Decimal(24 * 2 * 3) * Decimal("0.7"))


def test_time_before_the_engine_is_counted_and_has_no_price() -> None:
    work = Workload()
    work.call(work.run(), input_fresh=1, output=1, inference={"queue_ns": 5_000_000_000})
    work.call(work.run(), input_fresh=1, output=1, inference={"ttft_ns": 900_000_000, "prefill_ns": 400_000_000})
    one = found(work)["waiting"]
    assert (one.duration_ns, one.cost_usd) == (5_500_000_000, None)


def test_unpriced_waste_has_no_dollars_and_not_zero() -> None:
    work = Workload()
    work.call(work.run(), model="unlisted", status=Status.ERROR, input_fresh=1000, output=0)
    one = found(work)["failed_calls"]
    assert one.cost_usd is None
    assert one.tokens == 1000


def test_evidence_is_ranked_by_cost_and_bounded() -> None:
    work = Workload()
    for number in range(60):
        work.call(work.run(), status=Status.ERROR, input_fresh=100 + number, output=0)
    shown = found(work)["failed_calls"].as_dict()["evidence"]
    assert len(shown) == 50
    assert [item["tokens"] for item in shown[:2]] == [159, 158]


def test_reuse_counts_each_block_after_its_first_time() -> None:
    work = Workload()
    run = work.run()
    work.call(run, 0, 1, blocks=[1, 2, 3, 4], input_fresh=256, output=0)
    work.call(run, 2, 1, blocks=[1, 2, 3, 9], input_fresh=256, output=0)
    work.call(run, 4, 1, blocks=[1, 2, 3, 9, 5], input_fresh=320, output=0)
    assert reuse_share(work.dataset().calls) == pytest.approx((192 + 256) / 832)


def test_reach_tells_seen_alive_recurring_and_read_later_apart() -> None:
    work = Workload()
    run = work.run()
    work.call(run, 0, 1, blocks=[1, 2], input_fresh=128, output=0)
    work.call(run, 10, 1, blocks=[1, 2, 3], input_fresh=192, output=0)
    work.call(run, 9000, 1, blocks=[1, 2, 3, 4], input_fresh=256, output=0)
    dataset = work.dataset()
    first, second, third = (reaches(dataset.calls, 300_000_000_000)[call.key] for call in dataset.calls)
    assert (first.seen, first.alive, first.recurring, first.read_later) == (0, 0, 2, 2)
    assert (second.seen, second.alive, second.recurring, second.read_later) == (2, 2, 3, 0)
    assert (third.seen, third.alive, third.recurring, third.read_later) == (3, 0, 3, 0)


def test_the_models_own_count_scales_a_chain() -> None:
    work = Workload()
    run = work.run()
    work.call(run, blocks=range(10), input_fresh=1050, output=0)
    call = work.dataset().calls[0]
    assert tokens_of(call, 10) == 1000
    assert tokens_of(call, 0) == 0


def test_chains_of_different_keys_are_never_compared() -> None:
    work = Workload()
    run = work.run()
    work.call(run, blocks=range(10), input_fresh=640, output=0)
    other = work.call(run, blocks=range(10), input_fresh=640, output=0)
    assert other.prefix is not None
    other.prefix.key_id = "someone else's"
    one, two = work.dataset().calls
    assert shared_blocks(one, two) is None
    assert reuse_share([one, two]) == 0


def test_shared_blocks_is_the_length_of_the_common_beginning() -> None:
    work = Workload()
    run = work.run()
    work.call(run, 0, blocks=[1, 2, 3, 4, 5], input_fresh=320, output=0)
    work.call(run, 1, blocks=[1, 2, 3, 7, 8, 9], input_fresh=384, output=0)
    assert shared_blocks(*work.dataset().calls) == 3
    assert chain([1]).hashes != chain([2]).hashes


def test_cost_of_a_success_carries_the_failures() -> None:
    work = Workload()
    for number in range(4):
        work.call(work.run(success=number == 0), input_fresh=1_000_000, output=0)
    work.call(work.run(), input_fresh=1_000_000, output=0)
    result = outcomes(work.dataset())
    assert (result["runs"], result["known"], result["succeeded"]) == (5, 4, 1)
    assert result["cost_usd_per_success"] == 40
    assert result["cost_usd_of_failed"] == 30
    assert outcomes(Workload().dataset())["cost_usd_per_success"] is None


def test_small_local_block_ids_stay_apart_among_many_calls() -> None:
    work = Workload()
    run = work.run()
    for number in range(600):
        call = work.call(run, number, 1, input_fresh=128, output=0)
        ids = b"".join((2 * number + place + 1).to_bytes(8, "little") for place in range(2))
        call.prefix = PrefixChain(key_id="weka:a", vocabulary="local", block_tokens=64, hashes=ids)
    assert reuse_share(work.dataset().calls) == 0
