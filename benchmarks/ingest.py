# ruff: noqa: E501 - spans are written as they are sent
"""Import against its gates: CPU in multiples of ``orjson.loads``, calls a second, memory over a large folder
and over one large document.

    python benchmarks/ingest.py [--calls 50000] [--folder-mb 500] [--document-mb 350] [--with-content]
    python benchmarks/ingest.py --tracecost VENV/bin/tracecost [--files FILE ...]

All CPU figures are of one process and one run of it, so that they compare on a busy machine. The second form prints
what tracecost (PyPI, installed apart) and this tool read out of the same files, and the CPU of the whole commands.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from inferometer.ingest.importing import import_paths
from inferometer.ingest.receipts import SETTLED_NS
from inferometer.store import Store, open_store

CALLS_PER_RUN = 20
RUNS_PER_FILE = 50
SECOND = 1_000_000_000
START = 1_750_000_000 * SECOND

CPU_GATE = 5.0
CPU_STRETCH = 4.0
CALLS_GATE = 50_000
CALLS_GATE_S = 30.0
MEMORY_GATE_MB = 300
AGAIN_GATE = 0.05


def attribute(key: str, value: object) -> dict[str, object]:
    kind = {bool: "boolValue", int: "intValue", float: "doubleValue"}.get(type(value), "stringValue")
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def span(
    trace: str, number: int, parent: int | None, name: str, begin_s: float, took_s: float, **attributes: object
) -> dict:
    pairs = [attribute(key.replace("__", "."), value) for key, value in attributes.items()]
    start = START + round(begin_s * SECOND)
    return {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "kind": 3,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + round(took_s * SECOND)),
        "attributes": pairs,
        "status": {"code": 1},
    }


def run_spans(number: int, with_content: bool) -> list[dict]:
    """The spans of one run: an agent, its calls with growing context, a tool after each call."""
    trace = f"{number + 1:032x}"
    spans = [span(trace, 1, None, "invoke_agent planner", 0, 200, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="planner")]  # fmt: skip
    said: list[dict] = [
        {"role": "system", "parts": [{"type": "text", "content": "You answer questions about ships. " * 40}]}
    ]
    for turn in range(CALLS_PER_RUN):
        content = {}
        if with_content:
            said.append(
                {
                    "role": "user",
                    "parts": [
                        {"type": "text", "content": f"Question {turn} of run {number}: " + "how far is it? " * 30}
                    ],
                }
            )
            content = {"gen_ai__input__messages": orjson.dumps(said).decode()}
        spans.append(
            span(
                trace, 2 + 2 * turn, 1, "chat gpt-4o", turn * 9.0, 4.5,
                gen_ai__operation__name="chat", gen_ai__provider__name="openai", gen_ai__request__model="gpt-4o",
                gen_ai__response__model="gpt-4o-2024-08-06", gen_ai__response__id=f"chatcmpl-{number}-{turn}",
                gen_ai__request__max_tokens=4096, gen_ai__request__temperature=0.2, gen_ai__conversation__id=f"session-{number // 3}",
                gen_ai__usage__input_tokens=1500 + 400 * turn, gen_ai__usage__output_tokens=180 + turn,
                gen_ai__usage__cache_read__input_tokens=1024 * (turn > 0), gen_ai__response__finish_reasons="tool_calls",
                server__address="api.openai.com", server__port=443, user__id=f"user-{number % 40}", **content,
            )
        )  # fmt: skip
        spans.append(
            span(
                trace, 3 + 2 * turn, 1, "execute_tool search", turn * 9.0 + 4.6, 3.9, gen_ai__operation__name="execute_tool",
                gen_ai__tool__name="search", gen_ai__tool__call__id=f"call_{number}_{turn}", gen_ai__tool__type="function",
            )
        )  # fmt: skip
    return spans


def write_folder(folder: Path, calls: int, with_content: bool, limit_bytes: int | None = None) -> int:
    """Write OTLP/JSON files and return their size in bytes."""
    written, run, number = 0, 0, 0
    while (run * CALLS_PER_RUN < calls) if limit_bytes is None else (written < limit_bytes):
        spans = [each for offset in range(RUNS_PER_FILE) for each in run_spans(run + offset, with_content)]
        run += RUNS_PER_FILE
        document = {
            "resourceSpans": [
                {
                    "resource": {"attributes": [attribute("service.name", "shop-agent")]},
                    "scopeSpans": [{"scope": {"name": "opentelemetry.util.genai.handler"}, "spans": spans}],
                }
            ]
        }
        body = orjson.dumps(document)
        (folder / f"{number:06d}.json").write_bytes(body)
        written += len(body)
        number += 1
    return written


def time_parsing(folder: Path) -> float:
    """CPU seconds that ``orjson.loads`` takes over all files."""
    bodies = [path.read_bytes() for path in sorted(folder.iterdir())]
    begin = time.process_time()
    for body in bodies:
        orjson.loads(body)
    return time.process_time() - begin


def time_import(store: Store, folder: Path, again: bool = False) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and added calls of an import."""
    begin, wall = time.process_time(), time.monotonic()
    report = import_paths(store, [folder], again=again)
    return time.process_time() - begin, time.monotonic() - wall, report.inferences


