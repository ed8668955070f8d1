"""Tokens of recorded calls as another model counts them, from the text that the store kept of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from inferometer.ingest.kept import read_kept_text
from inferometer.schema.errors import UserError
from inferometer.schema.records import Inference
from inferometer.store import Store
from inferometer.store.call_spans import read_call_spans
from inferometer.tokens import Encoding, encoding, encoding_name_for_model
from inferometer.tokens.composition import framing_of

STAND_IN = "o200k_base"
"""Counts texts of models whose vocabulary is not known, to see whether they are the whole of what was metered."""
BELIEVABLE = (0.8, 1.6)
"""Metered tokens over those of `STAND_IN`; outside of this, the text that was kept is not all that was sent."""
LEAST_KEPT = 0.5
"""Share of the metered tokens that text must hold to be counted instead."""
NOT_COUNTED = -1

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TextCounts:
    """Tokens of calls in one vocabulary: int32, shape (n_calls,), `NOT_COUNTED` where no text, or not all, was kept."""

    vocabulary: str
    input_tokens: Ints
    output_tokens: Ints

    def of(self, calls: NDArray[np.int64]) -> TextCounts:
        """Return the counts of some calls by number."""
        return TextCounts(self.vocabulary, self.input_tokens[calls], self.output_tokens[calls])


def count_texts(store: Store, model: str, calls: Sequence[Inference], warnings: Counter[str]) -> TextCounts | None:
    """Count what was kept of calls with the vocabulary of a model they are to be replayed on.

    Args:
        store: where the texts are.
        model: that is replayed on.
        calls: in the order of the answer.
        warnings: ``vocabulary_not_installed`` counts calls whose text was kept, but cannot be counted on this machine.

    Returns:
        The counts; None where the model's vocabulary is not known or not here, or every call was counted with it.
    """
    name = encoding_name_for_model(model)
    others = [call for call in calls if encoding_name_for_model(call.model or "") != name]
    if name is None or not others:
        return None
    target = _encoding(name)
    place = {(call.trace_id, call.span_id): number for number, call in enumerate(calls)}
    inputs, outputs = np.full(len(calls), NOT_COUNTED, np.int32), np.full(len(calls), NOT_COUNTED, np.int32)
    for span in read_call_spans(store, (call.trace_id for call in others)):
        number = place.get((span.trace_id, span.span_id))
        if number is None:
            continue
        call, said = calls[number], read_kept_text(span)
        meters = call.meters
        if target is None:
            if said.input is not None:
                warnings["vocabulary_not_installed"] += 1
            continue
        if said.input is not None and meters.input_total:
            inputs[number] = _count_input(said.input, meters.input_total, call.model, target)
        if said.answer is not None and meters.output:
            outputs[number] = _count_answer(said.answer, meters.output, meters.reasoning or 0, call.model, target)
    return None if target is None else TextCounts(name, inputs, outputs)


def _count_input(texts: Sequence[str], metered: int, model: str | None, target: Encoding) -> int:
    """Return the input as the target counts it: its text counted again, what is no text as it was metered."""
    wanted = _sum(texts, target)
    own = _own_encoding(model)
    if own is not None:
        return _exchanged(metered, _sum(texts, own), wanted)
    framing = framing_of(None)
    added = framing.message_tokens * len(texts) + framing.reply_tokens
    return wanted + added if _is_whole(texts, metered) else NOT_COUNTED


def _count_answer(texts: Sequence[str], metered: int, reasoning: int, model: str | None, target: Encoding) -> int:
    wanted = _sum(texts, target)
    own = _own_encoding(model)
    hidden = min(reasoning, metered)
    if own is not None:
        counted = _exchanged(metered - hidden, _sum(texts, own), wanted)
        return counted if counted == NOT_COUNTED else counted + hidden
    return wanted + hidden if _is_whole(texts, metered - hidden) else NOT_COUNTED


def _exchanged(metered: int, own: int, wanted: int) -> int:
    """Return metered tokens with those of a text exchanged for another vocabulary's.

    Where the text has more tokens than were metered it is not what was sent, and its ratio alone is taken; where it has
    less than half of them, most of what was sent was not kept.
    """
    if own < LEAST_KEPT * metered:
        return NOT_COUNTED
    if own <= metered:
        return metered - own + wanted
    return max(1, round(metered * wanted / own))


def _is_whole(texts: Sequence[str], metered: int) -> bool:
    counted = _sum(texts, encoding(STAND_IN))
    return counted > 0 and BELIEVABLE[0] <= metered / counted <= BELIEVABLE[1]


def _sum(texts: Iterable[str], counting: Encoding) -> int:
    return sum(counting.count_remembered(text) for text in texts)


def _own_encoding(model: str | None) -> Encoding | None:
    name = encoding_name_for_model(model) if model else None
    return None if name is None else _encoding(name)


@cache
def _encoding(name: str) -> Encoding | None:
    try:
        return encoding(name)
    except UserError:
        return None
