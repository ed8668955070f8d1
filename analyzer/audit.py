"""The audit: one document made of every analysis, all over the same priced calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_diff import spend_document
from inferometer.analyzer.audit_groups import (
    accounted,
    allocation,
    by_agent,
    by_model,
    cost_by_meter,
    coverage,
    groups_of,
    series_by_day,
)
from inferometer.analyzer.audit_quality import data_findings, price_findings
from inferometer.analyzer.audit_run import costliest_calls, costliest_run
from inferometer.analyzer.bridge import bridge, halves, middle_ns, spend_of
from inferometer.analyzer.claims import UTILISATION, Claim, OwnFigures, claims
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.fanout import fanout, run_shapes
from inferometer.analyzer.ledger import Ledger, PublishedRun
from inferometer.analyzer.outcomes import outcomes
from inferometer.analyzer.ratio import Range, TrainingCost, ratio
from inferometer.analyzer.recommend import BestSet, Proposal, Recommendation, recommend
from inferometer.analyzer.waste import CacheRule, Examined, waste
from inferometer.analyzer.waste_cache import resent_share

SCHEMA_VERSION = 1

NOT_RECONCILED = {
    "reconciled": False,
    "traced_share": None,
    "billed_usd": None,
    "traced_usd": None,
    "note": "not reconciled: no bill was given; inferometer reconcile --bill FILE sets one beside the traces",
}


def _no_published(run: PublishedRun) -> TrainingCost:
    raise LookupError(run.model)


@dataclass(slots=True)
class Knowledge:
    """What an audit knows beside the traces; every part can be left out, and its figures are then unknown.

    Attributes:
        prices_as_of: the day of the price list.
        price_list: its name and version.
        cache_rule: how a call's provider caches prompts, None where it does not or is not known.
        active_parameters: active parameters of an open model by name.
        published: cost of an open model's published training.
        claims: industry claims.
        ledger: what the user states.
    """

    prices_as_of: str | None = None
    price_list: str | None = None
    cache_rule: Callable[[CostedCall], CacheRule | None] = field(default=lambda call: None)
    active_parameters: Callable[[str], float | None] = field(default=lambda model: None)
    published: Callable[[PublishedRun], TrainingCost] = _no_published
    claims: Iterable[Claim] = ()
    ledger: Ledger = field(default_factory=Ledger)


@dataclass(slots=True)
class Replayed:
    """What replays add to an audit: the comparison itself, and the recommendations that rest on it."""

    scenarios: list[dict[str, Any]] = field(default_factory=list)
    recommendations: list[Recommendation] = field(default_factory=list)
    own_hardware_usd_per_day: Range | None = None
    roofline: dict[str, Any] | None = None
    substitutes: list[tuple[Proposal, Recommendation]] = field(default_factory=list)
    """Recommendations that take calls off the bill, with what they do to it."""
    serving_set: BestSet | None = None
    """The best compatible changes to how calls are served, replayed together."""


def build_audit(
    dataset: Dataset,
    knowledge: Knowledge,
    *,
    generated_at: datetime,
    replayed: Replayed | None = None,
    reconciliation: dict[str, Any] | None = None,
    window: tuple[int | None, int | None] = (None, None),
    where: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the ``audit`` document of design.md 7; an unknown is None.

    Args:
        dataset: the priced calls.
        knowledge: prices, profiles and ledger.
        generated_at: the time that the document states.
        replayed: replays of the same calls; none where None.
        reconciliation: the traces beside a bill; None where no bill was given.
        window: the selection's first and last nanosecond, None where open.
        where: the selection's equalities.
    """
    replayed = replayed or Replayed()
    ledger = knowledge.ledger
    examined = Examined(dataset, knowledge.cache_rule, ledger)
    shapes = run_shapes(dataset)
    fan = fanout(shapes)
    shares = ratio(
        dataset,
        ledger,
        published=knowledge.published,
        params_active=knowledge.active_parameters,
        own_hardware_usd_per_day=replayed.own_hardware_usd_per_day,
    )
    recommendations, together = recommend(examined, replayed.substitutes)
    own = OwnFigures(
        fanout=fan,
        ratio=shares,
        ledger=ledger,
        scenarios=replayed.scenarios,
        roofline=replayed.roofline,
        utilisation=_utilisation(dataset),
        bytes_per_token=_bytes_per_token(dataset, knowledge.active_parameters),
    )
    parts = halves(dataset)
    accounting = accounted(dataset, "model", by_model)
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": generated_at.astimezone(UTC).isoformat(timespec="seconds"),
        "currency": "USD",
        "window": {
            **_window(dataset, window),
            "middle": _moment(middle_ns(dataset)) if parts else None,
            "where": [list(pair) for pair in where],
        },
        "prices_as_of": knowledge.prices_as_of,
        "price_list": knowledge.price_list,
        "coverage": coverage(dataset),
        "reconciliation": reconciliation or dict(NOT_RECONCILED),
        "totals": accounting.total.as_dict(),
        "groups": {
            "model": groups_of(accounting),
            "agent": groups_of(accounted(dataset, "agent", by_agent)),
        },
        "agreements": [agreement.as_dict() for agreement in accounting.agreements],
        "by_day": series_by_day(dataset),
        "by_meter": cost_by_meter(dataset.calls),
        "allocation": allocation(dataset),
        "fanout": fan,
        "runs": _run_points(shapes),
        "prefix": _prefix(examined),
        "outcomes": outcomes(dataset),
        "waste": [finding.as_dict() for finding in waste(examined)],
        "data_findings": data_findings(dataset),
        "price_findings": price_findings(dataset),
        "spend": spend_document(spend_of(dataset)),
        "bridge": bridge(spend_of(parts[0]), spend_of(parts[1])) if parts else [],
        "ratio": shares,
        "claims": claims(knowledge.claims, own),
        "scenarios": replayed.scenarios,
        "roofline": replayed.roofline,
        "recommendations": [found.as_dict() for found in [*recommendations, *replayed.recommendations]],
        "best_set": _best_set(together, accounting.total.cost_usd is not None),
        "serving_set": replayed.serving_set.as_dict() if replayed.serving_set else None,
        "costliest_run": costliest_run(dataset),
        "costliest_calls": costliest_calls(dataset),
    }


