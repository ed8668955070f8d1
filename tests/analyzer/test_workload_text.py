"""Calls counted again as another model counts them. Digits have a closed form: o200k_base, cl100k_base, Llama 3 and
DeepSeek V3 take three of them for a token, Qwen and Tekken one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import need

from inferometer.analyzer.audit_dataset import load_dataset
from inferometer.analyzer.audit_scenarios import replay_audit
from inferometer.analyzer.ledger import Ledger
from inferometer.analyzer.replay import Scenario, replay
from inferometer.analyzer.replay_recount import count_as
from inferometer.analyzer.workload import Workload, build_workload, load_workload
from inferometer.analyzer.workload_scaling import double_steps, halve_steps
from inferometer.analyzer.workload_text import count_texts
from inferometer.ingest.importing import import_paths
from inferometer.profiles.prices import load_prices
from inferometer.schema.errors import UserError
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store
from inferometer.tokens import encoding

BEGIN = 1_780_000_000 * 10**9
QWEN, LLAMA = "Qwen/Qwen3-32B", "meta-llama/Llama-3.1-70B"
FRAMING = 7
"""Tokens beside the text that the made-up provider metered."""


def digits(tokens: int) -> str:
    """Return a text of so many tokens to o200k_base, three times as many to Qwen."""
    return "123" * tokens


@pytest.fixture(scope="module", autouse=True)
def _vocabularies() -> None:
    for name in ("qwen2", "llama3"):
        try:
            found = encoding(name).count(digits(10))
        except UserError as error:
            need(False, "vocabularies", str(error))
        assert found == (30 if name == "qwen2" else 10)


def span(number: int, attributes: dict[str, Any]) -> dict[str, Any]:
    values = {
        key: {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}
        for key, value in attributes.items()
    }
    return {
        "traceId": "ab" * 16,
        "spanId": f"{number:016x}",
        "name": "chat",
        "startTimeUnixNano": str(BEGIN + number * 10**9),
        "endTimeUnixNano": str(BEGIN + number * 10**9 + 5 * 10**8),
        "attributes": [{"key": key, "value": value} for key, value in values.items()],
    }


def call(model: str, asked: int, answered: int, *, metered: tuple[int, int] | None = None) -> dict[str, Any]:
    """Return the attributes of a call whose texts are so many tokens; `metered` is what the provider said."""
    tokens_in, tokens_out = metered or (asked + FRAMING, answered)
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": tokens_in,
        "gen_ai.usage.output_tokens": tokens_out,
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": digits(asked)}]}]),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": digits(answered)}], "finish_reason": "stop"}]
        ),
    }


def stored(folder: Path, calls: list[dict[str, Any]], *, keep: bool = True, scope: str = "made.up") -> Store:
    spans = [span(number + 1, attributes) for number, attributes in enumerate(calls)]
    path = folder / "calls.json"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": scope}, "spans": spans}]}]}))
    store = open_store(str(folder / "calls.sqlite"))
    report = import_paths(store, [path], keep_content=keep)
    assert report.inferences == len(calls)
    return store


def loaded(folder: Path, calls: list[dict[str, Any]], model: str, **options: Any) -> Workload:
    with stored(folder, calls, **options) as store:
        return load_workload(store, replayed_model=model)


def test_text_is_counted_again_and_what_is_no_text_stays(tmp_path: Path) -> None:
    workload = loaded(tmp_path, [call("gpt-4o", 1000, 50), call("gpt-4", 400, 20)], QWEN)
    answer = replay(workload, Scenario("h100_sxm", "vllm", QWEN, tp=2), with_interval=False)
    assert answer.workload.input_tokens.tolist() == [3 * 1000 + FRAMING, 3 * 400 + FRAMING]
    assert answer.workload.output_tokens.tolist() == [3 * 50, 3 * 20]
    scenario = answer.as_dict()["scenario"]
    assert scenario["input_recounted_share"] == 1.0
    assert scenario["input_counted_by"] == {"text": 1.0, "ratio": 0.0, "same_vocabulary": 0.0, "unknown": 0.0}
    assert scenario["output_counted_by"] == scenario["input_counted_by"]
    # prefixes are the same texts: a block stands for three times the tokens
    assert answer.workload.prefixes.block_tokens == pytest.approx(3 * workload.prefixes.block_tokens, rel=0.02)
    assert answer.workload.prefixes.total_blocks == workload.prefixes.total_blocks


def test_calls_without_text_are_scaled_and_the_share_is_told(tmp_path: Path) -> None:
    silent = {key: value for key, value in call("gpt-4o", 1000, 50).items() if not key.endswith("messages")}
    workload = loaded(tmp_path, [call("gpt-4o", 1000, 50), silent, {**silent, "gen_ai.request.model": "who-3"}], QWEN)
    counted = count_as(workload, Scenario("h100_sxm", "vllm", QWEN), QWEN)
    assert counted.workload.input_tokens.tolist() == [3007, round(1007 * 1.052), 1007]
    third = pytest.approx(1 / 3)
    assert counted.input_counted_by == {"text": third, "ratio": third, "same_vocabulary": 0.0, "unknown": third}


def test_default_store_keeps_no_text_to_count(tmp_path: Path) -> None:
    workload = loaded(tmp_path, [call("gpt-4o", 1000, 50)], QWEN, keep=False)
    counted = count_as(workload, Scenario("h100_sxm", "vllm", QWEN), QWEN)
    assert counted.workload.input_tokens.tolist() == [round(1007 * 1.052)]
    assert counted.input_counted_by["ratio"] == 1.0


def test_one_vocabulary_needs_no_count(tmp_path: Path) -> None:
    workload = loaded(tmp_path, [call("meta-llama/Llama-3.3-70B-Instruct", 1000, 50)], LLAMA)
    assert workload.texts is None
    counted = count_as(workload, Scenario("h100_sxm", "vllm", LLAMA), LLAMA)
    assert counted.workload is workload
    assert counted.input_counted_by["same_vocabulary"] == 1.0


def test_counts_are_of_the_model_they_were_made_for(tmp_path: Path) -> None:
    """A workload that was loaded for one model falls back to ratios on another."""
    workload = loaded(tmp_path, [call("gpt-4o", 1000, 50)], QWEN)
    counted = count_as(workload, Scenario("h100_sxm", "vllm", LLAMA), LLAMA)
    assert counted.input_counted_by["ratio"] == 1.0


def test_unknown_vocabulary_takes_the_text_where_it_is_all_that_was_sent(tmp_path: Path) -> None:
    """Of Claude only the meters are known: text that is far less than was metered is not all of it."""
    whole, partial = call("claude-opus-4-5", 1000, 50), call("claude-opus-4-5", 1000, 50, metered=(9000, 400))
    workload = loaded(tmp_path, [whole, partial], QWEN)
    assert workload.texts is not None
    assert workload.texts.input_tokens.tolist() == [3000 + 4 + 3, -1]
    assert workload.texts.output_tokens.tolist() == [150, -1]


def test_hidden_reasoning_stays_as_metered(tmp_path: Path) -> None:
    thinking = {**call("o3", 1000, 50, metered=(1007, 850)), "gen_ai.usage.reasoning.output_tokens": 800}
    foreign = {**thinking, "gen_ai.request.model": "claude-opus-4-5"}
    workload = loaded(tmp_path, [thinking, foreign], QWEN)
    assert workload.texts is not None
    assert workload.texts.output_tokens.tolist() == [800 + 150, 800 + 150]


def test_text_longer_than_what_was_metered_gives_its_ratio_alone(tmp_path: Path) -> None:
    workload = loaded(tmp_path, [call("gpt-4o", 1000, 50, metered=(500, 25))], QWEN)
    assert workload.texts is not None
    assert workload.texts.input_tokens.tolist() == [1500]
    assert workload.texts.output_tokens.tolist() == [75]


def test_zero_output_stays_zero(tmp_path: Path) -> None:
    workload = loaded(tmp_path, [call("gpt-4o", 100, 5, metered=(107, 0))], QWEN)
    counted = count_as(workload, Scenario("h100_sxm", "vllm", QWEN), QWEN)
    assert counted.workload.output_tokens.tolist() == [0]


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        (
            "openinference.instrumentation.openai",
            {
                "openinference.span.kind": "LLM",
                "llm.model_name": "gpt-4o",
                "llm.token_count.prompt": 1007,
                "llm.token_count.completion": 50,
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.content": digits(1000),
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.content": digits(50),
            },
        ),
        (
            "opentelemetry.instrumentation.openai.v1",
            {
                "gen_ai.system": "openai",
                "llm.request.type": "chat",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.input_tokens": 1007,
                "gen_ai.usage.output_tokens": 50,
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": digits(1000),
                "gen_ai.completion.0.role": "assistant",
                "gen_ai.completion.0.content": digits(50),
            },
        ),
        (
            "ai",
            {
                "ai.operationId": "ai.generateText.doGenerate",
                "ai.model.id": "gpt-4o",
                "ai.usage.promptTokens": 1007,
                "ai.usage.completionTokens": 50,
                "ai.prompt.messages": json.dumps([{"role": "user", "content": digits(1000)}]),
                "ai.response.text": digits(50),
            },
        ),
        (
            "pydantic-ai",
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.input_tokens": 1007,
                "gen_ai.usage.output_tokens": 50,
                "langfuse.observation.type": "generation",
                "langfuse.observation.input": json.dumps([{"role": "user", "content": digits(1000)}]),
                "langfuse.observation.output": json.dumps({"choices": [{"message": {"content": digits(50)}}]}),
            },
        ),
    ],
    ids=["openinference", "openllmetry", "ai-sdk", "langfuse around another"],
)
def test_dialects_spread_their_texts_differently(tmp_path: Path, scope: str, said: dict[str, Any]) -> None:
    workload = loaded(tmp_path, [said], QWEN, scope=scope)
    assert workload.texts is not None
    assert workload.texts.input_tokens.tolist() == [3007]
    assert workload.texts.output_tokens.tolist() == [150]


def test_text_that_was_cut_to_be_stored_is_not_counted(tmp_path: Path) -> None:
    workload = loaded(tmp_path, [call("gpt-4o", 500_000, 50, metered=(500_007, 50))], QWEN)
    assert workload.texts is not None
    assert workload.texts.input_tokens.tolist() == [-1]
    assert workload.texts.output_tokens.tolist() == [150]


def test_vocabulary_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferometer.analyzer.workload_text._encoding", lambda name: None)
    workload = loaded(tmp_path, [call("gpt-4o", 1000, 50)], QWEN)
    assert workload.texts is None
    assert workload.warnings["vocabulary_not_installed"] == 1
    other = tmp_path / "other"
    other.mkdir()
    silent = loaded(other, [call("gpt-4o", 1000, 50)], QWEN, keep=False)
    assert "vocabulary_not_installed" not in silent.warnings  # nothing was kept that could have been counted
    answer = replay(workload, Scenario("h100_sxm", "vllm", QWEN, tp=2), with_interval=False).as_dict()
    assert answer["scenario"]["input_counted_by"]["ratio"] == 1.0


def test_counts_go_along_when_steps_change(tmp_path: Path) -> None:
    workload = loaded(tmp_path, [call("gpt-4o", 1000, 50), call("gpt-4o", 2000, 60)], QWEN)
    for changed in (double_steps(workload), halve_steps(workload)):
        assert changed.texts is not None
        counted = count_as(changed, Scenario("h100_sxm", "vllm", QWEN), QWEN)
        assert counted.workload.input_tokens.tolist() == [
            3 * (tokens - FRAMING) + FRAMING for tokens in changed.input_tokens.tolist()
        ]


def test_text_that_is_less_than_half_of_what_was_metered_is_not_counted(tmp_path: Path) -> None:
    workload = loaded(tmp_path, [call("gpt-4o", 400, 20, metered=(1000, 60))], QWEN)
    assert workload.texts is not None
    assert workload.texts.input_tokens.tolist() == [-1]
    assert workload.texts.output_tokens.tolist() == [-1]


@pytest.mark.parametrize("said", ["[7]", '[{"role": 7, "parts": [[["x"]]]}]', "[[[[[[]]]]]]", "{}", "{"])
def test_a_shape_that_nobody_foresaw_is_not_counted(tmp_path: Path, said: str) -> None:
    odd = {**call("gpt-4o", 1000, 50), "gen_ai.input.messages": said, "gen_ai.output.messages": said}
    with stored(tmp_path, [odd]) as store:
        found = count_texts(store, QWEN, [row.inference for row in store.inferences(Selection())], Counter())
    assert found is not None
    assert found.input_tokens.tolist() == found.output_tokens.tolist() == [-1]


def lmcache_line(asked: int, answered: int) -> dict[str, Any]:
    return {
        "session_id": "s",
        "timestamp": BEGIN // 1000,
        "model": "gpt-4o",
        "input": [{"role": "user", "content": digits(asked)}],
        "output": digits(answered),
    }


def cassette(asked: int, answered: int) -> dict[str, Any]:
    sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": digits(asked)}]}
    usage = {"prompt_tokens": asked + 6, "completion_tokens": answered, "total_tokens": asked + 6 + answered}
    message = {"role": "assistant", "content": digits(answered)}
    told = {"model": "gpt-4o", "object": "chat.completion", "usage": usage, "choices": [{"message": message}]}
    return {
        "interactions": [
            {
                "request": {
                    "uri": "https://api.openai.com/v1/chat/completions",
                    "method": "POST",
                    "body": json.dumps(sent),
                },
                "response": {
                    "status": {"code": 200},
                    "headers": {"content-type": ["application/json"]},
                    "body": {"string": json.dumps(told)},
                },
            }
        ]
    }


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("name", "document"),
    [("calls.jsonl", lmcache_line(1000, 50)), ("calls.json", cassette(1000, 50))],
    ids=["lmcache", "cassette"],
)
def test_importers_of_whole_texts_keep_them_where_asked(
    tmp_path: Path, name: str, document: dict[str, Any], keep: bool
) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(document) + "\n")
    with open_store(str(tmp_path / "calls.sqlite")) as store:
        assert import_paths(store, [path], keep_content=keep).inferences == 1
        workload = load_workload(store, replayed_model=QWEN)
    assert workload.input_tokens.tolist() == [1006]
    assert workload.texts is not None
    assert workload.texts.input_tokens.tolist() == [3006 if keep else -1]
    assert workload.texts.output_tokens.tolist() == [150 if keep else -1]


def test_an_audit_on_another_model_counts_the_text_with_its_vocabulary(tmp_path: Path) -> None:
    calls = [call("gpt-4o", 1000, 50), call("gpt-4o", 9000, 50)]
    with stored(tmp_path, calls) as store:
        dataset = load_dataset(store, Selection(), load_prices())
        found = replay_audit(dataset, Ledger(), QWEN, store)
        without = replay_audit(dataset, Ledger(), QWEN)
    shares = [row["scenario"]["input_counted_by"]["text"] for row in found.scenarios]
    assert len(shares) > 5
    assert set(shares) == {1.0}
    assert {row["scenario"]["input_counted_by"]["ratio"] for row in without.scenarios} == {1.0}


def test_part_of_a_workload_takes_the_counts_of_the_whole(tmp_path: Path) -> None:
    calls = [call("gpt-4o", 1000, 50), call("gpt-4o", 9000, 60), call("gpt-4o", 2000, 70)]
    with stored(tmp_path, calls) as store:
        whole = load_workload(store, replayed_model=QWEN)
        rows = list(store.inferences(Selection()))
    part = build_workload([rows[2], rows[0]], count=whole.texts_of)
    assert part.texts is not None
    assert part.texts.input_tokens.tolist() == [3007, 6007]
    assert part.texts.output_tokens.tolist() == [150, 210]
    assert build_workload(rows, count=build_workload(rows).texts_of).texts is None
