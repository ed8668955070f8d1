"""Listings: every call behind a figure of an audit, adding up to it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from inferometer.analyzer.audit import Knowledge
from inferometer.analyzer.audit_listing import list_calls
from inferometer.analyzer.audit_quality import data_findings, price_findings
from inferometer.analyzer.recommend import recommend
from inferometer.analyzer.waste import EVIDENCE_LIMIT, CacheRule, Examined, waste
from inferometer.schema.errors import UnknownNameError
from inferometer.schema.records import Status
from inferometer.testing.workload import Workload

RULE = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "acme documentation, 2026-05-01")
KNOWLEDGE = Knowledge(cache_rule=lambda call: RULE)


def work(weight: float | None = None) -> Workload:
    """Return 80 calls that send their context again, of which 60 fail, and 70 without a price."""
    made = Workload()
    for number in range(10):
        run = made.run(number * 1000.0, weight=weight)
        for turn in range(8):
            at = number * 1000.0 + 20 * turn
            status = Status.ERROR if turn < 6 else Status.UNSET
            made.call(
                run,
                at,
                5,
                blocks=range(40 + turn),
                status=status,
                recorded_cost_usd="0.5",
                input_fresh=64 * 40,
                output=5,
            )
        for turn in range(7):
            made.call(run, number * 1000.0 + 300 + turn, 1, model="unlisted", input_fresh=5, output=1)
    return made


def sum_usd(calls: list[dict[str, Any]]) -> Decimal:
    return sum(
        (call["cost_usd"] * Decimal(repr(call["weight"])) for call in calls if call["cost_usd"] is not None), Decimal(0)
    )


@pytest.mark.parametrize("weight", [None, 5.0])
def test_waste_is_listed_whole_and_adds_up_to_the_finding(weight: float | None) -> None:
    dataset = work(weight).dataset()
    found = waste(Examined(dataset, KNOWLEDGE.cache_rule))
    assert {"prefix_resent", "failed_calls"} <= {finding.id for finding in found}
    for finding in found:
        listed = list_calls(dataset, KNOWLEDGE, f"waste-{finding.id}")
        assert len(finding.as_dict()["evidence"]) == min(EVIDENCE_LIMIT, len(listed.calls))
        assert round(sum(call["weight"] for call in listed.calls)) == finding.calls
        assert sum_usd(listed.calls) == finding.cost_usd
    assert len(list_calls(dataset, KNOWLEDGE, "waste-failed_calls").calls) == 60


def test_a_recommendation_is_listed_whole_and_adds_up_to_its_saving() -> None:
    dataset = work().dataset()
    found, _ = recommend(Examined(dataset, KNOWLEDGE.cache_rule))
    caching = next(one for one in found if one.id == "prompt_caching")
    listed = list_calls(dataset, KNOWLEDGE, "action-prompt_caching")
    assert len(listed.calls) == caching.calls > EVIDENCE_LIMIT
    assert sum_usd(listed.calls) == caching.saving_usd.mid


def test_calls_prices_and_the_record_are_listed_whole() -> None:
    dataset = work().dataset()
    assert len(list_calls(dataset, KNOWLEDGE, "calls").calls) == 150
    unpriced = next(found for found in data_findings(dataset) if found["id"] == "unpriced")
    assert len(list_calls(dataset, KNOWLEDGE, "data-unpriced").calls) == unpriced["calls"] == 70
    differing = sum(found["calls"] for found in price_findings(dataset))
    assert len(list_calls(dataset, KNOWLEDGE, "prices").calls) == differing == 80


def test_an_unknown_figure_names_those_nearest() -> None:
    with pytest.raises(UnknownNameError, match="waste-failed_calls"):
        list_calls(work().dataset(), KNOWLEDGE, "waste-failed_call")
    with pytest.raises(UnknownNameError, match="data-unpriced"):
        list_calls(work().dataset(), KNOWLEDGE, "unpriced")
