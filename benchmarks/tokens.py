"""Counting against its gates, beside the named peers, in one process.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install . tiktoken gigatoken fastokens bpe-openai tokenizers puretiktoken
    /tmp/peers/bin/python benchmarks/tokens.py [--rounds 5] [--shared ../shared]

Texts are those of `tokens_texts.py`, peers those of `tokens_peers.py`. Where the shared folder is absent, what needs it
is named as not measured.

CPU time of the process (wall time for two threads). Peers in turns within a round: first when its tables were driven
out of the caches by the others ("evicted"), then at once again, up to five times within 100 ms, of which the median
("hot"). Medians over rounds. Read the ratios; on a shared machine megabytes per second drift. The peers are asked for
ids, since none has a faster count. One that is not installed is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from tokens_peers import MAKERS, NAME, Peer, make_ours, make_peers, read_ranks, vocabulary_file
from tokens_texts import SLICE, load_texts, make_messages, read_prompts

from inferometer.tokens import HashKey, History, encoding
from inferometer.tokens.vocabularies import compiled
from inferometer.tokens.vocabularies.registry import describe

KEY = HashKey(bytes(32))
cpu_s = time.process_time


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    begun = cpu_s()
    work()
    return cpu_s() - begun


def timed_hot(work: Callable[[], object]) -> float:
    """Return the median CPU seconds of up to five calls that follow another."""
    times = [timed(work)]
    while len(times) < 5 and sum(times) < 0.1:
        times.append(timed(work))
    return statistics.median(times)


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median CPU seconds of each, with caches driven out and hot."""
    evicted: dict[str, list[float]] = {name: [] for name in works}
    hot: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            evicted[name].append(timed(work))
            hot[name].append(timed_hot(work))
    return {name: (statistics.median(evicted[name]), statistics.median(hot[name])) for name in works}


