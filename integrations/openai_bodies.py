"""What OpenAI's requests, answers and stream chunks say, in the words of the convention."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from inferometer.integrations.base import field
from inferometer.integrations.streams import Accumulator
from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters
from inferometer.schema.usage.body import Fee
from inferometer.schema.usage.openai import read_usage
from inferometer.schema.usage.openai_responses import fees_of
from inferometer.tracer.calls import Answer, Request

CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS = "/chat/completions", "/completions", "/responses", "/embeddings"
_OPERATIONS = {CHAT: "chat", COMPLETIONS: "text_completion", RESPONSES: "chat", EMBEDDINGS: "embeddings"}
_PATHS = {path: path for path in _OPERATIONS}
_PARAMETERS = {
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "max_completion_tokens": names.REQUEST_MAX_TOKENS,
    "max_output_tokens": names.REQUEST_MAX_TOKENS,
    "frequency_penalty": names.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.REQUEST_PRESENCE_PENALTY,
    "seed": names.REQUEST_SEED,
    "service_tier": names.OPENAI_REQUEST_TIER,
    "previous_response_id": names.REQUEST_PREVIOUS_RESPONSE_ID,
    "dimensions": names.EMBEDDING_DIMENSIONS,
    "reasoning_effort": names.REQUEST_REASONING_LEVEL,
}
_PROVIDERS = (
    # host ending: provider of the convention; other hosts speak OpenAI's language without being it
    ("openai.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.x.ai", "x_ai"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together"),
)


def request_of(client: Any, options: Any, stream: bool) -> Request | None:
    """Return what a request of the SDK asks a model for; None where it is about something else."""
    path = _PATHS.get(options.url) or _path(options.url)
    body = options.json_data
    if path is None or not isinstance(body, Mapping) or str(options.method).lower() != "post":
        return None
    provider, address = _server_of(client)
    return Request(
        _OPERATIONS[path],
        provider,
        body.get("model"),
        parameters=partial(parameters_of, path, body),
        system=body.get("instructions"),
        messages=body.get("messages") if path == CHAT else body.get("prompt", body.get("input")),
        tools=body.get("tools"),
        stream=stream,
        address=address,
    )


_servers: WeakKeyDictionary[Any, tuple[Any, str, tuple[str, int | None]]] = WeakKeyDictionary()


def _server_of(client: Any) -> tuple[str, tuple[str, int | None]]:
    """Return the provider and address of a client's server, worked out once for each base URL that it has."""
    set_url = client.__dict__.get("_base_url")  # the property imports a module each time it is read
    known = _servers.get(client)
    if known is None or known[0] is not set_url or set_url is None:
        url = client.base_url
        host = url.host
        provider = next((provider for ending, provider in _PROVIDERS if host.endswith(ending)), "openai")
        known = _servers[client] = (set_url, provider, (host, url.port))
    return known[1], known[2]


def _path(url: str) -> str | None:
    for path in (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS):
        if url.endswith(path):
            return path
    return None


