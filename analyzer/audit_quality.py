"""What is wrong with the record itself: costs that no list explains, calls seen twice, calls without usage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import CostedCall
from inferometer.analyzer.price_findings import PriceWitness
from inferometer.analyzer.waste import EVIDENCE_LIMIT, Evidence, evidence_of, ranked
from inferometer.schema.records import UsageSource


def price_findings(dataset: Dataset, limit: int = EVIDENCE_LIMIT) -> list[dict[str, Any]]:
    """Return the models whose recorded cost is not the list's, with the calls that differ most."""
    witness = PriceWitness()
    for call in dataset.calls:
        witness.see(call.row, call.priced)
    return [
        {**found.as_dict(), "evidence": _dicts(_differing(dataset, found.model), limit)} for found in witness.findings()
    ]


def _differing(dataset: Dataset, model: str) -> list[Evidence]:
    evidence = []
    for call in dataset.calls:
        recorded, listed = call.inference.recorded_cost_usd, call.priced.list_cost_usd
        if call.model == model and recorded is not None and listed is not None and recorded != listed:
            note = f"recorded ${recorded:.6f}, list ${listed:.6f}"
            evidence.append(evidence_of(call, note, call.meters.total, abs(recorded - listed)))
    return evidence


def _dicts(evidence: Sequence[Evidence], limit: int) -> list[dict[str, Any]]:
    return [item.as_dict() for item in ranked(evidence)[:limit]]


def data_findings(dataset: Dataset, limit: int = EVIDENCE_LIMIT) -> list[dict[str, Any]]:
    """Return what a reader must know about the record before trusting a total, each with so many calls at most."""
    found = [_seen_twice(dataset), _without_usage(dataset), _unpriced(dataset), _undated(dataset)]
    return [{**finding, "evidence": _dicts(finding["evidence"], limit)} for finding in found if finding is not None]


def _seen_twice(dataset: Dataset) -> dict[str, Any] | None:
    merged = dataset.merged_calls
    if not merged:
        return None
    reasons = Counter(reason for row in merged for reason in (row.inference.reasons[-1:] or ["merged"]))
    evidence = [
        Evidence(
            row.inference.trace_id.hex(),
            row.inference.span_id.hex(),
            row.placement.run_id,
            row.inference.meters.total,
            None,
            "; ".join(row.inference.reasons) or "merged",
        )
        for row in merged
    ]
    return {
        "id": "seen_twice",
        "title": "Calls that several spans report",
        "calls": len(merged),
        "detail": "Counted once, not again: "
        + "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(5)),
        "evidence": evidence,
    }


def _named(id_: str, title: str, calls: Sequence[CostedCall], detail: str) -> dict[str, Any] | None:
    if not calls:
        return None
    evidence = [evidence_of(call, f"{call.model}: {call.priced.reason or ''}".strip(": ")) for call in calls]
    return {"id": id_, "title": title, "calls": len(calls), "detail": detail, "evidence": evidence}


def _without_usage(dataset: Dataset) -> dict[str, Any] | None:
    calls = [call for call in dataset.calls if call.inference.usage_source is UsageSource.ABSENT]
    return _named(
        "usage_missing",
        "Calls without usage",
        calls,
        "Their tokens and their cost are unknown and in no sum. Streaming calls need stream_options.include_usage at "
        "OpenAI; importing with the text counts them.",
    )


def _unpriced(dataset: Dataset) -> dict[str, Any] | None:
    calls = [
        call
        for call in dataset.calls
        if call.cost_usd is None and call.inference.usage_source is not UsageSource.ABSENT
    ]
    reasons = Counter(call.priced.reason or "unknown" for call in calls)
    detail = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(5))
    return _named("unpriced", "Calls with usage and without a price", calls, detail)


def _undated(dataset: Dataset) -> dict[str, Any] | None:
    calls = [call for call in dataset.calls if not call.is_dated]
    return _named(
        "undated",
        "Calls without a date",
        calls,
        "Their source holds times relative to its own start, or none; they are priced by today's list and left out of "
        "rates per day and projections.",
    )
