"""A budget stops the call that would break it, says what was spent, and is wrong at decoration or not at all."""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import openai
import pytest

import inferometer
from inferometer.schema.errors import BudgetExceeded, MissingExtraError, UserError
from inferometer.schema.meters import Meters
from inferometer.testing import Recorded, record
from inferometer.testing.model_stub import Failure, ModelStub, Reply
from inferometer.tracer.budget import Budget, Spending


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with ModelStub() as stub:
        yield stub


@pytest.fixture
def client(stub: ModelStub) -> Iterator[openai.OpenAI]:
    inferometer.instrument("openai")
    with openai.OpenAI(base_url=stub.openai_url, api_key="x", max_retries=0) as client:
        yield client
    inferometer.uninstrument()


def _price(provider: str | None, model: str | None, meters: Meters) -> Decimal | None:
    """One cent a token of input, ten of output."""
    if model == "unpriced":
        return None
    return Decimal(meters.input_total or 0) / 100 + Decimal(meters.output or 0) / 10


def _call(client: openai.OpenAI, model: str = "gpt-4o", content: str = "hi") -> None:
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])


def test_dollars_stop_the_call_after_the_one_that_spent_them(stub: ModelStub, client: openai.OpenAI) -> None:
    stub.script(*(Reply("x", input_tokens=10, output_tokens=1) for _ in range(10)))

    @inferometer.agent(budget_usd=0.5)
    def clerk() -> None:
        for _ in range(10):
            _call(client)

    with record(prices=_price), pytest.raises(BudgetExceeded) as stopped:
        clerk()
    # 20 cents a call: two calls, the third would begin under the limit of 50, the fourth would not
    assert len(stub.requests) == 3
    assert stopped.value.limit == "budget_usd"
    assert stopped.value.spent["usd"] == Decimal("0.60")
    assert stopped.value.spent["inferences"] == 3
    copy = pickle.loads(pickle.dumps(stopped.value))
    assert copy.spent == stopped.value.spent


def test_call_whose_input_alone_breaks_the_budget_is_not_sent(stub: ModelStub, client: openai.OpenAI) -> None:
    @inferometer.agent(budget_usd=Decimal("0.5"))
    def clerk() -> None:
        _call(client, content="long " * 100)

    with record(prices=_price), pytest.raises(BudgetExceeded):
        clerk()
    assert stub.requests == []


def test_tokens_and_calls_are_limited(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    stub.script(*(Reply("x", input_tokens=90, output_tokens=10) for _ in range(9)))

    @inferometer.agent(budget_tokens=250)
    def by_tokens() -> None:
        while True:
            _call(client)

    @inferometer.agent(max_inferences=2)
    def by_calls() -> None:
        while True:
            _call(client)

    with pytest.raises(BudgetExceeded) as tokens:
        by_tokens()
    assert (tokens.value.limit, tokens.value.spent["tokens"]) == ("budget_tokens", 300)
    with pytest.raises(BudgetExceeded) as calls:
        by_calls()
    assert (calls.value.limit, calls.value.spent["inferences"]) == ("max_inferences", 2)
    agent = recorded.named("invoke_agent by_calls")
    assert agent.attributes["inferometer.budget.exceeded"] == "max_inferences"


def test_repeated_tool_calls_are_limited_by_their_arguments(recorded: Recorded) -> None:
    @inferometer.tool
    def look(shelf: str, depth: int = 1) -> None: ...

    @inferometer.agent(max_repeats=2)
    def clerk() -> None:
        for shelf in ("a", "b", "a"):
            look(shelf)
        look(depth=1, shelf="b")
        look(shelf="a")

    with pytest.raises(BudgetExceeded, match="'look' was called 3 times"):
        clerk()


def test_inner_budgets_spend_from_the_outer_ones(stub: ModelStub, client: openai.OpenAI) -> None:
    @inferometer.agent(max_inferences=5)
    def helper() -> None:
        _call(client)

    @inferometer.agent(max_inferences=2)
    def clerk() -> None:
        for _ in range(3):
            helper()

    with record(prices=_price), pytest.raises(BudgetExceeded) as stopped:
        clerk()
    assert stopped.value.spent["name"] == "clerk"
    assert [child["inferences"] for child in stopped.value.spent["under"]] == [1, 1, 0]


def test_each_run_has_the_whole_budget(client: openai.OpenAI, recorded: Recorded) -> None:
    @inferometer.agent(max_inferences=1)
    def clerk() -> None:
        _call(client)

    clerk()
    clerk()
    assert len(recorded.spans) == 4


def test_budget_holds_without_configuration(client: openai.OpenAI) -> None:
    @inferometer.agent(max_inferences=1)
    def clerk() -> None:
        _call(client)
        _call(client)

    with pytest.raises(BudgetExceeded):
        clerk()


def test_calls_in_flight_are_reserved(stub: ModelStub, client: openai.OpenAI) -> None:
    inferometer.instrument("executors")

    @inferometer.agent(max_inferences=3)
    def clerk() -> list[BaseException | None]:
        with ThreadPoolExecutor(8) as pool:
            return [future.exception() for future in [pool.submit(_call, client) for _ in range(8)]]

    with record(prices=_price):
        outcomes = clerk()
    assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 5
    assert len(stub.requests) == 3


def test_calls_that_begin_at_once_do_not_all_pass() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            outer = Spending("crew", Budget(None, None, 5, None, False))
            inner = Spending("clerk", Budget(None, 1000, None, None, False), outer)
            ready, passed = threading.Barrier(12), []

            def begin(ready: threading.Barrier = ready, passed: list[int] = passed, inner: Spending = inner) -> None:
                ready.wait()
                with contextlib.suppress(BudgetExceeded):
                    inner.check(None, "gpt-4o", 40)
                    passed.append(1)

            threads = [threading.Thread(target=begin) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(passed) == 5
            assert (outer.inferences, inner.reserved_tokens) == (5, 50)
    finally:
        sys.setswitchinterval(interval)


def test_failed_calls_give_their_reservation_back(stub: ModelStub, client: openai.OpenAI) -> None:
    stub.script(Failure(500), Reply("x", input_tokens=1, output_tokens=1))

    @inferometer.agent(budget_usd=0.2)
    def clerk() -> None:
        with pytest.raises(openai.InternalServerError):
            _call(client, content="x" * 40)
        _call(client, content="x" * 40)

    with record(prices=_price):
        clerk()


def test_unpriced_calls_spend_no_dollars_and_strict_stops_at_them(stub: ModelStub, client: openai.OpenAI) -> None:
    @inferometer.agent(budget_usd=0.01)
    def loose() -> None:
        _call(client, model="unpriced")
        _call(client, model="unpriced")

    @inferometer.agent(budget_usd=0.01, strict=True)
    def tight() -> None:
        _call(client, model="unpriced")

    with record(prices=_price):
        loose()
        with pytest.raises(BudgetExceeded, match="no price"):
            tight()
    assert len(stub.requests) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"budget_usd": "much"},
        {"budget_usd": 0},
        {"budget_usd": float("nan")},
        {"budget_usd": True},
        {"budget_tokens": 1.5},
        {"max_inferences": 0},
        {"max_repeats": "two"},
        {"strict": "yes"},
        {"max_anything": 1},
    ],
)
def test_budget_that_is_no_number_is_an_error_at_decoration(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        inferometer.agent(**options)


def test_dollars_without_a_price_list_are_an_error_at_decoration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferometer.tracer.budget.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"inferometer\[cost\]"):
        inferometer.agent(budget_usd=1)
