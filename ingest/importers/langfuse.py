"""Langfuse exports: a trace with its observations, the attributes of the original spans inside their metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from inferometer.ingest.dialects.embedded import load_object, load_text
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_entries
from inferometer.ingest.importers.parts import BETWEEN, Cuts
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan, resource_of
from inferometer.ingest.values import as_list, as_mapping, as_name, iso_ns
from inferometer.schema.ids import SPAN_ID_BYTES, TRACE_ID_BYTES, derived_span_id, derived_trace_id
from inferometer.schema.records import Outcome, RecordBatch, Status

_DIALECT = "langfuse"
_CUTS = Cuts({"trace": Cuts({"observations": BETWEEN}), "observations": Cuts(needs=frozenset({"trace"}))})
"""The trace holds its observations once more, which are not read where they stand beside it."""


def matches(source: Source) -> bool:
    """Return whether a file is a trace with observations."""
    first = source.first
    if isinstance(first, list):
        first = first[0] if first else None
    first = as_mapping(first)
    observations = as_list(first.get("observations"))
    if source.is_large and not observations:  # its beginning may end among those that the trace holds once more
        observations = as_list(as_mapping(first.get("trace")).get("observations"))
    return bool(observations) and "traceId" in as_mapping(observations[0]) and "type" in as_mapping(observations[0])


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of each trace."""
    warnings: Counter[str] = Counter()
    reading: _Reading | None = None
    for document in read_entries(source, warnings, _CUTS):
        if not isinstance(document, dict):
            continue
        trace = as_mapping(document.get("trace")) or document
        if reading is None or reading.trace_id != as_name(trace.get("id")):
            if reading is not None:
                yield reading.finish()
            reading = _Reading(trace, source)
        yield reading.read(as_list(document.get("observations")))
    if reading is not None:
        yield reading.finish()
    if reading is None or reading.root is None:
        warnings["without_spans"] += 1
    yield RecordBatch(warnings=warnings)


class _Reading:
    """One trace, whose observations may come in parts, an observation before the one around it."""

    def __init__(self, trace: dict[str, Any], source: Source) -> None:
        self.trace = trace
        self.trace_id = as_name(trace.get("id"))
        self.source = source
        self.known: set[str | None] = {None}
        self.waiting: list[dict[str, Any]] = []
        self.root: tuple[bool, int, bytes, bytes] | None = None

    def read(self, observations: list[Any]) -> RecordBatch:
        """Return the records of those of which it is known whether they are roots."""
        entries = [*self.waiting, *(entry for entry in observations if isinstance(entry, dict))]
        self.known.update(as_name(entry.get("id")) for entry in entries)
        self.waiting = [entry for entry in entries if as_name(entry.get("parentObservationId")) not in self.known]
        return self._records(entry for entry in entries if as_name(entry.get("parentObservationId")) in self.known)

    def finish(self) -> RecordBatch:
        """Return the records of what nothing is around, and how the trace ended."""
        batch = self._records(self.waiting)
        if self.root is not None:
            batch.outcomes.extend(_outcomes(self.trace, self.root[3], self.root[2]))
        return batch

    def _records(self, entries: Iterable[dict[str, Any]]) -> RecordBatch:
        warnings: Counter[str] = Counter()
        raws = []
        for entry in entries:
            raw = _raw_span(entry, self.trace, self.known, warnings)
            if raw is None:
                continue
            raws.append(raw)
            place = (raw.parent_id is not None, raw.start_ns or 0, raw.span_id, raw.trace_id)
            self.root = place if self.root is None else min(self.root, place)
        batch = normalise(raws, keep_content=self.source.options.keep_content, source=self.source.name)
        batch.warnings.update(warnings)
        return batch


