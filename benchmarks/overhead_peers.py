"""The tracers that ``benchmarks/overhead.py`` compares with, each in an environment of its own below ``.venvs/``.

A peer is set up with its own defaults of what it captures, and to send nothing anywhere.
"""

from __future__ import annotations

import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).parent.parent
VENVS = ROOT / ".venvs"


class NoExporter:
    """Takes spans, counts them and does nothing."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Any) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.spans += len(spans)
        return SpanExportResult.SUCCESS

    def export_lean(self, spans: Any, resource: Any, scope: Any) -> Any:
        return self.export(spans)

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


class Patched:
    """What a hook replaced on the classes of the openai SDK, put in place and taken back at will.

    A peer's own way back is not used: one of them leaves its wrappers behind each time, and another has none.
    """

    def __init__(self, patch: Callable[[], Any]) -> None:
        import_module("openai.resources")  # a class that is imported later could not be put back
        before = {owner: dict(vars(owner)) for owner in _openai_classes()}
        patch()
        self._changed = [
            (owner, name, held.get(name), now)
            for owner, held in before.items()
            for name, now in vars(owner).items()
            if held.get(name) is not now and not name.startswith("__abc")
        ]
        if not self._changed:
            raise RuntimeError("the hook replaced nothing on the openai SDK")
        self.off()

    def on(self) -> None:
        for owner, name, _, now in self._changed:
            setattr(owner, name, now)

    def off(self) -> None:
        for owner, name, held, _ in self._changed:
            if held is None:
                delattr(owner, name)
            else:
                setattr(owner, name, held)


def _openai_classes() -> set[type]:
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "openai"]
    return {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__.partition(".")[0] == "openai"
    }


class Peer(ABC):
    """One tracer.

    Class attributes: ``name``; ``distribution``, whose version a report tells; ``packages`` to install beside openai
    and our own dependencies; ``calls`` of its decorator that a repetition measures.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    calls: ClassVar[int] = 1000

    def __init__(self) -> None:
        self._ended = NoExporter()
        self._provider: Any = None

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return VENVS / f"peer-{self.name}" / "bin" / "python"

    @property
    def version(self) -> str:
        """The release that is measured."""
        return version(self.distribution)

    def install(self) -> None:
        """Make its environment, or bring it up to date."""
        import tomllib

        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(self.python.parent.parent)], check=True)
        with (ROOT / "pyproject.toml").open("rb") as file:
            ours = tomllib.load(file)["project"]["dependencies"]
        words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", *ours, "openai"]
        subprocess.run([str(self.python), *words, *self.packages], check=True)

    def provider(self) -> Any:
        """Return the SDK provider that its spans go through, to an exporter that counts them."""
        if self._provider is None:
            from opentelemetry.sdk.trace import TracerProvider

            self._provider = TracerProvider(shutdown_on_exit=False)
            self._provider.add_span_processor(batches(self._ended))
        return self._provider

    @abstractmethod
    def set_up(self) -> None:
        """Do what a program does once."""

    @abstractmethod
    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function as a program would."""

    @abstractmethod
    def hook(self) -> None:
        """Put its hook on the openai SDK."""

    def spans(self) -> int:
        """Return how many spans it has ended so far: a peer that records nothing is not compared with."""
        self.provider().force_flush()
        return self._ended.spans


class Logfire(Peer):
    name, distribution, packages = "logfire", "logfire", ("logfire", "httpx")

    def set_up(self) -> None:
        import logfire

        logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[batches(self._ended)])

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import logfire

        return logfire.instrument("plain")(function)

    def hook(self) -> None:
        import logfire

        self._hooked = logfire.instrument_openai()  # it takes itself back when it is let go of

    def spans(self) -> int:
        import logfire

        logfire.force_flush()
        return self._ended.spans


class OpenInference(Peer):
    name, distribution = "openinference", "openinference-instrumentation"
    packages = ("openinference-instrumentation", "openinference-instrumentation-openai")

    def set_up(self) -> None:
        from openinference.instrumentation import TracerProvider

        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(batches(self._ended))

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self.provider().get_tracer("peer").chain(function)  # type: ignore[no-any-return]

    def hook(self) -> None:
        from openinference.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument(tracer_provider=self.provider(), skip_dep_check=True)


class Langfuse(Peer):
    name, distribution, packages = "langfuse", "langfuse", ("langfuse", "httpx")

    def set_up(self) -> None:
        from langfuse import Langfuse as Client

        keys = {"public_key": "pk", "secret_key": "sk", "base_url": "http://127.0.0.1:9"}
        self._provider = self.provider()
        Client(**keys, tracer_provider=self._provider, span_exporter=NoExporter())

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from langfuse import observe

        return observe()(function)

    def hook(self) -> None:
        import_module("langfuse.openai")  # which is what patches


class Traceloop(Peer):
    name, distribution, packages = "traceloop", "traceloop-sdk", ("traceloop-sdk", "httpx")

    def set_up(self) -> None:
        from contextlib import redirect_stdout

        from traceloop.sdk import Traceloop as Sdk

        with redirect_stdout(sys.stderr):
            Sdk.init(processor=batches(self._ended), telemetry_enabled=False, instruments=set())

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from traceloop.sdk.decorators import task

        return task(name="plain")(function)  # type: ignore[no-any-return]

    def hook(self) -> None:
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument(tracer_provider=self.provider(), skip_dep_check=True)

    def spans(self) -> int:
        from opentelemetry import trace

        trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
        return super().spans()


class Mlflow(Peer):
    name, distribution, packages = "mlflow", "mlflow-skinny", ("mlflow-skinny", "numpy", "pandas")
    calls = 100

    def set_up(self) -> None:
        import mlflow

        mlflow.set_tracking_uri("sqlite:////" + str(VENVS / "mlflow.sqlite").lstrip("/"))

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import mlflow

        return mlflow.trace(function)

    def hook(self) -> None:
        import mlflow

        mlflow.openai.autolog()

    def spans(self) -> int:
        import mlflow

        last = mlflow.get_last_active_trace_id()
        self._ended.spans += last is not None and last != self._last
        self._last = last
        return self._ended.spans

    _last: str | None = None


def batches(exporter: NoExporter) -> Any:
    """Return the SDK's batch processor before an exporter, with room for all that is measured."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(exporter, max_queue_size=131_072, schedule_delay_millis=60_000)  # type: ignore[arg-type]


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Logfire, OpenInference, Langfuse, Traceloop, Mlflow)}
