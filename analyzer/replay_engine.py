"""The door to the C engine: a workload and a fleet in, what became of each call out, all flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer import _replay
from inferometer.analyzer.workload import Workload
from inferometer.schema.errors import InternalError, UserError

ROUTERS = ("round_robin", "least_loaded", "prefix")
SERVED, OVER_CONTEXT, OVER_MEMORY = 1, 2, 3
PROGRESS_PARTS = 65536
SEGMENT_BYTES, SEQUENCE_BYTES = 17, 160
"""Of memory that the engine takes per replica: see csrc/cache.h and csrc/replica.h."""
MOST_BYTES = 4e9
MOST_BACKGROUND_CALLS = 5_000_000
"""As in csrc/background.h: then no more come, so that an overloaded fleet does not queue without end."""

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """How a replica forms steps; in the order of `rules_of` in module.c. Tokens and sequences are counts.

    ``progress`` is output tokens of one decoding step in 65,536ths, ``reserve_share`` the share of output still to come
    that admission keeps free, and the hull what the step times were calibrated for (unknown: 0, of the hit share -1).
    """

    max_sequences: float
    max_step_tokens: float
    max_chunk_tokens: float
    prefill_first: float
    reserve_share: float
    kv_tokens: float
    window_tokens: float
    slack_tokens: float
    progress: float = PROGRESS_PARTS
    draft_tokens: float = 0
    offload_tokens: float = 0
    offload_s_per_token: float = 0
    hull_sequences: float = 0
    hull_context_tokens: float = 0
    hull_hit_share: float = -1

    def as_array(self) -> Float:
        """Return float64, shape (15,)."""
        return np.array([getattr(self, field.name) for field in fields(self)], np.float64)


@dataclass(frozen=True, slots=True)
class Background:
    """Other tenants' calls: a Poisson stream with lengths drawn from a table (int32, shape (n,))."""

    rate_per_s: float
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Replicas and what is before them.

    ``step_model`` is the float64 array of csrc/steptime.h. With ``decode_replicas`` the first ``replicas`` only
    prefill, and decoding ones follow ``decode_rules`` and ``decode_model``.
    """

    rules: Rules
    step_model: Any
    replicas: int = 1
    decode_replicas: int = 0
    decode_rules: Rules | None = None
    decode_model: Any = None
    router: str = "prefix"
    round_trip_s: float = 0.0
    entry_s: float = 0.0
    front_workers: int = 0
    front_call_s: float = 0.0
    front_token_s: float = 0.0
    transfer_s: float = 0.0
    transfer_token_s: float = 0.0
    background: Background | None = None


@dataclass(frozen=True, slots=True)
class ReplicaTotals:
    """Sums over one replica's steps, in the order of csrc/replica.h."""

    busy_s: float
    last_end_s: float
    steps: float
    decode_steps: float
    prefill_tokens: float
    decode_tokens: float
    decode_kv_tokens: float
    prefill_pairs: float
    expert_coverage: float
    outside_steps: float
    outside_s: float
    preemptions: float
    recomputed_tokens: float
    peak_tokens: float
    peak_sequences: float


@dataclass(frozen=True, slots=True)
class Simulation:
    """What became of each call; arrays of shape (n_calls,), times in seconds on the simulated clock.

    ``hit_tokens`` were found in the prefix cache and ``loaded_tokens`` fetched from the tier below; ``reused_tokens``
    of both no prompt had held before, an output had filled them. ``entered_s`` is when a call joins an engine's queue,
    ``admitted_s`` when it is first taken into a batch, ``first_s`` and ``end_s`` when the client has the first and last
    token, ``busy_s`` is the call's share of the time its replicas worked, ``status`` is SERVED,
    OVER_CONTEXT or OVER_MEMORY.
    """

    ready_s: Float
    entered_s: Float
    admitted_s: Float
    first_s: Float
    end_s: Float
    busy_s: Float
    hit_tokens: NDArray[np.int32]
    loaded_tokens: NDArray[np.int32]
    reused_tokens: NDArray[np.int32]
    produced_tokens: NDArray[np.int32]
    preemptions: NDArray[np.uint16]
    replica: NDArray[np.int16]
    status: NDArray[np.uint8]
    totals: tuple[ReplicaTotals, ...]
    background_calls: int
    background_busy_s: float
    front_busy_s: float

    @property
    def served(self) -> NDArray[np.bool_]:
        """Which calls were served, bool, shape (n_calls,)."""
        served: NDArray[np.bool_] = self.status == SERVED
        return served

    @property
    def makespan_s(self) -> float:
        """Seconds from the simulation's begin to the last end of a call."""
        return float(self.end_s.max()) if len(self.end_s) else 0.0

    def total(self, name: str) -> float:
        """Return a sum over all replicas."""
        return float(sum(getattr(totals, name) for totals in self.totals))


