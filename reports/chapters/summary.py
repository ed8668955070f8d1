"""The first screen: how far the bill is covered, what it comes to, where it goes, what to do first."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from inferometer.reports.contexts import Answer, Figure, Part, Split, Step, Summary, Why
from inferometer.reports.numbers import (
    GAP,
    UNKNOWN,
    bound,
    bounded,
    count,
    days,
    percent_width,
    share,
    times,
    tokens,
    usd,
)
from inferometer.schema.wording import counted

METER_NAMES = {
    "input_fresh": "Fresh input",
    "cache_read": "Cache reads",
    "cache_write_5m": "Cache writes, 5 min",
    "cache_write_1h": "Cache writes, 1 h",
    "output": "Output",
    "other": "Requests and fees",
}

Document = Mapping[str, Any]


def summary(document: Document) -> Summary:
    """Return the summary of an audit document."""
    reconciled = bool(document["reconciliation"]["reconciled"])
    return Summary(
        reconciliation=_reconciliation(document),
        reconciled=reconciled,
        answers=_answers(document),
        figures=[
            _spend(document),
            _ratio(document),
            _run_cost(document),
            _success(document),
            _fanout(document),
            _reuse(document),
        ],
        split=meter_split(document),
        steps=_steps(document),
        steps_title="What to do first",
        steps_note=_together(document),
        warnings=_warnings(document),
    )


def spent(document: Document) -> Decimal | None:
    """Return what the calls and the tools and fees beside them cost, as contracted; None where nothing is priced."""
    totals = document["totals"]
    calls, charges = (
        None if amount is None else Decimal(str(amount))
        for amount in (totals["contracted_cost_usd"], totals["charges_usd"])
    )
    return (calls or Decimal(0)) + (charges or Decimal(0)) if calls is not None or charges else None


def left_out(document: Document) -> int:
    """Return how many calls and charges have no price, or one for a part of them."""
    return sum(int(document["totals"][key]) for key in ("unpriced", "partial", "charges_unpriced"))


def _reconciliation(document: Document) -> str:
    found = document["reconciliation"]
    if not found["reconciled"]:
        return (
            "Not reconciled: nothing says how much of your spend these traces cover. Give the provider's bill with "
            "inferometer audit --bill FILE."
        )
    return (
        f"{share(found['traced_share'])} of the bill is traced: {usd(found['traced_usd'])} of "
        f"{usd(found['billed_usd'])}."
    )


def beside_the_bill(document: Mapping[str, Any]) -> list[str]:
    """Return what of a reconciliation's files is in no share, in sentences."""
    words = []
    if document["other_usd"] is not None:
        words.append(f"Taxes, credits, refunds and fees of {usd(document['other_usd'])} are in no share.")
    left_out = sum(file["left_out"] for file in document["files"])
    if left_out:
        words.append(f"{counted(left_out, 'line')} about other services left out.")
    return words


def _answers(document: Document) -> list[Answer]:
    if not document["totals"]["inferences"]:
        text = (
            "There is nothing to audit yet. Import traces with inferometer import PATH, or point an OTLP exporter at "
            "inferometer sidecar."
        )
        return [Answer("What to do", text)]
    found = [Answer("What it cost", _cost(document)), Answer("Against training", _against_training(document))]
    prospect = _prospect(document)
    return [*found, Answer("What to do", prospect)] if prospect else found


def _cost(document: Document) -> str:
    totals = document["totals"]
    calls = f"{counted(totals['inferences'], 'model call')} in {counted(totals['runs'], 'run')}"
    amount = spent(document)
    if amount is None:
        return f"{calls}. None of them has a price, so what they cost is unknown; the record chapter says why."
    least = "about " if totals["unsplit"] else "at least " if left_out(document) else ""
    return f"{calls} cost {least}{usd(amount)}{_over(document)}."


def _against_training(document: Document) -> str:
    found, horizon = document["ratio"]["billed_usd"], document["ratio"]["horizon_days"]
    if found["ratio"] is None:
        hint = "" if found["training"] else " State it in a ledger.toml and pass that with --ledger."
        return f"Undefined: {found['reason']}.{hint}"
    ratio = found["ratio"]
    return (
        f"Over {count(horizon)} days inference comes to {times(ratio['mid'])} what training costs "
        f"(80{GAP}% interval {times(ratio['low'])} to {times(ratio['high'])})."
    )


def _over(document: Document) -> str:
    window, undated = document["window"], document["ratio"]["rests_on"]["undated"]
    if not window["days"]:
        return ""
    if undated:
        return f", {count(undated)} of them without a date and the others over {days(window['days'])}"
    return f" over {days(window['days'])}"


def joint_ids(document: Document) -> set[str]:
    """Return the recommendations that go together: those on the bill, and those on hardware of one's own."""
    return {id_ for name in ("best_set", "serving_set") if document[name] for id_ in document[name]["ids"]}


