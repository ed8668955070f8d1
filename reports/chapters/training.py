"""Inference against training, and what circulates about it beside the user's own figures."""

from __future__ import annotations

from typing import Any

from inferometer.reports.chapters.summary import Document
from inferometer.reports.charts.bill_bridge import bill_bridge
from inferometer.reports.charts.ratio_over_horizon import ratio_over_horizon
from inferometer.reports.contexts import Block, Cell, Chapter, Chart, Column, Table, Why
from inferometer.reports.numbers import UNKNOWN, count, share, times, tokens, usd

RATIO_METHOD = (
    "R = inference over the horizon / training allocated to it. Inference is the traced rate, with an 80 % interval "
    "from the "
    "spread of runs and days, grown as the ledger says; training is the ledger's, written off over the model's "
    "lifetime. "
    "Dollars billed, dollars of own hardware and FLOP are three bases and are never mixed."
)
BRIDGE_METHOD = (
    "Spend = runs × calls per run × tokens per call × share of models × share of meters × price. Each step is the "
    "factor's "
    "Shapley value, the mean over all orders in which the factors could have changed; the steps sum to the change "
    "exactly."
)
STATUS = {
    "holds": "holds",
    "holds_narrower": "holds in a narrower sense",
    "holds_with_conditions": "holds on conditions",
    "holds_batch1_dense_only": "holds at batch 1, dense models",
    "holds_with_preconditions": "holds on conditions",
    "plausible_mean_heavy_tail": "plausible as a mean; the tail is heavy",
    "not_supported": "not supported",
    "unsourced": "has no source",
    "unverified": "not verified",
    "vendor_claim_unverified": "a vendor's claim, not verified",
    "vendor_origin_pre_LLM": "a vendor's, from before language models",
    "no_primary_contradicted": "no primary source; contradicted",
    "conflated": "mixes two things up",
}


def training_chapter(document: Document) -> Chapter:
    """Return the chapter on the inference-to-training ratio."""
    ratio = document["ratio"]
    blocks: list[Block] = []
    if ratio["by_horizon"]:
        blocks.append(
            Chart(
                "ratio-horizon",
                "Inference over training, by horizon",
                "Line: cumulated inference over the whole cost of training; the band is its 80 % interval, the dashed "
                "line parity.",
                ratio_over_horizon(ratio["by_horizon"]),
                Why(RATIO_METHOD, "Sardana et al., arXiv 2401.00448", "inferometer audit --ledger ledger.toml"),
            )
        )
    blocks.append(_bases(ratio))
    blocks.append(_purposes(ratio))
    if document["claims"]:
        blocks.append(_claims(document["claims"]))
    return Chapter("training", "Training", "Inference against training", _lead(ratio), blocks)


def _lead(ratio: dict[str, Any]) -> str:
    billed = ratio["billed_usd"]
    if billed["ratio"] is None:
        return f"The ratio is undefined: {billed['reason']}. State training in a ledger and pass it with --ledger."
    text = (
        f"Over {ratio['horizon_days']} days inference costs {times(billed['ratio']['mid'])} of the training allocated "
        "to them "
        f"(80 % interval {times(billed['ratio']['low'])} to {times(billed['ratio']['high'])})."
    )
    if ratio["break_even_date"]:
        text += f" Cumulated inference passes training on {ratio['break_even_date']}."
    research = ratio["with_research_multiplier"]
    if research["ratio"]:
        text += (
            f" Counting the research behind final runs ({research['multiplier_low']} to {research['multiplier_high']} "
            "times them), "
            f"it is {times(research['ratio']['low'])} to {times(research['ratio']['high'])}."
        )
    return text


def _bases(ratio: dict[str, Any]) -> Table:
    names = (("billed_usd", "Dollars billed"), ("own_hardware_usd", "Dollars, own hardware"), ("flop", "FLOP"))
    rows = [_basis(title, ratio[key]) for key, title in names]
    columns = [
        Column("Basis"),
        Column("Inference a day", True),
        Column("over the horizon", True),
        Column("Training", True),
        Column("Ratio", True),
        Column("Interval", True),
        Column("Parity at", True),
        Column("Why not"),
    ]
    why = Why(RATIO_METHOD, "Sardana et al., arXiv 2401.00448", "inferometer audit --ledger ledger.toml --json -")
    return Table("ratio-bases", "The ratio on three bases", columns, rows, why)


