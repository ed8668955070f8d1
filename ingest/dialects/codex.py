"""Codex: turns with the sum of their usage, requests to the model inside them."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_AGENTS = frozenset({"codex.exec", "session_loop", "codex.session"})


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what the span's name and usage say.

    A request is told by the last event of its stream, which carries the usage; the spans around its sending carry
    nothing that would tell a second one from it. A turn is read as a call: where its requests carry usage of their own
    it is a roll-up over them and not billed, where they carry none it is all that is known. An event that says what
    tool the model asked for, and from which event it is known, is no call of that tool: that has a span of its own.
    """
    if raw.name in _AGENTS:
        return SpanKind.AGENT
    if "input" in fields or "output" in fields:
        return Operation.CHAT
    if raw.name == "run_turn":
        return SpanKind.STEP
    if "tool_name" in fields or raw.name == "codex.tool_result":
        return None if "from" in raw.attributes else SpanKind.TOOL
    return gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Name the provider, which the spans leave out; tell threads of the conversation from those of the process."""
    if not isinstance(fields.get("session_id"), str):
        fields.pop("session_id", None)
    if "input" in fields or "output" in fields:
        fields.setdefault("provider", "openai")


_TURN = "codex.turn.token_usage."

DIALECT = Dialect(
    name="codex",
    reads="Codex CLI (`codex_cli_rs`, `otel/src/events`, 2026-11): usage of turns and requests (inclusive), tools, "
    "conversation; a call begins where its attempt does; its logs join by conversation and time",
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
