"""An audit without names: agents, tools, sessions, users and tags become numbered words, models stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "agent": "agent",
    "name": "span",
    "session_id": "session",
    "source": "source",
    "value": "value",
    "tag": "tag",
    "version": "version",
}
"""Keys that hold a user's names, and what they are called instead."""
DROPPED = frozenset({"note", "detail"})
"""Keys whose free text can hold names."""
OWN_TEXT = frozenset({"claims", "reconciliation", "roofline", "scenarios", "ratio", "totals"})
"""Parts of the document that hold no name of a user's."""


def redacted(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with names replaced; the same name becomes the same word throughout."""
    return _Redaction().document(document)


class _Redaction:
    def __init__(self) -> None:
        self._words: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def document(self, document: Mapping[str, Any]) -> dict[str, Any]:
        result = {key: value if key in OWN_TEXT else self._walk(value) for key, value in document.items()}
        result["groups"] = {
            by: rows if by == "model" else [{**row, "key": self._word(by, row["key"])} for row in rows]
            for by, rows in document["groups"].items()
        }
        result["window"] = {**document["window"], "where": []}
        bill = document["reconciliation"]
        if bill.get("files"):
            result["reconciliation"] = {**bill, "files": [self._file(file) for file in bill["files"]]}
        if document["roofline"]:
            runs = [
                {**run, "name": self._word("training run", run["name"])} for run in document["roofline"]["training"]
            ]
            result["roofline"] = {**document["roofline"], "training": runs}
        result["redacted"] = True
        return result

    def _file(self, file: Mapping[str, Any]) -> dict[str, Any]:
        return {**file, "path": self._word("file", file["path"])}

    def _walk(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._item(str(key), inner) for key, inner in value.items()}
        return [self._walk(item) for item in value] if isinstance(value, list) else value

    def _item(self, key: str, value: Any) -> Any:
        if isinstance(value, str):
            if key in DROPPED:
                return "redacted"
            return self._word(NAMES[key], value) if key in NAMES else value
        return self._walk(value)

    def _word(self, kind: str, name: str) -> str:
        if name == "unknown":
            return name
        found = self._words.get((kind, name))
        if found is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            found = self._words[kind, name] = f"{kind}-{self._counts[kind]}"
        return found
