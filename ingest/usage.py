"""From the counts an emitter wrote to disjoint meters: totals decide where cached and reasoning tokens sit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from inferometer.ingest.dialects.dialect import Fields
from inferometer.schema.meters import Meters
from inferometer.schema.records import UsageSemantics
from inferometer.schema.usage.arithmetic import all_output, fitted, is_inclusive
from inferometer.schema.usage.body import ABSURD_TOKENS, count_of

_SPLITS_IN_ORDER = (
    "input_text",
    "input_audio",
    "input_image",
    "cache_read_audio",
    "output_text",
    "output_audio",
    "output_image",
)
_SPLITS = frozenset(_SPLITS_IN_ORDER)
USAGE_FIELDS = frozenset(
    {
        *_SPLITS_IN_ORDER,
        *("input", "output", "total", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning"),
        *("semantics", "reasoning_beside"),
    }
)
"""Fields that belong together: counts of one emitter are never filled up with those of another."""

_COUNTS = ("input", "output", "total", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning")


@dataclass(slots=True)
class Usage:
    """Meters of one call, how the emitter counted, and what was noticed."""

    meters: Meters = field(default_factory=Meters)
    semantics: UsageSemantics = UsageSemantics.UNKNOWN
    reasons: list[str] = field(default_factory=list)


def usage_of(fields: Fields, declared: UsageSemantics, warnings: Counter[str]) -> Usage:
    """Return the meters that a span's fields give.

    Args:
        fields: counts as written, inclusive or exclusive; ``reasoning_beside`` is true where the dialect counts
            reasoning beside the output.
        declared: how the dialect counts where nothing in the span speaks against it.
        warnings: where broken counts are counted.
    """
    usage = Usage()
    counts: dict[str, int | None] = {}
    for name in _COUNTS:
        if name in fields:
            value = fields[name]
            is_plain = type(value) is int and 0 <= value <= ABSURD_TOKENS
            counts[name] = value if is_plain else read_count(value, name, warnings, usage.reasons)
    if not counts:
        return usage
    given, output, total = counts.get("input"), counts.get("output"), counts.get("total")
    reasoning = counts.get("reasoning")
    five_minutes, one_hour = _writes(counts)
    cached = (counts.get("cache_read") or 0) + (five_minutes or 0) + (one_hour or 0)

    inclusive = fields.get("semantics", declared) is not UsageSemantics.EXCLUSIVE
    if given is not None and cached:
        inclusive, why = is_inclusive(given, cached, output, total, reasoning, inclusive)
        usage.reasons += [why] if why else []
    cache_read = counts.get("cache_read")
    if inclusive and given is not None and cached > given:
        (cache_read, five_minutes, one_hour), why = fitted(given, cache_read, five_minutes, one_hour)
        usage.reasons += [why] if why else []
        cached = min(cached, given)
    all_input = given if inclusive or given is None else given + cached
    output = _output(all_input, output, total, reasoning, bool(fields.get("reasoning_beside")), usage.reasons)
    if all_input is None and total is not None and output is not None and total >= output:
        all_input = total - output
        usage.reasons.append("input taken as total minus output")
    if all_input is None and cached:
        all_input = cached
    if reasoning is not None and output is not None and reasoning > output:
        warnings["reasoning_over_output"] += 1
        reasoning = None
    splits: dict[str, int] = {}
    if not _SPLITS.isdisjoint(fields):
        splits = {
            name: value
            for name in _SPLITS_IN_ORDER
            if name in fields and (value := read_count(fields[name], name, warnings, usage.reasons)) is not None
        }
    if given is not None:
        usage.semantics = UsageSemantics.INCLUSIVE if inclusive else UsageSemantics.EXCLUSIVE
    fresh = None if all_input is None else max(0, all_input - cached)
    usage.meters = Meters(fresh, cache_read, five_minutes, one_hour, output, reasoning, **splits)
    return usage


def read_count(value: Any, name: str, warnings: Counter[str], reasons: list[str]) -> int | None:
    """Return a token count; None, counted and with a reason, where it is negative, absurd or no whole number."""
    count = count_of(value)
    if count is None:
        warnings["broken_token_count"] += 1
        reasons.append(f"{name} count kept out: not a number of tokens")
    return count


def _writes(counts: dict[str, int | None]) -> tuple[int | None, int | None]:
    """Return cache writes by lifetime; what no lifetime is given for counts as the default of five minutes."""
    whole, five, hour = counts.get("cache_write"), counts.get("cache_write_5m"), counts.get("cache_write_1h")
    if whole is None:
        return five, hour
    if five is None and hour is None:
        return whole, None
    return max(five or 0, whole - (hour or 0)), hour


def _output(
    all_input: int | None, output: int | None, total: int | None, reasoning: int | None, beside: bool, notes: list[str]
) -> int | None:
    if output is None:
        if all_input is not None and total is not None and total >= all_input:
            notes.append("output taken as total minus input")
            return total - all_input
        return None
    found, why = all_output(output, reasoning, all_input, total, beside)
    notes += [why] if why else []
    return found
