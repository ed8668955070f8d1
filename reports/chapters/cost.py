"""Where the money goes: by day, model, agent, kind of token, tag and outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from shlex import quote
from typing import Any

from inferometer.reports.chapters.summary import METER_NAMES, Document, meter_split, spent
from inferometer.reports.charts.cost_over_time import cost_over_time
from inferometer.reports.commands import Commands
from inferometer.reports.contexts import Block, Cell, Chapter, Chart, Column, Note, Table, Why
from inferometer.reports.evidence import Links, shortened
from inferometer.reports.numbers import GAP, UNKNOWN, bound, bounded, count, percent_width, share, tokens, usd
from inferometer.schema.wording import counted

LIST_METHOD = (
    "Every billable call once, its tokens split into disjoint meters and each priced by the list of the day of the "
    "call, less what a contract takes off. Reasoning is part of output and is not added to it. A sum that leaves out "
    "calls without a price, or tokens that calls do not state, is a lower bound and marked ≥. Calls that do not say "
    "what came from a cache are priced as if nothing had: an estimate, marked ≈, and their fresh input is marked ≤."
)
COSTLIEST = "table-costliest-calls"
TAG_VALUES = 20
"""More values of a tag than this are put together in the report; the command lists them all."""


def cost_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on cost."""
    commands = links.commands
    blocks: list[Block] = _over_time(document, commands)
    blocks.append(_groups(document, "model", "Model", commands))
    blocks.append(_groups(document, "agent", "Agent", commands))
    blocks += _meters(document, commands)
    blocks += _outcomes(document, commands)
    blocks += [_tag(document, tag, index, commands) for index, tag in enumerate(document["allocation"])]
    blocks.append(_calls(document, links))
    return Chapter("cost", "Cost", "Where the money goes", _lead(document), blocks)


def source(document: Document) -> str:
    """Return the price list in words."""
    return f"{document['price_list'] or 'no price list'}, as of {document['prices_as_of'] or 'an unknown day'}"


def listed(document: Document, command: str) -> Why:
    """Return how figures that add up calls came about."""
    return Why(LIST_METHOD, source(document), command, costliest=COSTLIEST if document["costliest_calls"] else None)


def _over_time(document: Document, commands: Commands) -> list[Block]:
    priced = [day for day in document["by_day"] if day["cost_usd"] is not None]
    if len({day["day"] for day in priced}) < 2 or not any(float(day["cost_usd"]) for day in priced):
        return []
    words = "Stacked bars: US dollars of each day by model, calls with a date and a price only."
    missing = sum(day["unpriced"] for day in document["by_day"])
    parts = [
        f"{counted(number, 'call')} {text}"
        for number, text in ((document["ratio"]["rests_on"]["undated"], "without a date"), (missing, "without a price"))
        if number
    ]
    if parts:
        words += f" Not shown: {' and '.join(parts)}."
    why = listed(document, commands.reading("inferometer cost --by day"))
    return [Chart("cost-over-time", "Cost by day", words, cost_over_time(priced), why)]


def _lead(document: Document) -> str:
    models = [group for group in document["groups"]["model"] if group["contracted_cost_usd"]]
    total = spent(document)
    if not models or not total:
        return "No call could be priced."
    first = max(models, key=lambda group: Decimal(str(group["contracted_cost_usd"])))
    part = share(Decimal(str(first["contracted_cost_usd"])) / total)
    text = f"{shortened(str(first['key']))} takes {part} of what is priced"
    agents = [
        group for group in document["groups"]["agent"] if group["contracted_cost_usd"] and group["key"] != UNKNOWN
    ]
    if len(agents) > 1:
        text += f", {shortened(agents[0]['key'])} is the dearest of {count(len(agents))} agents"
    return text + "."


def _groups(document: Document, by: str, title: str, commands: Commands) -> Table:
    groups: Sequence[dict[str, Any]] = document["groups"][by]
    total = Decimal(str(document["totals"]["contracted_cost_usd"] or 0))
    columns = [
        Column(title),
        Column("Cost", True),
        Column("Share", True),
        *([Column("No price", True)] if document["totals"]["unpriced"] else []),
        Column("Calls", True),
        Column("Runs", True),
        Column("Fresh input", True),
        Column("Cache read", True),
        Column("Cache write", True),
        Column("Output", True),
    ]
    is_whole = not document["totals"]["unpriced"]
    return Table(
        f"by-{by}",
        f"Cost by {by}",
        columns,
        [_row(group, total, is_whole) for group in groups[:200]],
        listed(document, commands.reading(f"inferometer cost --by {by}")),
        filterable=len(groups) > 8,
        total=_row({**document["totals"], "key": "Total"}, total, is_whole) if len(groups) > 1 else None,
    )


