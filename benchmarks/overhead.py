"""What tracing costs: ``python benchmarks/overhead.py [--peers] [--install]``.

CPU time of the caller's thread, medians of interleaved repetitions in one process; ratios are between rows of the same
process. Peers have an environment each below ``.venvs/`` (``--install`` makes them), for they cannot share one; each is
measured beside the bare SDK and Inferometer in its own process. A gate that is missed makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PEERS = {
    # name: what is installed beside openai and our own dependencies
    "logfire": ("logfire", "httpx"),
    "openinference": ("openinference-instrumentation", "openinference-instrumentation-openai"),
    "langfuse": ("langfuse", "httpx"),
    "traceloop": ("traceloop-sdk", "httpx"),
    "mlflow": ("mlflow-skinny",),
}
PEER_LIMIT_S = 600
CALLS, REPETITIONS = 1000, 11
HOOK_CALLS, HOOK_REPETITIONS = 20, 60
NAMES = [f"attribute_{number}" for number in range(10)]
TEN = {name: f"value of {name}" if number % 2 else number for number, name in enumerate(NAMES)}
MESSAGES: Any = [
    {"role": "system", "content": "You answer questions about orders. " * 8},
    {"role": "user", "content": "Which orders were late last week, and by how many days? " * 5},
]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Look an order up.",
            "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}},
        },
    }
]
BODY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Twelve. " * 20}}],
    "usage": {"prompt_tokens": 190, "completion_tokens": 41, "total_tokens": 231},
}


def thread_us(run: Callable[[int], None], calls: int) -> float:
    """Return CPU microseconds of this thread per call."""
    begun = time.thread_time_ns()
    run(calls)
    return (time.thread_time_ns() - begun) / calls / 1000


def interleaved(variants: dict[str, Callable[[int], None]], calls: int, repetitions: int) -> dict[str, list[float]]:
    """Return the samples of each variant, measured in turns."""
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run(calls)
    for _ in range(repetitions):
        for name, run in variants.items():
            samples[name].append(thread_us(run, calls))
    return samples


class NoExporter:
    """Takes spans and does nothing."""

    def export(self, spans: Any) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.SUCCESS

    def export_lean(self, spans: Any, resource: Any, scope: Any) -> Any:
        return self.export(spans)

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def sdk_tracer() -> Any:
    """Return a tracer of the bare SDK with a batch processor."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(NoExporter(), max_queue_size=131_072, schedule_delay_millis=60_000))  # type: ignore[arg-type]
    return provider.get_tracer("bare")


def configure(**options: Any) -> None:
    """Put Inferometer in force with nothing behind it and an export thread that sleeps."""
    import inferometer

    inferometer.configure(exporter=NoExporter(), queue_spans=131_072, interval_s=60, batch_spans=10**9, **options)  # type: ignore[arg-type]


@contextmanager
def nobody_else_listens() -> Iterator[None]:
    """Hide the global provider that some peers set, through which our spans would go instead of the fast path."""
    from opentelemetry import trace

    theirs, trace._TRACER_PROVIDER = trace._TRACER_PROVIDER, None
    try:
        yield
    finally:
        trace._TRACER_PROVIDER = theirs


def decorator_variants(peer: str | None) -> dict[str, Callable[[int], None]]:
    """Return a decorated call with ten attributes or arguments, for the SDK, us and a peer."""
    import inferometer

    tracer = sdk_tracer()
    configure()

    def plain(**values: Any) -> dict[str, int]:
        return {"a": 1, "b": 2}

    ours_attributes = inferometer.step(attributes=TEN)(lambda: {"a": 1, "b": 2})
    ours_arguments = inferometer.tool(plain)

    def sdk(calls: int) -> None:
        for _ in range(calls):
            with tracer.start_as_current_span("plain", attributes=TEN):
                plain()

    def ours(calls: int) -> None:
        with nobody_else_listens(), inferometer.agent("clerk"):
            for _ in range(calls):
                ours_attributes()

    def arguments(calls: int) -> None:
        with nobody_else_listens(), inferometer.agent("clerk"):
            for _ in range(calls):
                ours_arguments(**TEN)

    variants = {"sdk": sdk, "ours": ours, "ours, a tool with 10 arguments": arguments}
    if peer is not None:
        decorated = peer_decorator(peer)(plain)

        def theirs(calls: int) -> None:
            for _ in range(calls):
                decorated(**TEN)

        variants[peer] = theirs
    return variants


