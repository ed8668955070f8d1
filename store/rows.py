"""Records to rows and back, calls in `call_rows`; the order of each tuple is the order of the table's columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Table

from inferometer.schema.records import (
    Charge,
    Outcome,
    Purpose,
    Resource,
    Run,
    ServingSample,
    Span,
    SpanKind,
    SpanLink,
    Status,
)
from inferometer.store import tables
from inferometer.store.encoding import dump_json, load_json
from inferometer.store.writers.base import Row

# `_value_` and not `value` throughout: a property of enumerations costs as much as writing three columns

Numbered = TypeVar("Numbered", Charge, Outcome)

SPAN_KINDS = {member.value: member for member in SpanKind}
STATUSES = {member.value: member for member in Status}


def _text(value: Any) -> str | None:
    return dump_json(value) if value else None


def _money(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def span_row(span: Span, run_id: str | None = None) -> Row:
    """Return the ``spans`` row of a record, in the run decided for it where there is one."""
    return (
        span.trace_id,
        span.span_id,
        span.parent_id,
        run_id or span.run_id,
        span.run_id,
        span.kind._value_,
        span.name,
        span.start_ns,
        span.end_ns,
        span.status._value_,
        span.error_type,
        span.resource.resource_id if span.resource else None,
        span.scope,
        span.dialect,
        span.otel_kind,
        span.agent_name,
        span.session_id,
        span.user_id,
        dump_json(span.tags) if span.tags else None,
        dump_json([[link.trace_id.hex(), link.span_id.hex(), link.attributes] for link in span.links])
        if span.links
        else None,
        span.weight,
        span.purpose._value_ if span.purpose else None,
        dump_json(span.attributes) if span.attributes else None,
        span.attributes_dropped,
        span.source,
        span.normaliser_version,
    )


def load_links(text: str) -> list[SpanLink]:
    """Return the links of a ``spans`` row from their JSON text."""
    return [
        SpanLink(bytes.fromhex(trace_id), bytes.fromhex(span_id), attributes)
        for trace_id, span_id, attributes in load_json(text)
    ]


def span_of(row: Sequence[Any], resource: Resource | None, *, decided: bool = True) -> Span:
    """Return the record of a ``spans`` row, its ``run_id`` the decided one, else the one that its source said."""
    return Span(
        trace_id=row[0],
        span_id=row[1],
        parent_id=row[2],
        run_id=row[3] if decided else row[4],
        kind=SpanKind(row[5]),
        name=row[6],
        start_ns=row[7],
        end_ns=row[8],
        status=Status(row[9]),
        error_type=row[10],
        resource=resource,
        scope=row[12],
        dialect=row[13],
        otel_kind=row[14],
        agent_name=row[15],
        session_id=row[16],
        user_id=row[17],
        tags=load_json(row[18]) if row[18] else {},
        links=load_links(row[19]) if row[19] else [],
        weight=row[20],
        purpose=Purpose(row[21]) if row[21] else None,
        attributes=load_json(row[22]) if row[22] else {},
        attributes_dropped=row[23],
        source=row[24],
        normaliser_version=row[25],
    )


def resource_row(resource: Resource) -> Row:
    """Return the ``resources`` row of a record."""
    service = next((value for key, value in resource.attributes if key == "service.name"), None)
    return (resource.resource_id, service, dump_json([list(pair) for pair in resource.attributes]))


def resource_of(row: Sequence[Any]) -> Resource:
    """Return the record of a ``resources`` row."""
    return Resource(tuple((key, value) for key, value in load_json(row[2])))


def charge_rows(charges: Iterable[Charge]) -> list[Row]:
    """Return the ``charges`` rows of records, those of one sku on one span numbered."""
    return _numbered(charges, lambda charge: charge.sku, _charge_row)


def _charge_row(charge: Charge, ordinal: int) -> Row:
    return (
        charge.trace_id,
        charge.span_id,
        charge.sku,
        ordinal,
        format(charge.quantity, "f"),
        charge.unit,
        _money(charge.unit_price_usd),
        charge.source,
    )


def charge_of(row: Sequence[Any]) -> Charge:
    """Return the record of a ``charges`` row."""
    trace_id, span_id, sku, _, quantity, unit, unit_price, source = row
    return Charge(trace_id, span_id, sku, Decimal(quantity), unit, _decimal(unit_price), source)


def outcome_rows(outcomes: Iterable[Outcome]) -> list[Row]:
    """Return the ``outcomes`` rows of records, those of one name on one span numbered."""
    return _numbered(outcomes, lambda outcome: outcome.name, _outcome_row)


def _outcome_row(outcome: Outcome, ordinal: int) -> Row:
    return (outcome.trace_id, outcome.span_id, outcome.name, ordinal, outcome.value, outcome.label, outcome.source)


def outcome_of(row: Sequence[Any]) -> Outcome:
    """Return the record of an ``outcomes`` row."""
    trace_id, span_id, name, _, value, label, source = row
    return Outcome(trace_id, span_id, name, value, label, source)


def _numbered(
    records: Iterable[Numbered], name_of: Callable[[Numbered], str], row_of: Callable[[Numbered, int], Row]
) -> list[Row]:
    numbers: Counter[tuple[bytes, bytes, str]] = Counter()
    rows = []
    for record in records:
        key = (record.trace_id, record.span_id, name_of(record))
        rows.append(row_of(record, numbers[key]))
        numbers[key] += 1
    return rows


def sample_row(sample: ServingSample) -> Row:
    """Return the ``serving_samples`` row of a record; its id is the same wherever the same reading comes from."""
    resource_id = sample.resource.resource_id if sample.resource else None
    attributes = dump_json(dict(sorted(sample.attributes.items()))) if sample.attributes else None
    text = f"{sample.time_ns}\x1f{sample.metric}\x1f{attributes}\x1f"
    identity = text.encode("utf-8", "surrogatepass") + (resource_id or b"")
    sample_id = blake2b(identity, digest_size=16, person=b"inferometer.smp").digest()
    return (sample_id, sample.time_ns, sample.metric, sample.value, resource_id, attributes)


def sample_of(row: Sequence[Any], resource: Resource | None) -> ServingSample:
    """Return the record of a ``serving_samples`` row."""
    return ServingSample(row[1], row[2], row[3], resource, load_json(row[5]) if row[5] else {})


def run_row(run: Run) -> Row:
    """Return the ``runs`` row of a record."""
    return (
        run.run_id,
        run.trace_id,
        run.root_span_id,
        run.name,
        run.agent_name,
        run.session_id,
        run.user_id,
        run.purpose._value_ if run.purpose else None,
        run.start_ns,
        run.end_ns,
        run.status._value_,
        run.is_open,
        run.weight,
        run.service,
        _text(run.tags),
        run.source,
    )


def run_of(row: Sequence[Any]) -> Run:
    """Return the record of a ``runs`` row."""
    return Run(
        run_id=row[0],
        trace_id=row[1],
        root_span_id=row[2],
        name=row[3],
        agent_name=row[4],
        session_id=row[5],
        user_id=row[6],
        purpose=Purpose(row[7]) if row[7] else None,
        start_ns=row[8],
        end_ns=row[9],
        status=Status(row[10]),
        is_open=bool(row[11]),
        weight=row[12],
        service=row[13],
        tags=load_json(row[14]) if row[14] else {},
        source=row[15],
    )


def _said(table: Table, *decided: str) -> Callable[[Any], Row]:
    return itemgetter(*(place for place, column in enumerate(table.columns) if column.name not in decided))


SAID_BY_SOURCES = {
    "spans": _said(tables.SPANS, "run_id"),
    "inferences": _said(tables.INFERENCES, "agent_name", "depends_on", "billable", "merged_into", "reasons"),
    "tool_calls": _said(tables.TOOL_CALLS, "agent_name", "merged_into", "reasons"),
}
"""By table, what picks the columns of a row that sources said, not decisions."""
