"""Time `inferometer audit` by stage, in seconds of processor time.

    python benchmarks/audit.py [--calls 50000] [--store STORE] [--gate]

Without a store, one is made: runs of 17 calls of growing conversations, with prefix chains, on three models. The line
of calibration is a loop of Python alone: on a machine whose cores are shared or slow it grows as the stages do. What a
first audit alone does, bundling the script of the charts, is a line of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from inferometer.cli import audit as verb
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Decisions,
    Inference,
    InferenceDecision,
    PrefixChain,
    RecordBatch,
    Run,
    Span,
    SpanKind,
    UsageSource,
)
from inferometer.store import open_store

MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5")
CALLS_PER_RUN = 17
BLOCK_TOKENS = 64
START_NS = 1_763_600_000 * 1_000_000_000
LOOP_STEPS = 30_000_000
GATE_S = 10.0


def calibrate() -> float:
    """Return the seconds of processor time of a loop that does next to nothing."""
    begin, total = time.process_time(), 0
    for step in range(LOOP_STEPS):
        total += step
    return time.process_time() - begin


def fill(path: str, calls: int) -> None:
    """Write growing conversations: every call sends what the one before had sent, and some blocks more."""
    rnd = random.Random(8)
    with open_store(path) as store:
        for number in range(calls // CALLS_PER_RUN):
            batch, decisions = RecordBatch(), Decisions()
            trace, root, run_id = rnd.randbytes(16), rnd.randbytes(8), f"{number:016x}"
            begin = START_NS + number * 600 * 10**9
            batch.spans.append(Span(trace, root, "agent", SpanKind.AGENT, start_ns=begin, session_id=f"s{number // 3}"))
            decisions.runs.append(Run(run_id, trace, root, "agent", start_ns=begin))
            decisions.run_ids[trace, root] = run_id
            model, hashes = MODELS[number % 3], b""
            for place in range(CALLS_PER_RUN):
                hashes += rnd.randbytes(8 * rnd.randrange(4, 24))
                span_id, start = rnd.randbytes(8), begin + place * 20 * 10**9
                batch.spans.append(
                    Span(trace, span_id, "chat", SpanKind.INFERENCE, root, start_ns=start, end_ns=start + 10**10)
                )
                batch.inferences.append(
                    Inference(
                        trace,
                        span_id,
                        "anthropic",
                        model,
                        meters=Meters(len(hashes) // 8 * BLOCK_TOKENS + 10, output=rnd.randrange(20, 900)),
                        usage_source=UsageSource.PROVIDER,
                        prefix=PrefixChain(hashes, BLOCK_TOKENS, "o200k_base", "key"),
                    )
                )
                decisions.run_ids[trace, span_id] = run_id
                decisions.inferences.append(InferenceDecision(trace, span_id, True, None, ["leaf"], "agent"))
            with store.transaction() as tx:
                tx.write(batch)
                tx.apply(decisions)


def watched(module: Any, name: str, stages: dict[str, float]) -> None:
    """Add the processor time of a function to the stages, wherever it is called from its module."""
    work: Callable[..., Any] = getattr(module, name)

    @wraps(work)
    def timed(*args: Any, **options: Any) -> Any:
        begin = time.process_time()
        try:
            return work(*args, **options)
        finally:
            stages[name] = stages.get(name, 0.0) + time.process_time() - begin

    setattr(module, name, timed)


def measure(store: str, folder: Path) -> dict[str, float]:
    """Audit once, with HTML and JSON, and return seconds of processor time by stage; the command is ``total``."""
    from inferometer.analyzer import audit, audit_dataset, audit_scenarios
    from inferometer.reports import html

    stages: dict[str, float] = {}
    modules = {"load_dataset": audit_dataset, "replay_audit": audit_scenarios, "build_audit": audit}
    modules |= {"waste": audit, "recommend": audit, "render_audit": html, "_vega": html}
    for name, module in modules.items():
        watched(module, name, stages)
    arguments = ["--store", store, "--html", str(folder / "audit.html"), "--json", str(folder / "audit.json")]
    begin = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        verb.command.main(arguments, standalone_mode=False)
    return stages | {"total": time.process_time() - begin}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--store", help="an existing store")
    parser.add_argument("--gate", action="store_true", help=f"exit with 1 above {GATE_S:g} s")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = asked.store or str(Path(folder) / "store.db")
        if asked.store is None:
            fill(store, asked.calls)
        before = calibrate()
        stages = measure(store, Path(folder))
        after = calibrate()
    print(f"inferometer audit --store {asked.store or f'({asked.calls:,} calls made here)'} --html FILE --json FILE")
    labels = {
        "load_dataset": "read and price",
        "replay_audit": "replays",
        "build_audit": "analyses",
        "waste": "  of which waste",
        "recommend": "  of which recommendations",
        "render_audit": "HTML",
        "_vega": "  of which the charts' script",
    }
    for name, label in labels.items():
        print(f"{label:32s} {stages.get(name, 0.0):6.2f} s CPU")
    print(f"{'total':32s} {stages['total']:6.2f} s CPU   gate {GATE_S:g} s")
    load = os.getloadavg()[0]
    print(f"calibration: {LOOP_STEPS:,} loop steps took {before:.2f} and {after:.2f} s CPU; load average {load:.1f}")
    return int(asked.gate and stages["total"] > GATE_S)


if __name__ == "__main__":
    sys.exit(main())
