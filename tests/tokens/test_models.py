"""Model names find their vocabulary, and only where it is published."""

from __future__ import annotations

import pytest
import tiktoken.model

from inferometer.tokens.models import encoding_name_for_model
from inferometer.tokens.vocabularies.registry import DESCRIPTORS


def test_tiktoken_s_own_table_is_followed() -> None:
    skipped = ("text-similarity", "text-search", "code-search")
    for model, name in tiktoken.model.MODEL_TO_ENCODING.items():
        if not model.startswith(skipped):
            expected = "r50k_base" if name == "gpt2" else name
            assert encoding_name_for_model(model) == expected, model
    for prefix, name in tiktoken.model.MODEL_PREFIX_TO_ENCODING.items():
        assert encoding_name_for_model(prefix + ("x" if prefix.endswith("-") else "-x")) == name, prefix


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/gpt-4o-mini", "o200k_base"),
        ("global.openai.gpt-5.4", "o200k_base"),
        ("openai.gpt-oss-120b-1:0", "o200k_harmony"),
        ("us.meta.llama3-1-70b-instruct-v1:0", "llama3"),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama3"),
        ("llama-v3p1-8b-instruct", "llama3"),
        ("meta-llama/llama-4-scout-17b-16e-instruct", "llama4"),
        ("Qwen/Qwen2.5-72B-Instruct", "qwen2"),
        ("qwen3-235b-a22b", "qwen2"),
        ("Qwen/Qwen3.5-9B", "qwen3.5"),
        ("deepseek-ai/DeepSeek-V3-0324", "deepseek_v3"),
        ("deepseek-reasoner", "deepseek_v3"),
        ("deepseek.r1-v1:0", "deepseek_v3"),
        ("mistral-nemo", "tekken"),
        ("gpt-6-sol", None),
        ("qwen3.8-27b", None),
        ("deepseek-r1-distill-llama-70b", None),
        ("deepseek-v4.1-flash", None),
        ("claude-opus-4-5", None),
        ("gemini-3-pro", None),
        ("gpt-image-1", None),
        ("", None),
    ],
)
def test_names_with_and_without_a_provider(model: str, name: str | None) -> None:
    assert encoding_name_for_model(model) == name


def test_price_list_models_lead_to_vocabularies_that_exist() -> None:
    prices = pytest.importorskip("genai_prices.data")
    found = {
        (provider.id, model.id): encoding_name_for_model(model.id)
        for provider in prices.providers
        for model in provider.models
    }
    assert {name for name in found.values() if name} <= set(DESCRIPTORS)
    for model in ("gpt-4o", "gpt-4.1-mini", "gpt-5-mini"):
        assert found["openai", model] == "o200k_base"
    assert found["openai", "gpt-4-turbo"] == "cl100k_base"
    assert found["groq", "openai/gpt-oss-20b"] == "o200k_harmony"
    others = [key for key, name in found.items() if name and key[0] in {"anthropic", "google", "x-ai", "cohere"}]
    assert others == []
