"""What ``benchmarks/overhead.py`` prints: rows with their spread, gates, and the peers side by side."""

from __future__ import annotations

import statistics
from typing import Any


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
        print(f"  {'reached' if held else 'MISSED '} {what}: {value:.3f} <= {limit:.3g}")
        if not held:
            self.missed.append(what)

    def fail(self, what: str) -> None:
        print(f"\n{what}")
        self.missed.append(what)


def tell(results: dict[str, Any], peer: str | None, report: Report) -> dict[str, float]:
    """Print one process's results; return the microseconds that each decorator costs and each hook adds."""
    title = "decorated call with 10 attributes or arguments" + (f", beside {peer} {results['release']}" if peer else "")
    print(f"\n{title} (us, x SDK, quartiles)")
    told = {name: statistics.median(samples) for name, samples in results["decorator"].items()}
    for name, samples in results["decorator"].items():
        report.row(name, samples, told["sdk"])
    bare = results["hook"].pop("bare")
    print("\nopenai chat call (us, x bare, quartiles)")
    report.row("bare", bare)
    for name, samples in results["hook"].items():
        report.row(name, samples, statistics.median(bare))
        # each repetition is compared with the bare calls beside it
        told[f"hook, {name}"] = statistics.median(one - base for one, base in zip(samples, bare, strict=True))
    return told


def judge(beside: dict[str, dict[str, float]], report: Report) -> None:
    """Print peers side by side, each with what we cost in its process, and hold the gates about them."""
    if not beside:
        return
    for name, told in beside.items():
        report.gate(f"decorated call against {name}", told["ours"] / told[name], 0.15)
    best = min(beside, key=lambda name: beside[name][f"hook, {name}"])
    told = beside[best]
    against = told["hook, ours, content"] / told[f"hook, {best}"]
    report.gate(f"openai hook, content, against the best peer, {best}", against, 0.5)
    print("\nbeside each peer, in its process (us)")
    print(f"  {'':16}{'decorator':>22}{'openai hook adds, with content':>44}")
    print(f"  {'peer':16}{'peer':>8}{'ours':>7}{'ratio':>7}{'peer':>30}{'ours':>7}{'ratio':>7}")
    for name, told in beside.items():
        row = told[name], told["ours"], told[f"hook, {name}"], told["hook, ours, content"]
        print(f"  {name:16}{row[0]:8.1f}{row[1]:7.1f}{row[1] / row[0]:7.2f}", end="")
        print(f"{row[2]:30.0f}{row[3]:7.0f}{row[3] / row[2]:7.2f}")
