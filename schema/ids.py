"""Identifiers: OTLP byte ids and the ones derived from them.

Ids made here are content hashes, so that importing the same thing twice finds what is there.
"""

from __future__ import annotations

from hashlib import blake2b

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8


def derived_trace_id(*parts: str) -> bytes:
    """Return a stable 16-byte trace id for a source that has none, such as a transcript's session."""
    return _digest(parts, TRACE_ID_BYTES)


def derived_span_id(*parts: str) -> bytes:
    """Return a stable 8-byte span id for a source that has none, such as one message of a transcript."""
    return _digest(parts, SPAN_ID_BYTES)


def run_id_of(trace_id: bytes, root_span_id: bytes) -> str:
    """Return the run's id, 16 hex digits, from the span at its top."""
    return blake2b(trace_id + root_span_id, digest_size=8, person=b"inferometer.run").hexdigest()


def _digest(parts: tuple[str, ...], size: int) -> bytes:
    # surrogatepass: ids come from files of others, and a lone surrogate in one must not stop an import
    text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=size, person=b"inferometer.id").digest()
