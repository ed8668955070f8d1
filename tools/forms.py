"""Choose the step's form without the rows that judge it: a nested cross-validation of decision 0011's choice.

    python tools/forms.py FORMS.json

Each group of rows (a fold of configurations, or a chip) is held out in turn. Which form would be taken is decided
among the other groups alone: each of these is predicted by fits that saw neither it nor the outer group, and the form
of least misfit wins. That form, fitted to all the other groups, then predicts the outer one. Its errors are not
flattered by the choice. `tools/fit_profiles.py --forms FORMS.json` writes them into docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from fitting import Data, fit, gather, loss_of, predict
from ground_truth import LOOP, read_ground_truth
from holdout import by_chip, by_configuration
from page import Errors, Page, errors

from inferometer.analyzer.closedloop import Floats, Join, add

ROOT = Path(__file__).parent.parent
TAKEN = "sum"


def power(exponent: float, half_tokens: float = 0.0) -> Join:
    """Return the norm of reading and computing, products reaching n / (n + half) of the chip's rate."""

    def join(reading_s: Floats, computing_s: Floats, tokens: Floats) -> Floats:
        slower = computing_s * (1 + half_tokens / np.maximum(tokens, 1e-9))
        # a little above zero: a slope is taken of it where a model has no experts
        joined = (reading_s + 1e-15) ** exponent + (slower + 1e-15) ** exponent
        return np.asarray(joined ** (1 / exponent))

    return join


FORMS: dict[str, Join] = {
    TAKEN: add,
    "norm of 1.5": power(1.5),
    "norm of 2": power(2.0),
    "norm of 4": power(4.0),
    "norm of 4, half-size 64 tokens": power(4.0, 64.0),
    "norm of 4, half-size 256 tokens": power(4.0, 256.0),
}
"""The families of decision 0011; what was fitted there is a grid here, so that every form has the same constants."""


@dataclass(frozen=True)
class Nesting:
    """What is held out, row by row (-1: teaches always), and what is known of a row that was."""

    name: str
    groups: np.ndarray
    known: str


def nestings(data: Data) -> list[Nesting]:
    """Return both ways of holding out; chips without loops teach always, for they have nothing to be judged by."""
    chips, loop = by_chip(data), data.is_kind(LOOP)
    judged = sorted({int(chip) for chip in set(chips.tolist()) if (loop & (chips == chip)).sum() >= 30})
    return [
        Nesting("configurations", by_configuration(data), "version"),
        Nesting("chips", np.where(np.isin(chips, judged), chips, -1), "engine"),
    ]


def inner_misfits(data: Data, nesting: Nesting) -> dict[int, dict[str, float]]:
    """Return each outer group's misfit of every form, over its inner groups; one fit without two groups serves both."""
    groups = nesting.groups
    names = sorted(set(groups.tolist()) - {-1})
    found = {group: dict.fromkeys(FORMS, 0.0) for group in names}
    for form, join in FORMS.items():
        formed = replace(data, join=join)
        for one, other in combinations(names, 2):
            estimate = fit(formed, np.where((groups != one) & (groups != other))[0])
            for inner, outer in ((one, other), (other, one)):
                rows = np.where(groups == inner)[0]
                found[outer][form] += loss_of(formed, estimate, rows, nesting.known)
        print(nesting.name, form, {group: round(found[group][form]) for group in names}, flush=True)
    return found


def judge(data: Data, nesting: Nesting) -> list[dict[str, Any]]:
    """Return for each outer group the inner misfits, the form chosen by them, and what it and the taken one say.

    ``rows`` are [family, predicted over measured TPOT, likewise TTFT] of the group's loops, by form.
    """
    found = []
    for outer, misfits in inner_misfits(data, nesting).items():
        chosen = min(misfits, key=lambda form: (misfits[form], form))
        out = np.where((nesting.groups == outer) & data.is_kind(LOOP))[0]
        rows = {}
        for form in dict.fromkeys((chosen, TAKEN)):
            formed = replace(data, join=FORMS[form])
            said = predict(formed, fit(formed, np.where(nesting.groups != outer)[0]), out, nesting.known)
            tpot, ttft = said.tpot / data.array("tpot_s")[out], said.ttft / data.array("ttft_s")[out]
            rows[form] = list(zip(data.array("family")[out].tolist(), tpot.tolist(), ttft.tolist(), strict=True))
        found.append({"held_out": nesting.name, "misfits": misfits, "chosen": chosen, "rows": rows})
    return found


def add_forms(page: Page, path: Path) -> None:
    """Write what a form that was chosen without the rows says of them, beside the form that was taken."""
    groups = json.loads(path.read_text(encoding="utf-8"))
    kinds = list(dict.fromkeys(group["held_out"] for group in groups))
    page.add(
        "",
        "## The choice of the step's form",
        "",
        "The form of a step (decision 0011) was chosen with held-out errors in view, which may flatter them. Here it",
        "is chosen anew for each group that is held out, among the others alone (`tools/forms.py`): each of these",
        "is predicted by fits that saw neither it nor the outer group, and the form of least misfit wins. Misfits are",
        "minus the log of the densities that the fit gives to TPOT, TTFT and throughput, summed over groups.",
    )
    page.table("form", *(f"misfit, {kind} held out" for kind in kinds), *(f"chosen, {kind}" for kind in kinds))
    for form in groups[0]["misfits"]:
        own = {kind: [group for group in groups if group["held_out"] == kind] for kind in kinds}
        misfits = [f"{sum(group['misfits'][form] for group in own[kind]):,.0f}" for kind in kinds]
        chosen = [f"{sum(group['chosen'] == form for group in own[kind])} of {len(own[kind])}" for kind in kinds]
        page.row(form, *misfits, *chosen)
    page.add(
        "",
        "*Nested* are the errors of the outer groups by the form chosen without them, *taken* by the one that ships.",
    )
    page.table("held out", "family", "what", "rows", "nested: median", "mean", "taken: median", "mean")
    for kind in kinds:
        for family in ("dense", "moe", "mla"):
            for place, what in ((1, "TPOT"), (2, "TTFT")):
                nested = _errors(groups, kind, family, place, lambda group: group["chosen"])
                taken = _errors(groups, kind, family, place, lambda group: TAKEN)
                cells = [f"{value:.1%}" for e in (nested, taken) for value in (e.median, float(e.values.mean()))]
                page.row(kind, family, what, str(nested.values.size), *cells)


def _errors(
    groups: list[dict[str, Any]], kind: str, family: str, place: int, form_of: Callable[[dict[str, Any]], str]
) -> Errors:
    rows = [row for group in groups if group["held_out"] == kind for row in group["rows"][form_of(group)]]
    said = np.array([row[place] for row in rows if row[0] == family])
    return errors(said, np.ones_like(said), np.arange(said.size))


def main() -> None:
    """Judge every row both ways and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("output", type=Path)
    parser.add_argument("--ground-truth", type=Path, default=ROOT.parent / "shared" / "groundtruth")
    options = parser.parse_args()
    data, _ = gather(read_ground_truth(options.ground_truth)[0])
    groups = [group for nesting in nestings(data) for group in judge(data, nesting)]
    options.output.write_text(json.dumps(groups), encoding="utf-8")


if __name__ == "__main__":
    main()
