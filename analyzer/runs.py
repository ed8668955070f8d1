"""Runs with what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from inferometer.analyzer.open_meters import has_open_usage, is_unsplit
from inferometer.profiles.prices import Priced, PriceList
from inferometer.schema.errors import UnknownNameError
from inferometer.schema.records import Run
from inferometer.schema.rows import InferenceRow, ToolCallRow
from inferometer.schema.selection import Selection
from inferometer.store import Store

SORTS = ("start", "cost", "tokens", "duration", "inferences", "tools")

_DAY_NS = 86_400 * 1_000_000_000
_ZERO = Decimal(0)


@dataclass(slots=True)
class RunSummary:
    """One run and the sums over its billable calls, 0 where it has none; cost is US dollars by list price.

    A sum is None where it has calls and none of them says it: no usage is known, or no call is priced. Calls
    whose tokens in or out are unknown (``usage_open``), that have no price (``unpriced``), or one for a part of them
    (``partial``), make the sums lower bounds; those that do not say what came from a cache (``unsplit``) are priced as
    if nothing had. Where ``is_summed`` is false, nothing was added up.
    """

    run: Run
    inferences: int = 0
    tool_calls: int = 0
    errors: int = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cost_usd: Decimal | None = _ZERO
    unpriced: int = 0
    partial: int = 0
    unsplit: int = 0
    usage_open: int = 0
    models: list[str] = field(default_factory=list)
    is_summed: bool = True

    @property
    def duration_ns(self) -> int | None:
        """Nanoseconds from start to end; None where either is unknown."""
        run = self.run
        return None if run.start_ns is None or run.end_ns is None else run.end_ns - run.start_ns

    @property
    def tokens(self) -> int | None:
        """Tokens in and out; None where neither is known."""
        known = [count for count in (self.input_tokens, self.output_tokens) if count is not None]
        return sum(known) if known else None

    def add(self, row: InferenceRow, priced: Priced) -> None:
        """Add one billable call."""
        if not self.inferences:
            self.input_tokens = self.output_tokens = self.cost_usd = None
        self.inferences += 1
        meters = row.inference.meters
        if meters.input_total is not None:
            self.input_tokens = (self.input_tokens or 0) + meters.input_total
        if meters.output is not None:
            self.output_tokens = (self.output_tokens or 0) + meters.output
        self.usage_open += has_open_usage(row.inference)
        if priced.list_cost_usd is None:
            self.unpriced += 1
        else:
            self.partial += priced.partial
            self.unsplit += is_unsplit(row.inference, priced.card)
            self.cost_usd = (self.cost_usd or _ZERO) + priced.list_cost_usd
        if row.inference.model and row.inference.model not in self.models:
            self.models.append(row.inference.model)

    def add_tool(self, row: ToolCallRow) -> None:
        """Add one tool call, unless it is another one's view."""
        if row.tool_call.merged_into is None:
            self.tool_calls += 1
            self.errors += row.tool_call.error is not None

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the ``runs`` document."""
        run = self.run
        return {
            "run_id": run.run_id,
            "trace_id": run.trace_id,
            "name": run.name,
            "agent": run.agent_name,
            "session": run.session_id,
            "user": run.user_id,
            "purpose": run.purpose.value if run.purpose else None,
            "service": run.service,
            "source": run.source,
            "status": run.status.value,
            "is_open": run.is_open,
            "start_ns": run.start_ns,
            "duration_s": None if self.duration_ns is None else self.duration_ns / 1e9,
            "inferences": self.inferences,
            "tool_calls": self.tool_calls,
            "errors": self.errors,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
            "unpriced": self.unpriced,
            "partial": self.partial,
            "unsplit": self.unsplit,
            "usage_open": self.usage_open,
            "models": self.models,
            "weight": run.weight,
            "tags": run.tags,
        }


def list_runs(
    store: Store,
    prices: PriceList,
    selection: Selection | None = None,
    *,
    sort: str = "start",
    search: str | None = None,
) -> list[RunSummary]:
    """Return the selected runs with their sums.

    Args:
        store: where they are.
        prices: the price list.
        selection: window and equalities; everything where None.
        sort: one of `SORTS`; ``start`` is latest first, the others largest first, unknown last.
        search: a text that the run's id, name, agent, session, user, service, source or one of its models holds.

    Raises:
        UnknownNameError: no such order.
    """
    if sort not in SORTS:
        raise UnknownNameError("order", sort, SORTS)
    selection = selection or Selection()
    runs = {run.run_id: RunSummary(run) for run in store.runs(selection)}
    # the window is about when a run began: all calls of it count, however late, or early by another machine's clock
    since_ns = None if selection.since_ns is None else selection.since_ns - _DAY_NS
    of_run = Selection(since_ns=since_ns, where=selection.where)
    for row in store.inferences(of_run):
        summary = runs.get(row.placement.run_id or "")
        if summary is not None:
            summary.add(row, prices.price(row))
    for tool in store.tool_calls(of_run):
        summary = runs.get(tool.placement.run_id or "")
        if summary is not None:
            summary.add_tool(tool)
    found = [summary for summary in runs.values() if search is None or _matches(summary, search.lower())]
    return sorted(found, key=lambda summary: _order(_SORT_KEYS[sort](summary), summary))


def list_latest_runs(store: Store, prices: PriceList, selection: Selection, limit: int) -> tuple[list[RunSummary], int]:
    """Return the selected runs that began last, the latest first, and how many are selected; reads no other run."""
    of, _ = store.count_runs(selection)
    return sum_runs(store, prices, store.latest_runs(selection, limit), selection.where), of


def sum_runs(
    store: Store,
    prices: PriceList,
    runs: Sequence[Run],
    where: tuple[tuple[str, str], ...] = (),
    max_spans: int | None = None,
) -> list[RunSummary]:
    """Return the sums of a few runs among many, read run by run.

    Args:
        store: where they are.
        prices: the price list.
        runs: whose sums.
        where: what calls must meet, as in `Selection`.
        max_spans: how many spans to read at most; a run with more than are left of them is not summed.
    """
    spans = {} if max_spans is None else store.count_run_spans([run.run_id for run in runs])
    found = []
    for run in runs:
        summary = RunSummary(run)
        found.append(summary)
        if max_spans is not None:
            if spans[run.run_id] > max_spans:
                summary.is_summed = False
                continue
            max_spans -= spans[run.run_id]
        of_run = Selection(where=(*where, ("run", run.run_id)))
        for row in store.inferences(of_run):
            summary.add(row, prices.price(row))
        for tool in store.tool_calls(of_run):
            summary.add_tool(tool)
    return found


_SORT_KEYS: dict[str, Callable[[RunSummary], int | Decimal | None]] = {
    "start": lambda summary: summary.run.start_ns,
    "cost": lambda summary: summary.cost_usd,
    "tokens": lambda summary: summary.tokens,
    "duration": lambda summary: summary.duration_ns,
    "inferences": lambda summary: summary.inferences,
    "tools": lambda summary: summary.tool_calls,
}


def _order(value: int | Decimal | None, summary: RunSummary) -> tuple[bool, int | Decimal, str]:
    return (value is None, -(value or 0), summary.run.run_id)


def _matches(summary: RunSummary, wanted: str) -> bool:
    run = summary.run
    texts = (run.run_id, run.name, run.agent_name, run.session_id, run.user_id, run.service, run.source)
    return any(text is not None and wanted in text.lower() for text in (*texts, *summary.models))
