"""Industry claims beside the user's own figure, each on its own unit, or the words "not comparable" and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from inferometer.analyzer.ledger import DAYS_PER_MONTH, Ledger

Row = dict[str, Any]

UTILISATION = ("DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_ACTIVE")


class Claim(Protocol):
    """A sentence that circulates, as a dated profile holds it."""

    @property
    def id(self) -> str:
        """Return its name."""

    @property
    def claim(self) -> str:
        """Return its words."""

    @property
    def claimed(self) -> str:
        """Return the figure it names."""

    @property
    def status(self) -> str:
        """Return how far it holds."""

    @property
    def source(self) -> str:
        """Return the best source for or against it."""

    @property
    def unit(self) -> str:
        """Return what its figure counts."""

    @property
    def scope(self) -> str:
        """Return for whom it can hold."""


@dataclass(slots=True, frozen=True)
class Measured:
    """The user's own figure for a claim, or why there is none."""

    value: Any
    note: str
    comparable: bool = True


def _missing(note: str) -> Measured:
    return Measured(None, f"not comparable: {note}", comparable=False)


@dataclass(slots=True)
class OwnFigures:
    """What the user's figures are taken from: finished parts of the audit and the ledger."""

    fanout: dict[str, Any]
    ratio: dict[str, Any]
    ledger: Ledger
    scenarios: list[dict[str, Any]]
    roofline: dict[str, Any] | None
    utilisation: float | None
    bytes_per_token: dict[str, float]


def _infra_share(own: OwnFigures) -> Measured:
    return _missing("the claim is about all rented AI infrastructure; a single user's bill is not on that unit")


def _enterprise_share(own: OwnFigures) -> Measured:
    ledger = own.ledger
    stated = [entry for entry in (ledger.development, ledger.platform, ledger.other_ai) if entry is not None]
    if not stated:
        return _missing("the ledger names no [development], [platform] or [other_ai] spending")
    rate = own.ratio["billed_usd"]["inference_per_day"]
    if rate is None:
        return _missing(own.ratio["billed_usd"]["reason"])
    inference = float(rate["mid"]) * float(DAYS_PER_MONTH)
    training = 0.0
    if ledger.training and own.ratio["billed_usd"]["training"] is not None:
        months = float(ledger.training.lifetime_days / DAYS_PER_MONTH)
        training = float(own.ratio["billed_usd"]["training"]) / months
    total = inference + training + sum(float(entry.usd_per_month) for entry in stated)
    return Measured(
        inference / total, "inference over inference, training written off and what the ledger states, a month"
    )


def _lifetime_share(own: OwnFigures) -> Measured:
    share = own.ratio["billed_usd"]["inference_share"]
    if share is None:
        return _missing(own.ratio["billed_usd"]["reason"] or "no training stated")
    return Measured(share, f"inference over inference and training, {own.ratio['horizon_days']} days, dollars billed")


def _calls_per_request(own: OwnFigures) -> Measured:
    found = own.fanout["inferences_per_run"]
    if found["p50"] is None:
        return _missing("no run was traced")
    return Measured(
        {name: found[name] for name in ("p50", "p90", "p99", "mean")},
        "model calls per run: median and tail, not the mean alone",
    )


def _utilisation(own: OwnFigures) -> Measured:
    if own.utilisation is None:
        return _missing("no utilisation was measured (DCGM samples); a replay's is simulated and is not set beside it")
    return Measured(own.utilisation, "mean of measured SM activity")


def _bytes_per_token(own: OwnFigures) -> Measured:
    if not own.bytes_per_token:
        return _missing("no call went to an open model whose weights are known")
    return Measured(
        {model: round(value, 1) for model, value in own.bytes_per_token.items()},
        "GB read per output token at batch 1: active weights at 2 bytes; a batch of B divides it by B",
    )


def _replays(own: OwnFigures, hardware: str, reference: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    found = {row["scenario"].get("hardware"): row for row in own.scenarios if row.get("kind") == "hardware"}
    one, other = found.get(hardware), found.get(reference)
    return None if one is None or other is None else (one, other)


def _compared(
    own: OwnFigures, hardware: str, reference: str, measures: Mapping[str, Callable[[Row, Row], float | None]]
) -> Measured:
    """Return figures of a replay beside another's, those that both state."""
    rows = _replays(own, hardware, reference)
    if rows is None:
        return _missing(f"no replay of {hardware} beside {reference}")
    values = {name: value for name, measure in measures.items() if (value := measure(*rows)) is not None}
    if not values:
        return _missing(f"the replays of {hardware} and {reference} do not both state {' and '.join(measures)}")
    said = (
        f"your calls replayed on {hardware} against {reference}, not measured; confidence {rows[0].get('confidence')}"
    )
    if len(measures) > 1:
        return Measured(values, said)
    [(name, value)] = values.items()
    return Measured(value, f"{name}: {said}")


def _cost_ratio(one: Row, other: Row) -> float | None:
    costs = [(row.get("cost_usd_by_basis") or {}).get("shared") for row in (one, other)]
    return float(costs[0]) / float(costs[1]) if costs[0] and costs[1] else None


def _cost_reduction(one: Row, other: Row) -> float | None:
    found = _cost_ratio(one, other)
    return None if found is None else 1 - found


def _times_cheaper(one: Row, other: Row) -> float | None:
    return _cost_ratio(other, one)


def _times_faster(one: Row, other: Row) -> float | None:
    times = one["tpot_s"]["p50"], other["tpot_s"]["p50"]
    return times[1] / times[0] if times[0] and times[1] else None


def _memory_bound(own: OwnFigures) -> Measured:
    if not own.roofline or not own.roofline["machines"]:
        return _missing("no call was replayed, so its arithmetic per byte is not known")
    machine = own.roofline["machines"][0]
    values = {point["name"]: point["flop_per_byte"] for point in own.roofline["points"]}
    return Measured(
        {**values, "ridge": machine["ridge_flop_per_byte"]},
        f"FLOP per byte of your calls on {own.roofline['model']}, {machine['name']}; memory bound below the ridge",
    )


MEASURES: dict[str, Callable[[OwnFigures], Measured]] = {
    "infra_share_55": _infra_share,
    "infra_share_80": _infra_share,
    "enterprise_85": _enterprise_share,
    "lifetime_90": _lifetime_share,
    "calls_10": _calls_per_request,
    "util_15_30": _utilisation,
    "gb_140": _bytes_per_token,
    "trillium_30_70": lambda own: _compared(own, "tpu_v6e", "h100_sxm", {"cost reduction": _cost_reduction}),
    "sn50_5x": lambda own: _compared(
        own, "sambanova_sn50", "b200_sxm", {"times faster": _times_faster, "times cheaper": _times_cheaper}
    ),
    "sram_100x": lambda own: _compared(own, "cerebras_cs3", "b200_sxm", {"times faster": _times_faster}),
    "decode_membound": _memory_bound,
}


def claims(known: Iterable[Claim], own: OwnFigures) -> list[dict[str, Any]]:
    """Return the ``claims`` part of the audit document."""
    rows = []
    for claim in known:
        measure = MEASURES.get(claim.id)
        if measure is None:
            continue
        found = measure(own)
        rows.append(
            {
                "id": claim.id,
                "claim": claim.claim,
                "claimed": claim.claimed,
                "status": claim.status,
                "source": claim.source,
                "measured": found.value,
                "note": found.note,
                "comparable": found.comparable,
                "unit": claim.unit,
                "scope": claim.scope,
            }
        )
    return rows
