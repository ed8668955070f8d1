"""Output counts of Claude Code's transcripts that were written down when the stream began: flagged, never replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.importers.claude_code import ESTIMATED_OUTPUT
from inferometer.ingest.importing import ImportReport
from inferometer.store import Store

Load = Callable[..., ImportReport]

TOOL = {"type": "tool_use", "id": "t", "name": "Write", "input": {}}
LONG = "The ship sails from one harbour to the next. " * 40


def answer(output: int, *content: dict[str, Any], message: str = "m") -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": output, "cache_read_input_tokens": 100}
    body = {"role": "assistant", "id": message, "model": "claude-opus-4-7", "usage": usage, "content": list(content)}
    return {
        "type": "assistant",
        "uuid": f"{message}{output}",
        "sessionId": "s",
        "timestamp": "2026-01-01T00:00:02Z",
        "message": body,
    }


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "session.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in entries))
    return path


@pytest.mark.parametrize(
    "content",
    [text(LONG), {"type": "thinking", "thinking": LONG}, {**TOOL, "input": {"content": LONG}}],
    ids=["text", "thinking", "tool call"],
)
def test_count_that_the_answer_outweighs_is_flagged_and_estimated(
    tmp_path: Path, store: Store, load: Load, content: dict[str, Any]
) -> None:
    report = load(write(tmp_path, answer(2, content)))
    assert report.warnings["output_counts_of_stream_start"] == 1
    [row] = store.inferences()
    assert row.inference.meters.output == 2  # what was recorded stays
    assert any("looks like that of the stream's start" in reason for reason in row.inference.reasons)
    [run] = store.runs()
    spans = {span.span_id: span for span in store.spans_of_run(run.run_id)}
    estimate = spans[row.inference.span_id].attributes[ESTIMATED_OUTPUT]
    assert isinstance(estimate, int)
    assert 300 < estimate < 600


def test_parts_of_one_answer_are_weighed_together_against_its_last_count(
    tmp_path: Path, store: Store, load: Load
) -> None:
    report = load(write(tmp_path, answer(2, text(LONG)), answer(420, TOOL)))
    assert (report.inferences, report.warnings["output_counts_of_stream_start"]) == (1, 0)
    [row] = store.inferences()
    assert row.inference.meters.output == 420


@pytest.mark.parametrize(("output", "said"), [(420, LONG), (1, "ok"), (2, "")])
def test_count_that_fits_its_answer_is_not_flagged(
    tmp_path: Path, store: Store, load: Load, output: int, said: str
) -> None:
    assert load(write(tmp_path, answer(output, text(said)))).warnings["output_counts_of_stream_start"] == 0
