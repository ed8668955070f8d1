"""Which inference spans are one call: twins, instrumentation on top of instrumentation, roll-ups over calls.

Only leaves are billed. Two spans are one call where one contains the other or their scopes differ, and model, tokens
and times agree; a shared response id makes up for a model named differently. Spans of one scope that lie beside each
other are never merged, whatever they share: best-of-n, voting and map-style fan-out are real.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from inferometer.ingest.rollups import SUMS
from inferometer.ingest.tree import Tree
from inferometer.schema.records import Inference, Operation, Span, SpanKind, UsageSource
from inferometer.schema.wording import counted

CLOCK_TOLERANCE_NS = 5_000_000
"""How far two views of one call in one process may stand apart: clocks that tick in milliseconds, rounded twice."""

MAX_OVERHEAD_NS = 250_000_000
MAX_OVERHEAD_SHARE = 0.1
"""How much longer than the inner view the outer one of the same call may be."""

NEIGHBOURS = 64
"""Candidates of another scope that are looked at per span: those that start nearest."""

_DATE = re.compile(r"([-@]\d{4}-\d{2}-\d{2}|[-@]\d{8}|[-@]\d{6}|-latest|-preview|-v\d+:\d+|:\d+|@default)$")
_SOURCES = [UsageSource.REFUSED, UsageSource.ABSENT, UsageSource.ESTIMATED, UsageSource.COUNTED, UsageSource.PROVIDER]
_CLASSES = {Operation.EMBEDDING: "embedding", Operation.RERANK: "rerank"}


@dataclass(slots=True)
class Verdict:
    """What became of one inference: into which it was merged, whether it is billed, and why.

    ``place`` is the view of the same call whose surroundings hold for all of them: one under an agent before one
    beside it.
    """

    billable: bool = True
    merged_into: bytes | None = None
    place: bytes | None = None
    reasons: list[str] = field(default_factory=list)


def decide(tree: Tree, calls: dict[bytes, Inference]) -> dict[bytes, Verdict]:
    """Return a verdict for every inference of one trace.

    Args:
        tree: the trace.
        calls: its inferences by span id.
    """
    return _Decision(tree, calls).verdicts


class _Decision:
    def __init__(self, tree: Tree, calls: dict[bytes, Inference]) -> None:
        self.tree = tree
        self.calls = calls
        self.verdicts = {span_id: Verdict() for span_id in calls}
        self.group = {span_id: span_id for span_id in calls}
        self.is_any_joined = False
        if len(calls) > 1:
            self._nested()
            self._beside()
            if self.is_any_joined:
                self._settle()

    def _nested(self) -> None:
        above = self.tree.nearest_above(set(self.calls))
        below: dict[bytes, list[bytes]] = {}
        for span_id in self.tree.order:
            outer = above[span_id] if span_id in self.calls else None
            while outer is not None and _class(self.calls[outer]) != _class(self.calls[span_id]):
                outer = above[outer]  # a call that embeds on its way is still a call of its own
            if outer is not None:
                below.setdefault(outer, []).append(span_id)
        for outer in reversed(self.tree.order):
            if outer in below:
                self._judge(outer, below[outer])

    def _judge(self, outer: bytes, inner: list[bytes]) -> None:
        """Decide about an inference that contains others: the same call, or a roll-up over them."""
        call, span = self.calls[outer], self.tree.spans[outer]
        servers = [child for child in inner if self._is_server_of(child, span)]
        others = [child for child in inner if child not in servers]
        if len(servers) > 1 and not others and self._is_sum(call, servers):
            others, servers = servers, []
        if len(others) == 1 and span.name not in SUMS and self._is_same_nested(outer, others[0]):
            self._join(outer, others[0], "one call seen twice: contained, same model, tokens and times agree")
        elif others and call.meters.is_known and not any(self._has_usage(child) for child in others):
            for child in others:
                self._join(outer, child, "part of an enclosing call that alone carries usage")
        elif others:
            verdict = self.verdicts[outer]
            verdict.billable = False
            verdict.reasons.append(f"roll-up over {counted(len(others), 'call')}: a check value, not billed")
            servers = []
        for child in servers:
            self._join(outer, child, "server's view of the call above it")

    def _is_server_of(self, child: bytes, span: Span) -> bool:
        return self.tree.spans[child].otel_kind == "server" and span.otel_kind != "server"

    def _is_sum(self, call: Inference, parts: Iterable[bytes]) -> bool:
        metered = [self.calls[part].meters for part in parts if self.calls[part].meters.is_known]
        if len(metered) < 2 or not call.meters.is_known:
            return False
        return call.meters.input_total == sum(meters.input_total or 0 for meters in metered) and (
            call.meters.output == sum(meters.output or 0 for meters in metered)
        )

    def _has_usage(self, span_id: bytes) -> bool:
        return any(
            self.calls[member].meters.is_known for member, root in self.group.items() if root == self.group[span_id]
        )

    def _is_same_nested(self, outer: bytes, inner: bytes) -> bool:
        one, other = self.calls[outer], self.calls[inner]
        same_id = one.response_id is not None and one.response_id == other.response_id
        return (
            (same_id or models_agree(one, other))
            and tokens_agree(one, other)
            and _contains(self.tree.spans[outer], self.tree.spans[inner])
        )

    def _beside(self) -> None:
        """Pair calls of different scopes that lie beside each other, each with at most one of each scope."""
        if len({self.tree.spans[span_id].scope for span_id in self.calls}) < 2:
            return
        leaves = [span_id for span_id in self.calls if self.verdicts[span_id].billable]
        scopes = {self.group[span_id]: set[str | None]() for span_id in leaves}
        for span_id in leaves:
            scopes[self.group[span_id]].add(self.tree.spans[span_id].scope)
        if len(set().union(*scopes.values())) < 2:
            return
        # one view stands for its group: the longest, which contains the others
        heads = sorted(scopes, key=lambda root: (self.tree.spans[root].start_ns or 0, root))
        pairs = []
        for place, one in enumerate(heads):
            for other in heads[place + 1 : place + 1 + NEIGHBOURS]:
                if scopes[one].isdisjoint(scopes[other]):
                    apart = self._apart(one, other)
                    if apart is not None:
                        pairs.append((apart, one, other))
        for (_, _, reason), one, other in sorted(pairs):
            first, second = self.group[one], self.group[other]
            if first != second and scopes[first].isdisjoint(scopes[second]):
                self._join(first, second, reason)
                scopes[first] = scopes[second] = scopes[first] | scopes[second]

    def _apart(self, one: bytes, other: bytes) -> tuple[int, int, str] | None:
        """Return how far two views of one call stand apart, those with a shared id first; None where they are two."""
        first, second = self.calls[one], self.calls[other]
        if _class(first) != _class(second) or not tokens_agree(first, second):
            return None
        a, b = self.tree.spans[one], self.tree.spans[other]
        if not (_contains(a, b) or _contains(b, a)) or a.start_ns is None or b.start_ns is None:
            return None
        distance = abs(a.start_ns - b.start_ns) + abs((a.end_ns or 0) - (b.end_ns or 0))
        if first.response_id is not None and first.response_id == second.response_id:
            return (0, distance, "one call seen by two scopes: same response id, tokens and times agree")
        if first.response_id is not None and second.response_id is not None:
            return None
        if not models_agree(first, second) or not _durations_agree(a, b):
            return None
        return (1, distance, "one call seen by two scopes: same model, tokens and times agree")

    def _join(self, one: bytes, other: bytes, reason: str) -> None:
        self.is_any_joined = True
        first, second = self.group[one], self.group[other]
        for span_id, root in self.group.items():
            if root == second:
                self.group[span_id] = first
        self.verdicts[other].reasons.append(reason)
        self.verdicts[one].reasons.append(reason)

    def _settle(self) -> None:
        members: dict[bytes, list[bytes]] = {}
        for span_id, root in self.group.items():
            members.setdefault(root, []).append(span_id)
        for group in members.values():
            if len(group) < 2:
                continue
            kept = max(group, key=self._richness)
            place = max(group, key=lambda span_id: (self._depth(span_id), span_id == kept, span_id))
            for span_id in group:
                verdict = self.verdicts[span_id]
                verdict.place = place
                if span_id == kept:
                    verdict.reasons = [f"stands for {len(group)} views of one call"]
                else:
                    verdict.billable, verdict.merged_into = False, kept

    def _depth(self, span_id: bytes) -> int:
        """Return how many agents and workflows are around a span."""
        depth, above = 0, self.tree.parent[span_id]
        while above is not None:
            depth += self.tree.spans[above].kind in {SpanKind.AGENT, SpanKind.WORKFLOW}
            above = self.tree.parent[above]
        return depth

    def _richness(self, span_id: bytes) -> tuple[object, ...]:
        call, span = self.calls[span_id], self.tree.spans[span_id]
        return (
            _SOURCES.index(call.usage_source),
            span.otel_kind != "server",
            len(call.meters.as_dict()),
            call.response_id is not None,
            call.response_model is not None,
            call.ttft_ns is not None,
            call.recorded_cost_usd is not None,
            -(span.start_ns or 0),
            span_id,
        )


def models_agree(one: Inference, other: Inference) -> bool:
    """Return whether two calls may have gone to one model: dated or not, with or without the vendor's prefix."""
    first = {base_model(name) for name in (one.request_model, one.response_model) if name}
    second = {base_model(name) for name in (other.request_model, other.response_model) if name}
    return not first or not second or not first.isdisjoint(second)


