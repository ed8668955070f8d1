"""The ``openai`` SDK: chat, completions, responses and embeddings; sync, async, streams, raw and parsed responses.

A chat stream that does not ask for its usage is made to, and the chunk that carries it is kept from the caller; a
server that refuses that is asked again as the program wrote it.
"""

from __future__ import annotations

from typing import Any

from inferometer.integrations import openai_bodies
from inferometer.integrations.base import Integration, field
from inferometer.integrations.stainless import StainlessIntegration, copy_options, is_raw
from inferometer.integrations.streams import Accumulator, Hidden
from inferometer.tracer.calls import Answer, Request


class OpenAIIntegration(StainlessIntegration):
    """Traces every model call of the ``openai`` SDK."""

    name = "openai"
    module = "openai"
    distribution = "openai"
    minimum = (1, 40)
    clients = ("OpenAI", "AsyncOpenAI")

    def __init__(self) -> None:
        super().__init__()
        self._refusing_hosts: set[str] = set()

    def request_of(self, client: Any, options: Any, stream: bool) -> Request | None:
        """Return what a request asks a model for; None where it is about something else."""
        return openai_bodies.request_of(client, options, stream)

    def read_body(self, url: str, body: Any) -> Answer:
        """Return what an answer says."""
        return openai_bodies.read_body(url, body)

    def accumulator_for(self, url: str) -> Accumulator:
        """Return what puts the chunks of a stream together."""
        return openai_bodies.accumulator_for(url)

    def adapt(self, client: Any, options: Any) -> tuple[Any, Hidden] | None:
        """Ask for a stream's usage where the program does not say whether it wants it."""
        body = options.json_data
        if not options.url.endswith("/completions") or not isinstance(body, dict):
            return None
        wanted = body.get("stream_options")
        if isinstance(wanted, dict) and "include_usage" in wanted:
            return None
        if is_raw(options) or str(client.base_url) in self._refusing_hosts:
            return None
        changed = copy_options(options)
        changed.json_data = {**body, "stream_options": {**(wanted or {}), "include_usage": True}}
        return changed, _carries_only_usage

    def refused(self, client: Any, error: Exception) -> bool:
        """Whether a server refused the option we added; it is not asked for it again."""
        if getattr(error, "status_code", None) not in (400, 404, 422) or "stream_options" not in str(error):
            return False
        self._refusing_hosts.add(str(client.base_url))
        return True


def integration() -> Integration:
    """Return the hook."""
    return OpenAIIntegration()


def _carries_only_usage(chunk: Any) -> bool:
    return not field(chunk, "choices") and field(chunk, "usage") is not None
