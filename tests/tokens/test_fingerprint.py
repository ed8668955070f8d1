"""Argument fingerprints: equal for equal calls, different for different ones, secret without the key."""

from __future__ import annotations

from inferometer.tokens.fingerprint import argument_fingerprint
from inferometer.tokens.key import HashKey

KEY = HashKey(bytes(range(32)))


def test_spelling_of_json_does_not_matter() -> None:
    expected = argument_fingerprint("search", {"q": "héllo", "n": [1, 2.5, None]}, KEY)
    assert argument_fingerprint("search", '{ "n": [1,2.5,null],\n "q": "h\\u00e9llo" }', KEY) == expected
    assert argument_fingerprint("search", b'{"n":[1,2.5,null],"q":"h\\u00e9llo"}', KEY) == expected


def test_tool_arguments_and_key_all_matter() -> None:
    calls = [
        ("search", {"q": "a"}, KEY),
        ("search", {"q": "b"}, KEY),
        ("find", {"q": "a"}, KEY),
        ("search", {"q": "a"}, HashKey(bytes(32))),
        ("search", None, KEY),
        ("search", "not json", KEY),
    ]
    assert len({argument_fingerprint(*call) for call in calls}) == len(calls)


def test_what_json_has_not_is_written_by_type() -> None:
    first, second = object(), object()
    assert argument_fingerprint("t", {"x": first, 1: "a"}, KEY) == argument_fingerprint("t", {"x": second, 1: "a"}, KEY)


def test_circular_arguments_are_unknown() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert argument_fingerprint("t", loop, KEY) is None


def test_lone_surrogates_are_taken() -> None:
    assert argument_fingerprint("t", {"x": "\ud800"}, KEY)
