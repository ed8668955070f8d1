"""Watching a stream on its way to the caller: the caller's object stays what it was, we stand behind its iterator."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

import wrapt

from inferometer.tracer.calls import Answer, InferenceCall
from inferometer.tracer.guard import report


class Accumulator(Protocol):
    """Puts a stream's chunks together."""

    def add(self, chunk: Any) -> bool:
        """Take one chunk and return whether it carried content."""

    def answer(self) -> Answer:
        """Return what has come so far."""


Hidden = Callable[[Any], bool]


class _Watch:
    """What sync and async watching share: chunks in, one end out."""

    def __init__(self, call: InferenceCall, accumulator: Accumulator, hidden: Hidden | None = None) -> None:
        self._call = call
        self._accumulator = accumulator
        self._hidden = hidden
        self._source: Any = None
        self._reading = False

    def _take(self, chunk: Any) -> bool:
        """Note a chunk; return whether it is kept from the caller."""
        try:
            if self._accumulator.add(chunk):
                self._call.chunk()
            return self._hidden is not None and self._hidden(chunk)
        except Exception as error:
            report("stream chunk", error)
            return False

    def follow(self, source: Any) -> None:
        """Take chunks from this iterator."""
        self._source = source

    def abort(self) -> None:
        """End the call of a stream that is closed before its end."""
        self._abort()

    def _finish(self) -> None:
        if not self._call.ended:
            self._call.finish(self._accumulator.answer)

    def _fail(self, error: BaseException) -> None:
        if not self._call.ended:
            self._call.fail(error, self._accumulator.answer)

    def _abort(self) -> None:
        if not self._call.ended:
            self._call.abort(self._accumulator.answer)

    def __del__(self) -> None:
        if not self._call.ended:
            self._abort()


class StreamWatch(_Watch):
    """Stands in for a stream's iterator."""

    def attach(self, stream: Any, iterator: str, closer: Any, close: str) -> None:
        """Put the watch in place of ``stream.<iterator>`` and see when ``closer.<close>`` is called."""
        self._source = getattr(stream, iterator)
        original = getattr(closer, close)

        def closed(*args: Any, **kwargs: Any) -> Any:
            if not self._reading:
                self._abort()
            return original(*args, **kwargs)

        setattr(closer, close, closed)
        setattr(stream, iterator, self)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while True:
            self._reading = True
            try:
                chunk = next(self._source)
            except StopIteration:
                self._finish()
                raise
            except BaseException as error:
                self._fail(error)
                raise
            finally:
                self._reading = False
            if not self._take(chunk):
                return chunk


class AsyncStreamWatch(_Watch):
    """Stands in for an async stream's iterator."""

    def attach(self, stream: Any, iterator: str, closer: Any, close: str) -> None:
        """Put the watch in place of ``stream.<iterator>`` and see when ``closer.<close>`` is called."""
        self._source = getattr(stream, iterator)
        original = getattr(closer, close)

        async def closed(*args: Any, **kwargs: Any) -> Any:
            if not self._reading:
                self._abort()
            return await original(*args, **kwargs)

        setattr(closer, close, closed)
        setattr(stream, iterator, self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while True:
            self._reading = True
            try:
                chunk = await self._source.__anext__()
            except StopAsyncIteration:
                self._finish()
                raise
            except BaseException as error:
                self._fail(error)
                raise
            finally:
                self._reading = False
            if not self._take(chunk):
                return chunk


class SseLines:
    """Splits a server-sent event stream into its JSON payloads."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Any]:
        """Return the payloads completed by `data`."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        payloads = []
        for line in lines:
            if line.startswith(b"data:"):
                text = line[5:].strip()
                if text and text != b"[DONE]":
                    try:
                        payloads.append(json.loads(text))
                    except ValueError:
                        continue
        return payloads


def watch_bytes(
    call: InferenceCall, response: Any, accumulator: Accumulator | None, read: Callable[[Any], Answer]
) -> None:
    """Watch a raw HTTP response that the caller reads, by bytes, lines, text or parsed.

    Args:
        call: to end when the body has been read, or the response was closed.
        response: of httpx or httpx2, not yet read.
        accumulator: for the chunks of a stream; None for one JSON body.
        read: returns the answer of one JSON body.
    """
    tee = _Tee(call, accumulator, read)
    if hasattr(response, "aiter_bytes") and _is_async(response):
        original_async = response.aiter_bytes

        async def aiter_bytes(*args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
            async for data in original_async(*args, **kwargs):
                tee.feed(data)
                yield data
            tee.finish()

        response.aiter_bytes = aiter_bytes
        close_async = response.aclose

        async def aclose() -> None:
            await close_async()
            tee.closed()

        response.aclose = aclose
        return
    original = response.iter_bytes

    def iter_bytes(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        for data in original(*args, **kwargs):
            tee.feed(data)
            yield data
        tee.finish()

    response.iter_bytes = iter_bytes
    close = response.close

    def closed() -> None:
        close()
        tee.closed()

    response.close = closed


def _is_async(response: Any) -> bool:
    return hasattr(getattr(response, "stream", None), "__aiter__") and not hasattr(response.stream, "__iter__")


class _Tee:
    def __init__(self, call: InferenceCall, accumulator: Accumulator | None, read: Callable[[Any], Answer]) -> None:
        self._call = call
        self._accumulator = accumulator
        self._read = read
        self._lines = SseLines()
        self._body = bytearray()
        self._last_byte = False

    def feed(self, data: bytes) -> None:
        try:
            if self._accumulator is None:
                self._body += data
                return
            for chunk in self._lines.feed(data):
                if self._accumulator.add(chunk):
                    self._call.chunk()
        except Exception as error:
            report("raw stream", error)

    def _answer(self) -> Answer:
        try:
            if self._accumulator is not None:
                return self._accumulator.answer()
            return self._read(json.loads(bytes(self._body))) if self._body else Answer()
        except Exception as error:
            report("raw answer", error)
            return Answer()

    def finish(self) -> None:
        self._last_byte = True
        self._call.finish(self._answer())

    def closed(self) -> None:
        if not self._call.ended and not self._last_byte:
            # httpx closes a response at its last byte, before the iterator above it ends
            answer = self._answer()
            if answer.meters is not None or answer.finish_reasons:
                self._call.finish(answer)
            else:
                self._call.abort(answer)


class StreamProxy(wrapt.ObjectProxy[Any]):
    """A stream whose type iterates by itself, watched from outside; everything else is the stream's own."""

    def __init__(self, stream: Any, watch: StreamWatch | AsyncStreamWatch) -> None:
        super().__init__(stream)
        self._self_watch: Any = watch
        watch.follow(aiter(stream) if isinstance(watch, AsyncStreamWatch) else iter(stream))

    def __iter__(self) -> Any:
        return self._self_watch

    def __next__(self) -> Any:
        return next(self._self_watch)

    def __aiter__(self) -> Any:
        return self._self_watch

    def __anext__(self) -> Any:
        return self._self_watch.__anext__()

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the stream; the call is aborted where it had not ended."""
        self._self_watch.abort()
        return self.__wrapped__.close(*args, **kwargs)

    def aclose(self, *args: Any, **kwargs: Any) -> Any:
        """Close the stream; the call is aborted where it had not ended."""
        self._self_watch.abort()
        return self.__wrapped__.aclose(*args, **kwargs)
