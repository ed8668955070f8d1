"""The canonical records: what every trace, transcript and hook becomes.

Times are integer nanoseconds since 1970 (UTC), durations integer nanoseconds, money ``Decimal`` US dollars, tokens
integers. None is *unknown*; nothing here uses 0 for it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from inferometer.schema.meters import Meters

NORMALISER_VERSION = 1
"""Raised by any change that makes old records read differently; ``store reprocess`` looks for lower ones."""


class SpanKind(StrEnum):
    """What a span stands for."""

    AGENT = "agent"
    STEP = "step"
    INFERENCE = "inference"
    TOOL = "tool"
    RETRIEVAL = "retrieval"
    WORKFLOW = "workflow"
    OTHER = "other"


class Status(StrEnum):
    """How a span ended; UNSET is OpenTelemetry's default, not a failure."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


class Operation(StrEnum):
    """What kind of model call an inference is."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    OTHER = "other"


class UsageSource(StrEnum):
    """Where an inference's meters come from, best first."""

    PROVIDER = "provider"
    COUNTED = "counted"
    ESTIMATED = "estimated"
    ABSENT = "absent"
    REFUSED = "refused"
    """The provider refused the call: there is nothing to meter."""


class UsageSemantics(StrEnum):
    """Whether the emitter's input count held cached tokens (inclusive) or left them out (exclusive)."""

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"
    UNKNOWN = "unknown"


class Purpose(StrEnum):
    """What a run was for."""

    SERVE = "serve"
    DEVELOP = "develop"
    EVALUATE = "evaluate"
    TRAIN = "train"


class DependencyKind(StrEnum):
    """Why one call waited for another."""

    SEQUENTIAL = "sequential"
    TOOL = "tool"
    FORK = "fork"
    SPAWN = "spawn"
    JOIN = "join"
    HUMAN = "human"


@dataclass(slots=True, frozen=True)
class Resource:
    """Who emitted a span: ``service.*``, ``deployment.environment.name``, ``k8s.*``, ``cloud.*`` attributes."""

    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def resource_id(self) -> bytes:
        """Sixteen bytes that equal resources share."""
        return _resource_id(self.attributes)


@lru_cache(maxsize=4096)
def _resource_id(attributes: tuple[tuple[str, str], ...]) -> bytes:
    return blake2b(json.dumps(attributes).encode(), digest_size=16, person=b"inferometer.res").digest()


@dataclass(slots=True)
class SpanLink:
    """A span that this one points at without being its child."""

    trace_id: bytes
    span_id: bytes
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Span:
    """One span of a trace, whatever wrote it; the key is (trace_id, span_id)."""

    trace_id: bytes
    span_id: bytes
    name: str
    kind: SpanKind = SpanKind.OTHER
    parent_id: bytes | None = None
    run_id: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    status: Status = Status.UNSET
    error_type: str | None = None
    resource: Resource | None = None
    scope: str | None = None
    dialect: str | None = None
    otel_kind: str | None = None
    agent_name: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    links: list[SpanLink] = field(default_factory=list)
    weight: float | None = None
    purpose: Purpose | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    attributes_dropped: int = 0
    source: str | None = None
    normaliser_version: int = NORMALISER_VERSION


@dataclass(slots=True)
class Attempt:
    """One HTTP attempt behind an inference."""

    status: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None


@dataclass(slots=True)
class ToolOffered:
    """A tool schema sent along with a request and what it weighs."""

    name: str
    tokens: int | None = None


@dataclass(slots=True)
class Composition:
    """What an inference's input is made of, in tokens."""

    system: int | None = None
    tools: int | None = None
    history: int | None = None
    tool_results: int | None = None
    user: int | None = None


@dataclass(slots=True)
class Dependency:
    """A call that had to end before this one began; ``gap_ns`` is what passed between them."""

    span_id: bytes
    kind: DependencyKind = DependencyKind.SEQUENTIAL
    gap_ns: int | None = None


@dataclass(slots=True)
class PrefixChain:
    """Prefix block hashes of one request's input: 8 bytes a block, little endian, each covering all before it.

    Chains are comparable only where ``key_id``, ``vocabulary`` and ``block_tokens`` are the same.
    """

    hashes: bytes
    block_tokens: int
    vocabulary: str
    key_id: str

    @property
    def blocks(self) -> int:
        """Number of blocks in the chain."""
        return len(self.hashes) // 8


