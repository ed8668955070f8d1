"""Short ways to write raw spans in tests."""

from __future__ import annotations

from typing import Any

from inferometer.ingest.raw import RawSpan

TRACE = bytes(range(16))
SECOND = 1_000_000_000
START = 1_750_000_000 * SECOND


def span_id(number: int) -> bytes:
    """Return a span id of a small number."""
    return number.to_bytes(8)


def raw(
    number: int,
    name: str,
    parent: int | None = None,
    *,
    start: float = 0.0,
    end: float = 1.0,
    scope: str | None = "test.scope",
    otel_kind: str | None = "client",
    trace: bytes = TRACE,
    **attributes: Any,
) -> RawSpan:
    """A raw span whose attributes are written with ``__`` for a dot."""
    return RawSpan(
        trace,
        span_id(number),
        name,
        None if parent is None else span_id(parent),
        otel_kind,
        START + round(start * SECOND),
        START + round(end * SECOND),
        attributes={key.replace("__", "."): value for key, value in attributes.items()},
        scope=scope,
    )


def chat(
    number: int, parent: int | None = None, *, given: int = 100, out: int = 10, model: str = "gpt-4o", **rest: Any
) -> RawSpan:
    """A chat call in the current convention."""
    rest.setdefault("gen_ai__response__model", model)
    return raw(
        number,
        f"chat {model}",
        parent,
        gen_ai__operation__name="chat",
        gen_ai__request__model=model,
        gen_ai__usage__input_tokens=given,
        gen_ai__usage__output_tokens=out,
        **rest,
    )


def agent(number: int, parent: int | None = None, **rest: Any) -> RawSpan:
    """An agent span in the current convention."""
    rest.setdefault("otel_kind", "internal")
    return raw(
        number,
        "invoke_agent planner",
        parent,
        gen_ai__operation__name="invoke_agent",
        gen_ai__agent__name="planner",
        **rest,
    )
