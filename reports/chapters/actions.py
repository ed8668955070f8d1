"""What to do: recommendations, each with its saving, its interval, its grounds and its conditions."""

from __future__ import annotations

from typing import Any

from inferometer.reports.chapters.summary import Document, joint_ids
from inferometer.reports.charts.savings import savings
from inferometer.reports.contexts import Block, Card, Cards, Chapter, Chart, Fact, Why
from inferometer.reports.evidence import Links, evidence_table
from inferometer.reports.numbers import count, days, percent_width, share, usd
from inferometer.schema.wording import counted


def actions_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on recommendations."""
    found = document["recommendations"]
    if not found:
        lead = "Every change that could be priced or replayed was; none would have saved a thousandth of the bill."
        if document["totals"]["cost_usd"] is None:
            lead = "No call has a price, so what a change would save is unknown; the record chapter says why."
        return Chapter("actions", "What to do", "What to do", lead, [])
    chosen = joint_ids(document)
    highest = max(float(one["saving_usd"]["high"]) for one in found)
    cards = [_card(one, document, highest, one["id"] in chosen, links) for one in found]
    blocks: list[Block] = []
    if len(found) > 1:
        blocks.append(
            Chart(
                "savings",
                "Savings with their intervals",
                "Bars: what each change alone would have saved in the window; the line runs from its low to its high "
                "figure.",
                savings(found),
                Why(
                    "Each change applied alone to the recorded calls and priced again, or replayed. Alone: the bars do "
                    "not add up.",
                    None,
                    links.commands.audit("--json", "-"),
                ),
            )
        )
    blocks.append(Cards(cards))
    return Chapter("actions", "What to do", "What to do", _lead(document), blocks)


def _lead(document: Document) -> str:
    best, serving = document["best_set"], document["serving_set"]
    text = (
        "Each saving is a difference of two bills: the recorded calls, and the same calls changed and priced again or "
        "replayed."
    )
    if len(best["ids"]) > 1:
        text += (
            f" The {count(len(best['ids']))} marked changes go together and save {usd(best['saving_usd']['mid'])}; "
            f"their single savings would add up to {usd(best['sum_of_parts_usd'])}."
        )
    if serving and len(serving["ids"]) > 1:
        text += (
            f" Of what the calls would take of the compared hardware, {count(len(serving['ids']))} changes replayed "
            f"together save {usd(serving['saving_usd']['mid'])} ({share(serving['saving_share'])}); replayed one by "
            f"one they would add up to {usd(serving['sum_of_parts_usd'])}."
        )
    return text


def _window(period_days: float, undated: int) -> str:
    if not period_days:
        return "undated calls"
    return f"{days(period_days)}, and {counted(undated, 'undated call')}" if undated else days(period_days)


def _card(one: dict[str, Any], document: Document, highest: float, chosen: bool, links: Links) -> Card:
    saving = one["saving_usd"]
    facts = [
        Fact("Low to high", f"{usd(saving['low'])} to {usd(saving['high'])}"),
        Fact("Window", _window(one["period_days"], document["ratio"]["rests_on"]["undated"])),
        Fact("Calls changed", count(one["calls"])),
        Fact("Latency", one["latency_effect"]),
        Fact("Effort", one["effort"]),
        Fact("Confidence", one["confidence"]),
    ]
    freed = one["freed_capacity"]["usd"]["mid"]
    if float(freed):
        facts.insert(1, Fact("Cash, freed capacity", f"{usd(one['cash_usd']['mid'])} cash, {usd(freed)} committed"))
    if one["payback_days"] is not None:
        facts.append(Fact("Pays back after", f"{days(one['payback_days'])} (costs {usd(one['one_off_usd'])} once)"))
    if one["exclusive_with"]:
        facts.append(Fact("Not together with", ", ".join(name.replace("_", " ") for name in one["exclusive_with"])))
    return Card(
        id=f"action-{one['id']}",
        title=one["title"],
        amount=usd(saving["mid"]),
        amount_note=f"{share(one['saving_share'])} of {'the bill' if one['basis'] == 'billed' else 'its cost'}",
        bar=percent_width(float(saving["mid"]) / highest if highest else 0),
        bar_low=percent_width(float(saving["low"]) / highest if highest else 0),
        bar_high=percent_width(float(saving["high"]) / highest if highest else 0),
        text=one["action"],
        facts=facts,
        conditions=list(one["preconditions"]),
        why=Why(
            one["method"],
            None,
            links.commands.listing(f"action-{one['id']}") if one["evidence"] else links.commands.audit("--json", "-"),
            evidence_table(f"action-{one['id']}", one["title"], one["evidence"], links, "Saving"),
        ),
        chosen=chosen,
    )
