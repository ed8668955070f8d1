"""The shipped profiles: all there, all dated and sourced, consistent with themselves."""

from __future__ import annotations

import csv
import math
from datetime import date
from pathlib import Path

import pytest

from inferometer.profiles.caching import list_caching, load_caching
from inferometer.profiles.claims import list_claims
from inferometer.profiles.engines import list_engines, load_engine
from inferometer.profiles.hardware import list_hardware, load_hardware
from inferometer.profiles.models import list_models, load_model
from inferometer.profiles.training import list_training, load_training
from inferometer.schema.errors import UnknownNameError

HARDWARE = """
a100_sxm h100_sxm h100_pcie h200_sxm b200_sxm b300_sxm gb200 gb300 l40s rtx_4090 rtx_pro_6000 mi300x mi325x mi355x
tpu_v5e tpu_v6e tpu_v7 trainium2 groq_lpu groq_lpx_rack cerebras_cs3 sambanova_sn40l sambanova_sn50
"""


def test_every_promised_chip_is_there() -> None:
    assert set(HARDWARE.split()) <= set(list_hardware())


@pytest.mark.parametrize("name", ["h100", "H200", "b200_sxm", "Trillium", "SN50", "cs-3", "RTXPRO6000"])
def test_chips_are_known_by_their_common_names(name: str) -> None:
    assert load_hardware(name).id


def test_every_price_has_date_provider_and_order() -> None:
    for chip in list_hardware().values():
        for price in chip.prices:
            assert isinstance(price.provenance.as_of, date)
            assert price.provider
            assert 0 < price.usd_per_hour_low <= price.usd_per_hour_high


def test_price_range_spans_providers() -> None:
    found = load_hardware("h100_sxm").price_range()
    assert found is not None
    low, middle, high = found
    assert low < middle < high
    assert load_hardware("sambanova_sn50").price_range() is None


def test_blackwell_ultra_has_no_int8() -> None:
    assert load_hardware("b300_sxm").compute.rate("int8") is None
    assert load_hardware("b200_sxm").compute.rate("int8") is not None


@pytest.mark.parametrize(
    ("name", "parameters_b", "family"),
    [
        ("meta-llama/Llama-3.1-70B", 70.55, "dense"),
        ("llama-3.3-70b", 70.55, "dense"),
        ("deepseek-r1", 671.0, "mla"),
        ("openai/gpt-oss-120b", 116.8, "moe"),
        ("Qwen/Qwen3-235B-A22B-FP8", 235.0, "moe"),
        ("moonshotai/Kimi-K2.5", 1040.0, "mla"),
    ],
)
def test_models_are_known_by_their_names(name: str, parameters_b: float, family: str) -> None:
    model = load_model(name)
    assert model.parameters == pytest.approx(parameters_b * 1e9)
    assert model.family == family


def test_model_parameters_add_up() -> None:
    for model in list_models().values():
        tables = 2.0 * model.vocabulary * model.hidden
        routed = model.experts.parameters if model.experts else 0.0
        assert model.common_parameters + routed <= model.parameters * 1.02 + tables, model.id
        if model.experts is not None:
            met = model.common_parameters + model.experts.parameters_per_token
            # published active counts include or leave out embeddings and shared parts as they please
            assert met == pytest.approx(model.active_parameters, rel=0.35), model.id


def test_kv_elements_follow_from_the_heads_of_plain_models() -> None:
    for model in list_models().values():
        attention = model.attention
        if attention.kind == "gqa" and not attention.window_layers:
            expected = 2 * attention.kv_heads * attention.head_dim * attention.full_layers
            assert attention.kv_elements_per_token == expected, model.id


def test_acceptance_lengths_grow_with_drafts_and_stay_possible() -> None:
    lengths = load_model("moonshotai/Kimi-K2.5").acceptance_lengths
    assert len(lengths) == 8
    assert list(lengths) == sorted(lengths)
    assert all(1.0 < length <= drafts + 1 for drafts, length in enumerate(lengths, start=1))
    assert load_model("meta-llama/Llama-3.1-70B").acceptance_lengths == ()


