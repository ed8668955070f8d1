"""Reading: a selection becomes SQL, rows become records with their placement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, exists, false, func, literal_column, or_, select
from sqlalchemy.engine import Connection

from inferometer.schema.records import Charge, Outcome, Purpose, Run, ServingSample
from inferometer.schema.rows import InferenceRow, Placement, SpanOutline, ToolCallRow
from inferometer.schema.selection import Selection
from inferometer.store.call_rows import inference_of, tool_call_of
from inferometer.store.chunks import rows_with
from inferometer.store.encoding import dump_json, load_json
from inferometer.store.loading import load_resources
from inferometer.store.rows import SPAN_KINDS, STATUSES, charge_of, outcome_of, run_of, sample_of
from inferometer.store.segments import SegmentReader
from inferometer.store.tables import (
    CHARGES,
    INFERENCES,
    OUTCOMES,
    PREFIX_SEGMENTS,
    RESOURCES,
    RUNS,
    SERVING_SAMPLES,
    SPANS,
    TOOL_CALLS,
)

RUN_ID_DIGITS = 16

_FETCH = 2000

_PLACEMENT = (
    SPANS.c.run_id,
    SPANS.c.parent_id,
    SPANS.c.start_ns,
    SPANS.c.end_ns,
    SPANS.c.status,
    SPANS.c.error_type,
    func.coalesce(SPANS.c.agent_name, RUNS.c.agent_name),
    func.coalesce(RUNS.c.session_id, SPANS.c.session_id),
    func.coalesce(RUNS.c.user_id, SPANS.c.user_id),
    func.coalesce(RUNS.c.purpose, SPANS.c.purpose),
    func.coalesce(RUNS.c.service, RESOURCES.c.service),
    SPANS.c.dialect,
    SPANS.c.source,
    func.coalesce(SPANS.c.weight, RUNS.c.weight),
    SPANS.c.tags,
    RUNS.c.tags,
)


def read_inferences(
    connection: Connection, selection: Selection, *, billable_only: bool, with_prefix: bool
) -> Iterator[InferenceRow]:
    """Yield the selected inferences in order of their start."""
    query = _placed(INFERENCES, selection)
    if billable_only:
        query = query.where(INFERENCES.c.billable)
    width = len(INFERENCES.columns)
    agent_at = list(INFERENCES.c).index(INFERENCES.c.agent_name)
    segment_at = list(INFERENCES.c).index(INFERENCES.c.prefix_segment)
    reader = SegmentReader(connection)
    if with_prefix:
        named = query.with_only_columns(INFERENCES.c.prefix_segment).order_by(None)
        reader.load_where(PREFIX_SEGMENTS.c.segment_id.in_(named) if query.whereclause is not None else None)
    for rows in _partitions(connection, query):
        if with_prefix:
            reader.load(row[segment_at] for row in rows if row[segment_at] is not None)
        for row in rows:
            values = tuple(row)
            call = inference_of(values[:width], decided=True)
            if with_prefix and values[segment_at] is not None:
                call.prefix = reader.expand(values[segment_at], values[segment_at + 1])
            yield InferenceRow(call, _placement(values[width:], values[agent_at]))


def read_tool_calls(connection: Connection, selection: Selection) -> Iterator[ToolCallRow]:
    """Yield the selected tool calls in order of their start, those that were merged away included."""
    width = len(TOOL_CALLS.columns)
    agent_at = list(TOOL_CALLS.c).index(TOOL_CALLS.c.agent_name)
    for rows in _partitions(connection, _placed(TOOL_CALLS, selection)):
        for row in rows:
            yield ToolCallRow(tool_call_of(row[:width], decided=True), _placement(row[width:], row[agent_at]))


def read_runs(connection: Connection, selection: Selection) -> list[Run]:
    """Return the selected runs in order of their start."""
    query = select(*RUNS.columns).where(*_window(RUNS.c.start_ns, selection), *_run_conditions(selection))
    return [run_of(row) for row in connection.execute(query.order_by(RUNS.c.start_ns, RUNS.c.run_id))]


def read_latest_runs(connection: Connection, selection: Selection, limit: int) -> list[Run]:
    """Return the selected runs that began last, the latest first."""
    query = select(*RUNS.columns).where(*_window(RUNS.c.start_ns, selection), *_run_conditions(selection))
    query = query.order_by(RUNS.c.start_ns.desc().nulls_last(), RUNS.c.run_id).limit(limit)
    return [run_of(row) for row in connection.execute(query)]


def count_runs(connection: Connection, selection: Selection) -> tuple[int, int]:
    """Return the number of selected runs, and of those among them that are open."""
    number = func.count()
    query = select(number, number.filter(RUNS.c.is_open.is_(True))).select_from(RUNS)
    row = connection.execute(query.where(*_window(RUNS.c.start_ns, selection), *_run_conditions(selection))).one()
    return int(row[0]), int(row[1])


def count_spans(connection: Connection, since_ns: int, until_ns: int, width_ns: int) -> dict[int, int]:
    """Return the number of spans that began in each stretch of time, by the stretch's number since 1970.

    The index of starts answers this alone: half a million spans take a tenth of a second.
    """
    stretch = SPANS.c.start_ns.op("/", return_type=BigInteger())(width_ns)
    query = select(stretch, func.count()).where(SPANS.c.start_ns >= since_ns, SPANS.c.start_ns < until_ns)
    return {int(number): int(spans) for number, spans in connection.execute(query.group_by(literal_column("1")))}


def read_outlines(connection: Connection, run_ids: Iterable[str]) -> dict[str, list[SpanOutline]]:
    """Return the outlines of the spans of runs, by run, in order of their start."""
    wanted = sorted(set(run_ids))
    found: dict[str, list[SpanOutline]] = {run_id: [] for run_id in wanted}
    columns = (SPANS.c.run_id, SPANS.c.span_id, SPANS.c.parent_id, SPANS.c.kind, SPANS.c.start_ns, SPANS.c.end_ns)
    query = select(*columns).order_by(SPANS.c.start_ns, SPANS.c.span_id)
    for run_id, span_id, parent_id, kind, start_ns, end_ns in rows_with(connection, query, SPANS.c.run_id, wanted):
        found[run_id].append(SpanOutline(span_id, parent_id, SPAN_KINDS[kind], start_ns, end_ns))
    return found


def read_charges(connection: Connection, selection: Selection) -> list[Charge]:
    """Return the charges on spans of selected runs and calls."""
    return [charge_of(row) for row in connection.execute(_beside(CHARGES, selection))]


def read_placed_charges(connection: Connection, selection: Selection) -> Iterator[tuple[Charge, Placement]]:
    """Yield the charges on spans of selected runs and calls, with their placement."""
    width = len(CHARGES.columns)
    query = _placed(CHARGES, selection)
    for table in (TOOL_CALLS, INFERENCES):
        on = and_(table.c.trace_id == CHARGES.c.trace_id, table.c.span_id == CHARGES.c.span_id)
        query = query.outerjoin(table, on).add_columns(table.c.agent_name)
    for rows in _partitions(connection, query):
        for row in rows:
            yield charge_of(row[:width]), _placement(row[width:-2], row[-2] or row[-1])


def read_attribute_values(
    connection: Connection, selection: Selection, name: str, *, roots_only: bool = False
) -> dict[tuple[bytes, bytes], str]:
    """Return, by span, the value of an attribute: the span's own, else its resource's, else its run's root's."""
    root = SPANS.alias("root_spans")
    joined = (
        SPANS.outerjoin(RUNS, RUNS.c.run_id == SPANS.c.run_id)
        .outerjoin(RESOURCES, RESOURCES.c.resource_id == SPANS.c.resource_id)
        .outerjoin(root, and_(root.c.trace_id == RUNS.c.trace_id, root.c.span_id == RUNS.c.root_span_id))
    )
    places = (SPANS.c.attributes, RESOURCES.c.attributes, root.c.attributes)
    query = (
        select(SPANS.c.trace_id, SPANS.c.span_id, *places)
        .select_from(joined)
        .where(
            or_(*(place.contains(dump_json(name), autoescape=True) for place in places)),
            *((SPANS.c.span_id == RUNS.c.root_span_id, SPANS.c.trace_id == RUNS.c.trace_id) if roots_only else ()),
            *_window(SPANS.c.start_ns, selection),
            *_call_conditions(None, selection),
        )
    )
    values = {}
    for rows in _partitions(connection, query):
        for trace_id, span_id, *texts in rows:
            for text in texts:
                attributes = dict(load_json(text)) if text and dump_json(name) in text else {}
                if name in attributes:
                    value = attributes[name]
                    values[trace_id, span_id] = value if isinstance(value, str) else dump_json(value)
                    break
    return values


def read_outcomes(connection: Connection, selection: Selection) -> list[Outcome]:
    """Return the outcomes on spans of selected runs."""
    return [outcome_of(row) for row in connection.execute(_beside(OUTCOMES, selection))]


def read_serving_samples(connection: Connection, selection: Selection) -> list[ServingSample]:
    """Return the samples in the selection's window, in order of time; only ``service`` narrows them further."""
    table = SERVING_SAMPLES
    query = select(*table.columns).where(*_window(table.c.time_ns, selection))
    services = [value for key, value in selection.where if key == "service"]
    if services:
        named = select(RESOURCES.c.resource_id).where(RESOURCES.c.service.in_(services))
        query = query.where(table.c.resource_id.in_(named))
    rows = list(connection.execute(query.order_by(table.c.time_ns, table.c.metric, table.c.sample_id)))
    resources = load_resources(connection, {row.resource_id for row in rows})
    return [sample_of(row, resources.get(row.resource_id)) for row in rows]


