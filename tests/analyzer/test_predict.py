"""Predictions of serving configurations: every row is answered, and the answers are as good as they say."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

from inferometer.analyzer.predict import Prediction, predict_file, predict_rows, read_point, read_rows  # noqa: E402
from inferometer.cli import run  # noqa: E402
from inferometer.schema.errors import InputError  # noqa: E402

ROW = {
    "hardware": "h100_sxm",
    "count": "4",
    "engine": "vllm 0.12.0",
    "model": "meta-llama/Llama-3.1-70B",
    "precision": "fp8",
    "mode": "agg",
    "tp": "4",
    "pp": "1",
    "dp": "1",
    "moe_tp": "4",
    "moe_ep": "1",
    "isl": "1024",
    "osl": "1024",
    "batch_per_replica": "16",
    "concurrency": "16",
}


def one(**changes: str) -> Prediction:
    (said,) = predict_rows([{**ROW, **changes}])
    return said


def test_prediction_lies_within_its_interval() -> None:
    said = one()
    assert said.confidence == "calibrated"
    assert said.tpot_ms_p10 < said.tpot_ms < said.tpot_ms_p90  # type: ignore[operator]
    assert said.ttft_ms_p10 < said.ttft_ms < said.ttft_ms_p90  # type: ignore[operator]
    assert said.output_tokens_per_s == pytest.approx(
        16 * 1024 / ((said.ttft_ms + 1023 * said.tpot_ms) / 1e3)  # type: ignore[operator]
    )


def test_answer_of_one_token_has_no_time_per_output_token() -> None:
    said = one(osl="1")
    assert said.ttft_ms is not None
    assert (said.tpot_ms, said.tpot_ms_p10, said.tpot_ms_p90) == (None, None, None)
    assert said.output_tokens_per_s == pytest.approx(16 / (said.ttft_ms / 1e3))


@pytest.mark.parametrize(
    ("changes", "confidence", "words"),
    [
        ({"hardware": "h101"}, "unsupported", "unknown hardware profile 'h101'"),
        ({"model": "no/such"}, "unsupported", "unknown model profile"),
        ({"engine": "nothing 1.0"}, "unsupported", "unknown engine profile"),
        ({"precision": "int8", "hardware": "b300"}, "unsupported", "no int8 arithmetic"),
        ({"tp": "1", "precision": "bf16"}, "unsupported", "does not fit"),
        ({"tp": "6", "moe_tp": "6"}, "unsupported", "do not divide"),
        ({"tp": "1.5"}, "unsupported", "not a whole number"),
        ({"isl": "131073"}, "unsupported", "131073 tokens in are over the 131072 of meta-llama/Llama-3.1-70B's window"),
        ({"tp": "1", "moe_tp": "1", "isl": "30000"}, "unsupported", "that KV memory holds"),
        ({"mode": "disagg"}, "unsupported", "none like it was published"),
        ({"mode": "static"}, "unsupported", "it can be agg or disagg"),
        ({"concurrency": ""}, "unsupported", "concurrency is missing"),
        ({"isl": "many"}, "unsupported", "isl is 'many', not a number"),
        ({"osl": "0"}, "unsupported", "osl is missing or zero"),
        ({"osl": "inf"}, "unsupported", "not a positive number"),
        ({"isl": "100000"}, "extrapolated", "outside the fitted rows"),
        ({"hardware": "tpu_v6e", "precision": "int8", "tp": "8"}, "uncalibrated", "no measured rows"),
        ({"model": "google/gemma-3-27b-it"}, "family", "other models"),
        ({"precision": "bf16", "tp": "8"}, "family", "not bf16"),
    ],
)
def test_confidence_and_reason_of_a_row(changes: dict[str, str], confidence: str, words: str) -> None:
    said = one(**changes)
    assert said.confidence == confidence
    assert words in said.reason
    assert (said.tpot_ms is None) == (confidence == "unsupported")


def test_interval_widens_outside_the_hull() -> None:
    def width(said: Prediction) -> float:
        return said.tpot_ms_p90 / said.tpot_ms_p10  # type: ignore[operator]

    near, far, farther = one(), one(isl="32000"), one(isl="120000")
    assert width(near) < width(far) < width(farther)


def test_disaggregated_row_without_ranks_follows_what_was_published() -> None:
    row = {"hardware": "gb200", "engine": "trtllm", "model": "deepseek-ai/DeepSeek-R1", "precision": "fp4", "tp": ""}
    few, many = (one(mode="disagg", concurrency=users, **row) for users in ("32", "512"))
    assert few.confidence == "family"
    assert "not stated" in few.reason
    assert few.tpot_ms < many.tpot_ms  # type: ignore[operator]
    assert few.tpot_ms_p90 / few.tpot_ms_p10 > 2  # type: ignore[operator]
    assert one(mode="disagg", concurrency="1000000", **row).confidence == "extrapolated"


def test_precision_and_mode_are_read_in_any_case() -> None:
    assert one(precision="FP8", mode="AGG") == one()


def test_one_bad_row_does_not_fail_the_others() -> None:
    rows = [
        {**ROW, "hardware": "nope"},
        ROW,
        {**ROW, "concurrency": "x"},
        {**ROW, "concurrency": "64", "batch_per_replica": ""},
    ]
    said = predict_rows(rows)
    assert [each.confidence for each in said] == ["unsupported", "calibrated", "unsupported", "calibrated"]
    assert said[3].tpot_ms > said[1].tpot_ms  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "ranks"),
    [
        ({"tp": "8", "dp": "1", "moe_tp": "8", "moe_ep": "1"}, (8, 1, 1)),
        ({"tp": "8", "dp": "1", "moe_tp": "1", "moe_ep": "8"}, (8, 8, 1)),
        ({"tp": "64", "dp": "1", "moe_tp": "8", "moe_ep": "8"}, (8, 8, 1)),
        ({"tp": "1", "dp": "64", "moe_tp": "8", "moe_ep": "8"}, (1, 8, 8)),
        ({"tp": "1", "dp": "8", "moe_tp": "1", "moe_ep": "8"}, (1, 8, 8)),
        ({"tp": "4", "dp": "4", "moe_tp": "1", "moe_ep": "16"}, (4, 4, 1)),
        ({"tp": "4", "dp": "", "moe_tp": "2", "moe_ep": "2"}, (4, 2, 1)),
        ({"tp": "1", "dp": "", "moe_tp": "4", "moe_ep": "1"}, (1, 1, 4)),
        ({"tp": "2", "dp": "0", "moe_tp": "0", "moe_ep": "0"}, (2, 1, 1)),
    ],
)
def test_the_ways_tables_write_ranks_are_understood(changes: dict[str, str], ranks: tuple[int, int, int]) -> None:
    found = read_point({**ROW, **changes}).parallelism
    assert (found.tensor, found.expert, found.data) == ranks


def test_several_replicas_share_the_users() -> None:
    point = read_point({**ROW, "concurrency": "64", "batch_per_replica": "16"})
    assert (point.users, point.replicas) == (16, 4)
    assert one(concurrency="64").output_tokens_per_s == pytest.approx(4 * one().output_tokens_per_s)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "words"), [("", "lacks"), ("hardware,engine\n", "lacks the columns model"), (None, "cannot")]
)
def test_unreadable_file_is_one_error(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "points.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words):
        predict_file(path)


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_verb_prints_one_point_per_row_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        tmp_path / "points.csv", [ROW, {**ROW, "model": "?"}, {**ROW, "concurrency": "32", "batch_per_replica": "32"}]
    )
    assert run(["predict", "--points", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    points = document["points"]
    assert document["schema_version"] == 1
    assert [point["confidence"] for point in points] == ["calibrated", "unsupported", "calibrated"]
    assert points[1]["tpot_ms"] is None
    assert points[0]["tpot_ms_p10"] < points[0]["tpot_ms"] < points[2]["tpot_ms"]


def test_verb_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "--points", str(write(tmp_path / "points.csv", [ROW, {**ROW, "isl": ""}]))]) == 0
    printed = capsys.readouterr().out
    assert "TPOT ms" in printed
    assert "unknown" in printed


def test_missing_file_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "--points", "/nowhere.csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_shipped_profiles_reproduce_the_rows_they_were_fitted_to(shared: Path) -> None:
    """The profiles as installed, not the fit: a wrong table, unit or version would show here."""
    path = shared / "groundtruth" / "silicon_serving.csv"
    rows = read_rows(path)
    said = predict_file(path)
    assert len(said) == len(rows)
    calibrated = [
        (answer, row)
        for answer, row in zip(said, rows, strict=True)
        if answer.confidence == "calibrated" and row["mode"] == "agg"
    ]
    assert len(calibrated) > 2200
    tpot = np.array([abs(a.tpot_ms / float(r["tpot_ms"]) - 1) for a, r in calibrated if a.tpot_ms])
    ttft = np.array([abs(a.ttft_ms / float(r["ttft_ms"]) - 1) for a, r in calibrated if a.ttft_ms])
    assert np.median(tpot) < 0.06
    assert np.median(ttft) < 0.20
    inside = [a.tpot_ms_p10 <= float(r["tpot_ms"]) <= a.tpot_ms_p90 for a, r in calibrated]  # type: ignore[operator]
    assert 0.75 < np.mean(inside) < 0.92
