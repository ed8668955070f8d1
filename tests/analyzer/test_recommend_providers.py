"""The same open model at another provider: priced again by the published list."""

from __future__ import annotations

from decimal import Decimal

from inferometer.analyzer.ledger import Ledger
from inferometer.analyzer.recommend import Recommendation, recommend
from inferometer.analyzer.waste import Examined
from inferometer.profiles.prices import Priced, load_prices
from inferometer.schema.rows import InferenceRow
from inferometer.testing.workload import FlatPrices, Workload

OPEN = "meta-llama/Llama-3.1-8B-Instruct"
THERE = "llama-3.1-8b-instruct"
RATES = {"input": "10", "cache_read": "2", "output": "50"}
CHEAPER = {"input": "4", "cache_read": "1", "output": "20"}
M = Decimal(1_000_000)


class TwoSellers(FlatPrices):
    """The model under one name at the dear provider and another at the cheap one."""

    def other_sellers(self, provider: str | None, model: str) -> list[tuple[str, str]]:
        found = [("dear", OPEN), ("cheap", THERE), ("unpriced", "nothing"), ("free", "free")]
        return [pair for pair in found if pair[0] != provider]


def bought(provider: str = "dear", model: str = OPEN, *, read: int = 0) -> Workload:
    zero = dict.fromkeys(RATES, "0")
    work = Workload(prices=TwoSellers({OPEN: RATES, THERE: CHEAPER, "free": zero, "large": RATES}))
    for number in range(4):
        run = work.run(number * 1000)
        work.call(run, number * 1000, 5, model=model, provider=provider, input_fresh=5000, cache_read=read, output=1000)
    return work


def recommended(work: Workload) -> dict[str, Recommendation]:
    return {one.id: one for one in recommend(Examined(work.dataset(), lambda call: None, Ledger()))[0]}


def test_the_cheapest_seller_that_prices_each_call_saves_the_difference_of_two_lists() -> None:
    found = recommended(bought())["other_provider"]
    assert found.saving_usd.mid == 4 * (5000 * (10 - 4) + 1000 * (50 - 20)) / M
    assert found.saving_usd.low == found.saving_usd.mid
    assert "from cheap in place of dear" in found.action
    assert found.calls == 4


def test_where_the_other_provider_may_not_cache_the_low_figure_pays_reads_as_fresh() -> None:
    found = recommended(bought(read=3000))["other_provider"]
    assert found.saving_usd.mid == 4 * (5000 * 6 + 3000 * (2 - 1) + 1000 * 30) / M
    assert found.saving_usd.low == 4 * (5000 * 6 + 3000 * (2 - 4) + 1000 * 30) / M


def test_who_buys_from_the_cheapest_already_or_a_closed_model_is_left_alone() -> None:
    assert "other_provider" not in recommended(bought("cheap", THERE))
    assert "other_provider" not in recommended(bought(model="large"))
    assert "other_provider" not in recommended(bought("vllm"))


def test_the_published_list_names_who_sells_the_same_model_under_its_owners_name_or_none() -> None:
    prices = load_prices()
    sellers = dict(prices.other_sellers("groq", "openai/gpt-oss-120b"))
    assert "groq" not in sellers
    assert sellers["cerebras"] == "gpt-oss-120b"
    assert all(name.rpartition("/")[2].lower() == "gpt-oss-120b" for name in sellers.values())


def test_a_real_call_is_priced_at_each_seller_by_its_own_list() -> None:
    prices = load_prices()
    work = bought("groq", "openai/gpt-oss-120b")
    row = work.rows[0]
    costs = set()
    for seller, name in prices.other_sellers("groq", "openai/gpt-oss-120b"):
        row.inference.provider, row.inference.request_model = seller, name
        priced: Priced = prices.price(InferenceRow(row.inference, row.placement))
        if priced.card is None:  # listed under a name by which the list itself does not find it: never proposed
            continue
        assert priced.card.provider == seller
        costs.add(priced.list_cost_usd)
    assert len(costs) > 2
