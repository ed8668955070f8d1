"""Every folder of real data against what its files say, counted again here without the code under test."""

from __future__ import annotations

import csv
import gzip
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.importing import ImportReport
from inferometer.schema.records import Run, UsageSource
from inferometer.store import Store

Load = Callable[..., ImportReport]


def totals(store: Store) -> tuple[int, int, int]:
    """Billed calls, and all tokens of input and of output."""
    meters = [row.inference.meters for row in store.inferences()]
    return len(meters), sum(each.input_total or 0 for each in meters), sum(each.output or 0 for each in meters)


def documents(folder: Path, pattern: str = "*.json") -> Iterator[Any]:
    for path in sorted(folder.glob(pattern)):
        yield json.loads(path.read_bytes())


def leaves(ids: set[Any], parent: dict[Any, Any]) -> set[Any]:
    """Those of some spans that have none of the others below them."""
    above = set()
    for each in ids:
        at = parent.get(each)
        while at is not None:
            above.add(at)
            at = parent.get(at)
    return ids - above


@pytest.mark.parametrize("folder", ["lmcache-miniswe", "lmcache-magagent", "lmcache-taubench"])
def test_text_traces_have_a_call_a_line_and_a_run_a_session(
    shared: Path, store: Store, load: Load, folder: str
) -> None:
    lines = [
        json.loads(line)
        for path in (shared / "data/sessions" / folder).glob("*.jsonl")
        for line in path.read_bytes().splitlines()
    ]
    report = load(shared / "data/sessions" / folder)
    assert report.inferences == len(lines)
    assert report.runs == len({line["session_id"] for line in lines})
    assert {row.inference.usage_source for row in store.inferences()} == {UsageSource.ESTIMATED}


def test_text_is_counted_with_the_framing_of_chat(shared: Path, store: Store, load: Load) -> None:
    from inferometer.tokens import encoding as ours

    folder = shared / "data/sessions/lmcache-taubench"
    load(folder)
    lines = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    count = ours("o200k_base").count
    # one message of framing and the beginning of the reply, as the chat format has them
    given = sum(count(line["input"]) + (6 if line["input"] else 0) for line in lines)
    assert totals(store) == (len(lines), given, sum(count(line["output"]) for line in lines))


def test_trajectories_sum_up_to_what_their_runs_used(shared: Path, store: Store, load: Load) -> None:
    folder = shared / "data/sessions/swe-agent"
    load(folder)
    calls = given = out = 0
    for document in documents(folder, "*.traj"):
        answers = sum(entry["role"] == "assistant" and not entry.get("is_demo") for entry in document["history"])
        calls += max(answers, len(document.get("trajectory", ())))
        stats = (document.get("info") or {}).get("model_stats", {})
        given, out = given + stats.get("tokens_sent", 0), out + stats.get("tokens_received", 0)
    rows = [row for row in store.inferences() if row.placement.source != "function_calling_simple.traj"]
    assert totals(store)[0] == calls
    assert sum(row.inference.meters.input_total or 0 for row in rows) == given
    assert sum(row.inference.meters.output or 0 for row in rows) == out


def test_replayed_runs_have_calls_and_no_tokens(shared: Path, store: Store, load: Load) -> None:
    load(shared / "data/sessions/swe-agent/replayed-marshmallow.traj")
    rows = list(store.inferences())
    assert len(rows) == 11
    assert all(row.inference.usage_source is UsageSource.ABSENT for row in rows)


def test_openhands_calls_have_the_usage_told(shared: Path, store: Store, load: Load) -> None:
    folder = shared / "data/sessions/openhands"
    load(folder)
    calls = given = out = 0
    for path in folder.glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            metrics = json.loads(line)["metrics"] or {}
            usages = metrics.get("token_usages", [])
            calls += len(usages) or len(metrics.get("costs", []))
            given += sum(usage["prompt_tokens"] for usage in usages)
            out += sum(usage["completion_tokens"] for usage in usages)
    known = [row for row in store.inferences() if row.inference.meters.is_known or row.inference.recorded_cost_usd]
    assert (len(known), *totals(store)[1:]) == (calls, given, out)


def test_tapeagents_calls_equal_the_table(shared: Path, store: Store, load: Load) -> None:
    path = shared / "data/sessions/tapeagents/gaia.sqlite.gz"
    load(path)
    connection = sqlite3.connect(":memory:")
    connection.deserialize(gzip.decompress(path.read_bytes()))
    query = "SELECT count(*), sum(prompt_length_tokens), sum(output_length_tokens) FROM LLMCalls"
    assert totals(store) == connection.execute(query).fetchone()
    connection.close()


def test_tau_bench_has_84_successes_in_200_runs(shared: Path, store: Store, load: Load) -> None:
    path = shared / "data/sessions/tau-bench/gpt-4o-airline.json.gz"
    report = load(path)
    runs = json.loads(gzip.decompress(path.read_bytes()))
    answers = sum(message["role"] == "assistant" for run in runs for message in run["traj"])
    assert (report.runs, report.inferences) == (200, answers)
    assert sum(outcome.value == 1 for outcome in store.outcomes()) == sum(run["reward"] == 1 for run in runs) == 84
    assert {row.inference.model for row in store.inferences()} == {"gpt-4o"}


def test_langfuse_traces_bill_their_leaves(shared: Path, store: Store, load: Load) -> None:
    folders = [shared / "data/spans/langfuse", shared / "data/spans/agent-prism"]
    files = [path for folder in folders for path in folder.glob("*.json")]
    paths = [path for path in files if "observations" in json.loads(path.read_bytes())]
    load(*paths)
    calls: dict[tuple[str, str], int] = {}
    for path in paths:
        observations = json.loads(path.read_bytes())["observations"]
        parent = {each["id"]: each["parentObservationId"] for each in observations}
        used = {each["id"]: each["usageDetails"] for each in observations if (each["usageDetails"] or {}).get("total")}
        for each in leaves(set(used), parent):
            calls[observations[0]["traceId"], each] = used[each]["total"]
    found, given, out = totals(store)
    assert found == len(calls)
    assert given + out == sum(calls.values())


