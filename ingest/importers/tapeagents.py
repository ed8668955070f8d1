"""TapeAgents stores: an SQLite database of model calls with prompts, token counts and costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from inferometer.ingest.content import describe_input
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.session import Session
from inferometer.ingest.said import Said
from inferometer.ingest.usage import read_count
from inferometer.ingest.values import as_mapping, as_money, as_name, iso_ns
from inferometer.schema.errors import InputError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, RecordBatch, UsageSource
from inferometer.store.foreign import read_sqlite

_COLUMNS = (
    "prompt_id",
    "timestamp",
    "prompt",
    "prompt_length_tokens",
    "output_length_tokens",
    "cached",
    "llm_info",
    "cost",
)
_HOSTED = frozenset({"gpt", "o1", "o3", "o4", "claude", "gemini"})
"""Beginnings of names of models that someone else serves: a cost of 0 for another one says that it is self-hosted."""


def matches(source: Source) -> bool:
    """Return whether a file is an SQLite database with a table of model calls."""
    return source.head.startswith(b"SQLite format 3\0") and b"LLMCalls" in source.head


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of all calls; each is a run of its own, for nothing says which belong together."""
    session = Session("tapeagents", source.name, source.name, None, keep_content=source.options.keep_content)
    try:
        rows = sorted(read_sqlite(source.database(), "LLMCalls", _COLUMNS), key=lambda row: (str(row[1]), row[0]))
    except ValueError as error:
        raise InputError(str(source.path), f"no TapeAgents database: {error}") from error
    session.begin_run("run", None)
    for row in rows:
        _read_call(session, dict(zip(_COLUMNS, row, strict=True)))
    yield session.finish()


def _read_call(session: Session, row: dict[str, Any]) -> None:
    prompt, info = _loaded(row["prompt"]), _loaded(row["llm_info"])
    model = as_name(info.get("model_name"))
    call = Inference(b"", b"", request_model=model)
    warnings = session.batch.warnings
    call.meters = Meters(
        input_fresh=read_count(row["prompt_length_tokens"], "input", warnings, call.reasons),
        output=read_count(row["output_length_tokens"], "output", warnings, call.reasons),
    )
    call.usage_source = UsageSource.PROVIDER if call.meters.is_known else UsageSource.ABSENT
    describe_input(call, None, prompt.get("messages"), prompt.get("tools"))
    cost = as_money(row["cost"])
    if cost == 0 and not (model or "").lower().startswith(tuple(_HOSTED)):
        call.reasons.append("recorded cost of 0 left out: a model that is served by its user has a cost of its own")
    else:
        call.recorded_cost_usd = cost
    # the stamp is that of the row's writing: nothing tells how long the call took
    said = Said(messages=prompt.get("messages"), tools=prompt.get("tools"))
    session.add_call(str(row["prompt_id"]), call, iso_ns(row["timestamp"]), None, said=said)


def _loaded(value: Any) -> dict[str, Any]:
    try:
        return as_mapping(json.loads(value)) if isinstance(value, str) else {}
    except (ValueError, RecursionError):
        return {}


IMPORTER = Importer(
    name="tapeagents",
    reads="TapeAgents SQLite stores: calls with token counts and costs, prefixes hashed from the prompts",
    matches=matches,
    read=read,
)
