"""What people and models said, counted, composed and hashed; nothing of it is kept here.

Prefixes are hashed over one vocabulary whatever the model; counts that stand for a provider's use the model's own where
it is known and are marked as estimates where it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from inferometer.ingest.users import current_key
from inferometer.schema.errors import UserError
from inferometer.schema.messages import Origin, Part, parts_of
from inferometer.schema.meters import Meters
from inferometer.schema.records import Composition, Inference, PrefixChain, ToolOffered, UsageSource

if TYPE_CHECKING:
    from inferometer.tokens.history import History
    from inferometer.tokens.key import HashKey

VOCABULARY = "o200k_base"
"""Of prefix hashes and compositions; a model's own count scales them."""

MESSAGE_TOKENS = 3
REPLY_TOKENS = 3
"""What OpenAI's chat format adds to each message, and once to begin the reply.

Source: OpenAI cookbook, How_to_count_tokens_with_tiktoken.
"""


@dataclass(slots=True)
class Described:
    """An input without its words: tokens of `VOCABULARY` by origin, tools offered, prefix hashes."""

    tokens: int
    composition: Composition
    tools_offered: list[ToolOffered]
    prefix: PrefixChain


def describe(parts: Sequence[Part], key: HashKey | None = None) -> Described | None:
    """Return what the texts of one input weigh and which prefixes they have; None where there are none.

    Args:
        parts: the texts.
        key: the secret that prefixes are hashed under; the user's own where None.
    """
    texts = [part.text for part in parts if part.text]
    if not texts:
        return None
    tokens, prefix = _history(key or current_key()).prefix_chain(texts)
    sums: dict[str, int] = {}
    offered = []
    left, last = tokens, len(texts)
    for part in parts:
        count = 0
        if part.text:
            last -= 1
            # each text is encoded on its own, so the last, mostly the one that is new, need not be counted again
            count = count_text(part.text, VOCABULARY) if last else left
            left -= count
        sums[part.origin] = sums.get(part.origin, 0) + count
        if part.origin is Origin.TOOLS:
            offered.append(ToolOffered(part.name, count))
    return Described(tokens, Composition(**sums), offered, prefix)


@lru_cache(maxsize=4)
def _history(key: HashKey) -> History:
    """Return what was sent before, for agents send most of it again; it keeps hashes and no words."""
    from inferometer.tokens import encoding
    from inferometer.tokens.history import History

    return History(encoding(VOCABULARY), key=key)


def describe_input(call: Inference, system: Any, messages: Any, tools: Any, key: HashKey | None = None) -> list[Part]:
    """Set an inference's composition, tools offered and prefix from its input; return the input's parts.

    Args:
        call: what the input was sent for; what it knows already stays.
        system: system instructions in any shape.
        messages: the messages in any provider's shape.
        tools: tool definitions in any shape.
        key: the secret that prefixes are hashed under; the user's own where None.
    """
    parts = parts_of(system, messages, tools)
    described = describe(parts, key)
    if described is not None:
        call.composition = call.composition or described.composition
        call.tools_offered = call.tools_offered or described.tools_offered
        call.prefix = call.prefix or described.prefix
    return parts


def count_missing(call: Inference, parts: Sequence[Part], answer: Iterable[str] | None) -> None:
    """Count what the provider did not tell, from the texts, and mark it.

    Args:
        call: an inference whose meters are not known, or not its output.
        parts: its input.
        answer: the texts of its answer; None where they are not known.
    """
    vocabulary, exact = _vocabulary_of(call.model)
    counted = []
    meters = Meters(**call.meters.as_dict())
    if meters.input_total is None and parts:
        framing = MESSAGE_TOKENS * len(parts) + REPLY_TOKENS
        meters.input_fresh = sum(count_text(part.text, vocabulary) for part in parts) + framing
        counted.append("input")
    if meters.output is None and answer is not None:
        meters.output = sum(count_text(text, vocabulary) for text in answer)
        counted.append("output")
    if not counted:
        return
    call.meters = meters
    call.usage_source = UsageSource.COUNTED if exact else UsageSource.ESTIMATED
    kind = "the model's vocabulary" if exact else f"{vocabulary}, for the model's own is not known"
    call.reasons.append(f"{' and '.join(counted)} counted from the text with {kind}")


def count_text(text: str, vocabulary: str = VOCABULARY) -> int:
    """Return the tokens of a text; texts that agents send again with each call are counted once."""
    from inferometer.tokens import encoding

    return encoding(vocabulary).count_remembered(text)


@lru_cache(maxsize=1024)
def _vocabulary_of(model: str | None) -> tuple[str, bool]:
    """Return the vocabulary to count a model's text with, and whether it is the model's own."""
    from inferometer import tokens

    name = tokens.encoding_name_for_model(model) if model else None
    if name is None:
        return VOCABULARY, False
    try:
        tokens.encoding(name)
    except UserError:
        return VOCABULARY, False
    return name, True
