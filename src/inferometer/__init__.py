"""Inferometer: trace agentic workloads, account for every token, replay them elsewhere, audit what they cost.

Importing this package is cheap: each public name loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inferometer import tokens as tokens
    from inferometer.exporters.setup import configure as configure
    from inferometer.exporters.setup import flush as flush
    from inferometer.exporters.setup import shutdown as shutdown
    from inferometer.integrations import instrument as instrument
    from inferometer.integrations import uninstrument as uninstrument
    from inferometer.schema.errors import BudgetExceeded as BudgetExceeded
    from inferometer.tracer import agent as agent
    from inferometer.tracer import annotate as annotate
    from inferometer.tracer import inference as inference
    from inferometer.tracer import outcome as outcome
    from inferometer.tracer import session as session
    from inferometer.tracer import step as step
    from inferometer.tracer import tag as tag
    from inferometer.tracer import tool as tool
    from inferometer.tracer import workflow as workflow

__version__ = "0.1.0"

_HOMES = {
    "configure": "inferometer.exporters.setup",
    "flush": "inferometer.exporters.setup",
    "shutdown": "inferometer.exporters.setup",
    "instrument": "inferometer.integrations",
    "uninstrument": "inferometer.integrations",
    "agent": "inferometer.tracer",
    "step": "inferometer.tracer",
    "tool": "inferometer.tracer",
    "inference": "inferometer.tracer",
    "workflow": "inferometer.tracer",
    "annotate": "inferometer.tracer",
    "tag": "inferometer.tracer",
    "session": "inferometer.tracer",
    "outcome": "inferometer.tracer",
    "BudgetExceeded": "inferometer.schema.errors",
}

__all__ = [*_HOMES, "__version__", "tokens"]


def __getattr__(name: str) -> Any:
    if name == "tokens":
        return import_module("inferometer.tokens")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'inferometer' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
