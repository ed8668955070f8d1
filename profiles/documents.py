"""Profiles as files: where they lie, which wins, how one is read and refused.

A profile is one TOML file. Its keys carry their unit, and each of its tables carries ``as_of`` (a date), ``source`` and
``confidence`` for the values in it. Files of the user's own win over the shipped ones of the same name; they lie in
``<folder>/<kind>/*.toml`` where ``<folder>`` is each of ``INFEROMETER_PROFILES`` (several are separated as in PATH) or
the user's configuration directory.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from inferometer.profiles.toml import parse_toml, read_text
from inferometer.schema.errors import ProfileError, UnknownNameError

CONFIDENCES = ("high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a value comes from: the day it was looked up, the source, and how far to trust it."""

    as_of: date
    source: str
    confidence: str


@dataclass(frozen=True, slots=True)
class Document:
    """One profile file: its path for messages, its name and its text."""

    path: str
    stem: str
    text: str


class Table:
    """A table of a profile: typed reads, and a complaint about every key that nobody read.

    A number without a unit in its name is a key that nobody reads, so it is refused with the nearest key that has one.
    """

    def __init__(self, path: str, name: str, values: Mapping[str, Any]) -> None:
        self.path = path
        self.name = name
        self._values = values
        self._read: set[str] = set()

    def _fail(self, key: str, reason: str) -> ProfileError:
        return ProfileError(self.path, f"{self.name}.{key} {reason}" if self.name else f"{key} {reason}")

    def optional_number(self, key: str, *, minimum: float = 0.0, maximum: float = float("inf")) -> float | None:
        """Return a number within [minimum, maximum], or None where the key is absent."""
        self._read.add(key)
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fail(key, f"is {value!r}, not a number")
        if not minimum <= value <= maximum:
            raise self._fail(key, f"is {value}, outside {minimum:g} to {maximum:g}")
        return float(value)

    def number(self, key: str, *, minimum: float = 0.0, maximum: float = float("inf")) -> float:
        """Return a number within [minimum, maximum]."""
        value = self.optional_number(key, minimum=minimum, maximum=maximum)
        if value is None:
            raise self._missing(key)
        return value

    def integer(self, key: str, default: int | None = None, *, minimum: int = 0) -> int:
        """Return a whole number."""
        value = self.optional_number(key, minimum=minimum)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if value != int(value):
            raise self._fail(key, f"is {value}, not a whole number")
        return int(value)

    def text(self, key: str, default: str | None = None, *, among: Iterable[str] | None = None) -> str:
        """Return a text, one of `among` where that is given."""
        self._read.add(key)
        value = self._values.get(key, default)
        if value is None:
            raise self._missing(key)
        if not isinstance(value, str) or not value:
            raise self._fail(key, f"is {value!r}, not a text")
        if among is not None and value not in among:
            raise self._fail(key, f"is {value!r}; it can be {', '.join(among)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty where the key is absent."""
        self._read.add(key)
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._fail(key, f"is {value!r}, not a list of texts")
        return tuple(value)

    def list_of_numbers(self, key: str, *, minimum: float = 0.0) -> tuple[float, ...]:
        """Return a list of numbers of at least `minimum`, empty where the key is absent."""
        self._read.add(key)
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, int | float) and item >= minimum for item in value):
            raise self._fail(key, f"is {value!r}, not a list of numbers from {minimum:g} on")
        return tuple(float(item) for item in value)

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        self._read.add(key)
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self._fail(key, f"is {value!r}, not true or false")
        return value

    def day(self, key: str) -> date:
        """Return a date."""
        self._read.add(key)
        value = self._values.get(key)
        if value is None:
            raise ProfileError(self.path, f"{self.name} has no date: write {key} = YYYY-MM-DD")
        if isinstance(value, datetime):
            return value.date()
        if not isinstance(value, date):
            raise self._fail(key, f"is {value!r}; write a date as YYYY-MM-DD, without quotes")
        return value

    def __contains__(self, key: str) -> bool:
        """Return whether the table has a key."""
        return key in self._values

    def keys(self) -> tuple[str, ...]:
        """Return the table's keys in the file's order."""
        return tuple(self._values)

    def provenance(self) -> Provenance:
        """Return the table's date, source and confidence; all three are required."""
        return Provenance(self.day("as_of"), self.text("source"), self.text("confidence", among=CONFIDENCES))

    def table(self, key: str) -> Table:
        """Return a table within this one."""
        found = self.optional_table(key)
        if found is None:
            raise self._missing(key)
        return found

    def optional_table(self, key: str) -> Table | None:
        """Return a table within this one, or None."""
        self._read.add(key)
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._fail(key, "is not a table")
        return Table(self.path, f"{self.name}.{key}" if self.name else key, value)

    def tables(self, key: str) -> Iterator[Table]:
        """Yield the tables of a list of tables."""
        self._read.add(key)
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._fail(key, f"is not a list of tables: write [[{key}]]")
        for index, item in enumerate(value):
            yield Table(self.path, f"{self.name + '.' if self.name else ''}{key}[{index}]", item)

    def numbers(self) -> dict[str, float]:
        """Return every number of the table that has not been read; what is not a number is refused by `finish`."""
        found = {}
        for key, value in self._values.items():
            if key not in self._read and isinstance(value, int | float) and not isinstance(value, bool):
                found[key] = self.number(key, minimum=float("-inf"))
        return found

    def finish(self) -> None:
        """Refuse the keys that nobody read: a misspelling, or a number whose unit is missing."""
        for key in self._values:
            if key not in self._read:
                near = difflib.get_close_matches(key, self._read, n=1, cutoff=0.3)
                known = near or [name for name in sorted(self._read) if name.startswith(key)]
                hint = f"; did you mean {known[0]}?" if known else ""
                raise self._fail(key, f"is not a known key (a unit belongs into every key){hint}")

    def _missing(self, key: str) -> ProfileError:
        return ProfileError(self.path, f"{self.name or 'the profile'} lacks {key}")


