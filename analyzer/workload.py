"""The recorded calls as flat arrays: what each asks, what it waited for, which prefix it shares. Replay takes these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.workload_edges import EdgeList, connect
from inferometer.analyzer.workload_prefix import NO_PREFIXES, PrefixForest, build_forest
from inferometer.analyzer.workload_text import TextCounts, count_texts
from inferometer.schema.errors import UserError
from inferometer.schema.records import Inference, Purpose, UsageSource
from inferometer.schema.rows import InferenceRow, Placement
from inferometer.schema.selection import Selection
from inferometer.store import Store

__all__ = ["PrefixForest", "Recorded", "Workload", "build_workload", "load_workload"]

RELATIVE_BEFORE_NS = 946_684_800 * 1_000_000_000
"""Starts before the year 2000 do not count from 1970: they count from the begin of their source where it holds several
sessions, as a trace of requests does, else from the begin of their session."""

MOST_TOKENS = 2**30 - 1
"""Longest prompt or output that is taken for one, far past any window: two of them still add up in an int32."""

_PRIORITIES = {Purpose.SERVE: 0, Purpose.DEVELOP: 1, Purpose.EVALUATE: 2, Purpose.TRAIN: 2}

Float = NDArray[np.float64]
Int = NDArray[np.int32]
Price = Callable[[InferenceRow], Decimal | None]
CountTexts = Callable[[Sequence[Inference], Counter[str]], TextCounts | None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the workload took where it was recorded: float64 seconds, shape (n_calls,), NaN unknown."""

    ttft_s: Float
    e2e_s: Float
    cost_usd: Decimal | None = None
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """Calls in order of session and start. Arrays of calls have shape (n_calls,), of sessions (n_sessions,).

    Args:
        input_tokens: int32, prompt tokens, cached or not.
        output_tokens: int32, reasoning included.
        priority: uint8, lower goes first; by the run's purpose.
        release_s: float64, a call starts no earlier than so long after its session; 0 where it waits for another.
        session_first: int64, shape (n_sessions + 1,); calls of session s are session_first[s] to session_first[s + 1].
        session_start_s: float64 since the earliest known start, NaN where the record has no absolute time.
        edges: what waits for what.
        prefixes: the tree of shared prompt prefixes.
        run: int32, number of the call's run.
        weight: float64, how many recorded or dropped calls each stands for, NaN unknown; None where made up.
        model: int32, which of `models` answered the call; None where the workload was made up.
        start_s: float64, recorded start since the session's, NaN unknown.
        keys: (trace id, span id) of each call, empty where the workload was made up.
        texts: tokens of the calls' texts as the model to be replayed on counts them; None where nothing was counted.
        warnings: what was left out or repaired, by kind; ``sampled`` calls stand for more than were recorded, which a
            replay does not make up.
    """

    input_tokens: Int
    output_tokens: Int
    priority: NDArray[np.uint8]
    release_s: Float
    session_first: NDArray[np.int64]
    session_start_s: Float
    edges: EdgeList
    prefixes: PrefixForest
    run: Int
    start_s: Float
    recorded: Recorded
    weight: Float | None = None
    model: Int | None = None
    models: tuple[str | None, ...] = ()
    run_ids: tuple[str, ...] = ()
    keys: tuple[tuple[bytes, bytes], ...] = ()
    texts: TextCounts | None = None
    warnings: Counter[str] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        """Number of calls."""
        return len(self.input_tokens)

    @property
    def runs(self) -> int:
        """Number of runs."""
        return int(self.run.max()) + 1 if len(self.run) else 0

    @property
    def sessions(self) -> int:
        """Number of sessions."""
        return len(self.session_start_s)

    @property
    def has_start_times(self) -> bool:
        """Whether every session's start is recorded."""
        return bool(len(self.session_start_s)) and not bool(np.isnan(self.session_start_s).any())

    def texts_of(self, calls: Sequence[Inference], warnings: Counter[str]) -> TextCounts | None:
        """Return what was counted of some of these calls; `build_workload` takes it to count a part of them."""
        if self.texts is None:
            return None
        place = {key: number for number, key in enumerate(self.keys)}
        return self.texts.of(np.array([place[call.trace_id, call.span_id] for call in calls], np.int64))


