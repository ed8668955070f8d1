"""How fast workloads replay: CPU seconds of one core, against the gates and, in the same run, against a named peer.

    python benchmarks/replay.py [--peer] [--write] [--shared ../shared] [--repeats 5] [--quick]

The peer is the offline mocker of ``ai-dynamo-runtime`` (PyPI, Rust) in an environment of its own, which ``--peer``
makes below ``.venvs/`` where there is none. Both replay the same calls, with the same prefix blocks, block count, batch
and step limits, one replica, in turns. The peer's own wall clock for the simulation is taken where it is lower than the
CPU time of its call, which includes reading the trace. ``--write`` puts the results into docs/replay.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from inferometer.analyzer.replay import Scenario, replay
from inferometer.analyzer.replay_engine import Background, Fleet, Simulation, simulate
from inferometer.analyzer.replay_fleet import build_deployment
from inferometer.analyzer.replay_sweep import fitting
from inferometer.analyzer.workload import Workload, made_up_workload
from inferometer.analyzer.workload_edges import EdgeList
from inferometer.analyzer.workload_prefix import PrefixForest, forest_of
from inferometer.profiles.hardware import list_hardware

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- written by benchmarks/replay.py --write -->", "<!-- end of what benchmarks/replay.py wrote -->"
BLOCK = 64
PEER_PACKAGE = "ai-dynamo-runtime==1.6.1"
VIDUR = "Vidur, measured on 2026-11-23 on two such processors: 3,200 to 6,100 steps/s and 430 to 1,400 calls/s."
PEER_VENV = ROOT / ".venvs" / "peer-mocker"
PEER = """
import json, sys, time
import dynamo._core as core
path, repeats = sys.argv[1], int(sys.argv[2])
config = {"engine": {"num_gpu_blocks": int(sys.argv[3]), "block_size": 64, "max_num_seqs": 256,
                     "max_num_batched_tokens": 8192}}
for _ in range(repeats):
    before = time.process_time()
    result = core.run_mocker_trace_replay([path], extra_engine_args=config, trace_block_size=64)
    spent = time.process_time() - before
    summary = result.summary
    print(json.dumps({"cpu_s": spent, "own_wall_s": summary["wall_time_ms"] / 1000,
                      "calls": summary["completed_requests"],
                      "reuse": summary["prefix_cache_reused_ratio"]}), flush=True)
"""


def azure(shared: Path) -> tuple[np.ndarray[Any, Any], ...]:
    """Return arrival seconds, input and output tokens of the Azure conversation trace."""
    with (shared / "data/serving/AzureLLMInferenceTrace_conv.csv").open() as file:
        rows = list(csv.DictReader(file))
    moments = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows]
    return (
        np.array(moments) - moments[0],
        np.array([int(row["ContextTokens"]) for row in rows]),
        np.array([int(row["GeneratedTokens"]) for row in rows]),
    )


def chains(inputs: np.ndarray[Any, Any], seed: int = 7) -> list[np.ndarray[Any, Any]]:
    """Return prefix blocks: half of the calls go on from one of the last 200, the others begin with one of 20 stems."""
    draw = np.random.default_rng(seed)
    stems = [draw.integers(1, 2**62, size, dtype=np.uint64) for size in draw.integers(2, 9, 20)]
    found: list[np.ndarray[Any, Any]] = []
    for call, tokens in enumerate(inputs):
        blocks = int(tokens) // BLOCK
        goes_on = call > 0 and draw.random() < 0.5
        stem = found[call - 1 - int(draw.integers(0, min(call, 200)))] if goes_on else stems[int(draw.integers(0, 20))]
        own = draw.integers(1, 2**62, max(0, blocks - len(stem)), dtype=np.uint64)
        found.append(np.concatenate((stem, own))[:blocks])
    return found


def tiled(workload: Workload, times: int) -> Workload:
    """Return the workload so many times after each other, every copy with prefixes of its own."""
    span = float(workload.session_start_s.max()) + 1.0
    forest, calls, segments = workload.prefixes, workload.calls, len(workload.prefixes.parent)
    copies = np.repeat(np.arange(times), calls)
    shift = np.repeat(np.arange(times) * segments, segments)
    parent = np.tile(forest.parent, times)
    leaf = np.tile(forest.leaf, times)
    return made_up_workload(
        np.tile(workload.session_start_s, times) + copies * span,
        np.tile(workload.input_tokens, times),
        np.tile(workload.output_tokens, times),
        PrefixForest(
            leaf=np.where(leaf >= 0, leaf + copies * segments, -1).astype(np.int32),
            parent=np.where(parent >= 0, parent + shift, -1).astype(np.int32),
            blocks=np.tile(forest.blocks, times),
            block_tokens=BLOCK,
            total_blocks=forest.total_blocks * times,
            unique_blocks=forest.unique_blocks * times,
        ),
    )


def closed(workload: Workload, length: int = 4) -> Workload:
    """Return the workload with every `length` calls in a row as one session, each waiting for the one before."""
    calls = workload.calls
    later = np.array([call for call in range(calls) if call % length])
    starts = np.arange(0, calls, length)
    return replace(
        workload,
        session_first=np.append(starts, calls).astype(np.int64),
        session_start_s=workload.session_start_s[starts],
        edges=EdgeList.of(calls, later - 1, later, np.full(len(later), 0.5), np.zeros(len(later), np.bool_)),
        priority=(np.arange(calls) % 3).astype(np.uint8),
    )


def timed(work: Callable[[], Simulation], repeats: int) -> tuple[Simulation, list[float]]:
    """Return the last result and the CPU seconds of each repeat."""
    seconds = []
    for _ in range(repeats):
        before = time.process_time()
        result = work()
        seconds.append(time.process_time() - before)
    return result, seconds


def h100(workload: Workload, **changes: Any) -> Fleet:
    """Return the fleet of Llama-3.1-70B at FP8 on four H100 with vLLM's rules."""
    scenario = Scenario("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", precision="fp8", tp=4, **changes)
    return build_deployment(scenario, workload).fleet


