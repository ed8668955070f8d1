"""Trajectories that hold messages and no calls: each answer of the model is a call on all messages before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from inferometer.ingest.content import count_missing, describe_input
from inferometer.ingest.importers.session import Session
from inferometer.ingest.values import as_list, as_mapping, as_name
from inferometer.schema.messages import text_of
from inferometer.schema.records import Dependency, DependencyKind, Inference, Span, UsageSource

_MODEL = re.compile(
    r"(?:gpt|chatgpt|claude|gemini|gemma|llama|meta-llama|mi[sx]tral|qwen|deepseek|o[134](?=[-_.]|$)|kimi|glm|grok)[\w.:-]*",
    re.IGNORECASE,
)

_FILE_SUFFIXES = re.compile(r"(?:\.(?:traj|jsonl?|gz|zst))+$", re.IGNORECASE)


def model_in_path(path: PurePath) -> str | None:
    """Return the name of a model that a path holds, as benchmark runs name their folders; None where it holds none."""
    for part in reversed(path.parts):
        for piece in part.split("__"):
            found = _MODEL.match(piece)
            if found is not None:
                return _FILE_SUFFIXES.sub("", found[0])
    return None


def add_answers(
    session: Session, messages: Sequence[Any], model: str | None, *, metered: bool = True
) -> list[Inference]:
    """Add a call for each answer in a list of messages and a tool call for each tool that an answer asks for.

    Args:
        session: where they go, into the run going on.
        messages: in any provider's shape, in order.
        model: that gave the answers.
        metered: whether tokens are counted from the text; False for replays, which called no model.

    Returns:
        The calls, in order.
    """
    calls: list[Inference] = []
    before: list[Any] = []
    latest: Span | None = None
    for place, message in enumerate(messages):
        entry = as_mapping(message)
        if entry.get("role") == "assistant":
            call = Inference(b"", b"", request_model=model, usage_source=UsageSource.ABSENT)
            if metered:
                parts = describe_input(call, None, list(before), None)
                count_missing(call, parts, [text_of(entry.get("content")), *_calls_text(entry)])
            if latest is not None:
                call.depends_on = [Dependency(latest.span_id, DependencyKind.TOOL)]
            latest = session.add_call(str(place), call, None, None)
            calls.append(call)
            _add_tools(session, entry, place)
        elif entry.get("role") == "tool":
            tool_id = as_name(entry.get("tool_call_id"))
            if tool_id is not None:
                session.end_tool(tool_id, None)
        before.append(message)
    return calls


def share_out(calls: list[Inference], sent: int | None, received: int | None, cost_usd: Decimal | None) -> None:
    """Make estimated calls sum up to what is known of their run as a whole.

    Args:
        calls: of one run, each with tokens counted from its text.
        sent: tokens of input of the whole run.
        received: tokens of output of the whole run.
        cost_usd: recorded cost of the whole run.
    """
    for name, whole in (("input_fresh", sent), ("output", received)):
        if whole is None:
            continue
        shares = shared(whole, [getattr(call.meters, name) or 0 for call in calls])
        for call, share in zip(calls, shares, strict=True):
            setattr(call.meters, name, share)
            call.usage_source = UsageSource.ESTIMATED
    if calls and (sent is not None or received is not None):
        reason = "the run's own total of tokens, shared out by the counted text"
        for call in calls:
            call.reasons = [reason]
    if cost_usd is not None and calls:
        micro = shared(int(cost_usd * 10**9), [call.meters.total or 0 for call in calls])
        for call, share in zip(calls, micro, strict=True):
            call.recorded_cost_usd = Decimal(share) / 10**9


def shared(whole: int, weights: Sequence[int]) -> list[int]:
    """Return whole numbers in proportion to weights that sum up to ``whole`` exactly (largest remainders)."""
    total = sum(weights)
    if not weights:
        return []
    if total == 0:
        weights, total = [1] * len(weights), len(weights)
    shares = [whole * weight // total for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda place: (-(whole * weights[place] % total), place))
    for place in remainders[: whole - sum(shares)]:
        shares[place] += 1
    return shares


def _calls_text(entry: dict[str, Any]) -> list[str]:
    texts = []
    for call in as_list(entry.get("tool_calls")):
        function = as_mapping(as_mapping(call).get("function"))
        texts += [str(function.get("name") or ""), str(function.get("arguments") or "")]
    return texts


def _add_tools(session: Session, entry: dict[str, Any], place: int) -> None:
    for number, call in enumerate(as_list(entry.get("tool_calls"))):
        function = as_mapping(as_mapping(call).get("function"))
        name = as_name(function.get("name"))
        if name is not None:
            key = as_name(as_mapping(call).get("id")) or f"{place}/{number}"
            if session.has_tool(key):
                key = f"{key}/{place}/{number}"  # some models use an id again
            session.begin_tool(key, name, None, arguments=function.get("arguments"))
