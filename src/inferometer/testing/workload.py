"""Small workloads in memory, so that a test can state what an analysis must find in closed form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from inferometer.analyzer.audit_dataset import Dataset, PricedCharge
from inferometer.analyzer.costed_call import costed
from inferometer.profiles.prices import Priced, PriceList, RateCard
from inferometer.profiles.prices.cards import Rate
from inferometer.profiles.prices.pricing import price_by_card
from inferometer.profiles.prices.published import PublishedPrices
from inferometer.schema.ids import derived_span_id, derived_trace_id, run_id_of
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Inference,
    Outcome,
    PrefixChain,
    Purpose,
    Run,
    Span,
    SpanKind,
    Status,
    ToolCall,
    UsageSource,
)
from inferometer.schema.rows import InferenceRow, Placement, SpanOutline, ToolCallRow

SECOND_NS = 1_000_000_000
EPOCH_NS = 1_780_000_000 * SECOND_NS
"""2026-05-28T20:26:40Z: when the first call of a workload happens."""

BLOCK_TOKENS = 64


class FlatPrices(PriceList):
    """A price list with one card a model, in US dollars per million tokens; a batch or flex call costs half.

    Args:
        usd_per_mtok: by model, rates by the names of the meters (``input``, ``cache_read``, ``cache_write_5m``,
            ``cache_write_1h``, ``output``).
    """

    def __init__(self, usd_per_mtok: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__(PublishedPrices())
        self.usd_per_mtok = usd_per_mtok

    def price(self, row: InferenceRow) -> Priced:
        """Price one call; unpriced where its model is not listed."""
        rates = self.usd_per_mtok.get(row.inference.model or "")
        if rates is None:
            return Priced(reason="no price list has it")
        if not row.inference.meters.is_known:
            return Priced(reason="no usage is known")
        halved = row.inference.batch or row.inference.service_tier == "flex"
        factor = Decimal("0.5") if halved else Decimal(1)
        card = RateCard(
            provider=row.inference.provider or "",
            model=row.inference.model or "",
            list_name="flat",
            list_version="1",
            as_of=None,
            tier="batch" if row.inference.batch else "standard",
            rates={name: Rate(Decimal(rate) * factor) for name, rate in rates.items()},
        )
        return price_by_card(row.inference.meters, card, row.inference.operation)


LARGE = {"input": "10", "cache_read": "1", "cache_write_5m": "12.5", "cache_write_1h": "20", "output": "50"}
SMALL = {"input": "1", "cache_read": "0.1", "cache_write_5m": "1.25", "cache_write_1h": "2", "output": "5"}
PRICES = FlatPrices({"large": LARGE, "small": SMALL})
"""Two models of one provider, one a tenth of the other's price, with the multiples of 0.1, 1.25 and 2 for caches."""


def chain(blocks: Iterable[int]) -> PrefixChain:
    """Return a prefix chain of named blocks; chains that begin with the same names share those blocks."""
    hashes = []
    state = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        for block in blocks:
            state = (state ^ np.uint64(block + 1)) * np.uint64(0xD6E8FEB86659FD93) + np.uint64(block)
            hashes.append(state)
    return PrefixChain(np.array(hashes, "<u8").tobytes(), BLOCK_TOKENS, "o200k_base", "test")