def parameters_of(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request that carry no content, by the convention's names."""
    found: dict[str, Any] = {}
    for key, value in body.items():
        name = _PARAMETERS.get(key)
        if name is not None and isinstance(value, (str, int, float)):
            found[name] = value
    if isinstance(stop := body.get("stop"), (str, list)):
        found[names.REQUEST_STOP_SEQUENCES] = (stop,) if isinstance(stop, str) else tuple(stop)
    if isinstance(choices := body.get("n"), int) and choices != 1:
        found[names.REQUEST_CHOICES] = choices
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and isinstance(reasoning.get("effort"), str):
        found[names.REQUEST_REASONING_LEVEL] = reasoning["effort"]
    if path == EMBEDDINGS and isinstance(encoding := body.get("encoding_format"), str):
        found[names.REQUEST_ENCODING_FORMATS] = (encoding,)
    if (output := _output_type(body)) is not None:
        found[names.OUTPUT_TYPE] = output
    if path == RESPONSES:
        found[names.OPENAI_API] = "responses"
    elif path == CHAT:
        found[names.OPENAI_API] = "chat_completions"
    return found


def _output_type(body: Mapping[str, Any]) -> str | None:
    wanted = body.get("response_format")
    if wanted is None and isinstance(text := body.get("text"), Mapping):
        wanted = text.get("format")
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    return {"json_object": "json", "json_schema": "json", "text": "text"}.get(str(kind))


def read_body(url: str, body: Any) -> Answer:
    """Return what an answer says; `body` is the SDK's object, the JSON it came from, or None."""
    if body is None:
        return Answer()
    usage = field(body, "usage")
    finish_reasons = []
    output: Any
    if url.endswith(RESPONSES):
        output = field(body, "output")
        if (status := field(body, "status")) is not None:
            finish_reasons = [_response_finish(body, str(status))]
    else:
        choices = field(body, "choices") or ()
        finish_reasons = [str(reason) for choice in choices if (reason := field(choice, "finish_reason"))]
        output = [field(choice, "message") or field(choice, "text") for choice in choices] or None
    attributes = {}
    if (fingerprint := field(body, "system_fingerprint")) is not None:
        attributes[names.OPENAI_FINGERPRINT] = fingerprint
    if (tier := field(body, "service_tier")) is not None:
        attributes[names.OPENAI_RESPONSE_TIER] = tier
    return Answer(
        meters_of(usage),
        raw_usage=as_mapping(usage),
        response_id=field(body, "id"),
        model=field(body, "model"),
        finish_reasons=finish_reasons,
        service_tier=tier,
        output=output,
        attributes=attributes,
        fees=_fees_of(usage, output if url.endswith(RESPONSES) else None),
    )


def _fees_of(usage: Any, items: Any = None) -> list[Fee]:
    fees = read_usage(told).fees if (told := as_mapping(usage)) else []
    return fees + fees_of(str(field(item, "type")) for item in items or ())


def _response_finish(body: Any, status: str) -> str:
    details = field(body, "incomplete_details")
    reason = field(details, "reason") if details is not None else None
    return str(reason or {"completed": "stop"}.get(status, status))


def meters_of(usage: Any) -> Meters | None:
    """Return meters of a usage object of chat, responses or embeddings; None where there is none."""
    told = as_mapping(usage)
    if not told:
        return None
    meters = read_usage(told).meters
    return meters if meters.is_known else None


def as_mapping(usage: Any) -> Mapping[str, Any] | None:
    """Return a usage object as a mapping without what it leaves out."""
    if usage is None or isinstance(usage, Mapping):
        return usage
    dump = getattr(usage, "model_dump", None)
    return dump(exclude_none=True) if dump is not None else None


def accumulator_for(url: str) -> Accumulator:
    """Return what puts the chunks of a stream together."""
    return ResponsesAccumulator() if url.endswith(RESPONSES) else ChatAccumulator()


class ChatAccumulator:
    """Chunks of chat and text completions."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self._fingerprint: str | None = None
        self._usage: Any = None
        self._finish: dict[int, str] = {}
        self.text: list[str] = []

    def add(self, chunk: Any) -> bool:
        """Take one chunk and return whether it carried content."""
        if self._id is None:
            self._id, self._model = field(chunk, "id"), field(chunk, "model")
            self._fingerprint = field(chunk, "system_fingerprint")
        if (tier := field(chunk, "service_tier")) is not None:
            self._tier = tier
        if (usage := field(chunk, "usage")) is not None:
            self._usage = usage
        carried = False
        for choice in field(chunk, "choices") or ():
            if reason := field(choice, "finish_reason"):
                self._finish[field(choice, "index") or 0] = str(reason)
            carried = self._add_delta(choice) or carried
        return carried

    def _add_delta(self, choice: Any) -> bool:
        if text := field(choice, "text"):
            self.text.append(text)
            return True
        delta = field(choice, "delta")
        if delta is None:
            return False
        carried = False
        for key in ("content", "refusal", "reasoning_content", "reasoning"):
            if isinstance(text := field(delta, key), str) and text:
                self.text.append(text)
                carried = True
        for called in field(delta, "tool_calls") or ():
            function = field(called, "function")
            for key in ("name", "arguments"):
                if isinstance(text := field(function, key), str) and text:
                    self.text.append(text)
                    carried = True
        return carried

    def answer(self) -> Answer:
        """Return what has come so far."""
        attributes = {names.OPENAI_FINGERPRINT: self._fingerprint, names.OPENAI_RESPONSE_TIER: self._tier}
        return Answer(
            meters_of(self._usage),
            raw_usage=as_mapping(self._usage),
            response_id=self._id,
            model=self._model,
            finish_reasons=list(self._finish.values()),
            service_tier=self._tier,
            output="".join(self.text) or None,
            text="".join(self.text),
            fees=_fees_of(self._usage),
            attributes={name: value for name, value in attributes.items() if value is not None},
        )


class ResponsesAccumulator:
    """Events of the responses API."""

    def __init__(self) -> None:
        self._response: Any = None
        self.text: list[str] = []

    def add(self, chunk: Any) -> bool:
        """Take one event and return whether it carried content."""
        if (response := field(chunk, "response")) is not None:
            self._response = response
        kind = str(field(chunk, "type") or "")
        delta = field(chunk, "delta")
        if kind.endswith(".delta") and isinstance(delta, str) and delta:
            self.text.append(delta)
            return True
        return False

    def answer(self) -> Answer:
        """Return what has come so far."""
        answer = read_body(RESPONSES, self._response)
        answer.text = "".join(self.text)
        if not answer.output:
            answer.output = answer.text or None
        return answer
