"""One billable call with what it cost: what every analysis of an audit adds up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from inferometer.profiles.prices import Priced
from inferometer.schema.meters import Meters
from inferometer.schema.moments import is_date
from inferometer.schema.records import Inference, Operation, PrefixChain
from inferometer.schema.rows import InferenceRow

ZERO = Decimal(0)

PriceCall = Callable[[InferenceRow], Priced]


class CostedCall:
    """One billable inference with what it cost; ``weight`` calls like it happened.

    What analyses ask for millions of times is worked out once. A call that was changed makes its ``inference`` only
    when that is asked for: ``meters`` are at hand.

    Attributes:
        placement: where and when it happened.
        priced: what it cost.
        extra_usd: what a change costs beside the call's own price, such as calls that have to be made again.
        meters: its tokens.
        key: (trace_id, span_id).
        provider: who served it; None where no span says.
        model: the model's name, ``unknown`` where no span says.
        prefix: the chain of its input's blocks; None where it has none.
        weight: inverse sampling probability; 1 where unknown.
        start_ns: start in nanoseconds since 1970; 0 where unknown.
        end_ns: end in nanoseconds since 1970; the start where unknown.
        input_tokens: all input tokens; 0 where unknown.
        output_tokens: all output tokens; 0 where unknown.
        cost_usd: effective cost of the call; None where it is unpriced.
        weighted_cost_usd: cost times weight; 0 where unpriced.
    """

    __slots__ = (
        *("_inference", "cost_usd", "end_ns", "extra_usd", "input_tokens", "key", "meters", "model", "output_tokens"),
        *("placement", "prefix", "priced", "provider", "start_ns", "weight", "weighted_cost_usd"),
    )

    def __init__(self, row: InferenceRow, priced: Priced, extra_usd: Decimal = ZERO) -> None:
        inference, placement = row.inference, row.placement
        self._inference = inference
        self.placement = placement
        self.key: tuple[bytes, bytes] = (inference.trace_id, inference.span_id)
        self.provider = inference.provider
        self.model: str = inference.response_model or inference.request_model or "unknown"
        self.prefix = inference.prefix
        self.weight: float = placement.weight or 1.0
        self.start_ns: int = placement.start_ns or 0
        self.end_ns: int = placement.end_ns or self.start_ns
        self._set(inference.meters, priced, extra_usd)

    def _set(self, meters: Meters, priced: Priced, extra_usd: Decimal) -> None:
        self.meters = meters
        self.priced = priced
        self.extra_usd = extra_usd
        self.input_tokens: int = meters.input_total or 0
        self.output_tokens: int = meters.output or 0
        cost = priced.effective_cost_usd
        if cost is not None and extra_usd:
            cost += extra_usd
        self.cost_usd: Decimal | None = cost
        if cost is None:
            cost = ZERO
        elif self.weight != 1.0:
            cost *= Decimal(repr(self.weight))
        self.weighted_cost_usd: Decimal = cost

    def with_meters(self, meters: Meters, priced: Priced) -> CostedCall:
        """Return the call with other tokens, which cost something else."""
        return self._changed(meters, priced, self.extra_usd)

    def with_extra(self, extra_usd: Decimal) -> CostedCall:
        """Return the call with more to pay for beside its own price."""
        return self._changed(self.meters, self.priced, self.extra_usd + extra_usd)

    def with_prefix(self, prefix: PrefixChain) -> CostedCall:
        """Return the call with a chain that is assumed of its input; its ``inference`` stays as it was recorded."""
        changed = self._changed(self.meters, self.priced, self.extra_usd)
        changed.prefix = prefix
        return changed

    def _changed(self, meters: Meters, priced: Priced, extra_usd: Decimal) -> CostedCall:
        changed = CostedCall.__new__(CostedCall)
        changed._inference = self._inference
        changed.placement = self.placement
        changed.key = self.key
        changed.provider = self.provider
        changed.model = self.model
        changed.prefix = self.prefix
        changed.weight = self.weight
        changed.start_ns = self.start_ns
        changed.end_ns = self.end_ns
        changed._set(meters, priced, extra_usd)
        return changed

    @property
    def inference(self) -> Inference:
        """The model call."""
        if self._inference.meters is not self.meters:
            self._inference = replace(self._inference, meters=self.meters)
        return self._inference

    @property
    def operation(self) -> Operation:
        """What kind of call it is."""
        return self._inference.operation

    @property
    def row(self) -> InferenceRow:
        """The model call with its placement."""
        return InferenceRow(self.inference, self.placement)

    @property
    def cost_by_meter_usd(self) -> Mapping[str, Decimal]:
        """Effective cost by meter."""
        return self.priced.cost_by_meter_usd

    @property
    def is_dated(self) -> bool:
        """Whether the start is a date, and not an offset from the start of a recording."""
        return is_date(self.start_ns)


def costed(row: InferenceRow, price: PriceCall, extra_usd: Decimal = ZERO) -> CostedCall:
    """Price one call."""
    return CostedCall(row, price(row), extra_usd)
