"""Decorators record every way in which Python runs code, and change nothing about it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import inferometer
from inferometer.schema.errors import UserError
from inferometer.testing import Recorded


def test_function_keeps_its_result_name_and_signature(recorded: Recorded) -> None:
    @inferometer.tool
    def add(left: int, right: int = 2) -> int:
        """Add."""
        return left + right

    assert add(1) == 3
    assert add.__name__ == "add"
    assert add.__doc__ == "Add."
    assert list(inspect.signature(add).parameters) == ["left", "right"]
    assert recorded.named("execute_tool add").attributes["gen_ai.tool.name"] == "add"


def test_nested_calls_nest(recorded: Recorded) -> None:
    @inferometer.tool
    def look() -> None: ...

    @inferometer.step
    def turn() -> None:
        look()

    @inferometer.agent
    def clerk() -> None:
        turn()
        turn()

    @inferometer.workflow(name="office")
    def work() -> None:
        clerk()

    work()
    assert recorded.tree() == [
        ("invoke_workflow office", None),
        ("invoke_agent clerk", "invoke_workflow office"),
        ("turn", "invoke_agent clerk"),
        ("execute_tool look", "turn"),
        ("turn", "invoke_agent clerk"),
        ("execute_tool look", "turn"),
    ]


def test_exception_is_raised_and_recorded_by_type_alone(recorded: Recorded) -> None:
    @inferometer.tool
    def fail() -> None:
        raise ValueError("the secret is 4711")

    with pytest.raises(ValueError, match="4711"):
        fail()
    span = recorded.named("execute_tool fail")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "ValueError"
    assert "4711" not in span.to_json()


def test_coroutine_functions_stay_coroutine_functions(recorded: Recorded) -> None:
    @inferometer.agent
    async def answer(question: str) -> str:
        await asyncio.sleep(0)
        return question.upper()

    assert inspect.iscoroutinefunction(answer)
    assert asyncio.run(answer("yes")) == "YES"
    assert recorded.named("invoke_agent answer").parent is None


def test_concurrent_tasks_do_not_mix(recorded: Recorded) -> None:
    @inferometer.tool
    async def look(number: int) -> int:
        await asyncio.sleep(0.001 * (5 - number))
        return number

    @inferometer.agent
    async def clerk(number: int) -> int:
        return await look(number)

    async def main() -> list[int]:
        return await asyncio.gather(*(clerk(number) for number in range(5)))

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]
    agents = {span.context.span_id: span for span in recorded.spans if span.name == "invoke_agent clerk"}
    tools = [span for span in recorded.spans if span.name == "execute_tool look"]
    assert len(agents) == len(tools) == 5
    assert {tool.parent.span_id for tool in tools} == set(agents)
    assert len({agent.context.trace_id for agent in agents.values()}) == 5


def test_generator_span_covers_its_iteration_and_leaks_no_context(recorded: Recorded) -> None:
    @inferometer.tool
    def look() -> None: ...

    @inferometer.step
    def count(limit: int) -> Iterator[int]:
        for number in range(limit):
            look()
            yield number

    iterator = count(2)
    assert recorded.spans == []
    assert next(iterator) == 0
    assert trace.get_current_span() is trace.INVALID_SPAN
    look()
    assert list(iterator) == [1]
    parents = [span.parent for span in recorded.spans if span.name == "execute_tool look"]
    step = recorded.named("count")
    assert [parent and parent.span_id for parent in parents] == [step.context.span_id, None, step.context.span_id]


def test_block_open_across_a_yield_stays_current_in_the_body_alone(recorded: Recorded) -> None:
    @inferometer.tool
    def look() -> None: ...

    @inferometer.agent
    def clerk() -> Iterator[int]:
        with inferometer.step("turn"):
            yield 1
            look()
        look()

    iterator = clerk()
    next(iterator)
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert list(iterator) == []
    assert recorded.tree() == [
        ("invoke_agent clerk", None),
        ("turn", "invoke_agent clerk"),
        ("execute_tool look", "turn"),
        ("execute_tool look", "invoke_agent clerk"),
    ]


def test_generator_passes_values_exceptions_and_its_return_through(recorded: Recorded) -> None:
    @inferometer.step
    def talk() -> Iterator[Any]:
        got: list[Any] = []
        got.append((yield "first"))
        try:
            yield "second"
        except KeyError as error:
            got.append(error.args[0])
        yield got
        return "end"

    body: Any = talk()
    assert next(body) == "first"
    assert body.send("sent") == "second"
    assert body.throw(KeyError("thrown")) == ["sent", "thrown"]
    with pytest.raises(StopIteration) as stop:
        next(body)
    assert stop.value.value == "end"
    assert recorded.named("talk").status.status_code is StatusCode.UNSET


def test_generator_closed_early_ends_its_span(recorded: Recorded) -> None:
    closed = []

    @inferometer.step
    def count() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    iterator: Any = count()
    next(iterator)
    iterator.close()
    assert closed == [True]
    assert recorded.named("count").status.status_code is StatusCode.UNSET


def test_async_generator_nests_and_leaks_no_context(recorded: Recorded) -> None:
    @inferometer.tool
    async def look() -> None: ...

    @inferometer.step
    async def count() -> AsyncIterator[int]:
        for number in range(2):
            await look()
            yield number

    async def main() -> list[int]:
        numbers = []
        async for number in count():
            assert trace.get_current_span() is trace.INVALID_SPAN
            numbers.append(number)
        return numbers

    assert inspect.isasyncgenfunction(count)
    assert asyncio.run(main()) == [0, 1]
    assert recorded.tree() == [("count", None), ("execute_tool look", "count"), ("execute_tool look", "count")]


def test_async_generator_closed_in_another_task_logs_nothing(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    @inferometer.step
    async def count() -> AsyncIterator[int]:
        with inferometer.step("inside"):
            yield 1
            yield 2

    async def main() -> None:
        iterator: Any = count()
        await anext(iterator)
        await asyncio.create_task(iterator.aclose())

    asyncio.run(main())
    assert "detach" not in caplog.text
    assert {span.name for span in recorded.spans} == {"count", "inside"}


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async generator"])
def test_work_behind_a_decorator_that_hides_its_kind_is_covered(recorded: Recorded, kind: str) -> None:
    def retried(function: Any) -> Any:
        return lambda: function()

    async def awaits() -> int:
        with inferometer.step("inside"):
            await asyncio.sleep(0)
        return 1

    def yields() -> Iterator[int]:
        with inferometer.step("inside"):
            pass
        yield 1

    async def yields_async() -> AsyncIterator[int]:
        with inferometer.step("inside"):
            await asyncio.sleep(0)
        yield 1

    async def read(source: AsyncIterator[int]) -> list[int]:
        return [value async for value in source]

    function: Any = {"coroutine": awaits, "generator": yields, "async generator": yields_async}[kind]
    started = inferometer.agent("clerk")(retried(function))()
    assert not trace.get_current_span().is_recording()
    if kind == "coroutine":
        assert asyncio.run(started) == 1
    elif kind == "generator":
        assert list(started) == [1]
    else:
        assert asyncio.run(read(started)) == [1]
    inside, agent = recorded.spans
    assert (inside.name, agent.name) == ("inside", "invoke_agent clerk")
    assert inside.parent is not None
    assert inside.parent.span_id == agent.context.span_id


def test_methods_static_methods_and_class_methods_are_traced(recorded: Recorded) -> None:
    class Desk:
        @inferometer.tool
        def plain(self, value: int) -> int:
            return value

        @inferometer.tool
        @staticmethod
        def fixed(value: int) -> int:
            return value

        @inferometer.tool
        @classmethod
        def shared(cls, value: int) -> int:
            return value

    desk = Desk()
    assert (desk.plain(1), desk.fixed(2), Desk.shared(3)) == (1, 2, 3)
    assert [span.name for span in recorded.spans] == [
        "execute_tool plain",
        "execute_tool fixed",
        "execute_tool shared",
    ]


def test_class_is_traced_through_its_entry_methods(recorded: Recorded) -> None:
    @inferometer.agent
    class Clerk:
        def run(self, task: str) -> str:
            return task

        async def arun(self, task: str) -> str:
            return task

        def other(self) -> None: ...

    clerk = Clerk()
    assert clerk.run("a") == asyncio.run(clerk.arun("a")) == "a"
    clerk.other()
    assert isinstance(clerk, Clerk)
    assert [span.attributes["gen_ai.agent.name"] for span in recorded.spans] == ["Clerk", "Clerk"]


def test_callable_objects_and_partials_are_traced(recorded: Recorded) -> None:
    class Adder:
        def __call__(self, value: int) -> int:
            return value + 1

    def power(base: int, exponent: int) -> int:
        return base**exponent

    assert inferometer.tool(Adder())(1) == 2
    assert inferometer.tool(functools.partial(power, exponent=2))(3) == 9
    assert [span.name for span in recorded.spans] == ["execute_tool Adder", "execute_tool power"]


def test_methods_of_a_callable_object_stay_at_hand(recorded: Recorded) -> None:
    squared = inferometer.tool(functools.lru_cache(lambda number: number * number))
    assert [squared(3), squared(3)] == [9, 9]
    assert squared.cache_info().hits == 1
    squared.cache_clear()
    assert squared.cache_info().currsize == 0


def test_arguments_that_fail_when_looked_at_lose_no_span(recorded: Recorded) -> None:
    class Hostile:
        __hash__ = None  # type: ignore[assignment]

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __repr__(self) -> str:
            raise RuntimeError("repr")

    @inferometer.tool
    def take(value: Any) -> Any:
        return value

    ring: list[Any] = []
    ring.append(ring)
    for value in (Hostile(), {"inside": [Hostile()]}, ring):
        assert take(value) is value
    assert [span.name for span in recorded.spans] == ["execute_tool take"] * 3


def test_recursion_nests(recorded: Recorded) -> None:
    @inferometer.step
    def down(depth: int) -> int:
        return depth if depth == 0 else down(depth - 1)

    down(3)
    assert recorded.tree() == [("down", None), ("down", "down"), ("down", "down"), ("down", "down")]


def test_block_forms_record_and_return_the_span(recorded: Recorded) -> None:
    async def main() -> None:
        async with inferometer.agent("clerk"):
            with inferometer.tool("look", call_id="c1") as span:
                span.set_attribute("shop.shelf", 3)

    asyncio.run(main())
    look = recorded.named("execute_tool look")
    assert look.attributes["shop.shelf"] == 3
    assert look.attributes["gen_ai.tool.call.id"] == "c1"
    assert look.parent.span_id == recorded.named("invoke_agent clerk").context.span_id


def test_without_configuration_calls_run_bare() -> None:
    @inferometer.agent
    def clerk() -> trace.Span:
        inferometer.annotate(a=1)
        inferometer.outcome("done", True)
        return trace.get_current_span()

    assert clerk() is trace.INVALID_SPAN


@pytest.mark.parametrize("decorator", [inferometer.agent, inferometer.step, inferometer.tool, inferometer.inference])
@pytest.mark.parametrize("target", [42, [], object()])
def test_decorating_what_cannot_be_called_is_an_error_at_once(decorator: Any, target: Any) -> None:
    with pytest.raises(UserError, match="decorates functions and classes"):
        decorator(target)
    with pytest.raises(UserError, match="decorates functions and classes"):
        decorator(name="x")(target)


def test_class_without_an_entry_method_is_an_error_at_once() -> None:
    with pytest.raises(UserError, match="name one with method"):

        @inferometer.agent
        class Nothing:
            def other(self) -> None: ...
