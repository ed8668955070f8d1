"""One trace as a tree, whatever its spans say: orphans become roots, cycles are cut, arrival has no say."""

from __future__ import annotations

from collections.abc import Iterable

from inferometer.schema.records import Span, SpanKind

GENAI_KINDS = frozenset(SpanKind) - {SpanKind.OTHER}


class Tree:
    """The spans of one trace by id, each with its parent where that is there.

    ``order`` holds the ids so that each parent comes before its children, earlier spans before later ones.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = {span.span_id: span for span in spans}
        self.parent: dict[bytes, bytes | None] = {}
        for span_id, span in self.spans.items():
            known = span.parent_id in self.spans and span.parent_id != span_id
            self.parent[span_id] = span.parent_id if known else None
        self._in_time = sorted(self.spans, key=self._begin)
        self.children = self._find_children()
        self.order = self._walk()
        if len(self.order) < len(self.spans):  # what no root leads to goes round in circles
            self._cut_cycles()
            self.children = self._find_children()
            self.order = self._walk()

    def _begin(self, span_id: bytes) -> tuple[int, bytes]:
        return (self.spans[span_id].start_ns or 0, span_id)

    def _find_children(self) -> dict[bytes, list[bytes]]:
        children: dict[bytes, list[bytes]] = {}
        for span_id in self._in_time:
            parent_id = self.parent[span_id]
            if parent_id is not None:
                children.setdefault(parent_id, []).append(span_id)
        return children

    def _cut_cycles(self) -> None:
        done: set[bytes] = set()
        for start in self.spans:
            path: list[bytes] = []
            on_path: set[bytes] = set()
            here: bytes | None = start
            while here is not None and here not in done and here not in on_path:
                path.append(here)
                on_path.add(here)
                here = self.parent[here]
            if here is not None and here in on_path:
                cycle = path[path.index(here) :]
                self.parent[min(cycle, key=self._begin)] = None
            done.update(path)

    def _walk(self) -> list[bytes]:
        order: list[bytes] = []
        stack = [span_id for span_id in reversed(self._in_time) if self.parent[span_id] is None]
        while stack:
            span_id = stack.pop()
            order.append(span_id)
            below = self.children.get(span_id)
            if below is not None:
                stack.extend(reversed(below))
        return order

    def nearest_above(self, wanted: set[bytes]) -> dict[bytes, bytes | None]:
        """Return for each span the nearest of ``wanted`` strictly above it."""
        above: dict[bytes, bytes | None] = {}
        for span_id in self.order:
            parent_id = self.parent[span_id]
            if parent_id is None:
                above[span_id] = None
            else:
                above[span_id] = parent_id if parent_id in wanted else above[parent_id]
        return above