def load_workload(
    store: Store,
    selection: Selection | None = None,
    price: Price | None = None,
    *,
    replayed_model: str | None = None,
) -> Workload:
    """Return the selected billable calls of a store as a workload.

    Args:
        store: where the calls are.
        selection: which of them; all where None.
        price: gives a call's cost in USD as recorded, None where unknown; no cost is recorded without it.
        replayed_model: with its vocabulary calls are counted again where their text was kept; none where None.

    Raises:
        UserError: no selected call states its lengths.
    """
    count: CountTexts | None = None
    if replayed_model is not None:
        count = partial(count_texts, store, replayed_model)
    return build_workload(store.inferences(selection, with_prefix=True), price, count)


def build_workload(
    rows: Iterable[InferenceRow], price: Price | None = None, count: CountTexts | None = None
) -> Workload:
    """Return a workload of inferences with their placement.

    Args:
        rows: the calls, in any order.
        price: gives a call's cost in USD as recorded, None where unknown.
        count: counts what was said in calls as the model that they are to be replayed on does.

    Raises:
        UserError: no call states its lengths.
    """
    warnings: Counter[str] = Counter()
    everything = list(rows)
    kept = [row for row in everything if _is_usable(row, warnings)]
    if not everything:
        raise UserError(
            "nothing to replay: no call is selected; import traces with usage, or widen --since, --until and --where"
        )
    if not kept:
        raise UserError(
            f"nothing to replay: of {len(everything)} calls none states its input and output tokens; import traces "
            "with usage, or widen --since, --until and --where"
        )
    kept, session_first = _by_session(kept)
    firsts = [kept[first].placement for first in session_first[:-1]]
    starts_ns = [first.start_ns for first in firsts]
    session_of = np.repeat(np.arange(len(starts_ns)), np.diff(session_first))
    edges, release_s = connect(kept, everything, session_first, warnings)
    models: dict[str | None, int] = {}
    runs: dict[str, int] = {}
    for row in kept:
        runs.setdefault(_run_of(row), len(runs))
        models.setdefault(row.inference.model, len(models))
    return Workload(
        input_tokens=np.array([row.inference.meters.input_total for row in kept], np.int32),
        output_tokens=np.array([row.inference.meters.output for row in kept], np.int32),
        priority=np.array([_PRIORITIES.get(row.placement.purpose or Purpose.SERVE, 0) for row in kept], np.uint8),
        release_s=release_s,
        session_first=np.array(session_first, np.int64),
        session_start_s=_session_starts(firsts),
        edges=edges,
        prefixes=build_forest(
            [row.inference.prefix for row in kept], [row.inference.meters.input_total or 0 for row in kept], warnings
        ),
        run=np.array([runs[_run_of(row)] for row in kept], np.int32),
        start_s=np.array(
            [
                _seconds(row.placement.start_ns, starts_ns[session])
                for row, session in zip(kept, session_of, strict=True)
            ],
            np.float64,
        ),
        recorded=_recorded(kept, price),
        weight=np.array([row.placement.weight or np.nan for row in kept], np.float64),
        model=np.array([models[row.inference.model] for row in kept], np.int32),
        models=tuple(models),
        run_ids=tuple(runs),
        keys=tuple((row.inference.trace_id, row.inference.span_id) for row in kept),
        texts=None if count is None else count([row.inference for row in kept], warnings),
        warnings=warnings,
    )


def made_up_workload(
    arrival_s: Any, input_tokens: Any, output_tokens: Any, prefixes: PrefixForest | None = None
) -> Workload:
    """Return a workload of independent calls, each a session of its own: a request trace, or a benchmark's.

    Args:
        arrival_s: seconds, shape (n_calls,); NaN where the call has no time.
        input_tokens: tokens, shape (n_calls,).
        output_tokens: tokens, shape (n_calls,).
        prefixes: their prefix tree; none where None.
    """
    inputs = np.ascontiguousarray(input_tokens, np.int32)
    calls = len(inputs)
    unknown = np.full(calls, np.nan)
    return Workload(
        input_tokens=inputs,
        output_tokens=np.ascontiguousarray(output_tokens, np.int32),
        priority=np.zeros(calls, np.uint8),
        release_s=np.zeros(calls),
        session_first=np.arange(calls + 1, dtype=np.int64),
        session_start_s=np.ascontiguousarray(arrival_s, np.float64),
        edges=EdgeList.none(calls),
        prefixes=prefixes or replace(NO_PREFIXES, leaf=np.full(calls, -1, np.int32)),
        run=np.arange(calls, dtype=np.int32),
        start_s=np.zeros(calls),
        recorded=Recorded(unknown, unknown),
    )


