"""What tracing costs: ``python benchmarks/overhead.py [--peers] [--install]``.

CPU time of the caller's thread, medians of interleaved repetitions in one process; ratios are between rows of the same
process. Peers have an environment each (``--install`` makes them), for they cannot share one; each is measured beside
the bare SDK and Inferometer in its own process. A gate that is missed makes the exit code 1.
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
from typing import Any

from overhead_peers import PEERS, ROOT, NoExporter, Patched, Peer, batches
from overhead_report import Report, judge, tell

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


def sdk_tracer() -> Any:
    """Return a tracer of the bare SDK with a batch processor."""
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(batches(NoExporter()))
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


def decorator_variants(peer: Peer | None) -> dict[str, Callable[[int], None]]:
    """Return a decorated call with ten attributes or arguments, for the SDK, us and a peer."""
    import inferometer

    tracer = sdk_tracer()
    with nobody_else_listens():
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
        decorated = peer.decorate(plain)

        def theirs(calls: int) -> None:
            for _ in range(calls):
                decorated(**TEN)

        variants[peer.name] = theirs
    return variants


class OurHook:
    """Our hook on the openai SDK, put in place and taken back around each repetition."""

    def __init__(self, capture: str) -> None:
        self._capture = capture

    def on(self) -> None:
        import inferometer

        with nobody_else_listens():
            configure(capture=self._capture)
        inferometer.instrument("openai")

    def off(self) -> None:
        import inferometer

        inferometer.uninstrument()
        inferometer.shutdown()


def measure_hook(peer: Peer | None) -> dict[str, list[float]]:
    """Return samples of a chat call over an in-process transport: bare, with our hook, with a peer's; in us a call."""
    import httpx2
    import openai

    payload = json.dumps(BODY).encode()

    def answer(request: Any) -> Any:
        return httpx2.Response(200, content=payload, headers={"content-type": "application/json"})

    client = openai.OpenAI(api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))

    def ask(calls: int) -> None:
        for _ in range(calls):
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=TOOLS)

    ask(1)
    hooks: dict[str, OurHook | Patched | None] = {
        "bare": None,
        "ours, metadata": OurHook("metadata"),
        "ours, content": OurHook("content"),
    }
    if peer is not None:
        hooks[peer.name] = Patched(peer.hook)
    samples: dict[str, list[float]] = {name: [] for name in hooks}
    for repetition in range(HOOK_REPETITIONS + 1):
        # in another order each time: what ran before leaves the caches as it used them
        for name, hook in sorted(hooks.items(), key=lambda item: hash((item[0], repetition))):
            if hook is not None:
                hook.on()
            with nobody_else_listens():
                ask(5)  # what was just put in place is cold
                taken = thread_us(ask, HOOK_CALLS)
            if hook is not None:
                hook.off()
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


def measure(peer: Peer | None) -> dict[str, Any]:
    """Return all samples of one process.

    Raises:
        RuntimeError: where a peer recorded nothing of what it was measured at.
    """
    import logging

    import inferometer

    logging.disable(logging.CRITICAL)
    if peer is not None:
        peer.set_up()
    results: dict[str, Any] = {"release": None if peer is None else peer.version}
    recorded = [0]
    for part in ("hook", "decorator"):
        if part == "hook":
            results[part] = measure_hook(peer)
        else:
            results[part] = interleaved(decorator_variants(peer), CALLS if peer is None else peer.calls, REPETITIONS)
        if peer is not None:
            recorded.append(peer.spans())
            if recorded[-1] == recorded[-2]:
                raise RuntimeError(f"{peer.name} recorded no span of the {part}")
    inferometer.shutdown()
    if peer is None:
        results["memory"] = measure_memory()
        results["whole"] = measure_whole()
    return results


def main() -> int:
    """Measure, print, hold the gates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", metavar="PEER", help=argparse.SUPPRESS)
    parser.add_argument("--peers", action="store_true", help="also compare with the peers whose environments exist")
    parser.add_argument("--install", action="store_true", help="make the peers' environments first")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(PEERS[options.measure]())))
        return 0
    report = Report()
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} CPUs, CPU time of the caller's thread")
    results = measure(None)
    told = tell(results, None, report)
    held = results["memory"]
    print(f"\nretained per span with 10 attributes: SDK {held['sdk']:.0f} bytes, ours {held['ours']:.0f} bytes")
    whole = {name: statistics.median(samples) for name, samples in results["whole"].items()}
    print("\ncaller and export together, OTLP encoding included (us, x SDK, quartiles)")
    for name, samples in results["whole"].items():
        report.row(name, samples, whole["sdk"])
    beside = compare(options.install, report) if options.peers or options.install else {}
    print("\ngates")
    report.gate("decorated call against a bare SDK span", told["ours"] / told["sdk"], 0.4)
    report.gate("retained memory against the SDK", held["ours"] / held["sdk"], 1)
    report.gate("caller and export against the SDK", whole["ours"] / whole["sdk"], 1 / 3)
    report.gate("openai hook, metadata, added us", told["hook, ours, metadata"], 80)
    report.gate("openai hook, content, added us", told["hook, ours, content"], 150)
    judge(beside, report)
    if report.missed:
        print(f"\nmissed: {'; '.join(report.missed)}")
    return 1 if report.missed else 0


def compare(make: bool, report: Report) -> dict[str, dict[str, float]]:
    """Measure beside each peer, in its own environment; return what `tell` does of each."""
    beside = {}
    for name, kind in PEERS.items():
        peer = kind()
        if make:
            peer.install()
        if not peer.python.exists():
            print(f"\n{name}: not installed, not compared")
            continue
        words = [str(peer.python), "-W", "ignore", __file__, "--measure", name]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        try:
            done = subprocess.run(
                words, env=environment, capture_output=True, text=True, check=False, timeout=PEER_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            report.fail(f"{name}: not measured within {PEER_LIMIT_S} s")
            continue
        if done.returncode:
            report.fail(f"{name}: could not be measured: {done.stderr.strip().splitlines()[-1:]}")
            continue
        beside[name] = tell(json.loads(done.stdout.splitlines()[-1]), name, report)
    return beside


if __name__ == "__main__":
    sys.exit(main())
