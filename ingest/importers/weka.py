"""Weka and AgentX sessions: coding agents seen by a proxy, with times, sub-agents and local prefix block ids.

A sub-agent's ``t`` is the moment it was done; it began ``duration_ms`` before. Its requests count from its own begin.
``think_time`` is what passed since the last answer whose end is known. Times count from the session's begin.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_document
from inferometer.ingest.importers.parts import BETWEEN, Cuts
from inferometer.ingest.importers.session import Session
from inferometer.ingest.usage import read_count
from inferometer.ingest.values import as_list, as_mapping, as_name, as_seconds
from inferometer.schema.errors import InputError
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Composition,
    Dependency,
    DependencyKind,
    Inference,
    PrefixChain,
    RecordBatch,
    Span,
    UsageSemantics,
    UsageSource,
)

RELATIVE_TIME = "inferometer.relative_time"
"""Attribute of spans whose times count from the begin of their session and not from 1970."""

_CUTS = Cuts({"requests": BETWEEN}, rest=True)
_ID_BYTES = 8
_SECOND = 1_000_000_000
_ROUNDING_NS = _SECOND  # the file's times are whole seconds


@dataclass(slots=True)
class _Node:
    """A call, or a sub-agent as a whole, on the session's clock."""

    begin_ns: int
    end_ns: int | None
    last_calls: list[bytes]
    is_agent: bool = False


@dataclass(slots=True)
class _Reader:
    session: Session
    block_tokens: int
    key_id: str

    def read_requests(
        self, requests: list[Any], origin_ns: int, agent: Span | None, composition: Composition, spawn: _Node | None
    ) -> list[_Node]:
        """Add the requests of the session, or of one sub-agent, and return them as nodes."""
        nodes: list[_Node] = []
        timed = []
        for place, request in enumerate(requests):
            if not isinstance(request, dict):
                self.session.batch.warnings["not_an_object"] += 1
                continue
            timed.append((_begin_ns(request), place, request))
        for begin_ns, place, request in sorted(timed, key=lambda entry: entry[:2]):
            key = f"{agent.span_id.hex() if agent else 'main'}/{place}"
            if request.get("type") == "subagent":
                nodes.append(
                    self._read_agent(request, key, origin_ns + begin_ns, agent, nodes or ([spawn] if spawn else []))
                )
            else:
                nodes.append(self._read_call(request, key, origin_ns + begin_ns, agent, composition, nodes, spawn))
        return nodes

    def _read_agent(
        self, request: dict[str, Any], key: str, begin_ns: int, around: Span | None, before: list[_Node]
    ) -> _Node:
        parent = around or self.session.current_run(begin_ns)
        name = as_name(request.get("subagent_type")) or "subagent"
        duration_s = as_seconds(request.get("duration_ms"))
        end_ns = None if duration_s is None else begin_ns + round(duration_s * 1_000_000)
        span = self.session.add_agent(key, name, begin_ns, end_ns, parent.span_id)
        inner = self.read_requests(
            as_list(request.get("requests")), begin_ns, span, _composition(request), _latest(before, begin_ns)
        )
        known = [node.end_ns for node in inner if node.end_ns is not None]
        done_ns = max(known, default=end_ns)
        if span.end_ns is None:
            span.end_ns = done_ns
        last = max(inner, key=lambda node: node.end_ns or node.begin_ns, default=None)
        return _Node(begin_ns, end_ns or done_ns, last.last_calls if last else [], is_agent=True)

    def _read_call(
        self,
        request: dict[str, Any],
        key: str,
        begin_ns: int,
        agent: Span | None,
        composition: Composition,
        before: list[_Node],
        spawn: _Node | None,
    ) -> _Node:
        kinds = {kind for kind in as_list(request.get("input_types")) if isinstance(kind, str)}
        if agent is None and "text" in kinds:
            self.session.begin_run(key, begin_ns)
        took_s = as_seconds(request.get("api_time"))
        end_ns = None if took_s is None else begin_ns + round(took_s * _SECOND)
        call = self._inference(request, composition)
        think_s = as_seconds(request.get("think_time"))
        think_ns = None if think_s is None else round(think_s * _SECOND)
        call.depends_on = _dependencies(begin_ns, think_ns, kinds, agent is None, before, spawn)
        span = self.session.add_call(key, call, begin_ns, end_ns, parent=agent)
        span.attributes[RELATIVE_TIME] = True
        return _Node(begin_ns, end_ns, [span.span_id])

    def _inference(self, request: dict[str, Any], composition: Composition) -> Inference:
        warnings, reasons = self.session.batch.warnings, ["cached tokens are not recorded: all input counts as fresh"]
        given = read_count(request.get("in"), "input", warnings, reasons)
        output = read_count(request.get("out"), "output", warnings, reasons)
        ttft_s = as_seconds(request.get("ttft"))
        known = given is not None or output is not None
        return Inference(
            trace_id=b"",
            span_id=b"",
            request_model=as_name(request.get("model")) or None,
            meters=Meters(input_fresh=given, output=output),
            usage_source=UsageSource.PROVIDER if known else UsageSource.ABSENT,
            usage_semantics=UsageSemantics.INCLUSIVE,
            stream={"s": True, "n": False}.get(str(request.get("type"))),
            ttft_ns=None if ttft_s is None else round(ttft_s * _SECOND),
            finish_reason=as_name(request.get("stop")) or None,
            composition=composition,
            prefix=self._prefix(request.get("hash_ids")),
            reasons=reasons,
        )

    def _prefix(self, hash_ids: Any) -> PrefixChain | None:
        if isinstance(hash_ids, list):
            self.session.batch.warnings["broken_hash_ids"] += 1
        if not hash_ids or not isinstance(hash_ids, bytes):
            return None
        return PrefixChain(hash_ids, self.block_tokens, "local", self.key_id)