def base_model(name: str) -> str:
    """Return a model's name without vendor, date and revision."""
    base = name.lower().rsplit("/", 1)[-1]
    while (shorter := _DATE.sub("", base)) != base:
        base = shorter
    return base.rsplit(".", 1)[-1] if base.startswith(("us.", "eu.", "apac.", "anthropic.")) else base


def tokens_agree(one: Inference, other: Inference) -> bool:
    """Return whether token counts do not speak against one call: equal, or unknown on one side.

    One side may have left out cached tokens that the other counts.
    """
    first, second = one.meters, other.meters
    if first.output is not None and second.output is not None and first.output != second.output:
        return False
    if first.input_total is None or second.input_total is None or first.input_total == second.input_total:
        return True
    return first.input_total == second.input_fresh or second.input_total == first.input_fresh


def _class(call: Inference) -> str:
    return _CLASSES.get(call.operation, "generation")


def _contains(outer: Span, inner: Span) -> bool:
    """Return whether one span's time lies within another's; unknown times do not speak against it."""
    if (
        outer.start_ns is not None
        and inner.start_ns is not None
        and inner.start_ns < outer.start_ns - CLOCK_TOLERANCE_NS
    ):
        return False
    return outer.end_ns is None or inner.end_ns is None or inner.end_ns <= outer.end_ns + CLOCK_TOLERANCE_NS


def _durations_agree(one: Span, other: Span) -> bool:
    if one.start_ns is None or one.end_ns is None or other.start_ns is None or other.end_ns is None:
        return False
    first, second = one.end_ns - one.start_ns, other.end_ns - other.start_ns
    return abs(first - second) <= max(MAX_OVERHEAD_NS, MAX_OVERHEAD_SHARE * max(first, second))
