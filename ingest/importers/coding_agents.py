"""Transcripts of Codex, Gemini CLI and opencode: what each keeps of its sessions on the user's machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from inferometer.ingest.dialects.embedded import load_object
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_documents, read_lines
from inferometer.ingest.importers.parts import BETWEEN, Cuts
from inferometer.ingest.importers.session import Session
from inferometer.ingest.usage import usage_of
from inferometer.ingest.values import as_list, as_mapping, as_money, as_name, iso_ns, unix_ns
from inferometer.schema.errors import InputError
from inferometer.schema.records import Inference, RecordBatch, Status, UsageSemantics, UsageSource
from inferometer.store.foreign import read_sqlite

_MILLISECOND = 1_000_000
_SECOND = 1_000_000_000
_GEMINI_CUTS = Cuts({"messages": BETWEEN}, rest=True)
_GEMINI_FIELDS = ("type", "timestamp", "model", "tokens")
_GEMINI_TOOL_FIELDS = ("id", "name", "args", "status", "timestamp")
_ANSWER_NS = 2 * _SECOND
"""Time from one usage to the next that a copied history, written at once, does not take and an answer does."""


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
    rollout = _Rollout(source)
    for place, line in enumerate(read_lines(source, rollout.session.batch.warnings)):
        rollout.read(line, place)
    yield rollout.session.finish()


class _Rollout:
    """One file of Codex.

    A fork's file, and a sub-agent's that was given its parent's history, begins with a copy of that history, stamped at
    the moment of the fork: its usage was told by the file it was copied from. A copied turn began before the file did;
    where a turn does not say when it began, the copy ends with the first pause that only a model's answer takes.
    """

    def __init__(self, source: Source) -> None:
        head = as_mapping(source.first)
        meta = as_mapping(head.get("payload"))
        self.session_id = as_name(meta.get("id")) or as_name(meta.get("session_id")) or source.name
        around = _codex_parent(meta, self.session_id)
        self.session = Session(
            "codex", around or self.session_id, source.name, "codex", self.session_id if around else ""
        )
        self.begun_ns = iso_ns(meta.get("timestamp")) or iso_ns(head.get("timestamp"))
        self.is_copy = as_name(meta.get("forked_from_id")) is not None
        self.model: str | None = None
        self.since: int | None = None
        self.last_ns = iso_ns(head.get("timestamp")) or self.begun_ns
        self.turn_begun_ns: int | None = None
        self.total: dict[str, Any] = {}
        self.held: list[tuple[dict[str, Any], int]] = []
        self.seen: Counter[str] = Counter()

    def read(self, line: dict[str, Any], place: int) -> None:
        payload, time_ns = as_mapping(line.get("payload")), iso_ns(line.get("timestamp"))
        kind = as_name(payload.get("type"))
        if line.get("type") == "session_meta":
            # the meta line of the session that was copied comes with its history
            self.is_copy = self.is_copy or self.session_id not in (payload.get("id"), payload.get("session_id"))
        elif line.get("type") == "turn_context":
            self.model = as_name(payload.get("model")) or self.model
        elif kind == "task_started":
            self.turn_begun_ns = unix_ns(payload.get("started_at"), _SECOND)
        elif kind == "token_count":
            self._read_usage(as_mapping(payload.get("info")), time_ns)
        elif self.is_copy:
            self.held.append((line, place))
        elif kind == "user_message":
            self.session.begin_run(str(place), time_ns)
            self.since = time_ns
        elif kind in {"function_call", "custom_tool_call", "local_shell_call"}:
            _codex_tool(self.session, payload, time_ns)
        elif kind in {"function_call_output", "custom_tool_call_output"}:
            call_id = as_name(payload.get("call_id"))
            if call_id is not None:
                self.session.end_tool(call_id, time_ns)
            self.since = time_ns
        elif kind == "context_compacted" or line.get("type") == "compacted":
            self.session.batch.warnings["compactions"] += 1

    def _read_usage(self, info: dict[str, Any], time_ns: int | None) -> None:
        usage, total = as_mapping(info.get("last_token_usage")), as_mapping(info.get("total_token_usage"))
        # the same totals are told again whenever rate limits change
        if not (usage or total) or (total and total == self.total):
            return
        usage = usage or {name: _less(value, self.total.get(name)) for name, value in total.items()}
        self.total = total
        copied, self.held = self.held, []
        if self._is_copied(time_ns):
            self.session.batch.warnings["copied_calls"] += 1
            return
        for line, place in copied:
            self.read(line, place)
        # totals only grow: they name a call wherever its line was copied to
        mark = "/".join(str(total.get(name)) for name in ("input_tokens", "output_tokens")) if total else str(time_ns)
        self.seen[mark] += 1
        key = f"{mark}/{self.seen[mark]}"
        _codex_call(self.session, usage, self.model, key, self.since, time_ns)
        self.since = time_ns

    def _is_copied(self, time_ns: int | None) -> bool:
        if not self.is_copy or time_ns is None or self.begun_ns is None:
            return False
        if self.turn_begun_ns is not None:
            self.is_copy = self.turn_begun_ns < self.begun_ns // _SECOND * _SECOND
        else:
            self.is_copy = time_ns - (self.last_ns or self.begun_ns) < _ANSWER_NS
        self.last_ns = time_ns
        return self.is_copy


def _codex_parent(meta: dict[str, Any], own_id: str) -> str | None:
    """Return the session that a sub-agent works for; None for a session of its own, forks among them."""
    kind = as_mapping(meta.get("source")).get("subagent")
    spawn = as_mapping(as_mapping(kind).get("thread_spawn"))
    if not spawn and meta.get("thread_source") != "subagent":
        return None
    root = as_name(meta.get("session_id"))
    if root is not None and root != own_id:
        return root
    return as_name(spawn.get("parent_thread_id")) or as_name(meta.get("parent_thread_id"))


def _less(value: Any, before: Any) -> Any:
    return value - before if isinstance(value, int) and isinstance(before, int) and value >= before else value


def _codex_call(
    session: Session, usage: dict[str, Any], model: str | None, key: str, since: int | None, time_ns: int | None
) -> None:
    call = Inference(b"", b"", provider="openai", response_model=model, raw_usage=usage)
    counts = {
        "input": usage.get("input_tokens"),
        "output": usage.get("output_tokens"),
        "cache_read": usage.get("cached_input_tokens"),
        "cache_write": usage.get("cache_write_input_tokens"),
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
    """Return whether a file is a saved session of Gemini CLI: one document, or since 2026 lines after a head."""
    first = as_mapping(source.first)
    return {"sessionId", "projectHash"} <= first.keys() and (source.is_lines or isinstance(first.get("messages"), list))


def read_gemini(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one session: a call for each answer with tokens.

    Lines are written again as a message grows, the last says most; what was rewound was answered and is billed.
    """
    head: dict[str, Any] = {}
    messages: dict[str, dict[str, Any]] = {}
    warnings: Counter[str] = Counter()
    for line in read_documents(source, warnings, _GEMINI_CUTS):
        entry = as_mapping(line)
        changed = as_mapping(entry.get("$set"))
        if "sessionId" in entry:
            head = entry
        for message in [*as_list(entry.get("messages")), *as_list(changed.get("messages")), entry]:
            key = as_name(as_mapping(message).get("id"))
            if key is not None:
                messages[key] = {**messages.get(key, {}), **_known(message)}
            elif message is not entry:
                messages[str(len(messages))] = _known(as_mapping(message))
    own = as_name(head.get("sessionId")) or source.name
    # a sub-agent's file lies in a folder that has the name of the session it works for
    session_id, identity = (source.path.parent.name, own) if head.get("kind") == "subagent" else (own, "")
    session = Session("gemini-cli", session_id, source.name, "gemini-cli", identity)
    session.batch.warnings.update(warnings)
    since: int | None = None
    for key, message in messages.items():
        time_ns = iso_ns(message.get("timestamp"))
        if message.get("type") == "user":
            session.begin_run(key, time_ns)
        elif message.get("type") == "gemini" and (message.get("tokens") or message.get("model")):
            _gemini_call(session, message, key, since, time_ns)
        since = time_ns or since
    yield session.finish()


