"""audit, check, diff and reconcile as commands: files written, exit codes, one line for a mistake."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from inferometer.cli import run
from inferometer.reports.commands import Commands
from inferometer.store import open_store
from inferometer.testing.workload import EPOCH_NS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with six runs of a cheap listed model, four calls each."""
    from inferometer.ingest.commit import commit
    from inferometer.schema.ids import derived_span_id, derived_trace_id
    from inferometer.schema.meters import Meters
    from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind, UsageSource

    path = str(tmp_path_factory.mktemp("store") / "t.db")
    batch = RecordBatch()
    second = 1_000_000_000
    for number in range(6):
        trace, root = derived_trace_id(f"t{number}"), derived_span_id(f"t{number}", "root")
        begin = EPOCH_NS + number * 3600 * second
        batch.spans.append(
            Span(trace, root, "helper", SpanKind.AGENT, start_ns=begin, end_ns=begin + 50 * second, agent_name="helper")
        )
        for turn in range(4):
            span = derived_span_id(f"t{number}", str(turn))
            start = begin + turn * 10 * second
            batch.spans.append(
                Span(trace, span, "chat", SpanKind.INFERENCE, root, start_ns=start, end_ns=start + 5 * second)
            )
            batch.inferences.append(
                Inference(
                    trace,
                    span,
                    provider="openai",
                    request_model="gpt-4o",
                    meters=Meters(input_fresh=4000, cache_read=0, output=200 + number),
                    usage_source=UsageSource.PROVIDER,
                )
            )
    with open_store(path) as opened, opened.transaction() as transaction:
        commit(transaction, batch)
    return path


PRICES = """\
[[models]]
model = "gpt-4o"
input_usd_per_mtok = 1
output_usd_per_mtok = 1
"""


