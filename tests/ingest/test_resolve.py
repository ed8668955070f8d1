"""What is one call, what is billed and which runs there are, on small traces."""

from __future__ import annotations

from collections import Counter

import pytest

from inferometer.ingest.logs import logs_of_json
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.reprocess import raw_of
from inferometer.ingest.resolve import resolve
from inferometer.schema.records import Decisions, DependencyKind
from inferometer.testing.raw_spans import SECOND, START, TRACE, agent, chat, raw, span_id

NOW = START + 3600 * SECOND


def decide(*raws: RawSpan, now_ns: int = NOW) -> Decisions:
    return resolve(normalise(raws), now_ns)


def billed(decisions: Decisions) -> set[int]:
    return {int.from_bytes(call.span_id) for call in decisions.inferences if call.billable}


def test_roll_up_on_an_agent_span_is_no_call() -> None:
    decisions = decide(
        agent(1, gen_ai__usage__input_tokens=300, gen_ai__usage__output_tokens=30, end=9),
        chat(2, 1, given=100, out=10),
        chat(3, 1, given=200, out=20, start=2, end=3),
    )
    assert billed(decisions) == {2, 3}


def test_inference_span_over_several_calls_is_a_check_value() -> None:
    decisions = decide(chat(1, given=300, out=30, end=9), chat(2, 1), chat(3, 1, given=200, out=20, start=2, end=3))
    assert billed(decisions) == {2, 3}
    outer = next(call for call in decisions.inferences if call.span_id == span_id(1))
    assert "roll-up over 2 calls" in outer.reasons[0]


def test_call_seen_by_two_nested_instrumentations_is_one() -> None:
    decisions = decide(
        chat(1, scope="opentelemetry.instrumentation.openai", end=2),
        chat(2, 1, scope="openai.native", start=0.01, end=1.99, model="gpt-4o-2024-08-06"),
    )
    assert len(billed(decisions)) == 1


def test_siblings_of_one_scope_stay_apart_even_with_one_response_id() -> None:
    calls = [chat(number, 1, gen_ai__response__id="same") for number in range(2, 22)]
    assert len(billed(decide(agent(1, end=9), *calls))) == 20


def test_twenty_parallel_calls_instrumented_twice_are_twenty() -> None:
    first = [chat(number, 1, scope="a") for number in range(2, 22)]
    nested = [chat(number + 100, number, scope="b", start=0.001, end=0.999) for number in range(2, 22)]
    beside = [chat(number + 200, 1, scope="c", start=0.002, end=0.998) for number in range(2, 22)]
    assert len(billed(decide(agent(1, end=9), *first, *nested))) == 20
    assert len(billed(decide(agent(1, end=9), *first, *beside))) == 20


def test_calls_of_two_scopes_with_other_tokens_are_two() -> None:
    decisions = decide(agent(1, end=9), chat(2, 1, scope="a"), chat(3, 1, scope="b", given=101))
    assert billed(decisions) == {2, 3}


def test_server_span_enriches_the_client_span_whatever_its_clock() -> None:
    server = raw(
        2,
        "llm_request",
        1,
        scope="vllm.llm_engine",
        otel_kind="server",
        start=-50,
        end=-49,
        gen_ai__usage__prompt_tokens=100,
        gen_ai__usage__completion_tokens=10,
        gen_ai__latency__time_in_queue=0.25,
    )
    decisions = decide(chat(1), server)
    assert billed(decisions) == {1}
    assert billed(decide(server, chat(1))) == {1}


def test_outer_call_stands_where_it_alone_carries_usage() -> None:
    inner = raw(2, "chat", 1, gen_ai__operation__name="chat", gen_ai__request__model="gpt-4o")
    assert billed(decide(chat(1, end=2), inner)) == {1}


def test_embedding_inside_a_call_is_a_call_of_its_own() -> None:
    inner = raw(
        2,
        "embeddings",
        1,
        gen_ai__operation__name="embeddings",
        gen_ai__request__model="text-embedding-3-small",
        gen_ai__usage__input_tokens=7,
    )
    assert billed(decide(chat(1, end=2), inner)) == {1, 2}


def test_run_is_the_subtree_under_the_topmost_agent() -> None:
    decisions = decide(
        raw(1, "POST /ask", otel_kind="server", scope="http", end=20),
        agent(2, 1, end=9),
        agent(3, 2, end=5),
        chat(4, 3),
        agent(5, 1, start=10, end=19),
        chat(6, 5, start=11, end=12),
    )
    assert len(decisions.runs) == 2
    assert {run.root_span_id for run in decisions.runs} == {span_id(2), span_id(5)}
    assert decisions.run_ids[(TRACE, span_id(4))] == decisions.run_ids[(TRACE, span_id(2))]
    assert (TRACE, span_id(1)) not in decisions.run_ids


