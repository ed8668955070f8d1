"""``replay`` and ``sweep`` as typed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferometer.cli import run
from inferometer.reports.terminal import show_money
from inferometer.store import open_store

ON_H100 = ["--hardware", "h100_sxm", "--model", "meta-llama/Llama-3.1-70B", "--precision", "fp8", "--tp", "4"]


def session(number: int) -> dict[str, Any]:
    """Return a small Weka session: three calls, each going on from the one before."""
    calls = [
        {
            "t": 10.0 * step,
            "type": "n",
            "model": "claude-opus-4-5-20251101",
            "in": 64 * (20 + 5 * step),
            "out": 100,
            "hash_ids": list(range(1, 21 + 5 * step)),
            "input_types": ["text"] if step == 0 else ["tool_result"],
            "output_types": ["tool_use"],
            "stop": "tool_use",
            "api_time": 4.0,
            "think_time": 0.0 if step == 0 else 6.0,
        }
        for step in range(3)
    ]
    return {
        "id": f"session_{number}",
        "models": ["claude-opus-4-5-20251101"],
        "block_size": 64,
        "hash_id_scope": "local",
        "requests": calls,
    }


@pytest.fixture
def store(tmp_path: Path) -> str:
    folder = tmp_path / "sessions"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.json").write_text(json.dumps(session(number)))
    path = str(tmp_path / "store.sqlite")
    assert run(["import", str(folder), "--store", path, "--json"]) == 0
    return path


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_replay_answers_with_one_document(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(capsys, "replay", *ON_H100, "--store", store, "--concurrency", "2")
    assert (answer["calls"], answer["runs"]) == (12, 4)
    assert answer["arrivals"]["concurrency"] == 2
    assert answer["prefix_hit_rate_infinite"] == pytest.approx(1 - 4 * 30 / (4 * 75))
    assert answer["recorded"]["e2e_s"]["p50"] == 4.0
    assert answer["recorded"]["cost_usd"] is not None


def test_replay_is_the_same_twice(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("replay", *ON_H100, "--store", store, "--arrivals", "poisson:0.5", "--background", "1:azure_conv")
    assert ask(capsys, *words) == ask(capsys, *words)


def test_replay_plans_capacity_and_sensitivity(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(
        capsys, *("replay", *ON_H100, "--store", store, "--slo", "ttft_p95=5s", "--spare", "2", "--sensitivity")
    )
    assert answer["capacity"]["replicas"] == 1
    assert answer["capacity"]["hourly_replicas"] == [3] * 24
    assert answer["scenario"]["objective"]["ttft_s"] == 5.0
    assert len(answer["sensitivity"]) == 5


def test_replay_reads_arrival_times_from_a_file(store: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("0 100\n200 300\n")
    answer = ask(capsys, "replay", *ON_H100, "--store", store, "--arrivals", f"file:{tmp_path / 'times.txt'}")
    assert answer["arrivals"]["kind"] == "times"
    assert answer["makespan_s"] > 300


@pytest.mark.parametrize("rate", ["nan", "inf", "fast"])
def test_a_rate_that_is_no_number_is_refused(rate: str, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", *ON_H100, "--store", store, "--arrivals", f"poisson:{rate}"]) == 2
    assert f"'{rate}' is not a number" in capsys.readouterr().err


def test_replay_prints_for_people(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["replay", *ON_H100, "--store", store]) == 0
    text = capsys.readouterr().out
    for words in ("time to first token", "prefix cache", "8 at a time", "dedicated", "vocabulary unknown"):
        assert words in text


def test_sweep_lists_what_fits_and_what_does_not(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("sweep", "--model", "meta-llama/Llama-3.1-70B", "--precision", "fp8", "--store", store)
    answer = ask(capsys, *words, "--hardware", "h100_sxm", "--hardware", "a10g", "--jobs", "2")
    assert {row["hardware"] for row in answer["scenarios"]} == {"h100_sxm"}
    assert any(row["pareto"] for row in answer["scenarios"])
    assert [skipped["hardware"] for skipped in answer["skipped"]] == ["a10g"]
    assert run([*words, "--hardware", "h100_sxm"]) == 0
    assert "h100_sxm" in capsys.readouterr().out


def test_a_long_sweep_shows_what_nothing_beats(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("sweep", "--model", "meta-llama/Llama-3.1-70B", "--store", store)
    answer = ask(capsys, *words)
    front = [row for row in answer["scenarios"] if row["pareto"]]
    assert run(list(words)) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [line for line in lines if " x " in line]
    assert len(shown) == len(front)
    for line, row in zip(shown, front, strict=True):
        assert line.startswith(f"{row['chips']} x {row['hardware']} {row['precision']} ")
    others = len(answer["scenarios"]) - len(front)
    assert any(f"{others} deployments and {len(answer['skipped'])} that cannot run" in line for line in lines)


def test_replay_says_what_each_basis_costs(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("replay", *ON_H100, "--store", store)
    costs = ask(capsys, *words)["cost_usd_by_basis"]
    assert run(list(words)) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cost ")]
    for basis in ("shared", "pay_per_use"):
        assert f"{show_money(Decimal(costs[basis]))} {basis.replace('_', ' ')}" in line


def test_sweep_tells_a_version_that_was_not_measured(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "--model", "llama-3.1-70b", "--precision", "fp8", "--hardware", "h100_sxm", "--store", store]
    answer = ask(capsys, *words, "--engine", "vllm==9.9")
    assert all(row["warnings"]["engine_version_newer_than_measured"] == 1 for row in answer["scenarios"])
    assert all("9.9 is newer" in row["confidence_reason"] for row in answer["scenarios"])
    assert run([*words, "--engine", "vllm==9.9"]) == 0
    assert "engine_version_newer_than_measured" in capsys.readouterr().out


def test_sweep_lists_machines_that_are_only_had_whole(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "meta-llama/Llama-3.1-70B", "--store", store)
    answer = ask(capsys, "sweep", *words, "--hardware", "groq", "--hardware", "cs3")
    assert {"groq_lpu", "cerebras_cs3"} == {row["hardware"] for row in answer["scenarios"]}
    assert all(row["cost_usd"]["mid"] is not None for row in answer["scenarios"])
    single = ask(capsys, "replay", *words, "--hardware", "cs3")["scenario"]
    assert (single["engine"], single["tp"], single["pp"], single["chips"]) == ("vendor_runtime", 1, 4, 4)


def test_version_that_was_not_measured_is_told(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("replay", *ON_H100, "--engine", "vllm==9.9", "--store", store)
    answer = ask(capsys, *words)
    assert answer["scenario"]["engine_version"] == "9.9"
    assert "0.12.0" in answer["scenario"]["constants_versions"]
    assert answer["warnings"]["engine_version_newer_than_measured"] == 1
    assert run(list(words)) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "version 9.9 is newer than any measured on h100_sxm: constants of 0.11.2 to 0.18.0 stand for it" in text
    assert "engine_version_newer_than_measured" in text
    known = ask(capsys, "replay", *ON_H100, "--engine", "vllm==0.12.0", "--store", store)
    assert not any(kind.startswith("engine_version") for kind in known["warnings"])


def test_empty_store_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_store(str(tmp_path / "empty.sqlite")).close()
    assert run(["replay", *ON_H100, "--store", str(tmp_path / "empty.sqlite")]) == 2
    error = capsys.readouterr().err
    assert "nothing to replay" in error
    assert "import traces with usage" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--disaggregate", "2"], "write P:D"),
        (["--arrivals", "often"], "poisson:RATE"),
        (["--arrivals", "poisson:x"], "not a number"),
        (["--arrivals", "recorded", "--concurrency", "3"], "give one"),
        (["--price", "much"], "not an amount"),
        (["--price", "1e400"], "from 0 to 1,000,000"),
        (["--slo", "ttft=-2s"], "no time"),
        (["--slo", "ttft=nan"], "no time"),
        (["--slo", "ttft_p95=0s"], "no time"),
        (["--seed", "-1"], "--seed"),
        (["--cold-start", "-5"], "--cold-start"),
        (["--acceptance-length", "2"], "no drafted tokens"),
        (["--draft-model", "llama-3.2-1b"], "no drafted tokens"),
        (["--pue", "0.5"], "starts at 1"),
        (["--pp", "81"], "more than the 80 layers"),
        (["--slo", "ttft"], "--slo"),
        (["--slo", "speed_p95=1s"], "no objective"),
        (["--background", "x:own"], "not a number"),
        (["--day", "sunday"], "flat"),
        (["--hardware", "h100sxm"], "h100_sxm"),
    ],
)
def test_wrong_words_are_one_line_and_code_two(
    words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", *ON_H100, *words, "--store", str(tmp_path / "store.sqlite")]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.strip().splitlines()) == 1