def document(store: str, folder: Path) -> dict[str, Any]:
    path = folder / "audit.json"
    assert run(["audit", "--store", store, "--json", str(path), "--no-replay"]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_audit_writes_html_and_json_and_prints_a_summary(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, data = tmp_path / "a.html", tmp_path / "a.json"
    assert run(["audit", "--store", store, "--html", str(page), "--json", str(data)]) == 0
    printed = capsys.readouterr().out
    assert "24 model calls in 6 runs" in " ".join(printed.split())
    assert page.read_text().startswith("<!doctype html>")
    found = json.loads(data.read_text())
    assert found["totals"]["inferences"] == 24
    assert [row["kind"] for row in found["scenarios"]].count("hardware") >= 4


def test_what_goes_into_a_pipe_has_whole_lines_and_a_terminal_its_own_width(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["audit", "--store", store, "--no-replay"]) == 0
    piped = capsys.readouterr().out
    assert "No change that was priced would have made it cheaper by a tenth of a per cent." in piped.splitlines()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["audit", "--store", store, "--no-replay"]) == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= 80
    assert "24 model calls in 6 runs" in shown


def test_audit_totals_equal_cost(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(store, tmp_path)
    capsys.readouterr()
    assert run(["cost", "--store", store, "--by", "model", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert found["totals"] == cost["total"]
    assert found["groups"]["model"] == cost["groups"]


def test_json_to_stdout_is_the_document_and_nothing_else(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "--store", store, "--json", "-", "--no-replay"]) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


def test_check_breaks_a_build_with_a_message_a_reviewer_understands(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = tmp_path / "budget.toml"
    budget.write_text("[limits]\ninferences_per_run_p50_max = 3\ncost_usd_max = 100\n")
    assert run(["check", "--store", store, "--budget", str(budget)]) == 1
    printed = capsys.readouterr().out
    assert "BROKEN  model calls per run, median is 4, against a budget of at most 3 (33% over)" in printed
    assert "see: inferometer runs" in printed
    assert "1 of 2 budgets are broken." in printed


def test_check_passes_within_budget_and_against_a_baseline(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document(store, tmp_path)
    budget = tmp_path / "budget.toml"
    budget.write_text("[limits]\ninferences_per_run_p50_max = 4\n[regression]\ncost_usd_pct = 0\n")
    capsys.readouterr()
    words = ["check", "--store", store, "--budget", str(budget), "--baseline", str(tmp_path / "audit.json"), "--json"]
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_check_counts_what_could_not_be_checked(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    budget = tmp_path / "budget.toml"
    budget.write_text("[limits]\ncost_usd_per_run_p99_max = 1\n")
    assert run(["check", "--store", store, "--budget", str(budget), "--since", "2200-01-01"]) == 0
    printed = capsys.readouterr().out
    assert "unknown cost of a run, 99th percentile" in printed
    assert "No budget is broken; 1 could not be checked." in printed


def test_diff_prints_text_markdown_and_json(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document(store, tmp_path)
    path = str(tmp_path / "audit.json")
    for flag, expected in ((None, "became"), ("--markdown", "### Inference cost"), ("--json", '"figures"')):
        capsys.readouterr()
        assert run(["diff", path, path, *([flag] if flag else [])]) == 0
        assert expected in capsys.readouterr().out


def test_a_bill_becomes_the_first_line_of_the_audit(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bill = tmp_path / "usage.json"
    results = [{"input_tokens": 192_000, "input_cached_tokens": 0, "output_tokens": 9720, "model": "gpt-4o-2024-08-06"}]
    bill.write_text(json.dumps({"data": [{"start_time": EPOCH_NS // 10**9, "results": results}]}))
    assert run(["reconcile", "--store", store, "--bill", str(bill), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["traced_share"] < 1
    assert run(["audit", "--store", store, "--bill", str(bill), "--no-replay"]) == 0
    assert "of the bill is traced" in capsys.readouterr().out


def test_redaction_takes_names_out(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "a.html"
    assert run(["audit", "--store", store, "--html", str(page), "--redact", "--no-replay"]) == 0
    assert "helper" not in page.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "--html", "/nowhere/at/all/a.html"],
        ["audit", "--ledger", "missing.toml"],
        ["audit", "--bill", "missing.json"],
        ["audit", "--model", "no-such-model"],
        ["audit", "--trace-url", "https://traces.example/"],
        ["audit", "--trace-url", "https://traces.example/{trace}"],
        ["audit", "--trace-url", "javascript:alert('{trace_id}')"],
        ["check", "--budget", "missing.toml"],
        ["check"],
        ["diff", "missing.json", "missing.json"],
        ["reconcile"],
        ["reconcile", "--bill", "missing.json"],
        ["reconcile", "--bill", "missing.json", "--rate", "-1"],
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str], store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [] if words[0] == "diff" else ["--store", store]
    assert run([*words, *more]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert len(caught.err.strip().splitlines()) == 1
    assert caught.err.startswith("error: ")


MANDATORY = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart"),
    *("BillingPeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodStart"),
    *("ChargePeriodEnd", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity"),
    *("PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
)
NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}


def test_the_focus_export_has_every_mandatory_column_of_1_2_and_reconciles_with_its_own_store(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "focus.csv"
    assert run(["export", "--to", "focus", "--store", store, "--out", str(path)]) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    for row in rows:
        assert set(MANDATORY) <= row.keys()
        assert [name for name in MANDATORY if name not in NULLABLE and not row[name]] == []
        assert row["ChargePeriodEnd"] > row["ChargePeriodStart"]
    assert all(name in MANDATORY or name.startswith("x_") for name in rows[0] if name.lower().startswith("x"))
    capsys.readouterr()
    assert run(["reconcile", "--store", store, "--bill", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["traced_share"] == 1
    assert {float(found[key]) for key in ("untraced_usd", "over_traced_usd", "price_difference_usd")} == {0.0}


def test_every_command_of_a_report_runs_and_lists_what_is_behind_it(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prices.toml").write_text(PRICES)
    words = ["audit", "--store", store, "--since", "2026-01-01", "--prices", "prices.toml", "--html", "a.html"]
    assert run([*words, "--json", "a.json"]) == 0
    found = json.loads(Path("a.json").read_text())
    page = unescape(Path("a.html").read_text())
    commands = set(re.findall(r"All of it: <code>(.*?)</code>", page))
    assert len(commands) > 8
    assert all("--prices prices.toml" in command for command in commands)
    assert all("--since 2026-01-01T00:00:00+00:00" in command for command in commands if " show " not in command)
    for chained in sorted(commands):
        for command in chained.split(" && "):
            capsys.readouterr()
            assert run(shlex.split(command)[1:]) == 0, command
    for kind, key in (("waste", "waste"), ("action", "recommendations"), ("data", "data_findings")):
        for finding in found[key]:
            capsys.readouterr()
            assert run([*words[:7], "--list", f"{kind}-{finding['id']}", "--json", "-"]) == 0
            assert len(json.loads(capsys.readouterr().out)["calls"]) == finding["calls"]


def test_a_password_in_the_stores_address_stays_out_of_a_report() -> None:
    commands = Commands("postgresql://me:secret@db/traces", ["--where", "user=o'neil"], None, ["--ledger", "l.toml"])
    assert commands.reading("inferometer cost") == (
        """inferometer cost --store "$INFEROMETER_STORE" --where 'user=o'"'"'neil'"""
    )
    assert "secret" not in commands.audit() + commands.showing("abc") + commands.listing("calls")
    bounded = Commands(None, ["--since", "2026-01-01", "--where", "agent=a"]).audit("--since", "2026-02-01")
    assert bounded == "inferometer audit --since 2026-02-01 --where agent=a"


def test_a_build_in_a_repository_breaks_on_a_regression_and_passes_once_it_is_allowed(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A repository whose build holds the traces of its tests against the audit that was committed with main."""
    document(store, tmp_path)
    baseline = json.loads((tmp_path / "audit.json").read_text())
    baseline["fanout"]["inferences_per_run"]["p50"] = 2
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "main.json").write_text(json.dumps(baseline))
    budget = repository / "budget.toml"
    budget.write_text("[limits]\ncost_usd_per_run_p99_max = 1\n[regression]\ninferences_per_run_p50_pct = 10\n")
    words = f"--budget budget.toml --baseline main.json --store {store}"
    (repository / "Makefile").write_text(f"cost:\n\t{sys.executable} -m inferometer check {words}\n")
    build = ["make", "--silent", "cost"]
    broken = subprocess.run(build, cwd=repository, capture_output=True, text=True, check=False)
    assert broken.returncode != 0
    assert broken.stdout.splitlines() == [
        "ok      cost of a run, 99th percentile is $0.0482, within the budget of $1.00",
        "BROKEN  model calls per run, median went from 2 to 4 (+100.0 %), more than the 10 % allowed",
        f"        see: inferometer runs --sort inferences --store {store}",
        "1 of 2 budgets are broken.",
    ]
    budget.write_text("[regression]\ninferences_per_run_p50_pct = 100\n")
    assert subprocess.run(build, cwd=repository, capture_output=True, check=False).returncode == 0
