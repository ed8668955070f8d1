"""Labels of points that lie on no other."""

from __future__ import annotations

from itertools import combinations

from inferometer.reports.charts.hardware_pareto import front
from inferometer.reports.charts.labels import BELOW, LINE_PX, STEPS, offsets

SPAN = (0.0, 1.0)


def test_labels_that_would_meet_are_moved_apart() -> None:
    shifts = offsets([(0.5, 0.5)] * 4, ["a label of some length"] * 4, 300, SPAN)
    assert shifts[0] == STEPS[0]
    assert all(abs(one - other) >= LINE_PX for one, other in combinations(shifts, 2))


def test_labels_that_do_not_meet_stay_at_their_points() -> None:
    assert offsets([(0.0, 0.1), (0.0, 0.9)], ["one", "two"], 300, SPAN) == [STEPS[0]] * 2
    assert offsets([(0.0, 0.5), (1.0, 0.5)], ["one", "two"], 300, SPAN, steps=BELOW) == [BELOW[0]] * 2


def test_where_no_place_is_left_the_nearest_is_taken() -> None:
    assert offsets([(0.0, 0.5)] * 9, ["x"] * 9, 300, SPAN)[-1] == STEPS[0]


def test_the_front_is_what_nothing_beats_in_both() -> None:
    points = [{"seconds": s, "usd": u} for s, u in ((1, 9), (2, 5), (2, 7), (3, 6), (4, 2), (5, 2))]
    assert [(point["seconds"], point["usd"]) for point in front(points)] == [(1, 9), (2, 5), (4, 2)]