def _prospect(document: Document) -> str:
    best = document["best_set"]
    if not best["ids"]:
        if document["totals"]["cost_usd"] is None:
            return ""
        return "No change that was priced would have made it cheaper by a tenth of a per cent."
    saved, changes = best["saving_usd"], counted(len(best["ids"]), "change")
    of = "of what is priced" if left_out(document) else "of it"
    if is_open(saved):
        whole = float(best["remaining_usd"]) + float(saved["mid"])
        part = f", up to {share(float(saved['high']) / whole)} {of}" if whole else ""
        text = f"{changes} would have saved between {usd(saved['low'])} and {usd(saved['high'])}{part}"
        return f"{text}: the traces leave open how much."
    return (
        f"{changes} would have saved {usd(saved['mid'])} ({share(best['saving_share'])} {of}), and the same work would "
        f"have cost {usd(best['remaining_usd'])}."
    )


def is_open(saving: Mapping[str, Any]) -> bool:
    """Return whether a saving's interval is so wide that its middle alone would mislead."""
    return float(saving["low"]) < 0.75 * float(saving["mid"])


def _spend(document: Document) -> Figure:
    totals = document["totals"]
    missing = left_out(document)
    notes = []
    if totals["contracted_cost_usd"] != totals["cost_usd"]:
        notes.append(f"as contracted; {usd(totals['cost_usd'])} by list")
    elif not missing:
        notes.append(f"list price, {document['price_list'] or 'price list unknown'}")
    if totals["charges_usd"] and float(totals["charges_usd"]):
        notes.append(f"{usd(totals['charges_usd'])} of it for tools and fees")
    if totals["unpriced"]:
        notes.append(f"{count(totals['unpriced'])} of {counted(totals['inferences'], 'call')} have no price")
    if totals["partial"]:
        verb = "says" if totals["partial"] == 1 else "say"
        notes.append(f"{counted(totals['partial'], 'call')} {verb} only a part of what was used")
    if totals["charges_unpriced"]:
        notes.append(f"{counted(totals['charges_unpriced'], 'fee')} without a price")
    return Figure(
        "Spend",
        bounded(spent(document), missing, totals["unsplit"]),
        "; ".join(notes),
        "bad" if missing else "plain",
        "table-by-model",
    )


def _run_cost(document: Document) -> Figure:
    fan = document["fanout"]
    found = fan["cost_usd_per_run"]
    if found["p50"] is None:
        return Figure("Cost of a run", UNKNOWN, "no call has a price", anchor="fanout")
    note = f"median; {_tail(document, usd(found['p99']))}"
    left_out = [
        f"{count(fan[key])} {words}"
        for key, words in (("unpriced_runs", "have no price"), ("partly_priced_runs", "have one in part"))
        if fan[key]
    ]
    if left_out:
        note += f"; of {counted(document['totals']['runs'], 'run')}, {' and '.join(left_out)}"
    return Figure("Cost of a run", usd(found["p50"]), note, anchor="table-fanout-quantiles")


def _tail(document: Document, amount: str) -> str:
    if document["totals"]["runs"] < 100:
        return f"the costliest {amount}"
    return f"one in a hundred costs {amount} or more"


def _fanout(document: Document) -> Figure:
    found = document["fanout"]["inferences_per_run"]
    if found["p50"] is None:
        return Figure("Model calls per run", UNKNOWN, "no run holds a model call", anchor="fanout")
    tail = f"one run in ten makes {count(found['p90'])} or more, the most {count(found['max'])}"
    return Figure("Model calls per run", count(found["p50"]), f"median; {tail}", anchor="table-fanout-quantiles")


def _success(document: Document) -> Figure:
    found = document["outcomes"]
    if not found["known"]:
        return Figure(
            "Cost of a success",
            UNKNOWN,
            "no run says how it ended; record one with inferometer.outcome()",
            anchor="cost",
        )
    note = (
        f"{count(found['succeeded'])} of {counted(found['known'], 'run')} with a known outcome succeeded"
        f"{_open_outcomes(found)}"
    )
    value = (
        UNKNOWN
        if found["cost_usd_per_success"] is None
        else bounded(found["cost_usd_per_success"], found["unpriced"] if not found["unpriced_runs"] else 0)
    )
    return Figure("Cost of a success", value, note, anchor="table-outcomes")


def _open_outcomes(found: Mapping[str, Any]) -> str:
    parts = []
    if found["runs"] > found["known"]:
        parts.append(f"{share(1 - found['known'] / found['runs'])} of runs do not say")
    if found["unpriced_runs"]:
        parts.append(f"{counted(found['unpriced_runs'], 'run')} without a price left out")
    return "".join(f"; {part}" for part in parts)


def _reuse(document: Document) -> Figure:
    found = document["prefix"]
    read, sent = found["cache_read_share"], found["reuse_share"]
    again = "what was sent before is unknown: no prefix hashes"
    if sent is not None:
        again = f"{share(sent)} of it had been sent before"
    anchor = "table-by-meter" if document["by_meter"] else "cost"
    if read is None:
        return Figure("Input from cache", UNKNOWN, f"the traces do not say; {again}", anchor=anchor)
    stated, calls = found["cache_read_calls"], document["coverage"]["inferences"]
    if stated < calls:
        verb = "state" if stated != 1 else "states"
        again = f"in the {counted(stated, 'call')} that {verb} it; of all input, {again.replace(' of it', '')}"
    return Figure("Input from cache", share(read), again, "good" if read >= 0.8 else "plain", anchor)


