"""Sample sessions that the project makes itself: coding-agent transcripts, proxy sessions, and OTLP of a support bot.

Everything follows from a seed; times, token counts and tools are shaped like those of real agents (a context that grows
from call to call, cached reads of what was sent before, sub-agents, a tool that fails, a loop that repeats itself).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from inferometer.testing.sample_spans import hex_of, write_otlp

BEGIN = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)
CODING_MODEL = "claude-sonnet-4-5-20250929"
EXPLORING_MODEL = "claude-haiku-4-5-20251001"
TASKS = (
    "make the importer skip broken lines and count them",
    "add a flag that limits the report to one week",
    "find out why the nightly job takes twice as long since Monday",
)
CODING_TOOLS = ("Read", "Grep", "Edit", "Bash")
BLOCK_TOKENS = 64


def write_sample_sessions(folder: Path, seed: int = 7) -> list[Path]:
    """Write all samples below a folder.

    Args:
        folder: made if it is not there.
        seed: same seed, same bytes.

    Returns:
        The files, in the order in which they were written.
    """
    written = [*write_transcripts(folder / "transcripts", seed), *write_proxy_sessions(folder / "proxy", seed)]
    return [*written, write_otlp(folder / "support-bot.json", BEGIN, seed)]


def write_transcripts(folder: Path, seed: int = 7) -> list[Path]:
    """Write coding-agent transcripts as JSON lines, each with a sub-agent's file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for place, task in enumerate(TASKS):
        transcript = _Transcript(
            Random(f"{seed}/transcript/{place}"), f"sample-{seed}-{place}", BEGIN + timedelta(hours=3 * place)
        )
        main, agent = transcript.write(task)
        main_file = folder / f"{transcript.session_id}.jsonl"
        agent_file = folder / f"agent-{transcript.agent_id}.jsonl"
        for path, lines in ((main_file, main), (agent_file, agent)):
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            files.append(path)
    return files


