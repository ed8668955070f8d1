"""The ``anthropic`` SDK: messages, sync, async, streams, raw responses, also on Bedrock and Vertex.

From 2.x on the SDK traces itself where a provider is set; while our hook has a call, it is kept from doing so, for our
span says all that its span says, and attempts, chunk timing and composition beside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from inferometer.integrations.base import Integration, Patches, field
from inferometer.integrations.stainless import StainlessIntegration, given
from inferometer.integrations.streams import Accumulator
from inferometer.schema import attributes as names
from inferometer.schema.usage.anthropic import read_usage
from inferometer.tracer.calls import Answer, Request, current_call

_PARAMETERS = {
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "top_k": names.REQUEST_TOP_K,
    "max_tokens": names.REQUEST_MAX_TOKENS,
}


class AnthropicIntegration(StainlessIntegration):
    """Traces every message of the ``anthropic`` SDK."""

    name = "anthropic"
    module = "anthropic"
    distribution = "anthropic"
    minimum = (0, 40)
    clients = ("Anthropic", "AsyncAnthropic")

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the clients, those of other platforms too, and the place where the SDK begins its own spans."""
        if (base := sys.modules.get("anthropic._base_client")) is not None:
            patches.wrap(base, "start_api_call_span", _hook_own_span)
        found = super().hook(module, patches)
        for sync, asynchronous in (
            ("AnthropicBedrock", "AsyncAnthropicBedrock"),
            ("AnthropicVertex", "AsyncAnthropicVertex"),
        ):
            for name, make in ((sync, self._hook_request), (asynchronous, self._hook_async_request)):
                client = getattr(module, name, None)
                if client is not None and not issubclass(client, (module.Anthropic, module.AsyncAnthropic)):
                    patches.wrap(client, "request", make)
        return found

    def request_of(self, client: Any, options: Any, stream: bool) -> Request | None:
        """Return what a request asks a model for; None where it is about something else."""
        body = options.json_data
        if not isinstance(body, Mapping) or "messages" not in body or not _is_messages(options.url):
            return None
        url = client.base_url
        return Request(
            "chat",
            {"AnthropicBedrock": "aws.bedrock", "AnthropicVertex": "gcp.vertex_ai"}.get(
                type(client).__name__.removeprefix("Async"), "anthropic"
            ),
            body.get("model"),
            parameters=_parameters(body),
            system=given(body.get("system")),
            messages=body["messages"],
            tools=given(body.get("tools")),
            stream=stream,
            address=(url.host, url.port),
        )

    def read_body(self, url: str, body: Any) -> Answer:
        """Return what an answer says."""
        if body is None:
            return Answer()
        return answer_of(body, field(body, "usage"), field(body, "stop_reason"), field(body, "content"))

    def accumulator_for(self, url: str) -> Accumulator:
        """Return what puts the events of a stream together."""
        return MessageAccumulator()


def integration() -> Integration:
    """Return the hook."""
    return AnthropicIntegration()


def _hook_own_span(original: Callable[..., Any]) -> Callable[..., Any]:
    def start_api_call_span(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs) if current_call.get() is None else None

    return start_api_call_span


def _is_messages(url: str) -> bool:
    path = url.partition("?")[0]
    return path.endswith(("/messages", "/invoke", "/invoke-with-response-stream")) or "rawPredict" in path


def _parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: body[key] for key, name in _PARAMETERS.items() if isinstance(body.get(key), (int, float))}
    if isinstance(stop := body.get("stop_sequences"), (list, tuple)):
        found[names.REQUEST_STOP_SEQUENCES] = tuple(stop)
    effort = field(body.get("output_config") or {}, "effort")
    if isinstance(effort, str):
        found[names.REQUEST_REASONING_LEVEL] = effort
    return found


def answer_of(message: Any, usage: Any, stop_reason: Any, content: Any, text: str | None = None) -> Answer:
    """Return what a message and its usage say; `text` is what a stream put together."""
    raw = usage if isinstance(usage, Mapping) or usage is None else usage.model_dump(exclude_none=True)
    read = read_usage(raw) if raw is not None else None
    return Answer(
        read.meters if read is not None else None,
        raw_usage=raw,
        response_id=field(message, "id"),
        model=field(message, "model"),
        finish_reasons=[str(stop_reason)] if stop_reason else [],
        service_tier=read.service_tier if read is not None else None,
        output=content,
        text=text,
        fees=read.fees if read is not None else (),
    )


class MessageAccumulator:
    """Events of a streamed message: usage begins in the first and grows in those that follow."""

    def __init__(self) -> None:
        self._message: Any = None
        self._usage: dict[str, Any] = {}
        self._stop_reason: Any = None
        self._text: list[str] = []

    def add(self, chunk: Any) -> bool:
        """Take one event and return whether it carried content."""
        kind = field(chunk, "type")
        if kind == "message_start":
            self._message = field(chunk, "message")
            self._take_usage(field(self._message, "usage"))
        elif kind == "message_delta":
            self._stop_reason = field(field(chunk, "delta"), "stop_reason")
            self._take_usage(field(chunk, "usage"))
        elif kind == "content_block_delta":
            delta = field(chunk, "delta")
            for key in ("text", "partial_json", "thinking"):
                if isinstance(text := field(delta, key), str) and text:
                    self._text.append(text)
                    return True
        return False

    def _take_usage(self, usage: Any) -> None:
        if usage is None:
            return
        said = usage if isinstance(usage, Mapping) else usage.model_dump(exclude_none=True)
        self._usage.update({key: value for key, value in said.items() if value is not None})

    def answer(self) -> Answer:
        """Return what has come so far; a stream that broke off has only the output count it began with."""
        text = "".join(self._text)
        usage = self._usage if self._stop_reason is not None else None
        return answer_of(self._message or {}, usage, self._stop_reason, text or None, text)
