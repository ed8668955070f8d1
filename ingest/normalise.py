"""Raw spans to canonical records: each span read by its dialect, alone; what needs the whole trace is decided later."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from inferometer.ingest.charges import charges_of
from inferometer.ingest.content import count_text, describe_input
from inferometer.ingest.dialects.dialect import Dialect, Fields
from inferometer.ingest.dialects.embedded import load_text
from inferometer.ingest.inputs import input_of
from inferometer.ingest.plans import Plan, plan_of
from inferometer.ingest.prefixes import complete, keep_hashes
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.refusals import mark_refused
from inferometer.ingest.retention import MAX_NAME, clean, is_name, retain, retain_values
from inferometer.ingest.sampling import weight_of
from inferometer.ingest.usage import USAGE_FIELDS, usage_of
from inferometer.ingest.users import current_key, user_of
from inferometer.ingest.values import as_money, as_name, as_number, as_truth, as_whole, as_wholes
from inferometer.schema import attributes as ours
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Attempt,
    Composition,
    Inference,
    Operation,
    Outcome,
    Purpose,
    RecordBatch,
    Resource,
    Span,
    SpanKind,
    SpanLink,
    Status,
    ToolCall,
    ToolOffered,
    UsageSource,
)
from inferometer.tokens.fingerprint import argument_fingerprint
from inferometer.tokens.key import HashKey

_PROVIDERS = {
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "azure_openai": "azure.ai.openai",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "aws_bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "gemini": "gcp.gemini",
    "xai": "x_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
}
"""Older and vendors' own names of providers to those of the convention."""


_PURPOSES = {purpose.value: purpose for purpose in Purpose}
_WITHOUT_USAGE = {UsageSource.ABSENT, UsageSource.REFUSED}
_STATED_SOURCES = {source.value: source for source in UsageSource if source not in _WITHOUT_USAGE}
_UNITS = (("ns", 1), ("us", 1000), ("ms", 1_000_000), ("s", 1_000_000_000))
_DURATIONS = {
    name: tuple((f"{name}_{unit}", factor) for unit, factor in _UNITS)
    for name in ("ttft", "inter_token_p50", "inter_token_p95", "queue", "prefill", "decode")
}
_COMPOSED = ("system", "tools", "history", "tool_results", "user")
_RARE = frozenset(
    {
        *(key for keys in _DURATIONS.values() for key, _ in keys),
        *(f"composition_{name}" for name in _COMPOSED),
        *("raw_usage", "attempt_statuses", "resends", "tools_offered"),
    }
)
"""Fields that few spans have, asked for together."""

_NO_TAGS = frozenset({"session_id", "sessionid", "user_id", "userid", "prompt", "input", "output"})
"""Associations that are a field of their own, or content."""


def normalise(raw_spans: Iterable[RawSpan], *, keep_content: bool = False, source: str | None = None) -> RecordBatch:
    """Return the canonical records of raw spans.

    Args:
        raw_spans: in any order.
        keep_content: whether what people and models said may stay in the spans' attributes.
        source: where they came from, for spans that do not say.
    """
    reading = _Reading(keep_content, source)
    for raw in raw_spans:
        _normalise_one(raw, reading)
    complete(reading.batch)
    return reading.batch


@dataclass(slots=True)
class _Reading:
    """What holds for all spans of one call of `normalise`, and where their records go."""

    keep_content: bool
    source: str | None
    batch: RecordBatch = field(default_factory=RecordBatch)
    _key: HashKey | None = None
    _resource: Resource | None = None
    _purpose: Purpose | None = None

    @property
    def key(self) -> HashKey:
        """The user's key, looked up once."""
        if self._key is None:
            self._key = current_key()
        return self._key

    def purpose_of(self, resource: Resource | None) -> Purpose | None:
        """What a resource says all its spans are for."""
        if resource is not self._resource:
            self._resource = resource
            pairs = resource.attributes if resource is not None else ()
            self._purpose = next((_purpose(value) for key, value in pairs if key == ours.PURPOSE), None)
        return self._purpose


