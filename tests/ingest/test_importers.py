# ruff: noqa: E501 - files are written as their makers write them
"""Formats of which no real file is at hand, written as their makers write them, and files that grow."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.importing import ImportReport, files_below, import_paths
from inferometer.ingest.watching import watch
from inferometer.schema.records import RecordBatch
from inferometer.store import Store
from inferometer.store.foreign import read_sqlite

Load = Callable[..., ImportReport]


def lines(*entries: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(entry).encode() for entry in entries) + b"\n"


def usage(given: int, cached: int, out: int, reasoning: int, total: int) -> dict[str, Any]:
    last = {
        "input_tokens": given,
        "cached_input_tokens": cached,
        "output_tokens": out,
        "reasoning_output_tokens": reasoning,
        "total_tokens": given + out,
    }
    return {"type": "token_count", "info": {"last_token_usage": last, "total_token_usage": {"total_tokens": total}}}


def test_codex_counts_each_request_once(tmp_path: Path, store: Store, load: Load) -> None:
    path = tmp_path / "rollout.jsonl"
    path.write_bytes(lines(
        {"timestamp": "2026-01-01T00:00:00Z", "type": "session_meta", "payload": {"id": "abc"}},
        {"timestamp": "2026-01-01T00:00:01Z", "type": "turn_context", "payload": {"model": "gpt-5.5"}},
        {"timestamp": "2026-01-01T00:00:02Z", "type": "event_msg", "payload": {"type": "user_message", "message": "hi"}},
        {"timestamp": "2026-01-01T00:00:05Z", "type": "response_item", "payload": {"type": "function_call", "name": "shell", "call_id": "c", "arguments": "{}"}},
        {"timestamp": "2026-01-01T00:00:05Z", "type": "event_msg", "payload": usage(100, 60, 20, 5, 120)},
        {"timestamp": "2026-01-01T00:00:06Z", "type": "event_msg", "payload": usage(100, 60, 20, 5, 120)},
        {"timestamp": "2026-01-01T00:00:08Z", "type": "response_item", "payload": {"type": "function_call_output", "call_id": "c"}},
        {"timestamp": "2026-01-01T00:00:09Z", "type": "event_msg", "payload": usage(130, 100, 7, 0, 257)},
    ))  # fmt: skip
    report = load(path)
    assert (report.runs, report.inferences, report.tool_calls) == (1, 2, 1)
    meters = [row.inference.meters.as_dict() for row in store.inferences()]
    assert meters[0] == {"input_fresh": 40, "cache_read": 60, "output": 20, "reasoning": 5}
    assert meters[1] == {"input_fresh": 30, "cache_read": 100, "output": 7, "reasoning": 0}


def test_gemini_cli_counts_thoughts_beside_the_output(tmp_path: Path, store: Store, load: Load) -> None:
    path = tmp_path / "session.json"
    tokens = {"input": 100, "output": 10, "cached": 30, "thoughts": 4, "tool": 0, "total": 114}
    messages = [
        {"id": "1", "type": "user", "timestamp": "2026-01-01T00:00:00Z", "content": "hi"},
        {"id": "2", "type": "gemini", "timestamp": "2026-01-01T00:00:03Z", "model": "gemini-3-pro", "tokens": tokens},
    ]
    path.write_text(json.dumps({"sessionId": "g", "projectHash": "x", "messages": messages}))
    load(path)
    [row] = store.inferences()
    assert row.inference.meters.as_dict() == {"input_fresh": 70, "cache_read": 30, "output": 14, "reasoning": 4}


def codex_meta(name: str, time: str, **more: Any) -> dict[str, Any]:
    return {"timestamp": time, "type": "session_meta", "payload": {"id": name, "timestamp": time, **more}}


def codex_usage(time: str, given: int, out: int, total_in: int, total_out: int) -> dict[str, Any]:
    last = {"input_tokens": given, "cached_input_tokens": 10, "cache_write_input_tokens": 5, "output_tokens": out}
    total = {"input_tokens": total_in, "output_tokens": total_out, "total_tokens": total_in + total_out}
    info = {"last_token_usage": last, "total_token_usage": total}
    return {"timestamp": time, "type": "event_msg", "payload": {"type": "token_count", "info": info}}


def codex_message(time: str) -> dict[str, Any]:
    return {"timestamp": time, "type": "event_msg", "payload": {"type": "user_message", "message": "hi"}}


def codex_tool(time: str, name: str) -> dict[str, Any]:
    call = {"type": "function_call", "name": "shell", "call_id": name, "arguments": "{}"}
    return {"timestamp": time, "type": "response_item", "payload": call}


CODEX_PARENT = [
    codex_meta("parent", "2026-01-01T00:00:00Z"),
    {"timestamp": "2026-01-01T00:00:00Z", "type": "turn_context", "payload": {"model": "gpt-5.5"}},
    codex_message("2026-01-01T00:00:01Z"),
    codex_tool("2026-01-01T00:00:05Z", "a"),
    codex_usage("2026-01-01T00:00:06Z", 100, 10, 100, 10),
    codex_usage("2026-01-01T00:00:16Z", 200, 20, 300, 30),
]


@pytest.mark.parametrize("way", ["by the copied head", "by the name of the parent", "by when turns began"])
def test_codex_fork_leaves_what_it_copied_to_its_parent(tmp_path: Path, store: Store, load: Load, way: str) -> None:
    """A fork's file begins with its parent's history, every line stamped anew at the moment of the fork."""
    fork = "2026-01-01T01:00:00.000Z"
    named = {} if way == "by the copied head" else {"forked_from_id": "parent"}
    copied = [{**line, "timestamp": f"2026-01-01T01:00:00.{place:03}Z"} for place, line in enumerate(CODEX_PARENT)]
    own = [codex_message("2026-01-01T01:00:04Z"), codex_tool("2026-01-01T01:00:05Z", "b"),
           codex_usage("2026-01-01T01:00:06Z", 320, 7, 620, 37), codex_usage("2026-01-01T01:00:06.500Z", 330, 8, 950, 45)]  # fmt: skip
    if way == "by when turns began":
        # the answer to the fork's own turn came at once
        began = [{"timestamp": fork, "type": "event_msg", "payload": {"type": "task_started", "started_at": at}}
                 for at in (1767225601, 1767229200)]  # fmt: skip
        copied = [copied[0], began[0], *copied[1:]]
        own = [began[1], *({**line, "timestamp": "2026-01-01T01:00:00.900Z"} for line in own)]
    parent, child = tmp_path / "parent.jsonl", tmp_path / "child.jsonl"
    parent.write_bytes(lines(*CODEX_PARENT))
    child.write_bytes(lines(codex_meta("child", fork, **named), *copied[way == "by the name of the parent" :], *own))
    report = load(child, parent)
    assert (report.runs, report.inferences, report.tool_calls, report.warnings["copied_calls"]) == (2, 4, 2, 2)
    meters = sorted((row.inference.meters.as_dict() for row in store.inferences()), key=lambda each: each["output"])
    assert [each["output"] for each in meters] == [7, 8, 10, 20]
    assert meters[0] == {"input_fresh": 305, "cache_read": 10, "cache_write_5m": 5, "output": 7}
    assert load(child).inferences == 0


@pytest.mark.parametrize(
    "head",
    [
        {"source": {"subagent": {"thread_spawn": {"parent_thread_id": "parent", "depth": 1}}}},
        {"source": {"subagent": {"thread_spawn": {"parent_thread_id": "other", "depth": 2}}}, "session_id": "parent"},
        {"thread_source": "subagent", "parent_thread_id": "parent", "session_id": "child"},
    ],
    ids=["spawned", "spawned by one that was spawned", "said beside"],
)
def test_codex_sub_agent_is_of_the_session_it_works_for(
    tmp_path: Path, store: Store, load: Load, head: dict[str, Any]
) -> None:
    child = [codex_meta("child", "2026-01-01T00:00:07Z", **head), *CODEX_PARENT[1:]]
    (tmp_path / "parent.jsonl").write_bytes(lines(*CODEX_PARENT))
    (tmp_path / "child.jsonl").write_bytes(lines(*child))
    assert load(tmp_path / "parent.jsonl").inferences == 2
    assert load(tmp_path / "child.jsonl").inferences == 2  # its counts are its own, be they those of the parent
    assert {row.placement.session_id for row in store.inferences()} == {"parent"}


def test_codex_session_that_was_written_again_counts_once(tmp_path: Path, store: Store, load: Load) -> None:
    again = [{**line, "timestamp": f"2026-01-02T00:00:00.{place:03}Z"} for place, line in enumerate(CODEX_PARENT)]
    (tmp_path / "first.jsonl").write_bytes(lines(*CODEX_PARENT))
    (tmp_path / "resumed.jsonl").write_bytes(lines(*again, codex_usage("2026-01-02T00:00:09Z", 50, 5, 350, 35)))
    assert load(tmp_path / "first.jsonl").inferences == 2
    assert load(tmp_path / "resumed.jsonl").inferences == 1


def test_codex_totals_give_the_usage_where_it_is_not_told(tmp_path: Path, store: Store, load: Load) -> None:
    path = tmp_path / "rollout.jsonl"
    totals = [{**line, "payload": {"type": "token_count", "info": {"total_token_usage": line["payload"]["info"]["total_token_usage"]}}}
              for line in CODEX_PARENT[-2:]]  # fmt: skip
    path.write_bytes(lines(*CODEX_PARENT[:-2], *totals))
    load(path)
    meters = [row.inference.meters for row in store.inferences()]
    assert sorted((each.input_total, each.output) for each in meters) == [(100, 10), (200, 20)]


def gemini_line(name: str, kind: str, second: int, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "timestamp": f"2026-01-01T00:00:{second:02}Z", "content": "", **more}


def test_gemini_cli_lines_that_are_written_again_count_once(tmp_path: Path, store: Store, load: Load) -> None:
    """What Gemini CLI writes since 2026: a head, messages again as they grow, rewinds, changes of the whole history."""
    tokens = {"input": 100, "output": 10, "cached": 30, "thoughts": 4, "tool": 6, "total": 120}
    call = {"id": "t", "name": "read_file", "args": {}, "status": "success", "timestamp": "2026-01-01T00:00:05Z"}
    answer = gemini_line("a", "gemini", 3, model="gemini-3-pro", tokens=None)
    head = {"sessionId": "main", "projectHash": "x", "startTime": "2026-01-01T00:00:00Z"}
    main = [
        head,
        gemini_line("u", "user", 0),
        {"$set": {"lastUpdated": "2026-01-01T00:00:00Z"}},
        answer,
        {**answer, "tokens": tokens},
        {**answer, "tokens": tokens, "toolCalls": [call]},
        gemini_line("rewound", "gemini", 9, model="gemini-3-pro", tokens=tokens),
        {"$rewindTo": "rewound"},
        {
            "$set": {
                "messages": [gemini_line("u", "user", 0), {**answer, "tokens": tokens}, gemini_line("s", "gemini", 12)]
            }
        },
        gemini_line("b", "gemini", 20, model="gemini-3-pro", tokens=tokens),
    ]
    agent = [
        {"sessionId": "agent", "projectHash": "x", "kind": "subagent"},
        gemini_line("u", "user", 4),
        gemini_line("a", "gemini", 5, model="gemini-3-flash", tokens=tokens),
    ]
    folder = tmp_path / "tmp" / "hash" / "chats"
    (folder / "main").mkdir(parents=True)
    (folder / "session-2026-01-01-main.jsonl").write_bytes(lines(*main))
    (folder / "main" / "agent.jsonl").write_bytes(lines(*agent))
    legacy = {**head, "messages": [gemini_line("u", "user", 0), {**answer, "tokens": tokens}]}
    (folder / "session-2026-01-01-main.json").write_text(json.dumps(legacy, indent=2))
    report = load(tmp_path / "tmp")
    assert (report.inferences, report.tool_calls, report.warnings["broken_line"]) == (4, 1, 0)
    assert {row.placement.session_id for row in store.inferences()} == {"main"}
    for row in store.inferences():
        assert row.inference.meters.as_dict() == {"input_fresh": 76, "cache_read": 30, "output": 14, "reasoning": 4}


def test_opencode_messages_of_one_question_are_one_run(tmp_path: Path, store: Store, load: Load) -> None:
    folder = tmp_path / "message"
    folder.mkdir()
    for number in range(2):
        message = {
            "id": f"m{number}", "sessionID": "s", "role": "assistant", "parentID": "u", "providerID": "anthropic",
            "modelID": "claude-opus-4-7", "cost": 0.01, "time": {"created": 1767225600000 + number * 5000, "completed": 1767225603000 + number * 5000},
            "tokens": {"input": 3, "output": 9, "reasoning": 0, "cache": {"read": 50, "write": 7}},
        }  # fmt: skip
        (folder / f"{number}.json").write_text(json.dumps(message))
    report = load(folder)
    assert (report.runs, report.inferences) == (1, 2)
    assert {row.inference.meters.input_total for row in store.inferences()} == {60}


@pytest.mark.parametrize("way", ["file", "gzip", "being written"])
def test_opencode_database_tells_what_its_files_told(tmp_path: Path, store: Store, load: Load, way: str) -> None:
    """Since 2026 messages are rows; their ids, and so their records, are those of the files before."""
    message = {"role": "assistant", "parentID": "u", "providerID": "anthropic", "modelID": "claude-opus-4-7", "cost": 0.01,
               "time": {"created": 1767225600000, "completed": 1767225603000},
               "tokens": {"input": 3, "output": 9, "reasoning": 2, "cache": {"read": 50, "write": 7}}}  # fmt: skip
    path = tmp_path / "opencode.db"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE `message` (id text PRIMARY KEY, session_id text, time_created integer, data text)")
    rows = [(f"m{number}", "s" if number < 2 else "t", number, json.dumps(message)) for number in range(3)]
    database.executemany(
        "INSERT INTO message VALUES (?, ?, ?, ?)", [*rows, ("u", "s", 0, '{"role": "user"}'), ("x", "s", 0, "[")]
    )
    database.commit()
    if way != "being written":
        database.close()
    if way == "gzip":
        (tmp_path / "opencode.db.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "opencode.db.gz"
    report = load(path)
    assert (report.runs, report.inferences, report.failed) == (2, 3, [])
    assert {tuple(row.inference.meters.as_dict().values()) for row in store.inferences()} == {(3, 50, 7, 11, 2)}
    one = tmp_path / "m0.json"
    one.write_text(json.dumps({**message, "id": "m0", "sessionID": "s"}))
    assert (load(one).inferences, load(path).inferences) == (0, 0)
    beside = {other.name for other in tmp_path.glob("opencode.db-*")}
    assert beside == ({"opencode.db-wal", "opencode.db-shm"} if way == "being written" else set())
    database.close()


def test_opencode_rows_are_seen_while_they_are_in_its_log_alone(tmp_path: Path, store: Store) -> None:
    """A database that is being written changes beside itself long before it changes."""
    folder = tmp_path / "opencode"
    folder.mkdir()
    path = folder / "opencode.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE message (id text PRIMARY KEY, session_id text, time_created integer, data text)")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    written = path.read_bytes()
    numbers = iter(range(1, 4))

    def sleep(_: float) -> None:
        message = {
            "role": "assistant",
            "modelID": "gpt-5",
            "tokens": {"input": 3, "output": 9},
            "time": {"created": 1767225600000},
        }
        database.execute("INSERT INTO message VALUES (?, 's', 0, ?)", (f"m{next(numbers)}", json.dumps(message)))

    reports = list(watch(store, lambda: iter(files_below(folder)), import_paths, rounds=4, sleep=sleep))
    assert [report.inferences for report in reports] == [0, 1, 1, 1]
    assert path.read_bytes() == written
    assert all(report.failed == [] for report in reports)
    database.close()


def test_database_that_is_opened_while_it_is_read_is_left_to_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE message (id text PRIMARY KEY)")
    database.executemany("INSERT INTO message VALUES (?)", [(str(number),) for number in range(3)])
    rows = read_sqlite(path, "message", ["id"])
    next(rows)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("INSERT INTO message VALUES ('x')")
    with pytest.raises(ValueError, match="written to while"):
        list(rows)
    database.close()


def test_burstgpt_table_is_read_by_its_columns(tmp_path: Path, store: Store, load: Load) -> None:
    path = tmp_path / "burst.csv"
    path.write_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n"
    )
    load(path)
    [row] = store.inferences()
    assert (row.inference.model, row.inference.meters.as_dict()) == ("ChatGPT", {"input_fresh": 472, "output": 18})
    assert row.placement.start_ns == 5_000_000_000


def test_burstgpt_says_what_failed_how_long_it_took_and_in_which_session(
    tmp_path: Path, store: Store, load: Load
) -> None:
    path = tmp_path / "BurstGPT_3.csv"
    path.write_text(
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "19440110.0,1722ac82,43,GPT-4,906,446,1352,Conversation log\n"
        "19440192.0,1722ac82,8,GPT-4,1779,0,1779,Conversation log\n"
        "19440254.0,,3,ChatGPT,935,178,1113,API log\n"
    )
    load(path)
    rows = sorted(store.inferences(), key=lambda row: row.placement.start_ns or 0)
    assert [row.placement.duration_ns for row in rows] == [43 * 10**9, 8 * 10**9, 3 * 10**9]
    assert [row.placement.session_id for row in rows] == ["1722ac82", "1722ac82", None]
    assert [row.placement.error_type for row in rows] == [None, "no_response", None]


def test_vidur_table_is_read_by_its_columns(tmp_path: Path, store: Store, load: Load) -> None:
    path = tmp_path / "vidur.csv"
    path.write_text("arrived_at,num_prefill_tokens,num_decode_tokens,pd_ratio\n0.5,374,44,8.5\n1.25,396,x,3.6\n")
    load(path)
    first, second = sorted(store.inferences(), key=lambda row: row.placement.start_ns or 0)
    assert first.inference.meters.as_dict() == {"input_fresh": 374, "output": 44}
    assert (first.placement.start_ns, second.placement.start_ns) == (500_000_000, 1_250_000_000)
    assert second.inference.meters.output is None


def test_agentic_mooncake_keeps_sessions_and_what_waits_for_what(tmp_path: Path, store: Store, load: Load) -> None:
    lengths = {"input_length": 600, "output_length": 5, "hash_ids": [1, 2]}
    first = {"session_id": "a", "request_id": "r1", "timestamp": 0, "wait_for": [], **lengths}
    second = {"session_id": "a", "request_id": "r2", "timestamp": 9, "wait_for": ["r1"], "tool_wait_ms": 2.5, **lengths}
    third = {"session_id": "b", "request_id": "r3", "timestamp": 4, **lengths}
    (tmp_path / "trace.jsonl").write_bytes(lines(first, second, third))
    report = load(tmp_path / "trace.jsonl")
    assert (report.runs, report.inferences) == (2, 3)
    rows = sorted(store.inferences(with_prefix=True), key=lambda row: row.placement.start_ns or 0)
    assert [row.placement.session_id for row in rows] == ["a", "b", "a"]
    [edge] = rows[2].inference.depends_on
    assert (edge.span_id, edge.gap_ns) == (rows[0].inference.span_id, 2_500_000)
    assert all(row.inference.prefix and row.inference.prefix.blocks == 2 for row in rows)
    assert load(tmp_path / "trace.jsonl").inferences == 0


def test_mooncake_hashes_keep_to_their_file(tmp_path: Path, store: Store, load: Load) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        entry = {"timestamp": 0, "input_length": 1024, "output_length": 5, "hash_ids": [1, 2]}
        (tmp_path / name).write_bytes(lines(entry, entry | {"timestamp": 10}))
    report = load(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert report.inferences == 4
    prefixes = [row.inference.prefix for row in store.inferences(with_prefix=True)]
    assert len({prefix.key_id for prefix in prefixes if prefix}) == 2
    assert all(prefix and prefix.blocks == 2 and prefix.block_tokens == 512 for prefix in prefixes)


def test_transcript_that_grows_adds_its_rest(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "session.jsonl"
    head = {"type": "session", "id": "p", "cwd": "/x"}

    def answer(number: int) -> dict[str, Any]:
        message = {"role": "assistant", "model": "gpt-5", "usage": {"input": 5, "output": number}}
        return {"type": "message", "timestamp": f"2026-01-01T00:00:{number:02d}Z", "message": message}

    written = [lines(head, answer(1)), lines(head, answer(1)), lines(head, answer(1), answer(2))]
    path.write_bytes(written[0])

    def files() -> Iterator[Path]:
        yield path

    def load(store: Store, changed: list[Path]) -> ImportReport:
        return import_paths(store, changed)

    reports = []
    looks = iter(written[1:])

    def sleep(_: float) -> None:
        text = next(looks)
        if path.read_bytes() != text:
            path.write_bytes(text)

    reports = list(watch(store, files, load, rounds=3, sleep=sleep))
    assert [report.inferences for report in reports] == [1, 1]


def test_failing_file_leaves_nothing_half_written(tmp_path: Path, store: Store, monkeypatch: Any) -> None:
    from inferometer.ingest.importers import pi

    def read(source: Any) -> Iterator[RecordBatch]:
        yield from pi.read(source)
        raise ValueError("broken in the middle")

    path = tmp_path / "session.jsonl"
    path.write_bytes(
        lines({"type": "session", "id": "p", "cwd": "/x"}, {"type": "message", "message": {"role": "assistant"}})
    )
    monkeypatch.setattr("inferometer.ingest.importing._batches", lambda source, importer: read(source))
    report = import_paths(store, [path])
    assert report.files == 0
    assert "broken in the middle" in report.failed[0].reason
    assert list(store.inferences()) == []
