"""What the normaliser does between requests: close runs that ended, thin those that are sampled out, forget the old."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from inferometer.ingest.runs import QUIET_NS
from inferometer.schema.selection import Selection
from inferometer.sidecar.normaliser_settings import NormaliserSettings
from inferometer.store import Store, Transaction
from inferometer.store.journal import Journal
from inferometer.store.thinning import close_ended_runs, has_failed, thin_run, weigh_run
from inferometer.store.upkeep import purge

if TYPE_CHECKING:
    from inferometer.profiles.prices import PriceList

SETTLE_INTERVAL_S = 15.0
PURGE_INTERVAL_S = 3600.0
RUNS_AT_ONCE = 200
_SECOND_NS = 1_000_000_000

log = logging.getLogger("inferometer.sidecar")


class Upkeep:
    """Looks after the store; each step is short, so that requests do not wait long for it.

    Args:
        clock: nanoseconds since 1970.
        report: called with counts for the parent's metrics.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        settings: NormaliserSettings,
        report: Callable[[dict[str, Any]], None],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._journal = journal
        self._settings = settings
        self._report = report
        self._clock = clock
        self._price_list: PriceList | None = None
        self._last_settle = 0.0
        self._last_purge = 0.0

    def run_due(self) -> None:
        """Do what is due.

        Raises:
            StoreError: the store is away.
        """
        now = time.monotonic()
        if not self._last_settle or now - self._last_settle > SETTLE_INTERVAL_S:
            # where there was a full helping, there may be more
            self._last_settle = now if self.settle() < RUNS_AT_ONCE else 0.0
        if not self._last_purge or now - self._last_purge > PURGE_INTERVAL_S:
            self._last_purge = now
            self.forget_old()

    def settle(self) -> int:
        """Close the runs that have been quiet long enough, and sample them; returns how many there were."""
        with self._store.transaction() as tx:
            closed = close_ended_runs(tx.connection, self._clock() - QUIET_NS, RUNS_AT_ONCE)
            if self._settings.sample < 1 and closed:
                # in one transaction: a run that is closed and not yet sampled would never be
                self._report({"sampled_runs_total": self._sample(tx, closed)})
        return len(closed)

    def _sample(self, tx: Transaction, run_ids: list[str]) -> int:
        share = self._settings.sample
        thinned = 0
        for run_id in run_ids:
            if self._must_stay(tx, run_id, self._cost_usd(run_id)):
                continue
            if _lot(run_id) < share:
                weigh_run(tx.connection, run_id, 1 / share)
            else:
                thin_run(tx.connection, run_id)
                thinned += 1
        return thinned

    def _must_stay(self, tx: Transaction, run_id: str, cost_usd: Decimal | None) -> bool:
        # a cost that is unknown may be a high one
        if cost_usd is None or cost_usd >= Decimal(self._settings.sample_keep_usd):
            return True
        return has_failed(tx.connection, run_id)

    def _cost_usd(self, run_id: str) -> Decimal | None:
        """Return what a run's calls cost by list; None where one has no price."""
        prices = self._prices()
        total = Decimal(0)
        for row in self._store.inferences(Selection(where=(("run", run_id),))):
            cost_usd = prices.price(row).list_cost_usd
            if cost_usd is None:
                return None
            total += cost_usd
        return total

    def _prices(self) -> PriceList:
        if self._price_list is None:
            from inferometer.profiles.prices import load_prices

            self._price_list = load_prices()
        return self._price_list

    def forget_old(self) -> None:
        """Erase what is older than the settings keep."""
        now_ns = self._clock()
        self._journal.purge_quarantine(now_ns - self._settings.keep_quarantine_s * _SECOND_NS)
        if self._settings.keep_s is None:
            return
        erased = purge(self._store, before_ns=now_ns - self._settings.keep_s * _SECOND_NS)
        log.info("old records erased", extra=erased.as_dict())


def _lot(run_id: str) -> float:
    """Return a number in [0, 1) that is the same for a run wherever and whenever it is drawn."""
    return int(run_id, 16) / float(16 ** len(run_id))
