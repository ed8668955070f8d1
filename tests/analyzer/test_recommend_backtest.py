"""Promises about later sessions: their interval holds as often as it says."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from inferometer.analyzer.costed_call import CostedCall
from inferometer.analyzer.recommend_backtest import Z80, backtest, later_spread, session_halves
from inferometer.analyzer.waste import CacheRule, Examined
from inferometer.testing.workload import Workload

RULE = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "documentation")


def sessions(count: int, tokens: int = 1_000) -> list[CostedCall]:
    work = Workload()
    for number in range(count):
        work.call(work.run(number * 10), number * 10, 5, input_fresh=tokens, cache_read=0, output=0)
    return work.dataset().calls


def saving(calls: list[CostedCall], shares: list[float]) -> list[CostedCall]:
    return [
        call.with_extra(-Decimal(repr(share)) * call.weighted_cost_usd)
        for call, share in zip(calls, shares, strict=True)
    ]


def test_the_spread_of_two_sessions_is_known() -> None:
    calls = sessions(2)
    # a share of a half that each session misses by half its bill
    assert later_spread(calls, saving(calls, [0.0, 1.0])) == pytest.approx(2**0.5 / 2)
    assert later_spread(calls, saving(calls, [0.4, 0.4])) == pytest.approx(0)


def test_one_session_tells_nothing_of_others() -> None:
    calls = sessions(1)
    assert later_spread(calls, saving(calls, [0.4])) == 1.0


def test_eight_of_ten_later_halves_lie_within_the_spread() -> None:
    rnd = random.Random(7)
    calls = sessions(80)
    held = 0
    for _ in range(400):
        shares = [rnd.betavariate(2, 3) for _ in calls]
        spread = Z80 * later_spread(calls[:40], saving(calls[:40], shares[:40]))
        held += abs(sum(shares[:40]) - sum(shares[40:])) / 40 <= spread
    assert 0.74 <= held / 400 <= 0.86


def test_what_the_first_half_promises_is_scored_on_the_second() -> None:
    work = Workload()
    for number in range(12):
        run = work.run(number * 10_000)
        for turn in range(3 + number % 3):
            at_s = number * 10_000 + turn * 10
            blocks = range(1000 * number, 1000 * number + 100)
            work.call(run, at_s, 5, blocks=blocks, input_fresh=6400, cache_read=0, output=0)
    examined = Examined(work.dataset(), lambda call: RULE)
    first, second = session_halves(examined.dataset)
    assert len(first.runs) == len(second.runs) == 6
    assert {run.run_id for half in (first, second) for run in half.runs} == {
        run.run_id for run in examined.dataset.runs
    }
    (found,) = backtest(examined)
    # of n calls one writes at 1.25 and the others read at 0.1 of the price; both halves hold as many of each length
    share = sum(n - 1.25 - 0.1 * (n - 1) for n in (3, 4, 5)) / 12
    assert found.promised_mid == pytest.approx(share)
    assert found.realised == pytest.approx(share)
    assert found.promised_low < found.promised_mid < found.promised_high
    assert found.holds
