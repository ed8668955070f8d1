from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferometer.schema.meters import DISJOINT_METERS, METER_NAMES, Meters

counts = st.none() | st.integers(0, 10**9)


def test_unknown_meters_have_no_total() -> None:
    assert Meters().input_total is None
    assert Meters().total is None
    assert not Meters().is_known


def test_zero_is_known() -> None:
    assert Meters(input_fresh=0).input_total == 0
    assert Meters(input_fresh=0).is_known


@given(st.builds(Meters, **dict.fromkeys(METER_NAMES, counts)))
def test_total_is_the_sum_of_the_disjoint_meters(meters: Meters) -> None:
    known = [value for name in DISJOINT_METERS if (value := getattr(meters, name)) is not None]
    assert meters.total == (sum(known) if known else None)


@given(st.builds(Meters, **dict.fromkeys(METER_NAMES, counts)))
def test_dictionary_round_trip_keeps_every_known_meter(meters: Meters) -> None:
    assert Meters(**meters.as_dict()) == meters
