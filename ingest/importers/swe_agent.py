"""SWE-agent and mini-swe-agent trajectories: messages, and usage that is known for the run as a whole only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inferometer.ingest.importers.conversation import add_answers, model_in_path, share_out
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.session import Session
from inferometer.ingest.values import as_list, as_mapping, as_money, as_name
from inferometer.schema.records import Outcome, RecordBatch
from inferometer.schema.usage.body import count_of


def matches(source: Source) -> bool:
    """Return whether a file is a trajectory of SWE-agent."""
    first = as_mapping(source.first)
    return isinstance(first.get("history"), list) and (
        "trajectory" in first or source.name.endswith(".traj") or "environment" in first
    )


def matches_mini(source: Source) -> bool:
    """Return whether a file is a trajectory of mini-swe-agent: its messages, bare or beside an ``info``."""
    first = source.first
    if isinstance(first, dict):
        return isinstance(first.get("messages"), list) and "trajectory_format" in first
    return ".traj" in source.name and _is_message(first[0] if isinstance(first, list) and first else None)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value and "content" in value


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one trajectory of SWE-agent."""
    document = as_mapping(source.take())
    info = as_mapping(document.get("info"))
    stats = as_mapping(info.get("model_stats"))
    messages = [message for message in as_list(document.get("history")) if _is_history(message)]
    messages += _left_over(messages, as_list(document.get("trajectory")))
    yield _read(source, messages, info, stats, as_name(document.get("environment")))


def read_mini(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one trajectory of mini-swe-agent."""
    document = source.take()
    info = as_mapping(as_mapping(document).get("info"))
    messages = document if isinstance(document, list) else as_list(as_mapping(document).get("messages"))
    stats = as_mapping(info.get("model_stats"))
    config = as_mapping(as_mapping(info.get("config")).get("model"))
    yield _read(source, messages, info, stats, None, as_name(config.get("model_name")))


def _left_over(messages: list[Any], steps: list[Any]) -> list[Any]:
    """Return the answers of the last steps, which the history of some versions leaves out."""
    answers = sum(message.get("role") == "assistant" for message in messages)
    missing = steps[answers:] if answers < len(steps) else []
    return [{"role": "assistant", "content": as_mapping(step).get("response") or ""} for step in missing]


def _is_history(message: Any) -> bool:
    return isinstance(message, dict) and message.get("is_demo") is not True


def _read(
    source: Source,
    messages: list[Any],
    info: dict[str, Any],
    stats: dict[str, Any],
    environment: str | None,
    stated_model: str | None = None,
) -> RecordBatch:
    session = Session("swe-agent", source.name, source.name, environment or "swe-agent", str(len(messages)))
    session.begin_run("run", None)
    model = source.options.model or stated_model or model_in_path(source.path)
    if model is None:
        session.batch.warnings["model_unknown"] += 1
    sent, received = count_of(stats.get("tokens_sent")), count_of(stats.get("tokens_received"))
    replayed = sent == 0 and received == 0
    calls = add_answers(session, messages, model, metered=not replayed)
    cost = as_money(stats.get("instance_cost", stats.get("total_cost")))
    if replayed:
        for call in calls:
            call.reasons.append("replayed: its run sent and received no tokens")
    elif sent is not None or received is not None:
        share_out(calls, sent, received, cost)
    elif cost is not None and calls and as_name(info.get("exit_status")):
        share_out(calls, None, None, cost)
    stated = count_of(stats.get("api_calls"))
    if stated is not None and stated != len(calls):
        session.batch.warnings["calls_differ_from_stated"] += 1
    status = as_name(info.get("exit_status"))
    if status is not None and session.batch.spans:
        root = session.batch.spans[0]
        session.batch.outcomes.append(Outcome(root.trace_id, root.span_id, "exit_status", None, status, "trajectory"))
    return session.finish()


IMPORTER = Importer(
    name="swe-agent",
    reads="SWE-agent trajectories (`.traj`): a call for each answer, `model_stats` of the run shared out over "
    "its calls",
    matches=matches,
    read=read,
)
MINI = Importer(
    name="mini-swe-agent",
    reads="mini-swe-agent trajectories (`.traj.json`), with and without `info`",
    matches=matches_mini,
    read=read_mini,
)
