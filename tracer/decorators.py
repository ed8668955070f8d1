"""``agent``, ``step``, ``tool``, ``inference`` and ``workflow``: decorators and context managers.

Work on the signature happens at decoration; a call costs a span's start and end.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from opentelemetry.trace import Span, SpanKind

from inferometer.schema import attributes as names
from inferometer.schema.errors import UserError
from inferometer.tracer.activity import Activity, Plan
from inferometer.tracer.arguments import CallArguments
from inferometer.tracer.budget import Budget
from inferometer.tracer.wrapping import wrap

if TYPE_CHECKING:
    from decimal import Decimal
    from types import TracebackType

F = TypeVar("F", bound=Callable[..., Any])
Attributes = Mapping[str, Any]
ENTRY_METHODS = ("__call__", "run", "arun", "invoke", "ainvoke", "stream", "astream")


class Traced:
    """One kind of span with its options: a decorator of functions and classes, and a context manager."""

    def __init__(
        self,
        kind: str,
        name: str | None,
        attributes: Attributes | None,
        *,
        operation: str | None = None,
        name_attribute: str | None = None,
        subject: str | None = None,
        otel_kind: SpanKind = SpanKind.INTERNAL,
        method: str | None = None,
        budget: Budget | None = None,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise UserError(f"@{kind} decorates functions and classes, not {type(name).__name__} {name!r:.60}")
        self._kind = kind
        self._name = name
        self._static = {names.KIND: kind, **(attributes or {})}
        if operation is not None:
            self._static[names.OPERATION] = operation
        self._operation = operation
        self._name_attribute = name_attribute
        self._subject = subject
        self._otel_kind = otel_kind
        self._method = method
        self._budget = budget
        self._open: list[Activity] = []

    def _plan(self, name: str, arguments: CallArguments | None = None) -> Plan:
        attributes = dict(self._static)
        if self._name_attribute is not None:
            attributes[self._name_attribute] = name
        subject = self._subject or name
        label = subject if self._operation is None else f"{self._operation} {subject}"
        return Plan(self._kind, label, name, self._otel_kind, attributes, self._budget, arguments)

    def __call__(self, target: F) -> F:
        """Decorate a function, method, callable object or class.

        Raises:
            UserError: for what cannot be called, or a class without a method to trace.
        """
        decorated: Any
        if isinstance(target, (staticmethod, classmethod)):
            decorated = type(target)(self(target.__func__))
        elif isinstance(target, type):
            decorated = self._decorate_class(target)
        elif callable(target):
            decorated = wrap(self._plan(self._name or _name_of(target), CallArguments(target)), target)
        else:
            raise UserError(f"@{self._kind} decorates functions and classes, not {type(target).__name__}")
        return decorated  # type: ignore[no-any-return]

    def _decorate_class(self, target: type) -> type:
        wanted = (self._method,) if self._method else ENTRY_METHODS
        found = [name for name in wanted if name in vars(target)]
        if not found:
            raise UserError(
                f"@{self._kind} on class {target.__name__}: none of {', '.join(wanted)}; name one with method"
            )
        decorator = copy.copy(self)
        decorator._name, decorator._method = self._name or target.__name__, None
        for name in found:
            setattr(target, name, decorator(vars(target)[name]))
        return target

    def __enter__(self) -> Span:
        """Open a span around the block and return it."""
        activity = Activity(self._plan(self._name or self._kind))
        self._open.append(activity)
        return activity.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.pop().close(error)

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def _name_of(target: Any) -> str:
    while isinstance(target, functools.partial):
        target = target.func
    return str(getattr(target, "__name__", type(target).__name__))


def _apply(traced: Traced, target: Any) -> Any:
    return traced if target is None or isinstance(target, str) else traced(target)


def _name_in(target: Any, name: str | None) -> str | None:
    return target if isinstance(target, str) else name


@overload
def agent(target: F, /) -> F: ...
@overload
def agent(
    target: str | None = None,
    /,
    *,
    name: str | None = None,
    attributes: Attributes | None = None,
    method: str | None = None,
    budget_usd: Decimal | float | str | None = None,
    budget_tokens: int | None = None,
    max_inferences: int | None = None,
    max_repeats: int | None = None,
    strict: bool = False,
) -> Traced: ...
def agent(
    target: Any = None,
    /,
    *,
    name: str | None = None,
    attributes: Attributes | None = None,
    method: str | None = None,
    **limits: Any,
) -> Any:
    """Trace one agent handling one request; the topmost one is a run. ``@agent``, ``@agent(...)``, ``with agent("x")``.

    Args:
        target: what is decorated, or the name.
        name: what the agent is called; default the function's name.
        attributes: added to each span.
        method: of a class, the method that runs it.
        limits: ``budget_usd`` (dollars of model calls under it, list price), ``budget_tokens`` (in and out),
            ``max_inferences``, ``max_repeats`` (calls of one tool with the same arguments), ``strict`` (also stop at a
            call without a price). `BudgetExceeded` is raised at the call that would break one.

    Raises:
        UserError: at decoration, for what cannot be decorated and a budget that is no positive number.
        MissingExtraError: at decoration, for ``budget_usd`` without a price list installed.
    """
    budget = Budget.of("agent", limits)
    return _apply(
        Traced(
            "agent",
            _name_in(target, name),
            attributes,
            operation="invoke_agent",
            name_attribute=names.AGENT_NAME,
            method=method,
            budget=budget,
        ),
        target,
    )


@overload
def workflow(target: F, /) -> F: ...
@overload
def workflow(
    target: str | None = None,
    /,
    *,
    name: str | None = None,
    attributes: Attributes | None = None,
    method: str | None = None,
    budget_usd: Decimal | float | str | None = None,
    budget_tokens: int | None = None,
    max_inferences: int | None = None,
    max_repeats: int | None = None,
    strict: bool = False,
) -> Traced: ...
def workflow(
    target: Any = None,
    /,
    *,
    name: str | None = None,
    attributes: Attributes | None = None,
    method: str | None = None,
    **limits: Any,
) -> Any:
    """Trace several agents at work on one request; arguments as for `agent`."""
    budget = Budget.of("workflow", limits)
    return _apply(
        Traced(
            "workflow",
            _name_in(target, name),
            attributes,
            operation="invoke_workflow",
            name_attribute=names.WORKFLOW_NAME,
            method=method,
            budget=budget,
        ),
        target,
    )


@overload
def step(target: F, /) -> F: ...
@overload
def step(target: str | None = None, /, *, name: str | None = None, attributes: Attributes | None = None) -> Traced: ...
def step(target: Any = None, /, *, name: str | None = None, attributes: Attributes | None = None) -> Any:
    """Trace one turn of an agent's loop."""
    return _apply(Traced("step", _name_in(target, name), attributes), target)


