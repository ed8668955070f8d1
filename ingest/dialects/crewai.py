"""CrewAI's own spans: crews, tasks and agents; its model calls carry ``gen_ai.*``."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return the operation, else what the span's name says."""
    known = gen_ai.kind_of(raw, fields)
    if known is not None:
        return known
    if raw.name in {"Crew Created", "Task Created", "Crew Execution", "Tool Usage"}:
        return SpanKind.OTHER  # telemetry of its makers: it repeats what other spans say
    if raw.name.startswith(("execute_task", "Task._execute")):
        return SpanKind.STEP
    return SpanKind.WORKFLOW if raw.name.startswith(("crewai.crew", "Crew.kickoff", "kickoff")) else None


DIALECT = Dialect(
    name="crewai",
    reads="CrewAI up to 1.15: crews as workflows, tasks as steps, agents, calls",
    aliases=extend(
        gen_ai.ALIASES,
        agent_name=("crewai.agent.role", "crewai.agent.name"),
        workflow_name=("crewai.crew.name",),
        session_id=("crewai.execution_uuid",),
    ),
    kind=kind_of,
    scopes=("crewai*",),
    markers=("crewai.*",),
    content=(
        *gen_ai.CONTENT,
        "crew_agents",
        "crew_tasks",
        "crewai.task.*",
        "crewai.agent.goal",
        "crewai.agent.backstory",
    ),
)
