"""Generated samples are the same at every run, and importers understand all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("orjson")

from inferometer.ingest.importing import import_paths
from inferometer.schema.selection import Selection
from inferometer.store import open_store
from inferometer.testing.sample_sessions import write_sample_sessions


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_sample_sessions(tmp_path / "a")]
    assert first == [path.read_bytes() for path in write_sample_sessions(tmp_path / "b")]
    assert first != [path.read_bytes() for path in write_sample_sessions(tmp_path / "c", seed=8)]


def test_every_sample_imports_with_the_tokens_it_states(tmp_path: Path) -> None:
    files = write_sample_sessions(tmp_path / "samples")
    with open_store(str(tmp_path / "store.sqlite")) as store:
        report = import_paths(store, [tmp_path / "samples"])
        rows = list(store.inferences(Selection()))
    assert report.failed == []
    assert not report.warnings
    assert report.files == len(files)
    for prefix, stated in (("session_", _proxy_tokens(files)), ("support", _otlp_tokens(files)), ("", None)):
        found = [row.inference.meters for row in rows if (row.placement.source or "").startswith(prefix)]
        tokens = (sum(meters.input_total or 0 for meters in found), sum(meters.output or 0 for meters in found))
        assert found
        assert stated is None or tokens == stated
    transcripts = [row.inference for row in rows if (row.inference.response_id or "").startswith("msg_")]
    expected = _transcript_calls(files)
    assert {call.response_id: call.meters.output for call in transcripts} == expected


def _proxy_tokens(files: list[Path]) -> tuple[int, int]:
    totals = [json.loads(path.read_text())["totals"]["combined_tokens"] for path in files if "session_" in path.name]
    return sum(total["input"] for total in totals), sum(total["output"] for total in totals)


def _otlp_tokens(files: list[Path]) -> tuple[int, int]:
    (path,) = [path for path in files if path.name == "support-bot.json"]
    counts = {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}
    for span in json.loads(path.read_text())["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for attribute in span["attributes"]:
            if attribute["key"] in counts:
                counts[attribute["key"]] += int(attribute["value"]["intValue"])
    return counts["gen_ai.usage.input_tokens"], counts["gen_ai.usage.output_tokens"]


def _transcript_calls(files: list[Path]) -> dict[str, int]:
    outputs: dict[str, int] = {}
    for path in files:
        if path.suffix == ".jsonl":
            for line in path.read_text().splitlines():
                message = json.loads(line)["message"]
                if "usage" in message:
                    outputs[message["id"]] = max(outputs.get(message["id"], 0), message["usage"]["output_tokens"])
    return outputs
