"""The one tree of errors.

::

    InferometerError
    ├── UserError                a mistake of the user's: one line, exit code 2
    │   ├── UnknownNameError     a name no profile, format, model or command has; carries the nearest known ones
    │   ├── MissingExtraError    a package of an extra is not installed; names the extra
    │   ├── InputError           a file or text that cannot be understood; carries the path
    │   ├── ProfileError         a profile, ledger, budget or price file that breaks its rules
    │   ├── InfeasibleError      a scenario that cannot run (memory, precision, parallelism); says what is missing
    │   └── StoreError           a store that cannot be opened, read or written
    ├── BudgetExceeded           the one exception a traced program can ask for
    └── InternalError            a failure of ours: exit code 3

All of them survive pickling, and what they carry are attributes, not only text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class InferometerError(Exception):
    """The root of all errors that Inferometer raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(kind: type[InferometerError], args: tuple[Any, ...], state: dict[str, Any]) -> InferometerError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class UserError(InferometerError):
    """A mistake that the user can mend; its text says what, which value, and what to do."""


FEW = 15
"""Known names that a message has room for."""


class UnknownNameError(UserError):
    """A name that is not known.

    Args:
        kind: what was asked for, such as ``hardware profile``.
        name: the name as given.
        known: all known names; the nearest three are shown, and all where they are few and none is near.
        hint: what to do where there is no list of names to show.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "none is known") -> None:
        names = sorted(known)
        lowered = {candidate.lower(): candidate for candidate in names}
        near = [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.3)]
        is_close = bool(difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6))
        if not names:
            shown = hint
        elif len(names) <= FEW and not is_close:
            shown = f"known: {', '.join(names)}"
        else:
            shown = f"nearest known: {', '.join(near or names[:3])}"
        super().__init__(f"unknown {kind} {name!r}; {shown}")
        self.kind = kind
        self.name = name
        self.near = near


class MissingExtraError(UserError):
    """Optional packages are not installed; a framework is none of our extras, and has `extra` None."""

    def __init__(self, what: str, extra: str | None, package: str) -> None:
        install = package if extra is None else f"'inferometer[{extra}]'"
        super().__init__(f"{what} needs the package {package!r}: pip install {install}")
        self.what = what
        self.extra = extra
        self.package = package


class InputError(UserError):
    """A file or text that is unreadable, unknown or broken as a whole."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ProfileError(UserError):
    """A profile, ledger, budget or price file that breaks its rules."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class InfeasibleError(UserError):
    """A scenario that cannot run on the hardware asked for."""


class StoreError(UserError):
    """A store that cannot be opened, read or written."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"store {url}: {reason}")
        self.url = url
        self.reason = reason


class BudgetExceeded(InferometerError):  # noqa: N818 - a user catches it by the word of the design
    """A run that went over the budget its ``@agent`` decorator set; carries the spending so far."""

    def __init__(self, message: str, *, limit: str, spent: dict[str, Any]) -> None:
        super().__init__(message)
        self.limit = limit
        self.spent = spent


class InternalError(InferometerError):
    """A failure of ours; a bug report is welcome."""
