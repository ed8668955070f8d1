"""What a report's page is made of. Templates see these and nothing else, already worded and formatted.

A page is a summary and chapters; a chapter is a title, a lead and blocks; a block is a table, a chart, a timeline, an
icicle, a divided bar, cards or a note. Every block can carry a `Why`: how its numbers came about and how to see the
rest of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: as shown.
        sort: what the column is sorted by; the text where None.
        bar: width of a bar behind the text in per cent, as text; None for no bar.
        link: where the text leads; None for no link.
        code: set in the typeface of code.
    """

    text: str
    sort: float | None = None
    bar: str | None = None
    link: str | None = None
    code: bool = False


@dataclass(slots=True)
class Column:
    """One column: numbers are aligned to the right."""

    title: str
    numeric: bool = False


@dataclass(slots=True)
class Table:
    """Rows that can be sorted and filtered."""

    block: ClassVar[str] = "table"
    id: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    why: Why | None = None
    filterable: bool = False
    total: list[Cell] | None = None
    folded: bool = False


@dataclass(slots=True)
class Why:
    """How numbers came about: method, source, the command that lists the rest, the calls behind them.

    Attributes:
        costliest: where, in the page, the costliest of all calls are listed, for numbers that are made of all of them.
    """

    method: str
    source: str | None = None
    command: str | None = None
    evidence: Table | None = None
    costliest: str | None = None


@dataclass(slots=True)
class Figure:
    """A headline number with what it means.

    Attributes:
        tone: good, bad or plain.
        anchor: where the page takes the number apart.
    """

    label: str
    value: str
    note: str
    tone: str = "plain"
    anchor: str = "summary"


@dataclass(slots=True)
class Chart:
    """A Vega-Lite chart: ``spec`` holds its data and no colour, which come from the page's theme."""

    block: ClassVar[str] = "chart"
    id: str
    title: str
    description: str
    spec: dict[str, Any]
    why: Why | None = None


@dataclass(slots=True)
class Span:
    """One bar of a timeline; positions are per cent of the run as text."""

    name: str
    kind: str
    depth: int
    left: str
    width: str
    time: str
    model: str
    tokens: str
    cost: str
    failed: bool


@dataclass(slots=True)
class Timeline:
    """A run laid out in time."""

    block: ClassVar[str] = "timeline"
    id: str
    title: str
    description: str
    spans: list[Span]
    scale: list[str]
    left_out: str | None = None
    why: Why | None = None


@dataclass(slots=True)
class Plate:
    """One rectangle of an icicle; positions are per cent across and rows down, as text."""

    name: str
    kind: str
    left: str
    width: str
    row: str
    text: str
    shown: bool


@dataclass(slots=True)
class Icicle:
    """Who spent a run's dollars: each plate is as wide as what it and all below it cost."""

    block: ClassVar[str] = "icicle"
    id: str
    title: str
    description: str
    plates: list[Plate]
    rows: str
    why: Why | None = None


@dataclass(slots=True)
class Part:
    """One part of a bar: width in per cent as text, the class that colours it, and its words."""

    label: str
    width: str
    colour: str
    text: str
    share: str


@dataclass(slots=True)
class Split:
    """A whole divided into parts; ``note`` says what is not in it."""

    block: ClassVar[str] = "split"
    title: str
    parts: list[Part]
    note: str = ""
    why: Why | None = None


@dataclass(slots=True)
class Fact:
    """A label with its value."""

    label: str
    value: str


@dataclass(slots=True)
class Card:
    """A recommendation or a finding: what, how much, on which grounds."""

    id: str
    title: str
    amount: str
    amount_note: str
    bar: str
    bar_low: str
    bar_high: str
    text: str
    facts: list[Fact]
    conditions: list[str]
    why: Why
    chosen: bool = False


@dataclass(slots=True)
class Cards:
    """Cards one below the other."""

    block: ClassVar[str] = "cards"
    cards: list[Card]


@dataclass(slots=True)
class Note:
    """A paragraph; ``tone`` is plain, warn or empty."""

    block: ClassVar[str] = "note"
    text: str
    tone: str = "plain"


Block = Table | Chart | Timeline | Icicle | Split | Cards | Note


@dataclass(slots=True)
class Chapter:
    """A part of the report; ``short`` is its name in the navigation."""

    id: str
    short: str
    title: str
    lead: str
    blocks: list[Block]


@dataclass(slots=True)
class Answer:
    """One of the questions that a reader comes with, answered in a sentence or two."""

    question: str
    text: str


@dataclass(slots=True)
class Step:
    """One of the three first things to do; ``note`` says how far its saving is open, where it is.

    ``bar`` and ``bar_low`` are the saving and its low figure in per cent of the bill, as text.
    """

    title: str
    amount: str
    share: str
    bar: str
    bar_low: str
    anchor: str
    note: str = ""


@dataclass(slots=True)
class Summary:
    """What fits on one screen: how far the bill is covered, what it comes to against training, what to do first."""

    reconciliation: str
    reconciled: bool
    answers: list[Answer]
    figures: list[Figure]
    split: Split | None
    steps: list[Step]
    steps_title: str
    steps_note: str
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class AuditPage:
    """The whole page, one documented context for one template.

    Attributes:
        title: of the document.
        subtitle: window, number of calls, price list.
        generated: when, by which version.
        summary: the first screen.
        chapters: the rest.
        charts: Vega-Lite specifications by the id of their chart; the only data that the page's script reads.
    """

    title: str
    subtitle: str
    generated: str
    summary: Summary
    chapters: list[Chapter]
    charts: dict[str, dict[str, Any]]
