"""Looks at the store now and then: today's figures for the live page, the metrics and the budgets.

A look reads the minutes of today that changed. There is one when something was stored, and one a minute for what time
alone changes: the last hour, runs that closed, the day. The pause until the next is a multiple of the time it
took, so that looking never takes more than a small share of the processor.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPException

from inferometer.analyzer.accounting import METERS
from inferometer.analyzer.day import DAY_NS, MINUTE_NS, DayBook, Sums
from inferometer.profiles.prices import PriceList, load_prices
from inferometer.reports.live import Today, day_start_ns, read_today
from inferometer.schema.errors import InferometerError
from inferometer.sidecar.counters import Counters
from inferometer.sidecar.settings import Budget
from inferometer.store import Store
from inferometer.store.journal import Journal

SHORTEST_PAUSE_S = 1.0
PAUSE_FACTOR = 20
LONGEST_PAUSE_S = 300.0
WEBHOOK_TIMEOUT_S = 5.0
MAX_SERIES = 20
"""Models in the metrics; the rest is summed as ``other``, so that names from outside cannot make endless series."""

log = logging.getLogger("inferometer.sidecar")


class Observer:
    """A thread that keeps `today` and the budgets' state fresh.

    Args:
        store: read, never written.
        journal: remembers which budgets have been reported today, over restarts.
        budgets: checked at every look.
        clock: nanoseconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        counters: Counters,
        budgets: tuple[Budget, ...] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.store = store
        self.prices: PriceList = load_prices()
        self.today: Today | None = None
        self.spending: list[tuple[str, Decimal, Decimal]] = []
        self.version = 0
        self._journal = journal
        self._counters = counters
        self._book = DayBook(store, self.prices, ("model", "agent"))
        self._budgets = [
            (budget, DayBook(store, self.prices, ("model",), budget.where) if budget.where else self._book)
            for budget in budgets
        ]
        self._clock = clock
        self._looking = threading.Lock()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="inferometer-observer", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; a look that is under way is not waited for long."""
        self._is_stopping.set()
        self._thread.join(5)

    def _work(self) -> None:
        pause_s, known = SHORTEST_PAUSE_S, -1.0
        while not self._is_stopping.is_set():
            stored = self._counters.total("stored_spans_total") + self._counters.total("duplicate_spans_total")
            is_first = self.today is None
            if stored != known or self.today is None or self._clock() // MINUTE_NS != self.today.now_ns // MINUTE_NS:
                began_s = time.monotonic()
                try:
                    self.look()
                    known = stored
                except InferometerError as error:
                    log.warning("the store cannot be looked at", extra={"error": str(error)})
                except Exception:
                    log.exception("today's figures cannot be made")
                # the first look reads the whole day, the next ones what changed since
                took_s = 0.0 if is_first else time.monotonic() - began_s
                pause_s = min(max(SHORTEST_PAUSE_S, took_s * PAUSE_FACTOR), LONGEST_PAUSE_S)
            self._is_stopping.wait(pause_s)

    def look(self) -> None:
        """Read today's figures, publish them, and report budgets that are over.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._looking:
            self._look()

    def _look(self) -> None:
        now_ns = self._clock()
        since_ns = day_start_ns(now_ns)
        numbers = self.store.count_spans(since_ns, since_ns + DAY_NS, MINUTE_NS)
        self._book.look(since_ns, numbers)
        today = read_today(self.store, self.prices, self._book, now_ns)
        self._publish(today.by_model)
        for _, book in self._budgets:
            if book is not self._book:
                book.look(since_ns, numbers)
        self.spending = [(budget.name, _spent(book), budget.usd_per_day) for budget, book in self._budgets]
        self._counters.replace(
            "budget_spent_share",
            [({"budget": name}, float(spent / limit) if limit else 1.0) for name, spent, limit in self.spending],
        )
        self.today = today
        self.version += 1
        # last, since whoever is told may fail
        for (budget, _), (_, spent, limit) in zip(self._budgets, self.spending, strict=True):
            if spent > limit:
                self._tell(budget, spent, now_ns)

    def _publish(self, sums: Sums) -> None:
        spend: dict[str, float] = {}
        tokens: dict[tuple[str, str], float] = {}
        for place, group in enumerate(sums.groups):
            model = (group.key or "unknown") if place < MAX_SERIES else "other"
            spend[model] = spend.get(model, 0.0) + float(group.cost_usd or 0)
            for meter in METERS:
                tokens[model, meter] = tokens.get((model, meter), 0.0) + (group.meters[meter] or 0)
        self._counters.replace("spend_today_usd", [({"model": model}, usd) for model, usd in spend.items()])
        self._counters.replace(
            "tokens_today", [({"model": model, "meter": meter}, n) for (model, meter), n in tokens.items()]
        )

    def _tell(self, budget: Budget, spent: Decimal, now_ns: int) -> None:
        day = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).date().isoformat()
        state = f"budget.{budget.name}"
        if self._journal.get_state(state) == day:
            return
        log.warning(
            "budget is over",
            extra={"budget": budget.name, "spent_usd": str(spent), "limit_usd": str(budget.usd_per_day)},
        )
        document = {
            "event": "budget_exceeded",
            "budget": budget.name,
            "where": dict(budget.where),
            "day": day,
            "spent_usd": str(spent),
            "limit_usd": str(budget.usd_per_day),
        }
        if budget.webhook is None or _call(budget.webhook, document):
            self._journal.set_state(state, day)


def _spent(book: DayBook) -> Decimal:
    total = book.sums("model").total
    return (total.effective_cost_usd or Decimal(0)) + (total.charges_usd or Decimal(0))


def _call(url: str, document: Mapping[str, object]) -> bool:
    request = urllib.request.Request(
        url, json.dumps(document).encode(), {"content-type": "application/json", "user-agent": "inferometer"}
    )
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S):
            return True
    except (OSError, ValueError, HTTPException) as error:
        # the URL may hold a secret, so only the kind of failure is told; the next look tries again
        log.warning("a webhook cannot be called", extra={"error": type(error).__name__})
        return False
