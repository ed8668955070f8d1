"""Amazon Bedrock through ``boto3``: Converse and InvokeModel, streamed or not."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from inferometer.integrations.anthropic import MessageAccumulator
from inferometer.integrations.base import Integration, Patches
from inferometer.integrations.sending import whole
from inferometer.integrations.streams import Accumulator
from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters
from inferometer.schema.usage.bedrock import read_body, read_converse
from inferometer.tracer.calls import Answer, InferenceCall, Request, begin
from inferometer.tracer.guard import report

CONVERSE = frozenset({"Converse", "ConverseStream"})
INVOKE = frozenset({"InvokeModel", "InvokeModelWithResponseStream"})
_PARAMETERS = {
    "temperature": names.REQUEST_TEMPERATURE,
    "topP": names.REQUEST_TOP_P,
    "maxTokens": names.REQUEST_MAX_TOKENS,
}


class BedrockIntegration(Integration):
    """Traces the runtime's model calls; other services of AWS are left alone."""

    name = "bedrock"
    module = "botocore.client"
    distribution = "botocore"
    minimum = (1, 34)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the one place through which every call of every client goes."""
        return patches.wrap(module.BaseClient, "_make_api_call", whole(_begin, _observe))


def integration() -> Integration:
    """Return the hook."""
    return BedrockIntegration()


def _begin(client: Any, operation: str, params: Mapping[str, Any]) -> InferenceCall | None:
    if operation not in CONVERSE and operation not in INVOKE:
        return None
    try:
        if client.meta.service_model.service_name != "bedrock-runtime":
            return None
        request = _request_of(client, operation, params)
    except Exception as error:
        report("bedrock request", error)
        return None
    return begin(request)


def _request_of(client: Any, operation: str, params: Mapping[str, Any]) -> Request:
    body: Mapping[str, Any] = params
    if operation in INVOKE:
        text = params.get("body") or b"{}"
        read = json.loads(text) if isinstance(text, (str, bytes, bytearray)) else {}
        body = read if isinstance(read, Mapping) else {}
    settings = params.get("inferenceConfig") or {}
    parameters = {name: settings[key] for key, name in _PARAMETERS.items() if key in settings}
    url = urlsplit(client.meta.endpoint_url)
    tools = (params.get("toolConfig") or {}).get("tools") if operation in CONVERSE else body.get("tools")
    return Request(
        "chat",
        "aws.bedrock",
        params.get("modelId"),
        parameters=parameters,
        system=body.get("system"),
        messages=body.get("messages") or body.get("prompt") or body.get("inputText"),
        tools=tools,
        stream="Stream" in operation,
        address=(url.hostname or "", url.port),
    )


def _observe(call: InferenceCall, response: Any, client: Any, operation: str, params: Mapping[str, Any]) -> Any:
    try:
        if operation == "Converse":
            call.finish(_converse_answer(response, response, response.get("stopReason")))
        elif operation == "ConverseStream":
            response["stream"] = _Watched(call, response["stream"], ConverseAccumulator(), lambda event: event)
        elif operation == "InvokeModel":
            content = response["body"].read()
            response["body"] = type(response["body"])(io.BytesIO(content), len(content))
            call.finish(_invoke_answer(json.loads(content), response))
        else:
            response["body"] = _Watched(call, response["body"], MessageAccumulator(), _chunk_of)
    except Exception as error:
        report("bedrock response", error)
        call.finish(Answer())
    return response


def _chunk_of(event: Any) -> Any:
    return json.loads(event["chunk"]["bytes"]) if "chunk" in event else {}


def _converse_answer(
    response: Mapping[str, Any], told: Mapping[str, Any], stop: Any, text: str | None = None
) -> Answer:
    """Return what an answer says; `told` is it, or what a stream said at its end."""
    read = read_converse(told)
    message = (response.get("output") or {}).get("message") or {}
    return Answer(
        read.meters if read.meters.is_known else None,
        raw_usage=read.raw,
        response_id=(response.get("ResponseMetadata") or {}).get("RequestId"),
        finish_reasons=[str(stop)] if stop else [],
        service_tier=read.service_tier,
        output=message.get("content") or text,
        text=text,
        fees=read.fees,
    )


def _invoke_answer(body: Mapping[str, Any], response: Mapping[str, Any]) -> Answer:
    read = read_body(body)
    meters = read.meters
    if not meters.is_known:
        headers = (response.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
        given, made = (headers.get(f"x-amzn-bedrock-{side}-token-count") for side in ("input", "output"))
        if given is not None and made is not None:
            meters = Meters(input_fresh=int(given), output=int(made))
    return Answer(
        meters,
        raw_usage=read.raw,
        response_id=read.response_id,
        model=read.model,
        finish_reasons=[read.finish_reason] if read.finish_reason else [],
        output=body,
        text="".join(read.texts),
        fees=read.fees,
    )


class ConverseAccumulator:
    """Events of a streamed Converse."""

    def __init__(self) -> None:
        self._told: Mapping[str, Any] = {}
        self._stop: Any = None
        self._text: list[str] = []

    def add(self, chunk: Any) -> bool:
        """Take one event and return whether it carried content."""
        if "metadata" in chunk:
            self._told = chunk["metadata"]
        elif "messageStop" in chunk:
            self._stop = chunk["messageStop"].get("stopReason")
        elif "contentBlockDelta" in chunk:
            delta = chunk["contentBlockDelta"].get("delta") or {}
            text = delta.get("text") or (delta.get("toolUse") or {}).get("input")
            if text:
                self._text.append(text)
                return True
        return False

    def answer(self) -> Answer:
        """Return what has come so far."""
        return _converse_answer({}, self._told, self._stop, "".join(self._text))


class _Watched:
    """Stands in for botocore's event stream."""

    def __init__(
        self, call: InferenceCall, stream: Any, accumulator: Accumulator, chunk_of: Callable[[Any], Any]
    ) -> None:
        self._call = call
        self._stream = stream
        self._accumulator = accumulator
        self._chunk_of = chunk_of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            for event in self._stream:
                try:
                    if self._accumulator.add(self._chunk_of(event)):
                        self._call.chunk()
                except Exception as error:
                    report("bedrock event", error)
                yield event
            self._call.finish(self._accumulator.answer())
        except GeneratorExit:
            self._call.abort(self._accumulator.answer())
            raise
        except BaseException as error:
            self._call.fail(error, self._accumulator.answer())
            raise

    def close(self) -> None:
        self._call.abort(self._accumulator.answer())
        self._stream.close()