def _ratio(document: Document) -> Figure:
    found = document["ratio"]["billed_usd"]
    if found["ratio"] is None:
        return Figure("Inference to training", "undefined", str(found["reason"]), anchor="training")
    interval = f"{times(found['ratio']['low'])} to {times(found['ratio']['high'])}"
    text = f"over {document['ratio']['horizon_days']} days; 80{GAP}% interval {interval}"
    if document["ratio"]["rests_on"]["undated"]:
        text += "; undated calls left out"
    return Figure("Inference to training", times(found["ratio"]["mid"]), text, anchor="table-ratio-bases")


def meter_split(document: Document, why: Why | None = None) -> Split | None:
    """Return where the dollars go by kind of token; None where nothing is priced."""
    meters = [meter for meter in document["by_meter"] if meter["cost_usd"] is not None and float(meter["cost_usd"]) > 0]
    total = sum((Decimal(str(meter["cost_usd"])) for meter in meters), Decimal(0))
    if not total:
        return None
    order = list(METER_NAMES)
    left_out = sum(meter["tokens"] - meter["priced_tokens"] for meter in document["by_meter"])
    return Split(
        "Where the money goes, by kind of token",
        [
            Part(
                METER_NAMES[meter["meter"]],
                percent_width(float(Decimal(str(meter["cost_usd"])) / total)),
                f"c{order.index(meter['meter']) + 1}",
                _part(meter, document["totals"]["unsplit"] if meter["meter"] == "input_fresh" else 0),
                share(Decimal(str(meter["cost_usd"])) / total),
            )
            for meter in meters
        ],
        f"{tokens(left_out)} more tokens have no price." if left_out else "",
        why,
    )


def _part(meter: Mapping[str, Any], assumed: int) -> str:
    cost = bounded(meter["cost_usd"], 0, assumed)
    if not meter["priced_tokens"]:
        return cost
    return f"{cost} for {bound(tokens(meter['priced_tokens']), meter['open'], assumed)} tokens"


def _steps(document: Document) -> list[Step]:
    found = sorted(document["recommendations"], key=lambda one: -Decimal(str(one["cash_usd"]["mid"])))[:3]
    return [
        Step(
            one["title"],
            usd(one["saving_usd"]["mid"]),
            share(one["saving_share"]),
            percent_width(one["saving_share"]),
            percent_width(_low_share(one)),
            f"action-{one['id']}",
            f"between {usd(one['saving_usd']['low'])} and {usd(one['saving_usd']['high'])}"
            if is_open(one["saving_usd"])
            else "",
        )
        for one in found
    ]


def _low_share(one: Mapping[str, Any]) -> float:
    saving = one["saving_usd"]
    return float(one["saving_share"]) * float(saving["low"]) / float(saving["mid"]) if float(saving["mid"]) else 0.0


def _together(document: Document) -> str:
    best = document["best_set"]
    if len(best["ids"]) < 2:
        return ""
    saved = best["saving_usd"]
    text = (
        f"Applied together, {len(best['ids'])} compatible changes save {usd(saved['mid'])} "
        f"({usd(saved['low'])} to {usd(saved['high'])})"
    )
    if usd(saved["mid"]) == usd(best["sum_of_parts_usd"]):
        return f"{text}; they do not overlap.{_sampled(best)}"
    return f"{text}, less than the {usd(best['sum_of_parts_usd'])} that their savings would add up to.{_sampled(best)}"


def _sampled(best: Mapping[str, Any]) -> str:
    if best["sampled_calls"] is None:
        return ""
    return f" Priced together on whole sessions of {counted(best['sampled_calls'], 'call')} and scaled."


def _warnings(document: Document) -> list[str]:
    coverage = document["coverage"]
    found = []
    if coverage["absent"]:
        of = f"{count(coverage['absent'])} of {counted(coverage['inferences'], 'call')}"
        found.append(f"{of} carry no usage: their cost is unknown, not zero.")
    if document["totals"]["unsplit"]:
        of = f"{count(document['totals']['unsplit'])} of {counted(coverage['inferences'], 'call')}"
        found.append(f"{of} do not say how much of their input came from a cache: all of it is priced as fresh.")
    if document["price_findings"]:
        calls = sum(finding["calls"] for finding in document["price_findings"])
        verb = "carries" if calls == 1 else "carry"
        found.append(f"{counted(calls, 'call')} {verb} a recorded cost that the price list does not explain.")
    if coverage["open_runs"]:
        verb = "is" if coverage["open_runs"] == 1 else "are"
        found.append(
            f"{counted(coverage['open_runs'], 'run')} {verb} still open; the numbers of open runs are provisional."
        )
    return found
