"""SDKs that Stainless generates (openai, anthropic): one choke point, ``Client.request``, and one kind of stream.

Sync and async, streams, raw and parsed responses look alike in all of them; what they say is read by the subclass.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from inferometer.integrations.base import Integration, Patches
from inferometer.integrations.streams import Accumulator, AsyncStreamWatch, Hidden, StreamWatch, watch_bytes
from inferometer.tracer.calls import Answer, InferenceCall, Request, begin
from inferometer.tracer.guard import report

RAW_RESPONSE_HEADER = "X-Stainless-Raw-Response"


class StainlessIntegration(Integration):
    """Traces every model call of one such SDK.

    Class attributes: ``clients``, the names of the sync and the async client class.
    """

    clients: ClassVar[tuple[str, str]]

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the sync and async clients."""
        sync, asynchronous = self.clients
        patched = patches.wrap(getattr(module, sync), "request", self._hook_request)
        return patches.wrap(getattr(module, asynchronous), "request", self._hook_async_request) and patched

    @abstractmethod
    def request_of(self, client: Any, options: Any, stream: bool) -> Request | None:
        """Return what a request asks a model for; None where it is about something else."""

    @abstractmethod
    def read_body(self, url: str, body: Any) -> Answer:
        """Return what an answer says; `body` is the SDK's object, the JSON it came from, or None."""

    @abstractmethod
    def accumulator_for(self, url: str) -> Accumulator:
        """Return what puts the chunks of a stream together."""

    def adapt(self, client: Any, options: Any) -> tuple[Any, Hidden] | None:
        """Return changed options of a stream, and which chunks to hide for it; None to send what the program wrote."""
        return None

    def refused(self, client: Any, error: Exception) -> bool:
        """Whether a server refused what `adapt` changed."""
        return False

    def _hook_request(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def request(client: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
            call = self._begin(client, options, stream)
            if call is None:
                return original(client, cast_to, options, stream=stream, stream_cls=stream_cls)
            adapted = self._adapt(client, options) if stream else None
            tokens = call.enter()
            try:
                try:
                    sent = options if adapted is None else adapted[0]
                    response = original(client, cast_to, sent, stream=stream, stream_cls=stream_cls)
                except Exception as error:
                    if adapted is None or not self.refused(client, error):
                        raise
                    adapted = None
                    response = original(client, cast_to, options, stream=stream, stream_cls=stream_cls)
            except BaseException as error:
                call.fail(error)
                raise
            finally:
                call.leave(tokens)
            return self._observe(call, options, response, stream, None if adapted is None else adapted[1])

        return request

    def _hook_async_request(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def request(
            client: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
        ) -> Any:
            call = self._begin(client, options, stream)
            if call is None:
                return await original(client, cast_to, options, stream=stream, stream_cls=stream_cls)
            adapted = self._adapt(client, options) if stream else None
            tokens = call.enter()
            try:
                try:
                    sent = options if adapted is None else adapted[0]
                    response = await original(client, cast_to, sent, stream=stream, stream_cls=stream_cls)
                except Exception as error:
                    if adapted is None or not self.refused(client, error):
                        raise
                    adapted = None
                    response = await original(client, cast_to, options, stream=stream, stream_cls=stream_cls)
            except BaseException as error:
                call.fail(error)
                raise
            finally:
                call.leave(tokens)
            return self._observe(call, options, response, stream, None if adapted is None else adapted[1])

        return request

    def _begin(self, client: Any, options: Any, stream: bool) -> InferenceCall | None:
        """Start a call where the request is one to a model; raises `BudgetExceeded` alone."""
        try:
            request = self.request_of(client, options, stream)
        except Exception as error:
            report(f"{self.name} request", error)
            return None
        return None if request is None else begin(request)

    def _adapt(self, client: Any, options: Any) -> tuple[Any, Hidden] | None:
        try:
            return self.adapt(client, options)
        except Exception as error:
            report(f"{self.name} options", error)
            return None

    def _observe(self, call: InferenceCall, options: Any, response: Any, stream: bool, hidden: Hidden | None) -> Any:
        """Read an answer, or watch a stream until its end; the caller gets the same object."""
        try:
            http_response = getattr(response, "http_response", None)
            if http_response is not None:
                self._observe_raw(call, options.url, http_response, stream)
            elif stream and hasattr(response, "_iterator"):
                _watch_stream(call, response, self.accumulator_for(options.url), hidden)
            else:
                call.finish(partial(self.read_body, options.url, response))
        except Exception as error:
            report(f"{self.name} response", error)
            call.finish(Answer())
        return response

    def _observe_raw(self, call: InferenceCall, url: str, response: Any, stream: bool) -> None:
        if not stream and getattr(response, "is_stream_consumed", False):
            call.finish(self.read_body(url, response.json()))
        else:
            accumulator = self.accumulator_for(url) if stream else None
            watch_bytes(call, response, accumulator, lambda body: self.read_body(url, body))


def _watch_stream(call: InferenceCall, stream: Any, accumulator: Accumulator, hidden: Hidden | None) -> None:
    if hasattr(stream._iterator, "__anext__"):
        AsyncStreamWatch(call, accumulator, hidden).attach(stream, "_iterator", stream.response, "aclose")
    else:
        StreamWatch(call, accumulator, hidden).attach(stream, "_iterator", stream.response, "close")


def given(value: Any) -> Any:
    """Return a parameter of a request, None where the program left it out: some methods send the SDK's mark of that."""
    return None if type(value).__name__ in ("Omit", "NotGiven") else value


def is_raw(options: Any) -> bool:
    """Whether the program reads the response's bytes itself."""
    return isinstance(options.headers, dict) and RAW_RESPONSE_HEADER in options.headers


def copy_options(options: Any) -> Any:
    """Return a copy of a request's options."""
    return options.model_copy() if hasattr(options, "model_copy") else options.copy()