def _raw_span(
    entry: dict[str, Any], trace: dict[str, Any], known: set[str | None], warnings: Counter[str]
) -> RawSpan | None:
    span_id = as_name(entry.get("id"))
    trace_id = as_name(entry.get("traceId")) or as_name(trace.get("id"))
    if span_id is None or trace_id is None:
        warnings["span_without_id"] += 1
        return None
    parent = as_name(entry.get("parentObservationId"))
    if parent is not None and parent not in known:
        warnings["orphan_span"] += 1
    start_ns, end_ns = iso_ns(entry.get("startTime")), iso_ns(entry.get("endTime"))
    if end_ns is None:
        warnings["unfinished_span"] += 1
    metadata = load_object(entry.get("metadata"))
    scope = as_mapping(metadata.get("scope"))
    return RawSpan(
        _id(trace_id, TRACE_ID_BYTES),
        _id(span_id, SPAN_ID_BYTES),
        as_name(entry.get("name")) or str(entry.get("type", "")).lower(),
        _id(parent, SPAN_ID_BYTES) if parent is not None else None,
        None,
        start_ns,
        end_ns,
        Status.ERROR if entry.get("level") == "ERROR" else Status.UNSET,
        _attributes(entry, trace, metadata, is_root=parent is None or parent not in known),
        resource=resource_of(as_mapping(metadata.get("resourceAttributes"))),
        scope=as_name(scope.get("name")) or "langfuse-sdk",
    )


def _attributes(
    entry: dict[str, Any], trace: dict[str, Any], metadata: dict[str, Any], *, is_root: bool
) -> dict[str, Any]:
    attributes = {key: _plain(value) for key, value in as_mapping(metadata.get("attributes")).items()}
    usage = load_object(entry.get("usageDetails")) or _older_usage(entry)
    cost = load_object(entry.get("costDetails")) or {
        "total": entry.get("totalCost") or entry.get("calculatedTotalCost")
    }
    given = {
        "langfuse.observation.type": str(entry.get("type", "")).lower(),
        "langfuse.observation.model.name": entry.get("model"),
        "langfuse.observation.usage_details": usage or None,
        "langfuse.observation.cost_details": cost if cost.get("total") is not None else None,
        "langfuse.observation.completion_start_time": entry.get("completionStartTime"),
        "langfuse.observation.input": entry.get("input"),
        "langfuse.observation.output": entry.get("output"),
    }
    if is_root:
        given |= {
            "session.id": trace.get("sessionId"),
            "user.id": trace.get("userId"),
            "langfuse.trace.tags": load_text(trace.get("tags")),
        }
    attributes.update({key: value for key, value in given.items() if value is not None})
    return attributes


def _older_usage(entry: dict[str, Any]) -> dict[str, Any]:
    usage = as_mapping(entry.get("usage"))
    return {key: usage[key] for key in ("input", "output", "total") if usage.get(key) is not None}


def _plain(value: Any) -> Any:
    """Return an attribute without the wrapping in which some exports leave it, such as ``{"intValue":0}``."""
    if isinstance(value, str) and value.startswith('{"') and 'Value":' in value[:16]:
        wrapped = load_object(value)
        if len(wrapped) == 1:
            return next(iter(wrapped.values()))
    return value


def _id(text: str, size: int) -> bytes:
    plain = text.replace("-", "") if size == TRACE_ID_BYTES else text
    try:
        found = bytes.fromhex(plain)
    except ValueError:
        found = b""
    if len(found) == size and any(found):
        return found
    return derived_trace_id(_DIALECT, text) if size == TRACE_ID_BYTES else derived_span_id(_DIALECT, text)


def _outcomes(trace: dict[str, Any], trace_id: bytes, root_id: bytes) -> Iterator[Outcome]:
    for score in as_list(load_text(trace.get("scores"))):
        name = as_name(as_mapping(score).get("name"))
        if name is None:
            continue
        observation = as_name(score.get("observationId"))
        value = score.get("value")
        yield Outcome(
            trace_id,
            _id(observation, SPAN_ID_BYTES) if observation else root_id,
            name,
            float(value) if isinstance(value, (int, float)) else None,
            as_name(score.get("stringValue")),
            f"langfuse score, {str(score.get('source', '')).lower()}".rstrip(", "),
        )


IMPORTER = Importer(
    name="langfuse",
    reads="Langfuse trace exports (JSON): observations with the original span attributes, usage and cost, scores",
    matches=matches,
    read=read,
    cuts=_CUTS,
)
