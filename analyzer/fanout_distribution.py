"""Weighted quantiles: the D of every document, ``{p50, p90, p99, mean, max}``."""

from __future__ import annotations

from collections.abc import Sequence

Distribution = dict[str, float | None]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
UNKNOWN: Distribution = {"p50": None, "p90": None, "p99": None, "mean": None, "max": None}


def distribution(values: Sequence[float], weights: Sequence[float] | None = None) -> Distribution:
    """Return quantiles by nearest rank, so that every one is a value that was observed.

    Args:
        values: observations in any unit.
        weights: how many observations each stands for; 1 each where None.

    Returns:
        p50, p90, p99, mean and max in the values' unit; all None where there is no observation.
    """
    if not values:
        return dict(UNKNOWN)
    pairs = sorted(zip(values, weights or [1.0] * len(values), strict=True))
    total = sum(weight for _, weight in pairs)
    result: Distribution = {}
    seen = 0.0
    position = 0
    for name, share in QUANTILES.items():
        # the tolerance keeps a rank that is whole, such as 0.9 of 10, from slipping to the next value
        while position < len(pairs) - 1 and seen + pairs[position][1] < share * total * (1 - 1e-12):
            seen += pairs[position][1]
            position += 1
        result[name] = pairs[position][0]
    result["mean"] = sum(value * weight for value, weight in pairs) / total
    result["max"] = pairs[-1][0]
    return result