def _normalise_one(raw: RawSpan, reading: _Reading) -> None:
    batch = reading.batch
    plan = plan_of(raw.scope, raw.attributes)
    dialect = plan.dialect
    fields: Fields = {}
    what: SpanKind | Operation | None = None
    if dialect is not None:
        try:
            fields = plan.read(raw.attributes)
            if dialect.refine is not None:
                dialect.refine(raw, fields)
            what = dialect.kind(raw, fields)
            if plan.wrapper is not None:
                what = _read_wrapper(plan.wrapper, raw, fields, what)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
            # attributes of types that nobody foresaw cost their span its meaning, never the batch its spans
            batch.warnings["unreadable_span"] += 1
            fields, what = {}, None
    kind = SpanKind.INFERENCE if isinstance(what, Operation) else (what or SpanKind.OTHER)
    span = _span(raw, plan, fields, kind, reading)
    span.source = raw.source or reading.source
    batch.spans.append(span)
    if isinstance(what, Operation):
        call = _inference(raw, fields, what, dialect, batch.warnings)
        if raw.status is Status.ERROR:
            mark_refused(call, span.error_type, _statuses(raw, call))
        batch.inferences.append(call)
        if "charge_skus" in fields:
            batch.charges.extend(charges_of(call, fields))
        if "prefix_hashes" in fields:
            keep_hashes(span, fields)
        elif plan.holds_input and (call.composition is None or call.prefix is None):
            said = input_of(raw.attributes, fields)
            if said is not None:
                _describe(call, said, reading)
    elif kind is SpanKind.TOOL:
        batch.tool_calls.append(_tool_call(raw, fields, span, reading))
    if raw.events:
        batch.outcomes.extend(_outcomes(raw))


def _read_wrapper(
    wrapper: Dialect, raw: RawSpan, fields: Fields, what: SpanKind | Operation | None
) -> SpanKind | Operation | None:
    """Fill in what only the wrapper says, its usage as a whole or not at all, and return what the span is."""
    around = wrapper.read(raw.attributes)
    if wrapper.refine is not None:
        wrapper.refine(raw, around)
    kind = wrapper.kind(raw, around)
    has_usage = "input" in fields or "output" in fields
    if not has_usage:
        fields.setdefault("semantics", around.get("semantics", wrapper.semantics))
    for name, value in around.items():
        if not (has_usage and name in USAGE_FIELDS):
            fields.setdefault(name, value)
    return what if what is not None else kind


def _span(raw: RawSpan, plan: Plan, fields: Fields, kind: SpanKind, reading: _Reading) -> Span:
    dialect, keep_content = plan.dialect, reading.keep_content
    if keep_content:
        attributes, cut = retain(raw.attributes, dialect, keep_content)
    else:
        attributes, cut = retain_values(raw.attributes.values(), plan.verdicts)
    user_id, user_hash = fields.get("user_id"), fields.get("user_hash")
    return Span(
        raw.trace_id,
        raw.span_id,
        clean(raw.name, MAX_NAME),
        kind,
        raw.parent_id if raw.parent_id != raw.span_id else None,
        None,
        raw.start_ns,
        raw.end_ns,
        raw.status,
        _error_type(raw, fields) if raw.events or "error_type" in fields else None,
        raw.resource,
        plan.scope,
        dialect.name if dialect else None,
        raw.otel_kind,
        _agent_name(raw, fields, kind),
        as_name(fields.get("session_id")),
        None if user_id is None and user_hash is None else user_of(user_id, user_hash, raw.scope, reading.key),
        _tags(raw, fields, plan) if plan.tags or "tag_list" in fields or "tags" in fields else {},
        _links(raw, dialect, keep_content) if raw.links else [],
        weight_of(raw, fields) if raw.trace_state or plan.holds_sampling else None,
        _purpose(fields["purpose"]) if "purpose" in fields else reading.purpose_of(raw.resource),
        attributes,
        cut,
    )


def _links(raw: RawSpan, dialect: Dialect | None, keep_content: bool) -> list[SpanLink]:
    return [
        SpanLink(link.trace_id, link.span_id, retain(link.attributes, dialect, keep_content)[0]) for link in raw.links
    ]


