"""``agent``, ``step``, ``tool``, ``inference`` and ``workflow``: decorators and context managers.

Work on the signature happens at decoration. A call costs a span's start and end; a generator's span starts when it is
first asked for a value and ends when it is exhausted, closed or fails, and stays attached only while its body runs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from opentelemetry.trace import Span, SpanKind

from inferometer.schema import attributes as names
from inferometer.schema.errors import UserError
from inferometer.tracer import recording
from inferometer.tracer.activity import Activity, Plan
from inferometer.tracer.arguments import CallArguments
from inferometer.tracer.budget import Budget
from inferometer.tracer.guard import report

if TYPE_CHECKING:
    from types import TracebackType

F = TypeVar("F", bound=Callable[..., Any] | type)
ENTRY_METHODS = ("__call__", "run", "arun", "invoke", "ainvoke", "stream", "astream")


class Traced:
    """A decorator and context manager of one kind of span; `agent`, `tool` and the others are its subclasses."""

    kind: ClassVar[str]
    operation: ClassVar[str | None] = None
    name_attribute: ClassVar[str | None] = None
    otel_kind: ClassVar[SpanKind] = SpanKind.INTERNAL

    def __new__(cls, target: Any = None, /, **options: Any) -> Any:
        """Decorate at once where used bare, as ``@agent``; else keep the options for later."""
        traced = super().__new__(cls)
        if target is None or isinstance(target, str):
            return traced
        traced.__init__(**options)  # type: ignore[misc]
        return traced(target)

    def __init__(
        self,
        name: str | None = None,
        /,
        *,
        attributes: Mapping[str, Any] | None = None,
        method: str | None = None,
        **named: Any,
    ) -> None:
        given = named.pop("name", name)
        if given is not None and not isinstance(given, str):
            raise UserError(f"@{self.kind} takes a name or a function, not {type(given).__name__}")
        self._name: str | None = given
        self._method = method
        self._static = dict(attributes or ())
        self._budget = self._take_budget(named)
        self._take_options(named)
        if named:
            raise UserError(f"@{self.kind} has no option {', '.join(sorted(named))}")
        self._activities: list[Activity] = []

    def _take_budget(self, named: dict[str, Any]) -> Budget | None:
        return None

    def _take_options(self, named: dict[str, Any]) -> None:
        """Take the options of one kind out of `named`."""

    def plan(self, name: str, arguments: CallArguments | None = None) -> Plan:
        """Return what is known before any call: span name, kind and attributes."""
        attributes: dict[str, Any] = {names.KIND: self.kind}
        if self.operation is not None:
            attributes[names.OPERATION] = self.operation
        if self.name_attribute is not None:
            attributes[self.name_attribute] = name
        attributes.update(self._static)
        label = name if self.operation is None else f"{self.operation} {name}"
        return Plan(self.kind, label, name, self.otel_kind, attributes, self._budget, arguments)

    @overload
    def __call__(self, target: F) -> F: ...
    @overload
    def __call__(self, target: Any) -> Any: ...
    def __call__(self, target: Any) -> Any:
        """Decorate a function, method, callable object or class."""
        if isinstance(target, (staticmethod, classmethod)):
            return type(target)(self(target.__func__))
        if isinstance(target, type):
            return self._decorate_class(target)
        if not callable(target):
            raise UserError(f"@{self.kind} decorates functions and classes, not {type(target).__name__} {target!r:.60}")
        return self._decorate_function(target)

    def _decorate_class(self, target: type) -> type:
        wanted = (self._method,) if self._method else ENTRY_METHODS
        found = [name for name in wanted if name in vars(target)]
        if not found:
            raise UserError(
                f"@{self.kind} on class {target.__name__}: it defines none of {', '.join(wanted)}; name one with method="
            )
        decorator = _with_name(self, self._name or target.__name__)
        for name in found:
            setattr(target, name, decorator(vars(target)[name]))
        return target

    def _decorate_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        inner = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        name = self._name or getattr(inner, "__name__", type(inner).__name__)
        behind = inner if inspect.isroutine(inner) else type(inner).__call__
        plan = self.plan(name, CallArguments(function))
        if inspect.isasyncgenfunction(behind):
            wrapper = _wrap_async_generator(plan, function)
        elif inspect.iscoroutinefunction(behind):
            wrapper = _wrap_async(plan, function)
        elif inspect.isgeneratorfunction(behind):
            wrapper = _wrap_generator(plan, function)
        else:
            wrapper = _wrap_sync(plan, function)
        try:
            functools.update_wrapper(wrapper, function)
        except (AttributeError, TypeError):
            wrapper.__name__ = name
        return wrapper

    def __enter__(self) -> Span:
        """Open a span around the block and return it."""
        activity = Activity(self.plan(self._name or self.kind))
        self._activities.append(activity)
        return activity.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        activity = self._activities.pop()
        activity.close(error)

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def _with_name(traced: Traced, name: str) -> Traced:
    copy = object.__new__(type(traced))
    copy.__dict__.update(traced.__dict__)
    copy._name = name
    copy._method = None
    return copy


class agent(Traced):  # noqa: N801 - reads as the decorator it is
    """One agent handling one request; the topmost one is a run.

    Args:
        name: what the agent is called; default the function's name.
        attributes: added to each span.
        method: of a class, the method that runs it.
        budget_usd: most dollars of model calls under it, list price.
        budget_tokens: most tokens, in and out.
        max_inferences: most model calls.
        max_repeats: most calls of one tool with the same arguments.
        strict: also stop at a call without a price.

    Raises:
        UserError: at decoration, for a budget that is not a positive number or cannot be kept.
    """

    kind = "agent"
    operation = "invoke_agent"
    name_attribute = names.AGENT_NAME

    def _take_budget(self, named: dict[str, Any]) -> Budget | None:
        return Budget.take(named)


class workflow(Traced):  # noqa: N801
    """Several agents at work on one request."""

    kind = "workflow"
    operation = "invoke_workflow"
    name_attribute = names.WORKFLOW_NAME

    def _take_budget(self, named: dict[str, Any]) -> Budget | None:
        return Budget.take(named)


class step(Traced):  # noqa: N801
    """One turn of an agent's loop."""

    kind = "step"