def test_monocle_traces_bill_their_leaves(shared: Path, store: Store, load: Load) -> None:
    folder = shared / "data/spans/monocle"
    report = load(folder)
    calls: dict[Any, tuple[int, int]] = {}
    for spans in documents(folder):
        parent = {each["context"]["span_id"]: each["parent_id"] for each in spans}
        used = {}
        for each in spans:
            told = [event["attributes"] or {} for event in each["events"]]
            usage = next((attributes for attributes in told if "prompt_tokens" in attributes), None)
            attributes = each["attributes"]
            if usage:
                used[each["context"]["span_id"]] = (usage["prompt_tokens"], usage.get("completion_tokens", 0))
            elif "gen_ai.usage.input_tokens" in attributes:
                used[each["context"]["span_id"]] = (
                    attributes["gen_ai.usage.input_tokens"],
                    attributes["gen_ai.usage.output_tokens"],
                )
        trace = {each["context"]["span_id"]: each["context"]["trace_id"] for each in spans}
        calls |= {(trace[each], each): used[each] for each in leaves(set(used), parent)}
    assert report.failed == []
    known = [row.inference.meters for row in store.inferences() if row.inference.meters.is_known]
    assert len(known) == len(calls)
    assert sum(each.input_total or 0 for each in known) == sum(given for given, _ in calls.values())


def test_single_spans_of_coding_agents_are_read_by_their_own_keys(shared: Path, store: Store, load: Load) -> None:
    load(shared / "data/spans/langwatch")
    found = {row.placement.dialect: row.inference.meters.as_dict() for row in store.inferences()}
    assert found["codex"] == {"input_fresh": 8817, "cache_read": 4480, "output": 23, "reasoning": 10}
    assert found["gemini-cli"] == {"input_fresh": 767, "output": 30}
    assert found["ai-sdk"]["input_fresh"] == 3
    assert found["ai-sdk"]["cache_write_5m"] == 12_629
    assert found["ai-sdk"]["output"] == 13


UNLIKE_THE_INDEX = {
    # the index takes an inner call to an advisor of another model for the message's own usage
    "test_anthropic_advisor_tool.yaml",
    "test_anthropic_advisor_tool_stream.yaml",
    "test_anthropic_advisor_tool_redacted.yaml",
    # these count tokens and call no model
    "test_responses_usage_limit_exceeded.yaml",
    "test_anthropic_model_usage_limit_exceeded.yaml",
    "test_anthropic_count_tokens_with_native_tools.yaml",
    # the provider told no input: it is counted here and 0 in the index
    "test_generate_content_with_file_uri_image[True].yaml",
    "test_generate_content_with_file_uri_image[False].yaml",
    # the index leaves out the tokens of fetched pages
    "test_google_model_web_fetch_tool_stream.yaml",
    # the index takes cache writes for the input
    "test_bedrock_cache_messages_with_document_as_last_content.yaml",
    # the index lacks the metrics in the last event
    "TestNovaInvokeModelWithResponseStream.test_nova_micro_streaming.yaml",
    "test_invoke_model_with_response_stream_with_content[amazon.titan].yaml",
}


def test_recorded_traffic_equals_its_index(shared: Path, store: Store, load: Load) -> None:
    """The index holds counts as written: some leave cached tokens or reasoning out of the total."""
    root = shared / "data/http"
    wanted: dict[Path, list[tuple[int, int]]] = defaultdict(list)
    with (root / "INDEX.csv").open() as file:
        for row in csv.DictReader(file):
            path = root / row["repo"].replace("/", "+") / row["path"]
            # Cohere bills other numbers than it processes: the index holds these
            is_like = path.suffix == ".yaml" and path.name not in UNLIKE_THE_INDEX
            if is_like and row["provider"] != "cohere":
                counts = (int(row["input_tokens"] or 0), int(row["output_tokens"] or 0))
                wanted[path] += [counts] if any(counts) else []
    load(*wanted)
    found = defaultdict(list)
    for row in store.inferences():
        if row.inference.usage_source is UsageSource.PROVIDER and row.inference.provider != "cohere":
            found[row.placement.source].append(row.inference.meters)
    checked = 0
    # one recording under two folders is one recording
    by_content = {(path.name, path.read_bytes()): counts for path, counts in wanted.items()}
    by_name: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for (name, _), counts in by_content.items():
        by_name[name] += counts
    for name, counts in by_name.items():
        left = [
            [
                (given, (each.output or 0) - hidden)
                for given in (each.input_total or 0, each.input_fresh or 0)
                for hidden in (0, each.reasoning or 0)
            ]
            for each in found[name]
        ]
        # those that are written as totals first: another call's part may look the same
        for count in sorted(counts, key=lambda count, left=left: all(count != ways[0] for ways in left)):
            match = min(
                (ways for ways in left if count in ways), key=lambda ways, count=count: ways.index(count), default=None
            )
            assert match is not None, (name, count, left)
            left.remove(match)
        assert not left, (name, left)
        checked += len(counts)
    assert checked > 300


def test_all_folders_import_with_reasons_for_what_they_leave_out(shared: Path, store: Store, load: Load) -> None:
    report = load(shared / "data/spans", shared / "data/serving")
    assert {failure.path.rpartition("/")[2] for failure in report.failed} == {"splitwise_perf_a100.csv"}
    runs: list[Run] = store.runs()
    assert len(runs) == report.runs
