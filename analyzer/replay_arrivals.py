"""The clocks of a replay: when sessions start, which gaps are kept, and what was assumed about either."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.replay_scenario import Arrivals
from inferometer.analyzer.workload import Workload
from inferometer.analyzer.workload_edges import EdgeList
from inferometer.schema.errors import UserError

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clocks:
    """A workload as it will arrive.

    ``session_start_s`` is float64, shape (n_sessions,), NaN for those that wait for one of ``concurrency`` places;
    ``stated`` says in the answer where each of the three clocks comes from.
    """

    workload: Workload
    session_start_s: Float
    concurrency: int
    stated: dict[str, Any]


def set_clocks(workload: Workload, arrivals: Arrivals, seed: int) -> Clocks:
    """Return when sessions start and how calls follow each other.

    Args:
        workload: as recorded.
        arrivals: what is asked for.
        seed: of drawn arrivals.

    Raises:
        UserError: recorded arrivals are asked for and there are none, or too few times are given.
    """
    if arrivals.open_loop:
        workload = _opened(workload)
    elif arrivals.idle_cap_s is not None:
        workload = _capped(workload, arrivals.idle_cap_s)
    starts, source, how = _starts(workload, arrivals, seed)
    if arrivals.scale != 1.0:
        starts = starts / arrivals.scale
    timed = int(np.count_nonzero(~np.isnan(starts)))
    queued = workload.sessions - timed
    concurrency = arrivals.concurrency if queued else 0
    calls = "open loop: every call at its recorded time" if arrivals.open_loop else "closed loop"
    human = "recorded" if arrivals.idle_cap_s is None else f"recorded, cut at {arrivals.idle_cap_s:g} s"
    if arrivals.open_loop:
        human = "none: calls do not wait"
    stated = {
        "sessions": source,
        "kind": how,
        "with_start_time": timed,
        "concurrency": concurrency or None,
        "rate_per_s": arrivals.rate_per_s if how == "poisson" else None,
        "scale": arrivals.scale,
        "human_gaps": human,
        "calls": calls,
        "compressed_time": arrivals.compresses_time,
        "note": _note(source, concurrency, queued, workload.sessions),
    }
    return Clocks(workload, starts, concurrency, stated)


def _note(source: str, concurrency: int, queued: int, sessions: int) -> str:
    if concurrency:
        return (
            f"{queued} of {sessions} sessions have no absolute start: they are assumed to start {concurrency} at a "
            "time (concurrency), the next when one ends"
        )
    return "session starts are as recorded" if source == "recorded" else "session starts are assumed"


def _starts(workload: Workload, arrivals: Arrivals, seed: int) -> tuple[Float, str, str]:
    recorded = workload.session_start_s
    known = ~np.isnan(recorded)
    count = workload.sessions
    if arrivals.kind == "poisson":
        if not arrivals.rate_per_s or arrivals.rate_per_s <= 0:
            raise UserError("poisson arrivals need a rate of sessions per second above 0, as in poisson:0.5")
        gaps = np.random.default_rng(seed).exponential(1.0 / arrivals.rate_per_s, count)
        return np.cumsum(gaps), "assumed", "poisson"
    if arrivals.kind == "times":
        if len(arrivals.times_s) < count:
            raise UserError(f"{len(arrivals.times_s)} arrival times are given for {count} sessions")
        times = np.sort(np.array(arrivals.times_s[:count], np.float64))
        if not (np.isfinite(times) & (times >= 0)).all():
            raise UserError("arrival times are seconds of 0 or more from the begin")
        return times, "assumed", "times"
    if arrivals.kind == "concurrency":
        return np.full(count, np.nan), "assumed", "concurrency"
    if arrivals.kind == "recorded" and not known.all():
        raise UserError(
            f"{int((~known).sum())} of {count} sessions have no absolute start time: say how they arrive with "
            "--concurrency N or --arrivals poisson:RATE"
        )
    if known.all():
        return recorded, "recorded", "recorded"
    return recorded, "recorded and assumed" if known.any() else "assumed", "concurrency"


def _opened(workload: Workload) -> Workload:
    """Return the workload without dependencies: each call starts so long after its session as it was recorded."""
    return replace(
        workload,
        edges=EdgeList.none(workload.calls),
        release_s=np.maximum(np.nan_to_num(workload.start_s, nan=0.0), 0.0),
    )


def _capped(workload: Workload, cap_s: float) -> Workload:
    edges = workload.edges
    gaps = np.where(edges.is_human, np.minimum(edges.gap_s, cap_s), edges.gap_s)
    return replace(workload, edges=replace(edges, gap_s=gaps))
