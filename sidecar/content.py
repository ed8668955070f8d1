"""Requests without what people and models said: for the journal, for destinations and for quarantine.

What stays is decided by `ingest.retention`, the same for a span that is stored and one that is passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from inferometer.ingest.dialects import dialect_of
from inferometer.ingest.otlp import message_attributes
from inferometer.ingest.retention import retain
from inferometer.sidecar.answer import PROTOBUF
from inferometer.sidecar.envelope import item_lists, parse_message
from inferometer.sidecar.transcoding import to_message


def strip_request(signal: str, encoding: str, body: bytes) -> bytes:
    """Return a request in protobuf without content: attributes of spans, events, links and logs, and log bodies.

    Args:
        signal: ``traces``, ``logs`` or ``metrics``; metrics hold none and pass as they are.
        encoding: ``protobuf`` or ``json``.
        body: uncompressed.

    Raises:
        Refusal: the body cannot be read.
    """
    request = parse_message(signal, body) if encoding == PROTOBUF else to_message(signal, body)
    strip: Callable[[Any, str], None] = _strip_span if signal == "traces" else _strip_record
    if signal != "metrics":
        for scope_name, items in _scoped(signal, request):
            for item in items:
                strip(item, scope_name)
    return bytes(request.SerializeToString())


def _scoped(signal: str, request: Any) -> Iterator[tuple[str, Any]]:
    names = []
    for group in request.resource_spans if signal == "traces" else request.resource_logs:
        names += [part.scope.name for part in (group.scope_spans if signal == "traces" else group.scope_logs)]
    return zip(names, item_lists(signal, request), strict=True)


def _strip_span(span: Any, scope_name: str) -> None:
    attributes = message_attributes(span.attributes)
    dialect = dialect_of(scope_name or None, attributes)
    kept, _ = retain(attributes, dialect, keep_content=False)
    _keep_only(span.attributes, kept)
    # an error's message may quote what was said
    span.status.message = ""
    for part in (*span.events, *span.links):
        kept, _ = retain(message_attributes(part.attributes), dialect, keep_content=False)
        _keep_only(part.attributes, kept)


def _strip_record(record: Any, scope_name: str) -> None:
    record.ClearField("body")
    attributes = message_attributes(record.attributes)
    kept, _ = retain(attributes, dialect_of(scope_name or None, attributes), keep_content=False)
    _keep_only(record.attributes, kept)


def _keep_only(pairs: Any, kept: dict[str, Any]) -> None:
    gone = [position for position, pair in enumerate(pairs) if pair.key not in kept]
    for position in reversed(gone):
        del pairs[position]
