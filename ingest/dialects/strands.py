"""Strands Agents: old and new spellings side by side, an agent span that repeats its calls' sums."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind


def refine(raw: RawSpan, fields: Fields) -> None:
    """Drop the provider where the framework names itself: whose model answered is told by the model alone."""
    if fields.get("provider") == "strands-agents":
        del fields["provider"]


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return the operation; a cycle of the event loop is a step."""
    if raw.name.startswith("execute_event_loop_cycle"):
        return SpanKind.STEP
    return gen_ai.kind_of(raw, fields)


ALIASES = extend(
    {name: keys for name, keys in gen_ai.ALIASES.items() if name != "ttft_s"},
    ttft_ms=("gen_ai.server.time_to_first_token",),
)

DIALECT = Dialect(
    name="strands",
    reads="strands-agents up to 1.62: calls, tools, event loop cycles as steps, agents (their sums are check values), "
    "the time to first token, which it writes in milliseconds",
    aliases=ALIASES,
    kind=kind_of,
    scopes=("strands*",),
    markers=("event_loop.cycle_id", "event_loop.parent_cycle_id"),
    content=gen_ai.CONTENT,
    refine=refine,
)
