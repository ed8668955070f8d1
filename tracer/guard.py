"""The one guard between our failures and the program we run in: nothing raises, each kind is logged once a minute."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter

logger = logging.getLogger("inferometer")
QUIET_S = 60.0

failures: Counter[str] = Counter()
"""How often each part of ours failed in this process, by name; ``inferometer.flush`` callers may read it."""

_last_logged: dict[str, float] = {}
_lock = threading.RLock()  # a signal handler of the program may end up here while the program is here


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def report(part: str, error: BaseException | str) -> None:
    """Count a failure of ours and log it, at most once per part in `QUIET_S` seconds. Never raises.

    The text of an exception may quote content, so only its type is logged; the traceback is there at debug level.
    """
    try:
        now = time.monotonic()
        with _lock:
            failures[part] += 1
            if now - _last_logged.get(part, -QUIET_S) < QUIET_S:
                return
            _last_logged[part] = now
            count = failures[part]
        text = error if isinstance(error, str) else f"{type(error).__name__} (details at debug level)"
        logger.warning("inferometer: %s: %s [%d so far]; the program goes on without it", part, text, count)
        if isinstance(error, BaseException):
            logger.debug("inferometer: %s", part, exc_info=error)
    except Exception:
        pass
