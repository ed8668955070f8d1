"""A scenario: on what hardware, engine and model a workload is replayed, how it arrives, and how it is paid for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from inferometer.schema.errors import InfeasibleError, UnknownNameError

ARRIVALS = ("auto", "recorded", "concurrency", "poisson", "times")
MOST_REPLICAS = 32_767
DRAFTINGS = ("mtp", "eagle", "draft")
PRICE_BASES = ("on_demand", "reserved", "spot", "owned", "rental_3_years")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When sessions start.

    ``auto`` is as recorded, and ``concurrency`` at a time for those without absolute times. ``poisson`` draws starts at
    ``rate_per_s``, ``times`` gives them in seconds. ``scale`` starts them so many times faster, ``idle_cap_s`` cuts
    longer human gaps, and ``open_loop`` starts every call at its recorded time: all three are for latency studies, and
    no cost is told from them.
    """

    kind: str = "auto"
    concurrency: int = 8
    rate_per_s: float | None = None
    times_s: tuple[float, ...] = ()
    scale: float = 1.0
    idle_cap_s: float | None = None
    open_loop: bool = False

    @property
    def compresses_time(self) -> bool:
        """Whether the simulated clock is not one on which hardware could be billed."""
        return self.scale != 1.0 or self.idle_cap_s is not None or self.open_loop


