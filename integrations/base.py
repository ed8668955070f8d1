"""What every hook is made of: patches that can be taken back, and a guard around what we add."""

from __future__ import annotations

import functools
import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, ClassVar

import wrapt

from inferometer.schema.errors import MissingExtraError, UserError
from inferometer.tracer.guard import report

_ABSENT = object()
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Patches:
    """Attributes replaced on modules and classes, and how to put them back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._restored = False

    def wrap(self, owner: Any, name: str, make: Wrap) -> bool:
        """Replace a function by what `make` returns for it; False where the owner has none of that name.

        Where another library wrapped it after us, theirs stays on restoring and ours just calls through.
        """
        original = getattr(owner, name, None)
        if original is None:
            return False
        held = vars(owner).get(name, _ABSENT)
        hooked = make(original)
        switch = {"on": True}

        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return hooked(*args, **kwargs) if switch["on"] else original(*args, **kwargs)

        replacement._inferometer = True  # type: ignore[attr-defined]
        setattr(owner, name, replacement)

        def undo() -> None:
            switch["on"] = False
            if vars(owner).get(name) is replacement:
                if held is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, held)

        self._undo.append(undo)
        return True

    def when_imported(self, module: str, patch: Callable[[Any, Patches], None]) -> None:
        """Patch a module now if the program has imported it, else when it does; not any more once restored."""
        if module in sys.modules:
            patch(sys.modules[module], self)
            return

        def imported(loaded: Any) -> None:
            if not self._restored:
                try:
                    patch(loaded, self)
                except Exception as error:
                    report(f"instrument {module}", error)

        wrapt.register_post_import_hook(imported, module)

    def on_undo(self, action: Callable[[], None]) -> None:
        """Call `action` when the hook is taken back."""
        self._undo.append(action)

    def restore(self) -> None:
        """Put back every original, newest first."""
        self._restored = True
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as error:
                report("uninstrument", error)


class Integration(ABC):
    """One framework's hook.

    Class attributes: ``name`` as in ``instrument("openai")``; ``module`` that must be importable; ``distribution``
    whose version counts; ``minimum`` version that the hook knows.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    distribution: ClassVar[str]
    minimum: ClassVar[tuple[int, ...]] = ()

    def __init__(self) -> None:
        self._patches: Patches | None = None
        self.awaited = False

    @property
    def installed(self) -> bool:
        """Whether the framework can be imported."""
        try:
            return find_spec(self.module) is not None
        except (ImportError, ValueError):
            return False

    @property
    def active(self) -> bool:
        """Whether the hook is in place."""
        return self._patches is not None

    def install(self) -> None:
        """Put the hook in place; a second time does nothing.

        Raises:
            MissingExtraError: the framework is not installed.
            UserError: its version is one that the hook does not know.
        """
        if self._patches is not None:
            return
        if not self.installed:
            raise MissingExtraError(f"instrument({self.name!r})", None, self.distribution)
        self._check_version()
        patches = Patches()
        try:
            if self.hook(importlib.import_module(self.module), patches) is False:
                raise UserError(
                    f"instrument({self.name!r}): nothing in {self.distribution} {self._version()} that this hook knows"
                )
        except BaseException:
            patches.restore()
            raise
        self._patches = patches

    def uninstall(self) -> None:
        """Put back every original; a second time does nothing."""
        self.awaited = False
        patches, self._patches = self._patches, None
        if patches is not None:
            patches.restore()

    @abstractmethod
    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the imported module; False where it has nothing that can be patched."""

    def _version(self) -> str:
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return "of unknown version"

    def _check_version(self) -> None:
        found = tuple(int(part) for part in self._version().split(".")[:3] if part.isdigit())
        if self.minimum and found and found < self.minimum:
            wanted = ".".join(map(str, self.minimum))
            raise UserError(f"instrument({self.name!r}) needs {self.distribution} >= {wanted}, not {self._version()}")


def field(value: Any, name: str) -> Any:
    """Return a field of an SDK's object or of the mapping it was made from; None where it has none.

    A pydantic model answers for a name that it lacks by raising from deep within, which costs more than all else here;
    so its own dictionaries are asked.
    """
    if isinstance(value, dict):
        return value.get(name)
    try:
        held = value.__dict__
    except AttributeError:
        return getattr(value, name, None)
    if name in held:
        return held[name]
    if hasattr(type(value), "__pydantic_fields__"):
        extra = value.__pydantic_extra__
        return extra.get(name) if extra else None
    return getattr(value, name, None)