@overload
def tool(target: F, /) -> F: ...
@overload
def tool(
    target: str | None = None,
    /,
    *,
    name: str | None = None,
    attributes: Attributes | None = None,
    method: str | None = None,
    type: str = "function",
    call_id: str | None = None,
) -> Traced: ...
def tool(
    target: Any = None,
    /,
    *,
    name: str | None = None,
    attributes: Attributes | None = None,
    method: str | None = None,
    type: str = "function",  # noqa: A002 - the convention's word
    call_id: str | None = None,
) -> Any:
    """Trace one tool call.

    Args:
        target: what is decorated, or the name.
        name: of the tool; default the function's name.
        attributes: added to each span.
        method: of a class, the method that runs the tool.
        type: ``function``, ``extension`` or ``datastore``.
        call_id: of the model's request for this call, where used as a context manager.
    """
    static = {names.TOOL_TYPE: type, **(attributes or {})}
    if call_id is not None:
        static[names.TOOL_CALL_ID] = call_id
    return _apply(
        Traced(
            "tool",
            _name_in(target, name),
            static,
            operation="execute_tool",
            name_attribute=names.TOOL_NAME,
            method=method,
        ),
        target,
    )


@overload
def inference(target: F, /) -> F: ...
@overload
def inference(
    target: str | None = None,
    /,
    *,
    model: str | None = None,
    provider: str | None = None,
    operation: str = "chat",
    name: str | None = None,
    attributes: Attributes | None = None,
) -> Traced: ...
def inference(
    target: Any = None,
    /,
    *,
    model: str | None = None,
    provider: str | None = None,
    operation: str = "chat",
    name: str | None = None,
    attributes: Attributes | None = None,
) -> Any:
    """Trace one model call that no hook sees; say what it used with `record_usage` before it ends.

    Args:
        target: what is decorated, or the name.
        model: asked for.
        provider: such as ``openai``.
        operation: ``chat``, ``text_completion``, ``generate_content`` or ``embeddings``.
        name: of the function; default its own.
        attributes: added to each span.
    """
    said = {names.REQUEST_MODEL: model, names.PROVIDER: provider}
    static = {**(attributes or {}), **{key: value for key, value in said.items() if value is not None}}
    return _apply(
        Traced(
            "inference",
            _name_in(target, name),
            static,
            operation=operation,
            subject=model,
            otel_kind=SpanKind.CLIENT,
        ),
        target,
    )
