"""A chat request in parts adds up, and says what is an estimate."""

from __future__ import annotations

from inferometer.schema.messages import parts_of
from inferometer.tokens import encoding
from inferometer.tokens.composition import compose, framing_of

MESSAGES = [
    {"role": "system", "content": "You are a helpful, pattern-following assistant that translates corporate jargon."},
    {"role": "user", "content": "What is the weather?"},
    {"role": "assistant", "content": "Let me look."},
    {"role": "tool", "content": "sunny, 21 degrees", "tool_call_id": "1"},
    {"role": "user", "content": "And tomorrow?"},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def test_parts_are_the_counts_of_their_texts() -> None:
    ours = encoding("o200k_base")
    found = compose(parts_of(None, MESSAGES, TOOLS), ours, "gpt-4o")
    count = ours.count
    assert found.composition.system == count(MESSAGES[0]["content"])
    assert found.composition.user == count("And tomorrow?")
    assert found.composition.history == count("What is the weather?") + count("Let me look.")
    assert found.composition.tool_results == count("sunny, 21 degrees")
    assert [tool.name for tool in found.tools_offered] == ["weather"]
    assert found.composition.tools == found.tools_offered[0].tokens
    assert found.framing_tokens == 4 * 5 + 3
    assert found.estimated


def test_documented_format_without_tools_is_no_estimate() -> None:
    assert not compose(parts_of(None, MESSAGES, None), encoding("o200k_base"), "openai/gpt-4o-mini").estimated
    assert compose(parts_of(None, MESSAGES, None), encoding("o200k_base"), "gpt-5").estimated
    assert not framing_of(None).documented


def test_the_cookbook_s_example_has_its_published_count() -> None:
    """OpenAI cookbook, How_to_count_tokens_with_tiktoken: 124 tokens for gpt-4o, 129 for gpt-4-0613."""
    system = "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."
    turns = [
        ("example_user", "New synergies will help drive top-line growth."),
        ("example_assistant", "Things working well together will increase revenue."),
        (
            "example_user",
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        ),
        ("example_assistant", "Let's talk later when we're less busy about how to do better."),
    ]
    question = "This late pivot means we don't have time to boil the ocean for the client deliverable."
    for name, model, expected in (("o200k_base", "gpt-4o", 124), ("cl100k_base", "gpt-4-0613", 129)):
        ours = encoding(name)
        messages = [{"role": "system", "content": system}]
        messages += [{"role": "system", "content": text} for _, text in turns] + [{"role": "user", "content": question}]
        found = compose(parts_of(None, messages, None), ours, model)
        names = sum(ours.count(speaker) + 1 for speaker, _ in turns)
        assert found.tokens + names == expected


def test_nothing_is_nothing() -> None:
    assert compose([], encoding("o200k_base")).tokens == 0
