"""One workload on many deployments: what fits, what it costs, and which choices no other one beats."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from inferometer.analyzer.replay import replay
from inferometer.analyzer.replay_fleet import build_step_model, own_engine, whole_shapes
from inferometer.analyzer.replay_scenario import Scenario
from inferometer.analyzer.workload import Workload
from inferometer.profiles.hardware import Hardware, list_hardware, load_hardware
from inferometer.profiles.models import Model, load_model
from inferometer.schema.errors import InfeasibleError

WIDEST = 64
SIZES = 3
"""Tensor parallelisms tried per hardware and precision: the smallest that fits, and the next powers of two. Machines
that are only had whole are tried in the smallest number that fits."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Answers of all deployments that fit, cheapest first, and why the others do not.

    ``rows`` are plain values; ``pareto`` is true for a row that serves as many runs as any, and than which no such row
    is both cheaper and faster.
    """

    rows: list[dict[str, Any]]
    skipped: list[dict[str, str]]

    def as_dict(self) -> dict[str, Any]:
        """Return the `sweep` document."""
        return {
            "axes": {"cost": "cost_usd.mid", "latency": "run_e2e_s.p50", "among": "least infeasible_runs_share"},
            "scenarios": self.rows,
            "skipped": self.skipped,
        }


def sweep(
    workload: Workload,
    base: Scenario,
    *,
    hardware: Sequence[str] = (),
    precisions: Sequence[str] = (),
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Replay a workload on every deployment of a model that fits.

    Args:
        workload: the recorded calls.
        base: engine, model and everything else that stays; its hardware, precision and parallelism are replaced.
        hardware: profiles to try; all where empty.
        precisions: of the weights; sixteen, eight and four bits in what the chip computes in where empty.
        jobs: replays at a time; the machine's processors where None. Same answers for any number.
        progress: told (done, all) after each.

    Raises:
        UnknownNameError: a profile that is none.
    """
    chosen = [load_hardware(name) for name in hardware] or list(list_hardware().values())
    scenarios: list[Scenario] = []
    skipped: list[dict[str, str]] = []
    for chip in chosen:
        for precision in precisions or native_precisions(chip):
            found = list(fitting(chip, base, precision))
            scenarios += [scenario for scenario, _ in found if scenario is not None]
            if not any(scenario is not None for scenario, _ in found):
                skipped.append({"hardware": chip.id, "precision": precision, "reason": found[-1][1]})
    rows = _replayed(workload, scenarios, jobs, progress)
    mark_pareto(rows)
    rows.sort(key=lambda row: (row["cost_usd"]["mid"] is None, row["cost_usd"]["mid"] or 0, _name(row)))
    return Sweep(rows, skipped)


def native_precisions(chip: Hardware) -> tuple[str, str, str]:
    """Return the precisions of weights to try at 16, 8 and 4 bits: floating point where the chip has it."""
    return (
        "bf16",
        "fp8" if chip.compute.rate("fp8") is not None else "int8",
        "fp4" if chip.compute.rate("fp4") is not None else "int4",
    )


def fitting(chip: Hardware, base: Scenario, precision: str) -> Iterator[tuple[Scenario | None, str]]:
    """Yield the smallest deployments of a chip that hold the model, or one reason why none does."""
    reason = "does not fit"
    found = 0
    engine = own_engine(chip) or base.engine
    for tp, pp in _shapes(chip, load_model(base.model)):
        scenario = replace(base, hardware=chip.id, precision=precision, tp=tp, pp=pp, engine=engine)
        try:
            build_step_model(scenario)
        except InfeasibleError as error:
            reason = str(error)
        else:
            found += 1
            yield scenario, ""
            if found == SIZES or chip.deployment:  # more machines of the same kind make no call faster
                return
    if not found:
        yield None, reason


def _shapes(chip: Hardware, model: Model) -> Iterator[tuple[int, int]]:
    """Yield (tensor ranks, pipeline stages) to try, fewest chips first."""
    if chip.deployment:
        yield from whole_shapes(chip.deployment, model)
        return
    domain = min(chip.link.domain_chips if chip.link else 1, WIDEST)
    yield from ((1 << power, 1) for power in range(domain.bit_length()))


def _replayed(
    workload: Workload, scenarios: list[Scenario], jobs: int | None, progress: Callable[[int, int], None] | None
) -> list[dict[str, Any]]:
    def one(scenario: Scenario) -> dict[str, Any]:
        return _row(replay(workload, scenario, with_interval=False).as_dict())

    rows = []
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1, "inferometer-sweep") as pool:
        for row in pool.map(one, scenarios):
            rows.append(row)
            if progress:
                progress(len(rows), len(scenarios))
    return rows


_KEPT = (
    *("refused", "infeasible_runs_share", "makespan_s", "ttft_s", "tpot_s", "e2e_s", "run_e2e_s"),
    *("output_tokens_per_s", "prefix_hit_rate", "busy_share", "mfu", "mbu", "goodput", "billed_hours", "cost_basis"),
    *("price_source", "cost_usd", "cost_usd_by_basis", "break_even_utilisation", "cost_usd_per_mtok_output"),
    *("energy_kwh", "gco2e", "confidence", "confidence_reason", "extrapolated_share", "warnings"),
)


def _row(answer: dict[str, Any]) -> dict[str, Any]:
    scenario = answer["scenario"]
    named = ("hardware", "engine", "model", "precision", "kv_precision", "tp", "pp", "replicas", "chips")
    return {**{name: scenario[name] for name in named}, **{name: answer[name] for name in _KEPT}}


def _name(row: dict[str, Any]) -> tuple[str, str, int, int]:
    return (row["hardware"], row["precision"], row["tp"], row["pp"])


def mark_pareto(rows: Iterable[dict[str, Any]]) -> None:
    """Set ``pareto`` on each row; one without a cost or a latency, or that serves fewer runs, is never on the front."""
    rows = list(rows)
    least = min((row["infeasible_runs_share"] or 0.0 for row in rows), default=0.0)
    places = [_axes(row) if (row["infeasible_runs_share"] or 0.0) <= least else None for row in rows]
    for row, place in zip(rows, places, strict=True):
        row["pareto"] = place is not None and not any(
            other is not None and other != place and all(a <= b for a, b in zip(other, place, strict=True))
            for other in places
        )


def _axes(row: dict[str, Any]) -> tuple[float, float] | None:
    cost, latency = row["cost_usd"]["mid"], row["run_e2e_s"]["p50"]
    if cost is None or latency is None:
        return None
    return float(cost), latency