def test_windowed_models_split_their_layers() -> None:
    attention = load_model("gpt-oss-120b").attention
    assert (attention.full_layers, attention.window_layers, attention.window_tokens) == (18, 18, 128)


def test_model_facts_are_those_of_the_research(shared: Path) -> None:
    with (shared / "facts" / "models.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    for name, research in (("meta-llama/Llama-3.1-405B", "Llama-3.1-405B"), ("gpt-oss-20b", "gpt-oss-20b")):
        model, row = load_model(name), rows[research]
        assert model.layers == int(row["layers"])
        assert model.parameters / 1e9 == pytest.approx(float(row["params_total_B"]))
        assert model.attention.kv_elements_per_token == float(row["kv_elems_per_token"])


def test_engine_is_loaded_at_a_version() -> None:
    assert load_engine("vllm").version == ""
    assert load_engine("vLLM==0.12.0").version == "0.12.0"
    assert load_engine("vllm 0.6.3").scheduler.batching == "prefill_first"
    assert load_engine("vllm@0.10.1").scheduler.max_sequences == 256
    assert load_engine("TensorRT-LLM 1.0").id == "trtllm"
    with pytest.raises(UnknownNameError, match="nearest known"):
        load_engine("vlm")


def test_calibrations_state_rows_hull_and_error() -> None:
    calibrations = [found for engine in list_engines().values() for found in engine.calibrations]
    assert len(calibrations) >= 11
    for found in calibrations:
        assert found.hardware in list_hardware()
        assert found.fit.rows > 0
        assert found.fit.tpot_error is not None
        assert "hit_rate" in found.fit.hull
        for limits in found.fit.hull.values():
            assert limits.low <= limits.high
        for correction in found.corrections:
            assert load_model(correction.model).id == correction.model
        for value in (found.constants.weight_bandwidth_efficiency, found.constants.compute_efficiency):
            assert 0.0 < value < 1.0


def test_hull_distance_is_a_ratio() -> None:
    hull = load_engine("vllm").calibrations[0].fit.hull
    limits = hull["input_tokens"]
    assert limits.distance(limits.low) == limits.distance(limits.high) == 0.0
    assert limits.distance(limits.high * 2) == pytest.approx(1.0)
    assert limits.distance(limits.low / 4) == pytest.approx(3.0)
    assert hull["hit_rate"].distance(0.5) == 0.5
    assert math.isinf(limits.distance(0.0))


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("anthropic", "claude-opus-5-20260801", 512),
        ("anthropic", "claude-sonnet-4-5", 1024),
        ("anthropic", "claude-haiku-4-5", 4096),
        ("anthropic", "claude-something-new", 1024),
        ("openai", "gpt-5.4", 1024),
        ("gcp.gemini", "gemini-3-pro", 4096),
    ],
)
def test_minimum_cached_prefix_depends_on_the_model(provider: str, model: str, tokens: int) -> None:
    assert load_caching(provider).minimum_for(model) == tokens


def test_caching_rules_name_their_price_and_life() -> None:
    rule = load_caching("anthropic")
    assert (rule.write_factor, rule.long_write_factor, rule.read_factor) == (1.25, 2.0, 0.1)
    assert (rule.ttl_seconds, rule.long_ttl_seconds, rule.refreshes) == (300, 3600, True)
    assert (rule.breakpoints, rule.lookback_blocks) == (4, 20)
    assert load_caching("openai").grain_tokens == 128
    assert all(each.isolation for each in list_caching().values())


def test_training_runs_and_claims_are_there(shared: Path) -> None:
    run = load_training("meta-llama/Llama-3.1-405B")
    assert run.stages[0].chip_hours == 30_840_000
    assert len(list_training()) >= 35
    with (shared / "facts" / "claims.csv").open(newline="") as file:
        assert {row["id"] for row in csv.DictReader(file)} == set(list_claims())
