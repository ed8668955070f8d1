"""Serving engines: how they batch, how they account for KV memory, what their hosts cost, and what was fitted to them.

An engine is ``<name>.toml``. Constants fitted to measured rows lie beside it in ``<name>.calibration.toml``, which
``tools/fit_profiles.py`` writes; they belong to (hardware, engine version) and name the rows' hull and the fit's error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from inferometer.profiles.documents import Document, Provenance, Table, find, parse, read_documents
from inferometer.profiles.engines.calibration import (
    ANY_VERSION,
    CONSTANT_NAMES,
    CORRECTION_FACTORS,
    Calibration,
    Constants,
    Correction,
    Fit,
    Fitted,
    Range,
    Spread,
    Trend,
    merge,
    read_calibrations,
    read_constants,
)
from inferometer.schema.errors import ProfileError, UnknownNameError

__all__ = [
    "ANY_VERSION",
    "CALIBRATION",
    "CONSTANT_NAMES",
    "CORRECTION_FACTORS",
    "Calibration",
    "Constants",
    "Correction",
    "Engine",
    "Fit",
    "Range",
    "Scheduler",
    "Spread",
    "Trend",
    "list_engines",
    "load_engine",
    "read_calibrations",
    "read_engine",
    "same_version",
    "split_version",
    "version_key",
    "version_standing",
]

BATCHINGS = ("mixed", "prefill_first", "static")
ADMISSIONS = ("incremental", "reserve_all")
CALIBRATION = ".calibration"
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class SmallChip:
    """The limits that an engine chooses on chips with less memory than ``below_gib``."""

    below_gib: float
    max_batched_tokens: int
    max_sequences: int
    reserved_gib: float


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The rules a step is put together by.

    ``batching``: ``mixed`` puts prompt chunks beside decodes, ``prefill_first`` lets prompts run alone before decodes
    go on. ``admission``: ``incremental`` takes a sequence when its prompt fits and preempts later, ``reserve_all`` when
    its longest outcome fits. ``kv_precision``: ``bf16``, or ``weights`` for FP8 beside weights of eight bits and fewer.
    """

    batching: str
    admission: str
    max_batched_tokens: int
    max_sequences: int
    kv_block_tokens: int
    memory_share: float
    reserved_gib: float
    kv_precision: str
    small_chip: SmallChip | None
    provenance: Provenance

    def on(self, memory_bytes: float) -> Scheduler:
        """Return the rules on a chip with that much memory."""
        small = self.small_chip
        if small is None or memory_bytes >= small.below_gib * GIB:
            return self
        return replace(
            self,
            max_batched_tokens=small.max_batched_tokens,
            max_sequences=small.max_sequences,
            reserved_gib=small.reserved_gib,
        )


@dataclass(frozen=True, slots=True)
class Engine:
    """One serving engine at one version (``version`` is empty for 'whichever').

    ``spreads`` are of predictions that nothing measured on the chip stands behind, by confidence class.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    version: str
    scheduler: Scheduler
    defaults: Constants
    calibrations: tuple[Calibration, ...]
    spreads: dict[str, Spread]
    trends: tuple[Trend, ...]
    provenance: Provenance
    notes: tuple[str, ...]
    path: str


def split_version(name: str) -> tuple[str, str]:
    """Split ``vllm==0.12.0``, ``vllm@0.12.0`` or ``vllm 0.12.0`` into name and version ('' where there is none)."""
    words = name.replace("==", " ").replace("@", " ").split()
    return (words[0], " ".join(words[1:])) if words else (name, "")


def version_key(version: str) -> tuple[int, ...]:
    """Return a version's leading numbers, for ordering: ``1.2.0rc6.post2`` is (1, 2, 0)."""
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def same_version(a: str, b: str) -> bool:
    """Return whether two versions are one, ``0.12`` and ``0.12.0`` among them."""
    return _plain_version(a) == _plain_version(b)


def _plain_version(version: str) -> str:
    words = version.lower().removeprefix("v").split(".")
    while len(words) > 1 and words[-1] == "0":
        words.pop()
    return ".".join(words)


def version_standing(asked: str, measured: Sequence[str]) -> str:
    """Return how a version stands to measured ones: measured, older than all, newer than all, or between.

    Builds without a number (``nightly-...``) have no order: one that was not measured is between.
    """
    if any(same_version(asked, each) for each in measured):
        return "measured"
    key, keys = _ordered(asked), [_ordered(each) for each in measured if version_key(each)]
    if not version_key(asked) or not keys:
        return "between"
    return "older" if key < min(keys) else "newer" if key > max(keys) else "between"


