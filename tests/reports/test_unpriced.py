"""Calls without a price: null or a marked lower bound with their number, never a zero."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from inferometer.analyzer.audit import Knowledge, build_audit
from inferometer.reports.document import document_text
from inferometer.reports.html import render_audit
from inferometer.reports.numbers import GAP
from inferometer.testing.workload import Workload

GENERATED = datetime(2026, 6, 2, 12, 0, tzinfo=UTC)
WEIGHT = 3


def audited(*models: str, weight: float | None = None) -> dict[str, Any]:
    """Return the audit of twelve runs with one call to each model."""
    work = Workload()
    for number in range(12):
        at = number * 40_000.0
        run = work.run(
            at,
            agent="writer" if number % 2 else "planner",
            success=number % 2 == 0,
            tags={"team": "red"} if number % 3 else {},
            session=f"session-{number // 3}",
            weight=weight,
        )
        for turn, model in enumerate(models):
            work.call(run, at + turn * 20, 5, model=model, input_fresh=5000, cache_read=0, output=100)
    document = build_audit(work.dataset(), Knowledge("2026-05-28", "flat 1"), generated_at=GENERATED)
    found: dict[str, Any] = json.loads(document_text(document))
    return found


def spendings(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every place of the document that holds the cost of a set of calls, with its name."""
    fan = document["fanout"]
    rows = {
        "by_day": document["by_day"],
        "by_meter": document["by_meter"],
        "runs": document["runs"],
        "agents": fan["by_agent"],
        "fan-out by day": fan["by_day"],
        "tags": [value for tag in document["allocation"] for value in tag["values"]],
        "purposes": [row for row in document["ratio"]["by_purpose"].values() if row["inferences"]],
        "groups": [*document["groups"]["model"], *document["groups"]["agent"]],
        "costliest run": [document["costliest_run"]],
        "rates": [document["ratio"]["rests_on"]],
    }
    for name, found in rows.items():
        assert found, name
        yield from ((name, row) for row in found)


def words(page: str) -> list[str]:
    """Return the texts of a page without scripts and styles."""
    found: list[str] = []

    class Words(HTMLParser):
        silent = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.silent += tag in {"script", "style"}

        def handle_endtag(self, tag: str) -> None:
            self.silent -= tag in {"script", "style"}

        def handle_data(self, data: str) -> None:
            if data.strip() and not self.silent:
                found.append(" ".join(data.split(" ")).strip())

    Words().feed(page)
    return found


def test_an_unpriced_store_says_null_with_the_number_of_calls(repository: Path) -> None:
    document = audited("unlisted")
    for name, row in spendings(document):
        assert row["cost_usd"] is None, name
        assert row["unpriced"] > 0, name
    assert document["fanout"]["cost_usd_per_run"]["p50"] is None
    assert document["fanout"]["unpriced_runs"] == 12
    assert document["outcomes"]["cost_usd_per_success"] is None
    assert document["outcomes"]["unpriced_runs"] == 12
    assert document["allocation"][0]["untagged_usd"] is None
    assert document["best_set"]["remaining_usd"] is None
    schema = json.loads((repository / "docs" / "schemas" / "audit.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)


def test_an_unpriced_page_shows_no_zero_dollars_and_no_chart_of_them() -> None:
    document = audited("unlisted")
    document["outcomes"] |= {"known": 0}  # nothing was spent on the failed runs of an agent that had none
    page = render_audit(document)
    assert not [text for text in words(page) if "$0" in text]
    assert "not priced" in words(page)
    for chart in ("cost-over-time", "fanout-cost-usd", "bill-bridge", "savings"):
        assert f'data-chart="{chart}"' not in page


@pytest.mark.parametrize("weight", [None, float(WEIGHT)])
def test_a_partly_priced_store_marks_lower_bounds_with_the_number_left_out(weight: float | None) -> None:
    document = audited("large", "unlisted", weight=weight)
    times = WEIGHT if weight else 1
    whole = float(audited("large", weight=weight)["totals"]["cost_usd"])
    for name, row in spendings(document):
        assert row["unpriced"] > 0 or (name, row["key" if "key" in row else "model"]) in {
            ("groups", "large"),
            ("by_day", "large"),
        }, name
    assert sum(float(row["cost_usd"]) for row in document["by_meter"]) == pytest.approx(whole)
    assert [row["unpriced"] for row in document["by_meter"]] == [12 * times] * 2
    assert [row["priced_tokens"] * 2 for row in document["by_meter"]] == [row["tokens"] for row in document["by_meter"]]
    assert document["fanout"]["partly_priced_runs"] == 12 * times
    assert sum(row["unpriced"] for row in document["fanout"]["by_agent"]) == 12 * times
    assert document["totals"]["unpriced"] == 12 * times


def test_a_partly_priced_page_marks_what_it_adds_up() -> None:
    page = render_audit(audited("large", "unlisted"))
    total = f"≥{GAP}$0.660"
    assert words(page).count(total) >= 4  # spend, totals by model and by agent, the rates' base
    assert any(text.startswith("24 model calls in 12 runs cost at least $0.660") for text in words(page))


def test_a_wholly_priced_page_marks_nothing() -> None:
    page = render_audit(audited("large"))
    assert not [text for text in words(page) if "≥" in text and "marked ≥" not in text]
    assert "No price" not in words(page)


def test_a_page_marks_tokens_that_some_calls_do_not_state() -> None:
    work = Workload()
    for tokens in ({"input_fresh": 4000, "cache_read": 2000, "output": 100}, {"input_fresh": 4000}):
        work.call(work.run(), **tokens)
    document = json.loads(document_text(build_audit(work.dataset(), Knowledge(), generated_at=GENERATED)))
    assert document["totals"]["meters_open"]["output"] == document["totals"]["partial"] == 1
    assert {row["meter"]: row["open"] for row in document["by_meter"]} == {
        "input_fresh": 0,
        "cache_read": 1,
        "output": 1,
    }
    shown = words(render_audit(document))
    assert f"≥{GAP}2.0{GAP}k" in shown  # cache reads by model and by kind of token
    assert shown.count(f"≥{GAP}100") == 3  # output by model, by agent, by kind of token
    # 8,000 at $10, 2,000 at $1 and 100 at $50 a million; of the second call's input, some may have come from a cache
    assert f"≈{GAP}$0.087" in shown
    assert shown.count(f"≤{GAP}8.0{GAP}k") == 3
    assert f"≈{GAP}$0.080" in shown
    assert any(text.startswith("2 model calls in 2 runs cost about $0.087") for text in shown)
    assert "1 of 2 calls do not say how much of their input came from a cache: all of it is priced as fresh." in shown
    assert any("1 call says only a part of what was used" in text for text in shown)


def test_a_success_costs_what_priced_runs_cost() -> None:
    work = Workload()
    for success, model in ((True, "large"), (False, "large"), (True, "unlisted")):
        work.call(work.run(success=success), model=model, input_fresh=1_000_000, output=0)
    outcomes = build_audit(work.dataset(), Knowledge(), generated_at=GENERATED)["outcomes"]
    assert (outcomes["known"], outcomes["succeeded"], outcomes["unpriced_runs"]) == (3, 2, 1)
    assert outcomes["cost_usd_per_success"] == 20  # two priced runs of ten dollars over the one of them that succeeded
    assert outcomes["cost_usd_of_failed"] == 10
