"""Statements over many values: a database takes some hundreds of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select
from sqlalchemy.engine import Connection

Value = TypeVar("Value")

_CHUNK = 300


def chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Yield the values in order, some hundreds at a time."""
    for begin in range(0, len(values), _CHUNK):
        yield values[begin : begin + _CHUNK]


def rows_with(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], values: Sequence[Any]
) -> Iterator[Any]:
    """Yield the rows of a query in which a column, or a tuple of some, has one of these values."""
    for chunk in chunks(values):
        yield from connection.execute(query.where(column.in_(chunk)))
