"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "resources",
        sa.Column("resource_id", sa.LargeBinary(), primary_key=True),
        sa.Column("service", sa.Text()),
        sa.Column("attributes", sa.Text(), nullable=False),
    )
    op.create_table(
        "spans",
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("parent_id", sa.LargeBinary()),
        sa.Column("run_id", sa.Text()),
        sa.Column("source_run_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("start_ns", sa.BigInteger()),
        sa.Column("end_ns", sa.BigInteger()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_type", sa.Text()),
        sa.Column("resource_id", sa.LargeBinary()),
        sa.Column("scope", sa.Text()),
        sa.Column("dialect", sa.Text()),
        sa.Column("otel_kind", sa.Text()),
        sa.Column("agent_name", sa.Text()),
        sa.Column("session_id", sa.Text()),
        sa.Column("user_id", sa.Text()),
        sa.Column("tags", sa.Text()),
        sa.Column("links", sa.Text()),
        sa.Column("weight", sa.Float()),
        sa.Column("purpose", sa.Text()),
        sa.Column("attributes", sa.Text()),
        sa.Column("attributes_dropped", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text()),
        sa.Column("normaliser_version", sa.Integer(), nullable=False),
    )
    op.create_index("spans_by_id", "spans", ["trace_id", "span_id"], unique=True)
    op.create_index("spans_by_run", "spans", ["run_id"])
    op.create_index("spans_by_session", "spans", ["session_id"])
    op.create_index("spans_by_start", "spans", ["start_ns"])
    op.create_table(
        "inferences",
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("provider", sa.Text()),
        sa.Column("request_model", sa.Text()),
        sa.Column("response_model", sa.Text()),
        sa.Column("response_id", sa.Text()),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("input_fresh", sa.BigInteger()),
        sa.Column("cache_read", sa.BigInteger()),
        sa.Column("cache_write_5m", sa.BigInteger()),
        sa.Column("cache_write_1h", sa.BigInteger()),
        sa.Column("output", sa.BigInteger()),
        sa.Column("reasoning", sa.BigInteger()),
        sa.Column("input_text", sa.BigInteger()),
        sa.Column("input_audio", sa.BigInteger()),
        sa.Column("input_image", sa.BigInteger()),
        sa.Column("cache_read_audio", sa.BigInteger()),
        sa.Column("output_text", sa.BigInteger()),
        sa.Column("output_audio", sa.BigInteger()),
        sa.Column("output_image", sa.BigInteger()),
        sa.Column("raw_usage", sa.Text()),
        sa.Column("usage_source", sa.Text(), nullable=False),
        sa.Column("usage_semantics", sa.Text(), nullable=False),
        sa.Column("service_tier", sa.Text()),
        sa.Column("batch", sa.Boolean()),
        sa.Column("stream", sa.Boolean()),
        sa.Column("attempts", sa.Text()),
        sa.Column("ttft_ns", sa.BigInteger()),
        sa.Column("inter_token_p50_ns", sa.BigInteger()),
        sa.Column("inter_token_p95_ns", sa.BigInteger()),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("tools_offered", sa.Text()),
        sa.Column("composition", sa.Text()),
        sa.Column("recorded_cost_usd", sa.Text()),
        sa.Column("queue_ns", sa.BigInteger()),
        sa.Column("prefill_ns", sa.BigInteger()),
        sa.Column("decode_ns", sa.BigInteger()),
        sa.Column("prefix_segment", sa.LargeBinary()),
        sa.Column("prefix_blocks", sa.Integer()),
        sa.Column("source_depends_on", sa.Text()),
        sa.Column("source_billable", sa.Boolean(), nullable=False),
        sa.Column("source_merged_into", sa.LargeBinary()),
        sa.Column("source_reasons", sa.Text()),
        sa.Column("agent_name", sa.Text()),
        sa.Column("depends_on", sa.Text()),
        sa.Column("billable", sa.Boolean(), nullable=False),
        sa.Column("merged_into", sa.LargeBinary()),
        sa.Column("reasons", sa.Text()),
    )
    op.create_index("inferences_by_id", "inferences", ["trace_id", "span_id"], unique=True)
    op.create_index("inferences_by_response", "inferences", ["response_id"])
    op.create_index("inferences_by_segment", "inferences", ["prefix_segment"])
    op.create_table(
        "tool_calls",
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text()),
        sa.Column("call_id", sa.Text()),
        sa.Column("argument_fingerprint", sa.Text()),
        sa.Column("result_tokens", sa.BigInteger()),
        sa.Column("error", sa.Text()),
        sa.Column("duration_ns", sa.BigInteger()),
        sa.Column("source_merged_into", sa.LargeBinary()),
        sa.Column("source_reasons", sa.Text()),
        sa.Column("agent_name", sa.Text()),
        sa.Column("merged_into", sa.LargeBinary()),
        sa.Column("reasons", sa.Text()),
    )
    op.create_index("tool_calls_by_id", "tool_calls", ["trace_id", "span_id"], unique=True)
    op.create_table(
        "charges",
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("unit_price_usd", sa.Text()),
        sa.Column("source", sa.Text()),
    )
    op.create_index("charges_by_id", "charges", ["trace_id", "span_id", "sku", "ordinal"], unique=True)
    op.create_table(
        "outcomes",
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("label", sa.Text()),
        sa.Column("source", sa.Text()),
    )
    op.create_index("outcomes_by_id", "outcomes", ["trace_id", "span_id", "name", "ordinal"], unique=True)
    op.create_table(
        "serving_samples",
        sa.Column("sample_id", sa.LargeBinary(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("resource_id", sa.LargeBinary()),
        sa.Column("attributes", sa.Text()),
    )
    op.create_index("serving_samples_by_id", "serving_samples", ["sample_id"], unique=True)
    op.create_index("serving_samples_by_time", "serving_samples", ["metric", "time_ns"])
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("root_span_id", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("agent_name", sa.Text()),
        sa.Column("session_id", sa.Text()),
        sa.Column("user_id", sa.Text()),
        sa.Column("purpose", sa.Text()),
        sa.Column("start_ns", sa.BigInteger()),
        sa.Column("end_ns", sa.BigInteger()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.Float()),
        sa.Column("service", sa.Text()),
        sa.Column("tags", sa.Text()),
        sa.Column("source", sa.Text()),
    )
    op.create_index("runs_by_id", "runs", ["run_id"], unique=True)
    op.create_index("runs_by_session", "runs", ["session_id"])
    op.create_index("runs_by_start", "runs", ["start_ns"])
    op.create_index("runs_by_trace", "runs", ["trace_id"])
    op.create_table(
        "prefix_segments",
        sa.Column("segment_id", sa.LargeBinary(), nullable=False),
        sa.Column("parent_id", sa.LargeBinary()),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("first_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.Column("block_tokens", sa.Integer(), nullable=False),
        sa.Column("vocabulary", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
    )
    op.create_index("prefix_segments_by_first_hash", "prefix_segments", ["first_hash"])
    op.create_index("prefix_segments_by_id", "prefix_segments", ["segment_id"], unique=True)
    op.create_index("prefix_segments_by_parent", "prefix_segments", ["parent_id"])
    op.create_table(
        "journal_entries",
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("committed_ns", sa.BigInteger(), nullable=False),
    )
    op.create_index("journal_entries_by_id", "journal_entries", ["entry_id"], unique=True)
    op.create_index("journal_entries_by_time", "journal_entries", ["committed_ns"])
