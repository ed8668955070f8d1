"""Budgets: what an agent may spend, and the one exception that stops it."""

from __future__ import annotations

import math
import threading
from decimal import Decimal, InvalidOperation
from importlib.util import find_spec
from typing import Any

from inferometer.schema.errors import BudgetExceeded, MissingExtraError, UserError
from inferometer.schema.meters import Meters
from inferometer.tracer import recording
from inferometer.tracer.guard import report

ASSUMED_CHARACTERS_PER_TOKEN = 4
"""What a call in flight is reserved at before its usage is known; the reservation is given back when it ends."""


_WHOLE = ("budget_tokens", "max_inferences", "max_repeats")
_OPTIONS = {"budget_usd", *_WHOLE, "strict"}


class Budget:
    """The limits one decorator sets; a `Spending` is made of it for each run."""

    __slots__ = ("max_inferences", "max_repeats", "strict", "tokens", "usd")

    def __init__(
        self,
        usd: Decimal | None,
        tokens: int | None,
        max_inferences: int | None,
        max_repeats: int | None,
        strict: bool,
    ) -> None:
        self.usd = usd
        self.tokens = tokens
        self.max_inferences = max_inferences
        self.max_repeats = max_repeats
        self.strict = strict

    @classmethod
    def of(cls, decorator: str, limits: dict[str, Any]) -> Budget | None:
        """Return the budget that a decorator's options set; None where there is none.

        Raises:
            UserError: for a limit that is not a positive number, and an option that is none of a budget's.
            MissingExtraError: for ``budget_usd`` where no price list is installed.
        """
        unknown = sorted(limits.keys() - _OPTIONS)
        if unknown:
            raise UserError(f"@{decorator} has no option {', '.join(unknown)}")
        usd = limits.get("budget_usd")
        whole = {option: _whole(option, limits.get(option)) for option in _WHOLE}
        strict = limits.get("strict", False)
        if not isinstance(strict, bool):
            raise UserError(f"strict must be True or False, not {strict!r}")
        if usd is None and not any(value is not None for value in whole.values()):
            return None
        tokens, inferences, repeats = whole.values()
        return cls(None if usd is None else _dollars(usd), tokens, inferences, repeats, strict)


