"""Inference against training, and what circulates about it beside the user's own figures."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from inferometer.reports.chapters.cost import money
from inferometer.reports.chapters.summary import Document
from inferometer.reports.charts.bill_bridge import bill_bridge
from inferometer.reports.charts.ratio_over_horizon import ratio_over_horizon
from inferometer.reports.commands import Commands
from inferometer.reports.contexts import Block, Cell, Chapter, Chart, Column, Note, Table, Why
from inferometer.reports.evidence import Links
from inferometer.reports.numbers import GAP, UNKNOWN, bounded, count, share, times, tokens, usd
from inferometer.schema.wording import counted

RATIO_METHOD = (
    "R = inference over the horizon / training allocated to it. Inference is the traced rate, with an 80 % interval "
    "from the spread of runs and days, grown as the ledger says, and on own hardware from its low to its high price; "
    "training is the ledger's, written off over the model's lifetime. Tools and fees are in neither. Dollars billed, "
    "dollars of own hardware and FLOP are three bases and are never mixed."
)
BRIDGE_METHOD = (
    "Spend = runs × calls per run × tokens per call × share of models × share of meters × price. Each step is the "
    "factor's Shapley value, the mean over all orders in which the factors could have changed; the steps sum to the "
    "change exactly."
)
STEPS = {"runs": "the number of runs", "charges": "charges other than tokens", "model_mix": "the choice of model"}
RUNNING = {"development": "Development", "platform": "Platform", "other_ai": "Other AI"}
DAYS_PER_MONTH = 30.4375
LABELS = {"p50": "median", "p90": "P90", "p99": "P99"}
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


def training_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on the inference-to-training ratio."""
    ratio, commands = document["ratio"], links.commands
    why = Why(RATIO_METHOD, "Sardana et al., arXiv 2401.00448", commands.audit("--json", "-"))
    blocks: list[Block] = []
    if ratio["by_horizon"]:
        blocks.append(
            Chart(
                "ratio-horizon",
                "Inference over training, by horizon",
                "Line: cumulated inference over the whole cost of training; the band is its 80 % interval, the dashed "
                "line parity.",
                ratio_over_horizon(ratio["by_horizon"]),
                why,
            )
        )
    blocks.append(_bases(ratio, why))
    blocks += _rests_on(ratio)
    blocks += _monthly(ratio, commands)
    blocks.append(_purposes(document, commands))
    if document["claims"]:
        blocks.append(_claims(document["claims"], commands))
    return Chapter("training", "Training", "Inference against training", _lead(ratio), blocks)


def _rests_on(ratio: dict[str, Any]) -> list[Block]:
    """Return what the rates leave out; nothing where that is nothing."""
    found = ratio["rests_on"]
    parts = []
    if found["undated"]:
        cost = "" if found["undated_cost_usd"] is None else f" ({usd(found['undated_cost_usd'])})"
        parts.append(f"{counted(found['undated'], 'call')} without a date{cost} are in no rate")
    if found["unpriced"]:
        parts.append(
            f"{count(found['unpriced'])} of the dated calls have no price, so dollars billed are a lower bound"
        )
    if found["without_usage"]:
        parts.append(f"{count(found['without_usage'])} state no usage, so tokens and FLOP are lower bounds")
    if not parts:
        return []
    amount = bounded(found["cost_usd"], found["unpriced"])
    return [Note(f"The rates rest on {counted(found['inferences'], 'call')} ({amount}): {'; '.join(parts)}.")]


def _lead(ratio: dict[str, Any]) -> str:
    billed = ratio["billed_usd"]
    if billed["ratio"] is None:
        return f"The ratio is undefined: {billed['reason']}. State training in a ledger and pass it with --ledger."
    text = (
        f"Over {ratio['horizon_days']} days inference costs {times(billed['ratio']['mid'])} the training allocated to "
        f"them (80 % interval {times(billed['ratio']['low'])} to {times(billed['ratio']['high'])})."
    )
    if ratio["break_even_date"]:
        text += f" Cumulated inference passes training on {ratio['break_even_date']}."
    research = ratio["with_research_multiplier"]
    if research["ratio"]:
        text += (
            f" Counting the research behind final runs ({research['multiplier_low']} to {research['multiplier_high']} "
            f"times them), it is {times(research['ratio']['low'])} to {times(research['ratio']['high'])}"
            + (f" and passed on {research['break_even_date']}." if research["break_even_date"] else ".")
        )
    return text


def _bases(ratio: dict[str, Any], why: Why) -> Table:
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
    return Table("ratio-bases", "The ratio on three bases", columns, rows, why)


def _basis(title: str, basis: dict[str, Any]) -> list[Cell]:
    def amount(value: Any) -> str:
        if value is None:
            return UNKNOWN
        return usd(value) if basis["unit"] == "USD" else f"{float(value):.3g}".replace("e+", "e")

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


