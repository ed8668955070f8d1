"""Codex: turns with the sum of their usage, requests to the model inside them."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_AGENTS = frozenset({"codex.exec", "session_loop", "codex.session"})
_REQUESTS = frozenset({"stream_request", "codex.api_request", "responses.stream_request"})


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what the span's name and usage say.

    A turn is read as a call: where its requests carry usage of their own it is a roll-up over them and not billed,
    where they carry none it is all that is known.
    """
    if raw.name in _AGENTS:
        return SpanKind.AGENT
    if raw.name in _REQUESTS or "input" in fields or "output" in fields:
        return Operation.CHAT
    if raw.name == "run_turn":
        return SpanKind.STEP
    if raw.name in {"codex.tool_result", "handle_tool_call", "dispatch_tool_call"} or "tool_name" in fields:
        return SpanKind.TOOL
    return gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Name the provider, which the spans leave out."""
    if "input" in fields or "output" in fields:
        fields.setdefault("provider", "openai")


_TURN = "codex.turn.token_usage."

DIALECT = Dialect(
    name="codex",
    reads="Codex CLI (`codex_cli_rs`, `otel/src/events`, 2026-11): usage of turns and requests (inclusive), tools, "
    "conversation; its logs join by conversation and time",
    aliases=extend(
        gen_ai.ALIASES,
        {
            "input": (f"{_TURN}input_tokens", "gen_ai.usage.input_tokens", "input_token_count"),
            "output": (f"{_TURN}output_tokens", "gen_ai.usage.output_tokens", "output_token_count"),
            "total": (f"{_TURN}total_tokens", "codex.usage.total_tokens"),
            "cache_read": (f"{_TURN}cached_input_tokens", "cached_token_count", "codex.usage.cached_input_tokens"),
            "cache_write": (f"{_TURN}cache_write_input_tokens", "cache_write_token_count"),
            "reasoning": (
                f"{_TURN}reasoning_output_tokens",
                "codex.usage.reasoning_output_tokens",
                "reasoning_token_count",
            ),
            "response_model": ("model",),
            "session_id": ("conversation.id", "thread.id"),
            "user_id": ("user.account_id",),
            "ttft_ms": ("ttft_ms",),
            "tool_name": ("tool_name",),
            "tool_call_id": ("call_id",),
        },
    ),
    kind=kind_of,
    scopes=("codex*",),
    markers=("codex.*",),
    content=(*gen_ai.CONTENT, "prompt", "arguments", "output", "user.email", "cwd"),
    refine=refine,
)
