"""Fine-tuning interfaces: what training a model there costs, and how much dearer it is to serve afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from inferometer.profiles.documents import Document, Provenance, Shelf, parse


@dataclass(frozen=True, slots=True)
class FineTuning:
    """One model that a provider fine-tunes.

    Attributes:
        id: the model, as the provider's price list names it.
        provider: who trains and serves it.
        usd_per_mtok: US dollars for a million training tokens, each epoch counted.
        serving_factor: price of the tuned model's tokens over the base model's.
    """

    id: str
    aliases: tuple[str, ...]
    provider: str
    usd_per_mtok: Decimal
    serving_factor: Decimal
    provenance: Provenance


def read_fine_tuning(document: Document) -> FineTuning:
    """Read one model from its file.

    Raises:
        ProfileError: a key is missing, unknown, out of range or without a unit.
    """
    table = parse(document)
    found = FineTuning(
        id=table.text("id"),
        aliases=table.texts("aliases"),
        provider=table.text("provider"),
        usd_per_mtok=Decimal(str(table.number("usd_per_mtok", minimum=0))),
        serving_factor=Decimal(str(table.number("serving_factor", minimum=0.1))),
        provenance=table.provenance(),
    )
    table.finish()
    return found


FINE_TUNING = Shelf("fine_tuning", "fine-tuning profile", read_fine_tuning)
list_fine_tuning = FINE_TUNING.all