def _inference(
    raw: RawSpan, fields: Fields, operation: Operation, dialect: Dialect | None, warnings: Counter[str]
) -> Inference:
    assert dialect is not None
    usage = usage_of(fields, dialect.semantics, warnings)
    get = fields.get
    call = Inference(
        raw.trace_id,
        raw.span_id,
        _provider(get("provider")),
        as_name(get("request_model")),
        as_name(get("response_model")),
        as_name(get("response_id")),
        operation,
        usage.meters,
        usage_semantics=usage.semantics,
        service_tier=as_name(get("service_tier")),
        batch=as_truth(fields["batch"]) if "batch" in fields else None,
        stream=as_truth(fields["stream"]) if "stream" in fields else None,
        finish_reason=_finish_reason(get("finish_reason")),
        recorded_cost_usd=as_money(fields["cost_usd"]) if "cost_usd" in fields else None,
        reasons=usage.reasons,
    )
    if not _RARE.isdisjoint(fields):
        _add_rare(call, fields)
    call.usage_source = _usage_source(call, fields)
    if raw.attributes.get(ours.FROM_CACHE) is True:
        # whoever asked for it once was told its usage then
        call.meters, call.usage_source, call.recorded_cost_usd = Meters(), UsageSource.ABSENT, None
        call.billable, call.reasons = False, ["answered out of a cache of the program: no call was made"]
    return call


def _add_rare(call: Inference, fields: Fields) -> None:
    call.raw_usage = _raw_usage(fields)
    call.attempts = _attempts(fields)
    call.ttft_ns = _duration(fields, "ttft")
    call.inter_token_p50_ns = _duration(fields, "inter_token_p50")
    call.inter_token_p95_ns = _duration(fields, "inter_token_p95")
    call.tools_offered = _tools_offered(fields)
    call.composition = _composition(fields)
    call.queue_ns = _duration(fields, "queue")
    call.prefill_ns = _duration(fields, "prefill")
    call.decode_ns = _duration(fields, "decode")


def _describe(call: Inference, said: tuple[Any, Any, Any], reading: _Reading) -> None:
    """Count and hash what was said; a shape that nobody foresaw must not cost the call itself."""
    try:
        describe_input(call, *said, reading.key)
    except (ValueError, TypeError, AttributeError, RecursionError):
        reading.batch.warnings["unreadable_content"] += 1


def _usage_source(call: Inference, fields: Fields) -> UsageSource:
    if not call.meters.is_known:
        return UsageSource.ABSENT
    stated = fields.get("usage_source")
    if isinstance(stated, str) and stated in _STATED_SOURCES:
        return _STATED_SOURCES[stated]
    if not call.meters.total:
        # emitters that have no usage write zeros; a call that took nothing and gave nothing was none
        call.meters = type(call.meters)()
        call.reasons.append("all token counts are zero: taken as without usage")
        return UsageSource.ABSENT
    return UsageSource.PROVIDER


def _tool_call(raw: RawSpan, fields: Fields, span: Span, reading: _Reading) -> ToolCall:
    arguments = fields.get("tool_arguments", fields.get("value_input"))
    name = as_name(fields.get("tool_name")) or span.name
    result = fields.get("tool_result", fields.get("value_output"))
    fingerprint = as_name(fields.get("argument_fingerprint"))
    if fingerprint is None and arguments is not None:
        fingerprint = argument_fingerprint(name, arguments, reading.key)
    tokens = as_whole(fields.get("result_tokens"))
    if tokens is None and isinstance(result, str) and result:
        tokens = count_text(result)
    duration = raw.end_ns - raw.start_ns if raw.start_ns is not None and raw.end_ns is not None else None
    return ToolCall(
        trace_id=raw.trace_id,
        span_id=raw.span_id,
        name=name,
        kind=as_name(fields.get("tool_kind")),
        call_id=as_name(fields.get("tool_call_id")),
        argument_fingerprint=fingerprint,
        result_tokens=tokens,
        error=span.error_type,
        duration_ns=duration,
    )


def _outcomes(raw: RawSpan) -> Iterable[Outcome]:
    for event in raw.events:
        if event.name == ours.EVALUATION_EVENT:
            get = event.attributes.get
            name = as_name(get(ours.EVALUATION_NAME))
            if name:
                value, label = as_number(get(ours.EVALUATION_VALUE)), as_name(get(ours.EVALUATION_LABEL))
                yield Outcome(raw.trace_id, raw.span_id, name, value, label, "evaluation event")


