"""What an audit reads: the billable calls of a window, priced once, with their runs, tools and outcomes.

Every analysis of the audit is a function of a `Dataset`, so that totals agree and a test can build one in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Protocol

from inferometer.analyzer.costed_call import ZERO, CostedCall, PriceCall, costed
from inferometer.analyzer.tool_fees import tool_fees
from inferometer.profiles.prices import PriceList
from inferometer.schema.attributes import AGENT_VERSION
from inferometer.schema.records import Charge, Outcome, Run, ServingSample, Span
from inferometer.schema.rows import InferenceRow, Placement, SpanOutline, ToolCallRow
from inferometer.schema.selection import Selection

VERSIONS = (AGENT_VERSION, "service.version")
"""What states the version of an agent, first to last: its own attribute, its service's resource."""


class RecordReader(Protocol):
    """The part of a store that an audit reads."""

    def inferences(
        self, selection: Selection, *, billable_only: bool = True, with_prefix: bool = False
    ) -> Iterator[InferenceRow]:
        """Return model calls."""

    def tool_calls(self, selection: Selection) -> Iterator[ToolCallRow]:
        """Return tool calls."""

    def runs(self, selection: Selection) -> list[Run]:
        """Return runs."""

    def spans_of_run(self, run_id: str) -> list[Span]:
        """Return every span of one run."""

    def outlines_of_runs(self, run_ids: Iterable[str]) -> Mapping[str, Sequence[SpanOutline]]:
        """Return the outlines of the spans of runs, by run."""

    def outcomes(self, selection: Selection) -> Iterable[Outcome]:
        """Return how runs ended."""

    def placed_charges(self, selection: Selection) -> Iterable[tuple[Charge, Placement]]:
        """Return costs that are not tokens, with where they happened."""

    def serving_samples(self, selection: Selection) -> Iterable[ServingSample]:
        """Return measured serving metrics."""

    def attribute_values(
        self, selection: Selection | None, name: str, *, roots_only: bool = False
    ) -> dict[tuple[bytes, bytes], str]:
        """Return an attribute's value by (trace_id, span_id)."""


@dataclass(slots=True)
class PricedCharge:
    """A cost that is not tokens, where it happened, and what it came to; None where its price is unknown."""

    charge: Charge
    placement: Placement
    cost_usd: Decimal | None


