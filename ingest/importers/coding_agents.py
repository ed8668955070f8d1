"""Transcripts of Codex, Gemini CLI and opencode: what each keeps of its sessions on the user's machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.importers.session import Session
from inferometer.ingest.usage import usage_of
from inferometer.ingest.values import as_list, as_mapping, as_money, as_name, iso_ns, unix_ns
from inferometer.schema.records import Inference, RecordBatch, Status, UsageSemantics, UsageSource

_MILLISECOND = 1_000_000


def _meter(session: Session, call: Inference, counts: dict[str, Any], semantics: UsageSemantics) -> None:
    fields = {name: value for name, value in counts.items() if value is not None}
    usage = usage_of(fields, semantics, session.batch.warnings)
    call.meters, call.usage_semantics = usage.meters, usage.semantics
    call.reasons += usage.reasons
    call.usage_source = UsageSource.PROVIDER if usage.meters.is_known else UsageSource.ABSENT


def matches_codex(source: Source) -> bool:
    """Return whether a file is a rollout of Codex: it begins with the meta line of a session."""
    first = as_mapping(source.first)
    return source.is_lines and first.get("type") == "session_meta" and isinstance(first.get("payload"), dict)


def read_codex(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one session: a call for each usage that is not a repetition of the last."""
    meta = as_mapping(as_mapping(source.first).get("payload"))
    session = Session("codex", as_name(meta.get("id")) or source.name, source.name, "codex")
    model: str | None = None
    since: int | None = None
    seen: Counter[str] = Counter()
    last_total: Any = None
    for place, line in enumerate(read_lines(source, session.batch.warnings)):
        payload, time_ns = as_mapping(line.get("payload")), iso_ns(line.get("timestamp"))
        kind = payload.get("type")
        if line.get("type") == "turn_context":
            model = as_name(payload.get("model")) or model
        elif kind == "user_message":
            session.begin_run(str(place), time_ns)
            since = time_ns
        elif kind in {"function_call", "custom_tool_call", "local_shell_call"}:
            _codex_tool(session, payload, time_ns)
        elif kind in {"function_call_output", "custom_tool_call_output"}:
            call_id = as_name(payload.get("call_id"))
            if call_id is not None:
                session.end_tool(call_id, time_ns)
            since = time_ns
        elif kind == "token_count":
            info = as_mapping(payload.get("info"))
            usage, total = as_mapping(info.get("last_token_usage")), info.get("total_token_usage")
            # the same totals are told again whenever rate limits change
            if usage and total != last_total:
                last_total = total
                seen[str(time_ns)] += 1
                _codex_call(session, usage, model, f"{time_ns}/{seen[str(time_ns)]}", since, time_ns)
                since = time_ns
        elif kind == "context_compacted" or line.get("type") == "compacted":
            session.batch.warnings["compactions"] += 1
    yield session.finish()


def _codex_call(
    session: Session, usage: dict[str, Any], model: str | None, key: str, since: int | None, time_ns: int | None
) -> None:
    call = Inference(b"", b"", provider="openai", response_model=model, raw_usage=usage)
    counts = {
        "input": usage.get("input_tokens"),
        "output": usage.get("output_tokens"),
        "cache_read": usage.get("cached_input_tokens"),
        "reasoning": usage.get("reasoning_output_tokens"),
        "total": usage.get("total_tokens"),
    }
    _meter(session, call, counts, UsageSemantics.INCLUSIVE)
    session.add_call(key, call, since if since is not None else time_ns, time_ns)


def _codex_tool(session: Session, payload: dict[str, Any], time_ns: int | None) -> None:
    call_id = as_name(payload.get("call_id"))
    name = as_name(payload.get("name")) or "shell"
    if call_id is not None and not session.has_tool(call_id):
        arguments = payload.get("arguments", payload.get("input", payload.get("action")))
        session.begin_tool(call_id, name, time_ns, arguments=arguments)


def matches_gemini(source: Source) -> bool:
    """Return whether a file is a saved session of Gemini CLI."""
    first = as_mapping(source.first)
    return "sessionId" in first and isinstance(first.get("messages"), list) and "projectHash" in first


