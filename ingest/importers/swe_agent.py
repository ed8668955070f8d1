"""SWE-agent and mini-swe-agent trajectories: messages, and usage that is known for the run as a whole only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inferometer.ingest.importers.conversation import add_answers, model_in_path, share_out
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_document
from inferometer.ingest.importers.parts import BETWEEN, Cuts
from inferometer.ingest.importers.session import Session
from inferometer.ingest.values import as_list, as_mapping, as_money, as_name
from inferometer.schema.records import Outcome, RecordBatch
from inferometer.schema.usage.body import count_of

_CUTS = Cuts({"history": BETWEEN, "trajectory": BETWEEN}, rest=True)
_MINI_CUTS = Cuts({"messages": BETWEEN}, rest=True)


def matches(source: Source) -> bool:
    """Return whether a file is a trajectory of SWE-agent."""
    first = as_mapping(source.first)
    if source.is_large and "history" not in first:  # it comes after the trajectory, beyond what is seen yet
        return isinstance(first.get("trajectory"), list) and "environment" in first
    return isinstance(first.get("history"), list) and (
        "trajectory" in first or source.name.endswith(".traj") or "environment" in first
    )


def matches_mini(source: Source) -> bool:
    """Return whether a file is a trajectory of mini-swe-agent: its messages, bare or beside an ``info``."""
    first = source.first
    if isinstance(first, dict):
        is_named = "trajectory_format" in first or (source.is_large and "info" in first and ".traj" in source.name)
        return is_named and isinstance(first.get("messages"), list)
    return ".traj" in source.name and _is_message(first[0] if isinstance(first, list) and first else None)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value and "content" in value


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one trajectory of SWE-agent."""
    document: dict[str, Any] = {}
    messages: list[Any] = []
    responses: list[Any] = []
    for part in read_document(source, _CUTS):
        found = as_mapping(part)
        messages += filter(_is_history, as_list(found.pop("history", None)))
        # what else a step holds is in the history, or, as its query is, that history once more
        responses += (as_mapping(step).get("response") for step in as_list(found.pop("trajectory", None)))
        document.update(found)
    info = as_mapping(document.get("info"))
    stats = as_mapping(info.get("model_stats"))
    messages += _left_over(messages, responses)
    yield _read(source, messages, info, stats, as_name(document.get("environment")))


def read_mini(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one trajectory of mini-swe-agent."""
    document: dict[str, Any] = {}
    messages: list[Any] = []
    for part in read_document(source, _MINI_CUTS):
        found = as_mapping(part)
        messages += part if isinstance(part, list) else as_list(found.pop("messages", None))
        document.update(found)
    info = as_mapping(document.get("info"))
    stats = as_mapping(info.get("model_stats"))
    config = as_mapping(as_mapping(info.get("config")).get("model"))
    yield _read(source, messages, info, stats, None, as_name(config.get("model_name")))


def _left_over(messages: list[Any], responses: list[Any]) -> list[Any]:
    """Return the answers of the last steps, which the history of some versions leaves out."""
    answers = sum(message.get("role") == "assistant" for message in messages)
    return [{"role": "assistant", "content": response or ""} for response in responses[answers:]]


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
    cuts=_CUTS,
)
MINI = Importer(
    name="mini-swe-agent",
    reads="mini-swe-agent trajectories (`.traj.json`), with and without `info`",
    matches=matches_mini,
    read=read_mini,
    cuts=_MINI_CUTS,
)
