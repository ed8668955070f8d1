"""Where the money goes: by day, model, agent, kind of token and tag."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from inferometer.reports.chapters.summary import METER_NAMES, Document
from inferometer.reports.charts.cost_over_time import cost_over_time
from inferometer.reports.contexts import Block, Cell, Chapter, Chart, Column, Note, Table, Why
from inferometer.reports.evidence import Links, shortened
from inferometer.reports.numbers import count, percent_width, share, tokens, usd

LIST_METHOD = (
    "Every billable call once, its tokens split into disjoint meters and each priced by the list of the day of the "
    "call. "
    "Reasoning is part of output and is not added to it."
)


def cost_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on cost."""
    blocks: list[Block] = []
    by_day = document["by_day"]
    if len({day["day"] for day in by_day}) > 1 and any(float(day["cost_usd"]) for day in by_day):
        blocks.append(
            Chart(
                "cost-over-time",
                "Cost by day",
                "Stacked bars: US dollars of each day by model.",
                cost_over_time(by_day),
                Why(LIST_METHOD, _source(document), "inferometer cost --by day"),
            )
        )
    blocks.append(_groups(document, "model", "Model"))
    blocks.append(_groups(document, "agent", "Agent"))
    blocks.append(_meters(document))
    blocks += _allocation(document)
    blocks.append(_calls(document, links))
    return Chapter("cost", "Cost", "Where the money goes", _lead(document), blocks)


def _source(document: Document) -> str:
    return f"{document['price_list'] or 'no price list'}, as of {document['prices_as_of'] or 'an unknown day'}"


def _lead(document: Document) -> str:
    models = [group for group in document["groups"]["model"] if group["cost_usd"]]
    total = document["totals"]["cost_usd"]
    if not models or not total:
        return "No call could be priced."
    first = models[0]
    part = share(Decimal(str(first["cost_usd"])) / Decimal(str(total)))
    text = f"{first['key']} takes {part} of the bill"
    agents = [group for group in document["groups"]["agent"] if group["cost_usd"]]
    if agents and len(agents) > 1:
        text += f", {shortened(agents[0]['key'])} is the dearest of {count(len(agents))} agents"
    return text + "."


def _groups(document: Document, by: str, title: str) -> Table:
    groups: Sequence[dict[str, Any]] = document["groups"][by]
    total = Decimal(str(document["totals"]["cost_usd"] or 0))
    columns = [
        Column(title),
        Column("Calls", True),
        Column("Runs", True),
        Column("Fresh input", True),
        Column("Cache read", True),
        Column("Cache write", True),
        Column("Output", True),
        Column("Cost", True),
        Column("Share", True),
    ]
    return Table(
        f"by-{by}",
        f"Cost by {by}",
        columns,
        [_row(group, total) for group in groups[:200]],
        Why(LIST_METHOD, _source(document), f"inferometer cost --by {by}"),
        filterable=len(groups) > 8,
        total=_row({**document["totals"], "key": "Total"}, total) if len(groups) > 1 else None,
    )


def _row(group: dict[str, Any], total: Decimal) -> list[Cell]:
    meters = group["meters"]
    writes = [meters[name] for name in ("cache_write_5m", "cache_write_1h") if meters[name] is not None]
    written = sum(writes) if writes else None
    cost = group["cost_usd"]
    part = float(Decimal(str(cost)) / total) if cost is not None and total else None
    amount = usd(cost)
    if cost is not None and group["unpriced"]:
        amount += f" + {count(group['unpriced'])} unpriced"
    return [
        Cell(shortened(str(group["key"]))),
        Cell(count(group["inferences"]), sort=group["inferences"]),
        Cell(count(group["runs"]), sort=group["runs"]),
        *(_tokens(meters[name]) for name in ("input_fresh", "cache_read")),
        _tokens(written),
        _tokens(meters["output"]),
        Cell(amount, sort=float(cost or 0)),
        Cell("" if part is None else share(part), sort=part or 0.0, bar=percent_width(part)),
    ]


def _tokens(number: int | None) -> Cell:
    return Cell(tokens(number), sort=float(number or 0))


def _meters(document: Document) -> Table:
    total = sum((Decimal(str(meter["cost_usd"])) for meter in document["by_meter"]), Decimal(0))
    rows = []
    for meter in document["by_meter"]:
        cost, number = Decimal(str(meter["cost_usd"])), meter["tokens"]
        part = float(cost / total) if total else None
        unit = usd(cost / number * 1_000_000) if number else ""
        rows.append(
            [
                Cell(METER_NAMES[meter["meter"]]),
                _tokens(number),
                Cell(unit, sort=float(cost / number) if number else 0.0),
                Cell(usd(cost), sort=float(cost)),
                Cell("" if part is None else share(part), sort=part or 0.0, bar=percent_width(part)),
            ]
        )
    columns = [
        Column("Kind of token"),
        Column("Tokens", True),
        Column("Paid per million", True),
        Column("Cost", True),
        Column("Share", True),
    ]
    why = Why(LIST_METHOD, _source(document), "inferometer cost --json")
    return Table("by-meter", "Cost by kind of token", columns, rows, why)


def _allocation(document: Document) -> list[Block]:
    blocks: list[Block] = []
    for tag in document["allocation"]:
        rows = [
            [Cell(shortened(value["value"])), Cell(usd(value["cost_usd"]), sort=float(value["cost_usd"]))]
            for value in tag["values"]
        ]
        left = f"{usd(tag['untagged_usd'])} ({share(tag['untagged_share'])})"
        rows.append([Cell("untagged"), Cell(left, sort=float(tag["untagged_usd"]))])
        why = Why(
            "Cost of the runs by the value of their tag; what carries no such tag is untagged.",
            None,
            f"inferometer cost --by attribute:{tag['tag']}",
        )
        blocks.append(
            Table(
                f"tag-{len(blocks)}",
                f"Cost by tag: {shortened(tag['tag'])}",
                [Column("Value"), Column("Cost", True)],
                rows,
                why,
            )
        )
    return blocks


def _calls(document: Document, links: Links) -> Block:
    calls = document["costliest_calls"]
    if not calls:
        return Note("There is no model call in this selection.", "empty")
    rows = [
        [
            Cell(call["span_id"], link=links.of(call), code=True),
            Cell(str(call["run_id"] or "none"), code=True),
            Cell(shortened(str(call["agent"] or "unknown"))),
            Cell(shortened(call["model"])),
            _tokens(call["input_tokens"]),
            _tokens(call["cache_read"]),
            _tokens(call["output_tokens"]),
            Cell(usd(call["cost_usd"]), sort=float(call["cost_usd"] or 0)),
        ]
        for call in calls
    ]
    columns = [
        Column("Call"),
        Column("Run"),
        Column("Agent"),
        Column("Model"),
        Column("Input", True),
        Column("of it cached", True),
        Column("Output", True),
        Column("Cost", True),
    ]
    return Table(
        "costliest-calls",
        f"The {len(rows)} costliest calls",
        columns,
        rows,
        Why(LIST_METHOD, _source(document), "inferometer runs --sort cost"),
        filterable=True,
        folded=True,
    )