def _known(message: dict[str, Any]) -> dict[str, Any]:
    """Return what is read of a message; what was said, and what tools answered, is most of a file."""
    known = {name: value for name in _GEMINI_FIELDS if (value := message.get(name)) is not None}
    if message.get("toolCalls") is not None:
        calls = map(as_mapping, as_list(message["toolCalls"]))
        known["toolCalls"] = [{name: call.get(name) for name in _GEMINI_TOOL_FIELDS} for call in calls]
    return known


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
            failed = as_name(entry.get("status")) in {"error", "cancelled"}
            session.end_tool(tool_id, iso_ns(entry.get("timestamp")), error="tool_error" if failed else None)


def matches_opencode(source: Source) -> bool:
    """Return whether a file is one message of opencode's storage."""
    first = as_mapping(source.first)
    return "sessionID" in first and as_name(first.get("role")) in {"user", "assistant"} and "time" in first


def read_opencode(source: Source) -> Iterator[RecordBatch]:
    """Yield the record of one answer; until 2026 opencode kept each message in a file of its own."""
    message = as_mapping(source.take())
    session = _opencode_session(message, source)
    if message.get("role") == "assistant":
        _opencode_answer(session, message)
    yield session.finish()


def matches_opencode_database(source: Source) -> bool:
    """Return whether a file is the database in which opencode keeps its sessions since 2026."""
    return source.head.startswith(b"SQLite format 3\0") and source.name.startswith("opencode")