def _best_set(together: BestSet, is_priced: bool) -> dict[str, Any]:
    """Return the best set; its amounts are unknown where nothing has a price."""
    found = together.as_dict()
    return found if is_priced else found | dict.fromkeys(("saving_usd", "sum_of_parts_usd", "remaining_usd"))


def _window(dataset: Dataset, asked: tuple[int | None, int | None]) -> dict[str, Any]:
    span = dataset.span_ns
    return {
        "since": _moment(asked[0]),
        "until": _moment(asked[1]),
        "first": _moment(span[0]) if span else None,
        "last": _moment(span[1]) if span else None,
        "days": dataset.days or None,
    }


def _moment(moment_ns: int | None) -> str | None:
    if moment_ns is None:
        return None
    seconds, rest = divmod(moment_ns, 1_000_000_000)
    return (datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=rest // 1000)).isoformat()


def _prefix(examined: Examined) -> dict[str, float | int | None]:
    """Return the share of input that was sent before, and that which caches served; None where neither is recorded."""
    stated = [call for call in examined.dataset.calls if call.meters.cache_read is not None]
    total = sum(call.input_tokens * call.weight for call in stated)
    read = sum((call.meters.cache_read or 0) * call.weight for call in stated)
    return {
        "reuse_share": resent_share(examined),
        "cache_read_share": read / total if total else None,
        "cache_read_calls": len(stated),
    }


def _utilisation(dataset: Dataset) -> float | None:
    values = [sample.value for sample in dataset.serving_samples if sample.metric in UTILISATION]
    return sum(values) / len(values) if values else None


def _bytes_per_token(dataset: Dataset, active: Callable[[str], float | None]) -> dict[str, float]:
    known = {model: active(model) for model in sorted({call.model for call in dataset.calls})}
    return {model: 2 * parameters / 1e9 for model, parameters in known.items() if parameters}


def _run_points(shapes: Iterable[Any], limit: int = 2000) -> list[dict[str, Any]]:
    """Return each run's fan-out for charts, the costliest where there are more than fit."""
    ranked = sorted(shapes, key=lambda shape: (-(shape.cost_usd or ZERO), shape.run.run_id))[:limit]
    return [
        {
            "run_id": shape.run.run_id,
            "agent": shape.agent,
            "inferences": shape.inferences,
            "tool_calls": shape.tool_calls,
            "input_tokens": shape.input_tokens,
            "cost_usd": shape.cost_usd,
            "unpriced": shape.unpriced,
        }
        for shape in ranked
    ]
