"""What the store hands to the analyzer: records joined with the span and run they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

from inferometer.schema.records import Inference, Purpose, SpanKind, Status, ToolCall


@dataclass(slots=True)
class Placement:
    """Where and when a call happened, and for whom; session, user, purpose and tags are the run's where it has them."""

    run_id: str | None
    parent_id: bytes | None
    start_ns: int | None
    end_ns: int | None
    status: Status
    error_type: str | None = None
    agent_name: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    purpose: Purpose | None = None
    service: str | None = None
    dialect: str | None = None
    source: str | None = None
    weight: float | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def duration_ns(self) -> int | None:
        """Nanoseconds from start to end; None where either is unknown."""
        if self.start_ns is None or self.end_ns is None:
            return None
        return self.end_ns - self.start_ns


@dataclass(slots=True)
class InferenceRow:
    """One inference with its placement."""

    inference: Inference
    placement: Placement


@dataclass(slots=True, frozen=True)
class SpanOutline:
    """Of a span, what its run's shape in time is made of."""

    span_id: bytes
    parent_id: bytes | None
    kind: SpanKind
    start_ns: int | None
    end_ns: int | None


@dataclass(slots=True)
class ToolCallRow:
    """One tool call with its placement."""

    tool_call: ToolCall
    placement: Placement
