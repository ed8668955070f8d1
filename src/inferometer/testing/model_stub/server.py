"""The HTTP server of the stub: routes to one module per provider's interface."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from inferometer.testing.model_stub import anthropic, bedrock, gemini, ollama, openai
from inferometer.testing.model_stub.brain import Brain, Failure, Prompt, Reply


@dataclass(slots=True)
class Received:
    """One request the stub got."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class Stream:
    """A streamed answer: its chunks as bytes, ready to be sent."""

    chunks: list[bytes]
    content_type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)


class Dialect(Protocol):
    """One provider's interface; a module below this package."""

    def matches(self, path: str) -> bool:
        """Whether a path belongs to it."""

    def prompt_of(self, path: str, body: Any) -> Prompt | None:
        """Return what a request asks; None where it is answered by `other`."""

    def body(self, path: str, reply: Reply, prompt: Prompt) -> dict[str, Any]:
        """Return an answer in one piece."""

    def chunks(self, path: str, reply: Reply, prompt: Prompt, request: Any) -> Iterable[bytes]:
        """Return a streamed answer."""

    def other(self, path: str, body: Any) -> dict[str, Any]:
        """Return what is no reply of a model."""

    def error(self, failure: Failure) -> dict[str, Any]:
        """Return the body of an error."""


class ModelStub:
    """A model server on 127.0.0.1, as a context manager.

    Args:
        brain: what answers; its ``script`` holds replies and failures that come first.
        chunk_delay_s: pause before each chunk of a stream, in seconds.

    ``requests`` are all that came, ``served`` those that a model answered, each with its answer.
    """

    def __init__(self, brain: Brain | None = None, chunk_delay_s: float = 0.0) -> None:
        self.brain = brain or Brain()
        self.chunk_delay_s = chunk_delay_s
        self.requests: list[Received] = []
        self.served: list[tuple[Prompt, Reply]] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; OpenAI clients take it with ``/v1``."""
        assert self._server is not None, "the stub is not running: use it as a context manager"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def openai_url(self) -> str:
        """The base URL that OpenAI's clients take."""
        return f"{self.url}/v1"

    def script(self, *answers: Reply | Failure) -> None:
        """Answer the next requests with these, in order."""
        self.brain.script.extend(answers)

    def __enter__(self) -> ModelStub:
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="model-stub", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stub: ModelStub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stub = stub
        self.dialects: tuple[Dialect, ...] = (anthropic, gemini, bedrock, ollama, openai)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that hang up are part of what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer what clients ask before they work."""
        self._serve("GET", None)

    def do_POST(self) -> None:
        """Answer a model call."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        self._serve("POST", body)

    def _serve(self, method: str, body: Any) -> None:
        stub = self.server.stub
        path = self.path.partition("?")[0]
        stub.requests.append(Received(method, self.path, dict(self.headers.items()), body))
        dialect = next((one for one in self.server.dialects if one.matches(path)), None)
        if dialect is None:
            self._send_json(404, {"error": {"message": f"the stub has no {path}"}})
            return
        prompt = dialect.prompt_of(path, body)
        if prompt is None:
            self._send_json(200, dialect.other(path, body))
            return
        answer = stub.brain.answer(prompt)
        if isinstance(answer, Failure):
            headers = {} if answer.retry_after_s is None else {"Retry-After": f"{answer.retry_after_s:g}"}
            self._send_json(answer.status, dialect.error(answer), headers)
            return
        stub.served.append((prompt, answer))
        if prompt.stream:
            chunks = list(dialect.chunks(path, answer, prompt, body))
            self._send_stream(Stream(chunks, getattr(dialect, "STREAM_TYPE", "text/event-stream")), answer.breaks_after)
        else:
            self._send_json(200, dialect.body(path, answer, prompt))

    def _send_json(self, status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        payload = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("x-request-id", f"req-{len(self.server.stub.requests):06d}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def _send_stream(self, stream: Stream, breaks_after: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", stream.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for place, chunk in enumerate(stream.chunks):
            if breaks_after is not None and place >= breaks_after:
                self.close_connection = True
                return
            if self.server.stub.chunk_delay_s:
                time.sleep(self.server.stub.chunk_delay_s)
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
