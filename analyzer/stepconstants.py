"""Which fitted constants stand for a deployment, from which versions of the engine, and how far to trust them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from inferometer.profiles.engines import (
    ANY_VERSION,
    Calibration,
    Constants,
    Correction,
    Engine,
    Spread,
    same_version,
    version_key,
    version_standing,
)
from inferometer.profiles.hardware import Hardware
from inferometer.profiles.models import Model

CALIBRATED, FAMILY, UNCALIBRATED = "calibrated", "family", "uncalibrated"
NO_MEASUREMENT = Spread(0.5, 2.0, 0.3, 3.0, 0)
"""Of an engine without rows of any chip: a guess, as wide as the errors simulators publish for chips new to them."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Constants with where they come from.

    ``correction`` is the model's own, None where it has none. ``versions`` are those of the engine that the constants
    were measured at, and ``version_standing`` is how the one that was asked for stands to them: empty where none was,
    else measured, older, newer or between.
    """

    constants: Constants
    calibration: Calibration | None
    correction: Correction | None
    confidence: str
    reason: str
    versions: tuple[str, ...]
    version_standing: str
    spread: Spread


def choose_constants(hardware: Hardware, engine: Engine, model: Model, precision: str) -> Chosen:
    """Return the constants of this chip and the engine version nearest to the one asked for.

    Where the chip has none, the engine's defaults stand and nothing is called calibrated. A version that was not
    measured takes the constants of all that were, and the reason says so.
    """
    calibration = next((found for found in engine.calibrations if found.hardware == hardware.id), None)
    constants, correction = measured_constants(hardware, engine.defaults), None
    if calibration is None:
        confidence, reason = UNCALIBRATED, f"no measured rows of {engine.id} on {hardware.id}"
        if hardware.measured is not None:
            reason += "; kernels measured on this machine, the engine's overheads from other chips"
        versions = tuple(dict.fromkeys(version for each in engine.calibrations for version in each.versions))
    else:
        constants, versions = calibration.constants, calibration.versions
        correction, confidence, reason = _correction_of(calibration, engine, model, precision)
        if correction is not None and correction.version != ANY_VERSION:
            versions = (correction.version,)
    standing = version_standing(engine.version, versions) if engine.version and versions else ""
    if standing not in ("", "measured"):
        where = f" on {hardware.id}" if calibration is not None else ""
        reason += f"; {_version_note(engine.version, standing, where, versions)}"
    spread = _spread_of(engine, calibration, confidence, model.family)
    return Chosen(constants, calibration, correction, confidence, reason, versions, standing, spread)


def _correction_of(
    calibration: Calibration, engine: Engine, model: Model, precision: str
) -> tuple[Correction | None, str, str]:
    """Return (the model's correction, confidence, reason)."""
    where = f"{engine.id} on {calibration.hardware}"
    of_model = [found for found in calibration.corrections if found.model == model.id]
    exact = [found for found in of_model if found.precision == precision]
    if exact:
        chosen = min(exact, key=lambda found: _version_distance(found.version, engine.version))
        version = f" at version {chosen.version}" if chosen.version != ANY_VERSION else ""
        return chosen, CALIBRATED, f"fitted to {chosen.rows} rows of this model at {precision} by {where}{version}"
    if of_model:
        near = max((found for found in of_model if found.version == ANY_VERSION), key=lambda found: found.rows)
        return near, FAMILY, f"fitted to this model at {near.precision}, not {precision}, by {where}"
    return None, FAMILY, f"fitted to other models by {where}"


def _version_note(asked: str, standing: str, where: str, versions: tuple[str, ...]) -> str:
    numbered = sorted((version for version in versions if version_key(version)), key=version_key)
    measured = f"{numbered[0]} to {numbered[-1]}" if len(numbered) > 1 else (numbered or list(versions))[0]
    what = {"older": "is older than any measured", "newer": "is newer than any measured"}
    return f"version {asked} {what.get(standing, 'was not measured')}{where}: constants of {measured} stand for it"


def measured_constants(hardware: Hardware, constants: Constants) -> Constants:
    """Return constants whose shares of a chip's peaks are the measured ones, where its profile has any.

    Weights stream as a copy does, attention as its own kernels do; a share stays below one, for a data sheet that is
    itself a measurement.
    """
    found = hardware.measured
    if found is None:
        return constants

    def share(rate: float | None, peak: float, otherwise: float) -> float:
        return otherwise if rate is None else min(rate / peak, 0.98)

    bandwidth = hardware.memory.bandwidth_bytes_per_s
    precision, peak = max(hardware.compute.rates.items(), key=lambda pair: (pair[0] in found.gemm_rates, pair[1]))
    reached = share(found.gemm_rates.get(precision), peak, constants.compute_efficiency)
    link = hardware.link.bandwidth_bytes_per_s if hardware.link else 1.0
    half = hardware.compute.rates.get("bf16") or peak
    return replace(
        constants,
        weight_bandwidth_efficiency=share(found.copy_bytes_per_s, bandwidth, constants.weight_bandwidth_efficiency),
        compute_efficiency=reached,
        kv_bandwidth_efficiency=share(found.decode_attention_bytes_per_s, bandwidth, constants.kv_bandwidth_efficiency),
        attention_compute_efficiency=share(
            found.prefill_attention_flop_per_s, half, constants.attention_compute_efficiency
        ),
        collective_us=constants.collective_us if found.all_reduce_seconds is None else found.all_reduce_seconds * 1e6,
        link_efficiency=share(found.all_reduce_bytes_per_s, link, constants.link_efficiency),
    )


def _version_distance(have: str, wanted: str) -> tuple[float, ...]:
    """Order corrections: the very version first, then all versions together, then the nearest numbers."""
    if wanted and same_version(have, wanted):
        return (-1.0,)
    if have == ANY_VERSION:
        return (0.0,)
    return (1.0, *(float(abs(a - b)) for a, b in zip(version_key(have), version_key(wanted), strict=False)))


def _spread_of(engine: Engine, calibration: Calibration | None, confidence: str, family: str) -> Spread:
    """Return the 80 % interval's factors of a prediction: of the chip and family where rows stand behind it."""
    if calibration is not None and confidence == CALIBRATED and family in calibration.spreads:
        return calibration.spreads[family]
    return engine.spreads.get(confidence, NO_MEASUREMENT)
