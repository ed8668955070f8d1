"""What was fitted to an engine on a chip: constants, models' corrections, intervals, and the rows behind them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

from inferometer.profiles.documents import Document, Provenance, Table, parse
from inferometer.schema.errors import ProfileError

ANY_VERSION = "any"


@dataclass(frozen=True, slots=True)
class Constants:
    """What an engine makes of a chip: shares of the chip's peaks, and overheads that are none of the chip's.

    Shares are of the data sheet's figure; ``*_efficiency`` above 1 would be a wrong data sheet. ``expert_imbalance`` is
    the busiest rank's excess over the mean. ``arrival_burst`` is the share of the other users whose prompts stand
    before a request's own in a closed loop.
    """

    weight_bandwidth_efficiency: float
    compute_efficiency: float
    kv_bandwidth_efficiency: float
    attention_compute_efficiency: float
    expert_bandwidth_efficiency: float
    expert_compute_efficiency: float
    expert_imbalance: float
    collective_us: float
    link_efficiency: float
    host_ms_per_step: float
    host_us_per_layer: float
    host_us_per_sequence: float
    frontend_ms: float
    arrival_burst: float


CONSTANT_NAMES = tuple(field.name for field in fields(Constants))


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest value among fitted rows."""

    low: float
    high: float

    def distance(self, value: float) -> float:
        """Return how far outside `value` lies, as a ratio minus one; 0 within. Of a range at 0, the value itself."""
        if self.high <= 0:
            return max(value, 0.0)
        if value <= 0:
            return 0.0 if self.low <= 0 else float("inf")
        return max(self.low / value if value < self.low else 1.0, value / self.high if value > self.high else 1.0) - 1.0


@dataclass(frozen=True, slots=True)
class Fit:
    """Rows, held-out error and hull behind a set of constants; errors are medians of absolute relative error."""

    rows: int
    held_out_rows: int
    tpot_error: float | None
    ttft_error: float | None
    hull: dict[str, Range]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Correction:
    """A model's own measured-over-modelled factors at one precision and engine version (``any``: over all of them).

    They scale reading weights, reading KV, arithmetic, the host with its launches and collectives, the front end, the
    prompts ahead in a closed loop, and last the whole step.
    """

    model: str
    precision: str
    version: str
    weight_factor: float
    kv_factor: float
    compute_factor: float
    host_factor: float
    frontend_factor: float
    burst_factor: float
    step_factor: float
    rows: int


CORRECTION_FACTORS = tuple(field.name for field in fields(Correction) if field.name.endswith("_factor"))


@dataclass(frozen=True, slots=True)
class Spread:
    """An 80 % interval as factors of the predicted value, from rows that the fit had not seen."""

    tpot_p10: float
    tpot_p90: float
    ttft_p10: float
    ttft_p90: float
    rows: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Constants fitted to one chip under one engine, the versions of its rows, and its models' corrections."""

    hardware: str
    versions: tuple[str, ...]
    constants: Constants
    corrections: tuple[Correction, ...]
    spreads: dict[str, Spread]
    fit: Fit


