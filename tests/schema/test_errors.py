from __future__ import annotations

import pickle

import pytest

from inferometer.schema import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.UnknownNameError("hardware profile", "h100sxm", ["h100_sxm", "h200_sxm", "b200"]),
        errors.MissingExtraError("inferometer audit", "audit", "altair"),
        errors.InputError("trace.json", "is empty"),
        errors.StoreError("sqlite:///x", "cannot be opened"),
        errors.BudgetExceeded("over", limit="budget_usd", spent={"cost_usd": "1.20"}),
    ],
)
def test_errors_survive_pickling(error: errors.InferometerError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def test_unknown_name_shows_the_nearest_first() -> None:
    error = errors.UnknownNameError("hardware profile", "h100sxm", ["b200", "mi300x", "h100_sxm"])
    assert error.near[0] == "h100_sxm"
    assert "\n" not in str(error)


def test_unknown_name_that_is_near_none_of_few_shows_them_all() -> None:
    said = str(errors.UnknownNameError("grouping", "foo", ["model", "agent", "tool", "day"]))
    assert said == "unknown grouping 'foo'; known: agent, day, model, tool"
    many = str(errors.UnknownNameError("grouping", "foo", [f"name-{number}" for number in range(99)]))
    assert "nearest known: name-0, name-1, name-10" in many


def test_unknown_name_without_any_known_says_so() -> None:
    assert "none is known" in str(errors.UnknownNameError("run", "abc", []))


def test_user_errors_are_one_branch() -> None:
    user_side = {errors.InputError, errors.StoreError, errors.ProfileError, errors.MissingExtraError}
    assert all(issubclass(kind, errors.UserError) for kind in user_side)
    assert not issubclass(errors.BudgetExceeded, errors.UserError)
