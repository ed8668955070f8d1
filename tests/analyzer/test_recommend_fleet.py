"""Two kinds of machine for two lengths of session."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferometer.analyzer import recommend_fleet
from inferometer.analyzer.audit_scenarios import replay_audit
from inferometer.analyzer.costed_call import CostedCall
from inferometer.analyzer.ledger import Ledger
from inferometer.analyzer.recommend_fleet import Pair, cheapest_pair, halves_by_length
from inferometer.testing.workload import Workload

OPEN = "meta-llama/Llama-3.1-70B"


def usd(**costs: int) -> dict[str, Decimal]:
    return {name: Decimal(cost) for name, cost in costs.items()}


def two_lengths(long: int = 8000) -> Workload:
    work = Workload()
    for number in range(8):
        run = work.run(number * 20)
        tokens = 500 if number % 2 else long
        for turn in range(2):
            at_s = number * 20 + turn * 15
            work.call(run, at_s, 10, model=OPEN, provider="vllm", input_fresh=tokens, cache_read=0, output=100)
    return work


def test_two_machines_are_chosen_where_each_is_cheapest_for_its_half() -> None:
    assert cheapest_pair(usd(a=1, b=4), usd(a=9, b=5), usd(a=10, b=9)) == Pair("a", "b", Decimal(6))


def test_one_machine_is_kept_where_it_is_cheapest_for_both_or_batches_all_for_as_little() -> None:
    assert cheapest_pair(usd(a=1, b=4), usd(a=4, b=5), usd(a=10, b=9)) is None
    assert cheapest_pair(usd(a=1, b=4), usd(a=9, b=5), usd(a=6, b=9)) is None
    assert cheapest_pair({}, usd(a=9), usd(a=6)) is None


def test_sessions_part_at_the_median_and_stay_whole() -> None:
    parts = halves_by_length(two_lengths().dataset().calls)
    assert parts is not None
    short, long, limit = parts
    assert limit == 500
    assert {call.input_tokens for call in short} == {500}
    assert {call.input_tokens for call in long} == {8000}
    assert not {call.placement.run_id for call in short} & {call.placement.run_id for call in long}
    assert halves_by_length(two_lengths(500).dataset().calls) is None
    assert halves_by_length([]) is None


def test_the_saving_is_the_baseline_less_both_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The halves' costs are given, so that which machines win does not hang on this month's prices."""
    data = two_lengths().dataset()
    plain = {
        row["scenario"]["hardware"]: row for row in replay_audit(data, Ledger()).scenarios if row["kind"] == "hardware"
    }
    base = Decimal(plain["h100_sxm"]["cost_usd_by_basis"]["shared"])

    def costs(calls: list[CostedCall], names: list[str], results: object) -> dict[str, Decimal]:
        first = calls[0].input_tokens == 500
        return {names[0]: base / (100 if first else 2), names[1]: base / (2 if first else 100)}

    monkeypatch.setattr(recommend_fleet, "_costs", costs)
    found = {one.id: one for one in replay_audit(data, Ledger()).recommendations}["mixed_fleet"]
    assert float(found.saving_usd.mid) == pytest.approx(float(base) * 0.98, abs=2e-6)
    assert found.details["limit_tokens"] == 500
    assert found.details["short"] != found.details["long"]


def test_sessions_of_one_length_get_no_second_machine() -> None:
    found = replay_audit(two_lengths(500).dataset(), Ledger())
    assert "mixed_fleet" not in {one.id for one in found.recommendations}