@dataclass
class Dataset:
    """All that an audit reads, in order of time."""

    runs: list[Run]
    calls: list[CostedCall]
    tool_calls: list[ToolCallRow]
    prices: PriceList
    selection: Selection = field(default_factory=Selection)
    outcomes: list[Outcome] = field(default_factory=list)
    charges: list[PricedCharge] = field(default_factory=list)
    serving_samples: list[ServingSample] = field(default_factory=list)
    merged_calls: list[InferenceRow] = field(default_factory=list)
    stated_versions: Mapping[str, str] = field(default_factory=dict)
    """The version of its agent or service that a run's root states, by run id."""
    read_spans: Callable[[str], list[Span]] = field(default=lambda run_id: [])
    read_outlines: Callable[[Iterable[str]], Mapping[str, Sequence[SpanOutline]]] = field(default=lambda run_ids: {})

    @property
    def price(self) -> PriceCall:
        """What gives one call's price."""
        return self.prices.price

    @cached_property
    def fees(self) -> list[PricedCharge]:
        """All that is paid beside tokens: recorded charges, and tool calls that the price list has a price for."""
        charged = {(one.charge.trace_id, one.charge.span_id) for one in self.charges}
        tools = self.tool_calls if self.prices.has_tools else ()
        return [*self.charges, *(PricedCharge(*fee) for fee in tool_fees(tools, self.prices, charged))]

    @cached_property
    def committed_places(self) -> frozenset[int]:
        """Places, in the price list's agreements, of those that are paid for whether they are used or not."""
        _, agreements = self.prices.settle({}, None)
        return frozenset(place for place, one in enumerate(agreements) if one.kind in {"commitment", "provisioned"})

    @cached_property
    def calls_by_run(self) -> dict[str, list[CostedCall]]:
        """Calls of each run, in order of start; calls outside any run are left out."""
        grouped: dict[str, list[CostedCall]] = defaultdict(list)
        for call in self.calls:
            if call.placement.run_id is not None:
                grouped[call.placement.run_id].append(call)
        return dict(grouped)

    @cached_property
    def tools_by_run(self) -> dict[str, list[ToolCallRow]]:
        """Tool calls of each run, in order of start."""
        grouped: dict[str, list[ToolCallRow]] = defaultdict(list)
        for tool in self.tool_calls:
            if tool.placement.run_id is not None:
                grouped[tool.placement.run_id].append(tool)
        return dict(grouped)

    def version_of(self, run: Run) -> str | None:
        """Return the version of the agent that made a run: a tag of that name, else what its root states."""
        return run.tags.get("version") or self.stated_versions.get(run.run_id)

    @cached_property
    def run_of_span(self) -> dict[tuple[bytes, bytes], str]:
        """Run ids by (trace_id, span_id) of calls, tool calls and run roots."""
        found = {(run.trace_id, run.root_span_id): run.run_id for run in self.runs}
        for call in self.calls:
            if call.placement.run_id is not None:
                found[call.key] = call.placement.run_id
        for tool in self.tool_calls:
            if tool.placement.run_id is not None:
                found[tool.tool_call.trace_id, tool.tool_call.span_id] = tool.placement.run_id
        return found

    @cached_property
    def cost_by_run_usd(self) -> dict[str, Decimal]:
        """Priced cost of each run that has calls, not weighted."""
        return {
            run_id: sum((call.cost_usd for call in calls if call.cost_usd is not None), ZERO)
            for run_id, calls in self.calls_by_run.items()
        }

    @cached_property
    def cost_usd(self) -> Decimal:
        """Weighted cost of all calls."""
        return sum((call.weighted_cost_usd for call in self.calls), ZERO)

    @cached_property
    def span_ns(self) -> tuple[int, int] | None:
        """First start and last end of all calls that have a date; None where none has."""
        timed = [call for call in self.calls if call.is_dated]
        if not timed:
            return None
        return min(call.start_ns for call in timed), max(call.end_ns for call in timed)

    @cached_property
    def days(self) -> float:
        """Length of the observed window in days, at least an hour so that rates stay finite; 0 where none is dated."""
        span = self.span_ns
        return max((span[1] - span[0]) / 86_400e9, 1 / 24) if span else 0.0

    def with_calls(self, calls: Sequence[CostedCall]) -> Dataset:
        """Return a dataset of the same runs with other calls."""
        return replace(self, calls=list(calls), merged_calls=[])

    def between(self, since_ns: int | None, until_ns: int | None) -> Dataset:
        """Return the part whose runs began in a window."""

        def inside(start_ns: int | None) -> bool:
            if start_ns is None:
                return False
            return (since_ns is None or start_ns >= since_ns) and (until_ns is None or start_ns < until_ns)

        runs = [run for run in self.runs if inside(run.start_ns)]
        kept = {run.run_id for run in runs}

        def belongs(placement: Placement) -> bool:
            return placement.run_id in kept if placement.run_id is not None else inside(placement.start_ns)

        return replace(
            self,
            runs=runs,
            calls=[call for call in self.calls if belongs(call.placement)],
            tool_calls=[tool for tool in self.tool_calls if belongs(tool.placement)],
            outcomes=[
                outcome
                for outcome in self.outcomes
                if self.run_of_span.get((outcome.trace_id, outcome.span_id)) in kept
            ],
            charges=[charge for charge in self.charges if belongs(charge.placement)],
            serving_samples=[sample for sample in self.serving_samples if inside(sample.time_ns)],
            merged_calls=[],
        )


def load_dataset(store: RecordReader, selection: Selection, prices: PriceList, *, with_prefix: bool = True) -> Dataset:
    """Read and price everything that a selection holds.

    Args:
        store: where records are read from.
        selection: window and filters.
        prices: the price list.
        with_prefix: also read prefix chains, which caching analyses need.

    Raises:
        StoreError: the store cannot be read.
    """
    billable: list[CostedCall] = []
    merged: list[InferenceRow] = []
    for row in store.inferences(selection, billable_only=False, with_prefix=with_prefix):
        if row.inference.billable:
            billable.append(costed(row, prices.price))
        else:
            merged.append(row)
    billable.sort(key=lambda call: (call.start_ns, call.key))
    by_key = {call.key: call.row for call in billable}
    tools = [tool for tool in store.tool_calls(selection) if tool.tool_call.merged_into is None]
    tools.sort(key=lambda tool: tool.placement.start_ns or 0)
    runs = store.runs(selection)
    return Dataset(
        runs=runs,
        calls=billable,
        tool_calls=tools,
        prices=prices,
        selection=selection,
        outcomes=list(store.outcomes(selection)),
        charges=[
            PricedCharge(
                charge, place, prices.price_charge(charge, place, by_key.get((charge.trace_id, charge.span_id)))
            )
            for charge, place in store.placed_charges(selection)
        ],
        serving_samples=list(store.serving_samples(selection)),
        merged_calls=merged,
        stated_versions=_stated_versions(store, selection, runs),
        read_spans=store.spans_of_run,
        read_outlines=store.outlines_of_runs,
    )


def _stated_versions(store: RecordReader, selection: Selection, runs: Iterable[Run]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in VERSIONS:
        values = store.attribute_values(selection, name, roots_only=True)
        if values:
            for run in runs:
                if (version := values.get((run.trace_id, run.root_span_id))) is not None:
                    found.setdefault(run.run_id, version)
    return found
