"""Transcripts are found where each agent keeps them, those that were moved by an agent's own variable too."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferometer.ingest.discovery import AGENTS, transcripts

PLACES = {
    ".claude/projects/-home-me-shop/session.jsonl": "claude-code",
    ".claude/projects/-home-me-shop/session/subagents/agent-1.jsonl": "claude-code",
    ".config/claude/projects/-home-me/other.jsonl": "claude-code",
    ".codex/sessions/2026/01/02/rollout-2026-01-02.jsonl": "codex",
    ".codex/archived_sessions/rollout-2025-12-31.jsonl": "codex",
    ".gemini/tmp/0123/chats/session-2025-12-31T10-00-01234567.json": "gemini-cli",
    ".gemini/tmp/0123/chats/session-2026-01-02T10-00-01234567.jsonl": "gemini-cli",
    ".gemini/tmp/0123/chats/01234567-89ab/agent.jsonl": "gemini-cli",
    ".local/share/opencode/storage/message/ses_1/msg_1.json": "opencode",
    ".local/share/opencode/opencode.db": "opencode",
    ".pi/agent/sessions/--home-me--/2026-01-02.jsonl": "pi",
}
OTHERS = (
    ".claude/settings.json",
    ".claude/history.jsonl",
    ".codex/history.jsonl",
    ".gemini/settings.json",
    ".gemini/tmp/0123/logs.json",
    ".local/share/opencode/opencode.db-wal",
    ".local/share/opencode/storage/session/info/ses_1.json",
    "projects/session.jsonl",
)


def write(home: Path, *names: str) -> None:
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("{}")


def test_each_transcript_of_each_agent_is_found_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, *PLACES, *OTHERS)
    found = [(path.relative_to(tmp_path).as_posix(), agent) for agent, path in transcripts(tmp_path)]
    assert len(found) == len(set(found))
    assert dict(found) == PLACES
    assert set(PLACES.values()) == set(AGENTS)


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("CLAUDE_CONFIG_DIR", "projects/x/new.jsonl"),
        ("CODEX_HOME", "sessions/2026/new.jsonl"),
        ("GEMINI_CLI_HOME", ".gemini/tmp/x/chats/new.jsonl"),
        ("XDG_DATA_HOME", "opencode/opencode.db"),
        ("PI_CODING_AGENT_DIR", "sessions/x/new.jsonl"),
    ],
)
def test_folder_that_was_moved_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    home, moved = tmp_path / "home", tmp_path / "moved"
    write(moved, name)
    for each in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME", "XDG_DATA_HOME", "PI_CODING_AGENT_DIR"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("HOME", str(home))
    assert list(transcripts()) == []
    monkeypatch.setenv(variable, str(moved))
    assert [path for _, path in transcripts()] == [moved / name]


def test_home_without_agents_has_none(tmp_path: Path) -> None:
    assert list(transcripts(tmp_path)) == []
