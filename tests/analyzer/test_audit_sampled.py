"""Sampled traces: what an audit adds up stands for as many calls as their weight says, what it divides stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from inferometer.analyzer.audit import Knowledge, build_audit
from inferometer.analyzer.waste import CacheRule
from inferometer.reports.document import document_text
from inferometer.schema.records import Status
from inferometer.testing.workload import Workload

WEIGHT = 4.0
RULE = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "acme documentation, 2026-05-01")
ADDED_UP = (
    *("totals", "groups", "by_day", "by_meter", "allocation", "outcomes", "waste", "spend", "bridge", "best_set"),
    *("recommendations", "ratio", "fanout"),
)
DIVIDED = ("per_success", "per_run", "per_session", "share", "depth", "width", "amplification", "resend")
PER_RECORD = (
    "observed",
    "critical_path_runs",
    "period_days",
    "horizon",
    "sampled_calls",
    "details",
    "by_session",
    "evidence",
)


def audited(weight: float | None) -> dict[str, Any]:
    work = Workload()
    for number in range(8):
        at = number * 40_000.0
        tags = {"team": "red"} if number % 3 else {}
        run = work.run(at, agent="ab"[number % 2], success=number % 2 == 0, tags=tags, weight=weight)
        for turn in range(4):
            start = at + turn * 20
            model, status = ("unlisted", Status.ERROR) if turn == 3 else ("large", Status.UNSET)
            work.call(
                run, start, 5, model=model, status=status, blocks=range(80 + turn), input_fresh=64 * 80, cache_read=0,
                output=100,
            )  # fmt: skip
            work.tool(run, start + 6, fingerprint="same", result_tokens=9_000)
    document = build_audit(
        work.dataset(), Knowledge(cache_rule=lambda call: RULE), generated_at=datetime(2026, 6, 2, tzinfo=UTC)
    )
    found: dict[str, Any] = json.loads(document_text(document))
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    elif not isinstance(value, bool):
        try:
            yield path, float(value)
        except (TypeError, ValueError):
            return


def test_sums_are_weighted_and_ratios_are_not() -> None:
    whole = dict(leaves({key: audited(None)[key] for key in ADDED_UP}))
    sampled = dict(leaves({key: audited(WEIGHT)[key] for key in ADDED_UP}))
    checked = 0
    for path, value in whole.items():
        if value == 0 or any(word in path for word in PER_RECORD) or path.startswith(".totals.interval"):
            continue
        times = 1.0 if any(word in path for word in DIVIDED) else WEIGHT
        assert sampled[path] == pytest.approx(value * times, rel=1e-4), path
        checked += times == WEIGHT
    assert checked > 80