def _basis(title: str, basis: dict[str, Any]) -> list[Cell]:
    def amount(value: Any) -> str:
        if value is None:
            return UNKNOWN
        return usd(value) if basis["unit"] == "USD" else f"{float(value):.3g}"

    rate, total, found = basis["inference_per_day"], basis["inference_over_horizon"], basis["ratio"]
    return [
        Cell(title),
        Cell(amount(rate["mid"] if rate else None)),
        Cell(amount(total["mid"] if total else None)),
        Cell(amount(basis["training"])),
        Cell(times(found["mid"]) if found else "undefined"),
        Cell(f"{times(found['low'])} to {times(found['high'])}" if found else ""),
        Cell(f"{tokens(basis['parity_tokens'])} tokens" if basis["parity_tokens"] else ""),
        Cell(basis["reason"] or ""),
    ]


def _purposes(ratio: dict[str, Any]) -> Table:
    names = {
        "serve": "Serving users",
        "develop": "Development",
        "evaluate": "Evaluation",
        "train": "Training (counts as training)",
        "unknown": "Not stated",
    }
    rows = [
        [
            Cell(title),
            Cell(count(ratio["by_purpose"][key]["inferences"]), sort=ratio["by_purpose"][key]["inferences"]),
            Cell(tokens(ratio["by_purpose"][key]["tokens"]), sort=ratio["by_purpose"][key]["tokens"]),
            Cell(usd(ratio["by_purpose"][key]["cost_usd"]), sort=float(ratio["by_purpose"][key]["cost_usd"])),
        ]
        for key, title in names.items()
        if ratio["by_purpose"][key]["inferences"]
    ]
    columns = [Column("Purpose"), Column("Calls", True), Column("Tokens", True), Column("Cost", True)]
    why = Why(
        "By the purpose that runs state (inferometer.purpose); runs that state none are not guessed.",
        None,
        "inferometer cost --by purpose",
    )
    return Table("purposes", "Inference by purpose", columns, rows, why)


def _claims(claims: list[dict[str, Any]]) -> Table:
    rows = [
        [
            Cell(claim["claim"]),
            Cell(_measured(claim)),
            Cell(STATUS.get(claim["status"], str(claim["status"]).replace("_", " "))),
            Cell(claim["scope"] or ""),
            Cell(claim["source"] or ""),
        ]
        for claim in claims
    ]
    columns = [
        Column("What is said"),
        Column("Your figure"),
        Column("How far it holds"),
        Column("Scope"),
        Column("Best source"),
    ]
    why = Why("Each claim on its own unit; where your traces do not hold that unit, what is missing is named.")
    return Table("claims", "What is said in the industry, beside your figures", columns, rows, why)


def _measured(claim: dict[str, Any]) -> str:
    value = claim["measured"]
    if value is None:
        note = str(claim["note"])
        return note[:1].upper() + note[1:]
    if isinstance(value, dict):
        shown = ", ".join(f"{name.replace('_', ' ')} {_short(number)}" for name, number in value.items())
        return f"{shown} ({claim['note']})"
    return f"{share(value)} ({claim['note']})"


def _short(number: Any) -> str:
    return f"{number:,.3g}" if isinstance(number, float) else f"{number:,}" if isinstance(number, int) else str(number)


def change_chapter(document: Document) -> Chapter:
    """Return the chapter on why the bill changed."""
    steps = document["bridge"]
    if not steps:
        text = "The selection is too short, or its calls carry too few dates, to be halved and compared."
        return Chapter("change", "Change", "Why the bill changed", text, [])
    before, after = steps[0]["amount_usd"], steps[-1]["amount_usd"]
    moved = sorted(steps[1:-1], key=lambda step: -abs(float(step["amount_usd"])))
    lead = (
        f"From the first half of the window to the second, spend went from {usd(before)} to {usd(after)}; the largest "
        "step is "
        f"{moved[0]['title'].lower()} ({_signed(moved[0]['amount_usd'])})."
    )
    why = Why(BRIDGE_METHOD, None, "inferometer diff A.json B.json")
    rows = [[Cell(step["title"]), Cell(_change(step), sort=float(step["amount_usd"]))] for step in steps]
    chart = Chart(
        "bill-bridge", "Bill bridge", "Waterfall from the spend before to the spend after.", bill_bridge(steps), why
    )
    table = Table("bridge-steps", "The same in figures", [Column("Step"), Column("US dollars", True)], rows, why)
    return Chapter("change", "Change", "Why the bill changed", lead, [chart, table])


def _change(step: dict[str, Any]) -> str:
    return usd(step["amount_usd"]) if step["step"] in {"start", "end"} else _signed(step["amount_usd"])


def _signed(amount: Any) -> str:
    text = usd(amount)
    return f"+{text}" if float(amount) > 0 else text