@dataclass
class Workload:
    """Runs of an agent under construction; times are seconds after `EPOCH_NS`."""

    prices: FlatPrices = PRICES
    runs: list[Run] = field(default_factory=list)
    rows: list[InferenceRow] = field(default_factory=list)
    tools: list[ToolCallRow] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    charges: list[PricedCharge] = field(default_factory=list)
    spans: dict[str, list[Span]] = field(default_factory=dict)

    def run(
        self,
        start_s: float = 0,
        end_s: float | None = None,
        *,
        agent: str = "agent",
        purpose: Purpose | None = None,
        success: bool | None = None,
        session: str | None = None,
        tags: Mapping[str, str] | None = None,
        weight: float | None = None,
        status: Status = Status.UNSET,
    ) -> Run:
        """Add a run with its root span and, where `success` says so, its outcome."""
        name = f"run-{len(self.runs)}"
        trace_id, span_id = derived_trace_id(name), derived_span_id(name, "root")
        start_ns = _ns(start_s)
        run = Run(
            run_id=run_id_of(trace_id, span_id),
            trace_id=trace_id,
            root_span_id=span_id,
            name=agent,
            agent_name=agent,
            session_id=session,
            purpose=purpose,
            start_ns=start_ns,
            end_ns=start_ns if end_s is None else _ns(end_s),
            status=status,
            weight=weight,
            tags=dict(tags or {}),
        )
        self.runs.append(run)
        root = Span(trace_id, span_id, agent, kind=SpanKind.AGENT, start_ns=start_ns, end_ns=run.end_ns)
        self.spans[run.run_id] = [root]
        if success is not None:
            self.outcomes.append(Outcome(trace_id, span_id, "success", float(success), source="test"))
        return run

    def call(
        self,
        run: Run,
        at_s: float = 0,
        seconds: float = 1,
        *,
        model: str = "large",
        provider: str = "acme",
        blocks: Iterable[int] | None = None,
        agent: str | None = None,
        status: Status = Status.UNSET,
        recorded_cost_usd: str | None = None,
        inference: Mapping[str, Any] | None = None,
        **tokens: int | None,
    ) -> Inference:
        """Add a model call to a run; `tokens` are its meters by name."""
        start_ns, end_ns = _ns(at_s), _ns(at_s + seconds)
        span_id = derived_span_id(run.run_id, "call", str(len(self.rows)))
        made = Inference(
            trace_id=run.trace_id,
            span_id=span_id,
            provider=provider,
            request_model=model,
            meters=Meters(**tokens),
            usage_source=UsageSource.PROVIDER if tokens else UsageSource.ABSENT,
            prefix=None if blocks is None else chain(blocks),
            recorded_cost_usd=None if recorded_cost_usd is None else Decimal(recorded_cost_usd),
            **(inference or {}),
        )
        self.rows.append(InferenceRow(made, self._place(run, start_ns, end_ns, agent, status)))
        self._grow(run, end_ns)
        self.spans[run.run_id].append(
            Span(run.trace_id, span_id, model, SpanKind.INFERENCE, run.root_span_id, start_ns=start_ns, end_ns=end_ns)
        )
        return made

    def tool(
        self,
        run: Run,
        at_s: float = 0,
        seconds: float = 1,
        *,
        name: str = "read",
        fingerprint: str | None = None,
        result_tokens: int | None = None,
        agent: str | None = None,
    ) -> ToolCall:
        """Add a tool call to a run."""
        start_ns, end_ns = _ns(at_s), _ns(at_s + seconds)
        span_id = derived_span_id(run.run_id, "tool", str(len(self.tools)))
        made = ToolCall(run.trace_id, span_id, name, argument_fingerprint=fingerprint, result_tokens=result_tokens)
        self.tools.append(ToolCallRow(made, self._place(run, start_ns, end_ns, agent, Status.UNSET)))
        self._grow(run, end_ns)
        self.spans[run.run_id].append(
            Span(run.trace_id, span_id, name, SpanKind.TOOL, run.root_span_id, start_ns=start_ns, end_ns=end_ns)
        )
        return made

    def _place(self, run: Run, start_ns: int, end_ns: int, agent: str | None, status: Status) -> Placement:
        return Placement(
            run_id=run.run_id,
            parent_id=run.root_span_id,
            start_ns=start_ns,
            end_ns=end_ns,
            status=status,
            agent_name=agent or run.agent_name,
            session_id=run.session_id,
            purpose=run.purpose,
            weight=run.weight,
            tags=run.tags,
        )

    def _grow(self, run: Run, end_ns: int) -> None:
        run.end_ns = max(run.end_ns or 0, end_ns)
        self.spans[run.run_id][0].end_ns = run.end_ns

    def dataset(self, rows: Sequence[InferenceRow] | None = None) -> Dataset:
        """Return what an audit of this workload reads."""
        calls = [costed(row, self.prices.price) for row in (self.rows if rows is None else rows)]
        return Dataset(
            runs=self.runs,
            calls=sorted(calls, key=lambda call: (call.start_ns, call.key)),
            tool_calls=self.tools,
            prices=self.prices,
            outcomes=self.outcomes,
            charges=self.charges,
            read_spans=lambda run_id: self.spans.get(run_id, []),
            read_outlines=lambda run_ids: {
                run_id: [
                    SpanOutline(span.span_id, span.parent_id, span.kind, span.start_ns, span.end_ns)
                    for span in self.spans.get(run_id, [])
                ]
                for run_id in run_ids
            },
        )


def _ns(seconds: float) -> int:
    return EPOCH_NS + round(seconds * SECOND_NS)