def _check_size(workload: Workload, fleet: Fleet) -> None:
    replicas, segments = fleet.replicas + fleet.decode_replicas, len(workload.prefixes.parent)
    wanted = replicas * (segments * SEGMENT_BYTES + fleet.rules.max_sequences * SEQUENCE_BYTES)
    if wanted > MOST_BYTES:
        raise UserError(
            f"{replicas} replicas over {segments:,} prefix segments would take {wanted / 1e9:.0f} GB to simulate: "
            "narrow the workload with --since, --until or --where, or lower --replicas"
        )


_TYPES = {
    **dict.fromkeys(("ready_s", "entered_s", "admitted_s", "first_s", "end_s", "busy_s"), np.float64),
    **dict.fromkeys(("hit_tokens", "loaded_tokens", "reused_tokens", "produced_tokens"), np.int32),
    "preemptions": np.uint16,
    "replica": np.int16,
    "status": np.uint8,
}


def simulate(
    workload: Workload,
    fleet: Fleet,
    *,
    session_start_s: Float | None = None,
    concurrency: int = 0,
    use_priorities: bool = False,
    prefix_cache: bool = True,
    seed: int = 0,
) -> Simulation:
    """Run a workload on a fleet.

    Args:
        workload: the calls.
        fleet: what serves them.
        session_start_s: float64, shape (n_sessions,), instead of the recorded starts; NaN waits for a place.
        concurrency: sessions without a start that run at a time.
        use_priorities: serve by the calls' priorities instead of first come, first served.
        prefix_cache: keep blocks of finished prompts; without it every prompt is computed whole.
        seed: of the background's draws.

    Raises:
        UserError: so many replicas over so many prefixes would not fit in memory here.
        InternalError: calls wait for each other in a circle, which `build_workload` cannot make.
    """
    _check_size(workload, fleet)
    background = fleet.background or Background(0.0, np.zeros(0, np.int32), np.zeros(0, np.int32))
    rules = fleet.rules.as_array()
    options = [
        *(fleet.replicas, fleet.decode_replicas, ROUTERS.index(fleet.router), fleet.round_trip_s, fleet.front_workers),
        *(fleet.front_call_s, fleet.front_token_s, fleet.transfer_s, fleet.transfer_token_s, concurrency),
        *(background.rate_per_s, workload.prefixes.block_tokens, fleet.entry_s),
    ]
    starts = workload.session_start_s if session_start_s is None else session_start_s
    answer = _replay.simulate(
        (
            *(workload.input_tokens, workload.output_tokens),
            workload.prefixes.leaf if prefix_cache else np.full(workload.calls, -1, np.int32),
            workload.priority if use_priorities else np.zeros(workload.calls, np.uint8),
            *(workload.release_s, workload.session_first, np.ascontiguousarray(starts, np.float64)),
            *(workload.edges.first, workload.edges.to, workload.edges.gap_s),
            *(workload.prefixes.parent, workload.prefixes.blocks),
            *(np.ascontiguousarray(background.input_tokens), np.ascontiguousarray(background.output_tokens)),
            *(rules, fleet.step_model),
            fleet.decode_rules.as_array() if fleet.decode_rules else rules,
            fleet.step_model if fleet.decode_model is None else fleet.decode_model,
            np.array(options, np.float64),
        ),
        seed,
    )
    if answer["stuck"]:
        raise InternalError(f"{answer['stuck']} calls wait for each other or for a session that never starts")
    totals = np.frombuffer(answer["totals"], np.float64).reshape(-1, len(fields(ReplicaTotals)))
    return Simulation(
        **{name: np.frombuffer(answer[name], kind) for name, kind in _TYPES.items()},
        totals=tuple(ReplicaTotals(*row) for row in totals.tolist()),
        background_calls=answer["background_calls"],
        background_busy_s=answer["background_busy_s"],
        front_busy_s=answer["front_busy_s"],
    )
