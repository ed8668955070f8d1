"""Which of two held-out configurations is cheaper per output token under a limit on TPOT."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np
from fitting import Data
from ground_truth import LOOP
from holdout import Study
from page import Page

from inferometer.profiles.hardware import load_hardware

APART = 1.15
SLO_TPOT_MS = (10.0, 15.0, 20.0, 30.0, 50.0)


def add_ranking(page: Page, data: Data, study: Study) -> None:
    """Compare which of two held-out configurations is cheaper per output token under a TPOT limit."""
    right = total = missed = 0
    by_limit: dict[float, list[int]] = {limit: [0, 0, 0] for limit in SLO_TPOT_MS}
    for limit in SLO_TPOT_MS:
        for options in _offers(data, study, limit).values():
            for a, b in combinations(options, 2):
                if max(a[0], b[0]) < APART * min(a[0], b[0]):
                    continue
                agrees = (a[0] < b[0]) == (a[1] < b[1])
                misses = not agrees and max(a[1], b[1]) == float("inf")
                by_limit[limit][0] += agrees
                by_limit[limit][1] += 1
                by_limit[limit][2] += misses
                right, total, missed = right + agrees, total + 1, missed + misses
    page.add(
        "",
        "## Which is cheaper",
        "",
        "Two held-out configurations of one model and one pair of lengths, each at its cheapest load whose TPOT keeps",
        "a limit; cost is chip-hours at the median on-demand price, or the owned one where there is none, per output",
        f"token. Pairs whose measured costs are at least {APART - 1:.0%} apart. A configuration that is predicted to",
        "miss a limit which it keeps counts as dearer than any other; the last column is what was wrong for that.",
    )
    page.table("TPOT limit", "pairs", "right", "wrong for a missed limit")
    for limit, (good, pairs, lost) in by_limit.items():
        if pairs:
            page.row(f"{limit:g} ms", str(pairs), f"{good / pairs:.1%}", f"{lost / pairs:.1%}")
    if total:
        page.row("all", str(total), f"**{right / total:.1%}**", f"{missed / total:.1%}")


def _offers(data: Data, study: Study, limit_ms: float) -> dict[tuple[object, ...], list[tuple[float, float]]]:
    """Return (measured, predicted) cost of each configuration's cheapest load under a limit, by model and lengths."""
    held = study.configurations
    measured: dict[str, list[float]] = defaultdict(list)
    said: dict[str, list[float]] = defaultdict(list)
    group: dict[str, tuple[object, ...]] = {}
    for row, each in enumerate(data.observations):
        if each.kind != LOOP or not np.isfinite(held.tpot[row]):
            continue
        point, name = each.point, f"{each.configuration} {each.version}"
        price = _price(point.hardware) * point.parallelism.chips
        group[name] = (point.model, point.input_tokens, point.output_tokens)
        for times, ttft, tpot in ((measured, each.ttft_s, each.tpot_s), (said, held.ttft[row], held.tpot[row])):
            if tpot * 1e3 <= limit_ms:
                rate = point.users * point.output_tokens / (ttft + (point.output_tokens - 1) * tpot)
                times[name].append(price / rate)
    offers: dict[tuple[object, ...], list[tuple[float, float]]] = defaultdict(list)
    for name in measured:
        # a configuration that wrongly looks unable to keep the limit counts as infinitely dear
        offers[group[name]].append((min(measured[name]), min(said[name], default=float("inf"))))
    return offers


def _price(hardware: str) -> float:
    found = load_hardware(hardware)
    prices = found.price_range() or found.price_range("owned") or found.price_range("rental_3_years")
    return float(prices[1]) if prices else 1.0
