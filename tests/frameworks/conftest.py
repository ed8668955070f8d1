"""Real frameworks against the model server; what they leave is compared with the golden in `goldens/`.

Each module runs in an environment of its own (``make test-frameworks``), where INFEROMETER_REGENERATE=1 writes the
goldens anew. In the core suite, which has none of the frameworks, the goldens themselves are read.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import inferometer
from inferometer.exporters.direct import StoreSpanExporter
from inferometer.ingest.normalise import normalise
from inferometer.ingest.resolve import resolve
from inferometer.testing import record
from inferometer.testing.cassettes import Interaction, read_cassettes
from inferometer.testing.model_stub import Brain, ModelStub, Reply
from inferometer.tracer import guard

GOLDENS = Path(__file__).parent / "goldens"
SECRET = "Xyzzy-4711"
REGENERATE = bool(os.environ.get("INFEROMETER_REGENERATE"))
VOLATILE = (
    *("_ns", ".duration", "time_to_first_chunk", "time_to_first_token"),
    *("server.port", "server.address", "session.id", "jsonrpc.request.id"),
)
_RANDOM = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # a UUID
    r"|(?<=127\.0\.0\.1:)\d+"  # the model server's port
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(Z|[+-]\d\d:\d\d)?"  # a time
)

Scenario = Callable[[ModelStub], None]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelStub]:
    """A model server, and a fixed key so that hashes are the same at every run."""
    monkeypatch.setenv("INFEROMETER_HASH_KEY", "07" * 32)
    with ModelStub(Brain(tool_calls=1)) as stub:
        yield stub


@pytest.fixture
def trace(stub: ModelStub, request: pytest.FixtureRequest) -> Callable[..., list[ReadableSpan]]:
    """Run a scenario with hooks on and hold it to the contract of all hooks and to its golden."""

    def run(scenario: Scenario, *hooks: str, package: str, metered: bool = True, **options: Any) -> list[ReadableSpan]:
        failures = dict(guard.failures)
        with record(**options) as recorded:
            inferometer.instrument(*hooks) if hooks else None
            try:
                scenario(stub)
                assert _hooked() or not hooks
            finally:
                inferometer.uninstrument()
            spans = recorded.spans
        assert dict(guard.failures) == failures
        assert not _hooked()
        assert SECRET not in "\n".join(span.to_json() for span in spans)
        if metered:
            check_meters(spans, [reply for _, reply in stub.served])
        name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
        hold(GOLDENS / f"{package}-{name}.json", package, spans, [reply for _, reply in stub.served])
        return spans

    return run


def _hooked() -> set[str]:
    """Return the functions of ours that stand in for another's on any module or class that is loaded."""
    found = set()
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            held = vars(value).items() if issubclass(type(value), type) else [(name, value)]
            for key, function in list(held):
                if type(function) is FunctionType and "_inferometer" in vars(function):
                    found.add(f"{name}.{key}")
    return found


def check_meters(spans: list[ReadableSpan], served: list[Reply]) -> None:
    """Every call that the server answered is billed once, with the tokens that the server named."""
    exporter = StoreSpanExporter()
    batch = normalise([exporter._from_readable(span) for span in spans])
    decisions = {(one.trace_id, one.span_id): one for one in resolve(batch, 2**62).inferences}
    calls = [call for call in batch.inferences if decisions[(call.trace_id, call.span_id)].billable]
    failed = {(span.trace_id, span.span_id) for span in batch.spans if span.error_type is not None}
    answered = [call for call in calls if (call.trace_id, call.span_id) not in failed]
    found = sorted((call.meters.input_total, call.meters.output, call.meters.cache_read or 0) for call in answered)
    assert found == sorted((one.input_tokens, one.output_tokens, one.cached_tokens or 0) for one in served)