@dataclass(frozen=True, slots=True)
class Trend:
    """What published disaggregated deployments of one model took on one chip, their ranks unknown.

    At `USERS` users and `TOKENS` tokens in and out TPOT is ``tpot_ms``; it goes with powers of users and lengths. TTFT
    likewise.
    """

    USERS: ClassVar[float] = 64.0
    TOKENS: ClassVar[float] = 1024.0

    hardware: str
    model: str
    precision: str
    rows: int
    users_low: float
    users_high: float
    tpot_ms: float
    tpot_users_exponent: float
    tpot_input_exponent: float
    tpot_output_exponent: float
    ttft_ms: float
    ttft_users_exponent: float
    ttft_input_exponent: float
    ttft_output_exponent: float

    def at(self, users: float, input_tokens: float, output_tokens: float) -> tuple[float, float]:
        """Return (TTFT, TPOT) in milliseconds."""
        more, longer, wordier = users / self.USERS, input_tokens / self.TOKENS, output_tokens / self.TOKENS
        ttft = self.ttft_ms * more**self.ttft_users_exponent * longer**self.ttft_input_exponent
        tpot = self.tpot_ms * more**self.tpot_users_exponent * longer**self.tpot_input_exponent
        return ttft * wordier**self.ttft_output_exponent, tpot * wordier**self.tpot_output_exponent


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration file: per chip, and what the chips share for a chip that has no rows."""

    calibrations: tuple[Calibration, ...]
    defaults: Constants | None
    spreads: dict[str, Spread]
    trends: tuple[Trend, ...]


def read_calibrations(document: Document) -> Fitted:
    """Read what was fitted to one engine.

    Raises:
        ProfileError: a key is missing, unknown, out of range or without a unit.
    """
    table = parse(document)
    calibrations = []
    for entry in table.tables("calibration"):
        calibrations.append(
            Calibration(
                hardware=entry.text("hardware"),
                versions=entry.texts("versions"),
                constants=read_constants(entry.table("constants"), dated=False),
                corrections=tuple(_correction(each) for each in entry.tables("correction")),
                spreads=_spreads(entry),
                fit=_fit(entry.table("fit")),
            )
        )
        entry.finish()
    defaults = table.optional_table("defaults")
    shared = read_constants(defaults) if defaults else None
    trends = tuple(_trend(each) for each in table.tables("disaggregated"))
    fitted = Fitted(tuple(calibrations), shared, _spreads(table), trends)
    table.finish()
    return fitted


def merge(winner: Fitted, other: Fitted | None) -> Fitted:
    """Return a user's calibrations over the shipped ones: chip by chip, and what it does not say is the other's."""
    if other is None:
        return winner
    old = {found.hardware: found for found in other.calibrations}
    own = tuple(_with_corrections_of(found, old.pop(found.hardware, None)) for found in winner.calibrations)
    return Fitted(
        own + tuple(old.values()),
        winner.defaults or other.defaults,
        {**other.spreads, **winner.spreads},
        winner.trends or other.trends,
    )


def _with_corrections_of(winner: Calibration, other: Calibration | None) -> Calibration:
    """Keep the corrections of models that the winner does not name, where they belong to the same constants."""
    if other is None or other.constants != winner.constants:
        return winner
    named = {(each.model, each.precision) for each in winner.corrections}
    kept = tuple(each for each in other.corrections if (each.model, each.precision) not in named)
    return replace(winner, corrections=winner.corrections + kept, spreads={**other.spreads, **winner.spreads})


def read_constants(table: Table, *, dated: bool = True) -> Constants:
    """Read constants; ``dated`` where the table carries its own date and source."""
    if dated:
        table.provenance()
    constants = Constants(**{name: table.number(name) for name in CONSTANT_NAMES})
    table.finish()
    return constants


def _correction(table: Table) -> Correction:
    correction = Correction(
        model=table.text("model"),
        precision=table.text("precision"),
        version=table.text("version"),
        **{name: table.number(name, minimum=0.01) for name in CORRECTION_FACTORS},
        rows=table.integer("rows", minimum=1),
    )
    table.finish()
    return correction


def _spreads(table: Table) -> dict[str, Spread]:
    found = {}
    for each in table.tables("spread"):
        low, high = {"minimum": 0.001, "maximum": 1.0}, {"minimum": 1.0}
        found[each.text("of")] = Spread(
            tpot_p10=each.number("tpot_p10_factor", **low),
            tpot_p90=each.number("tpot_p90_factor", **high),
            ttft_p10=each.number("ttft_p10_factor", **low),
            ttft_p90=each.number("ttft_p90_factor", **high),
            rows=each.integer("rows"),
        )
        each.finish()
    return found


def _trend(table: Table) -> Trend:
    exponents = {}
    for name in ("tpot", "ttft"):
        for what in ("users", "input", "output"):
            key = f"{name}_{what}_exponent"
            exponents[key] = table.number(key, minimum=-3, maximum=3)
    trend = Trend(
        hardware=table.text("hardware"),
        model=table.text("model"),
        precision=table.text("precision"),
        rows=table.integer("rows", minimum=1),
        users_low=table.number("users_low"),
        users_high=table.number("users_high"),
        tpot_ms=table.number("tpot_ms", minimum=1e-3),
        ttft_ms=table.number("ttft_ms", minimum=1e-3),
        **exponents,
    )
    table.finish()
    return trend


def _fit(table: Table) -> Fit:
    hull: dict[str, Range] = {}
    limits = table.table("hull")
    for key, value in limits.numbers().items():
        name, _, end = key.rpartition("_")
        if end not in ("low", "high"):
            raise ProfileError(table.path, f"{limits.name}.{key} ends in neither _low nor _high")
        old = hull.get(name, Range(0.0, float("inf")))
        hull[name] = Range(value, old.high) if end == "low" else Range(old.low, value)
    limits.finish()
    fit = Fit(
        rows=table.integer("rows", minimum=1),
        held_out_rows=table.integer("held_out_rows"),
        tpot_error=table.optional_number("tpot_median_error"),
        ttft_error=table.optional_number("ttft_median_error"),
        hull=hull,
        provenance=table.provenance(),
    )
    table.finish()
    return fit
