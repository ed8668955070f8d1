"""Real sessions and traces against numbers that are counted again here, by another route."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from inferometer.ingest.importing import ImportReport
from inferometer.schema.records import DependencyKind, UsageSource
from inferometer.store import Store

Load = Callable[..., ImportReport]


def test_pi_session_has_each_answer_and_its_recorded_cost(shared: Path, store: Store, load: Load) -> None:
    folder = shared / "data/sessions/pi-mono"
    report = load(folder)
    entries = [json.loads(line) for line in (folder / "large-session.jsonl").read_text().split("\n") if line]
    answers = [entry["message"] for entry in entries if entry.get("message", {}).get("role") == "assistant"]
    usages = [answer["usage"] for answer in answers]
    calls = [row.inference for row in store.inferences()]
    assert report.inferences == len(calls) == len(answers) == 453
    assert sum(call.meters.cache_read or 0 for call in calls) == sum(usage["cacheRead"] for usage in usages)
    assert sum(call.meters.cache_write_5m or 0 for call in calls) == sum(usage["cacheWrite"] for usage in usages)
    assert sum(call.meters.input_fresh or 0 for call in calls) == sum(usage["input"] for usage in usages)
    assert sum(call.meters.output or 0 for call in calls) == sum(usage["output"] for usage in usages)
    recorded = sum((call.recorded_cost_usd or Decimal(0) for call in calls), Decimal(0))
    assert recorded == sum((Decimal(str(usage["cost"]["total"])) for usage in usages), Decimal(0))
    assert round(recorded, 6) == Decimal("30.330198")
    assert Counter(call.finish_reason for call in calls) == Counter(answer["stopReason"] for answer in answers)


def test_kv_cache_sessions_equal_their_own_totals(shared: Path, store: Store, load: Load) -> None:
    folder = shared / "data/sessions/kv-cache-tester"
    report = load(folder)
    assert (report.files, report.inferences, report.failed) == (67, 1749, [])
    assert not report.warnings
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in store.inferences():
        sums = found[str(row.placement.session_id)]
        sums[0] += row.inference.meters.input_total or 0
        sums[1] += row.inference.meters.output or 0
    stated = {}
    for path in folder.glob("*.json"):
        document = json.loads(path.read_bytes())
        totals = document["totals"]["combined_tokens"]
        stated[document["id"]] = [totals["input"], totals["output"]]
    assert dict(found) == stated


def test_kv_cache_sessions_begin_a_run_at_each_text_of_the_user(shared: Path, store: Store, load: Load) -> None:
    folder = shared / "data/sessions/kv-cache-tester"
    report = load(folder)
    runs = 0
    for path in folder.glob("*.json"):
        top = [call for call in json.loads(path.read_bytes())["requests"] if call["type"] != "subagent"]
        begins = sum("text" in call["input_types"] for call in top)
        runs += begins + ("text" not in min(top, key=lambda call: call["t"])["input_types"])
    assert report.runs == len(store.runs()) == runs


def test_kv_cache_calls_say_what_they_waited_for(shared: Path, store: Store, load: Load) -> None:
    load(shared / "data/sessions/kv-cache-tester")
    rows = list(store.inferences())
    by_session = defaultdict(list)
    for row in rows:
        by_session[row.placement.session_id].append(row)
    first_calls = sum(not row.inference.depends_on for row in rows)
    assert first_calls == len(by_session)
    kinds = Counter(edge.kind for row in rows for edge in row.inference.depends_on)
    assert kinds[DependencyKind.SPAWN] == 19
    assert kinds[DependencyKind.JOIN] >= 1
    assert kinds[DependencyKind.TOOL] > 1000
    ids = {row.inference.span_id for row in rows}
    assert all(edge.span_id in ids for row in rows for edge in row.inference.depends_on)
    assert all((edge.gap_ns or 0) >= 0 for row in rows for edge in row.inference.depends_on)


def test_kv_cache_prefixes_keep_to_their_session(shared: Path, store: Store, load: Load) -> None:
    folder = shared / "data/sessions/kv-cache-tester"
    load(folder)
    chains = defaultdict(set)
    blocks = 0
    for row in store.inferences(with_prefix=True):
        assert row.inference.prefix is not None
        chains[row.inference.prefix.key_id].add(row.placement.session_id)
        blocks += row.inference.prefix.blocks
    assert all(len(sessions) == 1 for sessions in chains.values())
    assert len(chains) == 67

    def count(requests: list[dict]) -> int:
        return sum(count(call["requests"]) if "requests" in call else len(call["hash_ids"]) for call in requests)

    assert blocks == sum(count(json.loads(path.read_bytes())["requests"]) for path in folder.glob("*.json"))


def test_second_import_adds_nothing(shared: Path, store: Store, load: Load) -> None:
    paths = [
        shared / "data/sessions/kv-cache-tester",
        shared / "data/sessions/pi-mono",
        shared / "data/spans/agent-prism",
    ]
    first = load(*paths)
    before = [(row.inference, row.placement) for row in store.inferences()]
    second, known = load(*paths, again=True), load(*paths)
    assert first.inferences > 2000
    assert (second.spans, second.runs, second.inferences, second.tool_calls) == (0, 0, 0, 0)
    assert replace(known, unchanged=0) == second
    assert known.unchanged == known.files
    assert [(row.inference, row.placement) for row in store.inferences()] == before


def test_copies_of_a_session_are_reported_and_stay(shared: Path, tmp_path: Path, store: Store, load: Load) -> None:
    document = json.loads((shared / "data/sessions/kv-cache-tester/trace_0590.json").read_bytes())
    for name in ("first", "second"):
        (tmp_path / f"{name}.json").write_text(json.dumps(document | {"id": name}))
    report = load(tmp_path / "first.json", tmp_path / "second.json")
    assert report.inferences == 2 * len(document["requests"])
    assert report.warnings == {"session_copies": 1}
    assert report.copies == [("second.json", "first.json")]


def test_claude_code_log_has_one_inference_per_message_id(shared: Path, store: Store, load: Load) -> None:
    folder = shared / "data/sessions/claude-code-log"
    report = load(folder)
    usages: dict[str, dict] = {}
    tools = set()
    for path in folder.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            message = json.loads(line).get("message")
            if isinstance(message, dict) and message.get("role") == "assistant":
                known = usages.setdefault(message["id"], message["usage"])
                if message["usage"]["output_tokens"] > known["output_tokens"]:
                    usages[message["id"]] = message["usage"]
                tools |= {part["id"] for part in message["content"] if part.get("type") == "tool_use"}
    calls = [row.inference for row in store.inferences()]
    assert report.inferences == len(calls) == len(usages) == 878
    assert {call.response_id for call in calls} == set(usages)
    sums = Counter[str]()
    for call in calls:
        sums.update(call.meters.as_dict())
    expected = Counter[str]()
    for usage in usages.values():
        split = usage.get("cache_creation") or {"ephemeral_5m_input_tokens": usage["cache_creation_input_tokens"]}
        expected["input_fresh"] += usage["input_tokens"]
        expected["output"] += usage["output_tokens"]
        expected["cache_read"] += usage["cache_read_input_tokens"]
        expected["cache_write_5m"] += split["ephemeral_5m_input_tokens"]
        expected["cache_write_1h"] += split.get("ephemeral_1h_input_tokens", 0)
    assert +sums == +expected
    assert report.tool_calls == len(tools)


def test_claude_code_sub_agents_belong_to_the_run_that_spawned_them(shared: Path, store: Store, load: Load) -> None:
    load(shared / "data/sessions/claude-code-log/project-6")
    rows = list(store.inferences())
    runs_of_agents = {row.placement.run_id for row in rows if row.placement.agent_name == "general-purpose"}
    runs_of_main = {row.placement.run_id for row in rows if row.placement.agent_name == "claude-code"}
    assert runs_of_agents
    assert runs_of_agents <= runs_of_main


def test_three_calls_seen_by_two_instrumentors_are_three(shared: Path, store: Store, load: Load) -> None:
    report = load(shared / "data/spans/agent-prism/quo_tav_agent.json")
    calls = [row.inference for row in store.inferences()]
    assert report.inferences == len(calls) == 3
    assert report.duplicates == 3
    assert {call.usage_source for call in calls} == {UsageSource.ABSENT}
    assert all(call.meters.total is None for call in calls)
    assert report.runs == 1


def test_deep_research_has_cached_input_and_reasoning(shared: Path, store: Store, load: Load) -> None:
    load(shared / "data/spans/agent-prism/smol_deep_research_agent.json")
    meters = [row.inference.meters for row in store.inferences()]
    assert len(meters) == 6
    assert sum(each.input_total or 0 for each in meters) == 17_952
    assert sum(each.cache_read or 0 for each in meters) == 5_504
    assert sum(each.output or 0 for each in meters) == 7_122
    assert sum(each.reasoning or 0 for each in meters) == 4_352
