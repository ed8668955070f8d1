"""Recommendations put to the test: made from the first half of the sessions, scored on the second."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_repricing import saving_usd
from inferometer.analyzer.costed_call import CostedCall
from inferometer.analyzer.recommend import assess, proposals
from inferometer.analyzer.waste import Examined

Z80 = 1.2816
"""Eighty per cent of a normal distribution lie within so many standard deviations."""


@dataclass(slots=True, frozen=True)
class Backtest:
    """One recommendation: shares of the bill that the first half promises, and that the second half yields.

    The promise is about other sessions than those it was made from. Its interval is that of the recount, for what the
    traces leave open, widened by how far the shares of as many other sessions lie from these in 80 % of cases.
    """

    id: str
    promised_low: float
    promised_mid: float
    promised_high: float
    realised: float

    @property
    def holds(self) -> bool:
        """Whether what was realised lies in the promised interval."""
        return self.promised_low <= self.realised <= self.promised_high


def session_halves(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Split a dataset into the sessions that began first and those that began later."""
    begins: dict[str, int] = {}
    for call in dataset.calls:
        session = call.placement.session_id or call.placement.run_id or ""
        begins.setdefault(session, call.start_ns)
    order = sorted(begins, key=lambda session: (begins[session], session))
    early = frozenset(order[: len(order) // 2])

    def half(first: bool) -> Dataset:
        def inside(session: str | None, run: str | None) -> bool:
            return ((session or run or "") in early) is first

        calls = [call for call in dataset.calls if inside(call.placement.session_id, call.placement.run_id)]
        kept = {call.placement.run_id for call in calls}
        return Dataset(
            runs=[run for run in dataset.runs if run.run_id in kept],
            calls=calls,
            tool_calls=[tool for tool in dataset.tool_calls if tool.placement.run_id in kept],
            prices=dataset.prices,
            selection=dataset.selection,
            outcomes=[one for one in dataset.outcomes if dataset.run_of_span.get((one.trace_id, one.span_id)) in kept],
            read_spans=dataset.read_spans,
            read_outlines=dataset.read_outlines,
        )

    return half(True), half(False)


def backtest(examined: Examined) -> list[Backtest]:
    """Score the first half's recommendations on the second half's calls, the most promising first."""
    first, second = (replace(examined, dataset=part) for part in session_halves(examined.dataset))
    later = {proposal.id: proposal for proposal in proposals(second)}
    found = []
    for proposal in proposals(first):
        promised = assess(proposal, first)
        if promised is None or not second.dataset.cost_usd:
            continue
        applied = later.get(proposal.id)
        calls = second.dataset.calls
        realised = saving_usd(calls, applied.apply(calls)) if applied else Decimal(0)
        bill = first.dataset.cost_usd
        saving = promised.saving_usd
        before = first.dataset.calls
        spread = Z80 * later_spread(before, proposal.apply(before))
        found.append(
            Backtest(
                proposal.id,
                max(0.0, float(saving.low / bill) - spread),
                float(saving.mid / bill),
                min(1.0, float(saving.high / bill) + spread),
                float(realised / second.dataset.cost_usd),
            )
        )
    return sorted(found, key=lambda one: -one.promised_mid)


def later_spread(before: Sequence[CostedCall], after: Sequence[CostedCall]) -> float:
    """Return the standard deviation of the saved share between these sessions and as many others like them.

    Formula: the variance of a ratio of sums, ``n / (n - 1) x sum((saved - share x bill)^2) / sum(bill)^2`` over
    sessions, twice, since the others vary as these do. Source: Cochran, "Sampling Techniques", 1977, chapter 6.
    """
    saved: dict[str, float] = defaultdict(float)
    bill: dict[str, float] = defaultdict(float)
    for old, new in zip(before, after, strict=True):
        session = old.placement.session_id or old.placement.run_id or ""
        bill[session] += float(old.weighted_cost_usd)
        saved[session] += float(old.weighted_cost_usd - new.weighted_cost_usd)
    total, count = sum(bill.values()), len(bill)
    if count < 2 or not total:
        return 1.0
    share = sum(saved.values()) / total
    squares = sum((saved[session] - share * bill[session]) ** 2 for session in bill)
    return math.sqrt(2 * count / (count - 1) * squares) / total