def read_gemini(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one session: a call for each answer with tokens."""
    document = as_mapping(source.take())
    session = Session("gemini-cli", as_name(document.get("sessionId")) or source.name, source.name, "gemini-cli")
    since: int | None = None
    for place, message in enumerate(as_list(document.get("messages"))):
        message = as_mapping(message)
        time_ns = iso_ns(message.get("timestamp"))
        key = as_name(message.get("id")) or str(place)
        if message.get("type") == "user":
            session.begin_run(key, time_ns)
        elif message.get("type") == "gemini":
            _gemini_call(session, message, key, since, time_ns)
        since = time_ns or since
    yield session.finish()


def _gemini_call(session: Session, message: dict[str, Any], key: str, since: int | None, time_ns: int | None) -> None:
    tokens = as_mapping(message.get("tokens"))
    call = Inference(b"", b"", provider="gcp.gemini", response_model=as_name(message.get("model")))
    given, tool = tokens.get("input"), tokens.get("tool")
    counts = {
        "input": given + tool if isinstance(given, int) and isinstance(tool, int) else given,
        "output": tokens.get("output"),
        "cache_read": tokens.get("cached"),
        "reasoning": tokens.get("thoughts"),
        "total": tokens.get("total"),
        "reasoning_beside": True,
    }
    _meter(session, call, counts, UsageSemantics.INCLUSIVE)
    session.add_call(key, call, since if since is not None else time_ns, time_ns)
    for entry in as_list(message.get("toolCalls")):
        entry = as_mapping(entry)
        tool_id, name = as_name(entry.get("id")), as_name(entry.get("name"))
        if tool_id and name and not session.has_tool(tool_id):
            session.begin_tool(tool_id, name, time_ns, arguments=entry.get("args"))
            failed = entry.get("status") in {"error", "cancelled"}
            session.end_tool(tool_id, iso_ns(entry.get("timestamp")), error="tool_error" if failed else None)


def matches_opencode(source: Source) -> bool:
    """Return whether a file is one message of opencode's storage."""
    first = as_mapping(source.first)
    return "sessionID" in first and first.get("role") in {"user", "assistant"} and "time" in first


def read_opencode(source: Source) -> Iterator[RecordBatch]:
    """Yield the record of one answer; opencode keeps each message in a file of its own."""
    message = as_mapping(source.take())
    session = Session("opencode", as_name(message.get("sessionID")) or source.name, "opencode", "opencode")
    times, tokens = as_mapping(message.get("time")), as_mapping(message.get("tokens"))
    begun_ns = unix_ns(times.get("created"), _MILLISECOND)
    if message.get("role") != "assistant":
        yield session.batch
        return
    cache = as_mapping(tokens.get("cache"))
    call = Inference(
        b"",
        b"",
        provider=as_name(message.get("providerID")),
        response_model=as_name(message.get("modelID")),
        finish_reason=as_name(message.get("finish")),
        recorded_cost_usd=as_money(message.get("cost")),
    )
    counts = {
        "input": tokens.get("input"),
        "output": tokens.get("output"),
        "reasoning": tokens.get("reasoning"),
        "cache_read": cache.get("read"),
        "cache_write": cache.get("write"),
        "reasoning_beside": True,
    }
    _meter(session, call, counts, UsageSemantics.EXCLUSIVE)
    # the answers to one message of the user are one run
    session.begin_run(as_name(message.get("parentID")) or str(message.get("id")), begun_ns)
    failed = as_name(as_mapping(message.get("error")).get("name"))
    session.add_call(
        str(message.get("id")),
        call,
        begun_ns,
        unix_ns(times.get("completed"), _MILLISECOND),
        status=Status.ERROR if failed else Status.OK,
        error_type=failed,
    )
    yield session.finish()


CODEX = Importer(
    name="codex",
    reads="Codex rollouts (`~/.codex/sessions`, JSON lines): usage of each request (inclusive), tools, compactions",
    matches=matches_codex,
    read=read_codex,
)
GEMINI = Importer(
    name="gemini-cli",
    reads="Gemini CLI sessions (`~/.gemini/tmp/*/chats`): tokens of each answer, thoughts beside the output, tools",
    matches=matches_gemini,
    read=read_gemini,
)
OPENCODE = Importer(
    name="opencode",
    reads="opencode messages (`storage/message`): tokens without cached ones, cost, errors",
    matches=matches_opencode,
    read=read_opencode,
)
