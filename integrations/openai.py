"""The ``openai`` SDK: chat, completions, responses and embeddings; sync, async, streams, raw and parsed responses.

One choke point, ``OpenAI.request``, sees them all. A chat stream that does not ask for its usage is made to, and the
chunk that carries it is kept from the caller; a server that refuses that is asked again as the program wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inferometer.integrations.base import Integration, Patches, field
from inferometer.integrations.openai_bodies import accumulator_for, read_body, request_of
from inferometer.integrations.streams import Accumulator, AsyncStreamWatch, StreamWatch, watch_bytes
from inferometer.tracer.calls import InferenceCall, begin
from inferometer.tracer.guard import report

RAW_RESPONSE_HEADER = "X-Stainless-Raw-Response"
_refusing_hosts: set[str] = set()


class OpenAIIntegration(Integration):
    """Traces every model call of the ``openai`` SDK."""

    name = "openai"
    module = "openai"
    distribution = "openai"
    minimum = (1, 40)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the sync and async clients."""
        sync = patches.wrap(module.OpenAI, "request", _hook_request)
        asynchronous = patches.wrap(module.AsyncOpenAI, "request", _hook_async_request)
        return sync and asynchronous


def integration() -> Integration:
    """Return the hook."""
    return OpenAIIntegration()


def _hook_request(original: Callable[..., Any]) -> Callable[..., Any]:
    def request(self: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        call = _begin(self, options, stream)
        if call is None:
            return original(self, cast_to, options, stream=stream, stream_cls=stream_cls)
        asked = _ask_for_usage(self, options, stream)
        tokens = call.enter()
        try:
            try:
                response = original(self, cast_to, asked or options, stream=stream, stream_cls=stream_cls)
            except Exception as error:
                if asked is None or not _refused_usage(self, error):
                    raise
                asked = None
                response = original(self, cast_to, options, stream=stream, stream_cls=stream_cls)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.leave(tokens)
        return _observe(call, options, response, stream, hide_usage=asked is not None)

    return request


def _hook_async_request(original: Callable[..., Any]) -> Callable[..., Any]:
    async def request(self: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        call = _begin(self, options, stream)
        if call is None:
            return await original(self, cast_to, options, stream=stream, stream_cls=stream_cls)
        asked = _ask_for_usage(self, options, stream)
        tokens = call.enter()
        try:
            try:
                response = await original(self, cast_to, asked or options, stream=stream, stream_cls=stream_cls)
            except Exception as error:
                if asked is None or not _refused_usage(self, error):
                    raise
                asked = None
                response = await original(self, cast_to, options, stream=stream, stream_cls=stream_cls)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.leave(tokens)
        return _observe(call, options, response, stream, hide_usage=asked is not None)

    return request


def _begin(client: Any, options: Any, stream: bool) -> InferenceCall | None:
    """Start a call where the request is one to a model; raises `BudgetExceeded` alone."""
    try:
        request = request_of(client, options, stream)
    except Exception as error:
        report("openai request", error)
        return None
    return None if request is None else begin(request)


def _ask_for_usage(client: Any, options: Any, stream: bool) -> Any:
    """Return a copy of the options that asks for usage; None where nothing is to be changed."""
    try:
        body = options.json_data
        if not stream or not options.url.endswith("/completions") or not isinstance(body, dict):
            return None
        wanted = body.get("stream_options")
        if isinstance(wanted, dict) and "include_usage" in wanted:
            return None
        if _is_raw(options) or str(client.base_url) in _refusing_hosts:
            return None
        copy = options.model_copy() if hasattr(options, "model_copy") else options.copy()
        copy.json_data = {**body, "stream_options": {**(wanted or {}), "include_usage": True}}
        return copy
    except Exception as error:
        report("openai stream options", error)
        return None


def _refused_usage(client: Any, error: Exception) -> bool:
    """Whether a server refused the option we added; it is not asked for it again."""
    if getattr(error, "status_code", None) not in (400, 404, 422) or "stream_options" not in str(error):
        return False
    _refusing_hosts.add(str(client.base_url))
    return True


def _is_raw(options: Any) -> bool:
    headers = options.headers
    return isinstance(headers, dict) and RAW_RESPONSE_HEADER in headers


def _observe(call: InferenceCall, options: Any, response: Any, stream: bool, hide_usage: bool) -> Any:
    """Read an answer, or watch a stream until its end; the caller gets the same object."""
    try:
        accumulator = accumulator_for(options.url)
        http_response = getattr(response, "http_response", None)
        if http_response is not None:
            _observe_raw(call, options, http_response, stream, accumulator)
        elif stream and hasattr(response, "_iterator"):
            _watch_stream(call, response, accumulator, hide_usage)
        else:
            call.finish(read_body(options.url, response))
    except Exception as error:
        report("openai response", error)
        call.finish(read_body(options.url, None))
    return response


def _observe_raw(call: InferenceCall, options: Any, response: Any, stream: bool, accumulator: Accumulator) -> None:
    if not stream and getattr(response, "is_stream_consumed", False):
        call.finish(read_body(options.url, response.json()))
    else:
        watch_bytes(call, response, accumulator if stream else None, lambda body: read_body(options.url, body))


def _watch_stream(call: InferenceCall, stream: Any, accumulator: Accumulator, hide_usage: bool) -> None:
    hidden = _carries_only_usage if hide_usage else None
    if hasattr(stream._iterator, "__anext__"):
        AsyncStreamWatch(call, accumulator, hidden).attach(stream, "_iterator", stream.response, "aclose")
    else:
        StreamWatch(call, accumulator, hidden).attach(stream, "_iterator", stream.response, "close")


def _carries_only_usage(chunk: Any) -> bool:
    return not field(chunk, "choices") and field(chunk, "usage") is not None