class Named(Protocol):
    """What a profile needs to be found by name."""

    @property
    def id(self) -> str: ...  # noqa: D102

    @property
    def aliases(self) -> tuple[str, ...]: ...  # noqa: D102


Profile = TypeVar("Profile", bound=Named)


def user_folders() -> list[Path]:
    """Return the folders in which the user's own profiles lie, the winning one first."""
    named = [Path(part).expanduser() for part in os.environ.get("INFEROMETER_PROFILES", "").split(os.pathsep) if part]
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [*named, config / "inferometer" / "profiles"]


def read_documents(kind: str) -> list[Document]:
    """Return all files of one kind, shipped ones first and the winning user folder last.

    Raises:
        ProfileError: a folder of INFEROMETER_PROFILES is missing, or a file cannot be read.
    """
    found = list(_shipped(kind))
    folders = user_folders()
    for folder in folders[:-1]:
        if not folder.is_dir():
            raise ProfileError(str(folder), "INFEROMETER_PROFILES names it, but it is not a folder")
    for folder in reversed(folders):
        paths = sorted((folder / kind).glob("*.toml"))
        found.extend(Document(str(path), path.stem, read_text(path)) for path in paths)
    return found


@cache
def _shipped(kind: str) -> tuple[Document, ...]:
    return tuple(
        Document(f"profiles/{kind}/{entry.name}", entry.name.removesuffix(".toml"), entry.read_text(encoding="utf-8"))
        for entry in sorted(files(f"inferometer.profiles.{kind}").iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    )


def parse(document: Document) -> Table:
    """Parse one file.

    Raises:
        ProfileError: it is not TOML.
    """
    return Table(document.path, "", parse_toml(document.path, document.text))


@dataclass(frozen=True, slots=True)
class Shelf(Generic[Profile]):
    """All profiles of one kind: the shipped ones and the user's own, whose file replaces one of the same id.

    Attributes:
        kind: name of their folder.
        what: one of them in words, for messages.
        read: reads one file.
    """

    kind: str
    what: str
    read: Callable[[Document], Profile]

    def all(self) -> dict[str, Profile]:
        """Return all by id.

        Raises:
            ProfileError: a profile breaks its rules.
        """
        return dict(_load_all(self.read, tuple(read_documents(self.kind))))

    def load(self, name: str) -> Profile:
        """Return the one with this id or alias, found as `find` does.

        Raises:
            UnknownNameError: none has that name; carries the nearest names.
            ProfileError: a profile breaks its rules.
        """
        return find(self.what, name, self.all())


@lru_cache(maxsize=32)
def _load_all(read: Callable[[Document], Profile], documents: tuple[Document, ...]) -> dict[str, Profile]:
    profiles: dict[str, Profile] = {}
    for document in documents:
        profile = read(document)
        profiles[profile.id] = profile
    return profiles


def find(what: str, name: str, profiles: Mapping[str, Profile]) -> Profile:
    """Return the profile with this id or alias, upper and lower case alike, or with what follows a vendor in either.

    Raises:
        UnknownNameError: none has it; carries the nearest names.
    """
    exact = profiles.get(name)
    if exact is not None:
        return exact
    wanted = name.casefold()
    without_vendor: Profile | None = None
    for profile in profiles.values():
        names = [known.casefold() for known in (profile.id, *profile.aliases)]
        if wanted in names:
            return profile
        if without_vendor is None and wanted in (known.rpartition("/")[2] for known in names):
            without_vendor = profile
    if without_vendor is not None:
        return without_vendor
    raise UnknownNameError(what, name, [known for p in profiles.values() for known in (p.id, *p.aliases)])
