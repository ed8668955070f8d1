"""What the stub answers: scripted replies first, else a rule that any agent loop can work with."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

CHARACTERS_PER_TOKEN = 4
CACHE_MINIMUM_TOKENS = 1024
CACHE_STEP_TOKENS = 128
PROMPTS_REMEMBERED = 64
_WORDS = [
    "the",
    "answer",
    "follows",
    "from",
    "what",
    "the",
    "tools",
    "returned",
    "and",
    "every",
    "figure",
    "was",
    "checked",
    "against",
    "its",
    "source",
    "before",
    "it",
    "was",
    "written",
    "down",
    "so",
    "that",
    "the",
    "reader",
    "can",
    "repeat",
    "each",
    "step",
    "and",
    "come",
    "to",
    "the",
    "same",
    "result",
]


@dataclass(slots=True)
class ToolUse:
    """One tool call that a reply asks for."""

    name: str
    arguments: dict[str, Any]
    call_id: str = ""


@dataclass(slots=True)
class Reply:
    """One answer of the model; token counts that are None are worked out from the text."""

    text: str = ""
    tools: list[ToolUse] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    response_id: str | None = None
    service_tier: str | None = None
    without_usage: bool = False
    usage_unasked: bool = False
    """Whether a stream of chat completions tells its usage though nobody asked, as Mistral's does."""

    breaks_after: int | None = None
    """Chunks of a stream after which the connection is cut; None: it ends well."""


@dataclass(slots=True)
class Failure:
    """One HTTP error instead of an answer."""

    status: int
    message: str = "the stub was told to fail"
    retry_after_s: float | None = None
    code: str | None = None


@dataclass(slots=True)
class Prompt:
    """What a request asks, whatever interface it came through.

    ``turns`` are (role, text) in order; ``tools`` are (name, JSON schema of the parameters) in order.
    """

    model: str
    turns: list[tuple[str, str]]
    tools: list[tuple[str, Mapping[str, Any]]]
    stream: bool = False

    @property
    def text(self) -> str:
        """All of the input in the order in which a model reads it."""
        return json.dumps([list(map(list, self.tools)), self.turns], default=str)


class Brain:
    """Answers prompts; thread-safe, and the same requests in the same order get the same answers.

    Without a script, tools that are offered are called one after the other, once each and at most `tool_calls`, with
    arguments made from their schemas; then comes a text. A prompt that begins as an earlier one did is read from a
    cache, as providers do: from 1,024 tokens on, in steps of 128.
    """

    def __init__(self, tool_calls: int = 3, answer_words: int = 24) -> None:
        self.script: deque[Reply | Failure] = deque()
        self.tool_calls = tool_calls
        self.answer_words = answer_words
        self._prompts: deque[str] = deque(maxlen=PROMPTS_REMEMBERED)
        self._count = 0
        self._lock = threading.Lock()

    def answer(self, prompt: Prompt) -> Reply | Failure:
        """Return the next scripted answer, else one by the rule, with its token counts worked out."""
        with self._lock:
            self._count += 1
            count = self._count
            planned = self.script.popleft() if self.script else self._reply_by_rule(prompt)
            if isinstance(planned, Failure):
                return planned
            self._fill(planned, prompt, count)
            return planned

    def _reply_by_rule(self, prompt: Prompt) -> Reply:
        # a turn of the user's begins the count anew: what tools returned before it was for an earlier question
        after = max((place for place, (role, _) in enumerate(prompt.turns) if role == "user"), default=-1)
        done = sum(role == "tool" for role, _ in prompt.turns[after + 1 :])
        if done < min(len(prompt.tools), self.tool_calls):
            name, schema = prompt.tools[done]
            return Reply(tools=[ToolUse(name, example_of(schema, prompt.turns))])
        start = int.from_bytes(blake2b(prompt.text.encode(), digest_size=2).digest()) % len(_WORDS)
        words = [_WORDS[(start + place) % len(_WORDS)] for place in range(self.answer_words)]
        return Reply(text=" ".join(words).capitalize() + ".")

    def _fill(self, reply: Reply, prompt: Prompt, count: int) -> None:
        text = prompt.text
        if reply.input_tokens is None:
            reply.input_tokens = tokens_of(text)
        if reply.cached_tokens is None:
            reply.cached_tokens = min(self._cached(text), reply.input_tokens)
        self._prompts.append(text)
        for place, use in enumerate(reply.tools):
            use.call_id = use.call_id or f"call_{count:04d}_{place}"
        if reply.output_tokens is None:
            written = reply.text + "".join(use.name + json.dumps(use.arguments) for use in reply.tools)
            reply.output_tokens = tokens_of(written) + reply.reasoning_tokens
        if reply.response_id is None:
            reply.response_id = f"stub-{count:06d}"

    def _cached(self, text: str) -> int:
        longest = max((_shared(text, earlier) for earlier in self._prompts), default=0)
        shared = longest // CHARACTERS_PER_TOKEN // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS
        return shared if shared >= CACHE_MINIMUM_TOKENS else 0


def tokens_of(text: str) -> int:
    """Return the tokens of a text as the stub counts them: four characters each, at least one."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


def example_of(schema: Mapping[str, Any], turns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return arguments that a tool's JSON schema allows; texts are taken from the last thing the user said."""
    said = next((text for role, text in reversed(turns) if role == "user" and text), "example")
    required = set(schema.get("required") or schema.get("properties") or ())
    return {
        name: _example_value(rule, said) for name, rule in (schema.get("properties") or {}).items() if name in required
    }


def _example_value(rule: Any, said: str) -> Any:
    if not isinstance(rule, Mapping):
        return said
    if rule.get("enum"):
        return rule["enum"][0]
    if "default" in rule:
        return rule["default"]
    kind = rule.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    kind = str(kind).lower()
    if kind == "integer":
        return int(rule.get("minimum", 1))
    if kind == "number":
        return float(rule.get("minimum", 1))
    if kind == "boolean":
        return True
    if kind == "array":
        return [_example_value(rule.get("items"), said)]
    if kind == "object":
        return example_of(rule, [("user", said)])
    return said[:200]


def _shared(text: str, earlier: str) -> int:
    """Return how many leading characters two texts share, by bisection."""
    low, high = 0, min(len(text), len(earlier))
    while low < high:
        middle = (low + high + 1) // 2
        if text[:middle] == earlier[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
