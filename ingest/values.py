"""Values of files by others: text, counts and times, each None where it is not what it should be."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from inferometer.ingest.retention import MAX_NAME, clean

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_TIME_NS = 2**63 - 1


def as_mapping(value: Any) -> dict[str, Any]:
    """Return an object, an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a list, an empty one where it is none."""
    return value if isinstance(value, list) else []


def as_name(value: Any) -> str | None:
    """Return a short text that every database takes."""
    if value is None:
        return None
    if isinstance(value, str):
        if len(value) <= MAX_NAME and value.isascii() and "\0" not in value:
            return value or None
        return clean(value, MAX_NAME) or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def as_truth(value: Any) -> bool | None:
    """Return a truth value, also where it is written as text."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def as_number(value: Any) -> float | None:
    """Return a finite number, also where it is written as text."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number - number == 0 else None


def as_whole(value: Any) -> int | None:
    """Return a whole number that is not negative and that a database column holds."""
    number = as_number(value)
    return int(number) if number is not None and 0 <= number < 2**62 else None


def as_wholes(values: Any) -> list[int | None]:
    """Return whole numbers, each None where it is none."""
    return [as_whole(value) for value in values] if isinstance(values, (list, tuple)) else []


def as_seconds(value: Any) -> float | None:
    """Return a number that is finite and not negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < 1e18 else None


def as_money(value: Any) -> Decimal | None:
    """Return a cost in US dollars."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < 10**9 else None


def iso_ns(value: Any) -> int | None:
    """Return nanoseconds since 1970 of an ISO 8601 text, UTC where it names no zone."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    passed = moment - _EPOCH
    time_ns = (passed.days * 86_400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1000
    return time_ns if 0 < time_ns <= MAX_TIME_NS else None


def unix_ns(value: Any, unit_ns: int) -> int | None:
    """Return nanoseconds since 1970 of a number in a unit of ``unit_ns`` nanoseconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    try:
        time_ns = round(value * unit_ns)
    except OverflowError:
        return None
    return time_ns if 0 < time_ns <= MAX_TIME_NS else None
