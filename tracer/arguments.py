"""A decorated function's arguments: looked at only where something is kept of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


class CallArguments:
    """Knows a function's parameters, so that a call's arguments get their names.

    Args:
        function: the decorated function; its signature is read once, when first needed.
    """

    __slots__ = ("_function", "_names")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function: Callable[..., Any] | None = function
        self._names: tuple[str, ...] = ()

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return arguments by name; an instance or class in front is left out, further positional ones are ``args``."""
        if self._function is not None:
            self._names = _parameter_names(self._function)
            self._function = None
        values = args
        named = dict(zip(self._names, values, strict=False))
        if len(values) > len(self._names):
            named["args"] = list(values[len(self._names) :])
        named.pop("self", None)
        named.pop("cls", None)
        named.update(kwargs)
        return named


def is_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether no argument can change after the call, so that it may be looked at later."""
    for value in args:
        if type(value) not in _PLAIN:
            return False
    return all(type(value) in _PLAIN for value in kwargs.values())


def _parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in positional)
