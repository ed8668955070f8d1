"""An audit with something in every chapter, and a browser to open it in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from inferometer.analyzer.audit import Knowledge, build_audit
from inferometer.analyzer.audit_scenarios import replay_audit
from inferometer.analyzer.ledger import Ledger, Training, TrainingRun
from inferometer.analyzer.waste import CacheRule
from inferometer.schema.records import Attempt, Purpose, Status, ToolOffered
from inferometer.testing.workload import Workload

RULE = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "acme documentation, 2026-05-01")
HOSTILE = "<script>window.broken = true</script>" + "x" * 10_000
GENERATED = datetime(2026, 6, 2, 12, 0, tzinfo=UTC)


def busy_workload() -> Workload:
    """Return runs over four days that hold most kinds of waste, outcomes, tags and a hostile name."""
    work = Workload()
    for number in range(24):
        at = number * 14_400.0
        run = work.run(
            at,
            agent="researcher" if number % 3 else "writer",
            success=number % 4 != 0,
            session=f"session-{number // 3}",
            tags={"team": "red" if number % 2 else "blue"} if number % 5 else {},
            purpose=Purpose.EVALUATE if number % 8 == 7 else Purpose.SERVE,
        )
        for turn in range(3 + number % 5 + number // 12):
            start = at + 30 * turn
            call = work.call(
                run,
                start,
                12,
                blocks=range(80 + 10 * turn),
                recorded_cost_usd="0.05" if number == 3 else None,
                inference={"tools_offered": [ToolOffered("read", 200), ToolOffered("never", 900)]},
                input_fresh=64 * (80 + 10 * turn) + 20,
                cache_read=0,
                output=200 + 40 * number,
                reasoning=50,
            )
            if number == 5:
                call.attempts.append(Attempt(429, call.trace_id[0], call.trace_id[0] + 2_000_000_000))
            work.tool(run, start + 12, 6, fingerprint=str(turn // 2), result_tokens=9_000 if turn == 0 else 300)
    small = work.run(5_000, agent="router", tags={"team": "red"})
    work.call(small, 5_000, 1, model="large", input_fresh=900, cache_read=0, output=5)
    work.call(small, 5_002, 1, model="small", input_fresh=900, cache_read=0, output=5)
    work.call(small, 5_004, 1, model="large", status=Status.ERROR, input_fresh=900, cache_read=0, output=5)
    work.call(small, 5_006, 1, model="unlisted", input_fresh=900, output=5)
    work.call(small, 5_008, 1)
    odd = work.run(6_000, agent=HOSTILE)
    work.call(odd, 6_000, 1, agent=HOSTILE, input_fresh=10, cache_read=0, output=5)
    return work


@pytest.fixture(scope="session")
def audit_document() -> dict[str, Any]:
    """The audit of the busy workload, replays and a ratio included."""
    dataset = busy_workload().dataset()
    ledger = Ledger(training=Training(run=(TrainingRun(name="sft", usd=Decimal(500)),)))
    return build_audit(
        dataset,
        Knowledge("2026-05-28", "flat 1", cache_rule=lambda call: RULE, ledger=ledger),
        generated_at=GENERATED,
        replayed=replay_audit(dataset, ledger),
    )