@dataclass(frozen=True, slots=True)
class Objective:
    """What a call must meet to count as good: time to first token, and time per output token after it."""

    ttft_s: float = 2.0
    tpot_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Payment:
    """How hardware is paid for.

    ``basis`` names the prices. ``rental_unit_h`` is the least time one can rent; ``utilisation`` is what a shared fleet
    is assumed to reach. Energy is billed in the hourly price; ``grid_gco2e_per_kwh`` and ``pue`` make it carbon.
    """

    basis: str = "on_demand"
    usd_per_chip_hour: Decimal | None = None
    rental_unit_h: float = 1.0
    utilisation: float = 0.3
    grid_gco2e_per_kwh: float = 369.0
    pue: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One deployment and the way it is used; the defaults are one replica, alone on its machine.

    Args:
        hardware: profile id or alias.
        engine: profile id or alias, with a version after ``==`` if wanted.
        model: profile id or alias.
        precision: of the weights; the model's own where None.
        kv_precision: of the KV cache; the engine's choice where None.
        tp: tensor-parallel ranks of a replica; where neither these nor stages are given, one, and of a machine that is
            only had whole, those of one such machine.
        pp: pipeline stages; None: as above.
        ep: expert-parallel ranks.
        dp: data-parallel attention groups.
        replicas: whole replicas behind the router; with `disaggregate` they are ignored.
        disaggregate: (prefill replicas, decode replicas), keys and values sent between them.
        router: ``prefix``, ``least_loaded`` or ``round_robin``.
        speculative_tokens: drafted per sequence and step; 0: none.
        speculative_kind: ``mtp``, ``eagle`` or ``draft``.
        draft_model: profile of the small model that drafts, for ``draft``.
        acceptance_length: tokens a step yields per sequence; None: as published for the model's own head,
            else the median of other models.
        max_sequences: of a batch; the engine's where None.
        max_step_tokens: of a step; the engine's where None.
        chunk_tokens: of one prompt in a step; no limit where None.
        kv_tokens: that a replica's memory holds, as its engine logged it; worked out where None.
        prefix_cache: keep blocks of finished prompts.
        offload_gib: host memory per replica that keeps evicted blocks; 0: none.
        offload_gb_per_s: at which a replica reads them back.
        link_gb_per_s: between prefill and decode replicas, per chip.
        link_latency_s: of one such transfer.
        round_trip_s: of the network between client and gateway.
        gateway_workers: that check and tokenise prompts; 0: no limit.
        gateway_call_s: of a worker's time per call.
        gateway_token_s: and per prompt token.
        use_priorities: serve, develop, evaluate and train runs in this order.
        background_rate_per_s: calls of other tenants; 0: alone on the machine.
        background_profile: whose lengths they have: ``own``, ``azure_conv``, ``azure_code``, ``mooncake``, or the path
            of a request trace (BurstGPT, Azure, Mooncake, or any other that is imported).
        input_scale: on recorded input tokens; None: by the measured ratio of the vocabularies, 1 where it is unknown.
        output_scale: on recorded output tokens.
        arrivals: when sessions start.
        objective: what counts as good.
        payment: how hardware is paid for.
        seed: of all draws.
    """

    hardware: str
    engine: str
    model: str
    precision: str | None = None
    kv_precision: str | None = None
    tp: int | None = None
    pp: int | None = None
    ep: int = 1
    dp: int = 1
    replicas: int = 1
    disaggregate: tuple[int, int] | None = None
    router: str = "prefix"
    speculative_tokens: int = 0
    speculative_kind: str = "mtp"
    draft_model: str | None = None
    acceptance_length: float | None = None
    max_sequences: int | None = None
    max_step_tokens: int | None = None
    chunk_tokens: int | None = None
    kv_tokens: int | None = None
    prefix_cache: bool = True
    offload_gib: float = 0.0
    offload_gb_per_s: float = 25.0
    link_gb_per_s: float = 50.0
    link_latency_s: float = 0.002
    round_trip_s: float = 0.0
    gateway_workers: int = 0
    gateway_call_s: float = 0.0005
    gateway_token_s: float = 0.0000005
    use_priorities: bool = False
    background_rate_per_s: float = 0.0
    background_profile: str = "own"
    input_scale: float | None = None
    output_scale: float = 1.0
    arrivals: Arrivals = field(default_factory=Arrivals)
    objective: Objective = field(default_factory=Objective)
    payment: Payment = field(default_factory=Payment)
    seed: int = 0

    def check(self) -> None:
        """Refuse what no deployment could be.

        Raises:
            InfeasibleError: a count or rate out of range; says which.
            UnknownNameError: a router, arrival kind, price basis or kind of drafting that is none.
        """
        from inferometer.analyzer.replay_engine import ROUTERS

        for kind, name, known in (
            ("router", self.router, ROUTERS),
            ("arrival kind", self.arrivals.kind, ARRIVALS),
            ("price basis", self.payment.basis, PRICE_BASES),
            ("kind of drafting", self.speculative_kind, DRAFTINGS),
        ):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        for name, value in self._counts().items():
            if value is not None and value < 1:
                raise InfeasibleError(f"{name} is {value}; it starts at 1")
        for name, number in self._factors().items():
            if number is not None and not 0 < number < math.inf:
                raise InfeasibleError(f"{name} is {number}; it must be above 0")
        for name, number in self._amounts().items():
            if number is not None and not 0 <= number < math.inf:
                raise InfeasibleError(f"{name} is {number}; it is a number of 0 or more")
        if max(self.replicas, sum(self.disaggregate or ())) > MOST_REPLICAS:
            raise InfeasibleError(f"a fleet of more than {MOST_REPLICAS:,} replicas cannot be simulated")
        if self.speculative_tokens and (self.speculative_kind == "draft") != (self.draft_model is not None):
            raise InfeasibleError(
                "drafting by a small model needs its profile (draft_model), the other kinds have none"
            )
        if not self.speculative_tokens and (self.draft_model is not None or self.acceptance_length is not None):
            raise InfeasibleError("a draft model or an acceptance length is given, but no drafted tokens")
        if self.payment.pue is not None and self.payment.pue < 1:
            raise InfeasibleError(f"PUE is {self.payment.pue}; it starts at 1, where all power reaches the machines")
        if self.payment.utilisation > 1:
            raise InfeasibleError(f"utilisation is {self.payment.utilisation}; it is a share of 1")

    def _counts(self) -> dict[str, int | None]:
        prefill, decode = self.disaggregate or (None, None)
        return {
            "replicas": self.replicas,
            "prefill replicas": prefill,
            "decode replicas": decode,
            "concurrency": self.arrivals.concurrency,
            "max sequences": self.max_sequences,
            "step tokens": self.max_step_tokens,
            "chunk tokens": self.chunk_tokens,
            "KV tokens": self.kv_tokens,
        }

    def _factors(self) -> dict[str, float | None]:
        return {
            "arrival scale": self.arrivals.scale,
            "input scale": self.input_scale,
            "output scale": self.output_scale,
            "utilisation": self.payment.utilisation,
            "rental unit": self.payment.rental_unit_h,
            "offload bandwidth": self.offload_gb_per_s,
            "link bandwidth": self.link_gb_per_s,
        }

    def _amounts(self) -> dict[str, float | None]:
        return {
            "round trip": self.round_trip_s,
            "gateway workers": self.gateway_workers,
            "gateway time": min(self.gateway_call_s, self.gateway_token_s),
            "offload memory": self.offload_gib,
            "link latency": self.link_latency_s,
            "background rate": self.background_rate_per_s,
            "drafted tokens": self.speculative_tokens,
            "idle cap": self.arrivals.idle_cap_s,
            "grid factor": self.payment.grid_gco2e_per_kwh,
            "PUE": self.payment.pue,
            "acceptance length": self.acceptance_length,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return all parameters as plain values."""
        values = asdict(self)
        values["arrivals"].pop("times_s")
        return values
