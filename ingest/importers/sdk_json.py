"""Spans as OpenTelemetry SDKs print them (``ReadableSpan.to_json``), and single spans without ids."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_entries
from inferometer.ingest.importers.parts import BETWEEN
from inferometer.ingest.normalise import normalise
from inferometer.ingest.otlp import attributes_of, read_id
from inferometer.ingest.raw import RawEvent, RawSpan, resource_of
from inferometer.ingest.values import as_list, as_mapping, as_name, iso_ns
from inferometer.schema.ids import SPAN_ID_BYTES, TRACE_ID_BYTES, derived_span_id, derived_trace_id
from inferometer.schema.records import RecordBatch, SpanLink, Status

SPANS_AT_ONCE = 2000
"""Spans read before they are made records: what they say is held until then."""


def _first(source: Source) -> dict[str, Any]:
    first = source.first
    return as_mapping(first[0] if isinstance(first, list) and first else first)


def matches(source: Source) -> bool:
    """Return whether a file holds printed spans."""
    first = _first(source)
    return "trace_id" in as_mapping(first.get("context")) and "start_time" in first


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of all spans."""
    warnings: Counter[str] = Counter()
    yield from _batches(source, (_raw_span(entry, warnings) for entry in _entries(source, warnings)))
    yield RecordBatch(warnings=warnings)


def _batches(source: Source, raws: Iterator[RawSpan | None]) -> Iterator[RecordBatch]:
    while some := list(islice(raws, SPANS_AT_ONCE)):
        known = [raw for raw in some if raw is not None]
        yield normalise(known, keep_content=source.options.keep_content, source=source.name)


def _entries(source: Source, warnings: Counter[str]) -> Iterator[dict[str, Any]]:
    for entry in read_entries(source, warnings, BETWEEN):
        if isinstance(entry, dict):
            yield entry
        else:
            warnings["not_an_object"] += 1


def _raw_span(entry: dict[str, Any], warnings: Counter[str]) -> RawSpan | None:
    context = as_mapping(entry.get("context"))
    trace_id = _id(context.get("trace_id"), TRACE_ID_BYTES, warnings)
    span_id = _id(context.get("span_id"), SPAN_ID_BYTES, warnings)
    if trace_id is None or span_id is None:
        warnings["span_without_id"] += 1
        return None
    end_ns = iso_ns(entry.get("end_time"))
    if end_ns is None:
        warnings["unfinished_span"] += 1
    status = as_mapping(entry.get("status")).get("status_code")
    scope = as_mapping(entry.get("instrumentation_scope") or entry.get("instrumentation_info"))
    return RawSpan(
        trace_id,
        span_id,
        as_name(entry.get("name")) or "",
        _id(entry.get("parent_id"), SPAN_ID_BYTES, warnings),
        str(entry.get("kind", "")).rpartition(".")[2].lower() or None,
        iso_ns(entry.get("start_time")),
        end_ns,
        {"OK": Status.OK, "ERROR": Status.ERROR}.get(str(status), Status.UNSET),
        as_mapping(entry.get("attributes")),
        [_event(event) for event in as_list(entry.get("events")) if isinstance(event, dict)],
        [link for each in as_list(entry.get("links")) if (link := _link(as_mapping(each), warnings))],
        resource_of(as_mapping(as_mapping(entry.get("resource")).get("attributes"))),
        as_name(scope.get("name")),
        as_name(scope.get("version")),
    )


def _event(event: dict[str, Any]) -> RawEvent:
    return RawEvent(str(event.get("name", "")), iso_ns(event.get("timestamp")), as_mapping(event.get("attributes")))


def _link(link: dict[str, Any], warnings: Counter[str]) -> SpanLink | None:
    context = as_mapping(link.get("context"))
    trace_id = _id(context.get("trace_id"), TRACE_ID_BYTES, warnings)
    span_id = _id(context.get("span_id"), SPAN_ID_BYTES, warnings)
    if trace_id is None or span_id is None:
        return None
    return SpanLink(trace_id, span_id, as_mapping(link.get("attributes")))


def _id(value: Any, size: int, warnings: Counter[str]) -> bytes | None:
    if isinstance(value, str):
        value = value.removeprefix("0x").zfill(2 * size)
    return read_id(value, size, warnings)


def matches_single(source: Source) -> bool:
    """Return whether a file is a single span: a scope's name, a span's name, attributes."""
    first = _first(source)
    return "spanName" in first and isinstance(first.get("attributes"), dict)


def read_single(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of spans that have no ids and no times; the ids come from what they say."""
    warnings: Counter[str] = Counter()
    yield from _batches(source, (_raw_single(entry, warnings) for entry in _entries(source, warnings)))
    yield RecordBatch(warnings=warnings)


def _raw_single(entry: dict[str, Any], warnings: Counter[str]) -> RawSpan:
    identity = json.dumps(entry, sort_keys=True, default=str)
    attributes = {key: _plain(value, warnings) for key, value in as_mapping(entry.get("attributes")).items()}
    warnings["span_without_time"] += 1
    return RawSpan(
        derived_trace_id("span", identity),
        derived_span_id("span", identity),
        as_name(entry.get("spanName")) or "",
        attributes=attributes,
        scope=as_name(entry.get("scopeName")),
    )


def _plain(value: Any, warnings: Counter[str]) -> Any:
    if isinstance(value, dict) and isinstance(value.get("values"), list):
        pairs = [{"key": "value", "value": {"arrayValue": value}}]
        return attributes_of(pairs, warnings).get("value")
    return value


JSON = Importer(
    name="sdk-json",
    reads="lists or lines of `ReadableSpan.to_json` of the OpenTelemetry SDK, as Monocle writes them",
    matches=matches,
    read=read,
    cuts=BETWEEN,
)
SINGLE = Importer(
    name="span-json",
    reads="single spans as `{scopeName, spanName, attributes}`, without ids and times",
    matches=matches_single,
    read=read_single,
    cuts=BETWEEN,
)