def _monthly(ratio: dict[str, Any], commands: Commands) -> list[Block]:
    """Return inference and training beside the ledger's running costs, a month; nothing where it states none."""
    stated = ratio["running_usd_per_month"]
    if not any(stated.values()):
        return []
    billed, life = ratio["billed_usd"], ratio["lifetime_days"]
    rate = billed["inference_per_day"]
    amounts = {
        "Inference, at the traced rate": None if rate is None else float(rate["mid"]) * DAYS_PER_MONTH,
        "Training, written off": float(billed["training"]) / life * DAYS_PER_MONTH
        if billed["training"] and life
        else None,
        **{title: stated[key] for key, title in RUNNING.items()},
    }
    known = {title: Decimal(str(amount)) for title, amount in amounts.items() if amount is not None}
    total = sum(known.values(), Decimal(0))
    rows = [[Cell(title), *money(amount, 0, total)] for title, amount in known.items()]
    why = Why(
        "Dollars billed a day times the days of a month, training over its lifetime, and what the ledger states.",
        None,
        commands.audit("--json", "-"),
    )
    columns = [Column("A month"), Column("US dollars", True), Column("Share", True)]
    whole = [Cell("Total"), *money(total, 0, total)]
    return [Table("running", "All AI spending that is traced or stated, a month", columns, rows, why, total=whole)]


def _purposes(document: Document, commands: Commands) -> Table:
    found = document["ratio"]["by_purpose"]
    total = Decimal(str(document["totals"]["contracted_cost_usd"] or 0))
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
            Cell(count(found[key]["inferences"]), sort=found[key]["inferences"]),
            Cell(tokens(found[key]["tokens"]), sort=found[key]["tokens"]),
            *money(found[key]["cost_usd"], found[key]["unpriced"], total),
        ]
        for key, title in names.items()
        if found[key]["inferences"]
    ]
    columns = [
        Column("Purpose"),
        Column("Calls", True),
        Column("Tokens", True),
        Column("Cost", True),
        Column("Share", True),
    ]
    why = Why(
        "By the purpose that runs state (inferometer.purpose); runs that state none are not guessed.",
        None,
        commands.reading("inferometer cost --by purpose"),
    )
    return Table("purposes", "Inference by purpose", columns, rows, why)


def _claims(claims: list[dict[str, Any]], commands: Commands) -> Table:
    rows = [
        [
            Cell(_capitalised(claim["claim"])),
            Cell(_measured(claim)),
            Cell(STATUS.get(claim["status"], str(claim["status"]).replace("_", " "))),
            Cell(claim["unit"]),
            Cell(_capitalised(claim["scope"] or "")),
            Cell(claim["source"] or ""),
        ]
        for claim in claims
    ]
    columns = [
        Column("What is said"),
        Column("Your figure"),
        Column("How far it holds"),
        Column("Unit"),
        Column("Scope"),
        Column("Best source"),
    ]
    why = Why(
        "Each claim on its own unit; where your traces do not hold that unit, what is missing is named.",
        None,
        commands.audit("--json", "-"),
    )
    return Table("claims", "What is said in the industry, beside your figures", columns, rows, why)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _measured(claim: dict[str, Any]) -> str:
    value = claim["measured"]
    if value is None:
        return _capitalised(str(claim["note"]))
    if isinstance(value, dict):
        shown = "; ".join(f"{LABELS.get(name, name)}: {_short(number)}" for name, number in value.items())
        return f"{shown} ({claim['note']})"
    figure = share(value) if claim["unit"] == "share" else f"{_short(value)}{GAP}{claim['unit']}"
    return f"{figure} ({claim['note']})"


def _short(number: Any) -> str:
    """Return a number of three digits, without an exponent."""
    if not isinstance(number, float):
        return f"{number:,}" if isinstance(number, int) else str(number)
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def change_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on why the bill changed."""
    steps = document["bridge"]
    if not steps:
        text = "The selection is too short, or its calls carry too few dates, to be halved and compared."
        return Chapter("change", "Change", "Why the bill changed", text, [])
    before, after = steps[0]["amount_usd"], steps[-1]["amount_usd"]
    moved = max(steps[1:-1], key=lambda step: abs(float(step["amount_usd"])))
    middle = str(document["window"]["middle"])[:10]
    lead = (
        f"Before and after {middle}, the middle of the window, spend was {usd(before)} and {usd(after)}; the largest "
        f"step is {STEPS.get(moved['step'], moved['title'].lower())} ({_signed(moved['amount_usd'])})."
    )
    rest = document["ratio"]["rests_on"]
    left_out = [
        f"{counted(number, 'call')} {words}"
        for number, words in ((rest["undated"], "without a date"), (rest["unpriced"], "without a price"))
        if number
    ]
    if left_out:
        lead += f" {_capitalised(' and '.join(left_out))} are in neither."
    rows = [[Cell(step["title"]), Cell(_change(step), sort=float(step["amount_usd"]))] for step in steps]
    why = Why(BRIDGE_METHOD, "Shapley, A value for n-person games, 1953", _halved(document, links.commands))
    chart = Chart(
        "bill-bridge",
        "Bill bridge",
        "Waterfall from the spend before to the spend after; each step begins where the one above it ended.",
        bill_bridge(steps),
        why,
    )
    table = Table("bridge-steps", "The same in figures", [Column("Step"), Column("US dollars", True)], rows, why)
    return Chapter("change", "Change", "Why the bill changed", lead, [chart, table])


def _halved(document: Document, commands: Commands) -> str:
    """Return the commands that audit both halves and compare them."""
    middle = document["window"]["middle"]
    before = commands.audit("--json", "before.json", "--until", middle)
    after = commands.audit("--json", "after.json", "--since", middle)
    return f"{before} && {after} && inferometer diff before.json after.json"


def _change(step: dict[str, Any]) -> str:
    return usd(step["amount_usd"]) if step["step"] in {"start", "end"} else _signed(step["amount_usd"])


def _signed(amount: Any) -> str:
    text = usd(amount)
    return f"+{text}" if float(amount) > 0 else text
