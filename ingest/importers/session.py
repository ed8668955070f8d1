"""A session file as spans: one trace a session, one agent span a run, calls and tools below it.

A run begins at each message of a user that is not only a tool result; what none precedes is a run of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inferometer.ingest.said import Said
from inferometer.schema.ids import derived_span_id, derived_trace_id
from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind, Status, ToolCall


@dataclass(slots=True)
class Session:
    """Collects what one file says about one session.

    Args:
        dialect: the format's name; ids are derived from it and ``session_id``, so that a second import finds the first.
        session_id: as the file names it.
        source: the file's name.
        agent_name: of the agent that talks to the user.
        identity: what tells apart sessions that carry one id; usually nothing.
        keep_content: whether calls keep what was said in them, where the file holds it whole.
    """

    dialect: str
    session_id: str
    source: str | None = None
    agent_name: str | None = None
    identity: str = ""
    keep_content: bool = False
    batch: RecordBatch = field(default_factory=RecordBatch)
    trace_id: bytes = field(init=False)
    _run: Span | None = field(default=None, init=False)
    _pending: tuple[str, int | None] | None = field(default=None, init=False)
    _tools: dict[str, tuple[Span, ToolCall]] = field(default_factory=dict, init=False)
    _ended: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.trace_id = derived_trace_id(self.dialect, self.session_id, self.identity)

    def span_id(self, *parts: str) -> bytes:
        """Return the id of one of the session's spans."""
        return derived_span_id(self.dialect, self.session_id, self.identity, *parts)

    def begin_run(self, key: str, time_ns: int | None) -> None:
        """Begin a run at a user's message; it becomes a span with the first call or tool in it."""
        self._pending = (key, time_ns)

    def add_agent(
        self, key: str, name: str | None, start_ns: int | None, end_ns: int | None, parent_id: bytes | None = None
    ) -> Span:
        """Add a sub-agent; calls name its ``span_id`` as their parent."""
        span = self._span(self.span_id("agent", key), name or "agent", SpanKind.AGENT, start_ns, end_ns, parent_id)
        span.agent_name = name
        self.batch.spans.append(span)
        return span

    def add_call(
        self,
        key: str,
        call: Inference,
        start_ns: int | None,
        end_ns: int | None,
        *,
        parent: Span | None = None,
        status: Status = Status.OK,
        error_type: str | None = None,
        said: Said | None = None,
    ) -> Span:
        """Add an inference under an agent, by default the run's; its ids are set here."""
        around = parent or self.current_run(start_ns)
        span_id = self.span_id("call", key)
        span = self._span(
            span_id, f"chat {call.model or ''}".strip(), SpanKind.INFERENCE, start_ns, end_ns, around.span_id
        )
        span.status, span.error_type = status, error_type
        if said is not None and self.keep_content:
            span.attributes = said.attributes()
        call.trace_id, call.span_id = self.trace_id, span_id
        self.batch.spans.append(span)
        self.batch.inferences.append(call)
        _extend(around, start_ns, end_ns)
        return span

    def begin_tool(
        self, key: str, name: str, start_ns: int | None, *, arguments: Any = None, parent: Span | None = None
    ) -> Span:
        """Add a tool call that `end_tool` may end."""
        from inferometer.tokens.fingerprint import argument_fingerprint

        around = parent or self.current_run(start_ns)
        span_id = self.span_id("tool", key)
        span = self._span(span_id, f"execute_tool {name}", SpanKind.TOOL, start_ns, None, around.span_id)
        fingerprint = None if arguments is None else argument_fingerprint(name, arguments)
        tool = ToolCall(self.trace_id, span_id, name, call_id=key, argument_fingerprint=fingerprint)
        self.batch.spans.append(span)
        self.batch.tool_calls.append(tool)
        self._tools[key] = (span, tool)
        _extend(around, start_ns, start_ns)
        return span

    def has_tool(self, key: str) -> bool:
        """Return whether a tool call of that key has begun."""
        return key in self._tools

    def end_tool(
        self, key: str, end_ns: int | None, *, error: str | None = None, result_tokens: int | None = None
    ) -> Span | None:
        """Note a tool's result; None where its call is not in this file."""
        if key not in self._tools:
            return None
        span, tool = self._tools[key]
        self._ended.add(key)
        span.end_ns = end_ns
        span.status = Status.ERROR if error else Status.OK
        span.error_type = tool.error = error
        tool.result_tokens = result_tokens
        if span.start_ns is not None and end_ns is not None:
            tool.duration_ns = max(0, end_ns - span.start_ns)
        if self._run is not None and span.parent_id == self._run.span_id:
            _extend(self._run, None, end_ns)
        return span

    def finish(self) -> RecordBatch:
        """Return all records; tools without a result end when their run does, so that it is not held open."""
        ends = {span.span_id: span.end_ns for span in self.batch.spans}
        for key, (span, _) in self._tools.items():
            if key not in self._ended:
                self.batch.warnings["tool_without_result"] += 1
                end_ns = ends.get(span.parent_id) if span.parent_id else None
                span.end_ns = end_ns if end_ns is None or span.start_ns is None else max(end_ns, span.start_ns)
        spans = {span.span_id: span for span in self.batch.spans}
        for span in reversed(self.batch.spans):
            around = spans.get(span.parent_id) if span.parent_id else None
            if around is not None and around.kind is SpanKind.AGENT:
                _extend(around, span.start_ns, span.end_ns)
        return self.batch

    def current_run(self, time_ns: int | None) -> Span:
        """Return the agent span of the run that is going on at a time."""
        if self._pending is not None or self._run is None:
            key, start_ns = self._pending or ("start", time_ns)
            if start_ns is None:
                start_ns = time_ns
            self._pending = None
            self._run = self._span(
                self.span_id("run", key), self.agent_name or self.dialect, SpanKind.AGENT, start_ns, start_ns, None
            )
            self._run.agent_name = self.agent_name
            self._run.status = Status.OK
            self.batch.spans.append(self._run)
        return self._run

    def _span(
        self,
        span_id: bytes,
        name: str,
        kind: SpanKind,
        start_ns: int | None,
        end_ns: int | None,
        parent_id: bytes | None,
    ) -> Span:
        if start_ns is not None and end_ns is not None and end_ns < start_ns:
            self.batch.warnings["end_before_start"] += 1
            end_ns = start_ns
        return Span(
            trace_id=self.trace_id,
            span_id=span_id,
            name=name[:256],
            kind=kind,
            parent_id=parent_id,
            start_ns=start_ns,
            end_ns=end_ns,
            dialect=self.dialect,
            session_id=self.session_id,
            source=self.source,
        )


def _extend(span: Span, start_ns: int | None, end_ns: int | None) -> None:
    """Widen an agent's time to what happens under it."""
    if start_ns is not None and (span.start_ns is None or start_ns < span.start_ns):
        span.start_ns = start_ns
    for moment in (start_ns, end_ns):
        if moment is not None and (span.end_ns is None or moment > span.end_ns):
            span.end_ns = moment
