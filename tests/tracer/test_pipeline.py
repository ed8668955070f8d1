"""Nothing that goes wrong between a span's end and its destination reaches the program."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

import inferometer
from inferometer.exporters.setup import statistics
from inferometer.schema.selection import Selection
from inferometer.store import open_store
from inferometer.tracer import guard
from inferometer.tracer.pipeline import Pipeline, hurry, take_time
from inferometer.tracer.span import LeanSpan, Limits


class Broken(SpanExporter):
    """Fails in every way there is."""

    def __init__(self, behaviour: str) -> None:
        self._behaviour = behaviour

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._behaviour == "raises":
            raise OSError("the disk is full of SECRETS")
        if self._behaviour == "exits":
            raise ValueError("no")
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        raise RuntimeError("cannot even stop")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        raise RuntimeError("cannot even flush")


class Slow(InMemorySpanExporter):
    """Holds the export thread until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.go.wait(10)
        return super().export(spans)


def _pipeline(exporter: SpanExporter, **options: int) -> Pipeline:
    return Pipeline(lambda: exporter, Resource({}), InstrumentationScope("test"), **options)  # type: ignore[arg-type]


def _spans(pipeline: Pipeline, count: int) -> None:
    for number in range(count):
        LeanSpan(f"span {number}", SpanKind.INTERNAL, 1, None, {}, pipeline.put, Limits()).end()


@pytest.mark.parametrize("behaviour", ["raises", "exits", "refuses"])
def test_failing_exporter_is_counted_logged_once_and_never_raises(
    behaviour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_last_logged", {})
    with caplog.at_level(logging.WARNING, "inferometer"):
        inferometer.configure(exporter=Broken(behaviour))
        for _ in range(3):
            with inferometer.tool("look"):
                pass
            assert inferometer.flush() is False
        assert statistics() == {"exported": 0, "dropped": 0, "failed": 3, "waiting": 0}
        inferometer.shutdown()
    lines = [record.getMessage() for record in caplog.records if "export:" in record.getMessage()]
    assert len(lines) == 1
    assert "SECRET" not in caplog.text


def test_full_queue_drops_the_oldest_and_counts_them() -> None:
    exporter = Slow()
    pipeline = _pipeline(exporter, queue_spans=10, batch_spans=1)
    _spans(pipeline, 1)
    while pipeline.statistics()["waiting"] and not pipeline._in_hand:
        time.sleep(0.001)
    _spans(pipeline, 25)
    assert pipeline.dropped == 15
    exporter.go.set()
    assert pipeline.close()
    assert [span.name for span in exporter.get_finished_spans()[1:]] == [f"span {number}" for number in range(15, 25)]


def test_flush_gives_up_in_time() -> None:
    exporter = Slow()
    pipeline = _pipeline(exporter)
    _spans(pipeline, 1)
    before = time.monotonic()
    assert pipeline.flush(0.1) is False
    assert time.monotonic() - before < 2
    exporter.go.set()
    assert pipeline.close()
    assert pipeline.exported == 1


def test_exporter_that_cannot_be_made_is_tried_again() -> None:
    exporter, tries = InMemorySpanExporter(), []

    def make() -> SpanExporter:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("not yet")
        return exporter

    pipeline = Pipeline(make, Resource({}), InstrumentationScope("test"))
    _spans(pipeline, 1)
    pipeline.flush()
    _spans(pipeline, 1)
    assert pipeline.close()
    assert (pipeline.failed, pipeline.exported) == (1, 1)


def test_many_threads_lose_nothing() -> None:
    exporter = InMemorySpanExporter()
    pipeline = _pipeline(exporter)
    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(_spans, pipeline, 100) for _ in range(100)]:
            future.result()
    assert pipeline.close()
    assert len(exporter.get_finished_spans()) == pipeline.exported == 10_000
    assert len({span.context.span_id for span in exporter.get_finished_spans()}) == 10_000


def test_work_that_fails_keeps_the_span() -> None:
    exporter = InMemorySpanExporter()
    pipeline = _pipeline(exporter)
    span = LeanSpan("name", SpanKind.INTERNAL, 1, None, {"kept": 1}, pipeline.put, Limits())

    def fail(attributes: dict[str, object]) -> None:
        raise RuntimeError("broken hook")

    span.work = fail
    span.end()
    assert pipeline.close()
    assert dict(exporter.get_finished_spans()[0].attributes or {}) == {"kept": 1}


def _run(code: str, *words: str, wait: bool = True) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if wait:
        process.wait(30)
    return process


SHORT = """
import sys, inferometer
inferometer.configure(store=sys.argv[1])
with inferometer.agent("short"):
    pass
"""


def _runs(store: Path) -> list[str]:
    with open_store(str(store)) as opened:
        return [run.name for run in opened.runs(Selection())]


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('SECRET')", 1),
        ("import threading; threading.Thread(target=print, daemon=True).start()", 0),
    ],
)
def test_short_process_exports_at_exit(tmp_path: Path, ending: str, code: int) -> None:
    process = _run(SHORT + ending, str(tmp_path / "store.sqlite"))
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert "inferometer:" not in errors
    assert _runs(tmp_path / "store.sqlite") == ["invoke_agent short"]


