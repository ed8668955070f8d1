"""Hooks for agent frameworks: `instrument` puts them in place, `uninstrument` takes every one back."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import wrapt

from inferometer.schema.errors import InferometerError, UnknownNameError
from inferometer.tracer.guard import logger, report

if TYPE_CHECKING:
    from inferometer.integrations.base import Integration

INTEGRATIONS: dict[str, str] = {
    # name: module below inferometer.integrations; the first two serve the others
    "executors": "executors",
    "http": "http",
    "openai": "openai",
    "anthropic": "anthropic",
    "google-genai": "google_genai",
    "langchain": "langchain",
    "openai-agents": "openai_agents",
    "litellm": "litellm",
    "mcp": "mcp",
    "bedrock": "bedrock",
    "crewai": "crewai",
    "dspy": "dspy",
    "llama-index": "llama_index",
    "smolagents": "smolagents",
    "claude-agent-sdk": "claude_agent_sdk",
}

SERVANTS = ("executors", "http")
"""Put in place with any other: they carry context into threads and count the attempts behind a call."""

_loaded: dict[str, Integration] = {}
_watched: set[str] = set()


def instrument(*names: str) -> list[str]:
    """Put hooks in place.

    Args:
        names: of frameworks; none for every installed one we know, each hooked when the program imports it.

    Returns:
        The names of all hooks that are in place, or wait for their framework to be imported.

    Raises:
        UnknownNameError: for a name we have no hook for.
        MissingExtraError: for a framework named that is not installed.
        UserError: for a framework named whose version the hook does not know.
    """
    for name in names:
        if name not in INTEGRATIONS:
            raise UnknownNameError("integration", name, INTEGRATIONS)
    for name in names or INTEGRATIONS:
        integration = _load(name)
        if names:
            integration.install()
        elif integration.installed:
            _install_when_imported(integration)
    for name in SERVANTS if names else ():
        _load(name).install()
    return [name for name, integration in _loaded.items() if integration.active or integration.awaited]


def _install_when_imported(integration: Integration) -> None:
    """Put a hook in place now, or at the moment the program imports the framework: we do not import it for it."""
    integration.awaited = True
    if integration.module in sys.modules:
        _install_quietly(integration)
    elif integration.name not in _watched:
        _watched.add(integration.name)
        wrapt.register_post_import_hook(lambda module: _install_quietly(integration), integration.module)


def _install_quietly(integration: Integration) -> None:
    if not integration.awaited:
        return
    try:
        integration.install()
    except InferometerError as error:
        logger.warning("inferometer: %s", error)
    except Exception as error:
        report(f"instrument {integration.name}", error)


def uninstrument(*names: str) -> None:
    """Take hooks back: those named, or all; every original is restored.

    Raises:
        UnknownNameError: for a name we have no hook for.
    """
    for name in names:
        if name not in INTEGRATIONS:
            raise UnknownNameError("integration", name, INTEGRATIONS)
    for name in names or tuple(_loaded):
        if name in _loaded:
            _loaded[name].uninstall()


def _load(name: str) -> Integration:
    if name not in _loaded:
        module = import_module(f"inferometer.integrations.{INTEGRATIONS[name]}")
        integration: Integration = module.integration()
        _loaded[name] = integration
    return _loaded[name]
