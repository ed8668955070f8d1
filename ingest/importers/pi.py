"""pi sessions: one JSON line an entry, each answer with its usage and its cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.importers.session import Session
from inferometer.ingest.usage import read_count
from inferometer.ingest.values import as_list, as_mapping, as_money, as_name, iso_ns, unix_ns
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, RecordBatch, Status, UsageSemantics, UsageSource

_MILLISECOND = 1_000_000
_UNFINISHED = frozenset({"aborted", "error"})


def matches(source: Source) -> bool:
    """Return whether a file begins with the header of a pi session."""
    first = as_mapping(source.first)
    return source.is_lines and first.get("type") == "session" and "id" in first and "cwd" in first


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one session."""
    header = as_mapping(source.first)
    session = Session("pi", as_name(header.get("id")) or source.name, source.name, "pi")
    for place, entry in enumerate(read_lines(source, session.batch.warnings)):
        if entry.get("type") == "model_change":
            session.batch.warnings["model_changes"] += 1
        message = as_mapping(entry.get("message"))
        if entry.get("type") != "message" or not message:
            continue
        _read_message(session, entry, message, as_name(entry.get("id")) or str(place))
    yield session.finish()


def _read_message(session: Session, entry: dict[str, Any], message: dict[str, Any], key: str) -> None:
    written_ns = iso_ns(entry.get("timestamp"))
    begun_ns = unix_ns(message.get("timestamp"), _MILLISECOND)
    role = message.get("role")
    if role == "user":
        session.begin_run(key, begun_ns if begun_ns is not None else written_ns)
    elif role == "assistant":
        _read_call(session, message, key, begun_ns, written_ns)
    elif role == "toolResult":
        call_id = as_name(message.get("toolCallId"))
        error = "tool_error" if message.get("isError") is True else None
        if call_id is not None and session.end_tool(call_id, written_ns or begun_ns, error=error) is None:
            session.batch.warnings["result_without_tool"] += 1


def _read_call(
    session: Session, message: dict[str, Any], key: str, begun_ns: int | None, written_ns: int | None
) -> None:
    usage = as_mapping(message.get("usage"))
    reason = as_name(message.get("stopReason"))
    call = Inference(
        trace_id=b"",
        span_id=b"",
        provider=as_name(message.get("provider")),
        response_model=as_name(message.get("model")),
        response_id=as_name(message.get("responseId")),
        usage_semantics=UsageSemantics.EXCLUSIVE,
        raw_usage={name: value for name, value in usage.items() if name != "cost"} or None,
        finish_reason=reason,
        recorded_cost_usd=as_money(as_mapping(usage.get("cost")).get("total")),
    )
    _read_usage(session, call, usage, reason)
    session.add_call(
        key,
        call,
        begun_ns if begun_ns is not None else written_ns,
        written_ns,
        status=Status.ERROR if reason in _UNFINISHED else Status.OK,
        error_type=reason if reason in _UNFINISHED else None,
    )
    for part in as_list(message.get("content")):
        if isinstance(part, dict) and part.get("type") == "toolCall":
            tool_id, name = as_name(part.get("id")), as_name(part.get("name"))
            if tool_id and name:
                session.begin_tool(tool_id, name, written_ns, arguments=part.get("arguments"))


def _read_usage(session: Session, call: Inference, usage: dict[str, Any], reason: str | None) -> None:
    warnings = session.batch.warnings
    counts = {
        name: read_count(usage[name], name, warnings, call.reasons)
        for name in ("input", "output", "cacheRead", "cacheWrite")
        if name in usage
    }
    if not any(counts.values()):
        if reason in _UNFINISHED:
            call.reasons.append(f"{reason} before the provider told its usage")
        return
    call.meters = Meters(
        input_fresh=counts.get("input"),
        cache_read=counts.get("cacheRead"),
        cache_write_5m=counts.get("cacheWrite"),
        output=counts.get("output"),
    )
    call.usage_source = UsageSource.PROVIDER
    if reason in _UNFINISHED:
        call.reasons.append(f"{reason}: billed for what was sent and received until then")


IMPORTER = Importer(
    name="pi",
    reads="pi coding agent sessions (JSON lines), 2025-11 to 2026: usage, cost and stop reason of each answer, tools",
    matches=matches,
    read=read,
)
