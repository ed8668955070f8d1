"""Agentic Mooncake traces, version 1: Mooncake's lines with sessions, and what each request waited for.

Ids of requests are those of one file; `hash_ids` are prefix blocks of 512 tokens, compared within the file alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.importers.requests import mooncake_chain
from inferometer.ingest.importers.session import Session
from inferometer.ingest.usage import read_count
from inferometer.ingest.values import as_list, as_mapping, as_name
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Dependency,
    DependencyKind,
    Inference,
    RecordBatch,
    UsageSemantics,
    UsageSource,
)

NAME = "agentic-mooncake"
_MILLISECOND = 1_000_000
_LONGEST_MS = 1e12


def matches(source: Source) -> bool:
    """Return whether lines hold lengths and the names of requests."""
    keys = as_mapping(source.first).keys()
    return source.is_lines and {"request_id", "input_length", "output_length"} <= keys


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of each session; times are milliseconds from the trace's begin."""
    warnings: Counter[str] = Counter()
    sessions: dict[str, Session] = {}
    for place, line in enumerate(read_lines(source, warnings)):
        request_id = as_name(line.get("request_id")) or str(place)
        session_id = as_name(line.get("session_id")) or request_id
        session = sessions.get(session_id)
        if session is None:
            session = sessions[session_id] = Session(NAME, session_id, source.name, "agent", source.name)
        call = _inference(line, source, session.batch.warnings)
        call.depends_on = _dependencies(line, session)
        begin_ns = _nanoseconds(line.get("timestamp"))
        session.add_call(request_id, call, begin_ns, begin_ns)
    yield RecordBatch(warnings=warnings)
    for session in sessions.values():
        yield session.finish()


def _inference(line: dict[str, Any], source: Source, warnings: Counter[str]) -> Inference:
    reasons: list[str] = []
    meters = Meters(
        input_fresh=read_count(line.get("input_length"), "input", warnings, reasons),
        output=read_count(line.get("output_length"), "output", warnings, reasons),
    )
    return Inference(
        trace_id=b"",
        span_id=b"",
        request_model=as_name(line.get("model")) or source.options.model,
        meters=meters,
        usage_source=UsageSource.PROVIDER if meters.is_known else UsageSource.ABSENT,
        usage_semantics=UsageSemantics.INCLUSIVE,
        prefix=mooncake_chain(source, line.get("hash_ids"), warnings),
        reasons=reasons,
    )


def _dependencies(line: dict[str, Any], session: Session) -> list[Dependency]:
    """Return the requests of the same session that a line names, with what passed after the last of them."""
    tool_ns, delay_ns = (_nanoseconds(line.get(name)) for name in ("tool_wait_ms", "delay"))
    kind = DependencyKind.SEQUENTIAL if tool_ns is None else DependencyKind.TOOL
    gap_ns = None if tool_ns is None and delay_ns is None else (tool_ns or 0) + (delay_ns or 0)
    names = [name for each in as_list(line.get("wait_for")) if (name := as_name(each))]
    return [Dependency(session.span_id("call", name), kind, gap_ns) for name in names]


def _nanoseconds(milliseconds: Any) -> int | None:
    known = isinstance(milliseconds, (int, float)) and 0 <= milliseconds < _LONGEST_MS
    return round(milliseconds * _MILLISECOND) if known else None


IMPORTER = Importer(
    name=NAME,
    reads="agentic Mooncake traces, version 1 (JSON lines): sessions, lengths, what waits for what, `hash_ids`",
    matches=matches,
    read=read,
)
