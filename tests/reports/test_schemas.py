"""Every document that a command prints keeps to its published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from inferometer.analyzer.audit import Knowledge
from inferometer.analyzer.audit_diff import diff
from inferometer.analyzer.audit_groups import accounted, by_model
from inferometer.analyzer.audit_listing import list_calls
from inferometer.analyzer.audit_redaction import redacted
from inferometer.analyzer.budget import check, load_budget
from inferometer.analyzer.reconcile import reconcile
from inferometer.analyzer.reconcile_bill import Bill, BillLine
from inferometer.reports.document import document_text
from inferometer.testing.workload import Workload

NAMES = ("import", "cost", "predict", "replay", "audit", "reconcile", "check", "diff")


def schema(repository: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / "docs" / "schemas" / f"{name}.json").read_text())
    return found


def keeps(repository: Path, name: str, document: dict[str, Any]) -> None:
    plain = json.loads(document_text({"schema_version": 1, **document}))
    jsonschema.Draft202012Validator(schema(repository, name)).validate(plain)


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one_and_describes_an_object(repository: Path, name: str) -> None:
    found = schema(repository, name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert "schema_version" in found["properties"]


def test_the_audit_keeps_to_its_schema(repository: Path, audit_document: dict[str, Any]) -> None:
    keeps(repository, "audit", audit_document)


def test_no_key_of_the_audit_is_undocumented(repository: Path, audit_document: dict[str, Any]) -> None:
    described = schema(repository, "audit")["properties"].keys()
    assert audit_document.keys() <= described
    assert audit_document["ratio"].keys() <= schema(repository, "audit")["properties"]["ratio"]["properties"].keys()


def test_the_redacted_audit_keeps_to_it_too_and_holds_no_name(repository: Path, audit_document: dict[str, Any]) -> None:
    plain = json.loads(document_text(audit_document))
    document = redacted(plain)
    keeps(repository, "audit", document)
    text = json.dumps(document)
    for name in ("researcher", "writer", "window.broken", '"red"', "session-0"):
        assert name not in text
    assert document["totals"] == plain["totals"]


def test_replays_within_the_audit_keep_to_the_replay_schema(repository: Path, audit_document: dict[str, Any]) -> None:
    assert audit_document["scenarios"]
    for row in audit_document["scenarios"]:
        keeps(repository, "replay", row)


def test_cost_reconcile_check_and_diff_keep_to_theirs(
    repository: Path, audit_document: dict[str, Any], tmp_path: Path
) -> None:
    work = Workload()
    work.call(work.run(), input_fresh=100, output=10)
    dataset = work.dataset()
    keeps(repository, "cost", accounted(dataset, "model", by_model).as_dict())
    bill = Bill("bill.json", "test", [BillLine(None, "large", {"input_fresh": 100})])
    keeps(repository, "reconcile", reconcile(dataset.calls, [bill]))
    keeps(repository, "diff", diff(audit_document, audit_document))
    path = tmp_path / "budget.toml"
    path.write_text("[limits]\ncost_usd_max = 1\n[regression]\nratio_pct = 5\n")
    verdicts = check(load_budget(path), audit_document, None)
    keeps(repository, "check", {"ok": False, "verdicts": [verdict.as_dict() for verdict in verdicts]})


def test_redaction_takes_out_training_runs_files_and_the_selection(
    repository: Path, audit_document: dict[str, Any]
) -> None:
    plain = json.loads(document_text(audit_document))
    plain["roofline"]["training"] = [{"name": "secret-run", "flop_per_s": 1e12}]
    plain["reconciliation"] |= {
        "files": [{"path": "/home/secret/bill.csv", "kind": "FOCUS", "lines": 1, "left_out": 0}]
    }
    plain["window"]["where"] = [["user", "secret-user"]]
    found = redacted(plain)
    keeps(repository, "audit", found)
    assert "secret" not in json.dumps(found)
    assert found["roofline"]["training"][0]["flop_per_s"] == 1e12
    assert found["reconciliation"]["files"][0]["kind"] == "FOCUS"


def test_a_listing_keeps_to_its_schema(repository: Path) -> None:
    work = Workload()
    work.call(work.run(), input_fresh=100, output=10)
    plain = json.loads(
        document_text({"schema_version": 1, **list_calls(work.dataset(), Knowledge(), "calls").as_dict()})
    )
    whole = schema(repository, "audit")
    jsonschema.Draft202012Validator({"$defs": whole["$defs"], "$ref": "#/$defs/listing"}).validate(plain)
