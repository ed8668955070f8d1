"""The ``google-genai`` SDK: generate_content and embeddings; sync, async, streams, Gemini API and Vertex AI.

Hooked where each HTTP request is made, so that every round of automatic function calling is a call of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from inferometer.integrations.base import Integration, Patches
from inferometer.integrations.sending import follow_async, streamed, whole, whole_async
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
                patches.wrap(client, "request", whole(_begin, _observe)),
                patches.wrap(client, "async_request", whole_async(_begin, _observe)),
                patches.wrap(client, "request_streamed", streamed(_begin_streamed, _Accumulator)),
                patches.wrap(client, "async_request_streamed", whole_async(_begin_streamed, _observe_streamed)),
            ]
        )


def integration() -> Integration:
    """Return the hook."""
    return GoogleGenAIIntegration()


def _begin(
    client: Any, http_method: str, path: str, request_dict: Any, *args: Any, stream: bool = False, **kwargs: Any
) -> InferenceCall | None:
    try:
        request = _request_of(client, path, request_dict, stream)
    except Exception as error:
        report("google-genai request", error)
        return None
    return None if request is None else begin(request)


_begin_streamed = partial(_begin, stream=True)


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

    def add(self, response: Any) -> bool:
        body = response if isinstance(response, Mapping) else _read(response)
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
        read.add(response)
    except Exception as error:
        report("google-genai response", error)
    return read.answer()


def _observe(call: InferenceCall, response: Any, *args: Any, **kwargs: Any) -> Any:
    call.finish(lambda: _answer(response))
    return response


def _observe_streamed(call: InferenceCall, chunks: Any, *args: Any, **kwargs: Any) -> Any:
    return follow_async(call, aiter(chunks), _Accumulator())
