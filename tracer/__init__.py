"""Decorators, context, spans and budgets: what runs inside an agent's program and must cost it next to nothing."""

from inferometer.tracer.annotations import annotate, outcome, session, tag
from inferometer.tracer.decorators import agent, inference, step, tool, workflow

__all__ = ["agent", "annotate", "inference", "outcome", "session", "step", "tag", "tool", "workflow"]
