"""What bought nothing, and what is wrong with the record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from inferometer.reports.chapters.cost import listed, source
from inferometer.reports.chapters.summary import Document, beside_the_bill
from inferometer.reports.contexts import Block, Card, Cards, Cell, Chapter, Column, Fact, Note, Table, Why
from inferometer.reports.evidence import Links, evidence_table, shortened
from inferometer.reports.numbers import NOT_PRICED, bounded, count, percent_width, seconds, share, times, tokens, usd
from inferometer.schema.wording import counted


def waste_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on waste."""
    findings = document["waste"]
    if not findings:
        text = "None of the passes found anything in these calls."
        return Chapter("waste", "Waste", "What bought nothing", text, [])
    largest = max((float(found["cost_usd"] or 0) for found in findings), default=0.0)
    total = float(document["totals"]["contracted_cost_usd"] or 0)
    lead = (
        f"{counted(len(findings), 'kind of waste', 'kinds of waste')}. They overlap (a call that failed may also have "
        "sent its context again), so they do not add up; what can be saved together is under What to do."
    )
    cards = [_card(found, largest, total, links) for found in findings]
    return Chapter("waste", "Waste", "What bought nothing", lead, [Cards(cards)])


def _card(found: dict[str, Any], largest: float, total: float, links: Links) -> Card:
    cost = found["cost_usd"]
    facts = [Fact("Calls", count(found["calls"]))]
    if found["tokens"] is not None:
        facts.append(Fact("Tokens", tokens(found["tokens"])))
    if found["duration_s"] is not None:
        facts.append(Fact("Time", seconds(found["duration_s"])))
    if found["estimated"]:
        facts.append(Fact("Certainty", "estimated: the traces leave part of it open"))
    amount = NOT_PRICED
    if cost is not None:
        amount = bounded(cost, found["unpriced"])
    elif found["duration_s"] is not None:
        amount = seconds(found["duration_s"])
    width = percent_width(float(cost or 0) / largest if largest else 0)
    return Card(
        id=f"waste-{found['id']}",
        title=found["title"],
        amount=amount,
        amount_note=f"{share(float(cost) / total)} of the bill" if cost is not None and total else "",
        bar=width,
        bar_low=width,
        bar_high=width,
        text=found["method"],
        facts=facts,
        conditions=[],
        why=Why(
            "The calls that show it, by what each of them wasted.",
            None,
            links.commands.listing(f"waste-{found['id']}"),
            evidence_table(f"waste-{found['id']}", found["title"], found["evidence"], links, "Waste"),
        ),
    )


