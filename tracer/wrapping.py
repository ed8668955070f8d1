"""How a call is wrapped so that its span lives as long as it does: functions, coroutines and both kinds of generator.

A generator's span starts when it is first asked for a value and ends when it is exhausted, closed or fails; it is
attached only while the generator's own body runs, so nothing of it is current in the code that consumes it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from inferometer.tracer import recording
from inferometer.tracer.activity import Activity, Plan


def wrap(plan: Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the same kind as `function` that records each of its calls."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    if inspect.isasyncgenfunction(inner):
        wrapper = _wrap_async_generator(plan, function)
    elif inspect.iscoroutinefunction(inner):
        wrapper = _wrap_async(plan, function)
    elif inspect.isgeneratorfunction(inner):
        wrapper = _wrap_generator(plan, function)
    else:
        wrapper = _wrap_sync(plan, function)
    functools.update_wrapper(wrapper, function)
    if not hasattr(function, "__name__"):
        wrapper.__name__ = wrapper.__qualname__ = plan.name
    return wrapper


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