def _begin_ns(request: dict[str, Any]) -> int:
    moment_s = as_seconds(request.get("t")) or 0.0
    if request.get("type") == "subagent":
        moment_s = max(0.0, moment_s - (as_seconds(request.get("duration_ms")) or 0.0) / 1000)
    return round(moment_s * _SECOND)


def _dependencies(
    begin_ns: int, think_ns: int | None, kinds: set[str], is_main: bool, before: list[_Node], spawn: _Node | None
) -> list[Dependency]:
    """Return what a call waited for: sub-agents that had ended, else the latest answer before it, else its spawner."""
    calls = [node for node in before if not node.is_agent]
    latest = _latest(calls, begin_ns)
    if latest is None:
        if spawn is None:
            return []
        gap_ns = None if spawn.end_ns is None else max(0, begin_ns - spawn.end_ns)
        return [Dependency(span_id, DependencyKind.SPAWN, gap_ns) for span_id in spawn.last_calls]
    since = latest.end_ns or latest.begin_ns
    joined = [
        node
        for node in before
        if node.is_agent
        and node.end_ns is not None
        and since - _ROUNDING_NS <= node.begin_ns
        and node.end_ns <= begin_ns
    ]
    if joined:
        return [
            Dependency(span_id, DependencyKind.JOIN, begin_ns - (node.end_ns or begin_ns))
            for node in joined
            for span_id in node.last_calls
        ]
    if is_main and "text" in kinds:
        kind = DependencyKind.HUMAN
    elif calls[-1] is not latest:
        kind = DependencyKind.FORK
    else:
        kind = DependencyKind.TOOL if "tool_result" in kinds else DependencyKind.SEQUENTIAL
    # think_time counts from the last answer whose end is known, which is this one unless its own end is not
    gap_ns = think_ns if latest.end_ns is not None and think_ns is not None else max(0, begin_ns - since)
    return [Dependency(span_id, kind, gap_ns) for span_id in latest.last_calls]


def _latest(nodes: list[_Node], begin_ns: int) -> _Node | None:
    """Return the call that began last of those that had ended; one whose end is not known counts as ended."""
    ended = [
        node for node in nodes if not node.is_agent and (node.end_ns is None or node.end_ns <= begin_ns + _ROUNDING_NS)
    ]
    return max(ended, key=lambda node: node.begin_ns, default=None)


def _composition(part: dict[str, Any]) -> Composition:
    system, tools = part.get("system_tokens"), part.get("tool_tokens")
    return Composition(
        system=system if isinstance(system, int) and system >= 0 else None,
        tools=tools if isinstance(tools, int) and tools >= 0 else None,
    )


def matches(source: Source) -> bool:
    """Return whether a file is one such session."""
    first = as_mapping(source.first)
    return isinstance(first.get("requests"), list) and ("hash_id_scope" in first or "block_size" in first)


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of one session."""
    document, requests = _read_document(source)
    session_id = as_name(document.get("id")) or source.name
    first = as_mapping(requests[0]) if requests else {}
    blocks = first.get("hash_ids")
    length = len(blocks) // _ID_BYTES if isinstance(blocks, bytes) else len(as_list(blocks))
    identity = f"{first.get('in')}/{first.get('out')}/{length}"
    session = Session("weka", session_id, source.name, "coding-agent", identity)
    block_tokens = document.get("block_size")
    scope = "global" if document.get("hash_id_scope") == "global" else session.trace_id.hex()
    reader = _Reader(session, block_tokens if isinstance(block_tokens, int) else 64, f"weka:{scope}")
    reader.read_requests(requests, 0, None, _composition(document), None)
    batch = session.finish()
    for span in batch.spans:
        span.attributes[RELATIVE_TIME] = True
    _check_totals(document, batch)
    yield batch


def _read_document(source: Source) -> tuple[dict[str, Any], list[Any]]:
    """Return a session and its requests, whose block ids are packed as they come: as numbers they take five times."""
    document: dict[str, Any] = {}
    requests: list[Any] | None = None
    for part in read_document(source, _CUTS):
        found = part.pop("requests", None) if isinstance(part, dict) else None
        if isinstance(found, list):
            requests = requests or []
            requests.extend(map(_pack, found))
        document.update(as_mapping(part))
    if requests is None:
        raise InputError(str(source.path), "a Weka session without requests")
    return document, requests


def _pack(request: Any) -> Any:
    """Return a request with the block ids of it, and of those of a sub-agent, packed; broken ones stay as they are."""
    if isinstance(request, dict):
        hash_ids = request.get("hash_ids")
        if isinstance(hash_ids, list):
            with suppress(struct.error):
                request["hash_ids"] = struct.pack(f"<{len(hash_ids)}Q", *hash_ids)
        if isinstance(request.get("requests"), list):
            request["requests"] = [_pack(inner) for inner in request["requests"]]
    return request


def _check_totals(document: dict[str, Any], batch: RecordBatch) -> None:
    stated = as_mapping(as_mapping(document.get("totals")).get("combined_tokens"))
    if not stated:
        return
    found = {
        "input": sum(call.meters.input_total or 0 for call in batch.inferences),
        "output": sum(call.meters.output or 0 for call in batch.inferences),
    }
    if any(stated.get(name) != value for name, value in found.items()):
        batch.warnings["totals_differ"] += 1


IMPORTER = Importer(
    name="weka",
    reads="sessions of the Weka/AgentX trace format: calls, sub-agents, think times, `hash_ids` (local to a file)",
    matches=matches,
    read=read,
    cuts=_CUTS,
)
