"""The report's words and figures, held against a kept copy; ``GOLDEN_UPDATE=1 pytest tests/reports`` writes it anew."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from inferometer.analyzer.audit import Knowledge, build_audit
from inferometer.analyzer.waste import CacheRule
from inferometer.reports.html import render_audit
from inferometer.schema.records import Purpose, ToolOffered
from inferometer.testing.workload import Workload

GOLDEN = Path(__file__).parent / "golden" / "audit.txt"
RULE = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "acme documentation, 2026-05-01")


class Words(HTMLParser):
    """Collects the text of a page, a line for each element, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not self._silent:
            self.lines.append(text)


def sample() -> Workload:
    work = Workload()
    for number in range(12):
        at = number * 43_200.0
        run = work.run(at, agent="planner" if number % 3 else "writer", success=number % 4 != 0, purpose=Purpose.SERVE)
        for turn in range(2 + number % 4):
            offered = {"tools_offered": [ToolOffered("read", 200), ToolOffered("never", 900)]}
            blocks = 80 + 10 * turn
            work.call(
                run, at + 30 * turn, 12, blocks=range(blocks), inference=offered, input_fresh=blocks * 64, cache_read=0,
                output=300,
            )  # fmt: skip
            work.tool(
                run, at + 30 * turn + 12, 6, fingerprint=str(turn // 2), result_tokens=9_000 if turn == 0 else 300
            )
    return work


def test_the_report_says_what_it_said() -> None:
    document = build_audit(
        sample().dataset(),
        Knowledge("2026-05-28", "flat 1", cache_rule=lambda call: RULE),
        generated_at=datetime(2026, 6, 2, 12, 0, tzinfo=UTC),
    )
    words = Words()
    words.feed(render_audit(document))
    text = re.sub(r"\b[0-9a-f]{16}\b", "<id>", "\n".join(words.lines)) + "\n"
    if os.environ.get("GOLDEN_UPDATE"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
