"""Every call behind one figure of an audit, where the audit itself keeps the fifty that count most."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inferometer.analyzer.audit import Knowledge
from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_quality import data_findings, price_findings
from inferometer.analyzer.costed_call import CostedCall
from inferometer.analyzer.recommend import assess, proposals
from inferometer.analyzer.waste import Evidence, Examined, evidence_of, passes, ranked
from inferometer.schema.errors import UnknownNameError

ALL_CALLS, PRICES = "calls", "prices"


@dataclass(slots=True)
class Listing:
    """What a figure is called, and the calls behind it, the costliest first."""

    id: str
    title: str
    calls: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return the listing as a document has it."""
        return {"id": self.id, "title": self.title, "calls": self.calls}


def list_calls(dataset: Dataset, knowledge: Knowledge, id_: str) -> Listing:
    """Return the calls behind a figure.

    Args:
        dataset: what is audited.
        knowledge: as the audit has it.
        id_: ``calls`` for all of them, ``prices`` for recorded costs that the list does not explain, else the kind and
            the id of a finding or recommendation, such as ``waste-failed_calls`` or ``action-prompt_caching``.

    Raises:
        UnknownNameError: there is no such figure in this audit; the message names those nearest.
    """
    examined = Examined(dataset, knowledge.cache_rule, knowledge.ledger, evidence_limit=sys.maxsize)
    kind = id_.partition("-")[0]
    if id_ == ALL_CALLS:
        return Listing(id_, "All calls", _dicts([_as_evidence(call) for call in dataset.calls]))
    if id_ == PRICES:
        found = price_findings(dataset, sys.maxsize)
        return Listing(
            id_, "Recorded costs that the list does not explain", [item for one in found for item in one["evidence"]]
        )
    readers: dict[str, Callable[[Examined], dict[str, Listing]]] = {"waste": _waste, "data": _data, "action": _actions}
    chosen = [readers[kind]] if kind in readers else readers.values()
    listings = {key: found for read in chosen for key, found in read(examined).items()}
    if id_ not in listings:
        raise UnknownNameError("figure of this audit", id_, [*listings, ALL_CALLS, PRICES])
    return listings[id_]


def _waste(examined: Examined) -> dict[str, Listing]:
    found = (finding for examine in passes() for finding in examine(examined))
    return {f"waste-{one.id}": Listing(f"waste-{one.id}", one.title, _dicts(one.evidence)) for one in found}


def _data(examined: Examined) -> dict[str, Listing]:
    found = data_findings(examined.dataset, sys.maxsize)
    return {f"data-{one['id']}": Listing(f"data-{one['id']}", one["title"], one["evidence"]) for one in found}


def _actions(examined: Examined) -> dict[str, Listing]:
    found = filter(None, (assess(proposal, examined) for proposal in proposals(examined)))
    return {f"action-{one.id}": Listing(f"action-{one.id}", one.title, _dicts(one.evidence)) for one in found}


def _dicts(evidence: list[Evidence]) -> list[dict[str, Any]]:
    return [item.as_dict() for item in ranked(evidence)]


def _as_evidence(call: CostedCall) -> Evidence:
    agent = call.placement.agent_name
    note = f"{call.model}, {agent}" if agent else call.model
    return evidence_of(call, note, call.meters.total, call.cost_usd)
