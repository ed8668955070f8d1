"""From an audit document to the context of its page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from inferometer.reports.chapters.actions import actions_chapter
from inferometer.reports.chapters.cost import cost_chapter
from inferometer.reports.chapters.fanout import fanout_chapter
from inferometer.reports.chapters.hardware import hardware_chapter
from inferometer.reports.chapters.summary import summary
from inferometer.reports.chapters.training import change_chapter, training_chapter
from inferometer.reports.chapters.waste import record_chapter, waste_chapter
from inferometer.reports.contexts import AuditPage, Chapter, Chart
from inferometer.reports.evidence import Links
from inferometer.reports.numbers import days
from inferometer.schema.wording import counted


def audit_page(document: Mapping[str, Any], links: Links | None = None) -> AuditPage:
    """Return the page's context.

    Args:
        document: the ``audit`` document, as built or as read back from its JSON.
        links: how calls are found in the tracing UI.
    """
    links = links or Links()
    chapters = [
        actions_chapter(document, links),
        cost_chapter(document, links),
        fanout_chapter(document, links),
        waste_chapter(document, links),
        hardware_chapter(document, links),
        training_chapter(document, links),
        change_chapter(document, links),
        record_chapter(document, links),
    ]
    return AuditPage(
        title="Inference audit",
        subtitle=_subtitle(document),
        generated=f"{_day(document['generated_at'])}, Inferometer",
        summary=summary(document),
        chapters=chapters,
        charts={chart.id: chart.spec for chapter in chapters for chart in _charts(chapter)},
    )


def _charts(chapter: Chapter) -> list[Chart]:
    return [block for block in chapter.blocks if isinstance(block, Chart)]


def _day(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%-d %B %Y, %H:%M} UTC"


def _subtitle(document: Mapping[str, Any]) -> str:
    window, totals = document["window"], document["totals"]
    parts = [counted(totals["inferences"], "model call")]
    if window["first"] and window["last"]:
        first, last = (datetime.fromisoformat(window[name]) for name in ("first", "last"))
        parts.append(f"{first:%-d %b %Y} to {last:%-d %b %Y} ({days(window['days'])})")
    else:
        parts.append("without a date")
    if document["prices_as_of"]:
        parts.append(f"prices as of {document['prices_as_of']}")
    return " · ".join(parts)
