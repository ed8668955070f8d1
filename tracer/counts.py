"""Calls counted under an agent or workflow, for the convention's fan-out metrics.

Counts are at the agent's own grain: a call is counted by the nearest agent and the nearest workflow above it, so that
an agent's number never holds what its sub-agents did.
"""

from __future__ import annotations


class CallCounts:
    """How many model and tool calls happened directly under one agent, and under all agents of one workflow."""

    __slots__ = ("inferences", "is_workflow", "tool_calls", "workflow")

    def __init__(self, workflow: CallCounts | None, is_workflow: bool) -> None:
        self.inferences = 0
        self.tool_calls = 0
        self.workflow = workflow
        self.is_workflow = is_workflow

    @classmethod
    def below(cls, above: CallCounts | None, *, is_workflow: bool) -> CallCounts:
        """Return the counts of an agent or workflow that runs inside another."""
        workflow = above if above is not None and above.is_workflow else getattr(above, "workflow", None)
        return cls(None if is_workflow else workflow, is_workflow)

    def count_inference(self) -> None:
        """Count one model call here and in the workflow."""
        self.inferences += 1
        if self.workflow is not None:
            self.workflow.inferences += 1

    def count_tool_call(self) -> None:
        """Count one tool call here and in the workflow."""
        self.tool_calls += 1
        if self.workflow is not None:
            self.workflow.tool_calls += 1
