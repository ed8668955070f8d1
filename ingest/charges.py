"""What a provider bills beside tokens, such as searches, as our own hooks write it on a call's span."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from inferometer.ingest.dialects.dialect import Fields
from inferometer.ingest.values import as_name, as_whole
from inferometer.schema.records import Charge, Inference

MAX_CHARGES = 100


def charges_of(call: Inference, fields: Fields) -> Iterator[Charge]:
    """Yield the charges on a call; one without a sku, a unit or a positive quantity is none."""
    listed = [fields.get(f"charge_{name}") for name in ("skus", "quantities", "units")]
    skus, quantities, units = (one if isinstance(one, (list, tuple)) else () for one in listed)
    for written in zip(skus[:MAX_CHARGES], quantities, units, strict=False):
        sku, quantity, unit = as_name(written[0]), as_whole(written[1]), as_name(written[2])
        if sku and quantity and unit:
            yield Charge(call.trace_id, call.span_id, sku, Decimal(quantity), unit, source="usage")