def _row(group: dict[str, Any], total: Decimal, is_whole: bool) -> list[Cell]:
    meters, left_open = group["meters"], group["meters_open"]
    writes = [meters[name] for name in ("cache_write_5m", "cache_write_1h") if meters[name] is not None]
    cost = group["contracted_cost_usd"]
    return [
        Cell(shortened(str(group["key"]))),
        *money(cost, group["unpriced"] + group["partial"], total, group["unsplit"]),
        *([] if is_whole else [Cell(count(group["unpriced"]) if group["unpriced"] else "", sort=group["unpriced"])]),
        Cell(count(group["inferences"]), sort=group["inferences"]),
        Cell(count(group["runs"]), sort=group["runs"]),
        _tokens(meters["input_fresh"], left_open["input_fresh"], left_open["cache_read"]),
        _tokens(meters["cache_read"], left_open["cache_read"]),
        _tokens(sum(writes) if writes else None, left_open["cache_write_5m"] + left_open["cache_write_1h"]),
        _tokens(meters["output"], left_open["output"]),
    ]


def money(cost: Any, left_out: int, total: Decimal, assumed: int = 0) -> list[Cell]:
    """Return an amount and its share of a total as cells."""
    part = float(Decimal(str(cost)) / total) if cost is not None and total else None
    return [
        Cell(bounded(cost, left_out, assumed), sort=float(cost or 0)),
        Cell("" if part is None else share(part), sort=part or 0.0, bar=None if part is None else percent_width(part)),
    ]


def _tokens(number: int | None, left_open: int = 0, over: int = 0) -> Cell:
    return Cell(bound(tokens(number), left_open, over), sort=float(number or 0))


def _meters(document: Document, commands: Commands) -> list[Block]:
    meters = document["by_meter"]
    if not meters:
        return []
    why = listed(document, commands.reading("inferometer export --to focus"))
    split = meter_split(document, why)
    total = sum((Decimal(str(meter["cost_usd"])) for meter in meters if meter["cost_usd"] is not None), Decimal(0))
    is_whole = all(meter["tokens"] == meter["priced_tokens"] for meter in meters)
    columns = [
        Column("Kind of token"),
        Column("Tokens", True),
        *([] if is_whole else [Column("of them without a price", True)]),
        Column("Paid per million", True),
        Column("Cost", True),
        Column("Share", True),
    ]
    assumed = {"input_fresh": document["totals"]["unsplit"]}
    rows = [_meter(meter, total, is_whole, assumed.get(meter["meter"], 0)) for meter in meters]
    table = Table("by-meter", "Cost by kind of token", columns, rows, why)
    return [table] if split is None else [split, table]


def _meter(meter: dict[str, Any], total: Decimal, is_whole: bool, assumed: int) -> list[Cell]:
    cost, priced = meter["cost_usd"], meter["priced_tokens"]
    rate = Decimal(str(cost)) / priced * 1_000_000 if cost is not None and priced else None
    left_out = meter["tokens"] - priced
    return [
        Cell(METER_NAMES[meter["meter"]]),
        _tokens(meter["tokens"], meter["open"], assumed) if meter["tokens"] else Cell("", sort=0.0),
        *([] if is_whole else [Cell(tokens(left_out) if left_out else "", sort=left_out)]),
        Cell("" if rate is None else usd(rate), sort=float(rate or 0)),
        *money(cost, meter["unpriced"], total, assumed),
    ]