def test_os_exit_after_flush_keeps_what_was_flushed(tmp_path: Path) -> None:
    process = _run(SHORT + "inferometer.flush(); import os; os._exit(5)", str(tmp_path / "store.sqlite"))
    process.communicate()
    assert process.returncode == 5
    assert _runs(tmp_path / "store.sqlite") == ["invoke_agent short"]


def test_span_that_ends_while_the_interpreter_shuts_down_harms_nobody(tmp_path: Path) -> None:
    late = """
traced = inferometer.tool
class Late:
    def __del__(self):
        with traced("late"):
            pass
        print("deleted")
keep = Late()
keep.self = keep
"""
    process = _run(SHORT + late, str(tmp_path / "store.sqlite"))
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "deleted\n", "")


def test_sigterm_exports_where_asked_and_calls_the_handler_that_was_there(tmp_path: Path) -> None:
    code = """
import signal, sys, time, inferometer
signal.signal(signal.SIGTERM, lambda number, frame: (print("theirs", flush=True), sys.exit(9)))
inferometer.configure(store=sys.argv[1], flush_on_sigterm=True, interval_s=60)
with inferometer.agent("long"):
    pass
print("ready", flush=True)
time.sleep(30)
"""
    process = _run(code, str(tmp_path / "store.sqlite"), wait=False)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (9, "theirs\n")
    assert _runs(tmp_path / "store.sqlite") == ["invoke_agent long"]


def test_store_that_cannot_be_opened_harms_nobody(tmp_path: Path) -> None:
    process = _run(SHORT + "print('ran')", str(tmp_path))
    output, errors = process.communicate()
    assert (process.returncode, output) == (0, "ran\n")
    assert errors.count("\n") <= 2
    assert "Traceback" not in errors


def test_disk_that_fills_up_harms_nobody_and_recording_goes_on_when_there_is_room(tmp_path: Path) -> None:
    code = """
import resource, sys, inferometer
from inferometer.exporters.setup import statistics
inferometer.configure(store=sys.argv[1])
with inferometer.agent("before"):
    pass
inferometer.flush()
room = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, room[1]))  # one page: no transaction fits
with inferometer.agent("full"):
    for number in range(1000):
        with inferometer.tool(f"look {number}"):
            pass
inferometer.flush()
print(statistics()["failed"])
resource.setrlimit(resource.RLIMIT_FSIZE, room)
with inferometer.agent("after"):
    pass
"""
    process = _run(code, str(tmp_path / "store.sqlite"))
    output, errors = process.communicate()
    assert (process.returncode, output) == (0, "1001\n")
    assert errors.count("\n") <= 2
    assert "Traceback" not in errors
    assert sorted(_runs(tmp_path / "store.sqlite")) == ["invoke_agent after", "invoke_agent before"]


def test_fork_while_the_export_thread_holds_locks_does_not_stop_the_child(tmp_path: Path) -> None:
    code = """
import os, sys, threading, inferometer
from inferometer.tracer import composition, guard
inferometer.configure(store=sys.argv[1], interval_s=0.001)
held = threading.Event()
def hold():
    with composition.memory._lock, guard._lock:
        held.set()
        threading.Event().wait(60)
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    guard.report("child", "speaks")
    with inferometer.agent("child"):
        pass
    os._exit(0 if inferometer.flush(20) else 4)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""
    process = _run(code, str(tmp_path / "store.sqlite"), wait=False)
    output, errors = process.communicate(timeout=60)
    assert output == "0\n", errors
    assert _runs(tmp_path / "store.sqlite") == ["invoke_agent child"]


def test_first_run_with_a_new_store_says_nothing_in_the_programs_log(tmp_path: Path) -> None:
    code = "import logging; logging.basicConfig(level=logging.INFO)\n" + SHORT
    process = _run(code, str(tmp_path / "store.sqlite"))
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "", "")
    assert _runs(tmp_path / "store.sqlite") == ["invoke_agent short"]


def test_hurried_process_exports_a_span_as_soon_as_it_has_ended() -> None:
    """Whoever started the process may end it before the interval has passed, or before an exporter is made."""
    exporter, made = InMemorySpanExporter(), threading.Event()
    inferometer.configure(exporter=exporter, interval_s=3600)
    try:
        with inferometer.step("waits for its interval"):
            pass
        time.sleep(0.1)
        assert exporter.get_finished_spans() == ()
        hurry()
        for number in range(2):
            deadline = time.monotonic() + 20
            while len(exporter.get_finished_spans()) <= number and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(exporter.get_finished_spans()) == number + 1
            with inferometer.step("does not wait"):
                pass
        inferometer.shutdown()

        def make() -> SpanExporter:
            made.set()
            return InMemorySpanExporter()

        ready = Pipeline(make, Resource.get_empty(), InstrumentationScope("test"), interval_s=3600)
        hurry()
        assert made.wait(20)
        ready.close()
    finally:
        take_time()
        inferometer.shutdown()
