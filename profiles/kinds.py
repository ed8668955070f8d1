"""The kinds of profiles: how all of a kind are listed, how one file is read, and which key tells a file's kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from inferometer.profiles import caching, claims, engines, fine_tuning, hardware, models, training
from inferometer.profiles.documents import Document, Named
from inferometer.profiles.toml import parse_toml


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of profile.

    Attributes:
        profiles: returns all profiles by id, the user's own included.
        read: reads one file; raises `ProfileError` where it breaks the rules.
        marks: keys of a file's top level that no other kind has.
    """

    profiles: Callable[[], Mapping[str, Named]]
    read: Callable[[Document], Any]
    marks: frozenset[str]


def _read_engine(document: Document) -> Any:
    is_fit = document.stem.endswith(engines.CALIBRATION)
    return engines.read_calibrations(document) if is_fit else engines.read_engine(document)


KINDS = {
    "hardware": Kind(hardware.list_hardware, hardware.read_hardware, frozenset({"memory", "compute"})),
    "engines": Kind(engines.list_engines, _read_engine, frozenset({"scheduler"})),
    "models": Kind(models.list_models, models.read_model, frozenset({"attention"})),
    "caching": Kind(caching.list_caching, caching.read_caching, frozenset({"grain_tokens"})),
    "fine_tuning": Kind(
        fine_tuning.list_fine_tuning, fine_tuning.read_fine_tuning, frozenset({"serving_factor", "usd_per_mtok"})
    ),
    "training": Kind(training.list_training, training.read_training, frozenset({"stage"})),
    "claims": Kind(claims.list_claims, claims.read_claim, frozenset({"claim"})),
}
"""By the name of their folder."""


def kind_of(document: Document) -> str | None:
    """Return the name of the kind whose keys a file has, None where no kind has them.

    Raises:
        ProfileError: it is not TOML.
    """
    keys = parse_toml(document.path, document.text).keys()
    return next((name for name, kind in KINDS.items() if kind.marks & keys), None)
