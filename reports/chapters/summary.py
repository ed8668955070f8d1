"""The first screen: how far the bill is covered, what it comes to, where it goes, what to do first."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from inferometer.reports.contexts import Figure, Part, Split, Step, Summary
from inferometer.reports.numbers import UNKNOWN, count, days, percent_width, share, times, tokens, usd

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
        lead=_lead(document),
        figures=[
            _spend(document),
            _run_cost(document),
            _fanout(document),
            _success(document),
            _reuse(document),
            _ratio(document),
        ],
        split=meter_split(document),
        steps=_steps(document),
        steps_title="What to do first",
        steps_note=_together(document),
        warnings=_warnings(document),
    )


def _reconciliation(document: Document) -> str:
    found = document["reconciliation"]
    if not found["reconciled"]:
        return "Not reconciled. No bill was given, so nothing says how much of your spend these traces cover."
    return (
        f"{share(found['traced_share'])} of the bill is traced: {usd(found['traced_usd'])} of "
        f"{usd(found['billed_usd'])}."
    )


def _lead(document: Document) -> str:
    totals, window = document["totals"], document["window"]
    if not totals["inferences"]:
        return (
            "There is nothing to audit yet. Import traces with inferometer import PATH, or point an OTLP exporter at "
            "inferometer sidecar."
        )
    over = f" over {days(window['days'])}" if window["days"] else ""
    spent = usd(totals["cost_usd"])
    text = f"{count(totals['inferences'])} model calls in {count(totals['runs'])} runs cost {spent}{over}."
    best = document["best_set"]
    if best["ids"]:
        saved = best["saving_usd"]
        text += (
            f" The same work could have cost {usd(best['remaining_usd'])}: the best compatible changes save "
            f"{usd(saved['mid'])} ({share(best['saving_share'])})"
        )
        if float(saved["low"]) < 0.75 * float(saved["mid"]):
            text += f", or between {usd(saved['low'])} and {usd(saved['high'])}: the traces leave part of it open"
        text += "."
    elif totals["cost_usd"] is not None:
        text += " No change that was priced would have made it cheaper by a tenth of a per cent."
    return text


def _spend(document: Document) -> Figure:
    totals = document["totals"]
    unpriced = totals["unpriced"]
    note = f"list price, {document['price_list'] or 'price list unknown'}"
    if unpriced:
        note = f"{count(unpriced)} of {count(totals['inferences'])} calls have no price and are left out"
    return Figure("Spend", usd(totals["cost_usd"]), note, "bad" if unpriced else "plain")


def _run_cost(document: Document) -> Figure:
    found = document["fanout"]["cost_usd_per_run"]
    if document["totals"]["cost_usd"] is None:
        return Figure("Cost of a run", UNKNOWN, "no call has a price")
    return Figure("Cost of a run", usd(found["p50"]), f"median; one in a hundred costs {usd(found['p99'])} or more")


def _fanout(document: Document) -> Figure:
    found = document["fanout"]["inferences_per_run"]
    tail = f"median; P90 {count(found['p90'])}, P99 {count(found['p99'])}, mean {count(found['mean'])}"
    return Figure("Model calls per run", count(found["p50"]), tail)


def _success(document: Document) -> Figure:
    found = document["outcomes"]
    if not found["known"]:
        return Figure("Cost of a success", UNKNOWN, "no run says how it ended; record one with inferometer.outcome()")
    note = f"{count(found['succeeded'])} of {count(found['known'])} runs with a known outcome succeeded"
    return Figure("Cost of a success", usd(found["cost_usd_per_success"]), note)


def _reuse(document: Document) -> Figure:
    found = document["prefix"]
    read, sent = found["cache_read_share"], found["reuse_share"]
    again = "what was sent before is unknown: no prefix hashes"
    if sent is not None:
        again = f"{share(sent)} of it had been sent before"
    if read is None:
        return Figure("Input from cache", UNKNOWN, f"the traces do not say; {again}")
    stated, calls = found["cache_read_calls"], document["coverage"]["inferences"]
    if stated < calls:
        again = f"in the {count(stated)} calls that state it; of all input, {again.replace(' of it', '')}"
    return Figure("Input from cache", share(read), again, "good" if read >= 0.8 else "plain")


def _ratio(document: Document) -> Figure:
    found = document["ratio"]["billed_usd"]
    if found["ratio"] is None:
        return Figure("Inference to training", "undefined", str(found["reason"]))
    interval = f"{times(found['ratio']['low'])} to {times(found['ratio']['high'])}"
    text = f"over {document['ratio']['horizon_days']} days; 80 % interval {interval}"
    return Figure("Inference to training", times(found["ratio"]["mid"]), text)


def meter_split(document: Document) -> Split | None:
    """Return where the dollars go by kind of token; None where nothing is priced."""
    meters = [meter for meter in document["by_meter"] if Decimal(str(meter["cost_usd"])) > 0]
    total = sum((Decimal(str(meter["cost_usd"])) for meter in meters), Decimal(0))
    if not total:
        return None
    order = list(METER_NAMES)
    return Split(
        "Where the money goes, by kind of token",
        [
            Part(
                METER_NAMES[meter["meter"]],
                percent_width(float(Decimal(str(meter["cost_usd"])) / total)),
                order.index(meter["meter"]) + 1,
                f"{usd(meter['cost_usd'])} for {tokens(meter['tokens'])} tokens",
                share(Decimal(str(meter["cost_usd"])) / total),
            )
            for meter in meters
        ],
    )


def _steps(document: Document) -> list[Step]:
    found = sorted(document["recommendations"], key=lambda one: -Decimal(str(one["cash_usd"]["mid"])))[:3]
    return [
        Step(
            one["title"],
            usd(one["saving_usd"]["mid"]),
            share(one["saving_share"]),
            percent_width(one["saving_share"]),
            f"action-{one['id']}",
        )
        for one in found
    ]


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
    return f" Priced together on whole sessions of {count(best['sampled_calls'])} calls and scaled."


def _warnings(document: Document) -> list[str]:
    coverage = document["coverage"]
    found = []
    if coverage["absent"]:
        of = f"{count(coverage['absent'])} of {count(coverage['inferences'])}"
        found.append(f"{of} calls carry no usage: their cost is unknown, not zero.")
    if document["price_findings"]:
        calls = sum(finding["calls"] for finding in document["price_findings"])
        found.append(f"{count(calls)} calls carry a recorded cost that the price list does not explain.")
    if coverage["open_runs"]:
        still = "1 run is" if coverage["open_runs"] == 1 else f"{count(coverage['open_runs'])} runs are"
        found.append(f"{still} still open; the numbers of open runs are provisional.")
    return found
