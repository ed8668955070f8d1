"""From a provider's answer to meters: one module an interface, standard library only."""

from __future__ import annotations

import json

from inferometer.schema.usage.body import BodyUsage, Fee
from inferometer.schema.usage.endpoints import READERS, Endpoint, endpoint_of
from inferometer.schema.usage.streams import events_of

__all__ = ["READERS", "BodyUsage", "Endpoint", "Fee", "endpoint_of", "read_answer"]


def read_answer(endpoint: Endpoint, body: bytes, *, stream: bool) -> BodyUsage | None:
    """Return what the answer of a model call says.

    Args:
        endpoint: from `endpoint_of`.
        body: uncompressed.
        stream: whether it came as a stream.

    Returns:
        None where it is no answer but an error, or cannot be read.
    """
    read_body, read_stream = READERS[endpoint.interface]
    if stream:
        events = list(events_of(body))
        if not events:
            return None
        usage = read_stream(events)
    else:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(answer, dict) or (answer.get("error")):
            return None
        usage = read_body(answer)
    if endpoint.operation.value not in {"chat", "completion"}:
        usage.operation = endpoint.operation
    usage.model = usage.model or endpoint.model
    return usage
