"""Kill the sidecar at random moments under load, again and again, and count what was lost: nothing may be.

    python tools/soak_sidecar.py [--rounds 20] [--store sqlite|postgres] [--seed 1]

Each round starts a sidecar over the same store, sends from several connections, ends it with SIGKILL after a random
time (now and then its normaliser alone, a moment earlier), starts it again, waits until the journal is empty, and
compares the ids of all spans that were ever acknowledged with the ids in the store: each once.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.postgresql import find_programs, serve
from inferometer.testing.sidecar_process import Running, start_sidecar

SENDERS = 4
Ids = set[tuple[bytes, bytes]]


def send_until_gone(sidecar: Running, acknowledged: Ids) -> list[threading.Thread]:
    """Send from several threads until the sidecar is gone."""

    def send() -> None:
        while True:
            request = build_request(random.choice((1, 16, 64)))
            try:
                answer = sidecar.post(request.SerializeToString())
            except OSError:
                return
            if answer.status == 200:
                acknowledged.update(ids_of(request))

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    return threads


def kill_normaliser(sidecar: Running) -> None:
    """End the normaliser alone."""
    for child in sidecar.children():
        os.kill(child, signal.SIGKILL)


def read_ids(folder: Path, url: str | None) -> list[tuple[bytes, bytes]]:
    """Return the ids of all spans of the store."""
    if url is None:
        return stored_ids(folder / "store.sqlite")
    import psycopg

    with psycopg.connect(url) as connection:
        return [(bytes(row[0]), bytes(row[1])) for row in connection.execute("SELECT trace_id, span_id FROM spans")]


def run_rounds(folder: Path, url: str | None, rounds: int, source: random.Random) -> int:
    """Return the number of rounds in which something was lost or stored twice."""
    journal = ("--journal", str(folder / "store.sqlite.journal"))
    options = (*(("--store", url) if url else ()), *journal)
    acknowledged: Ids = set()
    failures = 0
    for number in range(1, rounds + 1):
        sidecar = start_sidecar(folder, *options)
        threads = send_until_gone(sidecar, acknowledged)
        wait_s = source.uniform(0.05, 1.5)
        if source.random() < 0.3:
            time.sleep(wait_s / 2)
            kill_normaliser(sidecar)
            wait_s /= 2
        time.sleep(wait_s)
        sidecar.kill()
        for thread in threads:
            thread.join()
        again = start_sidecar(folder, *options)
        again.wait_until_stored()
        code = again.stop()
        found = read_ids(folder, url)
        lost, twice = len(acknowledged - set(found)), len(found) - len(set(found))
        failures += bool(lost or twice or code)
        print(
            f"round {number:2}: {len(acknowledged):,} acknowledged so far, {len(found):,} stored,"
            f" {lost} lost, {twice} twice, exit code {code}",
            flush=True,
        )
    return failures


def main() -> int:
    """Run the rounds; 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if chosen.store == "postgres":
            programs = find_programs()
            if programs is None:
                print("PostgreSQL is not installed", file=sys.stderr)
                return 2
            url = stack.enter_context(serve(programs)).create_database("soak")
        return 1 if run_rounds(folder, url, chosen.rounds, random.Random(chosen.seed)) else 0


if __name__ == "__main__":
    sys.exit(main())