def _partitions(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    return connection.execution_options(yield_per=_FETCH).execute(query).partitions()


def _placed(table: Any, selection: Selection) -> Select[Any]:
    joined = (
        table.join(SPANS, and_(SPANS.c.trace_id == table.c.trace_id, SPANS.c.span_id == table.c.span_id))
        .outerjoin(RUNS, RUNS.c.run_id == SPANS.c.run_id)
        .outerjoin(RESOURCES, RESOURCES.c.resource_id == SPANS.c.resource_id)
    )
    return (
        select(*table.columns, *_PLACEMENT)
        .select_from(joined)
        .where(*_window(SPANS.c.start_ns, selection), *_call_conditions(table, selection))
        .order_by(SPANS.c.start_ns, SPANS.c.trace_id, SPANS.c.span_id)
    )


def _beside(table: Any, selection: Selection) -> Select[Any]:
    joined = (
        table.outerjoin(SPANS, and_(SPANS.c.trace_id == table.c.trace_id, SPANS.c.span_id == table.c.span_id))
        .outerjoin(RUNS, RUNS.c.run_id == SPANS.c.run_id)
        .outerjoin(RESOURCES, RESOURCES.c.resource_id == SPANS.c.resource_id)
    )
    query = select(*table.columns).select_from(joined)
    query = query.where(*_window(SPANS.c.start_ns, selection), *_call_conditions(None, selection))
    return query.order_by(*table.columns)


def _placement(row: Any, agent_name: str | None) -> Placement:
    (
        run_id, parent_id, start_ns, end_ns, status, error_type, span_agent, session_id, user_id, purpose, service,
        dialect, source, weight, tags, run_tags,
    ) = row  # fmt: skip
    merged = load_json(tags) if tags else {}
    if run_tags and run_tags != tags:
        merged = {**merged, **load_json(run_tags)}
    return Placement(
        run_id,
        parent_id,
        start_ns,
        end_ns,
        STATUSES[status],
        error_type,
        agent_name or span_agent,
        session_id,
        user_id,
        Purpose(purpose) if purpose else None,
        service,
        dialect,
        source,
        weight,
        merged,
    )


def _window(start: ColumnElement[Any], selection: Selection) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if selection.since_ns is not None:
        conditions.append(start >= selection.since_ns)
    if selection.until_ns is not None:
        conditions.append(start < selection.until_ns)
    return conditions


def _call_conditions(table: Any, selection: Selection) -> list[ColumnElement[bool]]:
    return [_call_condition(table, key, value) for key, value in selection.where]


def _call_condition(table: Any, key: str, value: str) -> ColumnElement[bool]:
    if key in {"model", "provider"}:
        if table is INFERENCES:
            return _is_model_or_provider(key, value)
        return _run_has_call(key, value, SPANS.c.run_id)
    if key == "agent":
        return _is_of_agent(table, value)
    if key == "run":
        return _is_run(SPANS.c.run_id, value)
    if key in {"session", "user", "purpose"}:
        name = "purpose" if key == "purpose" else key + "_id"
        return func.coalesce(RUNS.c[name], SPANS.c[name]) == value
    if key == "service":
        return func.coalesce(RUNS.c.service, RESOURCES.c.service) == value
    if key in {"dialect", "source"}:
        return SPANS.c[key] == value
    if key.startswith("tag."):
        return or_(_has_tag(RUNS.c.tags, key, value), _has_tag(SPANS.c.tags, key, value))
    raise AssertionError(key)


def _is_of_agent(table: Any, value: str) -> ColumnElement[bool]:
    """Match the agent that was decided for a call, else its span's, else its run's."""
    fallback = func.coalesce(SPANS.c.agent_name, RUNS.c.agent_name)
    if table in (INFERENCES, TOOL_CALLS):
        return func.coalesce(table.c.agent_name, fallback) == value
    decided = [
        select(calls.c.agent_name)
        .where(calls.c.trace_id == SPANS.c.trace_id, calls.c.span_id == SPANS.c.span_id)
        .correlate(SPANS)
        .scalar_subquery()
        for calls in (INFERENCES, TOOL_CALLS)
    ]
    return func.coalesce(*decided, fallback) == value


def _run_conditions(selection: Selection) -> list[ColumnElement[bool]]:
    return [_run_condition(key, value) for key, value in selection.where]


def _run_condition(key: str, value: str) -> ColumnElement[bool]:
    if key in {"model", "provider"}:
        return _run_has_call(key, value, RUNS.c.run_id)
    if key == "run":
        return _is_run(RUNS.c.run_id, value)
    if key in {"session", "user"}:
        return RUNS.c[key + "_id"] == value
    if key in {"purpose", "service"}:
        return RUNS.c[key] == value
    if key == "agent":
        return or_(RUNS.c.agent_name == value, _run_has_span(_is_of_agent(None, value)))
    if key in {"dialect", "source"}:
        return _run_has_span(SPANS.c[key] == value)
    if key.startswith("tag."):
        return _has_tag(RUNS.c.tags, key, value)
    raise AssertionError(key)


def _is_run(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """Match a run id or its beginning; a whole one is found through the index."""
    return column == value if len(value) >= RUN_ID_DIGITS else column.startswith(value, autoescape=True)


def _is_model_or_provider(key: str, value: str) -> ColumnElement[bool]:
    if key == "provider":
        return INFERENCES.c.provider == value
    return or_(INFERENCES.c.response_model == value, INFERENCES.c.request_model == value)


def _run_has_call(key: str, value: str, run_id: ColumnElement[Any]) -> ColumnElement[bool]:
    inner = SPANS.alias("inner_spans")
    return exists().where(
        inner.c.run_id == run_id,
        INFERENCES.c.trace_id == inner.c.trace_id,
        INFERENCES.c.span_id == inner.c.span_id,
        _is_model_or_provider(key, value),
    )


def _run_has_span(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(SPANS.c.run_id == RUNS.c.run_id, condition)


def _has_tag(column: ColumnElement[Any], key: str, value: str) -> ColumnElement[bool]:
    # tags are one JSON object of strings: the pair's own text is found in it or the tag is not there
    pair = dump_json({key.removeprefix("tag."): value})[1:-1]
    text = case((column.is_(None), ""), else_=column)
    return (
        or_(
            text.contains("{" + pair + ",", autoescape=True),
            text.contains("," + pair + ",", autoescape=True),
            text.contains("," + pair + "}", autoescape=True),
            text == "{" + pair + "}",
        )
        if pair
        else false()
    )
