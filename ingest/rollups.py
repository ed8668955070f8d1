"""Calls of which the spans around them tell what their own leave out.

Codex names the model of a turn, not of its requests, and tells a request by the last event of its stream alone.
"""

from __future__ import annotations

from dataclasses import replace

from inferometer.schema.records import Decisions, Inference, RecordBatch, SpanKind

Key = tuple[bytes, bytes]

REASON = "model as told by the roll-up around it"
SUMS = frozenset({"session_task.turn"})
"""Spans that are sums over calls where they enclose but one: they take longer than it."""

BEGUN = "begins where its request was sent; its own span is that of the last event of the answer"


def begin_calls(whole: RecordBatch) -> RecordBatch:
    """Return the calls told by the last event of a stream as they are to be known: from where their request was sent.

    Args:
        whole: all that is known of some traces.
    """
    begun = RecordBatch()
    ends = [span for span in whole.spans if span.dialect == "codex" and span.kind is SpanKind.INFERENCE]
    if not ends:
        return begun
    spans = {(span.trace_id, span.span_id): span for span in whole.spans}
    calls = {(call.trace_id, call.span_id): call for call in whole.inferences}
    for span in ends:
        stream = spans.get((span.trace_id, span.parent_id or b""))
        if stream is None or stream.name != "receiving_stream":
            continue
        attempt = spans.get((span.trace_id, stream.parent_id or b""))
        begin = stream if attempt is None or attempt.name != "try_run_sampling_request" else attempt
        if begin.start_ns is not None and span.start_ns is not None:
            begun.spans.append(replace(span, start_ns=min(begin.start_ns, span.start_ns)))
            call = calls[span.trace_id, span.span_id]
            begun.inferences.append(replace(call, reasons=list(dict.fromkeys([*call.reasons, BEGUN]))))
    return begun


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