def peer_python() -> Path:
    """Return the interpreter of the peer's environment, which is made where it is missing."""
    python = PEER_VENV / "bin" / "python"
    works = python.exists() and not subprocess.run([python, "-c", "import dynamo._core"], check=False).returncode
    if not works:
        venv.create(PEER_VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER_PACKAGE], check=True)
    return python


def peer_seconds(workload: Workload, ids: list[Any], blocks: int, repeats: int) -> list[dict[str, float]]:
    """Run the peer on the same calls and return its times."""
    python = peer_python()
    numbers: dict[int, int] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for call in range(workload.calls):
            tokens = int(workload.input_tokens[call])
            hashes = [numbers.setdefault(int(block), len(numbers)) for block in ids[call]]
            while len(hashes) < -(-tokens // BLOCK):  # it wants the last, part-filled block too
                hashes.append(numbers.setdefault(-1 - len(numbers), len(numbers)))
            line = {
                "timestamp": float(workload.session_start_s[call]) * 1000,
                "input_length": tokens,
                "output_length": int(workload.output_tokens[call]),
                "hash_ids": hashes,
            }
            file.write(json.dumps(line) + "\n")
        file.flush()
        done = subprocess.run(
            [python, "-c", PEER, file.name, str(repeats), str(blocks)], capture_output=True, text=True, check=True
        )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def sweep_seconds(workload: Workload, count: int) -> tuple[int, float]:
    """Replay `count` deployments two at a time and return how many and the wall seconds."""
    base = Scenario("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B")
    found: list[Scenario] = []
    for engine in ("vllm", "sglang", "trtllm"):
        for chip in list_hardware().values():
            for precision in ("bf16", "fp8", "fp4"):
                fits = fitting(chip, replace(base, engine=engine), precision)
                found += [scenario for scenario, _ in fits if scenario is not None]
    before = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda scenario: replay(workload, scenario, with_interval=False).as_dict(), found[:count]))
    return len(found[:count]), time.perf_counter() - before


def mooncake_reuse(shared: Path) -> float | None:
    """Return the share of prompt blocks of the Mooncake conversation trace that came before."""
    path = shared / "data/serving/mooncake_conversation_trace.jsonl.gz"
    with gzip.open(path, "rt") as file:
        ids = [np.array(json.loads(line)["hash_ids"], np.uint64) + np.uint64(1) for line in file if line.strip()]
    return forest_of(ids, 512)[0].hit_rate_infinite