def peer_decorator(peer: str) -> Callable[[Any], Any]:
    """Return a peer's decorator, set up to send nothing anywhere, with its own defaults of what it captures."""
    if peer == "logfire":
        import logfire

        logfire.configure(send_to_logfire=False, console=False)
        return logfire.instrument("plain")
    if peer == "openinference":
        from openinference.instrumentation import TracerProvider

        return TracerProvider(shutdown_on_exit=False).get_tracer("peer").chain
    if peer == "langfuse":
        from langfuse import Langfuse, observe
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider

        Langfuse(public_key="pk", secret_key="sk", base_url="http://127.0.0.1:9", tracer_provider=SdkProvider())
        return observe()
    if peer == "traceloop":
        from traceloop.sdk import Traceloop
        from traceloop.sdk.decorators import task

        Traceloop.init(disable_batch=False, exporter=NoExporter(), telemetry_enabled=False, instruments=set())  # type: ignore[arg-type]
        return task(name="plain")
    import mlflow

    mlflow.set_tracking_uri("sqlite:////" + str(ROOT / ".venvs" / "mlflow.sqlite").lstrip("/"))
    return mlflow.trace


def hook_variants(peer: str | None) -> dict[str, Callable[[int], None]]:
    """Return a chat call over an in-process transport: bare, with our hook, with a peer's."""
    import httpx2
    import openai

    import inferometer

    payload = json.dumps(BODY).encode()

    def answer(request: Any) -> Any:
        return httpx2.Response(200, content=payload, headers={"content-type": "application/json"})

    client = openai.OpenAI(api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))

    def ask(calls: int) -> None:
        for _ in range(calls):
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=TOOLS)

    def hooked(capture: str) -> Callable[[int], None]:
        def run(calls: int) -> None:
            ask(calls)

        run.capture = capture  # type: ignore[attr-defined]
        return run

    inferometer.uninstrument()
    variants = {"bare": ask, "ours, metadata": hooked("metadata"), "ours, content": hooked("content")}
    if peer in ("logfire", "openinference", "traceloop"):
        variants[peer] = hooked("peer")
    return variants


class PeerHook:
    """A peer's hook on the openai SDK, put in place and taken back around each repetition."""

    def __init__(self, peer: str) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(NoExporter(), 131_072, 60_000))  # type: ignore[arg-type]
        self._provider, self._peer, self._undo = provider, peer, None
        self._instrumentor: Any = None
        if peer == "openinference":
            from openinference.instrumentation.openai import OpenAIInstrumentor

            self._instrumentor = OpenAIInstrumentor()
        elif peer == "traceloop":
            from opentelemetry.instrumentation.openai import OpenAIInstrumentor as Traceloop

            self._instrumentor = Traceloop()

    def on(self) -> None:
        if self._instrumentor is not None:
            self._instrumentor.instrument(tracer_provider=self._provider, skip_dep_check=True)
        else:
            import logfire

            self._undo = logfire.instrument_openai()
            self._undo.__enter__()

    def off(self) -> None:
        if self._instrumentor is not None:
            self._instrumentor.uninstrument()
        elif self._undo is not None:
            self._undo.__exit__(None, None, None)


def measure_hook(peer: str | None) -> dict[str, list[float]]:
    """Return samples of each hook variant, in microseconds a call."""
    import inferometer

    variants = hook_variants(peer)
    theirs = PeerHook(peer) if peer in variants else None
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for repetition in range(HOOK_REPETITIONS + 1):
        # in another order each time: what ran before leaves the caches as it used them
        for name, run in sorted(variants.items(), key=lambda item: hash((item[0], repetition))):
            capture = getattr(run, "capture", None)
            if capture == "peer":
                assert theirs is not None
                theirs.on()
            elif capture is not None:
                with nobody_else_listens():
                    configure(capture=capture)
                inferometer.instrument("openai")
            with nobody_else_listens():
                run(5)  # what was just put in place is cold
                taken = thread_us(run, HOOK_CALLS)
            if capture == "peer" and theirs is not None:
                theirs.off()
            elif capture is not None:
                inferometer.uninstrument()
                inferometer.shutdown()
            if repetition:
                samples[name].append(taken)
    return samples


