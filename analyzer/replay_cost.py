"""What a replay costs: provisioned hours on three bases, the break-even utilisation, energy and carbon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from inferometer.analyzer.replay_scenario import Payment
from inferometer.profiles.hardware import Hardware
from inferometer.schema.wording import counted

CENT = Decimal("0.000001")
_HOUR_S = 3600.0

OWNED_YEARS = 4
OWNED_OVERHEAD = Decimal("0.25")
"""A machine bought and not rented is written off over four years, power and place adding a quarter of that: the method
behind the owners' hourly costs of InferenceX (SemiAnalysisAI/InferenceX-app@77ca49a constants.ts), in which colocation
and electricity stay below a fifth of the total."""

BUSY_BOARD_SHARE = (0.33, 0.74, 0.99)
IDLE_BOARD_SHARE = (0.1, 0.15, 0.3)
"""Board power over its limit while serving: the least, median and greatest that ML.ENERGY measured under LLM load on
H100 (231, 519 and 694 W of 700; B200 294, 752 and 976 of 1,000), and an estimate for idling."""
ALL_IN_OVER_BOARD = (1.7, 2.0, 2.7)
"""Power of a chip's whole share of the facility over its board limit where the profile does not say: InferenceX's
range, cooling included."""
HOST_OVER_CHIP = 25 / 58
"""With a PUE given, a chip draws its board's power, its host adds 25 parts to 58 (Google, Gemini serving, August 2025),
and the facility multiplies both."""


@dataclass(frozen=True, slots=True)
class UsdRange:
    """Dollars at the lowest, middle and highest price; what lies between is not a confidence interval."""

    low: Decimal
    mid: Decimal
    high: Decimal

    def times(self, low: float, mid: float, high: float) -> UsdRange:
        """Return the range with each end multiplied."""
        return UsdRange(
            *(
                price * Decimal(repr(factor))
                for price, factor in zip((self.low, self.mid, self.high), (low, mid, high), strict=True)
            )
        )

    def as_dict(self) -> dict[str, Decimal]:
        """Return the range rounded to a millionth of a dollar."""
        return {name: getattr(self, name).quantize(CENT) for name in ("low", "mid", "high")}


@dataclass(frozen=True, slots=True)
class HourlyPrice:
    """USD per hour of a whole fleet, and where it is from."""

    usd: UsdRange
    billed_chips: int
    source: str


def hourly_price(hardware: Hardware, chips: int, payment: Payment) -> HourlyPrice | None:
    """Return what an hour of `chips` costs; None where no price is known.

    Each provider's price counts in that provider's smallest unit, so eight-chip machines are paid whole. Where the
    asked basis has no price the next one known stands in and is named; a machine that nobody rents is written off.
    """
    if payment.usd_per_chip_hour is not None:
        price = payment.usd_per_chip_hour * chips
        return HourlyPrice(UsdRange(price, price, price), chips, "given")
    for basis in (payment.basis, "on_demand", "reserved", "rental_3_years", "owned"):
        prices = [price for price in hardware.prices if price.basis == basis]
        if not prices:
            continue
        fleets = [_whole(chips, price.minimum_chips) for price in prices]
        pairs = list(zip(prices, fleets, strict=True))
        middles = sorted((p.usd_per_hour_low + p.usd_per_hour_high) / 2 * fleet for p, fleet in pairs)
        usd = UsdRange(
            min(p.usd_per_hour_low * fleet for p, fleet in pairs),
            _median(middles),
            max(p.usd_per_hour_high * fleet for p, fleet in pairs),
        )
        newest = max(price.provenance.as_of for price in prices)
        return HourlyPrice(usd, min(fleets), f"{basis}, {counted(len(prices), 'price')} to {newest}")
    return _owned_price(hardware, chips)


def _owned_price(hardware: Hardware, chips: int) -> HourlyPrice | None:
    deployment, purchase = hardware.deployment, hardware.purchase
    if deployment and deployment.usd_low is not None and deployment.usd_high is not None:
        units = Decimal(math.ceil(chips / deployment.chips))
        low, high, billed = deployment.usd_low * units, deployment.usd_high * units, int(units) * deployment.chips
    elif purchase:
        low, high, billed = purchase.usd_low * chips, purchase.usd_high * chips, chips
    else:
        return None
    hours = Decimal(OWNED_YEARS * 8766)
    ends = [amount / hours * (1 + OWNED_OVERHEAD) for amount in (low, high)]
    usd = UsdRange(ends[0], (ends[0] + ends[1]) / 2, ends[1])
    return HourlyPrice(
        usd, billed, f"bought, written off over {OWNED_YEARS} years, a quarter on top for power and place"
    )


def _whole(chips: int, unit: int) -> int:
    return math.ceil(chips / unit) * unit


def _median(values: list[Decimal]) -> Decimal:
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


@dataclass(frozen=True, slots=True)
class Use:
    """What a replay used of its fleet, in seconds of replicas: ``own`` and ``others`` worked for, of ``provisioned``.

    Each is (at fast step times, as modelled, at slow ones); the ends are equal where only one replay was made.
    """

    own_s: tuple[float, float, float]
    others_s: tuple[float, float, float]
    makespan_s: tuple[float, float, float]
    replicas: int


@dataclass(frozen=True, slots=True)
class Bill:
    """The cost of a replay.

    ``dedicated`` pays the whole fleet from the first call to the last end, in whole rental units; ``shared`` pays the
    calls' working time at the utilisation of a shared fleet; ``pay_per_use`` pays their working time alone.
    ``shares_usd`` splits the dedicated bill among the recorded calls, other tenants and idle time.
    """

    price: HourlyPrice
    basis: str
    billed_hours: float
    by_basis: dict[str, UsdRange]
    shares_usd: dict[str, Decimal]
    break_even_utilisation: float | None


def bill(price: HourlyPrice, use: Use, payment: Payment, recorded_usd: Decimal | None) -> Bill:
    """Return the bill of a fleet's use.

    ``break_even_utilisation`` is the share of provisioned time that calls would have to fill for the fleet to cost what
    was paid for them; above 1 it never does, None where that is unknown.
    """
    hours = [
        math.ceil(round(seconds / _HOUR_S / payment.rental_unit_h, 9)) * payment.rental_unit_h
        for seconds in use.makespan_s
    ]
    hours = [max(value, payment.rental_unit_h) for value in hours]
    fleet_s = [seconds * use.replicas for seconds in use.makespan_s]
    own = [seconds / use.replicas / _HOUR_S for seconds in use.own_s]
    others = use.others_s[1] > 0
    utilisation = (use.own_s[1] + use.others_s[1]) / fleet_s[1] if others and fleet_s[1] else payment.utilisation
    dedicated = price.usd.times(hours[0], hours[1], hours[2])
    working = price.usd.times(own[0], own[1], own[2])
    shared = price.usd.times(*(value / max(utilisation, 1e-9) for value in own))
    share_of_own = use.own_s[1] / fleet_s[1] if fleet_s[1] else 0.0
    share_of_others = use.others_s[1] / fleet_s[1] if fleet_s[1] else 0.0
    for_own = (dedicated.mid * Decimal(repr(share_of_own))).quantize(CENT)
    for_others = (dedicated.mid * Decimal(repr(share_of_others))).quantize(CENT)
    return Bill(
        price=price,
        basis="shared" if others else "dedicated",
        billed_hours=hours[1] * price.billed_chips,
        by_basis={"dedicated": dedicated, "shared": shared, "pay_per_use": working},
        shares_usd={
            "recorded_calls": for_own,
            "other_tenants": for_others,
            "idle": dedicated.mid.quantize(CENT) - for_own - for_others,
        },
        break_even_utilisation=float(working.mid / recorded_usd) if recorded_usd else None,
    )


@dataclass(frozen=True, slots=True)
class Energy:
    """Electricity at the meter of the facility, with the range of what was measured on such boards."""

    kwh_low: float
    kwh: float
    kwh_high: float


def energy(hardware: Hardware, busy_chip_s: float, idle_chip_s: float, pue: float | None) -> Energy | None:
    """Return the energy of chips that worked and idled for so many chip-seconds; None where their power is unknown.

    Formula: board limit x (busy share x working time + idle share x idle time) x overhead; the overhead is the
    profile's all-in power over its board limit, or host and PUE where a PUE is given.
    """
    if hardware.power is None:
        return None
    board_w = hardware.power.board_w
    if pue is not None:
        overheads: Iterable[float] = [(1 + HOST_OVER_CHIP) * pue] * 3
    elif hardware.power.all_in_w is not None:
        overheads = [hardware.power.all_in_w / board_w] * 3
    else:
        overheads = ALL_IN_OVER_BOARD
    joules = [
        board_w * (busy * busy_chip_s + idle * idle_chip_s) * overhead
        for busy, idle, overhead in zip(BUSY_BOARD_SHARE, IDLE_BOARD_SHARE, overheads, strict=True)
    ]
    low, mid, high = (value / 3.6e6 for value in joules)
    return Energy(low, mid, high)
