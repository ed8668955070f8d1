"""Parquet: one file a table, typed, with money as decimals, for whole-store questions in DuckDB, pandas or Spark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inferometer.profiles.prices import PriceList
from inferometer.schema.errors import InputError, MissingExtraError
from inferometer.schema.meters import METER_NAMES
from inferometer.schema.selection import Selection
from inferometer.store import Store

_ROWS_AT_ONCE = 20_000
_PLACEMENT = (
    *("run_id", "session_id", "agent_name", "user_id", "service", "dialect", "source"),
    *("start_ns", "end_ns", "error_type", "weight"),
)


def write_parquet(store: Store, selection: Selection, prices: PriceList, folder: Path) -> dict[str, int]:
    """Write ``inferences.parquet``, ``tool_calls.parquet`` and ``runs.parquet`` and return the rows of each.

    Inferences carry their list and contracted cost; ones that are not billable are in the file and marked.

    Raises:
        MissingExtraError: pyarrow is not installed.
        InputError: the folder cannot be written.
    """
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("export --to parquet", "parquet", "pyarrow") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return {
            "inferences": _write(
                folder / "inferences.parquet", _INFERENCE_TYPES, _inferences(store, selection, prices)
            ),
            "tool_calls": _write(folder / "tool_calls.parquet", _TOOL_TYPES, _tool_calls(store, selection)),
            "runs": _write(folder / "runs.parquet", _RUN_TYPES, _runs(store, selection)),
        }
    except OSError as error:
        raise InputError(str(folder), error.strerror or "cannot be written") from error


_TEXT, _INTEGER, _TRUTH, _NUMBER, _BYTES, _MONEY = "string", "int64", "bool_", "float64", "binary", "money"
_PLACEMENT_TYPES = dict.fromkeys(_PLACEMENT, _TEXT) | {"start_ns": _INTEGER, "end_ns": _INTEGER, "weight": _NUMBER}
_INFERENCE_TYPES = {
    "trace_id": _BYTES,
    "span_id": _BYTES,
    **_PLACEMENT_TYPES,
    "provider": _TEXT,
    "request_model": _TEXT,
    "response_model": _TEXT,
    "operation": _TEXT,
    **dict.fromkeys(METER_NAMES, _INTEGER),
    "usage_source": _TEXT,
    "service_tier": _TEXT,
    "batch": _TRUTH,
    "stream": _TRUTH,
    "ttft_ns": _INTEGER,
    "finish_reason": _TEXT,
    "billable": _TRUTH,
    "merged_into": _BYTES,
    "recorded_cost_usd": _MONEY,
    "list_cost_usd": _MONEY,
    "contracted_cost_usd": _MONEY,
    "unpriced_reason": _TEXT,
}
_TOOL_TYPES = {
    "trace_id": _BYTES,
    "span_id": _BYTES,
    **_PLACEMENT_TYPES,
    "name": _TEXT,
    "kind": _TEXT,
    "argument_fingerprint": _TEXT,
    "result_tokens": _INTEGER,
    "error": _TEXT,
    "duration_ns": _INTEGER,
    "merged_into": _BYTES,
}
_RUN_TYPES = {
    "run_id": _TEXT,
    "trace_id": _BYTES,
    "root_span_id": _BYTES,
    "name": _TEXT,
    "agent_name": _TEXT,
    "session_id": _TEXT,
    "user_id": _TEXT,
    "service": _TEXT,
    "source": _TEXT,
    "status": _TEXT,
    "start_ns": _INTEGER,
    "end_ns": _INTEGER,
    "is_open": _TRUTH,
    "weight": _NUMBER,
}


def _inferences(store: Store, selection: Selection, prices: PriceList) -> Iterator[dict[str, Any]]:
    for row in store.inferences(selection, billable_only=False):
        call, priced = row.inference, prices.price(row)
        record = {name: getattr(call, name, None) for name in _INFERENCE_TYPES}
        record |= {name: getattr(row.placement, name) for name in _PLACEMENT}
        record |= {name: getattr(call.meters, name) for name in METER_NAMES}
        record |= {
            "operation": call.operation.value,
            "usage_source": call.usage_source.value,
            "list_cost_usd": priced.list_cost_usd,
            "contracted_cost_usd": priced.contracted_cost_usd,
            "unpriced_reason": priced.reason,
        }
        yield record


def _tool_calls(store: Store, selection: Selection) -> Iterator[dict[str, Any]]:
    for row in store.tool_calls(selection):
        record = {name: getattr(row.tool_call, name, None) for name in _TOOL_TYPES}
        yield record | {name: getattr(row.placement, name) for name in _PLACEMENT}


def _runs(store: Store, selection: Selection) -> Iterator[dict[str, Any]]:
    for run in store.runs(selection):
        yield {name: getattr(run, name) for name in _RUN_TYPES} | {"status": run.status.value}


def _write(path: Path, types: dict[str, str], records: Iterator[dict[str, Any]]) -> int:
    import pyarrow
    import pyarrow.parquet

    # 18 digits after the point hold every price a token has; what a source wrote beyond them is binary noise
    made = {
        name: pyarrow.decimal128(38, 18) if kind == _MONEY else getattr(pyarrow, kind)() for name, kind in types.items()
    }
    schema = pyarrow.schema(list(made.items()))
    money = [name for name, kind in types.items() if kind == _MONEY]
    count = 0
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[dict[str, Any]] = []
        for record in records:
            for name in money:
                if record[name] is not None:
                    record[name] = round(record[name], 18)
            waiting.append(record)
            if len(waiting) == _ROWS_AT_ONCE:
                writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
                count += len(waiting)
                waiting.clear()
        writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
    return count + len(waiting)
