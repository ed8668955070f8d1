"""Journal entries to canonical records."""

from __future__ import annotations

from collections import Counter
from typing import Any

from inferometer.ingest.normalise import normalise
from inferometer.ingest.otlp import decode_traces
from inferometer.schema.records import RecordBatch
from inferometer.sidecar.answer import JSON
from inferometer.sidecar.compression import decompress
from inferometer.sidecar.content import strip_request
from inferometer.store.entry_log import Entry

SOURCE = "sidecar"

REDUCED = "reduced"
"""Encoding of a journal entry that holds records in place of the request."""


def read_request(signal: str, encoding: str, body: bytes, *, keep_content: bool) -> RecordBatch:
    """Return the records of one request.

    Args:
        signal: ``traces``, ``logs`` or ``metrics``.
        encoding: ``protobuf`` or ``json``.
        body: uncompressed.
        keep_content: whether what people and models said may stay.
    """
    warnings: Counter[str] = Counter()
    wire: Any = "json" if encoding == JSON else "protobuf"
    if signal == "traces":
        batch = normalise(decode_traces(body, wire, warnings), keep_content=keep_content, source=SOURCE)
    elif signal == "logs":
        from inferometer.ingest.logs import decode_logs

        batch = decode_logs(body, wire, warnings)
    else:
        from inferometer.ingest.metrics import decode_metrics

        batch = decode_metrics(body, wire, warnings)
    batch.warnings.update(warnings)
    return batch


def read_entry(entry: Entry, *, limit_bytes: int, keep_content: bool) -> RecordBatch:
    """Return the records of one journal entry."""
    if entry.encoding == REDUCED:
        return load_reduced(entry.body)[0]
    plain = decompress(entry.body, entry.compression, limit_bytes)
    return read_request(entry.signal, entry.encoding, plain, keep_content=keep_content)


def reduce_request(signal: str, encoding: str, body: bytes, *, with_request: bool) -> bytes:
    """Return the body of a journal entry that holds no content.

    Args:
        with_request: whether destinations wait for the request too; it is stripped.
    """
    import msgspec

    batch = read_request(signal, encoding, body, keep_content=False)
    request = strip_request(signal, encoding, body) if with_request else b""
    return msgspec.msgpack.encode((batch, request))


def load_reduced(body: bytes) -> tuple[RecordBatch, bytes]:
    """Return the records and the stripped protobuf request of `reduce_request`."""
    import msgspec

    # a Counter is written as a plain object
    return msgspec.msgpack.decode(body, type=tuple[RecordBatch, bytes], dec_hook=lambda kind, value: kind(value))


def merge_batches(batches: list[RecordBatch]) -> RecordBatch:
    """Return all records in one batch."""
    merged = RecordBatch()
    for batch in batches:
        merged.extend(batch)
    return merged
