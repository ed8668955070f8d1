"""Tables of calls: the evidence that a finding opens to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferometer.reports.commands import Commands
from inferometer.reports.contexts import Cell, Column, Table
from inferometer.reports.numbers import bounded, tokens
from inferometer.schema.wording import counted

NAME_LIMIT = 80
TRACE_FIELDS = ("{trace_id}", "{span_id}", "{run_id}")


@dataclass(slots=True, frozen=True)
class Links:
    """How a call is found: in the tracing UI that people already have, and by a command.

    Attributes:
        trace_url: with ``{trace_id}``, ``{span_id}`` or ``{run_id}`` in it; None for no links.
        commands: the commands that list what the report shows.
    """

    trace_url: str | None = None
    commands: Commands = field(default_factory=Commands)

    def of(self, item: Mapping[str, Any]) -> str | None:
        """Return the address of one call; None where there is no pattern."""
        if self.trace_url is None:
            return None
        address = self.trace_url
        for name in TRACE_FIELDS:
            address = address.replace(name, str(item.get(name.strip("{}")) or ""))
        return address


def shortened(text: str, limit: int = NAME_LIMIT) -> str:
    """Return a text of at most `limit` characters, its end cut and marked."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def evidence_table(
    id_: str, title: str, evidence: Sequence[Mapping[str, Any]], links: Links, amount: str = "Cost"
) -> Table | None:
    """Return the calls behind a finding; None where there are none."""
    if not evidence:
        return None
    rows = [
        [
            Cell(str(item["span_id"]), link=links.of(item), code=True),
            Cell(str(item["run_id"] or "none"), code=True),
            Cell(shortened(str(item["note"]), 160)),
            Cell(tokens(item["tokens"]), sort=float(item["tokens"] or 0)),
            Cell(bounded(item["cost_usd"], int(item["cost_usd"] is None)), sort=float(item["cost_usd"] or 0)),
        ]
        for item in evidence
    ]
    columns = [Column("Call"), Column("Run"), Column("What"), Column("Tokens", True), Column(amount, True)]
    return Table(f"{id_}-evidence", f"{title}: {counted(len(rows), 'call')}, largest first", columns, rows)
