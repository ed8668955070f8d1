"""Budgets and comparisons of audits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferometer.analyzer.audit import Knowledge, build_audit
from inferometer.analyzer.audit_diff import diff
from inferometer.analyzer.budget import FIGURES, check, load_audit, load_budget
from inferometer.reports.diff_text import diff_markdown, print_diff
from inferometer.reports.document import document_text
from inferometer.schema.errors import InputError, ProfileError
from inferometer.testing.workload import Workload


def audit(calls: int, tokens: int = 100_000, runs: int = 2) -> dict[str, Any]:
    work = Workload()
    for number in range(runs):
        run = work.run(number * 60, success=True)
        for turn in range(calls):
            work.call(run, number * 60 + turn, 1, input_fresh=tokens, cache_read=0, output=0)
    document = build_audit(work.dataset(), Knowledge(), generated_at=datetime(2026, 6, 1, tzinfo=UTC))
    plain: dict[str, Any] = json.loads(document_text(document))
    return plain


def budget(text: str, folder: Path) -> Path:
    path = folder / "budget.toml"
    path.write_text(text)
    return path


def test_a_limit_that_holds_and_one_that_breaks(tmp_path: Path) -> None:
    limits = load_budget(budget("[limits]\ncost_usd_per_run_p99_max = 2.5\ninferences_per_run_p50_max = 5\n", tmp_path))
    over, within = check(limits, audit(3), None)
    assert over.ok is False
    assert over.message == "cost of a run, 99th percentile is $3.00, against a budget of at most $2.50 (20% over)"
    assert over.limit.figure.command == "inferometer runs --sort cost"
    assert within.ok is True


def test_regressions_are_measured_against_the_baseline(tmp_path: Path) -> None:
    limits = load_budget(budget("[regression]\ncost_usd_pct = 10\ncache_read_share_pct = 1\n", tmp_path))
    grown, unknown = check(limits, audit(3), audit(2))
    assert grown.ok is False
    assert "+50.0 %" in grown.message
    assert unknown.ok is None
    same, _ = check(limits, audit(2), audit(2))
    assert same.ok is True
    alone, _ = check(limits, audit(2), None)
    assert "no --baseline" in alone.message


def test_lower_bounds_break_from_below(tmp_path: Path) -> None:
    limits = load_budget(budget("[limits]\ncache_read_share_min = 0.5\n", tmp_path))
    (verdict,) = check(limits, audit(1), None)
    assert verdict.ok is False
    assert "at least 50.0%" in verdict.message


def test_an_unknown_figure_is_neither_kept_nor_broken(tmp_path: Path) -> None:
    limits = load_budget(budget("[limits]\nratio_max = 3\n", tmp_path))
    (verdict,) = check(limits, audit(1), None)
    assert verdict.ok is None
    assert "unknown" in verdict.message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[limits]\ncost_usd_per_run_p9_max = 1\n", "nearest known: cost_usd_per_run_p9"),
        ("[limits]\ncost_usd_pct = 1\n", "unknown key limits.cost_usd_pct"),
        ("[limit]\n", "unknown key 'limit'"),
        ("[limits]\ncost_usd_max = 'much'\n", "not a number"),
        ("[limits]\ncost_usd_max = -1\n", "not a number"),
        ("", "limits nothing"),
        ("limits = 3\n", "write [limits]"),
        ("[limits]\ncost_usd_max = inf\n", "is inf, not a number"),
        ("[limits]\ncost_usd_max = nan\n", "is nan, not a number"),
        ("[limits]\ncost_usd_max = 1e400\n", "is inf, not a number"),
        ("[limits\n", "is not TOML"),
    ],
)
def test_a_broken_budget_is_refused_with_what_is_known(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        load_budget(budget(text, tmp_path))
    assert complaint in str(caught.value)


def test_what_is_no_audit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("{}", "[]", "{", "[" * 100_000, "9" * 5_000):
        path.write_text(text)
        with pytest.raises(InputError):
            load_audit(path)
    with pytest.raises(InputError, match="No such file"):
        load_audit(tmp_path / "none.json")


def test_a_comparison_bridges_the_two_bills_exactly() -> None:
    found = diff(audit(2), audit(3, tokens=50_000, runs=3))
    amounts = [Decimal(step["amount_usd"]) for step in found["bridge"]]
    assert sum(amounts[:-1]) == amounts[-1] == Decimal("4.5")
    steps = {step["step"]: step["amount_usd"] for step in found["bridge"]}
    assert steps["tokens_per_call"] < 0 < steps["runs"]


def test_a_comparison_reads_well_in_a_pull_request(capsys: pytest.CaptureFixture[str]) -> None:
    found = diff(audit(2), audit(3))
    text = diff_markdown(found)
    assert "$4.00 for 2 runs became $6.00 for 2 runs." in text
    assert "| cost of the window | $4.00 | $6.00 | +50.0 % (worse) |" in text
    print_diff(found)
    assert "Calls per run" in capsys.readouterr().out


def test_within_a_budget_is_said_only_as_far_as_calls_have_a_price(tmp_path: Path) -> None:
    work = Workload()
    run = work.run()
    work.call(run, input_fresh=100_000, output=0)
    work.call(run, model="unlisted", input_fresh=100_000, output=0)
    work.call(run, input_fresh=100_000)
    work.call(run, output=5)
    document = build_audit(work.dataset(), Knowledge(), generated_at=datetime(2026, 6, 2, tzinfo=UTC))
    path = tmp_path / "budget.toml"
    path.write_text(
        "[limits]\ncost_usd_max = 5\ncost_usd_per_run_p99_max = 5\n"
        "inferences_per_run_p50_max = 5\ninput_tokens_per_run_p50_max = 900_000\n"
    )
    messages = [verdict.message for verdict in check(load_budget(path), document, None)]
    assert messages[0].endswith("within the budget of $5.00; 3 calls not wholly priced")
    assert messages[1].endswith("within the budget of $5.00; 1 run not wholly priced")
    assert messages[2].endswith("within the budget of 5")
    assert messages[3].endswith("; 1 call without stated input")


def test_cost_a_day_is_that_of_calls_with_a_date() -> None:
    work = Workload()
    for day in range(3):
        work.call(work.run(day * 86_400), day * 86_400, 0, input_fresh=100_000, output=0)
    undated = work.call(work.run(0), 0, 0, input_fresh=9_000_000, output=0)
    placement = next(row.placement for row in work.rows if row.inference is undated)
    placement.start_ns = placement.end_ns = 5
    document = build_audit(work.dataset(), Knowledge(), generated_at=datetime(2026, 6, 2, tzinfo=UTC))
    assert FIGURES["cost_usd_per_day"].value(document) == pytest.approx(1.5)
