"""Time the store: rows written against the driver alone, re-import, reading, accounting.

Run: python benchmarks/store.py [--calls 50000] [--postgres]

Prints a table in microseconds of processor time a row or call; the ratio to the bare driver is taken in the same
process, round after round, and shown with its spread.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

from inferometer.analyzer.accounting import account
from inferometer.profiles.prices import load_prices
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Decisions,
    Inference,
    InferenceDecision,
    RecordBatch,
    Run,
    Span,
    SpanKind,
    UsageSource,
)
from inferometer.store import Store, open_store
from inferometer.store.rows import span_row
from inferometer.store.tables import SPANS

MODELS = ("gpt-4o", "claude-sonnet-4-5", "claude-opus-4-5", "gpt-5.1-codex", "gemini-2.5-pro")
CALLS_PER_RUN = 20
BATCH = 512
START_NS = 1_763_600_000 * 1_000_000_000


def make_spans(count: int, seed: int) -> list[Span]:
    """Return spans with 22 attributes, about 1.4 kB each."""
    rnd = random.Random(seed)
    return [
        Span(
            rnd.randbytes(16),
            rnd.randbytes(8),
            "chat gpt-4o",
            SpanKind.INFERENCE,
            start_ns=START_NS + place,
            end_ns=START_NS + place + 10**9,
            attributes={f"gen_ai.attribute.{number}": f"value {rnd.random()} {'x' * 30}" for number in range(22)},
        )
        for place in range(count)
    ]


def timed(work: Callable[[], object]) -> float:
    """Return seconds of processor time."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def write_bare(path: Path, spans: list[Span]) -> None:
    """Write the same rows into the same table with sqlite3 alone, in the same transactions."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    from sqlalchemy import create_mock_engine
    from sqlalchemy.schema import CreateIndex, CreateTable

    engine = create_mock_engine("sqlite://", executor=None)
    connection.execute(str(CreateTable(SPANS).compile(dialect=engine.dialect)))
    for index in SPANS.indexes:
        connection.execute(str(CreateIndex(index).compile(dialect=engine.dialect)))
    rows = [span_row(span) for span in spans]
    sql = f"INSERT OR IGNORE INTO spans VALUES ({', '.join('?' * len(SPANS.columns))})"
    for begin in range(0, len(rows), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(sql, rows[begin : begin + BATCH])
        connection.execute("COMMIT")
    connection.close()


def write_ours(store: Store, spans: list[Span]) -> None:
    """Write spans in transactions of a batch each."""
    for begin in range(0, len(spans), BATCH):
        with store.transaction() as tx:
            tx.write(RecordBatch(spans=spans[begin : begin + BATCH]))


def fill(store: Store, calls: int) -> None:
    """Write runs of calls with their decisions."""
    rnd = random.Random(3)
    batch, decisions = RecordBatch(), Decisions()
    for number in range(calls // CALLS_PER_RUN):
        trace, root, run_id = rnd.randbytes(16), rnd.randbytes(8), f"{number:016x}"
        begin = START_NS + number * 10**9
        batch.spans.append(Span(trace, root, "agent", SpanKind.AGENT, start_ns=begin, session_id=f"s{number // 5}"))
        decisions.runs.append(Run(run_id, trace, root, "agent", start_ns=begin))
        decisions.run_ids[trace, root] = run_id
        for place in range(CALLS_PER_RUN):
            span_id = rnd.randbytes(8)
            start = begin + place * 1000
            batch.spans.append(
                Span(trace, span_id, "chat", SpanKind.INFERENCE, root, start_ns=start, end_ns=start + 500)
            )
            meters = Meters(rnd.randrange(5000), rnd.randrange(100_000), rnd.randrange(3000), None, rnd.randrange(2000))
            batch.inferences.append(
                Inference(
                    trace,
                    span_id,
                    None,
                    rnd.choice(MODELS),
                    meters=meters,
                    raw_usage={"prompt_tokens": 123, "completion_tokens": 3},
                    usage_source=UsageSource.PROVIDER,
                    recorded_cost_usd=Decimal("0.01"),
                )
            )
            decisions.run_ids[trace, span_id] = run_id
            decisions.inferences.append(InferenceDecision(trace, span_id, True, None, ["leaf"], "agent"))
    with store.transaction() as tx:
        tx.write(batch)
        tx.apply(decisions)


def print_postgres(rounds: int) -> None:
    """Print what the client spends on rows for PostgreSQL, and how many a second arrive."""
    from inferometer.testing.postgresql import find_programs, serve

    programs = find_programs()
    assert programs is not None, "PostgreSQL is not installed here"
    costs, rates = [], []
    with serve(programs) as server, open_store(server.create_database("benchmark")) as store:
        for number in range(rounds):
            spans = make_spans(5120, number)
            begin = time.perf_counter()
            costs.append(timed(partial(write_ours, store, spans)) / len(spans) * 1e6)
            rates.append(len(spans) / (time.perf_counter() - begin))
    for what, times in (("span rows to PostgreSQL, client alone", costs), ("rows a second, server beside it", rates)):
        print(f"{what:44} {statistics.median(times):8.1f} {min(times):7.1f} - {max(times):.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgres", action="store_true", help="also into a PostgreSQL server of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare, ours, again = [], [], []
        for number in range(options.rounds):
            spans = make_spans(5120, number)
            with open_store(str(folder / f"ours-{number}.sqlite")) as store:
                works = [(bare, partial(write_bare, folder / f"bare-{number}.sqlite", spans))]
                works.append((ours, partial(write_ours, store, spans)))
                for times, work in works if number % 2 else reversed(works):
                    times.append(timed(work) / len(spans) * 1e6)
                again.append(timed(partial(write_ours, store, spans)) / len(spans) * 1e6)
        ratios = [one / other for one, other in zip(ours, bare, strict=True)]
        print(f"{'what':44} {'us CPU':>8} {'spread':>16}")
        for what, times in (
            ("span rows, sqlite3 alone, 512 a commit, FULL", bare),
            ("span rows, store.transaction().write", ours),
            ("the same rows again", again),
        ):
            print(f"{what:44} {statistics.median(times):8.1f} {min(times):7.1f} - {max(times):.1f}")
        print(f"{'ratio to sqlite3 alone':44} {statistics.median(ratios):8.2f} {min(ratios):7.2f} - {max(ratios):.2f}")
        if options.postgres:
            print_postgres(options.rounds)
        with open_store(str(folder / "calls.sqlite")) as store:
            seconds = timed(lambda: fill(store, options.calls))
            print(f"{'a call: span, inference and decision':44} {seconds / options.calls * 1e6:8.1f}")
            prices = load_prices()
            read = [timed(lambda: sum(1 for _ in store.inferences())) for _ in range(3)]
            spent = [timed(lambda: account(store, prices=prices)) for _ in range(3)]
            for what, times in (("reading a call", read), ("accounting for a call", spent)):
                per_call = [seconds / options.calls * 1e6 for seconds in times]
                print(f"{what:44} {statistics.median(per_call):8.1f} {min(per_call):7.1f} - {max(per_call):.1f}")
            print(f"{options.calls:,} calls accounted for in {statistics.median(spent):.2f} s of processor time")


if __name__ == "__main__":
    main()
