"""The fit behind the engine profiles: one fold of configurations held out whole must be predicted as promised."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def tools(repository: Path) -> Iterator[Any]:
    """The folder of tools on the path, as when they run as scripts."""
    folder = str(repository / "tools")
    sys.path.insert(0, folder)
    import fitting
    import ground_truth

    yield (ground_truth, fitting)
    sys.path.remove(folder)
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder):
            del sys.modules[name]


@pytest.fixture(scope="module")
def observations(tools: Any, shared: Path) -> list[Any]:
    found, _ = tools[0].read_ground_truth(shared / "groundtruth")
    return list(found)


def test_a_configuration_is_in_one_fold_whatever_its_load(observations: list[Any]) -> None:
    folds: dict[str, set[int]] = {}
    for each in observations:
        folds.setdefault(each.configuration, set()).add(each.fold)
    assert all(len(found) == 1 for found in folds.values())
    sizes = np.bincount([each.fold for each in observations])
    assert len(sizes) == 5
    assert sizes.min() > 0.5 * sizes.mean()


def test_names_of_one_model_are_one_configuration(observations: list[Any]) -> None:
    models = {each.point.model for each in observations}
    assert "deepseek-ai/DeepSeek-R1" in models
    assert "deepseek-ai/DeepSeek-V3" not in models


def test_repeated_publications_share_one_vote(observations: list[Any]) -> None:
    votes: dict[tuple[Any, ...], float] = {}
    for each in observations:
        if each.kind == "loop":
            key = (each.configuration, each.version, each.point.users, round(float(np.log(each.tpot_s)), 2))
            votes[key] = votes.get(key, 0.0) + each.weight
    assert all(vote == pytest.approx(1.0) for vote in votes.values())


@pytest.mark.slow
def test_held_out_fold_keeps_the_promised_accuracy(tools: Any, observations: list[Any]) -> None:
    fitting = tools[1]
    data, _ = fitting.gather(observations)
    folds = np.array([each.fold for each in data.observations])
    out = np.where(folds == 1)[0]
    said = fitting.predict(data, fitting.fit(data, np.where(folds != 1)[0]), out)
    family, loop = data.array("family")[out], data.is_kind("loop")[out]
    tpot = np.abs(said.tpot / data.array("tpot_s")[out] - 1)
    ttft = np.abs(said.ttft / data.array("ttft_s")[out] - 1)
    rate = np.abs(said.rate / data.array("output_tokens_per_s")[out] - 1)
    dense, mixed = loop & (family == "dense"), loop & (family != "dense")
    assert np.median(tpot[dense]) <= 0.10
    assert np.mean(tpot[dense]) <= 0.15
    assert np.median(ttft[dense]) <= 0.30
    assert np.median(tpot[mixed]) <= 0.20
    assert np.median(ttft[mixed]) <= 0.45
    saturated = data.is_kind("throughput")[out]
    assert np.median(rate[saturated & (family == "dense")]) <= 0.12
    assert np.median(rate[saturated & (family != "dense")]) <= 0.20


def test_engine_and_closed_form_agree_on_a_user_alone(tools: Any, observations: list[Any]) -> None:
    """With no other users nothing depends on how they arrive, and the two must say the same of every row."""
    import closed_loops

    dense = [each for each in observations if each.kind == "loop" and each.family == "dense"]
    single = [replace(each, point=replace(each.point, users=1.0)) for each in dense[::20]]
    data, _ = tools[1].gather(single)
    loops = closed_loops.compare_loops(data, tools[1].Estimate.zero(data))
    assert len(loops) >= 5
    for each in loops:
        # the closed form lets a request wait half a step, and takes the mean context for that of every step
        assert each.ttft["engine, equal lengths"] == pytest.approx(each.ttft["closed form"], abs=0.2)
        assert each.tpot["engine, equal lengths"] == pytest.approx(each.tpot["closed form"], abs=0.05)


def test_users_in_step_wait_longer_than_drawn_ones(tools: Any, observations: list[Any]) -> None:
    import closed_loops

    many = [each for each in observations if each.kind == "loop" and 32 <= each.point.users <= 128][::40]
    data, _ = tools[1].gather(many)
    loops = closed_loops.compare_loops(data, tools[1].Estimate.zero(data))
    assert loops
    gaps = [each.ttft["engine, equal lengths"] - each.ttft["engine"] for each in loops]
    assert np.median(gaps) > 0.3


def test_form_is_chosen_without_the_rows_that_judge_it(
    tools: Any, observations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import forms

    data, _ = tools[1].gather(observations[::40])
    groups = np.arange(len(data.observations)) % 3
    taught: list[set[int]] = []
    judged: list[tuple[set[int], int]] = []

    def fit(data: Any, rows: Any) -> Any:
        taught.append(set(groups[rows].tolist()))
        return tools[1].Estimate.zero(data)

    def loss_of(data: Any, estimate: Any, rows: Any, known: str) -> float:
        (inner,) = set(groups[rows].tolist())
        judged.append((taught[-1], inner))
        return 1.0

    monkeypatch.setattr(forms, "fit", fit)
    monkeypatch.setattr(forms, "loss_of", loss_of)
    found = forms.inner_misfits(data, forms.Nesting("thirds", groups, "version"))
    assert set(found) == {0, 1, 2}
    assert all(misfits == dict.fromkeys(forms.FORMS, 2.0) for misfits in found.values())
    # of three groups one teaches, one judges, and the third, which is outer, is seen by neither
    assert all(len(seen) == 1 and inner not in seen for seen, inner in judged)
    assert {(next(iter(seen)), inner) for seen, inner in judged} == {
        (a, b) for a in range(3) for b in range(3) if a != b
    }


def test_forms_meet_where_they_are_the_same(tools: Any) -> None:
    import forms

    reading, computing, tokens = np.array([1.0, 0.0]), np.array([2.0, 3.0]), np.array([64.0, 1.0])
    assert forms.power(1.0)(reading, computing, tokens) == pytest.approx(
        forms.FORMS[forms.TAKEN](reading, computing, tokens)
    )
    assert forms.power(4.0)(reading, computing, tokens) == pytest.approx([17**0.25, 3.0])
    assert forms.power(1.0, 64.0)(reading, computing, tokens)[0] == pytest.approx(1.0 + 2.0 * 2)