def record_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on how far the record can be trusted."""
    blocks: list[Block] = [_coverage(document, links), *_reconciled(document, links)]
    for found in document["data_findings"]:
        table = evidence_table(f"data-{found['id']}", found["title"], found["evidence"], links)
        card = Card(
            id=f"data-{found['id']}",
            title=found["title"],
            amount=count(found["calls"]),
            amount_note="call" if found["calls"] == 1 else "calls",
            bar="0",
            bar_low="0",
            bar_high="0",
            text=found["detail"],
            facts=[],
            conditions=[],
            why=Why(
                "Decided call by call on import; inferometer show RUN --why gives the reasons of a run.",
                None,
                links.commands.listing(f"data-{found['id']}"),
                table,
            ),
        )
        blocks.append(Cards([card]))
    if document["price_findings"]:
        blocks.append(_prices(document, links))
        for index, found in enumerate(document["price_findings"]):
            blocks += _price_calls(found, index, links)
    if len(blocks) == 1:
        blocks.append(Note("Nothing is wrong with it: every call has usage, a price and a date, and is counted once."))
    return Chapter("record", "Record", "How far the record can be trusted", _lead(document), blocks)


def _lead(document: Document) -> str:
    coverage = document["coverage"]
    if not coverage["inferences"]:
        return "There is no record yet."
    known = coverage["with_usage"] / coverage["inferences"]
    priced = coverage["priced"] / coverage["inferences"]
    return f"{share(known)} of the calls carry the provider's own usage, {share(priced)} could be priced."


def _reconciled(document: Document, links: Links) -> list[Block]:
    """Return the bill beside the traces by model; nothing where no bill was given."""
    found = document["reconciliation"]
    if not found["reconciled"]:
        return []
    columns = [
        Column("Model"),
        Column("Days", True),
        *(
            Column(name, True)
            for name in ("Billed", "Traced", "Matched", "Untraced", "Over-traced", "Price difference")
        ),
    ]
    keys = ("billed_usd", "traced_usd", "matched_usd", "untraced_usd", "over_traced_usd", "price_difference_usd")
    rows = [
        [
            Cell(shortened(row["model"])),
            Cell(count(row["days"]), sort=row["days"]),
            *(Cell("" if row[key] is None else usd(row[key]), sort=float(row[key] or 0)) for key in keys),
        ]
        for row in found["models"]
    ]
    why = Why(
        "Tokens of each day and model compared where bill and traces both state them, dollars elsewhere. Matched: what "
        "both hold. Untraced: more on the bill. Over-traced: more in the traces. Price difference: matched dollars on "
        "the bill less those by the list."
        + "".join(f" {words}" for words in beside_the_bill(found))
        + (f" Note: {found['note']}." if found["note"] else ""),
        ", ".join(f"{shortened(file['path'])} ({file['kind']})" for file in found["files"]),
        links.commands.reconciling(),
    )
    return [Table("reconciliation", "The bill beside the traces", columns, rows, why)]


def _coverage(document: Document, links: Links) -> Table:
    coverage = document["coverage"]
    lines = (
        ("Billable calls", "inferences", "each model call once"),
        ("with the provider's usage", "with_usage", "exact"),
        ("counted from text", "counted", "exact for the text, without what a provider adds"),
        ("estimated", "estimated", "marked wherever they appear"),
        ("without usage", "absent", "unknown, never zero"),
        ("priced", "priced", "by the list of the day of the call"),
        ("from sampled traces", "sampled", "weighted by their inverse sampling probability"),
        ("with prefix hashes", "with_prefix", "what caching findings rest on"),
        ("without a date", "undated", "left out of rates and projections"),
        ("Reports of a call counted elsewhere", "merged", "double instrumentation, roll-ups"),
    )
    whole = coverage["inferences"]
    rows = [
        [
            Cell(title),
            Cell(count(coverage[key]), sort=coverage[key]),
            Cell(share(coverage[key] / whole) if whole and key not in {"inferences", "merged"} else ""),
            Cell(note),
        ]
        for title, key, note in lines
    ]
    columns = [Column("Calls"), Column("Number", True), Column("Share", True), Column("What it means")]
    return Table(
        "coverage", "Coverage", columns, rows, listed(document, links.commands.reading("inferometer cost --by model"))
    )


def _prices(document: Document, links: Links) -> Table:
    rows = [
        [
            Cell(shortened(found["model"])),
            Cell(count(found["calls"]), sort=found["calls"]),
            Cell(usd(found["recorded_usd"]), sort=float(found["recorded_usd"])),
            Cell(usd(found["list_usd"]), sort=float(found["list_usd"])),
            Cell(times(_factor(found)), sort=_factor(found) or 0.0),
            Cell(found["reason"]),
        ]
        for found in document["price_findings"]
    ]
    columns = [
        Column("Model"),
        Column("Calls", True),
        Column("Recorded", True),
        Column("By list", True),
        Column("Recorded over list", True),
        Column("Why"),
    ]
    return Table(
        "price-findings",
        "Recorded costs that the list does not explain",
        columns,
        rows,
        Why(
            "Recorded and list cost of each call compared; the reason is the mistake that gives the recorded figure.",
            source(document),
            links.commands.listing("prices"),
        ),
    )


def _factor(found: dict[str, Any]) -> float | None:
    listed = Decimal(str(found["list_usd"]))
    return float(Decimal(str(found["recorded_usd"])) / listed) if listed else None


def _price_calls(found: dict[str, Any], index: int, links: Links) -> list[Block]:
    table = evidence_table(f"price-{index}", shortened(found["model"]), found["evidence"], links, "Difference")
    if table is None:
        return []
    table.folded = True
    return [table]