def read_opencode_database(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of all sessions; a message that was kept in a file of its own before has the same ids."""
    runs: dict[tuple[str, str], Session] = {}
    try:
        for name, session_id, data in read_sqlite(source.database(), "message", ("id", "session_id", "data")):
            message = {**load_object(data), "id": name, "sessionID": session_id}
            if message.get("role") == "assistant":
                key = str(session_id), _opencode_run(message)
                if key not in runs:
                    runs[key] = _opencode_session(message, source)
                _opencode_answer(runs[key], message)
    except ValueError as error:
        raise InputError(str(source.path), f"no database of opencode's: {error}") from error
    for session in runs.values():
        yield session.finish()


def _opencode_run(message: dict[str, Any]) -> str:
    """Return what names a run: the answers to one message of the user are one."""
    return as_name(message.get("parentID")) or str(message.get("id"))


def _opencode_session(message: dict[str, Any], source: Source) -> Session:
    session = Session("opencode", as_name(message.get("sessionID")) or source.name, "opencode", "opencode")
    session.begin_run(_opencode_run(message), unix_ns(as_mapping(message.get("time")).get("created"), _MILLISECOND))
    return session


def _opencode_answer(session: Session, message: dict[str, Any]) -> None:
    times, tokens = as_mapping(message.get("time")), as_mapping(message.get("tokens"))
    cache = as_mapping(tokens.get("cache"))
    begun_ns = unix_ns(times.get("created"), _MILLISECOND)
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
    failed = as_name(as_mapping(message.get("error")).get("name"))
    session.add_call(
        str(message.get("id")),
        call,
        begun_ns,
        unix_ns(times.get("completed"), _MILLISECOND),
        status=Status.ERROR if failed else Status.OK,
        error_type=failed,
    )


CODEX = Importer(
    name="codex",
    reads="Codex rollouts (`~/.codex/sessions`, JSON lines): usage of each request (inclusive), tools, compactions; "
    "what a fork copied of its parent is left to the parent's file",
    matches=matches_codex,
    read=read_codex,
)
GEMINI = Importer(
    name="gemini-cli",
    reads="Gemini CLI sessions (`~/.gemini/tmp/*/chats`), documents and JSON lines: tokens of each answer, thoughts "
    "beside the output, tools, sub-agents",
    matches=matches_gemini,
    read=read_gemini,
    cuts=_GEMINI_CUTS,
)
OPENCODE = Importer(
    name="opencode",
    reads="opencode messages (`storage/message`): tokens without cached ones, cost, errors",
    matches=matches_opencode,
    read=read_opencode,
)
OPENCODE_DATABASE = Importer(
    name="opencode-database",
    reads="opencode's database (`opencode.db`, 2026), its write-ahead log too: what its messages said before",
    matches=matches_opencode_database,
    read=read_opencode_database,
)