def _outcomes(document: Document, commands: Commands) -> list[Block]:
    found = document["outcomes"]
    if not found["known"]:
        return []
    columns = [
        Column("Agent"),
        Column("Runs", True),
        Column("Outcome known", True),
        Column("Succeeded", True),
        Column("Cost of a success", True),
        Column("Spent on failed runs", True),
    ]
    why = Why(
        "A run succeeds where every outcome that it carries says so (a label such as success or resolved, else a value "
        "above a half). What the failed runs cost belongs to the successes: their sum over the number of successes. "
        "Runs without an outcome, and runs of which no call has a price, are left out of both.",
        None,
        commands.reading("inferometer runs --sort cost"),
    )
    blocks: list[Block] = [
        Table(
            "outcomes",
            "What a success costs",
            columns,
            [_outcome(str(row["agent"]), row) for row in found["by_agent"][:200]],
            why,
            total=_outcome("Total", found) if len(found["by_agent"]) > 1 else None,
        )
    ]
    if found["by_version"]:
        rows = [_outcome(str(row["version"]), row) for row in found["by_version"][:200]]
        blocks.append(
            Table("outcomes-version", "What a success costs, by version", [Column("Version"), *columns[1:]], rows, why)
        )
    return blocks


def _outcome(name: str, row: Mapping[str, Any]) -> list[Cell]:
    known = row["known"] / row["runs"] if row["runs"] else None
    part = row["succeeded"] / row["known"] if row["known"] else None
    left_out = 0 if row["unpriced_runs"] else row["unpriced"]
    success, failed = row["cost_usd_per_success"], row["cost_usd_of_failed"]
    words = bounded(success, left_out) if success is not None else "no success" if not row["succeeded"] else UNKNOWN
    return [
        Cell(shortened(name)),
        Cell(count(row["runs"]), sort=row["runs"]),
        Cell(f"{count(row['known'])} ({share(known)})", sort=row["known"]),
        Cell(f"{count(row['succeeded'])} ({share(part)})", sort=part or 0.0),
        Cell(words, sort=float(success or 0)),
        Cell(bounded(failed, row["unpriced_of_failed"]), sort=float(failed or 0)),
    ]


def _tag(document: Document, tag: dict[str, Any], index: int, commands: Commands) -> Table:
    total = Decimal(str(document["totals"]["contracted_cost_usd"] or 0))
    shown, rest = tag["values"][:TAG_VALUES], tag["values"][TAG_VALUES:]
    rows = [[Cell(shortened(value["value"])), *money(value["cost_usd"], value["unpriced"], total)] for value in shown]
    if rest:
        known = [Decimal(str(value["cost_usd"])) for value in rest if value["cost_usd"] is not None]
        amount = sum(known, Decimal(0)) if known else None
        name = counted(len(rest), "more value")
        rows.append([Cell(name), *money(amount, sum(value["unpriced"] for value in rest), total)])
    rows.append([Cell("untagged"), *money(tag["untagged_usd"], tag["untagged_unpriced"], total)])
    why = Why(
        "Cost of the runs by the value of their tag; what carries no such tag is untagged.",
        source(document),
        commands.reading(f"inferometer cost --by {quote('attribute:' + tag['tag'])}"),
    )
    title = f"Cost by tag: {shortened(tag['tag'])}, {share(tag['untagged_share'])} untagged"
    if tag["untagged_share"] is None:
        title = f"Cost by tag: {shortened(tag['tag'])}"
    columns = [Column("Value"), Column("Cost", True), Column("Share", True)]
    return Table(f"tag-{index}", title, columns, rows, why, folded=bool(rest))


def _calls(document: Document, links: Links) -> Block:
    calls = document["costliest_calls"]
    if not calls:
        return Note("There is no model call in this selection.", "empty")
    rows = [
        [
            Cell(call["span_id"], link=links.of(call), code=True),
            Cell(str(call["run_id"] or "none"), code=True),
            Cell(shortened(str(call["agent"] or UNKNOWN))),
            Cell(shortened(call["model"])),
            _tokens(call["input_tokens"]),
            _tokens(call["cache_read"]),
            _tokens(call["output_tokens"]),
            Cell(bounded(call["cost_usd"], int(call["cost_usd"] is None)), sort=float(call["cost_usd"] or 0)),
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
    ranked = "costliest call" if document["coverage"]["priced"] else "largest call"
    return Table(
        "costliest-calls",
        f"The{GAP}{counted(len(rows), ranked)}" if len(rows) > 1 else f"The {ranked}",
        columns,
        rows,
        Why(LIST_METHOD, source(document), links.commands.listing("calls")),
        filterable=True,
        folded=True,
    )
