"""Claude Code transcripts: one JSON line an entry, one call on several lines, sub-agents in files of their own.

The lines of one call share a message id; its usage grows from line to line, so the largest wins. A call begins with the
last entry before its first line. A sub-agent's file and the result that names it in the main file meet in one span.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from inferometer.ingest.content import count_text
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_lines
from inferometer.ingest.importers.session import Session
from inferometer.ingest.values import as_list, as_mapping, as_name, iso_ns
from inferometer.schema.messages import to_json
from inferometer.schema.records import Charge, Inference, RecordBatch, Span, UsageSource
from inferometer.schema.usage import anthropic
from inferometer.schema.usage.body import BodyUsage

ESTIMATED_OUTPUT = "inferometer.estimated_output_tokens"
"""Attribute of calls whose recorded output count is too small for their text."""

START_COUNT_FACTOR = 2
START_COUNT_SLACK = 16
"""An output count is doubted where the text is more than so many times it, and so many tokens more.

Vocabularies differ by less than a half (o200k_base against Claude's own); a count of the start is 1 to 8.
"""

_ENTRIES = frozenset({"user", "assistant", "system", "summary", "attachment", "file-history-snapshot", "progress"})
_SYNTHETIC = "<synthetic>"


@dataclass(slots=True)
class _Call:
    """One model call, gathered from its lines."""

    key: str
    agent: str | None
    begin_ns: int | None
    end_ns: int | None
    model: str | None
    request_id: str | None
    usage: dict[str, Any] = field(default_factory=dict)
    said_tokens: int = 0
    finish_reason: str | None = None


@dataclass(slots=True)
class _Thread:
    """The main conversation or one sub-agent's: when its last entry was written, and its span."""

    last_ns: int | None = None
    span: Span | None = None


class _Reader:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.calls: dict[str, tuple[_Call, Inference, Span]] = {}
        self.threads: dict[str | None, _Thread] = {}

    def read(self, entry: dict[str, Any]) -> None:
        kind = as_name(entry.get("type"))
        message = as_mapping(entry.get("message"))
        agent = self._agent(entry)
        thread = self.threads.setdefault(agent, _Thread())
        time_ns = iso_ns(entry.get("timestamp"))
        if kind == "assistant" and message:
            self._read_answer(entry, message, agent, thread, time_ns)
        elif kind == "user" and message:
            self._read_user(entry, message, agent, time_ns)
        elif kind == "system" and entry.get("subtype") == "compact_boundary":
            self.session.batch.warnings["compactions"] += 1
        if time_ns is not None and kind in {"user", "assistant", "attachment"}:
            thread.last_ns = time_ns

    def _agent(self, entry: dict[str, Any]) -> str | None:
        if entry.get("isSidechain") is not True:
            return None
        return as_name(entry.get("agentId")) or "sidechain"

    def _around(self, agent: str | None, thread: _Thread, time_ns: int | None) -> Span:
        if agent is None:
            return self.session.current_run(time_ns)
        if thread.span is None:
            thread.span = self.session.add_agent(agent, None, time_ns, time_ns)
        return thread.span

    def _read_answer(
        self, entry: dict[str, Any], message: dict[str, Any], agent: str | None, thread: _Thread, time_ns: int | None
    ) -> None:
        model = as_name(message.get("model"))
        if model == _SYNTHETIC:
            self.session.batch.warnings["synthetic_messages"] += 1
            return
        key = as_name(message.get("id")) or as_name(entry.get("uuid"))
        if key is None:
            self.session.batch.warnings["call_without_id"] += 1
            return
        if key not in self.calls:
            begin_ns = thread.last_ns if thread.last_ns is not None else time_ns
            self._begin(key, entry, model, agent, self._around(agent, thread, begin_ns), begin_ns, time_ns)
        call, _, span = self.calls[key]
        usage = as_mapping(message.get("usage"))
        if _size(usage) > _size(call.usage) or not call.usage:
            call.usage = usage
        call.finish_reason = as_name(message.get("stop_reason")) or call.finish_reason
        if time_ns is not None and (span.end_ns is None or time_ns > span.end_ns):
            span.end_ns = time_ns
        for part in as_list(message.get("content")):
            call.said_tokens += _said_tokens(part)
            if isinstance(part, dict) and part.get("type") == "tool_use":
                tool_id, name = as_name(part.get("id")), as_name(part.get("name"))
                if tool_id and name:
                    around = self._around(agent, thread, time_ns)
                    self.session.begin_tool(tool_id, name, time_ns, arguments=part.get("input"), parent=around)

    def _begin(
        self,
        key: str,
        entry: dict[str, Any],
        model: str | None,
        agent: str | None,
        around: Span,
        begin_ns: int | None,
        time_ns: int | None,
    ) -> None:
        inference = Inference(b"", b"", provider="anthropic", response_model=model, response_id=key)
        span = self.session.add_call(key, inference, begin_ns, time_ns, parent=around)
        request_id = as_name(entry.get("requestId"))
        if request_id:
            span.attributes["request_id"] = request_id
        self.calls[key] = (_Call(key, agent, begin_ns, time_ns, model, request_id), inference, span)

    def _read_user(
        self, entry: dict[str, Any], message: dict[str, Any], agent: str | None, time_ns: int | None
    ) -> None:
        content = message.get("content")
        parts = [part for part in as_list(content) if isinstance(part, dict)]
        results = [part for part in parts if part.get("type") == "tool_result"]
        for part in results:
            self._end_tool(part, entry, time_ns)
        spoken = isinstance(content, str) or len(results) < len(parts)
        injected = entry.get("isMeta") is True or entry.get("isCompactSummary") is True
        if agent is None and spoken and not injected:
            self.session.begin_run(as_name(entry.get("uuid")) or str(time_ns), time_ns)

    def _end_tool(self, part: dict[str, Any], entry: dict[str, Any], time_ns: int | None) -> None:
        tool_id = as_name(part.get("tool_use_id"))
        if tool_id is None:
            return
        error = "tool_error" if part.get("is_error") is True else None
        span = self.session.end_tool(tool_id, time_ns, error=error)
        if span is None:
            self.session.batch.warnings["result_without_tool"] += 1
            return
        result = as_mapping(entry.get("toolUseResult"))
        agent_id = as_name(result.get("agentId"))
        if agent_id is not None:
            name = as_name(result.get("agentType")) or "subagent"
            self.session.add_agent(agent_id, name, span.start_ns, time_ns, span.span_id)

    def finish(self) -> RecordBatch:
        for call, inference, span in self.calls.values():
            usage = anthropic.read_usage(call.usage)
            _fill(inference, usage)
            inference.finish_reason = call.finish_reason
            _flag_start_count(self.session, call, inference, span)
            for fee in usage.fees:
                self.session.batch.charges.append(
                    Charge(span.trace_id, span.span_id, fee.sku, Decimal(fee.quantity), fee.unit, source="usage")
                )
        return self.session.finish()


def _said_tokens(part: Any) -> int:
    """Return about how many tokens a part of an answer is."""
    part = as_mapping(part)
    text = part.get("text") or part.get("thinking") or ""
    if part.get("type") == "tool_use":
        text = to_json(part.get("input"))
    return count_text(text) if isinstance(text, str) and text else 0


def _flag_start_count(session: Session, call: _Call, inference: Inference, span: Span) -> None:
    """Flag an output count that the text outweighs: it was written down when the stream began.

    The record stays as it is; the estimate stands beside it.
    """
    recorded = inference.meters.output
    if recorded is not None and call.said_tokens > START_COUNT_FACTOR * recorded + START_COUNT_SLACK:
        session.batch.warnings["output_counts_of_stream_start"] += 1
        span.attributes[ESTIMATED_OUTPUT] = call.said_tokens
        inference.reasons.append(
            f"output count of {recorded} looks like that of the stream's start: "
            f"the text is about {call.said_tokens} tokens"
        )


def _fill(inference: Inference, usage: BodyUsage) -> None:
    inference.meters = usage.meters
    inference.raw_usage = usage.raw
    inference.usage_semantics = usage.semantics
    inference.service_tier = usage.service_tier
    inference.usage_source = UsageSource.PROVIDER if usage.meters.is_known else UsageSource.ABSENT


def _size(usage: dict[str, Any]) -> tuple[int, int]:
    meters = anthropic.read_usage(usage).meters
    return (meters.output or 0, meters.input_total or 0)


def matches(source: Source) -> bool:
    """Return whether a file is a transcript: its first lines are entries of one."""
    first = as_mapping(source.first)
    if not source.is_lines or str(first.get("type")) not in _TYPES:
        return False
    return b'"sessionId"' in source.head or b'"leafUuid"' in source.head or "snapshot" in first


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one transcript, or of one sub-agent."""
    readers: dict[str, _Reader] = {}
    left_out = RecordBatch()
    for entry in read_lines(source, left_out.warnings):
        session_id = as_name(entry.get("sessionId"))
        if session_id is None:
            continue
        if session_id not in readers:
            readers[session_id] = _Reader(Session("claude-code", session_id, source.name, "claude-code"))
        readers[session_id].read(entry)
    for reader in readers.values():
        left_out.extend(reader.finish())
    yield left_out


_TYPES = _ENTRIES | {
    "queue-operation",
    "permission-mode",
    "last-prompt",
    "ai-title",
    "custom-title",
    "agent-name",
    "mode",
}

IMPORTER = Importer(
    name="claude-code",
    reads="Claude Code transcripts (JSON lines), 1.0 to 2.1: calls by message id, usage with 5 m and 1 h cache writes, "
    "tools, sub-agents in the same file or their own, compactions",
    matches=matches,
    read=read,
)
