"""VCR cassettes and HTTP archives: recorded traffic with providers; its YAML is read without running any of it."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Any

import yaml

from inferometer.ingest.content import count_missing, describe_input
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.importers.lines import read_documents
from inferometer.ingest.importers.parts import BETWEEN, Cuts
from inferometer.ingest.importers.session import Session
from inferometer.ingest.refusals import mark_refused
from inferometer.ingest.said import Said
from inferometer.ingest.values import as_list, as_mapping, as_name, as_seconds, iso_ns
from inferometer.schema.errors import InputError
from inferometer.schema.records import (
    Attempt,
    Charge,
    Inference,
    Operation,
    RecordBatch,
    Status,
    UsageSource,
)
from inferometer.schema.usage import BodyUsage, Endpoint, endpoint_of, read_answer

_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})

_ASKED_AGAIN = frozenset({"openai_responses", "openai_assistants"})
"""Interfaces whose answers are asked for again by their id until they are there."""

_names_an_answer = re.compile(r"/(?:resp|run)_[^/?]+(?:\?|$)").search

_STREAMS = ("event-stream", "eventstream", "ndjson")

_CUTS = Cuts({"interactions": BETWEEN, "log": Cuts({"entries": BETWEEN})})

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """A safe loader for which a tag of a programming language is only the value under it."""


def _untagged(loader: Any, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("", _untagged)


def matches(source: Source) -> bool:
    """Return whether a file is a cassette: YAML or JSON with interactions, or an HTTP archive."""
    if isinstance(source.first, dict):
        entries = as_mapping(source.first.get("log")).get("entries")
        return isinstance(source.first.get("interactions", entries), list)
    return source.first is None and (source.head.startswith(b"interactions:") or b"\ninteractions:" in source.head)


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of all calls to models in a cassette; one that comes in parts is known by the first of them."""
    warnings: Counter[str] = Counter()
    reader: _Reader | None = None
    for document, digest in _documents(source, warnings):
        if reader is None:
            keep = source.options.keep_content
            reader = _Reader(Session("cassette", source.name, source.name, None, digest, keep_content=keep))
        archive = as_mapping(as_mapping(document).get("log")).get("entries")
        found = as_list(archive if archive is not None else as_mapping(document).get("interactions"))
        for entry in found:
            if isinstance(entry, dict):
                reader.read(_of_archive(entry) if archive else entry)
    if reader is not None:
        reader.session.batch.warnings.update(warnings)
        yield reader.session.finish()


def _documents(source: Source, warnings: Counter[str]) -> Iterator[tuple[Any, str]]:
    """Yield documents, each with a digest of it."""
    if source.first is not None:
        for document in read_documents(source, warnings, _CUTS):
            yield document, blake2b(json.dumps(document, default=str).encode(), digest_size=8).hexdigest()
        return
    raw = source.stream.read()
    try:
        yield yaml.load(raw, Loader=_Loader), blake2b(raw, digest_size=8).hexdigest()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(str(source.path), f"not YAML: {line}") from error