def _ordered(version: str) -> tuple[int, ...]:
    return version_key(_plain_version(version))


def load_engine(name: str) -> Engine:
    """Return an engine by id or alias, at the version named after ``==``, ``@`` or a space if any.

    Raises:
        UnknownNameError: no profile has that name.
        ProfileError: a profile breaks its rules.
    """
    id_, version = split_version(name)
    found = find("engine profile", id_, {engine.id: engine for engine in list_engines().values()})
    if not version:
        return found
    return replace(found, version=version, scheduler=_scheduler_of(found.id, version) or found.scheduler)


def list_engines() -> dict[str, Engine]:
    """Return all engines by id, the user's own included.

    Raises:
        ProfileError: a profile breaks its rules.
    """
    return dict(_read_engines(tuple(read_documents("engines")))[0])


def _scheduler_of(id_: str, version: str) -> Scheduler | None:
    key = version_key(version)
    if not key:
        return None
    _, earlier = _read_engines(tuple(read_documents("engines")))
    for before, scheduler in earlier.get(id_, ()):
        if key < before:
            return scheduler
    return None


@lru_cache(maxsize=8)
def _read_engines(
    documents: tuple[Document, ...],
) -> tuple[dict[str, Engine], dict[str, list[tuple[tuple[int, ...], Scheduler]]]]:
    engines: dict[str, Engine] = {}
    earlier: dict[str, list[tuple[tuple[int, ...], Scheduler]]] = {}
    fits: dict[str, Fitted] = {}
    for document in documents:
        stem = document.stem
        if stem.endswith(CALIBRATION):
            id_ = stem.removesuffix(CALIBRATION)
            fits[id_] = merge(read_calibrations(document), fits.get(id_))
        else:
            engines[stem], earlier[stem] = read_engine(document)
    for id_, found in fits.items():
        if id_ not in engines:
            raise UnknownNameError("engine of a calibration file", id_, engines)
        engines[id_] = replace(
            engines[id_],
            calibrations=found.calibrations,
            defaults=found.defaults or engines[id_].defaults,
            spreads=found.spreads,
            trends=found.trends,
        )
    return engines, earlier


def read_engine(document: Document) -> tuple[Engine, list[tuple[tuple[int, ...], Scheduler]]]:
    """Read one engine, and the schedulers of its earlier versions, oldest first.

    Raises:
        ProfileError: a key is missing, unknown, out of range or without a unit.
    """
    table = parse(document)
    engine = Engine(
        id=document.stem,
        name=table.text("name"),
        aliases=table.texts("aliases"),
        version="",
        scheduler=_scheduler(table.table("scheduler")),
        defaults=read_constants(table.table("defaults")),
        calibrations=(),
        spreads={},
        trends=(),
        provenance=table.provenance(),
        notes=table.texts("notes"),
        path=document.path,
    )
    earlier = []
    for old in table.tables("earlier"):
        before = version_key(old.text("before_version"))
        if not before:
            raise ProfileError(document.path, f"{old.name}.before_version holds no number")
        earlier.append((before, _scheduler(old)))
    table.finish()
    return engine, sorted(earlier, key=lambda pair: pair[0])


def _scheduler(table: Table) -> Scheduler:
    table.text("before_version", "none")
    scheduler = Scheduler(
        batching=table.text("batching", among=BATCHINGS),
        admission=table.text("admission", among=ADMISSIONS),
        max_batched_tokens=table.integer("max_batched_tokens", minimum=1),
        max_sequences=table.integer("max_sequences", minimum=1),
        kv_block_tokens=table.integer("kv_block_tokens", minimum=1),
        memory_share=table.number("memory_share", minimum=0.1, maximum=1.0),
        reserved_gib=table.number("reserved_gib"),
        kv_precision=table.text("kv_precision", among=("bf16", "weights")),
        small_chip=_small_chip(table.optional_table("small_chip")),
        provenance=table.provenance(),
    )
    table.finish()
    return scheduler


def _small_chip(table: Table | None) -> SmallChip | None:
    if table is None:
        return None
    small = SmallChip(
        below_gib=table.number("below_gib"),
        max_batched_tokens=table.integer("max_batched_tokens", minimum=1),
        max_sequences=table.integer("max_sequences", minimum=1),
        reserved_gib=table.number("reserved_gib"),
    )
    table.finish()
    return small
