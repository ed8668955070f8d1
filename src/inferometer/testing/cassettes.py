"""Recorded HTTP traffic (VCR cassettes in YAML), read without trusting it: no tag makes an object."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Interaction:
    """One request and its answer; bodies are as the client saw them, decompressed."""

    method: str
    url: str
    request: Any
    status: int
    content_type: str
    body: bytes

    @property
    def is_stream(self) -> bool:
        """Whether the answer came as server-sent events."""
        return "event-stream" in self.content_type

    def document(self) -> Any:
        """Return the answer as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def events(self) -> list[Any]:
        """Return the JSON payloads of a stream."""
        found = []
        for line in self.body.decode("utf-8", "replace").splitlines():
            if line.startswith("data:") and line[5:].strip() not in ("", "[DONE]"):
                try:
                    found.append(json.loads(line[5:]))
                except ValueError:
                    continue
        return found


def read_cassettes(folder: Path) -> Iterator[Interaction]:
    """Yield the interactions of all cassettes below a folder, in the order of their paths."""
    for path in sorted(folder.rglob("*.yaml")):
        yield from read_cassette(path)


def read_cassette(path: Path) -> Iterator[Interaction]:
    """Yield the interactions of one cassette; what is broken or compressed in ways unknown here is left out."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)
    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except yaml.YAMLError:
        return
    for one in (document or {}).get("interactions") or ():
        interaction = _interaction(one)
        if interaction is not None:
            yield interaction


def _interaction(one: Any) -> Interaction | None:
    request, response = one.get("request") or {}, one.get("response") or {}
    headers = {str(key).lower(): _first(value) for key, value in (response.get("headers") or {}).items()}
    body = _body(response, headers.get("content-encoding", ""))
    if body is None:
        return None
    status = response.get("status") or {}
    return Interaction(
        str(request.get("method")),
        str(request.get("uri")),
        _json(request.get("parsed_body", request.get("body"))),
        int(status.get("code", 200)) if isinstance(status, dict) else int(response.get("status_code", 200)),
        headers.get("content-type", ""),
        body,
    )


def _body(response: dict[str, Any], encoding: str) -> bytes | None:
    if "parsed_body" in response:
        return json.dumps(response["parsed_body"]).encode()
    held = response.get("body") if "body" in response else response.get("content")
    text = held.get("string", held.get("base64_string")) if isinstance(held, dict) else held
    raw = text.encode() if isinstance(text, str) else text
    if not isinstance(raw, bytes):
        return None
    try:
        if isinstance(held, dict) and "base64_string" in held:
            raw = base64.b64decode(raw)
        if raw[:2] == b"\x1f\x8b":
            return gzip.decompress(raw)
        if encoding == "deflate":
            return zlib.decompress(raw)
        if raw[:4] == b"\x28\xb5\x2f\xfd":
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(raw)
        raw.decode()
    except (OSError, ValueError, zlib.error, binascii.Error):
        return None
    return raw


def _json(body: Any) -> Any:
    if isinstance(body, dict) and set(body) <= {"string", "encoding", "base64_string"}:
        body = body.get("string")
    if isinstance(body, (str, bytes)):
        try:
            return json.loads(body)
        except ValueError:
            return None
    return body


def _first(value: Any) -> str:
    return str(value[0]) if isinstance(value, list) and value else str(value)