class Gates:
    """The numbers owed, and what was found."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str, str]] = []

    def at_least(self, what: str, value: float, gate: float, stretch: float | None = None) -> None:
        """Note a ratio that should be large."""
        self._note(
            what, value, f">= {gate:g}", value >= gate, f"{stretch:g}" if stretch else "", value >= (stretch or gate)
        )

    def leave_out(self, what: str, reason: str) -> None:
        """Note a number that cannot be had here."""
        self.rows.append((what, "", "", "", f"not measured: {reason}"))

    def at_most(self, what: str, value: float, gate: float) -> None:
        """Note a number that should be small."""
        self._note(what, value, f"<= {gate:.3g}", value <= gate, "", True)

    def _note(self, what: str, value: float, gate: str, reached: bool, stretch: str, stretched: bool) -> None:
        verdict = ("stretch" if stretch and stretched else "reached") if reached else "MISSED"
        self.rows.append((what, f"{value:.3g}", gate, stretch, verdict))

    def print(self) -> None:
        """Print the table."""
        print("\n| gate | found | owed | stretch | |\n|---|---|---|---|---|")
        for row in self.rows:
            print("| " + " | ".join(row) + " |")


NO_SHARED = "no shared folder beside this checkout; name one with --shared"


def measure_texts(peers: dict[str, Peer], texts: dict[str, str], rounds: int, gates: Gates) -> None:
    """Whole texts, one thread: megabytes per second with caches driven out and hot."""
    print("\n| text | peer | MB/s evicted | MB/s hot | of tiktoken, hot | exact |\n|---|---|---|---|---|---|")
    owed = {"English": (18, 25), "Python": (18, 25), "JSON": (28, None)}
    for name in owed:
        if name not in texts:
            gates.leave_out(f"{name}, warm, of tiktoken", NO_SHARED)
    for name, whole in texts.items():
        text = whole[:SLICE]
        megabytes = len(text.encode()) / 1e6
        expected = peers["tiktoken"].count(text)
        found = in_turns({peer.name: (lambda p=peer, t=text: p.count(t)) for peer in peers.values()}, rounds)
        for peer in peers.values():
            evicted, hot = found[peer.name]
            ratio = found["tiktoken"][1] / hot
            exact = "yes" if peer.count(text) == expected else "NO"
            print(
                f"| {name} | {peer.name} | {megabytes / evicted:.0f} | {megabytes / hot:.0f} | {ratio:.1f} | {exact} |"
            )
        ours = found["inferometer"]
        if name in owed:
            gates.at_least(f"{name}, warm, of tiktoken", found["tiktoken"][1] / ours[1], *owed[name])
        if "gigatoken" in found and name in owed:
            gates.at_least(f"{name}, hot, of gigatoken", found["gigatoken"][1] / ours[1], 0.9, 1.0)
            gates.at_least(f"{name}, evicted, of gigatoken (stretch alone)", found["gigatoken"][0] / ours[0], 0.0, 1.0)


def measure_first_pass(path: Path, names: Iterable[str], texts: dict[str, str], rounds: int, gates: Gates) -> None:
    """Everything new: 10,000 messages, and CJK with emoji; a fresh tokenizer of every peer in each round."""
    messages = make_messages(texts)
    cjk = texts["CJK+emoji"]
    megabytes = sum(len(message.encode()) for message in messages) / 1e6
    seconds: dict[str, list[float]] = {}
    cjk_seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in names:
            make = make_ours if name == "inferometer" else lambda name=name: MAKERS[name.replace("-", "_")](path)
            peer = make()
            seconds.setdefault(name, []).append(timed(lambda p=peer: p.batch(messages)))
            peer = make()
            cjk_seconds.setdefault(name, []).append(timed(lambda p=peer: p.count(cjk)))
    print(f"\nFirst pass over 10,000 messages ({megabytes:.1f} MB), ms CPU, median [all rounds]:")
    for name, times in seconds.items():
        print(f"  {name:12} {statistics.median(times) * 1e3:8.1f}  {[round(t * 1e3) for t in times]}")
    median = {name: statistics.median(times) for name, times in seconds.items()}
    gates.at_least("first pass, 10,000 messages, of tiktoken", median["tiktoken"] / median["inferometer"], 6, 10)
    if "gigatoken" in median:
        gates.at_least("first pass, 10,000 messages, of gigatoken", median["gigatoken"] / median["inferometer"], 2, 3)
    size = len(cjk.encode()) / 1e6
    print("First pass over CJK and emoji, MB/s: ", end="")
    print({name: round(size / statistics.median(times)) for name, times in cjk_seconds.items()})
    found = statistics.median(cjk_seconds["tiktoken"]) / statistics.median(cjk_seconds["inferometer"])
    gates.at_least("CJK and emoji, first pass, of tiktoken", found, 4, 6)


def measure_small(peers: dict[str, Peer], texts: dict[str, str], rounds: int, gates: Gates) -> None:
    """Single calls: a string of 20 bytes, a message of 2 KB."""
    short, message = "Hello, wide world 42", texts["English"][100_000:102_000]
    for what, text, times, gate in (("20 B", short, 20_000, 0.2), ("2 KB", message, 1_000, 1 / 18)):
        works = {
            peer.name: (lambda count=peer.count, text=text, times=times: [count(text) for _ in range(times)])
            for peer in peers.values()
        }
        found = in_turns(works, rounds)
        print(f"\n{what} call, us: " + ", ".join(f"{name} {hot / times * 1e6:.2f}" for name, (_, hot) in found.items()))
        gates.at_most(f"{what} call, of tiktoken's time", found["inferometer"][1] / found["tiktoken"][1], gate)


def _best(count: Callable[[str], int], text: str) -> float:
    times = [timed(lambda: count(text)) for _ in range(2)]
    while len(times) < 9 and sum(times) < 1:
        times.append(timed(lambda: count(text)))
    return min(times)


def measure_adversarial(peers: dict[str, Peer], gates: Gates) -> None:
    """Single pieces without end."""
    chance = random.Random(3)
    letters = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=2_000_000))
    inputs = {"'a'": "a" * 2_000_000, "random letters": letters}
    print("\n| one piece | peer | 1 MB, MB/s | time of 2 MB / 1 MB |\n|---|---|---|---|")
    for what, text in inputs.items():
        best: dict[str, tuple[float, float]] = {}
        for name in ("inferometer", "tiktoken", *(["gigatoken"] if "gigatoken" in peers else [])):
            count = peers[name].count
            one, two = (_best(count, text[:size]) for size in (1_000_000, 2_000_000))
            best[name] = one, two
            print(f"| {what} | {name} | {1 / one:.1f} | {two / one:.2f} |")
        gates.at_least(f"1 MB of {what}, of tiktoken", best["tiktoken"][0] / best["inferometer"][0], 8)
        gates.at_most(f"2 MB of {what}, times 1 MB", best["inferometer"][1] / best["inferometer"][0], 2.3)


def measure_hashes(texts: dict[str, str], rounds: int, gates: Gates) -> None:
    """Count plus block hashes beside count alone."""
    ours = encoding(NAME)
    for name in ("English", "Python", "JSON"):
        if name not in texts:
            gates.leave_out(f"{name}: count with block hashes, times count", NO_SHARED)
            continue
        text = texts[name][:SLICE]
        found = in_turns(
            {"count": lambda t=text: ours.count(t), "chain": lambda t=text: ours.prefix_chain(t, 64, KEY)}, rounds
        )
        gates.at_most(f"{name}: count with block hashes, times count", found["chain"][1] / found["count"][1], 1.5)


def measure_load(gates: Gates) -> None:
    """A compiled vocabulary from its file to the first count."""
    encoding(NAME)
    milliseconds = [1e3 * timed(lambda: compiled.load(describe(NAME)).count("x")) for _ in range(7)]
    gates.at_most("load of a compiled vocabulary, ms", statistics.median(milliseconds), 20)


def measure_threads(messages: list[str], rounds: int, gates: Gates) -> None:
    """Two threads beside what a plain loop of two threads gains on this machine now; wall time."""
    ours = encoding(NAME)
    data = b"x" * 16_000_000

    def plain(threads: int) -> float:
        workers = [
            threading.Thread(target=lambda: [hashlib.sha256(data) for _ in range(4 // threads)]) for _ in range(threads)
        ]
        begun = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - begun

    def count(threads: int) -> float:
        begun = time.perf_counter()
        ours.count_batch(messages, threads)
        return time.perf_counter() - begun

    count(2)
    gains = [(plain(1) / plain(2), count(1) / count(2)) for _ in range(3 * rounds)]
    plainly, counting = (statistics.median(gain[place] for gain in gains) for place in (0, 1))
    print(f"\nTwo threads gain: a plain loop {plainly:.2f}, count_batch {counting:.2f}")
    gates.at_least("two threads, share of a plain loop's gain", counting / plainly, 0.85)


def measure_sessions(shared: Path, tiktoken: Peer, rounds: int, gates: Gates) -> None:
    """Prompts of recorded agent sessions in order, with the memo, beside tiktoken on each whole prompt."""
    prompts = read_prompts(shared)
    if not prompts:
        gates.leave_out("sessions with the memo, of tiktoken", NO_SHARED)
        return
    ratios = []
    for _ in range(3 * rounds):
        remembered = compiled.load(describe(NAME))
        remembered.count_remembered("x")
        begun = cpu_s()
        ours = list(map(remembered.count_remembered, prompts))
        between = cpu_s()
        theirs = list(map(tiktoken.count, prompts))
        ratios.append((cpu_s() - between) / (between - begun))
        assert ours == theirs
    print(f"\nMemo over {len(prompts)} prompts: {[round(ratio) for ratio in ratios]} times tiktoken")
    gates.at_least("sessions with the memo, of tiktoken", statistics.median(ratios), 50)
    history = History(encoding(NAME), key=KEY)
    chained = timed(lambda: [history.prefix_chain(prompt.split("\n\n")) for prompt in prompts])
    print(f"Prefix chains of the same prompts by paragraphs, remembered: {chained * 1e3:.0f} ms")


MEMORY_PROBE = """
import random, re
from pathlib import Path
from inferometer.tokens.vocabularies import compiled
from inferometer.tokens.vocabularies.registry import describe
own = lambda: int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
chance = random.Random(2)
texts = [" ".join("".join(chance.choices("abcdefgh", k=9)) for _ in range(400)) for _ in range(2000)]
vocabulary = compiled.load(describe("o200k_base"))
before = own()
vocabulary.count_batch(texts, 8)
vocabulary.chain(texts, 64, bytes(16))
print(own() - before)
"""
"""In a process of its own, whose memory nobody used before."""


def measure_memory(gates: Gates) -> None:
    """Caches of as many threads as a batch takes, on text with ever new words."""
    if not Path("/proc/self/status").exists():
        gates.leave_out("memory of caches after new words on 8 threads, MB", "no /proc")
        return
    found = subprocess.run([sys.executable, "-c", MEMORY_PROBE], capture_output=True, text=True, check=True)
    gates.at_most("memory of caches after new words on 8 threads, MB", float(found.stdout), 64)


def describe_machine() -> str:
    """Return the processor, its number, the load and the version of Python."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    family = re.search(r"cpu family\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    processor = f"{found[1]} family {family[1]}" if found and family else platform.processor()
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{processor}, {os.cpu_count()} processors, load {load}; Python {platform.python_version()}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parent.parent.parent / "shared")
    options = parser.parse_args()
    if not find_spec("tiktoken"):
        sys.exit("the reference is tiktoken: pip install tiktoken")
    path = vocabulary_file()
    texts = load_texts(options.shared, read_ranks(path))
    peers = make_peers(path)
    print(describe_machine())
    print(", ".join(f"{name} {_version(name)}" for name in peers))
    gates = Gates()
    measure_load(gates)
    measure_first_pass(path, peers, texts, max(3, options.rounds // 2), gates)
    measure_texts(peers, texts, options.rounds, gates)
    measure_small(peers, texts, options.rounds, gates)
    measure_adversarial(peers, gates)
    measure_hashes(texts, options.rounds, gates)
    measure_threads(make_messages(texts), options.rounds, gates)
    measure_sessions(options.shared, peers["tiktoken"], options.rounds, gates)
    measure_memory(gates)
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
    gates.print()


if __name__ == "__main__":
    main()
