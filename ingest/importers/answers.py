"""Bare answers of model providers: one JSON body, or a stream's events one a line; told by their shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from inferometer.ingest.content import count_missing
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.importers.session import Session
from inferometer.ingest.values import as_name
from inferometer.schema.records import Inference, Operation, RecordBatch, UsageSource
from inferometer.schema.usage import READERS, BodyUsage
from inferometer.schema.usage.shapes import interface_of


def matches(source: Source) -> bool:
    """Return whether a file is one answer of a provider."""
    return isinstance(source.first, dict) and interface_of(source.first) is not None


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the record of the call."""
    warnings: Counter[str] = Counter()
    interface = interface_of(source.first) or ""
    read_body, read_stream = READERS[interface]
    if source.is_whole:
        usage = read_body(source.take())
    else:
        events: Iterator[Mapping[str, Any]] = read_lines(source, warnings)
        usage = read_stream(events)
    batch = _batch(source, interface, usage)
    batch.warnings.update(warnings)
    yield batch


def _batch(source: Source, interface: str, usage: BodyUsage) -> RecordBatch:
    session = Session("answer", usage.response_id or source.name, source.name)
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
    session.add_call(f"{interface}/{source.name}", call, None, None)
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
        session.add_call(f"{interface}/{source.name}/{number}", part, None, None)
    return session.finish()


IMPORTER = Importer(
    name="answer",
    reads="bare answers of model providers, whole or as lines of stream events, told by their shape",
    matches=matches,
    read=read,
)