@dataclass(slots=True)
class Inference:
    """One model call; the key is the (trace_id, span_id) of its span."""

    trace_id: bytes
    span_id: bytes
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    operation: Operation = Operation.CHAT
    meters: Meters = field(default_factory=Meters)
    raw_usage: dict[str, Any] | None = None
    usage_source: UsageSource = UsageSource.ABSENT
    usage_semantics: UsageSemantics = UsageSemantics.UNKNOWN
    service_tier: str | None = None
    batch: bool | None = None
    stream: bool | None = None
    attempts: list[Attempt] = field(default_factory=list)
    ttft_ns: int | None = None
    inter_token_p50_ns: int | None = None
    inter_token_p95_ns: int | None = None
    finish_reason: str | None = None
    tools_offered: list[ToolOffered] = field(default_factory=list)
    composition: Composition | None = None
    recorded_cost_usd: Decimal | None = None
    queue_ns: int | None = None
    prefill_ns: int | None = None
    decode_ns: int | None = None
    depends_on: list[Dependency] = field(default_factory=list)
    prefix: PrefixChain | None = None
    billable: bool = True
    merged_into: bytes | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def model(self) -> str | None:
        """The model that answered, else the one asked for."""
        return self.response_model or self.request_model


@dataclass(slots=True)
class ToolCall:
    """One tool call; the key is the (trace_id, span_id) of its span."""

    trace_id: bytes
    span_id: bytes
    name: str
    kind: str | None = None
    call_id: str | None = None
    argument_fingerprint: str | None = None
    result_tokens: int | None = None
    error: str | None = None
    duration_ns: int | None = None
    merged_into: bytes | None = None
    reasons: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Charge:
    """A cost that is not tokens, on the tool call, inference or run whose span is named."""

    trace_id: bytes
    span_id: bytes
    sku: str
    quantity: Decimal
    unit: str
    unit_price_usd: Decimal | None = None
    source: str | None = None


@dataclass(slots=True)
class Outcome:
    """How a run ended, and who says so; span_id is any span of the run."""

    trace_id: bytes
    span_id: bytes
    name: str
    value: float | None = None
    label: str | None = None
    source: str | None = None


@dataclass(slots=True)
class ServingSample:
    """One reading of a serving engine's or device's metric, so that utilisation is measured, never simulated."""

    time_ns: int
    metric: str
    value: float
    resource: Resource | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """One request handled by an agent: the subtree under its root span. Decided from spans, never imported."""

    run_id: str
    trace_id: bytes
    root_span_id: bytes
    name: str
    agent_name: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    purpose: Purpose | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    status: Status = Status.UNSET
    is_open: bool = False
    weight: float | None = None
    service: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    source: str | None = None


@dataclass(slots=True)
class RecordBatch:
    """Records on their way from ingest or tracer to the store, with what had to be said about them."""

    spans: list[Span] = field(default_factory=list)
    inferences: list[Inference] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    serving_samples: list[ServingSample] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    """Records that the source itself repeated and that were merged away before they came here."""

    def __bool__(self) -> bool:
        return bool(self.spans or self.outcomes or self.serving_samples or self.charges)

    def extend(self, other: RecordBatch) -> None:
        """Add all that another batch holds."""
        self.spans += other.spans
        self.inferences += other.inferences
        self.tool_calls += other.tool_calls
        self.charges += other.charges
        self.outcomes += other.outcomes
        self.serving_samples += other.serving_samples
        self.warnings.update(other.warnings)
        self.duplicates += other.duplicates


@dataclass(slots=True)
class Decisions:
    """What was decided about the spans of whole traces: runs, and which inference counts. The store applies it."""

    runs: list[Run] = field(default_factory=list)
    run_ids: dict[tuple[bytes, bytes], str] = field(default_factory=dict)
    inferences: list[InferenceDecision] = field(default_factory=list)
    tool_calls: list[ToolCallDecision] = field(default_factory=list)


@dataclass(slots=True)
class InferenceDecision:
    """Whether an inference is billed, into which it was merged, and why.

    ``agent_name`` is the nearest enclosing agent's; ``depends_on`` holds edges that were inferred from times.
    """

    trace_id: bytes
    span_id: bytes
    billable: bool
    merged_into: bytes | None
    reasons: list[str]
    agent_name: str | None = None
    depends_on: list[Dependency] = field(default_factory=list)


@dataclass(slots=True)
class ToolCallDecision:
    """Into which tool call another view of the same call was merged, and why."""

    trace_id: bytes
    span_id: bytes
    merged_into: bytes | None
    reasons: list[str]
    agent_name: str | None = None
