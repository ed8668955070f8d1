"""What a span says about a model call: attributes of the emit table, from requests, answers and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters
from inferometer.schema.records import UsageSource
from inferometer.tracer.exchange import Answer, Request


def request_attributes(request: Request) -> dict[str, Any]:
    """Return what a span says when its call starts."""
    attributes: dict[str, Any] = {names.OPERATION: request.operation}
    if request.provider is not None:
        attributes[names.PROVIDER] = request.provider
    if request.model is not None:
        attributes[names.REQUEST_MODEL] = request.model
    if request.stream:
        attributes[names.REQUEST_STREAM] = True
    if request.address is not None:
        attributes[names.SERVER_ADDRESS] = request.address[0]
        if request.address[1] is not None:
            attributes[names.SERVER_PORT] = request.address[1]
    return attributes


def describe_parameters(attributes: dict[str, Any], request: Request) -> None:
    """Add the parameters of a request."""
    parameters = request.parameters
    if parameters:
        attributes.update(parameters() if callable(parameters) else parameters)


def describe_usage(attributes: dict[str, Any], meters: Meters | None, source: UsageSource | None = None) -> None:
    """Add tokens in the convention's inclusive counts, with the splits that it has no name for."""
    if meters is None or not meters.is_known:
        attributes[names.USAGE_SOURCE] = str(source or UsageSource.ABSENT)
        return
    writes = [count for count in (meters.cache_write_5m, meters.cache_write_1h) if count is not None]
    for name, count in (
        (names.USAGE_INPUT, meters.input_total),
        (names.USAGE_OUTPUT, meters.output),
        (names.USAGE_CACHE_READ, meters.cache_read),
        (names.USAGE_CACHE_WRITE, sum(writes) if writes else None),
        (names.USAGE_CACHE_WRITE_5M, meters.cache_write_5m),
        (names.USAGE_CACHE_WRITE_1H, meters.cache_write_1h),
        (names.USAGE_REASONING, meters.reasoning),
        (names.USAGE_TEXT_INPUT, meters.input_text),
        (names.USAGE_AUDIO_INPUT, meters.input_audio),
        (names.USAGE_IMAGE_INPUT, meters.input_image),
        (names.USAGE_AUDIO_CACHE_READ, meters.cache_read_audio),
        (names.USAGE_TEXT_OUTPUT, meters.output_text),
        (names.USAGE_AUDIO_OUTPUT, meters.output_audio),
        (names.USAGE_IMAGE_OUTPUT, meters.output_image),
    ):
        if count is not None:
            attributes[name] = count  # noqa: PERF403 - adds to what is there
    attributes[names.USAGE_SOURCE] = str(source or UsageSource.PROVIDER)


def describe_chunks(attributes: dict[str, Any], start_ns: int, chunk_ns: Sequence[int]) -> None:
    """Add time to first chunk and between chunks; percentiles are the nearest rank."""
    attributes[names.CHUNKS] = len(chunk_ns)
    ttft_ns = chunk_ns[0] - start_ns
    attributes[names.TTFT_NS] = ttft_ns
    attributes[names.RESPONSE_TTFC_S] = ttft_ns / 1e9
    gaps = sorted(later - earlier for earlier, later in pairwise(chunk_ns))
    if gaps:
        attributes[names.INTER_TOKEN_P50_NS] = gaps[_rank(len(gaps), 50)]
        attributes[names.INTER_TOKEN_P95_NS] = gaps[_rank(len(gaps), 95)]


def _rank(count: int, percent: int) -> int:
    return max(0, -(-count * percent // 100) - 1)


def text_length(request: Request) -> int:
    """Return the characters of a request's text: what its input is estimated from until its usage is known."""
    return _length(request.system) + _length(request.messages) + _length(request.tools)


def _length(value: Any, depth: int = 0) -> int:
    if isinstance(value, str):
        return len(value)
    if depth > 8:
        return 0
    if isinstance(value, Mapping):
        return sum(_length(item, depth + 1) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_length(item, depth + 1) for item in value)
    content = getattr(value, "content", None)
    return _length(content, depth + 1) if content is not None else 0


def describe_answer(attributes: dict[str, Any], answer: Answer) -> None:
    """Add who answered, how it ended, and its tokens."""
    for name, value in (
        (names.RESPONSE_ID, answer.response_id),
        (names.RESPONSE_MODEL, answer.model),
        (names.SERVICE_TIER, answer.service_tier),
    ):
        if value is not None:
            attributes[name] = value  # noqa: PERF403 - adds to what is there
    if answer.finish_reasons:
        attributes[names.RESPONSE_FINISH_REASONS] = tuple(answer.finish_reasons)
    if answer.attributes:
        attributes.update(answer.attributes)
    if answer.fees:
        attributes[names.CHARGE_SKUS] = tuple(fee.sku for fee in answer.fees)
        attributes[names.CHARGE_QUANTITIES] = tuple(fee.quantity for fee in answer.fees)
        attributes[names.CHARGE_UNITS] = tuple(fee.unit for fee in answer.fees)
    describe_usage(attributes, answer.meters, answer.source)


def describe_attempts(attributes: dict[str, Any], attempts: Sequence[tuple[int, int, int]]) -> None:
    """Add HTTP status, start and end of each attempt."""
    statuses, starts, ends = zip(*attempts, strict=True)
    attributes[names.ATTEMPT_STATUSES] = statuses
    attributes[names.ATTEMPT_STARTS_NS] = starts
    attributes[names.ATTEMPT_ENDS_NS] = ends
