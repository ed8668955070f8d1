"""Industry claims about inference and its cost: what is said, by whom, and how far it holds."""

from __future__ import annotations

from dataclasses import dataclass

from inferometer.profiles.documents import Document, Provenance, Shelf, Table, parse

STATUSES = (
    "holds",
    "holds_narrower",
    "holds_with_conditions",
    "holds_with_preconditions",
    "holds_batch1_dense_only",
    "plausible_mean_heavy_tail",
    "not_supported",
    "unverified",
    "unsourced",
    "vendor_claim_unverified",
    "vendor_origin_pre_LLM",
    "no_primary_contradicted",
    "conflated",
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence that circulates, with the figure it names and the best source for or against it."""

    id: str
    aliases: tuple[str, ...]
    claim: str
    claimed: str
    status: str
    unit: str
    metric: str
    scope: str
    best_low: float | None
    best_high: float | None
    counter_evidence: str
    how_to_measure: str
    provenance: Provenance

    @property
    def source(self) -> str:
        """The best source for or against it."""
        return self.provenance.source


def read_claim(document: Document) -> Claim:
    """Read one claim from its file.

    Raises:
        ProfileError: a key is missing or unknown.
    """
    table = parse(document)
    claim = Claim(
        id=document.stem,
        aliases=(),
        claim=table.text("claim"),
        claimed=table.text("claimed"),
        status=table.text("status", among=STATUSES),
        unit=table.text("unit"),
        metric=table.text("metric"),
        scope=table.text("scope"),
        best_low=_signed(table, "best_low"),
        best_high=_signed(table, "best_high"),
        counter_evidence=table.text("counter_evidence", "none found"),
        how_to_measure=table.text("how_to_measure", "cannot be measured in traces"),
        provenance=table.provenance(),
    )
    table.finish()
    return claim


def _signed(table: Table, key: str) -> float | None:
    return table.optional_number(key, minimum=float("-inf"))


CLAIMS = Shelf("claims", "claim", read_claim)
list_claims = CLAIMS.all
