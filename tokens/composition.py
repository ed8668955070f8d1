"""What a chat request is made of, in tokens, with what the provider's format adds where that is documented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inferometer.schema.messages import Origin, Part
from inferometer.schema.records import Composition, ToolOffered
from inferometer.tokens.tokenizer import Encoding


@dataclass(frozen=True, slots=True)
class Framing:
    """What a chat format adds to the texts, in tokens.

    ``documented`` is False where the provider does not say and these are another format's numbers.
    """

    message_tokens: int
    reply_tokens: int
    documented: bool
    source: str


OPENAI = Framing(
    4, 3, True, "OpenAI cookbook, How_to_count_tokens_with_tiktoken: 3 a message, 1 for its role, 3 to reply"
)
UNDOCUMENTED = Framing(4, 3, False, "none published; OpenAI's numbers for gpt-4o stand in")

_DOCUMENTED = ("gpt-3.5-turbo", "gpt-4-", "gpt-4o", "gpt-4.1")


@dataclass(frozen=True, slots=True)
class Composed:
    """A request taken apart.

    Args:
        composition: tokens by origin; texts alone.
        framing_tokens: what the chat format adds.
        tools_offered: each tool with the tokens of its definition as it was sent. Providers render definitions in ways
            they do not publish, so this is an estimate wherever there are tools.
        estimated: whether anything above rests on more than counting.
    """

    composition: Composition
    framing_tokens: int
    tools_offered: tuple[ToolOffered, ...]
    estimated: bool

    @property
    def tokens(self) -> int:
        """All of the input."""
        parts = (getattr(self.composition, origin.value) or 0 for origin in Origin)
        return sum(parts) + self.framing_tokens


def framing_of(model: str | None) -> Framing:
    """Return what a model's chat format adds."""
    name = (model or "").lower().rpartition("/")[2]
    return OPENAI if name == "gpt-4" or name.startswith(_DOCUMENTED) else UNDOCUMENTED


def compose(parts: Sequence[Part], encoding: Encoding, model: str | None = None) -> Composed:
    """Take a request apart.

    Args:
        parts: its texts, from `schema.messages.parts_of`.
        encoding: how they are counted; repeated texts are remembered.
        model: whose chat format frames them.
    """
    sums = dict.fromkeys((origin.value for origin in Origin), 0)
    tools = []
    messages = 0
    for part in parts:
        tokens = encoding.count_remembered(part.text)
        sums[part.origin.value] += tokens
        if part.origin is Origin.TOOLS:
            tools.append(ToolOffered(part.name, tokens))
        else:
            messages += 1
    framing = framing_of(model)
    added = framing.message_tokens * messages + framing.reply_tokens if messages else 0
    return Composed(Composition(**sums), added, tuple(tools), estimated=bool(tools) or not framing.documented)
