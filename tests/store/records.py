"""Records with every field filled, for tests of the store."""

from __future__ import annotations

from decimal import Decimal

from inferometer.schema.meters import METER_NAMES, Meters
from inferometer.schema.records import (
    Attempt,
    Charge,
    Composition,
    Decisions,
    Dependency,
    DependencyKind,
    Inference,
    InferenceDecision,
    Operation,
    Outcome,
    PrefixChain,
    Purpose,
    RecordBatch,
    Resource,
    Run,
    ServingSample,
    Span,
    SpanKind,
    SpanLink,
    Status,
    ToolCall,
    ToolCallDecision,
    ToolOffered,
    UsageSemantics,
    UsageSource,
)

TRACE = bytes(range(16))
ROOT, CALL, TOOL = b"rootspan", b"callspan", b"toolspan"
RESOURCE = Resource((("service.name", "shop"), ("k8s.pod.name", "shop-1")))


def full_span() -> Span:
    return Span(
        trace_id=TRACE,
        span_id=CALL,
        name="chat gpt-4o",
        kind=SpanKind.INFERENCE,
        parent_id=ROOT,
        run_id="given-by-source",
        start_ns=1_763_681_581_544_000_001,
        end_ns=1_763_681_582_544_000_002,
        status=Status.ERROR,
        error_type="Timeout",
        resource=RESOURCE,
        scope="openai.v2 1.0",
        dialect="gen_ai",
        otel_kind="CLIENT",
        agent_name="shop-agent",
        session_id="session-1",
        user_id="user-hash",
        tags={"team": "shop", "quote": 'a"b'},
        links=[SpanLink(bytes(16), b"linkspan", {"why": "retry"})],
        weight=2.5,
        purpose=Purpose.EVALUATE,
        attributes={"text": "ä", "list": [1, 2.5, None], "deep": {"flag": True}, "bytes": b"\x00\xff"},
        attributes_dropped=3,
        source="file.json",
        normaliser_version=7,
    )


def full_inference() -> Inference:
    return Inference(
        trace_id=TRACE,
        span_id=CALL,
        provider="openai",
        request_model="gpt-4o",
        response_model="gpt-4o-2024-08-06",
        response_id="resp-1",
        operation=Operation.COMPLETION,
        meters=Meters(**{name: 100 + number for number, name in enumerate(METER_NAMES)}),
        raw_usage={"prompt_tokens": 12, "nested": {"cached": 3}},
        usage_source=UsageSource.PROVIDER,
        usage_semantics=UsageSemantics.INCLUSIVE,
        service_tier="flex",
        batch=False,
        stream=True,
        attempts=[Attempt(429, 1, 2), Attempt(200, 3, None)],
        ttft_ns=11,
        inter_token_p50_ns=12,
        inter_token_p95_ns=13,
        finish_reason="stop",
        tools_offered=[ToolOffered("search", 40), ToolOffered("read", None)],
        composition=Composition(system=1, tools=2, history=3, tool_results=None, user=5),
        recorded_cost_usd=Decimal("0.000000001234567890123"),
        queue_ns=21,
        prefill_ns=22,
        decode_ns=23,
        depends_on=[Dependency(TOOL, DependencyKind.TOOL, 5), Dependency(ROOT, DependencyKind.SPAWN, None)],
        prefix=PrefixChain(b"".join(number.to_bytes(8, "little") for number in range(1, 6)), 64, "o200k_base", "key-1"),
        billable=False,
        merged_into=b"otherone",
        reasons=["said by the source"],
    )


def full_tool_call() -> ToolCall:
    return ToolCall(
        trace_id=TRACE,
        span_id=TOOL,
        name="search",
        kind="function",
        call_id="call-1",
        argument_fingerprint="abc",
        result_tokens=77,
        error="KeyError",
        duration_ns=9,
        merged_into=b"othertol",
        reasons=["twin"],
    )


def full_batch() -> RecordBatch:
    return RecordBatch(
        spans=[
            Span(TRACE, ROOT, "agent", SpanKind.AGENT, start_ns=1_763_681_581_000_000_000),
            full_span(),
            Span(TRACE, TOOL, "search", SpanKind.TOOL, parent_id=ROOT, start_ns=1_763_681_583_000_000_000),
        ],
        inferences=[full_inference()],
        tool_calls=[full_tool_call()],
        charges=[
            Charge(TRACE, TOOL, "web_search", Decimal("2"), "call", Decimal("0.01"), "prices.toml"),
            Charge(TRACE, TOOL, "web_search", Decimal("0.5"), "second", None, None),
        ],
        outcomes=[Outcome(TRACE, ROOT, "resolved", 1.0, "pass", "trajectory"), Outcome(TRACE, ROOT, "score", None)],
        serving_samples=[ServingSample(5, "vllm:num_requests_running", 3.0, RESOURCE, {"engine": "0"})],
    )


def full_decisions() -> Decisions:
    return Decisions(
        runs=[
            Run(
                run_id="0123456789abcdef",
                trace_id=TRACE,
                root_span_id=ROOT,
                name="agent",
                agent_name="shop-agent",
                session_id="session-1",
                user_id="user-hash",
                purpose=Purpose.SERVE,
                start_ns=1_763_681_581_000_000_000,
                end_ns=1_763_681_584_000_000_000,
                status=Status.OK,
                is_open=True,
                weight=2.5,
                service="shop",
                tags={"team": "shop"},
                source="file.json",
            )
        ],
        run_ids=dict.fromkeys([(TRACE, ROOT), (TRACE, CALL), (TRACE, TOOL)], "0123456789abcdef"),
        inferences=[InferenceDecision(TRACE, CALL, True, None, ["leaf of its tree"], "inner-agent")],
        tool_calls=[ToolCallDecision(TRACE, TOOL, None, ["only view"], "inner-agent")],
    )
