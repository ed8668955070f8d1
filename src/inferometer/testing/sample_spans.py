"""OTLP/JSON of a support bot, as another instrumentation writes it: a router, a specialist with tools, outcomes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

SUPPORT_MODEL = "gpt-4o-2024-08-06"
ROUTING_MODEL = "gpt-4o-mini-2024-07-18"


def write_otlp(path: Path, begin: datetime, seed: int = 7, runs: int = 24) -> Path:
    """Write OTLP/JSON of a support bot: a router, a specialist with tools, retries of the same tool, outcomes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = Random(f"{seed}/otlp")
    spans = [span for run in range(runs) for span in _support_run(random, seed, run, begin)]
    resource = {
        "attributes": [_attribute("service.name", "support-bot"), _attribute("deployment.environment.name", "demo")]
    }
    scope = {"scope": {"name": "sample.support_bot", "version": "1"}, "spans": spans}
    path.write_text(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}), encoding="utf-8")
    return path


class _Run:
    """One request to the bot: spans under one root, each beginning where the one before ended."""

    def __init__(self, trace_id: str, begin: datetime) -> None:
        self.trace_id = trace_id
        self.root_id = hex_of(trace_id, "root")[:16]
        self.begin = self.now = begin
        self.children: list[dict[str, Any]] = []

    def add(self, name: str, kind: int, seconds: float, attributes: dict[str, Any], failed: bool = False) -> None:
        start, self.now = self.now, self.now + timedelta(seconds=seconds)
        span_id = hex_of(self.trace_id, str(len(self.children)))[:16]
        self.children.append(
            _span(self.trace_id, span_id, self.root_id, name, kind, start, self.now, attributes, failed)
        )

    def call(self, model: str, context: int, cached: int, output: int) -> None:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "gen_ai.response.id": f"chatcmpl-{hex_of(self.trace_id, 'id', str(len(self.children)))[:16]}",
            "gen_ai.usage.input_tokens": context,
            "gen_ai.usage.output_tokens": output,
            "gen_ai.usage.cache_read.input_tokens": cached,
            "gen_ai.response.finish_reasons": ["stop"],
        }
        self.add(f"chat {model}", 3, 0.4 + output / 90, attributes)

    def find_order(self, order: int, seconds: float, failed: bool) -> None:
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "find_order",
            "gen_ai.tool.call.arguments": json.dumps({"order": order}),
        }
        self.add("execute_tool find_order", 1, seconds, attributes, failed)

    def end(self, conversation: str, failed: bool, resolved: bool) -> list[dict[str, Any]]:
        """Return all spans, the root with its outcome first."""
        agent = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "support",
            "gen_ai.conversation.id": conversation,
            "inferometer.purpose": "serve",
            "inferometer.tag.team": "support",
        }
        root = _span(self.trace_id, self.root_id, None, "invoke_agent support", 1, self.begin, self.now, agent, failed)
        verdict = [
            _attribute("gen_ai.evaluation.name", "resolved"),
            _attribute("gen_ai.evaluation.score.value", float(resolved)),
        ]
        at = _nanoseconds(self.now)
        root["events"] = [{"name": "gen_ai.evaluation.result", "timeUnixNano": at, "attributes": verdict}]
        return [root, *self.children]


def _support_run(random: Random, seed: int, number: int, first: datetime) -> list[dict[str, Any]]:
    run = _Run(hex_of(str(seed), "trace", str(number)), first + timedelta(hours=number * 2.5))
    run.call(ROUTING_MODEL, 900, 0, 12)
    context = 5_200
    loops = number % 8 == 3  # this one asks for the same order over and over
    turns = 9 if loops else random.randint(2, 5)
    for turn in range(turns):
        run.call(SUPPORT_MODEL, context, 0 if turn == 0 else context // 128 * 128 - 1_280, random.randint(30, 220))
        order = 17 if loops else random.randint(1, 400)
        run.find_order(order, random.uniform(0.05, 1.2), failed=loops)
        context += random.randint(250, 1_800)
    run.call(SUPPORT_MODEL, context, context // 128 * 128 - 1_280, random.randint(120, 400))
    return run.end(f"conversation-{number // 2}", loops, not loops and random.random() < 0.85)


def _span(
    trace_id: str,
    span_id: str,
    parent_id: str | None,
    name: str,
    kind: int,
    start: datetime,
    end: datetime,
    attributes: dict[str, Any],
    failed: bool,
) -> dict[str, Any]:
    span = {
        "traceId": trace_id,
        "spanId": span_id,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": _nanoseconds(start),
        "endTimeUnixNano": _nanoseconds(end),
        "attributes": [_attribute(key, value) for key, value in attributes.items()],
        "status": {"code": 2} if failed else {},
    }
    if parent_id is not None:
        span["parentSpanId"] = parent_id
    return span


def _attribute(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": _any_value(value)}


def _any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    return {"stringValue": str(value)}


def _nanoseconds(moment: datetime) -> str:
    return str(int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000)


def hex_of(*parts: str) -> str:
    """Return 32 hex digits that follow from the parts."""
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
