"""How a call is wrapped so that its span lives as long as it does: functions, coroutines and both kinds of generator.

A generator's span starts when it is first asked for a value and ends when it is exhausted, closed or fails; it is
attached only while the generator's own body runs, so nothing of it is current in the code that consumes it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import suppress
from types import AsyncGeneratorType, CoroutineType, GeneratorType
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
    if not inspect.isfunction(function):
        _lend_methods(function, wrapper)
    return wrapper


def _lend_methods(target: Any, wrapper: Any) -> None:
    """Give a wrapper the methods of the object that it stands in for, such as ``cache_clear``."""
    for name in dir(target):
        if not name.startswith("_") and not hasattr(wrapper, name):
            with suppress(Exception):
                if callable(method := getattr(target, name)):
                    setattr(wrapper, name, method)


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
        follow = _FOLLOWED.get(type(result))
        if follow is not None:
            # another decorator hides what kind of function this is: the work is still to come
            activity.suspend()
            return follow(activity, result)
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
        return (yield from _follow_generator(activity, body))

    return wrapper


def _wrap_async_generator(plan: Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    def begin(*args: Any, **kwargs: Any) -> tuple[Activity, AsyncGenerator[Any, Any]]:
        traced = recording.active is not None or plan.budget is not None
        activity = Activity(plan, args, kwargs) if traced else _IDLE
        body = function(*args, **kwargs)
        activity.open()
        activity.suspend()
        return activity, body

    return _async_generator_function(begin)


async def _follow_coroutine(activity: Activity, body: Coroutine[Any, Any, Any]) -> Any:
    """Await a coroutine under a span that is open and suspended."""
    activity.resume()
    try:
        result = await body
    except BaseException as error:
        activity.close(error)
        raise
    activity.close(None, result)
    return result


def _follow_generator(activity: Activity, body: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a generator under a span that is open and suspended."""
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


def _follow_async_generator(activity: Activity, body: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """Run an async generator under a span that is open and suspended."""
    return _async_generator_function(lambda: (activity, body))()


def _async_generator_function(
    begin: Callable[..., tuple[Activity, AsyncGenerator[Any, Any]]],
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return what runs the body that `begin` makes; one function for both, for there is no async ``yield from``."""

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        activity, body = begin(*args, **kwargs)
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


_FOLLOWED: dict[type, Callable[[Activity, Any], Any]] = {
    CoroutineType: _follow_coroutine,
    GeneratorType: _follow_generator,
    AsyncGeneratorType: _follow_async_generator,
}


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
