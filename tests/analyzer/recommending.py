"""Workloads with a saving that is known in closed form, and what is recommended for them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.ledger import Ledger
from inferometer.analyzer.recommend import BestSet, Recommendation, proposals, recommend
from inferometer.analyzer.waste import CacheRule, Examined
from inferometer.schema.records import Composition, Purpose, ToolOffered
from inferometer.testing.workload import Workload

RULE = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "documentation")
STRICT = CacheRule("acme", 4096, 64, 300.0, 3600.0, False, "documentation")
AUTOMATIC = CacheRule("acme", 1024, 64, 300.0, 3600.0, True, "documentation")
M = Decimal(1_000_000)


def examined(work: Workload, rule: CacheRule | None = RULE, ledger: Ledger | None = None) -> Examined:
    return Examined(work.dataset(), lambda call: rule, ledger or Ledger())


def recommended(work: Workload, **more: Any) -> dict[str, Recommendation]:
    return {found.id: found for found in recommend(examined(work, **more))[0]}


def together(work: Workload, **more: Any) -> BestSet:
    return recommend(examined(work, **more))[1]


def applied(work: Workload, id_: str, **more: Any) -> Dataset:
    looked = examined(work, **more)
    proposal = next(found for found in proposals(looked) if found.id == id_)
    return looked.dataset.with_calls(proposal.apply(looked.dataset.calls))


def same_prefix(calls: int = 5, blocks: int = 100, read: int | None = 0, gap_s: float = 10) -> Workload:
    """Return one run that sends the same whole blocks again and again, without a cache."""
    work = Workload()
    run = work.run()
    for turn in range(calls):
        work.call(run, turn * gap_s, 5, blocks=range(blocks), input_fresh=blocks * 64, cache_read=read, output=0)
    return work


def paused(gap_s: float) -> Workload:
    """Return a session that writes 6,400 tokens, pauses, and has to write them again, four times."""
    work = Workload()
    for turn in range(4):
        run = work.run(turn * gap_s, session="s")
        work.call(run, turn * gap_s, 5, input_fresh=0, cache_read=0, cache_write_5m=6400, output=0)
    return work


def with_large_result() -> Workload:
    """Return a run whose tool brings 10,000 tokens that three later calls carry, the first as fresh input."""
    work = Workload()
    run = work.run()
    work.call(run, 0, 5, input_fresh=1000, cache_read=0, output=0)
    work.tool(run, 5, 1, result_tokens=10_000)
    work.call(run, 6, 5, input_fresh=10_000, cache_read=1000, output=0)
    work.call(run, 12, 5, input_fresh=100, cache_read=11_000, output=0)
    work.call(run, 18, 5, input_fresh=100, cache_read=11_100, output=0)
    return work


def looping(repeats: int) -> Workload:
    work = Workload()
    run = work.run()
    for turn in range(repeats):
        work.call(run, turn * 10, 5, input_fresh=1000, cache_read=0, output=0)
        work.tool(run, turn * 10 + 5, 1, fingerprint="same")
    return work


def small_calls() -> Workload:
    work = Workload()
    for number in range(10):
        work.call(work.run(number * 10, success=number < 4), number * 10, 1, input_fresh=1000, cache_read=0, output=10)
    work.call(work.run(200), 200, 1, model="small", input_fresh=5000, cache_read=0, output=500)
    return work


def growing_results(steps: int = 12, each: int = 10_000, *, cached: bool = False) -> Workload:
    """Return a conversation whose tool results pile up."""
    work = Workload()
    run = work.run()
    for turn in range(steps):
        results = turn * each
        composition = Composition(system=1000, tools=0, history=0, tool_results=results, user=0)
        fresh = 1000 + results if not cached or not turn else each
        read = 1000 + results - fresh
        made = {"composition": composition}
        work.call(run, turn * 10, 5, input_fresh=fresh, cache_read=read, output=0, inference=made)
    return work


def without_hashes(*inputs: int, gap_s: float = 10) -> Workload:
    """Return one conversation whose calls say how long they are and nothing of what they hold."""
    work = Workload()
    run = work.run()
    for turn, tokens in enumerate(inputs):
        work.call(run, turn * gap_s, 5, input_fresh=tokens, cache_read=0, output=0)
    return work


def offering_unused() -> Workload:
    """Return two calls that each offer a tool that is called and one that never is, of 700 tokens."""
    work = Workload()
    run = work.run()
    for turn in range(2):
        offered = {"tools_offered": [ToolOffered("read", 300), ToolOffered("never", 700)]}
        work.call(run, turn * 10, 5, input_fresh=2000, cache_read=0, output=0, inference=offered)
        work.tool(run, turn * 10 + 5, 1, name="read", fingerprint=str(turn))
    return work


def lone_evaluations() -> Workload:
    """Return four calls that evaluate, each a run of its own, and one that serves."""
    work = Workload()
    for number in range(4):
        work.call(work.run(number, purpose=Purpose.EVALUATE), number, 1, input_fresh=10_000, cache_read=0, output=0)
    work.call(work.run(9, purpose=Purpose.SERVE), 9, 1, input_fresh=10_000, cache_read=0, output=0)
    return work


def evaluation_in_turns() -> Workload:
    """Return one run that evaluates in three calls, one after the other."""
    work = Workload()
    run = work.run(purpose=Purpose.EVALUATE)
    for turn in range(3):
        work.call(run, turn * 10, 5, input_fresh=10_000, cache_read=0, output=0)
    return work


def unmarked_results(steps: int = 12, each: int = 10_000) -> Workload:
    """Return a conversation whose tool results pile up, and whose calls do not say what their input is made of."""
    work = Workload()
    run = work.run()
    for turn in range(steps):
        work.call(run, turn * 10, 5, input_fresh=1000 + turn * each, cache_read=0, output=0)
        work.tool(run, turn * 10 + 5, 1, result_tokens=each, fingerprint=str(turn))
    return work
