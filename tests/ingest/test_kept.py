"""What importers keep of a call's words is what is read back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferometer.ingest.kept import KeptText, read_kept_text
from inferometer.ingest.retention import MAX_CONTENT
from inferometer.ingest.said import Said
from inferometer.schema.records import Span, SpanKind


def kept(attributes: dict[str, Any]) -> KeptText:
    return read_kept_text(Span(b"t" * 16, b"s" * 8, "chat", SpanKind.INFERENCE, attributes=attributes))


def test_what_was_said_is_read_back() -> None:
    said = Said(
        system="be brief",
        messages=[{"role": "user", "content": "how many?"}, {"role": "assistant", "content": "of what?"}],
        tools=[{"name": "count", "input_schema": {}}],
        answer=["seven", "", "or eight"],
    )
    found = kept(said.attributes())
    assert found.input == ('{"name": "count", "input_schema": {}}', "be brief", "how many?", "of what?")
    assert found.answer == ("seven", "or eight")


@pytest.mark.parametrize("said", [Said(), Said(messages=[], answer=[]), Said(system="", answer=[""])])
def test_nothing_said_keeps_nothing(said: Said) -> None:
    assert said.attributes() == {}
    assert kept(said.attributes()) == KeptText(None, None)


def test_what_was_cut_is_not_taken_for_the_whole() -> None:
    long = Said(messages=[{"role": "user", "content": "x" * (MAX_CONTENT + 1)}], answer=["short"]).attributes()
    assert len(long["gen_ai.input.messages"]) == MAX_CONTENT
    assert kept(long) == KeptText(None, ("short",))


def test_tool_calls_are_part_of_an_answer() -> None:
    message = {"role": "assistant", "parts": [{"type": "tool_call", "name": "look", "arguments": {"at": "it"}}]}
    assert kept({"gen_ai.output.messages": json.dumps([message])}).answer == ('look{"at": "it"}',)
