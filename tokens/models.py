"""Which vocabulary a model uses.

Source: tiktoken/model.py of tiktoken 0.14.0 for OpenAI's models; later names follow their family.
"""

from __future__ import annotations

import re

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"gpt-oss", "o200k_harmony"),
        (
            r"(?:ft:)?(?:chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-[5-9]|o[1-9](?:-|$)|codex-mini|computer-use)",
            "o200k_base",
        ),
        (r"(?:ft:)?(?:gpt-4|gpt-3\.5|gpt-35)|text-embedding-(?:3|ada-002)|davinci-002|babbage-002", "cl100k_base"),
    )
)


def encoding_name_for_model(model: str) -> str | None:
    """Return the vocabulary of a model; None where it is not known.

    Args:
        model: a model's name, also with a provider before it (``openai/gpt-4o``, ``azure/gpt-4o-2024-08-06``).
    """
    name = model.lower().rpartition("/")[2]
    return next((vocabulary for rule, vocabulary in _RULES if rule.match(name)), None)
