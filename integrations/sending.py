"""How a client's function is bracketed by a call: whole or streamed, sync or async.

Each takes ``begin``, which is given the function's arguments and returns a call or None to leave it alone. The call is
entered while the function runs and, of a stream, for each chunk alone: nothing of ours is current in what consumes it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from inferometer.integrations.base import Wrap
from inferometer.integrations.streams import Accumulator
from inferometer.tracer.calls import InferenceCall
from inferometer.tracer.guard import report

Begin = Callable[..., InferenceCall | None]
Observe = Callable[..., Any]
"""(call, response, *arguments) -> what the program gets; it ends the call, or sees that something does."""


@contextmanager
def _entered(call: InferenceCall) -> Iterator[None]:
    """Let a call be current while its function runs; it fails with what the function raises."""
    tokens = call.enter()
    try:
        yield
    except BaseException as error:
        call.fail(error)
        raise
    finally:
        call.leave(tokens)


def whole(begin: Begin, observe: Observe) -> Wrap:
    """Bracket a function that returns an answer."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def send(*args: Any, **kwargs: Any) -> Any:
            call = begin(*args, **kwargs)
            if call is None:
                return original(*args, **kwargs)
            with _entered(call):
                response = original(*args, **kwargs)
            return observe(call, response, *args, **kwargs)

        return send

    return make


def whole_async(begin: Begin, observe: Observe) -> Wrap:
    """Bracket a coroutine function that returns an answer."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def send(*args: Any, **kwargs: Any) -> Any:
            call = begin(*args, **kwargs)
            if call is None:
                return await original(*args, **kwargs)
            with _entered(call):
                response = await original(*args, **kwargs)
            return observe(call, response, *args, **kwargs)

        return send

    return make


def streamed(begin: Begin, accumulator: Callable[[], Accumulator]) -> Wrap:
    """Bracket a generator function that yields chunks."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def send(*args: Any, **kwargs: Any) -> Iterator[Any]:
            call = begin(*args, **kwargs)
            chunks = original(*args, **kwargs)
            yield from chunks if call is None else follow(call, chunks, accumulator())

        return send

    return make


def streamed_async(begin: Begin, accumulator: Callable[[], Accumulator]) -> Wrap:
    """Bracket an async generator function that yields chunks."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def send(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            call = begin(*args, **kwargs)
            chunks = original(*args, **kwargs)
            async with aclosing(chunks if call is None else follow_async(call, chunks, accumulator())) as followed:
                async for chunk in followed:
                    yield chunk

        return send

    return make


def follow(call: InferenceCall, chunks: Iterator[Any], read: Accumulator) -> Iterator[Any]:
    """Yield a stream's chunks, noting each, and end the call with the stream."""
    try:
        while True:
            tokens = call.enter()
            try:
                chunk = next(chunks)
            finally:
                call.leave(tokens)
            _note(call, read, chunk)
            yield chunk
    except StopIteration:
        call.finish(read.answer)
    except GeneratorExit:
        call.abort(read.answer)
        if (close := getattr(chunks, "close", None)) is not None:
            close()
        raise
    except BaseException as error:
        call.fail(error, read.answer)
        raise


async def follow_async(call: InferenceCall, chunks: AsyncIterator[Any], read: Accumulator) -> AsyncGenerator[Any, None]:
    """Yield an async stream's chunks, noting each, and end the call with the stream."""
    try:
        while True:
            tokens = call.enter()
            try:
                chunk = await anext(chunks)
            finally:
                call.leave(tokens)
            _note(call, read, chunk)
            yield chunk
    except StopAsyncIteration:
        call.finish(read.answer)
    except GeneratorExit:
        call.abort(read.answer)
        if (close := getattr(chunks, "aclose", None)) is not None:
            await close()
        raise
    except BaseException as error:
        call.fail(error, read.answer)
        raise


def _note(call: InferenceCall, read: Accumulator, chunk: Any) -> None:
    try:
        if read.add(chunk):
            call.chunk()
    except Exception as error:
        report("stream chunk", error)
