"""What a provider bills beside tokens goes from the body of an answer into the store, once a call."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import inferometer
from inferometer.analyzer.accounting import account
from inferometer.exporters.direct import StoreSpanExporter
from inferometer.exporters.setup import flush, shutdown
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.integrations.anthropic import answer_of
from inferometer.integrations.bedrock import _begin, _invoke_answer, _observe
from inferometer.integrations.google_genai import _Accumulator
from inferometer.integrations.sending import whole
from inferometer.profiles.prices import load_prices
from inferometer.schema.records import Charge
from inferometer.schema.selection import Selection
from inferometer.store import open_store
from inferometer.testing import record
from inferometer.tracer.description import describe_answer

SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
BODY: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_747_767_012,
    "model": "gpt-4o-2024-08-06",
    "status": "completed",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [{"type": "web_search_preview"}],
    "output": [
        SEARCH,
        {**SEARCH, "id": "ws_2"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Sunny.", "annotations": []}],
        },
    ],
    "usage": {
        "input_tokens": 328,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 337,
    },
}
STREAM = "".join(
    f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
    for event in (
        {"type": "response.created", "sequence_number": 0, "response": {**BODY, "output": [], "usage": None}},
        {"type": "response.completed", "sequence_number": 1, "response": BODY},
    )
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_searches_of_a_response_are_charges_in_the_store(tmp_path: Path, stream: bool) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if stream:
            return httpx2.Response(200, text=STREAM, headers={"content-type": "text/event-stream"})
        return httpx2.Response(200, json=BODY)

    url = str(tmp_path / "store.db")
    inferometer.configure(exporter=StoreSpanExporter(url))
    inferometer.instrument("openai")
    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    try:
        with openai.OpenAI(api_key="x", http_client=transport) as client, inferometer.agent("clerk"):
            answered = client.responses.create(model="gpt-4o", input="weather?", stream=stream)
            if stream:
                list(answered)
        flush()
    finally:
        inferometer.uninstrument()
        shutdown()
    with open_store(url) as store:
        (row,) = store.inferences(Selection())
        call = row.inference
        expected = Charge(call.trace_id, call.span_id, "web_search", Decimal(2), "call", source="usage")
        assert list(store.charges(Selection())) == [expected]
        total = account(store, Selection(), "model", load_prices()).total
    assert total.charges == 1
    assert call.meters.input_total == 328


def _charges(attributes: dict[str, Any]) -> list[tuple[str, Decimal, str]]:
    attributes = {"gen_ai.operation.name": "chat", **attributes}
    raw = RawSpan(b"\1" * 16, b"\2" * 8, "chat", start_ns=1, end_ns=2, attributes=attributes, scope="inferometer")
    return [(charge.sku, charge.quantity, charge.unit) for charge in normalise([raw]).charges]


def test_searches_of_anthropic_and_gemini_are_charges() -> None:
    usage = {"input_tokens": 9, "output_tokens": 3, "server_tool_use": {"web_search_requests": 3}}
    gemini = _Accumulator()
    gemini.add({"candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}, "content": {}}]})
    gemini.add({"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 6}})
    found = []
    for answer in (answer_of({}, usage, "end_turn", None), gemini.answer()):
        attributes: dict[str, Any] = {}
        describe_answer(attributes, answer)
        found += _charges(attributes)
    assert found == [("web_search", Decimal(3), "request"), ("google_search", Decimal(2), "request")]


GUARDED: dict[str, Any] = {
    "usage": {"inputTokens": 9, "outputTokens": 3, "totalTokens": 12},
    "serviceTier": {"type": "priority"},
    "trace": {
        "guardrail": {
            "inputAssessment": {
                "gr-1": {"invocationMetrics": {"usage": {"topicPolicyUnits": 2, "wordPolicyUnits": 2}}},
            },
            "outputAssessments": {
                "gr-1": [
                    {"invocationMetrics": {"usage": {"topicPolicyUnits": 1, "contentPolicyImageUnits": 1}}},
                    {"invocationMetrics": {"usage": {"sensitiveInformationPolicyFreeUnits": 4}}},
                ],
            },
        }
    },
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_a_guardrail_of_converse_reads_is_charged_and_the_tier_kept(stream: bool) -> None:
    class Client:
        class meta:  # noqa: N801 - botocore's name
            endpoint_url = "https://bedrock-runtime.us-east-1.amazonaws.com"

            class service_model:  # noqa: N801 - botocore's name
                service_name = "bedrock-runtime"

    def call(self: Any, operation: str, params: Any) -> dict[str, Any]:
        if operation == "ConverseStream":
            return {"stream": [{"messageStop": {"stopReason": "end_turn"}}, {"metadata": GUARDED}]}
        return {**GUARDED, "output": {"message": {"content": [{"text": "x"}]}}, "stopReason": "end_turn"}

    with record() as recorded:
        operation = "ConverseStream" if stream else "Converse"
        answered = whole(_begin, _observe)(call)(
            Client(), operation, {"modelId": "amazon.nova-lite-v1:0", "messages": []}
        )
        list(answered.get("stream", ()))
        (span,) = recorded.spans
    said = dict(span.attributes or {})
    assert said["inferometer.service_tier"] == "priority"
    assert _charges(said) == [
        ("guardrail_topic_policy", Decimal(3), "text_unit"),
        ("guardrail_content_policy_image", Decimal(1), "image"),
    ]


def test_searches_of_a_claude_behind_invoke_model_are_charges() -> None:
    usage = {"input_tokens": 9, "output_tokens": 3, "server_tool_use": {"web_search_requests": 2}}
    body = {"type": "message", "role": "assistant", "content": [], "usage": usage}
    attributes: dict[str, Any] = {}
    describe_answer(attributes, _invoke_answer(body, {}))
    assert _charges(attributes) == [("web_search", Decimal(2), "request")]


@pytest.mark.parametrize("quantities", [[-1], ["many"], [0], "2", [], 5, [None]])
def test_a_charge_without_a_quantity_is_none(quantities: Any) -> None:
    said = {"inferometer.charge.skus": ["web_search"], "inferometer.charge.units": ["call"]}
    assert _charges({**said, "inferometer.charge.quantities": quantities}) == []
