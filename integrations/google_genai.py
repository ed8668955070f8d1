"""The ``google-genai`` SDK: generate_content and embeddings; sync, async, streams, Gemini API and Vertex AI.

Hooked where each HTTP request is made, so that every round of automatic function calling is a call of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from inferometer.integrations.base import Integration, Patches
from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters
from inferometer.schema.usage.body import Fee
from inferometer.schema.usage.gemini import fees_of, read_usage
from inferometer.tracer.calls import Answer, InferenceCall, Request, begin
from inferometer.tracer.guard import report

_PARAMETERS = {
    "temperature": names.REQUEST_TEMPERATURE,
    "topP": names.REQUEST_TOP_P,
    "topK": names.REQUEST_TOP_K,
    "maxOutputTokens": names.REQUEST_MAX_TOKENS,
    "candidateCount": names.REQUEST_CHOICES,
    "seed": names.REQUEST_SEED,
    "presencePenalty": names.REQUEST_PRESENCE_PENALTY,
    "frequencyPenalty": names.REQUEST_FREQUENCY_PENALTY,
}
_OPERATIONS = {
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
}


class GoogleGenAIIntegration(Integration):
    """Traces every model call of the ``google-genai`` SDK."""

    name = "google-genai"
    module = "google.genai"
    distribution = "google-genai"
    minimum = (1, 0)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the client's four ways of making a request."""
        client = module._api_client.BaseApiClient
        return all(
            [
                patches.wrap(client, "request", _hook_request),
                patches.wrap(client, "async_request", _hook_async_request),
                patches.wrap(client, "request_streamed", _hook_streamed),
                patches.wrap(client, "async_request_streamed", _hook_async_streamed),
            ]
        )


def integration() -> Integration:
    """Return the hook."""
    return GoogleGenAIIntegration()


def _begin(client: Any, path: str, body: Any, stream: bool) -> InferenceCall | None:
    try:
        request = _request_of(client, path, body, stream)
    except Exception as error:
        report("google-genai request", error)
        return None
    return None if request is None else begin(request)


def _request_of(client: Any, path: str, body: Any, stream: bool) -> Request | None:
    head, colon, method = path.partition("?")[0].rpartition(":")
    if not colon or method not in _OPERATIONS or not isinstance(body, Mapping):
        return None
    settings = body.get("generationConfig")
    settings = settings if isinstance(settings, Mapping) else {}
    parameters = {
        name: settings[key] for key, name in _PARAMETERS.items() if isinstance(settings.get(key), (int, float))
    }
    if isinstance(stop := settings.get("stopSequences"), list):
        parameters[names.REQUEST_STOP_SEQUENCES] = tuple(stop)
    return Request(
        _OPERATIONS[method],
        "gcp.vertex_ai" if getattr(client, "vertexai", False) else "gcp.gemini",
        head.rpartition("/")[2],
        parameters=parameters,
        system=body.get("systemInstruction"),
        messages=body.get("contents"),
        tools=body.get("tools"),
        stream=stream,
    )


def _read(response: Any) -> Any:
    try:
        return json.loads(response.body or "null")
    except (TypeError, ValueError):
        return None


def meters_of(usage: Mapping[str, Any] | None) -> Meters | None:
    """Return meters of Gemini's ``usageMetadata``; None where it tells nothing."""
    meters = read_usage(usage).meters if usage else None
    return meters if meters is not None and meters.is_known else None


class _Accumulator:
    def __init__(self) -> None:
        self._last: Mapping[str, Any] = {}
        self._usage: Mapping[str, Any] | None = None
        self._finish: list[str] = []
        self._fees: list[Fee] = []
        self._text: list[str] = []

    def add(self, body: Any) -> bool:
        if not isinstance(body, Mapping):
            return False
        self._last = body
        self._usage = body.get("usageMetadata") or self._usage
        carried = False
        for candidate in body.get("candidates") or ():
            if reason := candidate.get("finishReason"):
                self._finish.append(str(reason).lower())
            self._fees = self._fees or fees_of(candidate)
            for part in (candidate.get("content") or {}).get("parts") or ():
                if part.get("functionCall") is not None:
                    self._text.append(json.dumps(part["functionCall"]))
                    carried = True
                elif part.get("text"):
                    self._text.append(part["text"])
                    carried = True
        return carried

    def answer(self) -> Answer:
        text = "".join(self._text)
        return Answer(
            meters_of(self._usage),
            raw_usage=self._usage,
            response_id=self._last.get("responseId"),
            model=self._last.get("modelVersion"),
            finish_reasons=self._finish,
            output=text or None,
            text=text,
            fees=self._fees,
        )


def _answer(response: Any) -> Answer:
    read = _Accumulator()
    try:
        read.add(_read(response))
    except Exception as error:
        report("google-genai response", error)
    return read.answer()


def _hook_request(original: Callable[..., Any]) -> Callable[..., Any]:
    def request(self: Any, http_method: str, path: str, request_dict: Any, *args: Any, **kwargs: Any) -> Any:
        call = _begin(self, path, request_dict, False)
        if call is None:
            return original(self, http_method, path, request_dict, *args, **kwargs)
        tokens = call.enter()
        try:
            response = original(self, http_method, path, request_dict, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.leave(tokens)
        call.finish(_answer(response))
        return response

    return request


def _hook_async_request(original: Callable[..., Any]) -> Callable[..., Any]:
    async def request(self: Any, http_method: str, path: str, request_dict: Any, *args: Any, **kwargs: Any) -> Any:
        call = _begin(self, path, request_dict, False)
        if call is None:
            return await original(self, http_method, path, request_dict, *args, **kwargs)
        tokens = call.enter()
        try:
            response = await original(self, http_method, path, request_dict, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.leave(tokens)
        call.finish(_answer(response))
        return response

    return request


def _note(call: InferenceCall, read: _Accumulator, response: Any) -> None:
    try:
        if read.add(_read(response)):
            call.chunk()
    except Exception as error:
        report("google-genai chunk", error)


def _hook_streamed(original: Callable[..., Any]) -> Callable[..., Any]:
    def streamed(self: Any, http_method: str, path: str, request_dict: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        call = _begin(self, path, request_dict, True)
        chunks = original(self, http_method, path, request_dict, *args, **kwargs)
        if call is None:
            yield from chunks
            return
        read = _Accumulator()
        try:
            while True:
                # entered for each chunk alone: nothing of ours is current in the code that consumes them
                tokens = call.enter()
                try:
                    response = next(chunks)
                finally:
                    call.leave(tokens)
                _note(call, read, response)
                yield response
        except StopIteration:
            call.finish(read.answer())
        except GeneratorExit:
            call.abort(read.answer())
            raise
        except BaseException as error:
            call.fail(error, read.answer())
            raise

    return streamed


def _hook_async_streamed(original: Callable[..., Any]) -> Callable[..., Any]:
    async def streamed(self: Any, http_method: str, path: str, request_dict: Any, *args: Any, **kwargs: Any) -> Any:
        call = _begin(self, path, request_dict, True)
        if call is None:
            return await original(self, http_method, path, request_dict, *args, **kwargs)
        tokens = call.enter()
        try:
            chunks = await original(self, http_method, path, request_dict, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.leave(tokens)
        return _watch(call, chunks)

    return streamed


async def _watch(call: InferenceCall, chunks: Any) -> AsyncIterator[Any]:
    read = _Accumulator()
    try:
        async for response in chunks:
            _note(call, read, response)
            yield response
        call.finish(read.answer())
    except GeneratorExit:
        call.abort(read.answer())
        raise
    except BaseException as error:
        call.fail(error, read.answer())
        raise
