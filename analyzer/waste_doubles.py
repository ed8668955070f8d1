"""Waste that may be none: calls that two instrumentations told in two traces, and that both count."""

from __future__ import annotations

from collections import defaultdict

from inferometer.analyzer.costed_call import CostedCall
from inferometer.analyzer.doubles import may_be_double, reach_ns_of
from inferometer.analyzer.waste import Examined, Finding, evidence_of, finding
from inferometer.ingest.duplicates import NEIGHBOURS


def possible_doubles(examined: Examined) -> list[Finding]:
    """Find calls that may be told twice; of each pair the shorter view is evidence, each call in one pair at most."""
    calls = [call for call in examined.dataset.calls if reach_ns_of(call.placement) is not None]
    if len({call.placement.dialect for call in calls}) < 2:
        return []
    alike: dict[int | None, list[CostedCall]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: (call.start_ns, call.key)):
        alike[call.meters.output].append(call)
    doubles = [double for group in alike.values() for double in _doubles_among(group)]
    return finding(
        "possible_doubles",
        "Calls that may be counted twice",
        "Calls of another trace and instrumentation at the time of a call of the same service, model and tokens; "
        "they count, for nothing says that they are one.",
        [
            evidence_of(inner, f"may be the call of trace {outer.key[0].hex()}", inner.meters.total, inner.cost_usd)
            for outer, inner in doubles
        ],
        sum(inner.weight for _, inner in doubles),
        sum((inner.meters.total or 0) * inner.weight for _, inner in doubles),
    )


def _doubles_among(calls: list[CostedCall]) -> list[tuple[CostedCall, CostedCall]]:
    """Return pairs of calls in order of their start, the longer first."""
    found = []
    taken: set[int] = set()
    for place, one in enumerate(calls):
        last_ns = one.start_ns + (reach_ns_of(one.placement) or 0)
        for later in range(place + 1, min(len(calls), place + 1 + NEIGHBOURS)):
            other = calls[later]
            if other.start_ns > last_ns:
                break
            if not taken & {place, later} and may_be_double(one, other):
                taken |= {place, later}
                pair = sorted((one, other), key=lambda call: call.start_ns - call.end_ns)
                found.append((pair[0], pair[1]))
    return found
