"""What a model call asks for and what came back, in the words of the convention, whichever SDK it went through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters
from inferometer.schema.records import UsageSource
from inferometer.schema.usage.body import Fee
from inferometer.tracer.guard import report


class Request:
    """What a call asks for, in the words of the convention.

    Args:
        operation: ``chat``, ``text_completion``, ``generate_content`` or ``embeddings``.
        provider: such as ``openai``.
        model: asked for.
        parameters: attributes of the convention that carry no content, such as ``gen_ai.request.temperature``; or a
            function that reads them, called on the export thread.
        system: system instructions, as the provider's API takes them.
        messages: the conversation, as the provider's API takes it.
        tools: tool definitions, as the provider's API takes them.
        stream: whether a stream was asked for.
        address: (host, port) of the server.
    """

    __slots__ = ("address", "messages", "model", "operation", "parameters", "provider", "stream", "system", "tools")

    def __init__(
        self,
        operation: str,
        provider: str | None,
        model: str | None,
        *,
        parameters: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        system: Any = None,
        messages: Any = None,
        tools: Sequence[Any] | None = None,
        stream: bool = False,
        address: tuple[str, int | None] | None = None,
    ) -> None:
        self.operation = operation
        self.provider = provider
        self.model = model
        self.parameters = parameters
        self.system = system
        self.messages = messages
        self.tools = tools
        self.stream = stream
        self.address = address


class Answer:
    """What came back.

    Args:
        meters: tokens, from the provider's own usage; None where it told none.
        raw_usage: the provider's usage object.
        source: of the meters; default provider where there are any, else absent.
        response_id: the provider's.
        model: that answered.
        finish_reasons: of the choices.
        service_tier: that served.
        output: the message or messages that came back, for content capture.
        text: what a stream said, from which tokens are counted where the provider tells none.
        attributes: others of the convention.
        fees: what the provider bills beside tokens.
    """

    __slots__ = (
        "attributes",
        "fees",
        "finish_reasons",
        "meters",
        "model",
        "output",
        "raw_usage",
        "response_id",
        "service_tier",
        "source",
        "text",
    )

    def __init__(
        self,
        meters: Meters | None = None,
        *,
        raw_usage: Mapping[str, Any] | None = None,
        source: UsageSource | None = None,
        response_id: str | None = None,
        model: str | None = None,
        finish_reasons: Sequence[str] = (),
        service_tier: str | None = None,
        output: Any = None,
        text: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        fees: Sequence[Fee] = (),
    ) -> None:
        self.meters = meters
        self.raw_usage = raw_usage
        self.source = source
        self.response_id = response_id
        self.model = model
        self.finish_reasons = finish_reasons
        self.service_tier = service_tier
        self.output = output
        self.text = text
        self.attributes = attributes
        self.fees = fees


def from_cache(answer: Answer) -> Answer:
    """Return an answer that a cache of the program gave again: nobody was called, so nothing was used or is owed."""
    return Answer(
        Meters(input_fresh=0, output=0),
        model=answer.model,
        finish_reasons=answer.finish_reasons,
        output=answer.output,
        attributes={names.FROM_CACHE: True},
    )


LateAnswer = Answer | Callable[[], Answer] | None
"""An answer, or how to read it: reading waits for the export thread where nothing needs it at once."""


def read_answer(answer: LateAnswer) -> Answer:
    """Return an answer that may still have to be read; one that cannot be read says nothing."""
    if callable(answer):
        try:
            return answer()
        except Exception as error:
            report("answer", error)
            return Answer()
    return answer or Answer()
