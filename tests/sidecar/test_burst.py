from __future__ import annotations

import pytest

from inferometer.sidecar.burst import LEAST_BYTES, PATIENCE_S, Burst
from inferometer.store.journal import STORE_CONSUMER, Journal
from inferometer.store.log_records import NewEntry

MIB = 1024 * 1024


class Clock:
    """Seconds and nanoseconds that go on only when told to."""

    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic(self) -> float:
        return self.s

    def time_ns(self) -> int:
        return int(self.s * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def burst(journal: Journal, clock: Clock) -> Burst:
    """One that has seen a mebibyte a second being moved."""
    burst = Burst(journal, 20 * MIB, clock.monotonic, clock.time_ns)
    burst.note_group(MIB, 1.0)
    return burst


def receive(journal: Journal, clock: Clock, size: int, took_s: float = 1.0) -> None:
    clock.s += took_s
    journal.append([NewEntry("traces", "protobuf", "identity", 1, bytes(size), clock.time_ns())])


def test_it_is_on_only_while_more_comes_in_than_was_moved(journal: Journal, clock: Clock, burst: Burst) -> None:
    receive(journal, clock, MIB // 2)
    assert not burst.is_on()
    receive(journal, clock, 2 * MIB)
    assert burst.is_on()
    receive(journal, clock, 2 * MIB, took_s=4.0)
    assert not burst.is_on()
    clock.s += 0.25
    assert not burst.is_on()


def test_what_waits_is_moved_once_it_is_old_whatever_comes_in(journal: Journal, clock: Clock, burst: Burst) -> None:
    states = []
    for _ in range(int(PATIENCE_S) + 3):
        receive(journal, clock, MIB + 1000)
        states.append(burst.is_on())
    assert states == [True] * int(PATIENCE_S) + [False] * 3
    journal.advance(STORE_CONSUMER, journal.read(STORE_CONSUMER, max_items=8, max_bytes=100 * MIB)[-1])
    receive(journal, clock, MIB + 1000)
    assert burst.is_on()


def test_a_backlog_grows_no_further_than_it_may(journal: Journal, clock: Clock, burst: Burst) -> None:
    receive(journal, clock, 19 * MIB)
    assert burst.is_on()
    receive(journal, clock, 2 * MIB)
    assert not burst.is_on()


def test_small_groups_tell_nothing_of_the_speed(journal: Journal, clock: Clock) -> None:
    burst = Burst(journal, 20 * MIB, clock.monotonic, clock.time_ns)
    burst.note_group(LEAST_BYTES - 1, 100.0)
    receive(journal, clock, 2 * MIB)
    assert not burst.is_on()
    burst.note_group(LEAST_BYTES, 100.0)
    receive(journal, clock, 2 * MIB)
    assert burst.is_on()