def measure_cpu(calls: int, with_content: bool) -> list[tuple[str, str, str, bool]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "in")
        folder.mkdir()
        size = write_folder(folder, calls, with_content)
        parsing = min(time_parsing(folder) for _ in range(3))
        time.sleep(SETTLED_NS / SECOND)
        with open_store(str(Path(name, "store.db"))) as store:
            cpu, wall, imported = time_import(store, folder)
            known, read = time_import(store, folder)[0], time_import(store, folder, again=True)[0]
        parsing = min(parsing, *(time_parsing(folder) for _ in range(3)))
    kind = "with content" if with_content else "without content"
    ratio = cpu / parsing
    rows = [(f"import of {imported} calls {kind}, {size / 1e6:.0f} MB", f"{ratio:.2f} x orjson.loads ({cpu:.2f} s CPU)", f"{CPU_GATE:.0f} x, stretch {CPU_STRETCH:.0f} x", ratio <= CPU_GATE)]  # fmt: skip
    share = CALLS_GATE_S * imported / CALLS_GATE
    took = f"{cpu:.1f} s of one core ({wall:.1f} s by the clock)"
    rows.append((f"time for {imported} calls {kind}", took, f"{share:.1f} s", cpu <= share))
    what = f"import of the same {imported} calls again"
    rows.append(
        (what, f"{known / cpu:.4f} of the first ({known:.3f} s CPU)", f"{AGAIN_GATE}", known <= AGAIN_GATE * cpu)
    )
    rows.append((f"{what}, read again", f"{read / cpu:.2f} of the first ({read:.2f} s CPU)", "1.5", read <= 1.5 * cpu))
    return rows


def write_document(path: Path, limit_bytes: int) -> int:
    """Write one OTLP/JSON document of one resource and scope on one line and return its size in bytes."""
    head, tail = orjson.dumps({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "opentelemetry.util.genai.handler"}, "spans": [None]}]}]}).split(b"null")  # fmt: skip
    with path.open("wb") as file:
        written, run = file.write(head), 0
        while written < limit_bytes:
            written += file.write(b"," * (run > 0) + orjson.dumps(run_spans(run, False))[1:-1])
            run += 1
        return written + file.write(tail)


def measure_memory(what: str, path: Path, size: int) -> tuple[str, str, str, bool]:
    """Peak memory of a process of its own that imports a file or a folder."""
    code = (
        "import sys; from inferometer.ingest.importing import import_paths; from inferometer.store import open_store\n"
        "with open_store(sys.argv[2]) as store: import_paths(store, [sys.argv[1]])\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    with tempfile.TemporaryDirectory() as name:
        words = [sys.executable, "-c", code, str(path), str(Path(name, "store.db"))]
        peak_mb = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout) / 1024
    return (
        f"peak memory, {what} of {size / 1e6:.0f} MB",
        f"{peak_mb:.0f} MB",
        f"{MEMORY_GATE_MB} MB",
        peak_mb <= MEMORY_GATE_MB,
    )


