from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, Span, SpanKind, SpanLink, Status, ToolCall, UsageSource
from inferometer.store.merge import merge_inferences, merge_spans, merge_tool_calls

IDS = (bytes(16), bytes(8))
times = st.none() | st.integers(0, 5)
texts = st.none() | st.sampled_from(["a", "b"])
small = st.none() | st.integers(0, 3)

spans = st.builds(
    Span,
    st.just(IDS[0]),
    st.just(IDS[1]),
    st.sampled_from(["x", "y"]),
    st.sampled_from([SpanKind.OTHER, SpanKind.INFERENCE]),
    start_ns=times,
    end_ns=times,
    status=st.sampled_from(list(Status)),
    session_id=texts,
    agent_name=texts,
    attributes=st.dictionaries(st.sampled_from("pq"), st.integers(0, 2)),
    tags=st.dictionaries(st.sampled_from("pq"), st.sampled_from("12")),
    links=st.lists(st.just(SpanLink(bytes(16), bytes(8))), max_size=1),
)
inferences = st.builds(
    Inference,
    st.just(IDS[0]),
    st.just(IDS[1]),
    provider=texts,
    response_id=texts,
    meters=st.builds(Meters, input_fresh=small, cache_read=small, output=small),
    usage_source=st.sampled_from(list(UsageSource)),
    billable=st.booleans(),
    reasons=st.lists(st.sampled_from(["r", "s"]), unique=True),
)
tools = st.builds(
    ToolCall, st.just(IDS[0]), st.just(IDS[1]), st.sampled_from(["t", "u"]), error=texts, result_tokens=small
)


@given(spans, spans)
def test_spans_merge_alike_in_either_order_and_lose_nothing(one: Span, other: Span) -> None:
    merged = merge_spans(one, other)
    assert merged == merge_spans(other, one)
    assert merge_spans(merged, merged) == merged
    for name in ("start_ns", "end_ns", "session_id", "agent_name"):
        if getattr(one, name) is not None or getattr(other, name) is not None:
            assert getattr(merged, name) is not None
    assert set(merged.attributes) == set(one.attributes) | set(other.attributes)
    assert set(merged.tags) == set(one.tags) | set(other.tags)


@given(inferences, inferences)
def test_inferences_merge_alike_in_either_order_and_never_mix_meters(one: Inference, other: Inference) -> None:
    merged = merge_inferences(one, other)
    assert replace(merged, reasons=sorted(merged.reasons)) == replace(
        merge_inferences(other, one), reasons=sorted(merged.reasons)
    )
    assert merged.meters in (one.meters, other.meters)
    assert merge_inferences(merged, merged) == merged
    assert set(merged.reasons) == set(one.reasons) | set(other.reasons)


@given(tools, tools)
def test_tool_calls_merge_alike_in_either_order(one: ToolCall, other: ToolCall) -> None:
    assert merge_tool_calls(one, other) == merge_tool_calls(other, one)


def test_the_better_source_wins_over_the_larger_count() -> None:
    counted = Inference(*IDS, meters=Meters(input_fresh=900, output=9), usage_source=UsageSource.COUNTED)
    provider = Inference(*IDS, meters=Meters(input_fresh=5, output=1), usage_source=UsageSource.PROVIDER)
    assert merge_inferences(counted, provider).meters == provider.meters
    assert merge_inferences(counted, provider).usage_source is UsageSource.PROVIDER
