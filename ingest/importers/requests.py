"""Request traces of serving research: arrival times and lengths, no sessions: Mooncake, Azure, BurstGPT, Vidur.

Each request is a run of its own. Mooncake's hashes are prefix blocks of one trace and are compared within it alone.
"""

from __future__ import annotations

import csv
import io
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.usage import read_count
from inferometer.ingest.values import as_mapping, as_name, iso_ns
from inferometer.schema.ids import derived_span_id, derived_trace_id
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Inference,
    PrefixChain,
    RecordBatch,
    Span,
    SpanKind,
    Status,
    UsageSemantics,
    UsageSource,
)

REQUESTS_AT_ONCE = 5000
MOONCAKE_BLOCK = 512
_SECOND = 1_000_000_000
_MILLISECOND = 1_000_000


def matches_mooncake(source: Source) -> bool:
    """Return whether lines hold lengths and hashes."""
    return source.is_lines and {"timestamp", "input_length", "output_length"} <= as_mapping(source.first).keys()


def matches_azure(source: Source) -> bool:
    """Return whether a table has the columns of Azure's traces."""
    return source.head.lstrip(b"\xef\xbb\xbf").startswith(b"TIMESTAMP,ContextTokens,GeneratedTokens")


def matches_burstgpt(source: Source) -> bool:
    """Return whether a table has the columns of BurstGPT."""
    line = source.head.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return line.startswith(b"Timestamp,") and b"Request tokens" in line and b"Response tokens" in line


def matches_vidur(source: Source) -> bool:
    """Return whether a table has the columns of Vidur's traces."""
    columns = source.head.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].strip().split(b",")
    return {b"num_prefill_tokens", b"num_decode_tokens"} <= set(columns)


def read_mooncake(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of a Mooncake trace; its times are milliseconds from its begin."""
    warnings: Counter[str] = Counter()

    def entries() -> Iterator[tuple[int | None, dict[str, Any], PrefixChain | None]]:
        for line in read_lines(source, warnings):
            stamp = line.get("timestamp")
            begin_ns = round(stamp * _MILLISECOND) if isinstance(stamp, (int, float)) and 0 <= stamp < 1e12 else None
            usage = {"input": line.get("input_length"), "output": line.get("output_length")}
            yield (
                begin_ns,
                {**usage, "model": line.get("model")},
                mooncake_chain(source, line.get("hash_ids"), warnings),
            )

    yield from _batches(source, "mooncake", entries(), warnings)


def read_azure(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of an Azure trace."""
    return _read_table(
        source,
        "azure",
        lambda row: iso_ns(row.get("TIMESTAMP", "")[:26]),
        {"input": "ContextTokens", "output": "GeneratedTokens"},
    )


def read_burstgpt(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of a BurstGPT trace; its times are seconds from its begin.

    A request without response tokens is one that failed. The second release names sessions and how long a request took.
    """
    return _read_table(
        source,
        "burstgpt",
        lambda row: _seconds_ns(row.get("Timestamp", "")),
        {
            "input": "Request tokens",
            "output": "Response tokens",
            "model": "Model",
            "session": "Session ID",
            "took_s": "Elapsed time",
        },
    )


def read_vidur(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of a Vidur trace; its times are seconds from its begin, and may be left out."""
    return _read_table(
        source,
        "vidur",
        lambda row: _seconds_ns(row.get("arrived_at") or ""),
        {"input": "num_prefill_tokens", "output": "num_decode_tokens"},
    )


def _read_table(
    source: Source, name: str, begin_ns: Callable[[dict[str, str]], int | None], columns: dict[str, str]
) -> Iterator[RecordBatch]:
    warnings: Counter[str] = Counter()
    text = io.TextIOWrapper(source.stream, encoding="utf-8-sig", errors="replace", newline="")

    def entries() -> Iterator[tuple[int | None, dict[str, Any], PrefixChain | None]]:
        for row in csv.DictReader(text):
            yield begin_ns(row), {field: row.get(column) for field, column in columns.items()}, None

    try:
        yield from _batches(source, name, entries(), warnings)
    except csv.Error:
        warnings["broken_line"] += 1
        yield RecordBatch(warnings=warnings)
    finally:
        text.detach()


def _batches(
    source: Source,
    dialect: str,
    entries: Iterator[tuple[int | None, dict[str, Any], PrefixChain | None]],
    warnings: Counter[str],
) -> Iterator[RecordBatch]:
    batch = RecordBatch()
    for place, (begin_ns, fields, prefix) in enumerate(entries):
        trace_id = derived_trace_id(dialect, source.name, str(place))
        span_id = derived_span_id(dialect, source.name, str(place))
        call = Inference(trace_id, span_id, request_model=as_name(fields.get("model")) or source.options.model)
        call.meters = Meters(
            input_fresh=read_count(fields["input"], "input", warnings, call.reasons),
            output=read_count(fields["output"], "output", warnings, call.reasons),
        )
        call.usage_source = UsageSource.PROVIDER if call.meters.is_known else UsageSource.ABSENT
        call.usage_semantics = UsageSemantics.INCLUSIVE
        call.prefix = prefix
        batch.inferences.append(call)
        took_ns = _seconds_ns(fields.get("took_s") or "")
        has_failed = dialect == "burstgpt" and call.meters.output == 0
        batch.spans.append(
            Span(
                trace_id,
                span_id,
                "request",
                SpanKind.INFERENCE,
                start_ns=begin_ns,
                end_ns=begin_ns if begin_ns is None or took_ns is None else begin_ns + took_ns,
                status=Status.ERROR if has_failed else Status.UNSET,
                error_type="no_response" if has_failed else None,
                session_id=as_name(fields.get("session")),
                dialect=dialect,
                source=source.name,
            )
        )
        if len(batch.spans) >= REQUESTS_AT_ONCE:
            yield batch
            batch = RecordBatch()
    batch.warnings.update(warnings)
    yield batch


def mooncake_chain(source: Source, hash_ids: Any, warnings: Counter[str]) -> PrefixChain | None:
    """Return the prefix that a line's ids of blocks stand for, None where it has none."""
    if not isinstance(hash_ids, list) or not hash_ids:
        return None
    try:
        packed = struct.pack(f"<{len(hash_ids)}Q", *hash_ids)
    except struct.error:
        warnings["broken_hash_ids"] += 1
        return None
    return PrefixChain(packed, MOONCAKE_BLOCK, "local", f"mooncake:{source.name}")


def _seconds_ns(text: str) -> int | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return round(seconds * _SECOND) if 0 <= seconds < 9e9 else None


MOONCAKE = Importer(
    name="mooncake",
    reads="Mooncake traces (JSON lines): arrival, lengths, `hash_ids` of 512-token blocks",
    matches=matches_mooncake,
    read=read_mooncake,
)
AZURE = Importer(
    name="azure",
    reads="Azure LLM inference traces (CSV): arrival, context and generated tokens",
    matches=matches_azure,
    read=read_azure,
)
BURSTGPT = Importer(
    name="burstgpt",
    reads="BurstGPT (CSV), both releases: arrival, model, request and response tokens, failures, sessions, durations",
    matches=matches_burstgpt,
    read=read_burstgpt,
)
VIDUR = Importer(
    name="vidur",
    reads="Vidur traces (CSV): arrival, prefill and decode tokens",
    matches=matches_vidur,
    read=read_vidur,
)
