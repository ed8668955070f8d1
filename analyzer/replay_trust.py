"""How far a replay's step times can be trusted: what lies beyond the measured rows, and how wide that makes them."""

from __future__ import annotations

from dataclasses import dataclass

from inferometer.analyzer.predict import EXTRAPOLATED, widened
from inferometer.analyzer.replay_engine import Simulation
from inferometer.analyzer.steptime import StepModel
from inferometer.profiles.engines import Spread

MOSTLY = 0.5
"""From this share of working time on, the whole answer is called extrapolated."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The class of a replay's step times, why, the share of working time beyond the fitted rows, and the interval.

    Beyond is a batch, a mean context, a share of a prompt found in the cache, or a number of chips, that no fitted row
    had. Where nothing was fitted at all, everything is beyond.
    """

    confidence: str
    reason: str
    extrapolated_share: float | None
    spread: Spread


def trust(simulation: Simulation, model: StepModel) -> Trust:
    """Return how far a replay lies within what its step times were fitted to.

    The interval widens with the distance of the mean batch, mean context and chips from the fitted rows, by what each
    factor of two cost on rows that were held out for it.
    """
    if model.calibration is None:
        return Trust(model.confidence, model.reason, 1.0, model.spread)
    busy_s = simulation.total("busy_s")
    if busy_s <= 0:
        return Trust(model.confidence, model.reason, None, model.spread)
    chips = float(model.parallelism.chips)
    share = 1.0 if model.extrapolation(chips=chips) > 0 else simulation.total("outside_s") / busy_s
    decoded, steps = simulation.total("decode_tokens"), simulation.total("decode_steps")
    means = {"chips": chips}
    if decoded:
        means |= {"users": decoded / steps, "input_tokens": simulation.total("decode_kv_tokens") / decoded}
    distance = model.extrapolation(**means)
    spread = widened(model.spread, model.engine.spreads.get(EXTRAPOLATED), distance) if distance > 0 else model.spread
    if share < MOSTLY:
        return Trust(model.confidence, model.reason, share, spread)
    reason = f"{model.reason}; {100 * share:.0f} % of working time is beyond the fitted rows"
    return Trust(EXTRAPOLATED, reason, share, spread)
