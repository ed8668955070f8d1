"""Bare answers of model providers: one JSON body, or the events of streams one a line; told by their shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from inferometer.ingest.content import count_missing
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.importers.session import Session
from inferometer.ingest.values import as_name
from inferometer.schema.records import Inference, Operation, RecordBatch, UsageSource
from inferometer.schema.usage import READERS, BodyUsage
from inferometer.schema.usage.shapes import interface_of

_BEGINS = frozenset({"message_start", "response.created"})
_ENDS = frozenset({"message_stop", "response.completed", "response.incomplete", "response.failed"})


def matches(source: Source) -> bool:
    """Return whether a file is an answer of a provider, or the streams of several in a row."""
    return isinstance(source.first, dict) and interface_of(source.first) is not None


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of the calls."""
    warnings: Counter[str] = Counter()
    interface = interface_of(source.first) or ""
    read_body, read_stream = READERS[interface]
    if source.is_whole:
        usages = [read_body(source.take())]
    else:
        usages = [read_stream(events) for events in _part(read_lines(source, warnings))]
    session = Session("answer", usages[0].response_id or source.name, source.name)
    for number, usage in enumerate(usages):
        _add(session, f"{interface}/{source.name}" + (f"#{number}" if number else ""), source, usage)
    batch = session.finish()
    batch.warnings.update(warnings)
    yield batch


def _part(events: Iterator[Mapping[str, Any]]) -> Iterator[Iterator[Mapping[str, Any]]]:
    """Part streams that follow one another, as an agent's loop leaves them: one begins after another has ended.

    A beginning within a stream is a splice or a copy, and of the same call.
    """
    number, has_ended = 0, False

    def number_of(event: Mapping[str, Any]) -> int:
        nonlocal number, has_ended
        kind = as_name(event.get("type"))
        if has_ended and kind in _BEGINS:
            number, has_ended = number + 1, False
        has_ended = has_ended or kind in _ENDS
        return number

    for _, group in groupby(events, number_of):
        yield group


def _add(session: Session, key: str, source: Source, usage: BodyUsage) -> None:
    call = Inference(
        b"",
        b"",
        request_model=None if usage.model else source.options.model,
        response_model=as_name(usage.model),
        response_id=as_name(usage.response_id),
        operation=usage.operation,
        meters=usage.meters,
        raw_usage=usage.raw,
        usage_source=UsageSource.PROVIDER if usage.meters.is_known else UsageSource.ABSENT,
        usage_semantics=usage.semantics,
        service_tier=as_name(usage.service_tier),
        stream=not source.is_whole,
        finish_reason=as_name(usage.finish_reason),
        recorded_cost_usd=usage.cost_usd,
        reasons=list(usage.reasons),
    )
    if call.meters.output is None and usage.texts and call.operation is Operation.CHAT:
        count_missing(call, (), usage.texts)
    session.add_call(key, call, None, None)
    for number, inner in enumerate(usage.inner):
        part = Inference(
            b"",
            b"",
            response_model=as_name(inner.model) or call.model,
            meters=inner.meters,
            raw_usage=inner.raw,
            usage_source=UsageSource.PROVIDER,
            usage_semantics=inner.semantics,
            reasons=inner.reasons,
        )
        session.add_call(f"{key}/{number}", part, None, None)


IMPORTER = Importer(
    name="answer",
    reads="bare answers of model providers, whole or as lines of stream events, told by their shape",
    matches=matches,
    read=read,
)
