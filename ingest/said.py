"""What was said in a call, as attributes of its span: what importers write where content is kept, as tracers do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inferometer.ingest.retention import retain
from inferometer.schema.messages import to_json

_NAMES = {
    "system": "gen_ai.system_instructions",
    "messages": "gen_ai.input.messages",
    "tools": "gen_ai.tool.definitions",
}


@dataclass(frozen=True, slots=True)
class Said:
    """System instructions, messages and tools in any provider's shape, and the texts of the answer."""

    system: Any = None
    messages: Any = None
    tools: Any = None
    answer: Iterable[str] | None = None

    def attributes(self) -> dict[str, Any]:
        """Return them under the names of the semantic conventions, each bounded in size."""
        said = {key: getattr(self, name) for name, key in _NAMES.items()}
        texts = [text for text in self.answer or () if text]
        if texts:
            parts = [{"type": "text", "content": text} for text in texts]
            said["gen_ai.output.messages"] = [{"role": "assistant", "parts": parts}]
        written = {key: value if isinstance(value, str) else to_json(value) for key, value in said.items() if value}
        return retain(written, None, keep_content=True)[0]