def _whole(option: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{option} must be a whole number of at least 1, not {value!r}")
    return value


def _dollars(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise UserError(f"budget_usd must be a number of dollars, not {value!r}")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise UserError(f"budget_usd must be a number of dollars, not {value!r}") from None
    if not amount.is_finite() or amount <= 0:
        raise UserError(f"budget_usd must be a positive number of dollars, not {value!r}")
    if find_spec("genai_prices") is None:
        raise MissingExtraError("budget_usd", "cost", "genai-prices")
    return amount


class Spending:
    """What one run under a budget has spent; nested budgets add up to the ones around them. Thread-safe."""

    def __init__(self, name: str, budget: Budget, parent: Spending | None = None) -> None:
        self.name = name
        self.budget = budget
        self.parent = parent
        self.usd = Decimal(0)
        self.tokens = 0
        self.inferences = 0
        self.unpriced = 0
        self.reserved_usd = Decimal(0)
        self.reserved_tokens = 0
        self._repeats: dict[str, int] = {}
        self._children: list[Spending] = []
        # one for all budgets around a call: to ask and to reserve is one step, or calls that begin at once all pass;
        # reentrant, for a signal handler of the program may make a call while the program does
        self._lock: Any = threading.RLock() if parent is None else parent._lock
        if parent is not None:
            parent._children.append(self)

    def check(self, provider: str | None, model: str | None, input_characters: int) -> Reservation:
        """Reserve the next call, here and in the budgets around.

        Args:
            provider: asked.
            model: asked for.
            input_characters: length of the request, from which its input is estimated until usage is known.

        Raises:
            BudgetExceeded: where a limit is reached already, or this call's input alone would break it.
        """
        tokens = math.ceil(input_characters / ASSUMED_CHARACTERS_PER_TOKEN)
        usd = _price(provider, model, Meters(input_fresh=tokens, output=0))
        line: list[Spending] = []
        spending: Spending | None = self
        while spending is not None:
            line.append(spending)
            spending = spending.parent
        with self._lock:
            for level in line:
                level._refuse_if_over(tokens, usd, model)
            for level in line:
                level.inferences += 1
                level.reserved_tokens += tokens
                level.reserved_usd += usd or 0
        return Reservation(line, provider, model, tokens, usd)

    def _refuse_if_over(self, tokens: int, usd: Decimal | None, model: str | None) -> None:
        budget = self.budget
        used_usd = self.usd + self.reserved_usd
        used_tokens = self.tokens + self.reserved_tokens
        if budget.max_inferences is not None and self.inferences >= budget.max_inferences:
            self._stop("max_inferences", f"{self.inferences} of {budget.max_inferences} model calls are used")
        if budget.tokens is not None and (used_tokens >= budget.tokens or used_tokens + tokens > budget.tokens):
            self._stop("budget_tokens", f"{used_tokens} of {budget.tokens} tokens are used, the next call has {tokens}")
        if budget.usd is None:
            return
        if usd is None:
            if budget.strict:
                self._stop("strict", f"model {model!r} has no price")
            report("budget", f"model {model!r} has no price: its calls are counted but spend no dollars")
            return
        if used_usd >= budget.usd or used_usd + usd > budget.usd:
            self._stop(
                "budget_usd", f"${used_usd:.6f} of ${budget.usd} is used, the next call's input costs ${usd:.6f}"
            )

    def repeat(self, fingerprint: str, tool: str) -> None:
        """Count one tool call by its fingerprint.

        Raises:
            BudgetExceeded: where the same call came more often than ``max_repeats`` allows.
        """
        spending: Spending | None = self
        while spending is not None:
            limit = spending.budget.max_repeats
            if limit is not None:
                with spending._lock:
                    count = spending._repeats.get(fingerprint, 0) + 1
                    spending._repeats[fingerprint] = count
                if count > limit:
                    spending._stop("max_repeats", f"tool {tool!r} was called {count} times with the same arguments")
            spending = spending.parent

    def _stop(self, limit: str, why: str) -> None:
        raise BudgetExceeded(f"budget of {self.name!r} exceeded ({limit}): {why}", limit=limit, spent=self.tree())

    def tree(self) -> dict[str, Any]:
        """Return the spending so far with that of the budgets inside it; dollars as Decimal."""
        return {
            "name": self.name,
            "usd": self.usd,
            "reserved_usd": self.reserved_usd,
            "tokens": self.tokens,
            "inferences": self.inferences,
            "unpriced": self.unpriced,
            "under": [child.tree() for child in self._children],
        }

    @property
    def counts_repeats(self) -> bool:
        """Whether this budget or one around it limits repeats."""
        return self.budget.max_repeats is not None or (self.parent is not None and self.parent.counts_repeats)


class Reservation:
    """One call in flight against the budgets above it."""

    __slots__ = ("_line", "_model", "_provider", "_tokens", "_usd")

    def __init__(
        self, line: list[Spending], provider: str | None, model: str | None, tokens: int, usd: Decimal | None
    ) -> None:
        self._line: list[Spending] | None = line
        self._provider = provider
        self._model = model
        self._tokens = tokens
        self._usd = usd

    def settle(self, meters: Meters | None, model: str | None = None) -> None:
        """Replace the reservation by what the call used; None (a call that failed or told nothing) spends nothing."""
        line, self._line = self._line, None
        if line is None:
            return
        known = meters is not None and meters.is_known
        usd = _price(self._provider, model or self._model, meters) if known else None
        with line[0]._lock:
            for level in line:
                level.reserved_tokens -= self._tokens
                level.reserved_usd -= self._usd or 0
                if known and meters is not None:
                    level.tokens += meters.total or 0
                    level.usd += usd or 0
                    level.unpriced += usd is None


def _price(provider: str | None, model: str | None, meters: Meters | None) -> Decimal | None:
    now = recording.active
    price = now.price if now is not None else _fallback_price
    if price is None or meters is None:
        return None
    try:
        cost = price(provider, model, meters)
    except Exception as error:
        report("price", error)
        return None
    return cost if isinstance(cost, Decimal) else None


_fallback_price: recording.Price | None = None
