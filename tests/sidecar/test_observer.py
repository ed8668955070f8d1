from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from inferometer.ingest.commit import commit
from inferometer.schema.errors import StoreError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind, UsageSource
from inferometer.sidecar.counters import Counters
from inferometer.sidecar.observer import Observer
from inferometer.sidecar.settings import Budget
from inferometer.store import Store
from inferometer.store.journal import Journal

NOW_NS = 1_760_000_000_000_000_000
DAY_NS = 86400 * 1_000_000_000


class Hook(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[dict[str, Any]] = []
        self.status = 200


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.calls.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, name="hook")
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def spend(store: Store, team: str, *, tokens: int = 1_000_000, start_ns: int = NOW_NS) -> None:
    """Write one call of gpt-4o: $2.50 a million tokens of input."""
    ids = (time.time_ns().to_bytes(16, "big"), b"12345678")
    span = Span(*ids, "chat", SpanKind.INFERENCE, start_ns=start_ns, end_ns=start_ns + 1, tags={"team": team})
    call = Inference(
        *ids,
        provider="openai",
        request_model="gpt-4o",
        meters=Meters(input_fresh=tokens, output=0),
        usage_source=UsageSource.PROVIDER,
    )
    with store.transaction() as tx:
        commit(tx, RecordBatch(spans=[span], inferences=[call]))


def test_a_budget_that_is_over_calls_its_webhook_once_a_day(store: Store, journal: Journal, hook: Hook) -> None:
    url = f"http://127.0.0.1:{hook.server_port}/hook"
    budgets = (
        Budget("search", Decimal(4), (("tag.team", "search"),), url),
        Budget("all", Decimal(100), (), url),
    )
    now = [NOW_NS]
    counters = Counters()
    observer = Observer(store, journal, counters, budgets, lambda: now[0])
    spend(store, "search")
    spend(store, "shop")
    observer.look()
    assert hook.calls == []
    assert observer.spending == [("search", Decimal("2.5"), Decimal(4)), ("all", Decimal(5), Decimal(100))]
    spend(store, "search")
    observer.look()
    observer.look()
    Observer(store, journal, counters, budgets, lambda: now[0]).look()  # as after a restart
    assert hook.calls == [
        {
            "event": "budget_exceeded",
            "budget": "search",
            "where": {"tag.team": "search"},
            "day": "2025-10-09",
            "spent_usd": hook.calls[0]["spent_usd"],
            "limit_usd": "4",
        }
    ]
    assert Decimal(hook.calls[0]["spent_usd"]) == 5
    now[0] += DAY_NS
    observer.look()
    assert len(hook.calls) == 1
    spend(store, "search", tokens=2_000_000, start_ns=now[0])
    observer.look()
    assert len(hook.calls) == 2
    assert 'inferometer_sidecar_budget_spent_share{budget="search"} 1.25' in counters.exposition()


def test_a_webhook_that_fails_is_called_again_at_the_next_look(store: Store, journal: Journal, hook: Hook) -> None:
    hook.status = 500
    budget = Budget("all", Decimal(1), (), f"http://127.0.0.1:{hook.server_port}/")
    spend(store, "search")
    observer = Observer(store, journal, Counters(), (budget,), lambda: NOW_NS)
    observer.look()
    hook.status = 200
    observer.look()
    observer.look()
    assert len(hook.calls) == 2


def test_a_webhook_that_answers_with_rubbish_holds_up_nothing(store: Store, journal: Journal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"rubbish\r\n\r\n")

        thread = threading.Thread(target=answer, name="rubbish")
        thread.start()
        budget = Budget("all", Decimal(1), (), f"http://127.0.0.1:{listener.getsockname()[1]}/")
        spend(store, "search")
        observer = Observer(store, journal, Counters(), (budget,), lambda: NOW_NS)
        observer.look()
        thread.join()
    assert observer.today is not None
    assert journal.get_state("budget.all") is None, "it is told again at the next look"


def test_figures_are_shown_even_where_nobody_can_be_told(
    store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> str:
        raise StoreError("journal", "is away")

    monkeypatch.setattr(journal, "get_state", fail)
    spend(store, "search")
    observer = Observer(store, journal, Counters(), (Budget("all", Decimal(1)),), lambda: NOW_NS)
    with pytest.raises(StoreError):
        observer.look()
    assert observer.today is not None
    assert observer.spending == [("all", Decimal("2.5"), Decimal(1))]


def test_what_time_alone_changes_is_looked_at_each_minute(
    store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferometer.sidecar.observer.SHORTEST_PAUSE_S", 0.01)
    now = [NOW_NS]
    observer = Observer(store, journal, Counters(), (), lambda: now[0])
    observer.start()
    try:
        for minute in range(3):
            now[0] = NOW_NS + minute * 60 * 10**9
            deadline = time.monotonic() + 30
            while observer.today is None or observer.today.now_ns != now[0]:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        assert observer.version == 3
    finally:
        observer.stop()


def test_a_first_look_that_takes_long_does_not_put_off_the_next(
    store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = Counters()
    observer = Observer(store, journal, counters, (), lambda: NOW_NS)
    look = observer.look

    def look_long() -> None:
        if observer.today is None:
            time.sleep(0.2)  # 4 s of pause, were it counted
        look()

    monkeypatch.setattr("inferometer.sidecar.observer.SHORTEST_PAUSE_S", 0.01)
    monkeypatch.setattr(observer, "look", look_long)
    observer.start()
    try:
        deadline = time.monotonic() + 2
        while observer.version < 2:
            assert time.monotonic() < deadline
            counters.add("stored_spans_total", 1)
            time.sleep(0.005)
    finally:
        observer.stop()


def test_metrics_tell_todays_spend_by_model_with_bounded_names(store: Store, journal: Journal) -> None:
    spend(store, "search")
    spend(store, "search", start_ns=NOW_NS - 2 * DAY_NS)
    counters = Counters()
    Observer(store, journal, counters, (), lambda: NOW_NS).look()
    text = counters.exposition()
    assert 'inferometer_sidecar_spend_today_usd{model="gpt-4o"} 2.5\n' in text
    assert 'inferometer_sidecar_tokens_today{meter="input_fresh",model="gpt-4o"} 1000000\n' in text


def test_labels_from_outside_cannot_break_the_exposition() -> None:
    counters = Counters()
    counters.replace("spend_today_usd", [({"model": 'a"b\\c\nd'}, 1.5)])
    assert 'spend_today_usd{model="a\\"b\\\\c\\nd"} 1.5\n' in counters.exposition()
