"""The audit over real sessions and spans: totals that equal cost, and the traps that are known to lie in them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferometer.analyzer.accounting import account
from inferometer.analyzer.audit import build_audit
from inferometer.analyzer.audit_dataset import load_dataset
from inferometer.analyzer.audit_knowledge import knowledge_of
from inferometer.analyzer.ledger import Ledger
from inferometer.ingest.importing import import_paths
from inferometer.profiles.prices import load_prices
from inferometer.schema.selection import Selection
from inferometer.store import open_store

Audited = Callable[..., dict[str, Any]]


@pytest.fixture
def audited(shared: Path, tmp_path: Path) -> Audited:
    """Import folders of the real data and audit them; the document's totals are held to `account`'s on the way."""

    def audit(*folders: str, **options: Any) -> dict[str, Any]:
        prices = load_prices()
        with open_store(str(tmp_path / "t.db")) as store:
            import_paths(store, [shared / "data" / folder for folder in folders], **options)
            dataset = load_dataset(store, Selection(), prices)
            document = build_audit(
                dataset, knowledge_of(prices, Ledger()), generated_at=datetime(2026, 11, 23, tzinfo=UTC)
            )
            for by in ("model", "agent"):
                cost = account(store, Selection(), by, prices)
                assert document["totals"] == cost.total.as_dict()
                assert sum(group["inferences"] for group in document["groups"][by]) == cost.total.inferences
        return document

    return audit


def test_a_recorded_session_costs_what_it_says(audited: Audited) -> None:
    document = audited("sessions/pi-mono")
    assert document["totals"]["inferences"] == 453
    assert round(Decimal(document["totals"]["cost_usd"]), 6) == Decimal("30.330198")
    assert document["price_findings"] == []
    assert {found["id"] for found in document["waste"]} >= {"failed_calls"}


def test_double_instrumentation_and_missing_usage_are_named(audited: Audited) -> None:
    document = audited("spans/agent-prism", "spans/monocle")
    named = {found["id"]: found for found in document["data_findings"]}
    assert named["seen_twice"]["calls"] > 0
    assert named["usage_missing"]["calls"] == document["coverage"]["absent"] >= 3


def test_recorded_costs_that_the_list_does_not_explain_are_named(audited: Audited) -> None:
    document = audited("spans/langfuse", "sessions/tapeagents")
    assert document["price_findings"]
    for found in document["price_findings"]:
        assert found["reason"]
        assert found["recorded_usd"] != found["list_usd"]
        assert found["evidence"]


def test_cost_of_a_success_is_total_over_84(audited: Audited) -> None:
    document = audited("sessions/tau-bench", model="gpt-4o")
    outcomes = document["outcomes"]
    assert (outcomes["runs"], outcomes["known"], outcomes["succeeded"]) == (200, 200, 84)
    assert outcomes["cost_usd_per_success"] == Decimal(document["totals"]["cost_usd"]) / 84


def resent_share(folder: Path) -> float:
    """Recount from Weka files the share of input whose blocks the same model had been sent in the same session."""
    again = total = 0
    for path in folder.glob("*.json"):
        document = json.loads(path.read_bytes())
        seen: dict[str, set[int]] = defaultdict(set)
        waiting = list(reversed(document["requests"]))
        while waiting:
            request = waiting.pop()
            if "requests" in request:
                waiting.extend(reversed(request["requests"]))
                continue
            known = seen[request["model"]]
            again += 64 * sum(block in known for block in request["hash_ids"])
            total += request["in"]
            known.update(request["hash_ids"])
    return again / total


def test_sessions_without_cache_counts_get_an_estimate_and_not_a_claim(audited: Audited, shared: Path) -> None:
    document = audited("sessions/kv-cache-tester")
    advised = {found["id"]: found for found in document["recommendations"]}
    caching = advised["prompt_caching"]
    assert caching["confidence"] == "estimated"
    assert caching["saving_usd"]["low"] == 0 < caching["saving_usd"]["mid"]
    assert document["prefix"]["cache_read_share"] is None
    assert document["prefix"]["reuse_share"] == pytest.approx(resent_share(shared / "data/sessions/kv-cache-tester"))
    assert document["bridge"] == []
    assert document["window"]["days"] is None
    assert document["ratio"]["billed_usd"]["inference_per_day"] is None
