"""A request that the provider refused costs nothing; whatever may have been answered stays unknown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferometer.analyzer.accounting import account
from inferometer.ingest.commit import commit
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.reprocess import raw_of
from inferometer.ingest.resolve import resolve
from inferometer.schema.records import Status, UsageSource
from inferometer.store import open_store
from inferometer.testing.raw_spans import SECOND, START, agent, chat, raw, span_id

STATUSES = "inferometer.attempt.statuses"


def failed(number: int, model: str = "gpt-4o", **said: Any) -> RawSpan:
    """A call that ended in an error, without usage."""
    span = raw(number, "chat", 1, gen_ai__operation__name="chat", gen_ai__request__model=model)
    span.status = Status.ERROR
    span.attributes |= {name.replace("__", "."): value for name, value in said.items()}
    return span


@pytest.mark.parametrize(
    ("said", "is_refused"),
    [
        ({STATUSES: (429, 429, 429)}, True),
        ({STATUSES: (404,), "error.type": "openai.NotFoundError"}, True),
        ({"http.response.status_code": 400}, True),
        ({"error.type": "anthropic.RateLimitError"}, True),
        ({"error.type": "401"}, True),
        ({STATUSES: (503, 429), "error.type": "openai.RateLimitError"}, False),
        ({STATUSES: (0, 0)}, False),
        ({STATUSES: (408,)}, False),
        ({STATUSES: (200,), "error.type": "openai.BadRequestError"}, False),
        ({"http.response.status_code": 500}, False),
        ({"error.type": "openai.APITimeoutError"}, False),
        ({"error.type": "openai.APIConnectionError"}, False),
        ({"error.type": "openai.RateLimitError", "inferometer.ttft_ns": 5}, False),
        ({"error.type": "openai.RateLimitError", "gen_ai.response.id": "answer"}, False),
        ({"http.response.status_code": 429, "gen_ai.usage.input_tokens": 7}, False),
        ({}, False),
    ],
    ids=str,
)
def test_only_what_was_plainly_refused_is_taken_as_refused(said: dict[str, Any], is_refused: bool) -> None:
    batch = normalise([failed(2, **said)])
    (call,) = batch.inferences
    assert (call.usage_source is UsageSource.REFUSED) is is_refused
    assert any("refused by the provider" in reason for reason in call.reasons) is is_refused
    assert call.billable
    (again,) = normalise(map(raw_of, batch.spans)).inferences
    assert (again.usage_source, again.reasons) == (call.usage_source, call.reasons)


def test_a_refused_call_leaves_a_sum_exact_and_a_broken_one_makes_it_a_bound(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store.sqlite")) as store:
        with store.transaction() as tx:
            commit(tx, normalise([agent(1, end=9), chat(2, 1), failed(3, "no-such-model", **{STATUSES: (404,)})]))
        exact = account(store).total
        with store.transaction() as tx:
            commit(tx, normalise([failed(4, **{STATUSES: (500,)})]))
        bound = account(store).total
    assert (exact.inferences, exact.unpriced, exact.partial) == (2, 0, 0)
    assert (exact.meters_open["input_fresh"], exact.meters_open["output"]) == (0, 0)
    assert (bound.inferences, bound.unpriced, bound.meters_open["output"]) == (3, 1, 1)
    assert exact.cost_usd == bound.cost_usd
    assert exact.cost_usd is not None
    assert exact.cost_usd > Decimal(0)


def test_the_usage_of_a_call_outlives_a_refused_try_within_it() -> None:
    batch = normalise([chat(1, end=2), failed(2, **{STATUSES: (429,)})])
    decided = {call.span_id: call.billable for call in resolve(batch, START + 3600 * SECOND).inferences}
    assert decided == {span_id(1): True, span_id(2): False}
