"""Fine-tuning a repeated step: saving, payback and the volume below which it never pays, in closed form."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from inferometer.analyzer.ledger import Ledger, Training
from inferometer.analyzer.recommend import assess
from inferometer.analyzer.recommend_tuning import EPOCHS, EXAMPLES, tuning_proposals
from inferometer.analyzer.waste import Examined
from inferometer.profiles.documents import Provenance
from inferometer.profiles.fine_tuning import FineTuning, list_fine_tuning
from inferometer.testing.workload import Workload

M = Decimal(1_000_000)
ORIGIN = Provenance(date(2026, 11, 23), "list", "high")


def student(usd_per_mtok: str = "3", factor: str = "2") -> FineTuning:
    return FineTuning("small", (), "acme", Decimal(usd_per_mtok), Decimal(factor), ORIGIN)


def step(calls: int = EXAMPLES) -> Workload:
    """Return as many short calls of one agent over ten days, 1,000 tokens in and 100 out."""
    work = Workload()
    for number in range(calls):
        at = number * 864_000 / (calls - 1) if calls > 1 else 0.0
        work.call(work.run(at, agent="sorter"), at, 0, input_fresh=1000, cache_read=0, output=100)
    return work


def examined(work: Workload, ledger: Ledger | None = None) -> Examined:
    return Examined(work.dataset(), lambda call: None, ledger or Ledger())


def test_a_tuned_model_saves_the_difference_at_its_dearer_price_and_pays_its_training_back() -> None:
    looked = examined(step())
    (proposal,) = tuning_proposals(looked, [student()])
    found = assess(proposal, looked)
    assert found is not None
    large, tuned = (1000 * 10 + 100 * 50) / M, 2 * (1000 * 1 + 100 * 5) / M
    assert found.saving_usd.high == EXAMPLES * (large - tuned)
    assert found.saving_usd.mid == EXAMPLES * (large - tuned - large * Decimal("0.1"))
    assert found.saving_usd.low == EXAMPLES * (large - tuned - large * Decimal("0.25"))
    assert found.one_off_usd == EXAMPLES * 1100 * EPOCHS * 3 / M
    assert found.payback_days == pytest.approx(float(found.one_off_usd / found.saving_usd.mid * 10))


def test_the_least_volume_is_where_a_life_of_savings_equals_the_training() -> None:
    looked = examined(step())
    (proposal,) = tuning_proposals(looked, [student()])
    found = assess(proposal, looked)
    assert found is not None
    least = float(found.one_off_usd / (found.saving_usd.mid / EXAMPLES) / 365)
    assert any(condition.startswith(f"below {least:,.1f} calls a day") for condition in proposal.preconditions)


def test_training_that_a_models_life_does_not_earn_back_is_not_proposed() -> None:
    looked = examined(step())
    saving_per_life = EXAMPLES * Decimal("0.0105") / 10 * 365
    dear = saving_per_life / (EXAMPLES * 1100 * EPOCHS / M)
    assert tuning_proposals(looked, [student(str(dear * Decimal("0.99")))])
    assert tuning_proposals(looked, [student(str(dear * Decimal("1.01")))]) == []
    short = Ledger(training=Training(lifetime_days=Decimal(100)))
    assert tuning_proposals(examined(step(), short), [student(str(dear * Decimal("0.99")))]) == []


def test_a_serving_price_above_the_large_models_or_too_few_calls_yield_nothing() -> None:
    assert tuning_proposals(examined(step()), [student(factor="9.1")]) == []
    assert tuning_proposals(examined(step(EXAMPLES - 1)), [student()]) == []
    assert tuning_proposals(examined(step()), []) == []


def test_shipped_models_name_their_price_factor_and_source() -> None:
    for found in list_fine_tuning().values():
        assert found.usd_per_mtok > 0
        assert Decimal("1.5") <= found.serving_factor <= 2
        assert found.provenance.source
