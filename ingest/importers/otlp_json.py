"""OTLP traces, logs and metrics in files of JSON: one document, a list of them, or one a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_documents
from inferometer.ingest.importers.parts import Cuts
from inferometer.ingest.logs import logs_of_json
from inferometer.ingest.metrics import metrics_of_json
from inferometer.ingest.normalise import normalise
from inferometer.ingest.otlp import spans_of_json
from inferometer.schema.records import RecordBatch


def _cuts(scopes: tuple[str, ...], records: str) -> dict[str, Cuts]:
    """Return the cuts of the scopes of one resource; its records are told with their resource and scope."""
    around = frozenset({"scope", "instrumentationLibrary"})
    return {name: Cuts({records: Cuts(needs=around)}, frozenset({"resource"})) for name in scopes}


_SPANS = _cuts(("scopeSpans", "scope_spans", "instrumentationLibrarySpans"), "spans")
_CUTS = Cuts(
    {
        "resourceSpans": Cuts(_SPANS),
        "resource_spans": Cuts(_SPANS),
        "batches": Cuts(_SPANS),
        "trace": Cuts({"resourceSpans": Cuts(_SPANS)}),
        **_SPANS,
        "resourceLogs": Cuts(_cuts(("scopeLogs",), "logRecords")),
        "resourceMetrics": Cuts(_cuts(("scopeMetrics",), "metrics")),
    }
)
_SIGNALS = frozenset({"resourceLogs", "resourceMetrics"})
_KEYS = frozenset({"resourceSpans", "resource_spans", "scopeSpans", "instrumentationLibrarySpans"})


def matches(source: Source) -> bool:
    """Return whether a file holds OTLP/JSON traces."""
    first = source.first
    while isinstance(first, list) and first:
        first = first[0]
    return isinstance(first, dict) and (_holds(first, *_KEYS, *_SIGNALS) or _is_of_tempo(first))


def _is_of_tempo(document: dict[str, Any]) -> bool:
    """Return whether a document is what Tempo answers when it is asked for a trace."""
    if isinstance(document.get("trace"), dict):
        return _holds(document["trace"], *_KEYS)
    batches = document.get("batches")
    return isinstance(batches, list) and _holds(batches[:1], *_KEYS)


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of all spans."""
    warnings: Counter[str] = Counter()
    for document in read_documents(source, warnings, _CUTS):
        if _holds(document, "resourceLogs"):
            yield logs_of_json(document, warnings)
        if _holds(document, "resourceMetrics"):
            yield metrics_of_json(document, warnings)
        if _holds(document, *_KEYS) or (isinstance(document, dict) and _is_of_tempo(document)):
            raws = spans_of_json(document, warnings)
            yield normalise(raws, keep_content=source.options.keep_content, source=source.name)
    yield RecordBatch(warnings=warnings)


def _holds(document: Any, *keys: str) -> bool:
    if isinstance(document, list):
        return any(_holds(part, *keys) for part in document)
    return isinstance(document, dict) and not document.keys().isdisjoint(keys)


JSON = Importer(
    name="otlp",
    reads="OTLP/JSON traces, logs and metrics: documents, lists of documents, JSON lines, Tempo's answers; ids in hex "
    "or base64, enums by name or number",
    matches=matches,
    read=read,
    cuts=_CUTS,
)
