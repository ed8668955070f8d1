"""A workload with fewer or more steps per run: what a model that works otherwise might have asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.workload import Recorded, Workload
from inferometer.analyzer.workload_edges import EdgeList

Index = NDArray[np.int64]


def halve_steps(workload: Workload) -> Workload:
    """Return the workload with the first half of each run's calls; what waited for the others waits for these."""
    order = _place_in_run(workload)
    sizes = np.bincount(workload.run, minlength=workload.runs)
    kept = order < (sizes[workload.run] + 1) // 2
    stands_in = _last_kept_of_run(workload, kept)
    edges = workload.edges
    within = kept[edges.to]
    source = stands_in[edges.sources[within]]
    number = np.cumsum(kept) - 1
    joined = np.stack((number[source], number[edges.to[within]]))
    _, first = np.unique(joined, axis=1, return_index=True)
    return _taken(workload, np.flatnonzero(kept)).with_edges(
        joined[:, first], edges.gap_s[within][first], edges.is_human[within][first]
    )


def double_steps(workload: Workload) -> Workload:
    """Return the workload with every call made twice in a row, with the same prompt; the second follows at once."""
    calls = np.repeat(np.arange(workload.calls), 2)
    edges = workload.edges
    sources = np.concatenate((2 * np.arange(workload.calls), 2 * edges.sources + 1))
    targets = np.concatenate((2 * np.arange(workload.calls) + 1, 2 * edges.to))
    return _taken(workload, calls).with_edges(
        np.stack((sources, targets)),
        np.concatenate((np.zeros(workload.calls), edges.gap_s)),
        np.concatenate((np.zeros(workload.calls, np.bool_), edges.is_human)),
    )


def _place_in_run(workload: Workload) -> Index:
    order = np.argsort(workload.run, kind="stable")
    sizes = np.bincount(workload.run, minlength=workload.runs)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    place = np.empty(workload.calls, np.int64)
    place[order] = np.arange(workload.calls) - np.repeat(starts, sizes)
    return place


def _last_kept_of_run(workload: Workload, kept: NDArray[np.bool_]) -> Index:
    """Return each call itself where it is kept, else the last call of its run that is."""
    last = np.zeros(workload.runs, np.int64)
    np.maximum.at(last, workload.run[kept], np.flatnonzero(kept))
    return np.where(kept, np.arange(workload.calls), last[workload.run])


class _Taken:
    """A workload's calls picked by number, its edges still to be given."""

    def __init__(self, workload: Workload, calls: Index) -> None:
        self._workload = workload
        self._calls = calls

    def with_edges(self, pairs: Index, gap_s: NDArray[np.float64], is_human: NDArray[np.bool_]) -> Workload:
        workload, calls = self._workload, self._calls
        sessions = np.repeat(np.arange(workload.sessions), np.diff(workload.session_first))[calls]
        first = np.searchsorted(sessions, np.arange(workload.sessions + 1))
        blocks = workload.prefixes.chain_blocks()[calls]
        return replace(
            workload,
            input_tokens=workload.input_tokens[calls],
            output_tokens=workload.output_tokens[calls],
            priority=workload.priority[calls],
            release_s=workload.release_s[calls],
            session_first=first.astype(np.int64),
            edges=EdgeList.of(len(calls), pairs[0].tolist(), pairs[1].tolist(), gap_s.tolist(), is_human.tolist()),
            prefixes=replace(workload.prefixes, leaf=workload.prefixes.leaf[calls], total_blocks=int(blocks.sum())),
            run=workload.run[calls],
            start_s=workload.start_s[calls],
            weight=None if workload.weight is None else workload.weight[calls],
            model=None if workload.model is None else workload.model[calls],
            texts=None if workload.texts is None else workload.texts.of(calls),
            recorded=Recorded(workload.recorded.ttft_s[calls], workload.recorded.e2e_s[calls]),
            keys=tuple(workload.keys[call] for call in calls) if workload.keys else (),
        )


def _taken(workload: Workload, calls: Index) -> _Taken:
    return _Taken(workload, calls)