def measure_memory() -> dict[str, float]:
    """Return bytes that an ended span with ten attributes holds until it is exported."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from inferometer.tracer.pipeline import Pipeline
    from inferometer.tracer.privacy import Privacy
    from inferometer.tracer.recording import Recording, SpanKind

    kept: list[Any] = []

    class Keeper:
        def on_start(self, span: Any, parent_context: Any = None) -> None: ...
        def _on_ending(self, span: Any) -> None: ...
        def on_end(self, span: Any) -> None:
            kept.append(span)

        def shutdown(self) -> None: ...

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Keeper())  # type: ignore[arg-type]
    tracer = provider.get_tracer("bare")
    pipeline = Pipeline(lambda: NoExporter(), Resource({}), InstrumentationScope("x"))  # type: ignore[arg-type,return-value]
    pipeline.put = kept.append  # type: ignore[method-assign]
    recording = Recording(pipeline, privacy=Privacy("metadata"))

    def sdk() -> None:
        tracer.start_span("plain", attributes=dict(TEN)).end()

    def ours() -> None:
        recording.start("plain", SpanKind.INTERNAL, dict(TEN)).end()

    held = {}
    for name, make in (("sdk", sdk), ("ours", ours)):
        kept.clear()
        make()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            make()
        held[name] = (tracemalloc.get_traced_memory()[0] - before) / 2000
        tracemalloc.stop()
    kept.clear()
    return held


def measure_whole() -> dict[str, list[float]]:
    """Return CPU microseconds per span of caller and export together, OTLP encoding included, sending left out."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from inferometer.exporters.encoding import encode_lean
    from inferometer.tracer.privacy import Privacy
    from inferometer.tracer.recording import Recording, SpanKind

    ended: list[Any] = []

    class Keeper:
        def on_start(self, span: Any, parent_context: Any = None) -> None: ...
        def _on_ending(self, span: Any) -> None: ...
        def on_end(self, span: Any) -> None:
            ended.append(span)

        def shutdown(self) -> None: ...

    class Queue:
        put = staticmethod(ended.append)

    resource, scope = Resource.create({"service.name": "bench"}), InstrumentationScope("inferometer", "0")
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(Keeper())  # type: ignore[arg-type]
    tracer = provider.get_tracer("bare")
    recording = Recording(Queue(), privacy=Privacy("metadata"))  # type: ignore[arg-type]

    def sdk(calls: int) -> None:
        for _ in range(calls):
            with tracer.start_as_current_span("plain", attributes=TEN):
                pass
        encode_spans(ended).SerializeToString()
        ended.clear()

    def ours(calls: int) -> None:
        for _ in range(calls):
            recording.end(recording.start("plain", SpanKind.INTERNAL, dict(TEN)))
        encode_lean(ended, resource, scope)
        ended.clear()

    return interleaved({"sdk": sdk, "ours": ours}, 500, REPETITIONS)


def measure(peer: str | None) -> dict[str, Any]:
    """Return all samples of one process."""
    import logging

    import inferometer

    logging.disable(logging.CRITICAL)
    results: dict[str, Any] = {"hook": measure_hook(peer) if peer not in ("mlflow", "langfuse") else {}}
    repetitions = REPETITIONS if peer != "mlflow" else 3
    results["decorator"] = interleaved(decorator_variants(peer), CALLS if peer != "mlflow" else 200, repetitions)
    inferometer.shutdown()
    if peer is None:
        results["memory"] = measure_memory()
        results["whole"] = measure_whole()
    return results


def install(peer: str) -> None:
    """Make a peer's environment."""
    import tomllib

    python = ROOT / ".venvs" / f"peer-{peer}" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
    with (ROOT / "pyproject.toml").open("rb") as file:
        ours = tomllib.load(file)["project"]["dependencies"]
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *ours, "openai", *PEERS[peer]]
    subprocess.run([str(python), *words], check=True)


