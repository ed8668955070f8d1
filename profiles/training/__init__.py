"""Published training runs, and the parameters by which a final run's compute becomes a cost of training."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from inferometer.profiles.documents import Document, Provenance, Shelf, Table, parse


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a model's training as published; None where a figure was not."""

    name: str
    tokens: float | None
    flop: float | None
    chip: str | None
    chip_hours: float | None
    usd_low: Decimal | None
    usd_high: Decimal | None
    implied_mfu: float | None
    note: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A model's published training."""

    id: str
    aliases: tuple[str, ...]
    parameters: float | None
    active_parameters: float | None
    stages: tuple[Stage, ...]


def read_training(document: Document) -> TrainingRun:
    """Read one model's training from its file.

    Raises:
        ProfileError: a key is missing, unknown, out of range or without a unit.
    """
    table = parse(document)
    run = TrainingRun(
        id=table.text("id"),
        aliases=table.texts("aliases"),
        parameters=_scaled(table, "parameters_b", 1e9),
        active_parameters=_scaled(table, "active_parameters_b", 1e9),
        stages=tuple(_stage(stage) for stage in table.tables("stage")),
    )
    table.finish()
    return run


def _scaled(table: Table, key: str, unit: float) -> float | None:
    value = table.optional_number(key)
    return None if value is None else value * unit


def _stage(table: Table) -> Stage:
    low, high = table.optional_number("usd_low"), table.optional_number("usd_high")
    stage = Stage(
        name=table.text("name"),
        tokens=_scaled(table, "tokens_t", 1e12),
        flop=table.optional_number("flop"),
        chip=table.text("chip", "-") if "chip" in table else None,
        chip_hours=table.optional_number("chip_hours"),
        usd_low=None if low is None else Decimal(str(low)),
        usd_high=None if high is None else Decimal(str(high)),
        implied_mfu=table.optional_number("implied_mfu", maximum=1.0),
        note=table.text("note", "-"),
        provenance=table.provenance(),
    )
    table.finish()
    return stage


TRAINING = Shelf("training", "training profile", read_training)
load_training, list_training = TRAINING.load, TRAINING.all
