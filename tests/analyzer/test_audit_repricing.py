"""Calls priced again by the card at hand: the same as a list that looks them up anew, negotiated or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferometer.analyzer.audit_repricing import priced_with, with_meters, with_model
from inferometer.analyzer.costed_call import CostedCall, costed
from inferometer.profiles.prices import PriceList, load_prices
from inferometer.schema.meters import METER_NAMES, Meters
from inferometer.schema.records import Inference, Status
from inferometer.schema.rows import InferenceRow, Placement

START_NS = 1_763_600_000 * 10**9
OWN = """
[[contract.rates]]
provider = "anthropic"
discount = 0.2

[[commitments]]
name = "year"
provider = "openai"
amount_usd = 1000
from = 2025-01-01
until = 2026-12-31
"""
MODELS = (
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-4o"),
    ("google", "gemini-2.5-pro"),
    ("acme", "unheard-of"),
)
tokens = st.one_of(st.none(), st.integers(0, 400_000))
meters = st.builds(Meters, **dict.fromkeys(METER_NAMES, tokens))


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> list[PriceList]:
    own = tmp_path_factory.mktemp("prices") / "prices.toml"
    own.write_text(OWN)
    return [load_prices(), negotiated(own)]


def negotiated(path: Path) -> PriceList:
    prices = load_prices(path)
    assert prices.is_negotiated
    return prices


def call_of(name: tuple[str, str], used: Meters, prices: PriceList) -> CostedCall:
    inference = Inference(b"t" * 16, b"s" * 8, *name, meters=used)
    return costed(InferenceRow(inference, Placement("r", None, START_NS, START_NS, Status.OK)), prices.price)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(MODELS), meters, st.dictionaries(st.sampled_from(METER_NAMES[:5]), tokens, max_size=5))
def test_other_tokens_cost_what_the_list_says_of_them(lists, name, used, changes) -> None:
    for prices in lists:
        call = call_of(name, used, prices)
        changed = with_meters(call, prices.price, **changes)
        wanted = call_of(name, replace(used, **changes), prices)
        assert changed.priced == wanted.priced == priced_with(call, prices.price, **changes)
        assert changed.inference == wanted.inference
        assert call.inference.meters == used
        figures = (
            "key",
            "model",
            "provider",
            "start_ns",
            "end_ns",
            "input_tokens",
            "output_tokens",
            "weight",
            "cost_usd",
        )
        assert [getattr(changed, figure) for figure in figures] == [getattr(wanted, figure) for figure in figures]


def test_a_changed_call_goes_to_another_model_with_its_changed_tokens(lists: list[PriceList]) -> None:
    prices = lists[0]
    call = with_meters(call_of(MODELS[0], Meters(1000, 0, output=10), prices), prices.price, input_fresh=10)
    moved = with_model(call.with_extra(call.cost_usd or 0), prices.price, "claude-haiku-4-5")
    assert moved.inference.meters.input_fresh == 10
    assert moved.cost_usd == call_of(("anthropic", "claude-haiku-4-5"), Meters(10, 0, output=10), prices).cost_usd + (
        call.cost_usd or 0
    )


def test_the_negotiated_list_negotiates(lists: list[PriceList]) -> None:
    discounted, covered = (call_of(name, Meters(1000, 0, output=10), lists[1]).priced for name in MODELS[:2])
    assert discounted.contracted_cost_usd != discounted.list_cost_usd
    assert covered.coverage == (0,)