class Report:
    """Prints rows and remembers which gates were missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def row(self, name: str, samples: list[float], base: float | None = None) -> None:
        middle = statistics.median(samples)
        spread = statistics.quantiles(samples, n=4) if len(samples) > 3 else [middle] * 3
        ratio = f"{middle / base:8.2f}" if base else " " * 8
        print(f"  {name:34}{middle:10.2f}{ratio}   ({spread[0]:.1f} to {spread[2]:.1f})")

    def gate(self, what: str, value: float, limit: float) -> None:
        held = value <= limit
        print(f"  {'held  ' if held else 'MISSED'} {what}: {value:.3f} <= {limit:g}")
        if not held:
            self.missed.append(what)


def tell(results: dict[str, Any], peer: str | None, report: Report) -> dict[str, float]:
    """Print one process's results and hold its gates; return the added microseconds of its hooks."""
    decorator = {name: statistics.median(samples) for name, samples in results["decorator"].items()}
    print(
        f"\ndecorated call with 10 attributes or arguments{f', beside {peer}' if peer else ''} (us, x SDK, quartiles)"
    )
    for name, samples in results["decorator"].items():
        report.row(name, samples, decorator["sdk"])
    if peer is None:
        report.gate("decorated call against a bare SDK span", decorator["ours"] / decorator["sdk"], 0.4)
    else:
        report.gate(f"decorated call against {peer}", decorator["ours"] / decorator[peer], 0.15)
    added = {}
    if results["hook"]:
        bare = statistics.median(results["hook"]["bare"])
        print("\nopenai chat call (us, x bare, quartiles)")
        for name, samples in results["hook"].items():
            report.row(name, samples, bare)
            # each repetition is compared with the bare calls beside it
            pairs = zip(samples, results["hook"]["bare"], strict=True)
            added[name] = statistics.median(one - base for one, base in pairs)
        print("  added: " + ", ".join(f"{name} {value:.0f} us" for name, value in added.items() if name != "bare"))
    return added


def main() -> int:
    """Measure, print, hold the gates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", metavar="PEER", help=argparse.SUPPRESS)
    parser.add_argument("--peers", action="store_true", help="also compare with the peers whose environments exist")
    parser.add_argument("--install", action="store_true", help="make the peers' environments first")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return 0
    report = Report()
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} CPUs, CPU time of the caller's thread")
    results = measure(None)
    added = tell(results, None, report)
    report.gate("openai hook, metadata, added us", added["ours, metadata"], 80)
    report.gate("openai hook, content, added us", added["ours, content"], 150)
    held = results["memory"]
    print(f"\nretained per span with 10 attributes: SDK {held['sdk']:.0f} bytes, ours {held['ours']:.0f} bytes")
    report.gate("retained memory against the SDK", held["ours"] / held["sdk"], 1)
    whole = {name: statistics.median(samples) for name, samples in results["whole"].items()}
    print("\ncaller and export together, OTLP encoding included (us, x SDK, quartiles)")
    for name, samples in results["whole"].items():
        report.row(name, samples, whole["sdk"])
    report.gate("caller and export against the SDK", whole["ours"] / whole["sdk"], 1 / 3)
    if options.peers or options.install:
        compare(options.install, report)
    if report.missed:
        print(f"\nmissed: {'; '.join(report.missed)}")
    return 1 if report.missed else 0


def compare(make: bool, report: Report) -> None:
    """Measure beside each peer, in its own environment."""
    best_content: float | None = None
    ours_content: list[float] = []
    for peer in PEERS:
        python = ROOT / ".venvs" / f"peer-{peer}" / "bin" / "python"
        if make:
            install(peer)
        if not python.exists():
            print(f"\n{peer}: not installed, not compared")
            continue
        words = [str(python), "-W", "ignore", __file__, "--measure", peer]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        try:
            done = subprocess.run(
                words, env=environment, capture_output=True, text=True, check=False, timeout=PEER_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            print(f"\n{peer}: not done within {PEER_LIMIT_S} s, not compared")
            continue
        if done.returncode:
            print(f"\n{peer}: could not be measured: {done.stderr.strip().splitlines()[-1:]}")
            continue
        added = tell(json.loads(done.stdout.splitlines()[-1]), peer, report)
        if peer in added:
            best_content = min(best_content or added[peer], added[peer])
            ours_content.append(added["ours, content"])
    if best_content is not None:
        report.gate("openai hook, content, against the best peer", statistics.median(ours_content) / best_content, 0.5)


if __name__ == "__main__":
    sys.exit(main())
