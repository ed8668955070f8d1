"""The spans of model calls, with the attributes that were kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import and_, select

from inferometer.schema.records import Span
from inferometer.store.chunks import rows_with
from inferometer.store.database import Store
from inferometer.store.rows import span_of
from inferometer.store.tables import INFERENCES, SPANS


def read_call_spans(store: Store, trace_ids: Iterable[bytes]) -> Iterator[Span]:
    """Yield the spans of all inferences of some traces that have attributes, without their resources, in no order.

    Raises:
        StoreError: the store cannot be read.
    """
    calls = INFERENCES.join(
        SPANS, and_(SPANS.c.trace_id == INFERENCES.c.trace_id, SPANS.c.span_id == INFERENCES.c.span_id)
    )
    query = select(*SPANS.columns).select_from(calls).where(SPANS.c.attributes.is_not(None))
    wanted = sorted(set(trace_ids))
    with store.reading() as connection:
        for row in rows_with(connection, query, INFERENCES.c.trace_id, wanted):
            yield span_of(row, None)