class tool(Traced):  # noqa: N801
    """One tool call.

    Args:
        name: of the tool; default the function's name.
        attributes: added to each span.
        type: ``function``, ``extension`` or ``datastore``.
        call_id: of the model's request for this call, where used as a context manager.
    """

    kind = "tool"
    operation = "execute_tool"
    name_attribute = names.TOOL_NAME

    def _take_options(self, named: dict[str, Any]) -> None:
        self._static.setdefault(names.TOOL_TYPE, named.pop("type", "function"))
        if (call_id := named.pop("call_id", None)) is not None:
            self._static[names.TOOL_CALL_ID] = call_id


class inference(Traced):  # noqa: N801
    """One model call that no hook sees; say its usage with ``annotate`` or ``record_usage``.

    Args:
        name: of the function; default its own.
        model: asked for.
        provider: such as ``openai``.
        operation: ``chat``, ``text_completion`` or ``embeddings``.
    """

    kind = "inference"
    otel_kind = SpanKind.CLIENT

    def _take_options(self, named: dict[str, Any]) -> None:
        self._operation = named.pop("operation", "chat")
        self._static[names.OPERATION] = self._operation
        for option, attribute in (("model", names.REQUEST_MODEL), ("provider", names.PROVIDER)):
            if (value := named.pop(option, None)) is not None:
                self._static[attribute] = value

    def plan(self, name: str, arguments: CallArguments | None = None) -> Plan:
        """Return the plan, named after operation and model as the convention asks."""
        plan = super().plan(name, arguments)
        plan.label = f"{self._operation} {self._static.get(names.REQUEST_MODEL, name)}"
        return plan


def _wrap_sync(plan: Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if recording.active is None and plan.budget is None:
            return function(*args, **kwargs)
        activity = Activity(plan, args, kwargs)
        activity.open()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            activity.close(error)
            raise
        activity.close(None, result)
        return result

    return wrapper


def _wrap_async(plan: Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if recording.active is None and plan.budget is None:
            return await function(*args, **kwargs)
        activity = Activity(plan, args, kwargs)
        activity.open()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            activity.close(error)
            raise
        activity.close(None, result)
        return result

    return wrapper


def _wrap_generator(plan: Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        if recording.active is None and plan.budget is None:
            return (yield from function(*args, **kwargs))
        activity = Activity(plan, args, kwargs)
        body = function(*args, **kwargs)
        activity.open()
        activity.suspend()
        resume: Callable[[], Any] = functools.partial(next, body)
        try:
            while True:
                activity.resume()
                try:
                    value = resume()
                finally:
                    activity.suspend()
                try:
                    sent = yield value
                    resume = functools.partial(body.send, sent)
                except GeneratorExit:
                    body.close()
                    raise
                except BaseException as error:
                    resume = functools.partial(body.throw, error)
        except StopIteration as stop:
            activity.close(None, stop.value)
            return stop.value
        except GeneratorExit:
            activity.close(None)
            raise
        except BaseException as error:
            activity.close(error)
            raise

    return wrapper


def _wrap_async_generator(plan: Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        traced = recording.active is not None or plan.budget is not None
        activity = Activity(plan, args, kwargs) if traced else _IDLE
        body = function(*args, **kwargs)
        activity.open()
        activity.suspend()
        resume: Callable[[], Any] = body.__anext__
        try:
            while True:
                activity.resume()
                try:
                    value = await resume()
                finally:
                    activity.suspend()
                try:
                    sent = yield value
                    resume = functools.partial(body.asend, sent)
                except GeneratorExit:
                    await body.aclose()
                    raise
                except BaseException as error:
                    resume = functools.partial(body.athrow, error)
        except StopAsyncIteration:
            activity.close(None)
        except GeneratorExit:
            activity.close(None)
            raise
        except BaseException as error:
            activity.close(error)
            raise

    return wrapper


class _IdleActivity:
    """Stands in where nothing is traced."""

    def open(self) -> None:
        pass

    def suspend(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def close(self, error: BaseException | None, result: Any = None) -> None:
        pass


_IDLE: Any = _IdleActivity()
__all__ = ["Traced", "agent", "inference", "report", "step", "tool", "workflow"]
