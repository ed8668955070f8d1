"""What a span hands down to everything under it: session, tags, the agent's budget.

A frame travels in the OpenTelemetry context beside the current span, so it follows wherever the context goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key, get_current

if TYPE_CHECKING:
    from inferometer.tracer.budget import Spending
    from inferometer.tracer.counts import CallCounts

FRAME_KEY = create_key("inferometer-frame")


class Frame:
    """Inherited state; frames are never changed, a child frame is a copy with something set."""

    __slots__ = ("attributes", "budget", "counts")

    def __init__(
        self,
        attributes: dict[str, Any] | None = None,
        budget: Spending | None = None,
        counts: CallCounts | None = None,
    ) -> None:
        self.attributes = {} if attributes is None else attributes
        self.budget = budget
        self.counts = counts

    def with_attributes(self, attributes: dict[str, Any]) -> Frame:
        """Return a frame that also hands down `attributes`."""
        return Frame({**self.attributes, **attributes}, self.budget, self.counts)

    def under(self, budget: Spending | None, counts: CallCounts | None) -> Frame:
        """Return a frame for what an agent or workflow calls."""
        return Frame(self.attributes, budget or self.budget, counts or self.counts)


ROOT = Frame()


def current_frame(context: Context | None = None) -> Frame:
    """Return the frame in force, the empty one where none is."""
    frame = (get_current() if context is None else context).get(FRAME_KEY)
    return frame if isinstance(frame, Frame) else ROOT
