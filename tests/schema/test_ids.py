from __future__ import annotations

from inferometer.schema.ids import derived_span_id, derived_trace_id, run_id_of
from inferometer.schema.records import Resource


def test_derived_ids_are_stable_and_tell_parts_apart() -> None:
    assert derived_trace_id("a", "bc") == derived_trace_id("a", "bc")
    assert derived_trace_id("a", "bc") != derived_trace_id("ab", "c")
    assert len(derived_trace_id("x")) == 16
    assert len(derived_span_id("x")) == 8


def test_derived_ids_take_lone_surrogates() -> None:
    assert derived_span_id("\ud800") != derived_span_id("\ud801")


def test_run_id_depends_on_trace_and_root() -> None:
    one = run_id_of(bytes(16), bytes(8))
    assert len(one) == 16
    assert one != run_id_of(bytes(15) + b"\x01", bytes(8))
    assert one != run_id_of(bytes(16), bytes(7) + b"\x01")


def test_equal_resources_share_an_id() -> None:
    assert Resource((("service.name", "a"),)).resource_id == Resource((("service.name", "a"),)).resource_id
    assert Resource((("service.name", "a"),)).resource_id != Resource((("service.name", "b"),)).resource_id
