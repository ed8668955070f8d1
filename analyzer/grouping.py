"""Which group a call or a charge belongs to."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from inferometer.schema.errors import UnknownNameError
from inferometer.schema.moments import is_date
from inferometer.schema.records import Charge
from inferometer.schema.rows import InferenceRow, Placement
from inferometer.schema.selection import Selection
from inferometer.store import Store

BY = (
    *("model", "provider", "agent", "tool", "run", "session", "user", "purpose", "service", "day"),
    "attribute:KEY",
)

Key = str | None
SpanKey = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Grouping:
    """How calls and charges are told apart; a key of None is *unknown*."""

    name: str
    of_call: Callable[[InferenceRow], Key]
    of_charge: Callable[[Charge, Placement, InferenceRow | None], Key]
    """Of a charge, its placement and the inference it is on, if it is on one."""


def grouping(by: str, store: Store, selection: Selection) -> Grouping:
    """Return the grouping of a name.

    Raises:
        UnknownNameError: there is none.
    """
    if by.startswith("attribute:") and by != "attribute:":
        return _by_attribute(by, store, selection)
    if by == "tool":
        return _by_tool(store, selection)
    if by == "model":
        return Grouping(by, _model, lambda charge, placement, row: None if row is None else _model(row))
    if by == "provider":
        return Grouping(by, _provider, lambda charge, placement, row: None if row is None else _provider(row))
    if by in _OF_PLACEMENT:
        of_placement = _OF_PLACEMENT[by]
        return Grouping(
            by, lambda row: of_placement(row.placement), lambda charge, placement, row: of_placement(placement)
        )
    raise UnknownNameError("grouping", by, BY)


def day_of(start_ns: int | None) -> str | None:
    """Return the day (UTC) of a time in nanoseconds since 1970; None where it is no date."""
    if not is_date(start_ns):
        return None
    try:
        return datetime.fromtimestamp(start_ns // 1_000_000_000, tz=UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return None


_OF_PLACEMENT: dict[str, Callable[[Placement], Key]] = {
    "agent": lambda placement: placement.agent_name,
    "run": lambda placement: placement.run_id,
    "session": lambda placement: placement.session_id,
    "user": lambda placement: placement.user_id,
    "purpose": lambda placement: placement.purpose.value if placement.purpose else None,
    "service": lambda placement: placement.service,
    "day": lambda placement: day_of(placement.start_ns),
}


def _model(row: InferenceRow) -> Key:
    return row.inference.model


def _provider(row: InferenceRow) -> Key:
    return row.inference.provider


def _by_attribute(by: str, store: Store, selection: Selection) -> Grouping:
    name = by.removeprefix("attribute:")
    values = store.attribute_values(selection, name)

    def of_span(span: SpanKey, placement: Placement) -> Key:
        return placement.tags.get(name) or values.get(span)

    return Grouping(
        by,
        lambda row: of_span((row.inference.trace_id, row.inference.span_id), row.placement),
        lambda charge, placement, row: of_span((charge.trace_id, charge.span_id), placement),
    )


def _by_tool(store: Store, selection: Selection) -> Grouping:
    """Group a call under the tools whose results it was the first to read, as ``bash + read`` where there were several.

    These are the tool calls of its run and agent that began between the end of the call it waited for and its own
    start (recorded ends often lag behind it). What a tool costs in tokens is then what its result and the context sent
    again with it cost; a call that followed no tool has no key.
    """
    names: dict[SpanKey, str] = {}
    begun: dict[tuple[Key, Key], list[tuple[int, str]]] = defaultdict(list)
    for row in store.tool_calls(Selection(where=selection.where)):
        tool, placement = row.tool_call, row.placement
        names[tool.trace_id, tool.span_id] = tool.name
        if tool.merged_into is None and placement.start_ns is not None:
            begun[placement.run_id, placement.agent_name].append((placement.start_ns, tool.name))
    for found in begun.values():
        found.sort()

    def of_call(row: InferenceRow) -> Key:
        start_ns = row.placement.start_ns
        gaps = [edge.gap_ns for edge in row.inference.depends_on if edge.gap_ns is not None]
        found = begun.get((row.placement.run_id, row.placement.agent_name))
        if start_ns is None or not gaps or not found:
            return None
        first = bisect_left(found, (start_ns - max(gaps), ""))
        last = bisect_left(found, (start_ns, ""))
        return " + ".join(sorted({name for _, name in found[first:last]})) or None

    return Grouping("tool", of_call, lambda charge, placement, row: names.get((charge.trace_id, charge.span_id)))
