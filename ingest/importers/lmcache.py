"""LMCache agent traces: one line a call with the full text of prompt and answer, out of order, without usage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from inferometer.ingest.content import count_missing, describe_input
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.importers.session import Session
from inferometer.ingest.said import Said
from inferometer.ingest.values import as_mapping, as_name, unix_ns
from inferometer.schema.records import Dependency, Inference, RecordBatch, UsageSource

_MICROSECOND = 1000


def matches(source: Source) -> bool:
    """Return whether lines hold input, output and session."""
    first = as_mapping(source.first)
    return source.is_lines and {"input", "output", "session_id", "timestamp"} <= first.keys()


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of each session; a line without an answer ended without one."""
    warnings: Counter[str] = Counter()
    sessions: dict[str, Session] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for line in read_lines(source, warnings):
        session_id = as_name(line.get("session_id"))
        if session_id is None:
            warnings["line_without_session"] += 1
            continue
        if session_id not in sessions:
            sessions[session_id] = Session(
                "lmcache", session_id, source.name, None, keep_content=source.options.keep_content
            )
            sessions[session_id].begin_run("run", None)
        key = str(line.get("timestamp"))
        seen[session_id, key] += 1
        _read_call(sessions[session_id], line, f"{key}/{seen[session_id, key]}", source.options.model)
    for session in sessions.values():
        _chain_calls(session)
        yield session.finish()
    yield RecordBatch(warnings=warnings)


def _read_call(session: Session, line: dict[str, Any], key: str, model: str | None) -> None:
    call = Inference(b"", b"", request_model=as_name(line.get("model")) or model, usage_source=UsageSource.ABSENT)
    parts = describe_input(call, None, line.get("input"), None)
    answer = line.get("output")
    count_missing(call, parts, [answer] if isinstance(answer, str) else None)
    # the stamp is that of the line's writing: nothing tells how long the call took
    said = Said(messages=line.get("input"), answer=[answer] if isinstance(answer, str) else None)
    session.add_call(key, call, unix_ns(line.get("timestamp"), _MICROSECOND), None, said=said)


def _chain_calls(session: Session) -> None:
    """Say that each call waited for the one stamped before it; how long is not known."""
    starts = {span.span_id: span.start_ns or 0 for span in session.batch.spans}
    ordered = sorted(session.batch.inferences, key=lambda call: (starts[call.span_id], call.span_id))
    for before, call in pairwise(ordered):
        call.depends_on = [Dependency(before.span_id)]


IMPORTER = Importer(
    name="lmcache",
    reads="LMCache agent traces (JSON lines with text): tokens counted and prefixes hashed from the text",
    matches=matches,
    read=read,
)
