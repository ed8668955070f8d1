"""The whole path on real input, as a user walks it: import, account, show, replay, audit, by the command line alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferometer.cli import run

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run one command with `--json` on the test's own store and return its document."""

    def _ask(*words: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        found = run([*words, "--store", str(tmp_path / "store.sqlite"), "--json"])
        captured = capsys.readouterr()
        assert found == code, captured.err
        document: dict[str, Any] = json.loads(captured.out)
        assert document["schema_version"] == 1
        return document

    return _ask


def _input_total(meters: dict[str, int]) -> int:
    return sum(meters[name] or 0 for name in ("input_fresh", "cache_read", "cache_write_5m", "cache_write_1h"))


def test_pi_session_costs_what_it_recorded(ask: Ask, shared: Path) -> None:
    ask("import", str(shared / "data/sessions/pi-mono"))
    total = ask("cost")["total"]
    assert total["inferences"] == 453
    assert round(Decimal(total["cost_usd"]), 6) == Decimal("30.330198")
    assert total["recorded_cost_usd"] == total["cost_usd"]


def test_weka_sessions_total_what_their_files_say(ask: Ask, shared: Path) -> None:
    folder = shared / "data/sessions/kv-cache-tester"
    imported = ask("import", str(folder))
    again = ask("import", str(folder))
    assert again["spans"] == again["inferences"] == again["runs"] == 0
    assert again["duplicates"] > 0

    sessions = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    expected = [session["totals"]["combined_tokens"] for session in sessions]
    assert len(expected) == 67
    groups = {group["key"]: group for group in ask("cost", "--by", "session")["groups"]}
    assert len(groups) == 67
    assert sum(group["inferences"] for group in groups.values()) == imported["inferences"] == 1749
    sums = sorted((_input_total(group["meters"]), group["meters"]["output"]) for group in groups.values())
    assert sums == sorted((totals["input"], totals["output"]) for totals in expected)


def test_two_instrumentors_of_one_call_are_one_call(ask: Ask, shared: Path) -> None:
    imported = ask("import", str(shared / "data/spans/agent-prism/quo_tav_agent.json"))
    assert imported["duplicates"] >= 3
    total = ask("cost")["total"]
    assert total["inferences"] == 3
    assert total["cost_usd"] is None
    assert total["unpriced"] == 3
    assert total["meters"]["output"] is None


def test_openinference_meters_are_read_as_parts(ask: Ask, shared: Path) -> None:
    ask("import", str(shared / "data/spans/agent-prism/smol_deep_research_agent.json"))
    meters = ask("cost")["total"]["meters"]
    assert _input_total(meters) == 17_952
    assert meters["cache_read"] == 5_504
    assert meters["output"] == 7_122
    assert meters["reasoning"] == 4_352


def test_recorded_workload_replays_on_other_hardware(ask: Ask, shared: Path) -> None:
    ask("import", str(shared / "data/sessions/kv-cache-tester"))
    words = [
        "--hardware",
        "h100_sxm",
        "--engine",
        "vllm",
        "--model",
        "meta-llama/Llama-3.1-70B",
        "--precision",
        "fp8",
        "--tp",
        "4",
    ]
    before = time.process_time()
    answer = ask("replay", *words)
    assert time.process_time() - before < 10
    assert answer["calls"] == 1749
    assert answer["refused"]["over_context"] == 179
    assert 0 < answer["prefix_hit_rate"] < answer["prefix_hit_rate_infinite"] < 1
    assert answer["prefix_hit_rate"] <= answer["prefix_hit_rate_infinite_served"]
    assert answer["infeasible_runs_share"] > 0
    assert "concurrency" in json.dumps(answer["arrivals"])


def test_audit_agrees_with_cost(ask: Ask, shared: Path, tmp_path: Path) -> None:
    ask("import", str(shared / "data/sessions/pi-mono"))
    total = ask("cost")["total"]
    out = tmp_path / "audit.json"
    assert run(["audit", "--store", str(tmp_path / "store.sqlite"), "--json", str(out)]) == 0
    audited = json.loads(out.read_text())["totals"]
    assert audited["inferences"] == total["inferences"]
    assert audited["cost_usd"] == total["cost_usd"]
    assert audited["meters"] == total["meters"]


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["replay", "--hardware", "h100sxm", "--engine", "vllm", "--model", "meta-llama/Llama-3.1-70B"], "h100_sxm"),
        (["replay", "--hardware", "h100_sxm", "--engine", "vlm", "--model", "meta-llama/Llama-3.1-70B"], "vllm"),
        (
            ["replay", "--hardware", "h100_sxm", "--engine", "vllm", "--model", "meta-llama/Llama-3.1-70"],
            "Llama-3.1-70B",
        ),
    ],
)
def test_unknown_profile_names_the_nearest(
    words: list[str], near: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--store", str(tmp_path / "store.sqlite")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert near in captured.err


@pytest.mark.parametrize("url", ["/no/such/folder/store.sqlite", "nosuchdatabase://x", "postgresql://127.0.0.1:1/x"])
def test_store_that_does_not_open_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost", "--store", url]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_named_path_that_cannot_be_read_fails_and_the_rest_is_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from inferometer.testing import sample_sessions

    good = tmp_path / "good"
    sample_sessions.write_sample_sessions(good)
    (tmp_path / "empty.json").write_text("")
    words = ["import", str(tmp_path / "empty.json"), str(tmp_path / "absent.json"), str(good)]
    assert run([*words, "--store", str(tmp_path / "store.sqlite"), "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["inferences"] > 0
    assert {Path(failure["path"]).name for failure in document["failed"]} == {"empty.json", "absent.json"}