def agents(shared: Path) -> Workload:
    """Return the coding-agent sessions of kv-cache-tester, through importer and store."""
    from inferometer.analyzer.workload import load_workload
    from inferometer.ingest.importing import import_paths
    from inferometer.store import open_store

    with tempfile.TemporaryDirectory() as folder, open_store(f"{folder}/store.sqlite") as store:
        import_paths(store, [shared / "data/sessions/kv-cache-tester"])
        return load_workload(store)


@dataclass(frozen=True)
class Measured:
    """One workload replayed: median CPU seconds of its repeats."""

    name: str
    result: Simulation
    seconds: list[float]

    @property
    def middle_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def steps_per_s(self) -> float:
        return float(self.result.total("steps")) / self.middle_s

    @property
    def calls_per_s(self) -> float:
        return len(self.result.status) / self.middle_s


@dataclass
class Report:
    """What was measured, its gates (name, value, least value; times negative), and its sentences for the page."""

    rows: list[Measured] = field(default_factory=list)
    gates: list[tuple[str, float, float]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    def add(self, name: str, work: Callable[[], Simulation], repeats: int) -> Measured:
        """Measure a workload and print its line."""
        found = Measured(name, *timed(work, repeats))
        steps, spent = found.result.total("steps"), found.seconds
        spread = f"{min(spent) * 1000:.1f}-{max(spent) * 1000:.1f}"
        print(
            f"| {name} | {len(found.result.status):,} | {steps:,.0f} | {found.middle_s * 1000:,.1f} | {spread} "
            f"| {found.steps_per_s:,.0f} | {found.calls_per_s:,.0f} | {found.result.total('preemptions'):,.0f} |"
        )
        self.rows.append(found)
        return found

    def say(self, sentence: str) -> None:
        """Print a sentence, which goes to the page too."""
        print(f"\n{sentence}")
        self.sentences.append(sentence)

    def write(self, page: Path) -> None:
        """Put the table and the sentences between the page's marks."""
        head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, end, tail = rest.partition(END)
        if not end:
            raise SystemExit(f"{page} lacks {BEGIN} and {END}")
        lines = [
            f"`{' '.join(['python', 'benchmarks/replay.py', *sys.argv[1:]])}`, {date.today().isoformat()}, "
            f"{platform.machine()}, {os.cpu_count()} processors, CPython {platform.python_version()}, CPU time of one:",
            "",
            "| workload | calls | steps | steps/s | calls/s |",
            "|---|---|---|---|---|",
        ]
        for each in self.rows:
            steps, calls = each.result.total("steps"), len(each.result.status)
            rates = f"{each.steps_per_s / 1e6:.1f} million | {each.calls_per_s / 1e3:,.0f} thousand"
            lines.append(f"| {each.name} | {calls:,} | {steps:,.0f} | {rates} |")
        lines += ["", *textwrap.wrap(" ".join(self.sentences), 120, break_on_hyphens=False)]
        page.write_text("\n".join([head + BEGIN, *lines, END + tail]), encoding="utf-8")
        print(f"\nwrote {page}")


def compare(report: Report, plain: Workload, ids: list[Any], work: Callable[[], Simulation], repeats: int) -> None:
    """Replay the first workload with the peer and, after it, again with the engine."""
    alone, full = report.rows[0], report.rows[1]
    found = peer_seconds(plain, ids, 16384, repeats)
    again, seconds = timed(work, repeats)
    best = [min(entry["cpu_s"], entry["own_wall_s"]) for entry in found]
    middle, ours = statistics.median(best), statistics.median(alone.seconds + seconds)
    reuse = again.hit_tokens.sum() / plain.input_tokens.sum()
    report.say(
        f"The Dynamo mocker (`{PEER_PACKAGE}`) replays the first workload, with the same blocks and a reuse of "
        f"{found[0]['reuse']:.3f} (ours {reuse:.3f}), at {plain.calls / middle / 1e3:.1f} thousand calls/s: "
        f"{middle / ours:.0f} times slower, and {middle / full.middle_s:.0f} times slower than this engine with every "
        "feature on."
    )
    report.gates += [
        ("times the peer, same features", middle / ours, 10.0),
        ("times the peer, all on", middle / full.middle_s, 10.0),
    ]


def measure_many(report: Report, plain: Workload, rules: Fleet) -> None:
    """Replay a million calls, and a sweep."""
    many = tiled(plain, 52)
    found = report.add("Azure conversations 52 times", lambda: simulate(many, rules), 1)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    count, wall_s = sweep_seconds(plain, 200)
    report.say(
        f"The {many.calls:,} calls take {found.seconds[0]:.1f} s and {peak_gib:.2f} GiB at most. A sweep of {count} "
        f"deployments of the first workload takes {wall_s:.1f} s, two at a time."
    )
    report.gates += [
        (f"{many.calls:,} calls, seconds (at most)", -found.seconds[0], -10.0),
        ("peak memory of this process, GiB (at most)", -peak_gib, -1.0),
        ("sweep of 200 deployments, seconds (at most)", -wall_s, -60.0),
    ]


def every_feature(plain: Workload) -> tuple[Workload, Fleet]:
    """Return the workload three times as dense, in sessions, and two replicas that do all they can."""
    linked = closed(replace(plain, session_start_s=plain.session_start_s / 3))
    fleet = h100(
        linked,
        **{"replicas": 2, "speculative_tokens": 3, "offload_gib": 64.0, "gateway_workers": 4, "round_trip_s": 0.02},
    )
    return linked, replace(
        fleet,
        rules=replace(fleet.rules, kv_tokens=20_000, max_sequences=256),
        background=Background(0.5, plain.input_tokens, plain.output_tokens),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--peer", action="store_true", help="compare with the peer; its environment is made if missing")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out the million calls and the sweep")
    parser.add_argument("--write", action="store_true", help="put the results into docs/replay.md")
    options = parser.parse_args()
    arrivals, inputs, outputs = azure(options.shared)
    ids = chains(inputs)
    before = time.process_time()
    forest, _ = forest_of(ids, BLOCK)
    built_s = time.process_time() - before
    plain = made_up_workload(arrivals, inputs, outputs, forest)
    print(f"{platform.machine()}, {os.cpu_count()} processors, CPython {platform.python_version()}")
    print(f"prefix tree of {len(inputs):,} calls, {forest.total_blocks:,} blocks: {built_s * 1000:.0f} ms CPU\n")
    print("| workload | calls | steps | CPU ms | spread ms | steps/s | calls/s | preemptions |")
    print("|---|---|---|---|---|---|---|---|")
    report = Report()

    fleet = h100(plain)
    tight = replace(fleet, rules=replace(fleet.rules, kv_tokens=16384 * BLOCK, max_sequences=256))
    report.add("Azure conversations, one replica", lambda: simulate(plain, tight), options.repeats)
    linked, full = every_feature(plain)
    found = report.add(
        "the same three times as dense, every feature on",
        lambda: simulate(linked, full, use_priorities=True, seed=1),
        options.repeats,
    )
    report.gates += [
        ("every feature on, steps/s", found.steps_per_s, 1e6),
        ("every feature on, calls/s", found.calls_per_s, 150e3),
    ]
    split = replace(full, replicas=1, decode_replicas=1, decode_rules=full.rules)
    report.add(
        "and prefill and decode apart", lambda: simulate(linked, split, use_priorities=True, seed=1), options.repeats
    )
    if (options.shared / "data/sessions/kv-cache-tester").is_dir():
        agent = agents(options.shared)
        found = report.add(
            "coding agents (kv-cache-tester), closed loop",
            lambda: simulate(agent, h100(agent), concurrency=8),
            options.repeats,
        )
        report.gates.append(("kv-cache-tester, steps/s", found.steps_per_s, 500e3))
    if options.peer:
        compare(report, plain, ids, lambda: simulate(plain, tight), options.repeats)
    if not options.quick:
        measure_many(report, plain, tight)
    reuse = mooncake_reuse(options.shared)
    print(f"\nMooncake conversation trace, block reuse with an infinite cache: {reuse:.4f}")
    report.say(VIDUR)
    print()
    for name, value, least in report.gates:
        print(f"{'met   ' if value >= least else 'MISSED'} {name}: {abs(value):,.2f} (gate {abs(least):,.0f})")
    if options.write:
        report.write(ROOT / "docs" / "replay.md")
    return 0 if all(value >= least for _, value, least in report.gates) else 1


if __name__ == "__main__":
    sys.exit(main())