def test_call_without_agent_is_a_run_of_its_own() -> None:
    assert len(decide(raw(1, "main", scope="app"), chat(2, 1), chat(3, 1)).runs) == 2


def test_run_is_open_until_its_root_ended_and_was_quiet() -> None:
    assert decide(agent(1), chat(2, 1), now_ns=START + 60 * SECOND).runs[0].is_open
    assert not decide(agent(1), chat(2, 1)).runs[0].is_open


def test_cycles_and_orphans_are_read_as_roots() -> None:
    decisions = decide(chat(1, 2), chat(2, 1), chat(3, 3), chat(4, 99))
    assert len(decisions.inferences) == 4
    assert all(key in decisions.run_ids for key in [(TRACE, span_id(number)) for number in (1, 2, 3, 4)])


def test_mcp_views_of_a_tool_call_are_one() -> None:
    tool = raw(1, "execute_tool add", gen_ai__operation__name="execute_tool", gen_ai__tool__name="add", end=3)
    client = raw(2, "tools/call add", 1, mcp__method__name="tools/call", gen_ai__tool__name="add", end=2)
    server = raw(
        3, "tools/call add", 2, mcp__method__name="tools/call", gen_ai__tool__name="add", otel_kind="server",
        scope="mcp-python-sdk",
    )  # fmt: skip
    decisions = decide(tool, client, server)
    assert [call.span_id for call in decisions.tool_calls if call.merged_into is None] == [span_id(1)]


def test_dependencies_follow_from_times() -> None:
    decisions = decide(
        agent(1, end=20),
        chat(2, 1, start=0, end=1),
        chat(3, 1, start=2, end=4),
        chat(4, 1, start=2, end=5),
        chat(5, 1, start=6, end=7),
    )
    edges = {int.from_bytes(call.span_id): call.depends_on for call in decisions.inferences}
    assert edges[2] == []
    assert [edge.span_id for edge in edges[3]] == [span_id(2)]
    assert edges[3][0].kind is DependencyKind.FORK
    assert {edge.span_id for edge in edges[5]} == {span_id(3), span_id(4)}
    assert {edge.kind for edge in edges[5]} == {DependencyKind.JOIN}
    assert {edge.gap_ns for edge in edges[5]} == {SECOND, 2 * SECOND}


def test_log_record_of_a_request_is_folded_into_its_span() -> None:
    span = raw(
        1, "claude_code.llm_request", scope="com.anthropic.claude_code.tracing", model="claude-opus-4-7",
        input_tokens=3, output_tokens=50, cache_read_tokens=1000, request_id="req_1", session__id="s",
    )  # fmt: skip
    attributes = {"event.name": "api_request", "model": "claude-opus-4-7", "input_tokens": "3", "output_tokens": "50",
                  "cache_read_tokens": "1000", "cost_usd": "0.1", "request_id": "req_1", "session.id": "s"}  # fmt: skip
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    record = {"timeUnixNano": str(START + SECOND), "attributes": pairs}
    scope = {"name": "com.anthropic.claude_code.events"}
    logs = logs_of_json({"resourceLogs": [{"scopeLogs": [{"scope": scope, "logRecords": [record]}]}]}, Counter())
    assert len(billed(resolve(logs, NOW))) == 1
    both = normalise([span])
    both.extend(logs)
    decisions = resolve(both, NOW)
    assert billed(decisions) == {1}


@pytest.mark.parametrize("scope", ["inferometer", "openinference.instrumentation.dspy"])
def test_answer_out_of_a_programs_cache_is_not_billed(scope: str) -> None:
    said = {"inferometer.from_cache": True, "openinference.span.kind": "LLM", "llm.token_count.prompt": 7}
    span = chat(2, 1)
    span.scope = scope
    span.attributes |= said
    batch = normalise([agent(1), span, chat(3, 1)])
    (cached,) = [call for call in batch.inferences if call.span_id == span_id(2)]
    assert not cached.meters.is_known
    assert cached.reasons == ["answered out of a cache of the program: no call was made"]
    assert billed(resolve(batch, NOW)) == {3}
    assert normalise([*map(raw_of, batch.spans)]).inferences[0].billable is False
