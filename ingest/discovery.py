"""Where this machine's coding agents keep their transcripts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PLACES: tuple[tuple[str, str | None, str, str], ...] = (
    # (agent, environment variable that moves its folder, folder below the home directory, files)
    ("claude-code", "CLAUDE_CONFIG_DIR", ".claude", "projects/**/*.jsonl"),
    ("claude-code", None, ".config/claude", "projects/**/*.jsonl"),
    ("codex", "CODEX_HOME", ".codex", "sessions/**/*.jsonl"),
    ("codex", "CODEX_HOME", ".codex", "archived_sessions/**/*.jsonl"),
    ("gemini-cli", "GEMINI_CLI_HOME", "", ".gemini/tmp/*/chats/**/*.json"),
    ("gemini-cli", "GEMINI_CLI_HOME", "", ".gemini/tmp/*/chats/**/*.jsonl"),
    ("opencode", "XDG_DATA_HOME", ".local/share", "opencode/storage/message/*/*.json"),
    ("opencode", "XDG_DATA_HOME", ".local/share", "opencode/opencode*.db"),
    ("pi", "PI_CODING_AGENT_DIR", ".pi/agent", "sessions/**/*.jsonl"),
)

AGENTS = tuple(dict.fromkeys(agent for agent, *_ in _PLACES))


def transcripts(home: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Yield (agent, file) for every transcript found, each file once.

    Args:
        home: the home directory; the user's own where None, and then environment variables of the agents count too.
    """
    seen: set[Path] = set()
    for agent, variable, folder, pattern in _PLACES:
        moved = os.environ.get(variable) if variable and home is None else None
        root = Path(moved) if moved else (home or Path.home()) / folder
        if not root.is_dir():
            continue
        for path in sorted(root.glob(pattern)):
            if path.is_file() and path not in seen:
                seen.add(path)
                yield agent, path