def run_command(words: list[str], store: Path | None = None) -> tuple[dict | None, float]:
    """The JSON document of a command, None where it fails, and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    variables = dict(os.environ) if store is None else {**os.environ, "INFEROMETER_STORE": str(store)}
    done = subprocess.run(words, capture_output=True, env=variables, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (orjson.loads(done.stdout) if done.returncode == 0 else None), cpu


def peer_row(tracecost: str, file: Path) -> tuple[str, ...] | None:
    """What both read out of one file; None where one of them cannot."""
    theirs, their_cpu = run_command([tracecost, "cost", "--recompute", "--format", "json", str(file)])
    with tempfile.TemporaryDirectory() as name:
        ours = [sys.executable, "-m", "inferometer"]
        store = Path(name, "store.db")
        imported, import_cpu = run_command([*ours, "import", "--json", str(file)], store)
        costs, cost_cpu = run_command([*ours, "cost", "--json"], store)
    if theirs is None or imported is None or costs is None or not theirs["total"]["llm_calls"]:
        return None
    their, our = theirs["total"], costs["total"]
    given = [our["meters"][name] for name in ("input_fresh", "cache_read", "cache_write_5m", "cache_write_1h")]
    return (
        file.name,
        f"{their['llm_calls']} / {our['inferences']}",
        f"{their['tokens']['input']} / {sum(tokens or 0 for tokens in given)}",
        f"{their['tokens']['output']} / {our['meters']['output']}",
        f"{float(their['cost'] or 0):.6f} / {float(our['cost_usd'] or 0):.6f}",
        f"{their['unpriced_calls']} / {our['unpriced']}",
        f"{their_cpu:.2f} / {import_cpu + cost_cpu:.2f}",
    )


def compare(tracecost: str, files: list[Path], calls: int) -> None:
    """Print a table of what tracecost and this tool read out of files, and out of a generated one."""
    with tempfile.TemporaryDirectory() as name:
        write_folder(Path(name), min(calls, RUNS_PER_FILE * CALLS_PER_RUN), False)
        found = [(file, peer_row(tracecost, file)) for file in [*files, *Path(name).iterdir()]]
    head = ("file", "calls", "input tokens", "output tokens", "USD", "unpriced", "CPU s")
    rows = [head, *(row for _, row in found if row is not None)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    print("tracecost / inferometer")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{sum(row is None for _, row in found)} of {len(found)} files not read by both")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--folder-mb", type=int, default=500, help="0 leaves its memory out")
    parser.add_argument("--document-mb", type=int, default=350, help="0 leaves its memory out")
    parser.add_argument("--with-content", action="store_true", help="also measure spans that carry their messages")
    parser.add_argument("--tracecost", metavar="COMMAND", help="compare with this tracecost, and measure nothing else")
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="files to compare on")
    options = parser.parse_args()
    if options.tracecost:
        compare(options.tracecost, options.files, options.calls)
        return 0
    rows = measure_cpu(options.calls, False)
    if options.with_content:
        rows += measure_cpu(max(1000, options.calls // 10), True)
    if options.folder_mb:
        with tempfile.TemporaryDirectory() as name:
            rows.append(
                measure_memory("folder", Path(name), write_folder(Path(name), 0, False, options.folder_mb * 10**6))
            )
    if options.document_mb:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name, "document.json")
            rows.append(measure_memory("one document", path, write_document(path, options.document_mb * 10**6)))
    width = max(len(row[0]) for row in rows)
    for what, found, gate, met in rows:
        print(f"{what:<{width}}  {found:<40}  gate {gate:<20}  {'met' if met else 'MISSED'}")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"\nPython {sys.version.split()[0]}, orjson {orjson.__version__}, {usage.ru_maxrss / 1024:.0f} MB peak of this process"
    )
    return 0 if all(row[3] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