def hold(path: Path, package: str, spans: list[ReadableSpan], served: list[Reply]) -> None:
    """Compare spans with a golden, or write it where asked to."""
    ordered = sorted(spans, key=lambda span: (span.start_time or 0, -(span.end_time or 0)))
    numbers = {span.context.span_id: number for number, span in enumerate(ordered)}
    names = _Names()
    document = {
        "package": f"{package} {version(package)}",
        "served": [[one.input_tokens, one.output_tokens, one.cached_tokens or 0] for one in served],
        "spans": [
            {
                "name": names.steady(span.name),
                "kind": span.kind.name,
                "parent": numbers.get(span.parent.span_id) if span.parent else None,
                "scope": span.instrumentation_scope.name if span.instrumentation_scope else None,
                "status": span.status.status_code.name,
                "attributes": {
                    key: names.steady(value)
                    for key, value in sorted((span.attributes or {}).items())
                    if not key.endswith(VOLATILE) and not key.startswith("inferometer.prefix.base")
                },
            }
            for span in ordered
        ],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if REGENERATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    golden = json.loads(path.read_text(encoding="utf-8"))
    found = json.loads(text)
    assert _shape(found) == _shape(golden)


class _Names(dict[str, str]):
    """Gives what differs from run to run a number, so that a golden written anew differs by what matters alone."""

    def steady(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return _RANDOM.sub(lambda found: self.setdefault(found.group(), f"*{len(self) + 1}"), value)


def _shape(document: dict[str, Any]) -> Any:
    """Return what must not change between releases of a framework: the tree, and which attributes there are."""
    return [
        (span["name"], span["parent"], sorted(key for key in span["attributes"] if key.startswith("gen_ai.")))
        for span in document["spans"]
    ]


@pytest.fixture
def traffic(shared: Path) -> Callable[[str, tuple[str, ...]], Iterator[Interaction]]:
    """Recorded traffic with a model, by the hosts and the ends of the paths that it went to."""

    def interactions(host: str, ends: tuple[str, ...]) -> Iterator[Interaction]:
        for one in read_cassettes(shared / "data" / "http"):
            path = one.url.partition("?")[0]
            if host in path and path.endswith(ends) and one.status == 200 and isinstance(one.request, dict):
                yield one

    return interactions


@pytest.fixture
def meters_of(stub: ModelStub) -> Callable[..., Any]:
    """Make one call with a hook on and return (input, output, cache read, usage source) of its span, None for none."""

    def measure(call: Callable[[], Any], hook: str) -> tuple[Any, ...] | None:
        with record() as recorded:
            inferometer.instrument(hook)
            try:
                call()
            finally:
                inferometer.uninstrument()
            spans = recorded.spans
        if not spans:
            return None
        said = spans[0].attributes or {}
        names = ("input_tokens", "output_tokens", "cache_read.input_tokens")
        return (*(said.get(f"gen_ai.usage.{name}", 0) for name in names), said.get("inferometer.usage.source"))

    return measure


_SERVER = """
import os, sys, threading, time
import inferometer
inferometer.configure(store=sys.argv[1], interval_s=3600, set_global_provider=True)
inferometer.instrument("mcp")
SERVER_IMPORT
server = Server("shop")

@server.tool()
def look(shelf: str) -> str:
    with inferometer.step("search"):
        return shelf

def end() -> None:
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
    os._exit(9)

threading.Thread(target=end, daemon=True).start()
server.run("stdio")
"""


@pytest.fixture
def spans_of_killed_server(tmp_path: Path) -> Callable[[str], set[str]]:
    """Return what runs an MCP server on stdio, ends it at once after a call, and names the spans that it left."""

    def run(server_import: str) -> set[str]:
        from mcp import ClientSession, StdioServerParameters
        from mcp.client.stdio import stdio_client

        from inferometer.store import open_store

        script, database, killed = tmp_path / "server.py", tmp_path / "store.db", tmp_path / "killed"
        script.write_text(_SERVER.replace("SERVER_IMPORT", server_import))
        words = [str(script), str(database), str(killed)]

        def names() -> set[str]:
            with open_store(str(database)) as store:
                return {span.name for run in store.runs() for span in store.spans_of_run(run.run_id)}

        async def main() -> None:
            parameters = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
            async with stdio_client(parameters) as streams, ClientSession(*streams) as client:
                await client.initialize()
                await client.call_tool("look", {"shelf": "left"})
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline and not (database.exists() and "tools/call look" in names()):
                    await asyncio.sleep(0.05)
                killed.touch()

        asyncio.run(main())
        return names()

    return run
