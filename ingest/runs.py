"""Runs: the subtree under the topmost agent or workflow span, else under the topmost GenAI span."""

from __future__ import annotations

from typing import Any

from inferometer.ingest.tree import GENAI_KINDS, Tree
from inferometer.schema.ids import run_id_of
from inferometer.schema.records import Run, Span, SpanKind, Status

QUIET_NS = 5 * 60 * 1_000_000_000
"""How long a run whose root has ended stays open: late spans still come."""

_TOPS = frozenset({SpanKind.AGENT, SpanKind.WORKFLOW})
_CALLS = frozenset({SpanKind.INFERENCE, SpanKind.TOOL, SpanKind.RETRIEVAL})


def run_roots(tree: Tree, elsewhere: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return for each span that belongs to a run the span at that run's top.

    Args:
        tree: the trace.
        elsewhere: span ids of calls that are another view of one elsewhere, with that one's id; they found no run.
    """
    under_agent: dict[bytes, bytes | None] = {}
    under_genai: dict[bytes, bytes | None] = {}
    for span_id in tree.order:
        parent_id, kind = tree.parent[span_id], tree.spans[span_id].kind
        agent = under_agent[parent_id] if parent_id is not None else None
        genai = under_genai[parent_id] if parent_id is not None else None
        under_agent[span_id] = agent or (span_id if kind in _TOPS else None)
        under_genai[span_id] = genai or (span_id if kind in GENAI_KINDS and span_id not in elsewhere else None)
    busy = {
        under_genai[span_id]
        for span_id in tree.order
        if under_agent[span_id] is None and tree.spans[span_id].kind in _CALLS
    }
    first_agent_below: dict[bytes, bytes] = {}
    for span_id in tree.order:
        agent, genai = under_agent[span_id], under_genai[span_id]
        if agent == span_id and genai is not None:
            first_agent_below.setdefault(genai, span_id)
    roots: dict[bytes, bytes] = {}
    for span_id in tree.order:
        root = under_agent[span_id] or under_genai[span_id]
        if root is not None and under_agent[span_id] is None and root not in busy:
            root = first_agent_below.get(root, root)  # a wrapper without calls of its own is no run beside its agent's
        if root is not None:
            roots[span_id] = root
    for span_id, place in elsewhere.items():
        if place in roots:
            roots[span_id] = roots[place]
    return roots


def build_runs(tree: Tree, roots: dict[bytes, bytes], now_ns: int) -> list[Run]:
    """Return the runs of one trace.

    Args:
        tree: the trace.
        roots: from `run_roots`.
        now_ns: nanoseconds since 1970, against which a run is open or not.
    """
    members: dict[bytes, list[Span]] = {}
    for span_id in tree.order:
        if span_id in roots:
            members.setdefault(roots[span_id], []).append(tree.spans[span_id])
    return [_run(tree.spans[root], spans, now_ns) for root, spans in members.items()]


def _run(root: Span, spans: list[Span], now_ns: int) -> Run:
    starts = [span.start_ns for span in spans if span.start_ns is not None]
    ends = [span.end_ns for span in spans if span.end_ns is not None]
    last_ns = max([*starts, *ends], default=None)
    end_ns = root.end_ns if root.end_ns is not None else max(ends, default=None)
    tags: dict[str, str] = {}
    for span in reversed(spans):
        tags.update(span.tags)
    tags.update(root.tags)
    return Run(
        run_id=run_id_of(root.trace_id, root.span_id),
        trace_id=root.trace_id,
        root_span_id=root.span_id,
        name=root.name,
        agent_name=root.agent_name,
        session_id=_first(root, spans, "session_id"),
        user_id=_first(root, spans, "user_id"),
        purpose=_first(root, spans, "purpose"),
        start_ns=root.start_ns if root.start_ns is not None else min(starts, default=None),
        end_ns=end_ns,
        status=root.status if root.status is not Status.UNSET or root.kind in _TOPS else _worst(spans),
        # what has no times at all comes from a file and is as finished as it will ever be
        is_open=last_ns is not None and (root.end_ns is None or now_ns - last_ns < QUIET_NS),
        weight=_first(root, spans, "weight"),
        service=_service(root, spans),
        tags=tags,
        source=_first(root, spans, "source"),
    )


def _first(root: Span, spans: list[Span], name: str) -> Any:
    value = getattr(root, name)
    if value is not None:
        return value
    return next((found for span in spans if (found := getattr(span, name)) is not None), None)


def _worst(spans: list[Span]) -> Status:
    statuses = {span.status for span in spans}
    return next((status for status in (Status.ERROR, Status.OK) if status in statuses), Status.UNSET)


def _service(root: Span, spans: list[Span]) -> str | None:
    for span in (root, *spans):
        if span.resource is not None:
            for key, value in span.resource.attributes:
                if key == "service.name":
                    return value
    return None
