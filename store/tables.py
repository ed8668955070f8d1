"""The tables, named in plural after the records they hold.

Ids are raw bytes, times integer nanoseconds, money decimal text (exact in every SQL dialect), lists and objects JSON
text; NULL is *unknown*. ``inferences`` keeps what the source said beside what was decided about it (``source_billable``
beside ``billable``), so that a decision can be taken again from the record alone when late spans arrive.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text, text

from inferometer.schema.meters import METER_NAMES

METADATA = MetaData()

VERSION_TABLE = "inferometer_version"
"""Alembic's table, named so that it does not clash with another program's in a shared database."""

_LINKING = text("links IS NOT NULL")

RESOURCES = Table(
    "resources",
    METADATA,
    Column("resource_id", LargeBinary, primary_key=True),
    Column("service", Text),
    Column("attributes", Text, nullable=False),
)

SPANS = Table(
    "spans",
    METADATA,
    Column("trace_id", LargeBinary, nullable=False),
    Column("span_id", LargeBinary, nullable=False),
    Column("parent_id", LargeBinary),
    Column("run_id", Text),
    Column("source_run_id", Text),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("start_ns", BigInteger),
    Column("end_ns", BigInteger),
    Column("status", Text, nullable=False),
    Column("error_type", Text),
    Column("resource_id", LargeBinary),
    Column("scope", Text),
    Column("dialect", Text),
    Column("otel_kind", Text),
    Column("agent_name", Text),
    Column("session_id", Text),
    Column("user_id", Text),
    Column("tags", Text),
    Column("links", Text),
    Column("weight", Float),
    Column("purpose", Text),
    Column("attributes", Text),
    Column("attributes_dropped", BigInteger, nullable=False),
    Column("source", Text),
    Column("normaliser_version", Integer, nullable=False),
    Index("spans_by_id", "trace_id", "span_id", unique=True),
    Index("spans_by_start", "start_ns"),
    Index("spans_by_run", "run_id"),
    Index("spans_by_session", "session_id"),
    Index("spans_by_link", "trace_id", sqlite_where=_LINKING, postgresql_where=_LINKING),
)

INFERENCES = Table(
    "inferences",
    METADATA,
    Column("trace_id", LargeBinary, nullable=False),
    Column("span_id", LargeBinary, nullable=False),
    Column("provider", Text),
    Column("request_model", Text),
    Column("response_model", Text),
    Column("response_id", Text),
    Column("operation", Text, nullable=False),
    *(Column(name, BigInteger) for name in METER_NAMES),
    Column("raw_usage", Text),
    Column("usage_source", Text, nullable=False),
    Column("usage_semantics", Text, nullable=False),
    Column("service_tier", Text),
    Column("batch", Boolean),
    Column("stream", Boolean),
    Column("attempts", Text),
    Column("ttft_ns", BigInteger),
    Column("inter_token_p50_ns", BigInteger),
    Column("inter_token_p95_ns", BigInteger),
    Column("finish_reason", Text),
    Column("tools_offered", Text),
    Column("composition", Text),
    Column("recorded_cost_usd", Text),
    Column("queue_ns", BigInteger),
    Column("prefill_ns", BigInteger),
    Column("decode_ns", BigInteger),
    Column("prefix_segment", LargeBinary),
    Column("prefix_blocks", Integer),
    Column("source_depends_on", Text),
    Column("source_billable", Boolean, nullable=False),
    Column("source_merged_into", LargeBinary),
    Column("source_reasons", Text),
    Column("agent_name", Text),
    Column("depends_on", Text),
    Column("billable", Boolean, nullable=False),
    Column("merged_into", LargeBinary),
    Column("reasons", Text),
    Index("inferences_by_id", "trace_id", "span_id", unique=True),
    Index("inferences_by_segment", "prefix_segment"),
)

TOOL_CALLS = Table(
    "tool_calls",
    METADATA,
    Column("trace_id", LargeBinary, nullable=False),
    Column("span_id", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text),
    Column("call_id", Text),
    Column("argument_fingerprint", Text),
    Column("result_tokens", BigInteger),
    Column("error", Text),
    Column("duration_ns", BigInteger),
    Column("source_merged_into", LargeBinary),
    Column("source_reasons", Text),
    Column("agent_name", Text),
    Column("merged_into", LargeBinary),
    Column("reasons", Text),
    Index("tool_calls_by_id", "trace_id", "span_id", unique=True),
)

CHARGES = Table(
    "charges",
    METADATA,
    Column("trace_id", LargeBinary, nullable=False),
    Column("span_id", LargeBinary, nullable=False),
    Column("sku", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("quantity", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("unit_price_usd", Text),
    Column("source", Text),
    Index("charges_by_id", "trace_id", "span_id", "sku", "ordinal", unique=True),
)

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("trace_id", LargeBinary, nullable=False),
    Column("span_id", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("value", Float),
    Column("label", Text),
    Column("source", Text),
    Index("outcomes_by_id", "trace_id", "span_id", "name", "ordinal", unique=True),
)

SERVING_SAMPLES = Table(
    "serving_samples",
    METADATA,
    Column("sample_id", LargeBinary, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("metric", Text, nullable=False),
    Column("value", Float, nullable=False),
    Column("resource_id", LargeBinary),
    Column("attributes", Text),
    Index("serving_samples_by_id", "sample_id", unique=True),
    Index("serving_samples_by_time", "metric", "time_ns"),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Text, nullable=False),
    Column("trace_id", LargeBinary, nullable=False),
    Column("root_span_id", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("agent_name", Text),
    Column("session_id", Text),
    Column("user_id", Text),
    Column("purpose", Text),
    Column("start_ns", BigInteger),
    Column("end_ns", BigInteger),
    Column("status", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("weight", Float),
    Column("service", Text),
    Column("tags", Text),
    Column("source", Text),
    Index("runs_by_id", "run_id", unique=True),
    Index("runs_by_trace", "trace_id"),
    Index("runs_by_start", "start_ns"),
    Index("runs_by_session", "session_id"),
)

THINNED_SPANS = Table(
    "thinned_spans",
    METADATA,
    Column("trace_id", LargeBinary, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("spans", LargeBinary, nullable=False),
    Index("thinned_spans_by_run", "trace_id", "run_id", unique=True),
)

IMPORTED_FILES = Table(
    "imported_files",
    METADATA,
    Column("path_id", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("told", Text, nullable=False),
    Index("imported_files_by_path", "path_id", unique=True),
)

PREFIX_SEGMENTS = Table(
    "prefix_segments",
    METADATA,
    Column("segment_id", LargeBinary, nullable=False),
    Column("parent_id", LargeBinary),
    Column("position", Integer, nullable=False),
    Column("first_hash", LargeBinary, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    Column("block_tokens", Integer, nullable=False),
    Column("vocabulary", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Index("prefix_segments_by_id", "segment_id", unique=True),
    Index("prefix_segments_by_first_hash", "first_hash"),
    Index("prefix_segments_by_parent", "parent_id"),
)

JOURNAL_ENTRIES = Table(
    "journal_entries",
    METADATA,
    Column("entry_id", LargeBinary, nullable=False),
    Column("committed_ns", BigInteger, nullable=False),
    Index("journal_entries_by_id", "entry_id", unique=True),
    Index("journal_entries_by_time", "committed_ns"),
)
