"""OpenHands output: one line a task, with its history and what its calls used, each or in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.importers.session import Session
from inferometer.ingest.usage import read_count
from inferometer.ingest.values import as_list, as_mapping, as_money, as_name, as_seconds, iso_ns
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, Outcome, RecordBatch, UsageSemantics, UsageSource

_NO_TOOLS = frozenset({"message", "system", "finish", "recall", "think", "null", "change_agent_state"})
_SECOND = 1_000_000_000


def matches(source: Source) -> bool:
    """Return whether a file holds tasks with a history and metrics."""
    first = as_mapping(source.first)
    return isinstance(first.get("history"), list) and "metrics" in first and "instruction" in first


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of each task."""
    warnings: Counter[str] = Counter()
    for place, task in enumerate(read_lines(source, warnings)):
        yield _read_task(source, task, place)
    yield RecordBatch(warnings=warnings)


def _read_task(source: Source, task: dict[str, Any], place: int) -> RecordBatch:
    issue = as_mapping(task.get("issue"))
    named = as_name(task.get("instance_id")) or f"{issue.get('owner')}/{issue.get('repo')}#{issue.get('number')}"
    metadata = as_mapping(task.get("metadata"))
    session = Session(
        "openhands", named, source.name, as_name(metadata.get("agent_class")) or "openhands", f"{source.name}/{place}"
    )
    history = [entry for entry in as_list(task.get("history")) if isinstance(entry, dict)]
    session.begin_run("run", next((found for entry in history if (found := iso_ns(entry.get("timestamp")))), None))
    model = as_name(as_mapping(metadata.get("llm_config")).get("model")) or source.options.model
    metrics = as_mapping(task.get("metrics"))
    calls = _metered(session, metrics, model) or _costed(metrics, model) or _answered(history, model)
    for key, call, start_ns, end_ns in calls:
        session.add_call(key, call, start_ns, end_ns)
    _read_tools(session, history)
    root = session.batch.spans[0] if session.batch.spans else None
    if root is not None and isinstance(task.get("success"), bool):
        value, label = float(task["success"]), "success" if task["success"] else "failure"
        session.batch.outcomes.append(Outcome(root.trace_id, root.span_id, "success", value, label, "trajectory"))
    return session.finish()


_Timed = tuple[str, Inference, int | None, int | None]


def _metered(session: Session, metrics: dict[str, Any], model: str | None) -> list[_Timed]:
    """Return the calls whose usage is told one by one."""
    usages = [usage for usage in as_list(metrics.get("token_usages")) if isinstance(usage, dict)]
    costs = [as_mapping(cost) for cost in as_list(metrics.get("costs"))]
    latencies = {
        str(as_mapping(each).get("response_id")): as_seconds(as_mapping(each).get("latency"))
        for each in as_list(metrics.get("response_latencies"))
    }
    calls: list[_Timed] = []
    for place, usage in enumerate(usages):
        response_id = as_name(usage.get("response_id"))
        call = Inference(b"", b"", request_model=as_name(usage.get("model")) or model, response_id=response_id)
        warnings = session.batch.warnings
        counts = {
            name: read_count(usage[name], name, warnings, call.reasons)
            for name in ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens")
            if name in usage
        }
        given, read, written = (
            counts.get(name) for name in ("prompt_tokens", "cache_read_tokens", "cache_write_tokens")
        )
        cached = (read or 0) + (written or 0)
        call.meters = Meters(
            input_fresh=None if given is None else max(0, given - cached) if cached <= given else given,
            cache_read=read,
            cache_write_5m=written,
            output=counts.get("completion_tokens"),
        )
        call.usage_semantics = UsageSemantics.INCLUSIVE
        call.usage_source = UsageSource.PROVIDER if call.meters.is_known else UsageSource.ABSENT
        call.raw_usage = {name: value for name, value in usage.items() if name.endswith("_tokens")}
        if len(costs) == len(usages):
            call.recorded_cost_usd = as_money(costs[place].get("cost"))
        end_ns = None
        created = (response_id or "").split("-")
        if len(created) == 3 and created[0] == "gen" and created[1].isdecimal():
            end_ns = int(created[1]) * _SECOND  # OpenRouter's ids carry the second of the answer
        took_s = latencies.get(response_id or "")
        start_ns = None if end_ns is None or took_s is None else end_ns - round(took_s * _SECOND)
        calls.append((response_id or str(place), call, start_ns, end_ns))
    return calls


def _costed(metrics: dict[str, Any], model: str | None) -> list[_Timed]:
    """Return the calls of which only the cost is told."""
    calls: list[_Timed] = []
    for place, cost in enumerate(as_list(metrics.get("costs"))):
        amount = as_money(as_mapping(cost).get("cost") if isinstance(cost, dict) else cost)
        if amount is not None:
            name = as_name(as_mapping(cost).get("model")) or model
            call = Inference(b"", b"", request_model=name, recorded_cost_usd=Decimal(amount))
            call.reasons.append("only its cost is recorded")
            calls.append((str(place), call, None, None))
    return calls


def _answered(history: list[dict[str, Any]], model: str | None) -> list[_Timed]:
    """Return a call for each action of the agent where nothing is told of usage or cost."""
    calls: list[_Timed] = []
    for place, entry in enumerate(history):
        if entry.get("action") and entry.get("source", "agent") == "agent" and entry["action"] != "system":
            end_ns = iso_ns(entry.get("timestamp"))
            calls.append((str(place), Inference(b"", b"", request_model=model), None, end_ns))
    return calls


def _read_tools(session: Session, history: list[dict[str, Any]]) -> None:
    begun: str | None = None
    for place, entry in enumerate(history):
        action, observation = as_name(entry.get("action")), as_name(entry.get("observation"))
        if action is not None and action not in _NO_TOOLS and entry.get("source", "agent") in ("agent", None):
            begun = str(place)
            arguments = entry.get("args", {name: entry[name] for name in ("command", "code", "path") if name in entry})
            session.begin_tool(begun, action, iso_ns(entry.get("timestamp")), arguments=arguments)
        elif observation is not None and begun is not None and observation not in _NO_TOOLS:
            failed = observation == "error" or as_mapping(entry.get("extras")).get("exit_code", 0) not in (0, None)
            session.end_tool(begun, iso_ns(entry.get("timestamp")), error="tool_error" if failed else None)
            begun = None


IMPORTER = Importer(
    name="openhands",
    reads="OpenHands output (`output.jsonl`): usage, cost and latency of each call where told, else cost, else actions",
    matches=matches,
    read=read,
)
