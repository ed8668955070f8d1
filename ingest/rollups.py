"""Calls whose spans leave out the model that the sum around them names: Codex tells it of a turn, not of requests."""

from __future__ import annotations

from dataclasses import replace

from inferometer.schema.records import Decisions, Inference, RecordBatch

Key = tuple[bytes, bytes]

REASON = "model as told by the roll-up around it"


def name_models(whole: RecordBatch, decisions: Decisions) -> list[Inference]:
    """Return the calls that learn their model from a roll-up that encloses them.

    Args:
        whole: all that is known of some traces.
        decisions: what was decided about them; what is learned is added to the reasons.
    """
    nameless = [call for call in whole.inferences if call.model is None and call.meters.is_known]
    if not nameless:
        return []
    billed = {(each.trace_id, each.span_id) for each in decisions.inferences if each.billable}
    merged = {(each.trace_id, each.span_id) for each in decisions.inferences if each.merged_into is not None}
    models: dict[Key, str | None] = {
        key: call.model
        for call in whole.inferences
        if call.model is not None and (key := (call.trace_id, call.span_id)) not in billed and key not in merged
    }
    above = {(span.trace_id, span.span_id): span.parent_id for span in whole.spans}
    named = {}
    for call in nameless:
        key = (call.trace_id, call.span_id)
        model = _model_around(key, models, above)
        if model is not None:
            named[key] = replace(call, response_model=model, reasons=[*call.reasons, REASON])
    for decision in decisions.inferences:
        if (decision.trace_id, decision.span_id) in named:
            decision.reasons.append(REASON)
    return list(named.values())


def _model_around(key: Key, models: dict[Key, str | None], above: dict[Key, bytes | None]) -> str | None:
    seen: set[Key] = set()
    while key not in seen:
        seen.add(key)
        parent_id = above.get(key)
        if parent_id is None:
            return None
        key = (key[0], parent_id)
        if key in models:
            return models[key]
    return None