class _Transcript:
    """One session of a coding agent: messages, tool results, usage that grows, a sub-agent for the search."""

    def __init__(self, random: Random, session_id: str, begin: datetime) -> None:
        self.random = random
        self.session_id = session_id
        self.agent_id = hex_of(session_id, "agent")[:8]
        self.now = begin
        self._count = 0
        self._parent: str | None = None

    def write(self, task: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        main: list[dict[str, Any]] = [self._user(task, None)]
        context, agent = 14_000, []
        for turn in range(self.random.randint(9, 13)):
            searches = turn == 1
            name = "Task" if searches else self.random.choice(CODING_TOOLS)
            lines, call_id, context = self._assistant(CODING_MODEL, context, name, None)
            main.extend(lines)
            if searches:
                agent = self._search()
            main.append(self._result(call_id, self.agent_id if searches else None, failed=turn == 5))
            context += self.random.randint(300, 4_000)
        main.extend(self._assistant(CODING_MODEL, context, None, None)[0])
        return main, agent

    def _search(self) -> list[dict[str, Any]]:
        parent, self._parent = self._parent, None
        lines: list[dict[str, Any]] = [self._user("look for where lines are read", self.agent_id)]
        context = 6_000
        for _ in range(self.random.randint(3, 5)):
            call, call_id, context = self._assistant(EXPLORING_MODEL, context, "Grep", self.agent_id)
            lines.extend(call)
            lines.append(self._result(call_id, None, agent=self.agent_id))
            context += self.random.randint(500, 2_500)
        lines.extend(self._assistant(EXPLORING_MODEL, context, None, self.agent_id)[0])
        self._parent = parent
        return lines

    def _line(self, kind: str, agent: str | None) -> dict[str, Any]:
        self._count += 1
        uuid = hex_of(self.session_id, str(self._count))
        line = {
            "parentUuid": self._parent,
            "isSidechain": agent is not None,
            "userType": "external",
            "cwd": "/home/dev/sample",
            "sessionId": self.session_id,
            "version": "2.1.0",
            "gitBranch": "main",
            "type": kind,
            "uuid": uuid,
            "timestamp": _iso(self.now),
        }
        if agent is not None:
            line["agentId"] = agent
        self._parent = uuid
        return line

    def _user(self, text: str, agent: str | None) -> dict[str, Any]:
        return {**self._line("user", agent), "message": {"role": "user", "content": text}}

    def _assistant(
        self, model: str, context: int, tool: str | None, agent: str | None
    ) -> tuple[list[dict[str, Any]], str, int]:
        """Return the lines of one call (a text, then a tool use), the tool call's id, and the context after it."""
        self.now += timedelta(seconds=self.random.uniform(2, 9))
        output = self.random.randint(60, 700)
        cached = 0 if context <= 14_000 and tool == CODING_TOOLS[0] else int(context * 0.92)
        written = min(context - cached, 4_000)
        usage = {
            "input_tokens": context - cached - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached,
            "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output,
            "service_tier": "standard",
        }
        head = {
            "model": model,
            "id": f"msg_{hex_of(self.session_id, 'm', str(self._count))[:20]}",
            "type": "message",
            "role": "assistant",
        }
        request = f"req_{hex_of(self.session_id, 'r', str(self._count))[:20]}"
        call_id = f"toolu_{hex_of(self.session_id, 't', str(self._count))[:20]}"
        blocks: list[dict[str, Any]] = [{"type": "text", "text": "I will look at this next."}]
        if tool is not None:
            blocks.append({"type": "tool_use", "id": call_id, "name": tool, "input": self._input(tool)})
        lines = []
        for place, block in enumerate(blocks):
            last = place == len(blocks) - 1
            message = {
                **head,
                "content": [block],
                "stop_reason": ("tool_use" if tool else "end_turn") if last else None,
                "stop_sequence": None,
                # what is written while the answer still streams holds an early count, as in real transcripts
                "usage": usage if last else {**usage, "output_tokens": 1},
            }
            lines.append({**self._line("assistant", agent), "message": message, "requestId": request})
        return lines, call_id, context + output

    def _input(self, tool: str) -> dict[str, Any]:
        if tool == "Task":
            return {
                "description": "Find the reader",
                "prompt": "look for where lines are read",
                "subagent_type": "Explore",
            }
        if tool == "Bash":
            return {"command": "make test", "description": "Run the tests"}
        return {"file_path": f"/home/dev/sample/part_{self.random.randint(1, 5)}.py"}

    def _result(
        self, call_id: str, spawned: str | None, *, failed: bool = False, agent: str | None = None
    ) -> dict[str, Any]:
        self.now += timedelta(seconds=self.random.uniform(0.2, 4))
        block: dict[str, Any] = {
            "tool_use_id": call_id,
            "type": "tool_result",
            "content": "x" * self.random.randint(80, 2_000),
        }
        if failed:
            block.update(is_error=True, content="exit status 2")
        line = {**self._line("user", agent), "message": {"role": "user", "content": [block]}}
        if spawned is not None:
            line["toolUseResult"] = {
                "status": "completed",
                "agentId": spawned,
                "totalDurationMs": 21_000,
                "totalToolUseCount": 4,
            }
        return line


def write_proxy_sessions(folder: Path, seed: int = 7, count: int = 6) -> list[Path]:
    """Write sessions as a proxy sees them: tokens, times and prefix block ids, no text."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for place in range(count):
        path = folder / f"session_{place:02d}.json"
        path.write_text(
            json.dumps(_proxy_session(Random(f"{seed}/proxy/{place}"), f"sample_{seed}_{place:02d}")), encoding="utf-8"
        )
        files.append(path)
    return files


def _proxy_session(random: Random, session_id: str) -> dict[str, Any]:
    main, ids, _ = _proxy_calls(random, "claude-opus-4-5-20251101", random.randint(10, 24), 16_000, 0)
    agent, _, agent_s = _proxy_calls(random, EXPLORING_MODEL, random.randint(4, 9), 9_000, ids)
    spawn = random.randint(1, len(main) - 2)
    done_s = main[spawn]["t"] + main[spawn]["api_time"] + agent_s + 0.2
    for call in main[spawn + 1 :]:
        call["t"] = round(call["t"] + agent_s + 0.4, 2)
    sub_agent = {
        "t": round(done_s, 2),
        "type": "subagent",
        "agent_id": "agent_001",
        "subagent_type": "Explore",
        "duration_ms": int(agent_s * 1000),
        "total_tokens": sum(call["in"] + call["out"] for call in agent),
        "tool_use_count": len(agent) - 1,
        "status": "completed",
        "requests": agent,
        "models": [EXPLORING_MODEL],
        "tool_tokens": 5_200,
        "system_tokens": 1_900,
    }
    totals = {
        name: {"input": sum(call["in"] for call in calls), "output": sum(call["out"] for call in calls)}
        for name, calls in (("parent_tokens", main), ("subagent_tokens", agent), ("combined_tokens", main + agent))
    }
    return {
        "id": session_id,
        "models": ["claude-opus-4-5-20251101"],
        "block_size": BLOCK_TOKENS,
        "hash_id_scope": "local",
        "tool_tokens": 11_000,
        "system_tokens": 2_700,
        "requests": [*main[: spawn + 1], sub_agent, *main[spawn + 1 :]],
        "totals": {**totals, "subagent_count": 1},
    }


def _proxy_calls(
    random: Random, model: str, count: int, context: int, first_id: int
) -> tuple[list[dict[str, Any]], int, float]:
    """Return calls whose contexts grow, the last block id used, and the seconds until the last answer."""
    calls: list[dict[str, Any]] = []
    ids: list[int] = []
    now_s, last_id = 0.0, first_id
    for place in range(count):
        if place == count // 2 and count > 8:
            # a compaction: the conversation is summed up, and only its beginning is shared from here on
            context, ids = int(context * 0.5), ids[: len(ids) // 4]
        while len(ids) < context // BLOCK_TOKENS:
            last_id += 1
            ids.append(last_id)
        took_s = round(random.uniform(1.5, 9), 2)
        asks = place in (0, count * 2 // 3)
        output = random.randint(40, 900)
        think_s = round(random.uniform(5, 40) if asks and place else random.uniform(0.3, 5), 2) if place else 0.0
        now_s += think_s
        calls.append(
            {
                "t": round(now_s, 2),
                "type": "n",
                "model": model,
                "in": context,
                "out": output,
                "hash_ids": list(ids),
                "input_types": ["text"] if asks else ["tool_result"],
                "output_types": ["text", "tool_use"],
                "stop": "end_turn" if place == count - 1 else "tool_use",
                "api_time": took_s,
                "think_time": think_s,
            }
        )
        now_s += took_s
        context += output + random.randint(200, 3_500)
    return calls, last_id, now_s


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
