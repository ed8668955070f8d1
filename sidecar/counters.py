"""Counts and gauges of the sidecar, and how Prometheus reads them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

PREFIX = "inferometer_sidecar_"

Labels = tuple[tuple[str, str], ...]

HELP = {
    "received_bytes_total": "Bytes of request bodies as sent.",
    "accepted_items_total": "Spans, log records and data points acknowledged.",
    "accepted_requests_total": "Requests acknowledged.",
    "rejected_items_total": "Items left out of a request that was otherwise taken.",
    "refused_requests_total": "Requests refused, by reason.",
    "stored_spans_total": "Spans new to the store.",
    "stored_inferences_total": "Inferences new to the store.",
    "stored_tool_calls_total": "Tool calls new to the store.",
    "duplicate_spans_total": "Spans that came again.",
    "repeated_entries_total": "Journal entries that the store already had.",
    "warnings_total": "What had to be mended or left out while reading, by kind.",
    "quarantined_total": "Requests set aside because they could not be taken.",
    "normaliser_restarts_total": "Times the normaliser had to be started again.",
    "store_failures_total": "Times the store could not be written.",
    "forwarded_requests_total": "Requests that a destination took.",
    "forward_retries_total": "Times a destination had to be asked again.",
    "forward_refused_total": "Requests that a destination refused for good.",
    "forward_rejected_items_total": "Items that a destination left out.",
    "forward_dropped_total": "Requests dropped because a destination's backlog was full.",
    "sampled_runs_total": "Runs that sampling thinned.",
    "forward_lag_bytes": "Bytes waiting for a destination.",
    "forward_lag_seconds": "Age of the oldest request waiting for a destination.",
    "journal_bytes": "Bytes of requests that some consumer has not passed.",
    "journal_entries": "Requests that are not in the store yet.",
    "journal_age_seconds": "Age of the oldest request that is not in the store yet.",
    "in_flight_bytes": "Bytes of requests that are being read or committed.",
    "connections": "Open HTTP connections.",
    "free_disk_bytes": "Free bytes where the journal is.",
    "quarantine_requests": "Requests in quarantine.",
    "spend_today_usd": "Cost of today's (UTC) inferences, by model.",
    "tokens_today": "Tokens of today's (UTC) inferences, by model and meter.",
    "budget_spent_share": "Share of a daily budget that is spent.",
}


class Counters:
    """Named numbers with labels; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[Labels, float]] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = _key(labels)
        with self._lock:
            series = self._series(name)
            series[key] = series.get(key, 0) + amount

    def replace(self, name: str, values: Iterable[tuple[Mapping[str, str], float]]) -> None:
        """Set every series of a gauge, forgetting the ones that are not named."""
        series = {_key(labels): value for labels, value in values}
        with self._lock:
            self._series(name)
            self._values[name] = series

    def put(self, name: str, value: float, **labels: str) -> None:
        """Set one series of a gauge."""
        with self._lock:
            self._series(name)[_key(labels)] = value

    def _series(self, name: str) -> dict[Labels, float]:
        series = self._values.get(name)
        if series is None:
            assert name in HELP, name
            series = self._values[name] = {}
        return series

    def total(self, name: str) -> float:
        """Return the sum of all series of a name."""
        with self._lock:
            return sum(self._values.get(name, {}).values())

    def exposition(self) -> str:
        """Return all numbers in the Prometheus text format, version 0.0.4."""
        lines = []
        with self._lock:
            for name, series in sorted(self._values.items()):
                lines.append(f"# HELP {PREFIX}{name} {HELP[name]}")
                lines.append(f"# TYPE {PREFIX}{name} {'counter' if name.endswith('_total') else 'gauge'}")
                lines += [
                    f"{PREFIX}{name}{_labels(labels)} {_number(value)}" for labels, value in sorted(series.items())
                ]
        return "\n".join(lines) + "\n"


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(labels.items()) if len(labels) < 2 else tuple(sorted(labels.items()))


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