def _agent_name(raw: RawSpan, fields: Fields, kind: SpanKind) -> str | None:
    name = as_name(fields["agent_name"]) if "agent_name" in fields else None
    if name is None and kind is SpanKind.AGENT:
        # a span named "invoke_agent planner" by an emitter that sets no agent name
        head, _, tail = raw.name.partition(" ")
        name = clean(tail if tail and head in {"invoke_agent", "create_agent"} else raw.name, MAX_NAME) or None
    return name


def _error_type(raw: RawSpan, fields: Fields) -> str | None:
    kind = as_name(fields.get("error_type"))
    if kind is None and raw.events:
        for event in raw.events:
            if event.name == "exception":
                kind = as_name(event.attributes.get("exception.type"))
    return kind if kind is None or " " not in kind else None


def _tags(raw: RawSpan, fields: Fields, plan: Plan) -> dict[str, str]:
    tags: dict[str, str] = {}
    for key, name, ours_alone in plan.tags:
        value = raw.attributes[key]
        if isinstance(value, (str, int, float)) and (ours_alone or (name.lower() not in _NO_TAGS and is_name(value))):
            tags[clean(name, MAX_NAME)] = clean(str(value), MAX_NAME)
    labels = load_text(fields.get("tag_list"))
    for label in labels if isinstance(labels, list) else ():
        tags[clean(str(label), MAX_NAME)] = "true"
    extra = fields.get("tags")
    for key, value in extra.items() if isinstance(extra, dict) else ():
        tags[clean(str(key), MAX_NAME)] = clean(str(value), MAX_NAME)
    return tags


def _purpose(stated: Any) -> Purpose | None:
    return _PURPOSES.get(stated) if isinstance(stated, str) else None


def _attempts(fields: Fields) -> list[Attempt]:
    statuses = fields.get("attempt_statuses")
    if not isinstance(statuses, (list, tuple)):
        resends = as_whole(fields.get("resends"))
        return [Attempt() for _ in range(min(resends, 100) + 1)] if resends else []
    starts, ends = as_wholes(fields.get("attempt_starts_ns")), as_wholes(fields.get("attempt_ends_ns"))
    return [
        Attempt(
            as_whole(status) or None,
            starts[place] if place < len(starts) else None,
            ends[place] if place < len(ends) else None,
        )
        for place, status in enumerate(statuses[:100])
    ]


def _statuses(raw: RawSpan, call: Inference) -> list[int | None]:
    """Return the HTTP status of each attempt, else that of the call."""
    if call.attempts:
        return [attempt.status for attempt in call.attempts]
    get = raw.attributes.get
    status = as_whole(get("http.response.status_code", get("http.status_code")))
    return [] if status is None else [status]


def _tools_offered(fields: Fields) -> list[ToolOffered]:
    names, tokens = fields.get("tools_offered"), as_wholes(fields.get("tools_offered_tokens"))
    if not isinstance(names, (list, tuple)):
        return []
    return [
        ToolOffered(clean(str(name), MAX_NAME), tokens[place] if place < len(tokens) else None)
        for place, name in enumerate(names[:1024])
    ]


def _composition(fields: Fields) -> Composition | None:
    parts = {name: as_whole(fields[f"composition_{name}"]) for name in _COMPOSED if f"composition_{name}" in fields}
    return Composition(**parts) if parts else None


def _raw_usage(fields: Fields) -> dict[str, Any] | None:
    raw = fields.get("raw_usage")
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            return None
    return raw if isinstance(raw, dict) else None


def _duration(fields: Fields, name: str) -> int | None:
    """Return nanoseconds from whichever unit the dialect writes, None where negative or broken."""
    for key, factor in _DURATIONS[name]:
        if key in fields:
            number = as_number(fields[key])
            if number is not None and 0 <= number * factor < 2**63:
                return round(number * factor)
    return None


def _finish_reason(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return as_name(value)


def _provider(value: Any) -> str | None:
    name = as_name(value)
    return _PROVIDERS.get(name.lower(), name) if name else None