def _of_archive(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of an HTTP archive (HAR 1.2) in the shape of a cassette's interaction."""
    request, response = as_mapping(entry.get("request")), as_mapping(entry.get("response"))
    content = as_mapping(response.get("content"))
    text = content.get("text")
    if content.get("encoding") == "base64" and isinstance(text, str):
        with suppress(ValueError):  # no base64, or letters beyond ASCII
            text = base64.b64decode(text)
    headers = {str(pair.get("name")): pair.get("value") for pair in as_list(response.get("headers")) if pair}
    headers.setdefault("content-type", content.get("mimeType"))
    return {
        "started": entry.get("startedDateTime"),
        "took_ms": entry.get("time"),
        "request": {
            "uri": request.get("url"),
            "method": request.get("method"),
            "body": as_mapping(request.get("postData")).get("text"),
        },
        "response": {"status": {"code": response.get("status")}, "headers": headers, "body": text},
    }


class _Reader:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.retried: tuple[str, list[Attempt]] = ("", [])
        self.polled: dict[str, Inference] = {}
        self.place = -1

    def read(self, interaction: dict[str, Any]) -> None:
        self.place += 1
        request, response = as_mapping(interaction.get("request")), as_mapping(interaction.get("response"))
        url = as_name(request.get("uri")) or as_name(request.get("url")) or ""
        endpoint = endpoint_of(url)
        is_asked_again = str(request.get("method", "")).upper() == "GET"
        if endpoint is None or (is_asked_again and not _names_an_answer(url)):
            self.session.batch.warnings["other_requests"] += 1
            return
        headers = _headers(response)
        status = as_mapping(response.get("status")).get("code", response.get("status_code"))
        status = status if isinstance(status, int) else None
        sent = _request_body(request)
        time_ns, end_ns = _times_ns(interaction, headers)
        attempt = Attempt(status, time_ns, end_ns)
        mark = url + json.dumps(sent, sort_keys=True, default=str)
        earlier = self.retried[1] if self.retried[0] == mark else []
        if status in _RETRIED:
            self.retried = (mark, [*earlier, attempt])
        call, usage = self._call(endpoint, sent, response, headers, status)
        waiting = self.polled.get(call.response_id or "")
        if waiting is not None and (is_asked_again or waiting.usage_source is not UsageSource.PROVIDER):
            _answer_later(waiting, call)
            return
        if call.response_id is not None and endpoint.interface in _ASKED_AGAIN:
            self.polled[call.response_id] = call
        call.attempts = [*earlier, attempt] if earlier else []
        mark_refused(call, None, [one.status for one in (*earlier, attempt)])
        if earlier:
            self._drop_failed(len(earlier))
        span = self.session.add_call(
            str(self.place),
            call,
            time_ns,
            end_ns,
            status=Status.ERROR if status is None or status >= 400 else Status.OK,
            error_type=str(status) if status is not None and status >= 400 else None,
            said=Said(*_input_of(sent), usage.texts if usage else None),
        )
        self._add_inner(usage, call, str(self.place), time_ns)
        for fee in usage.fees if usage else ():
            charge = Charge(span.trace_id, span.span_id, fee.sku, Decimal(fee.quantity), fee.unit, source="usage")
            self.session.batch.charges.append(charge)

    def _add_inner(self, usage: BodyUsage | None, outer: Inference, key: str, time_ns: int | None) -> None:
        for number, inner in enumerate(usage.inner if usage else ()):
            call = Inference(
                b"",
                b"",
                provider=outer.provider,
                response_model=as_name(inner.model) or outer.model,
                meters=inner.meters,
                raw_usage=inner.raw,
                usage_source=UsageSource.PROVIDER if inner.meters.is_known else UsageSource.ABSENT,
                usage_semantics=inner.semantics,
                reasons=inner.reasons,
            )
            self.session.add_call(f"{key}/{number}", call, time_ns, None)

    def _drop_failed(self, number: int) -> None:
        """Take back the failed tries of a request that was sent again: they are attempts of one call."""
        batch = self.session.batch
        gone = {call.span_id for call in batch.inferences[-number:]}
        del batch.inferences[-number:]
        batch.spans[:] = [span for span in batch.spans if span.span_id not in gone]
        self.retried = ("", [])

    def _call(
        self,
        endpoint: Endpoint,
        sent: dict[str, Any],
        response: dict[str, Any],
        headers: dict[str, str],
        status: int | None,
    ) -> tuple[Inference, BodyUsage | None]:
        body = _response_body(response, headers, self.session.batch.warnings)
        kind = headers.get("content-type", "")
        stream = endpoint.is_stream or any(mark in kind for mark in _STREAMS) or sent.get("stream") is True
        failed = status is None or status >= 400 or body is None
        usage = None if failed else read_answer(endpoint, body or b"", stream=stream)
        call = Inference(
            b"",
            b"",
            provider=endpoint.provider,
            request_model=as_name(sent.get("model")) or endpoint.model,
            operation=endpoint.operation,
            stream=stream,
        )
        if usage is None:
            call.reasons.append("no answer to read" if failed else "the answer tells nothing of its usage")
            return call, None
        call.response_model = as_name(usage.model) if usage.model != call.request_model else call.request_model
        call.response_id, call.finish_reason = as_name(usage.response_id), as_name(usage.finish_reason)
        call.service_tier, call.raw_usage = as_name(usage.service_tier), usage.raw
        call.meters, call.usage_semantics = usage.meters, usage.semantics
        call.operation, call.recorded_cost_usd = usage.operation, usage.cost_usd
        call.prefill_ns, call.decode_ns = usage.prefill_ns, usage.decode_ns
        call.reasons += usage.reasons
        call.usage_source = UsageSource.PROVIDER if usage.meters.is_known else UsageSource.ABSENT
        parts = describe_input(call, *_input_of(sent))
        if call.operation in {Operation.CHAT, Operation.COMPLETION} and (
            call.meters.output is None or call.meters.input_total is None
        ):
            count_missing(call, parts, usage.texts or None)
        return call, usage


def _input_of(sent: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return the system instructions, messages and tools of a request."""
    return (
        sent.get("system") or sent.get("instructions") or sent.get("systemInstruction"),
        sent.get("messages") or sent.get("contents") or sent.get("input") or sent.get("prompt"),
        sent.get("tools"),
    )


def _answer_later(call: Inference, later: Inference) -> None:
    """Take over what a response that ran in the background told when it was asked for again."""
    if later.usage_source is UsageSource.PROVIDER and call.usage_source is not UsageSource.PROVIDER:
        call.meters, call.raw_usage, call.usage_source = later.meters, later.raw_usage, later.usage_source
        call.usage_semantics, call.reasons = later.usage_semantics, later.reasons
    call.finish_reason = later.finish_reason or call.finish_reason


def _headers(response: dict[str, Any]) -> dict[str, str]:
    headers = {}
    for name, value in as_mapping(response.get("headers")).items():
        first = value[0] if isinstance(value, list) and value else value
        headers[str(name).lower()] = str(first)
    return headers


def _request_body(request: dict[str, Any]) -> dict[str, Any]:
    parsed = request.get("parsed_body")
    if isinstance(parsed, dict):
        return parsed
    body = request.get("body")
    if isinstance(body, dict):
        body = body.get("string", body)
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    try:
        loaded = json.loads(body) if isinstance(body, str) else body
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _response_body(response: dict[str, Any], headers: dict[str, str], warnings: Counter[str]) -> bytes | None:
    if isinstance(response.get("parsed_body"), (dict, list)):
        return json.dumps(response["parsed_body"], default=str).encode()
    body = response.get("body", response.get("content"))
    if isinstance(body, dict):
        body = body.get("string", body.get("base64_string"))
    if isinstance(body, str):
        body = body.encode("utf-8", "surrogateescape")
    if not isinstance(body, bytes):
        return None
    return _uncompressed(body, headers.get("content-encoding", ""), warnings)


def _uncompressed(body: bytes, encoding: str, warnings: Counter[str]) -> bytes | None:
    """Return a body as it was before its content encoding; recorders often have done that already."""
    try:
        if body[:2] == b"\x1f\x8b":
            return gzip.decompress(body)
        if body[:4] == b"\x28\xb5\x2f\xfd":
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    except (OSError, EOFError, zlib.error, ValueError):
        warnings["broken_body"] += 1
        return None
    if encoding == "br" and body[:1] not in b"{[de\n: ":
        warnings["brotli_body"] += 1
        return None
    return body


def _times_ns(interaction: dict[str, Any], headers: dict[str, str]) -> tuple[int | None, int | None]:
    """Return when a call began and ended: an archive says, of a cassette the second of the answer is known at best."""
    begin_ns, took_ms = iso_ns(interaction.get("started")), as_seconds(interaction.get("took_ms"))
    if begin_ns is None:
        return _date_ns(headers.get("date")), None
    return begin_ns, None if took_ms is None else begin_ns + round(took_ms * 1_000_000)


def _date_ns(date: str | None) -> int | None:
    if date is None:
        return None
    try:
        moment: datetime = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    time_ns = int(moment.timestamp()) * 1_000_000_000
    return time_ns if 0 < time_ns < 2**63 else None


IMPORTER = Importer(
    name="vcr",
    reads="VCR cassettes (YAML or JSON) and HTTP archives (HAR) with model providers' traffic: usage from bodies and "
    "streams, attempts, text counted where a stream tells no usage",
    matches=matches,
    read=read,
    cuts=_CUTS,
)