def _is_usable(row: InferenceRow, warnings: Counter[str]) -> bool:
    meters = row.inference.meters
    if meters.input_total is None or meters.output is None:
        warnings["without_lengths"] += 1
        return False
    if not 0 <= min(meters.input_total, meters.output) <= max(meters.input_total, meters.output) <= MOST_TOKENS:
        warnings["impossible_lengths"] += 1
        return False
    if meters.output == 0:
        warnings["zero_output"] += 1
    if row.inference.usage_source is UsageSource.ESTIMATED:
        warnings["estimated_lengths"] += 1
    if row.placement.weight is not None and row.placement.weight > 1:
        warnings["sampled"] += 1
    return True


def _run_of(row: InferenceRow) -> str:
    return row.placement.run_id or f"{row.inference.trace_id.hex()}/{row.inference.span_id.hex()}"


def _session_starts(firsts: list[Placement]) -> Float:
    """Return when sessions started, from the placement of their first calls."""
    absolute = [first.start_ns for first in firsts if _is_absolute(first.start_ns)]
    origin_ns = min((start_ns for start_ns in absolute if start_ns is not None), default=0)
    of_source = Counter(first.source for first in firsts if not _is_absolute(first.start_ns))
    starts = np.full(len(firsts), np.nan)
    for place, first in enumerate(firsts):
        if first.start_ns is None:
            continue
        if _is_absolute(first.start_ns):
            starts[place] = (first.start_ns - origin_ns) * 1e-9
        elif first.source is not None and of_source[first.source] > 1:
            starts[place] = first.start_ns * 1e-9
    return starts


def _is_absolute(start_ns: int | None) -> bool:
    return start_ns is not None and start_ns >= RELATIVE_BEFORE_NS


def _seconds(later_ns: int | None, earlier_ns: int | None) -> float:
    return float("nan") if later_ns is None or earlier_ns is None else (later_ns - earlier_ns) * 1e-9


def _by_session(rows: list[InferenceRow]) -> tuple[list[InferenceRow], list[int]]:
    """Sort calls by session and start, sessions by their first start; calls without a time keep their place."""
    sessions: dict[tuple[str, str], list[InferenceRow]] = {}
    for row in rows:
        source = row.placement.service or ""
        key = (source, row.placement.session_id) if row.placement.session_id else ("", _run_of(row))
        sessions.setdefault(key, []).append(row)
    for calls in sessions.values():
        calls.sort(key=lambda row: (row.placement.start_ns is None, row.placement.start_ns or 0))
    ordered = sorted(
        sessions.values(), key=lambda calls: (calls[0].placement.start_ns is None, calls[0].placement.start_ns or 0)
    )
    first = [0]
    for calls in ordered:
        first.append(first[-1] + len(calls))
    return [row for calls in ordered for row in calls], first


def _recorded(rows: list[InferenceRow], price: Price | None) -> Recorded:
    nanoseconds = [row.inference.ttft_ns for row in rows]
    ttft_s = np.array([np.nan if value is None else value * 1e-9 for value in nanoseconds], np.float64)
    took = [row.placement.duration_ns for row in rows]
    e2e_s = np.array([np.nan if value is None or value <= 0 else value * 1e-9 for value in took], np.float64)
    if price is None:
        return Recorded(ttft_s, e2e_s)
    costs = [price(row) for row in rows]
    known = [cost for cost in costs if cost is not None]
    return Recorded(ttft_s, e2e_s, sum(known, Decimal(0)) if known else None, len(costs) - len(known))
