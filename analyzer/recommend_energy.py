"""Less electricity for the same calls: the replay that takes least, by what the user pays for a kilowatt-hour."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from inferometer.analyzer.costed_call import ZERO
from inferometer.analyzer.ledger import Electricity
from inferometer.analyzer.recommend import MINIMUM_SHARE, Money, Recommendation
from inferometer.analyzer.recommend_serving import Comparison, effort_of, latency_effect, title_of
from inferometer.analyzer.replay import ReplayResult
from inferometer.analyzer.replay_cost import Energy

ENERGY = "electricity is a part of what hardware by the hour costs"


def energy_advice(comparison: Comparison, replayed: Mapping[str, ReplayResult]) -> list[Recommendation]:
    """Return the replay that takes least electricity, where that is less than the baseline's at every end of its range.

    Nothing is advised where the ledger states no price of electricity: who rents by the hour does not pay for it.

    Args:
        comparison: the baseline and the ledger.
        replayed: replays of the same calls by what was changed: a machine, a precision, a lever.
    """
    stated, before = comparison.ledger.electricity, comparison.baseline.energy
    if stated is None or before is None:
        return []
    allowed = sum(comparison.baseline.as_dict()["refused"].values())
    best: tuple[float, str] | None = None
    for name, result in replayed.items():
        known = result.energy is not None and _saved(before, result.energy) is not None
        if known and result.energy and sum(result.as_dict()["refused"].values()) <= allowed:
            best = min(best or (before.kwh, ""), (result.energy.kwh, name))
    if best is None or not best[1]:
        return []
    after = replayed[best[1]]
    assert after.energy is not None
    saved = _saved(before, after.energy)
    share = (before.kwh - after.energy.kwh) / before.kwh
    if saved is None or share < MINIMUM_SHARE:
        return []
    usd = Money(*(kwh * comparison.scale * stated.usd_per_kwh for kwh in saved))
    one, other = comparison.baseline.as_dict(), after.as_dict()
    return [
        Recommendation(
            id="less_electricity",
            title=f"Take {share:.0%} less electricity",
            action=f"Serve these calls on {title_of(after)}{_with(best[1])}.",
            method=f"The same calls replayed on {title_of(comparison.baseline)} and with the change; power of working "
            "and idle boards, with the facility's share, at the ledger's price for a kilowatt-hour. Low and high: the "
            "lowest and highest power measured on such boards.",
            saving_usd=usd,
            saving_share=share,
            period_days=comparison.dataset.days,
            cash_usd=usd,
            freed_capacity_usd=Money(ZERO, ZERO, ZERO),
            latency_effect=latency_effect(one, other),
            effort=effort_of(comparison.baseline, after),
            payback_days=None,
            one_off_usd=ZERO,
            preconditions=[
                f"electricity is paid for apart from the machines, at ${stated.usd_per_kwh} a kilowatt-hour (ledger)",
                "machines that are not in use are idle, not switched off",
                f"step times are {other['confidence']}: {other['confidence_reason']}",
            ],
            evidence=[],
            exclusive_with=(),
            confidence=f"replay, {other['confidence']}",
            calls=other["calls"],
            basis="own_hardware",
            details={
                "change": best[1],
                "scenario": other["scenario"],
                **_details(comparison, before, after.energy, _grid(stated, after)),
            },
        )
    ]


def _saved(before: Energy, after: Energy) -> tuple[Decimal, Decimal, Decimal] | None:
    """Return the kilowatt-hours saved, low to high; None where at some end of the range nothing is."""
    pairs = ((before.kwh_low, after.kwh_low), (before.kwh, after.kwh), (before.kwh_high, after.kwh_high))
    low, mid, high = sorted(Decimal(repr(old - new)) for old, new in pairs)
    return (low, mid, high) if low > 0 else None


def _grid(stated: Electricity, result: ReplayResult) -> float:
    stated_grid = stated.gco2e_per_kwh
    return result.scenario.payment.grid_gco2e_per_kwh if stated_grid is None else float(stated_grid)


def _with(change: str) -> str:
    return "" if change.startswith("hardware-") else f", with {change.replace('_', ' ')}"


def _details(comparison: Comparison, before: Energy, after: Energy, grid: float) -> dict[str, Any]:
    scale = float(comparison.scale)
    kwh = {"before": before.kwh * scale, "after": after.kwh * scale, "saved": (before.kwh - after.kwh) * scale}
    return {"kwh": kwh, "gco2e": {name: value * grid for name, value in kwh.items()}, "gco2e_per_kwh": grid}
