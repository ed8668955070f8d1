"""Profile files: found, overridden, refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from inferometer.profiles.documents import Document, parse
from inferometer.profiles.hardware import list_hardware, load_hardware, read_hardware
from inferometer.profiles.models import load_model
from inferometer.schema.errors import ProfileError, UnknownNameError

CHIP = """
name = "Chip"
vendor = "Me"
kind = "gpu"
release = "2026"

[memory]
capacity_gib = 80
bandwidth_gb_per_s = 3000
type = "HBM3"
as_of = 2026-11-01
source = "data sheet"
confidence = "high"

[compute]
bf16_dense_tflop_per_s = 900
as_of = 2026-11-01
source = "data sheet"
confidence = "high"

[[price]]
provider = "A"
basis = "on_demand"
usd_per_hour_low = 2
usd_per_hour_high = 3
as_of = 2026-11-01
source = "price page"
confidence = "high"
"""


def read(text: str) -> object:
    return read_hardware(Document("mine/chip.toml", "chip", text))


def test_well_formed_profile_reads_in_si_units() -> None:
    chip = read_hardware(Document("mine/chip.toml", "chip", CHIP))
    assert chip.id == "chip"
    assert chip.memory.capacity_bytes == 80 * 1024**3
    assert chip.memory.bandwidth_bytes_per_s == 3e12
    assert chip.compute.rate("bf16") == 9e14
    assert chip.compute.rate("fp8") is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("capacity_gib = 80", "capacity = 80", "lacks capacity_gib"),
        ("[compute]", "[compute]\npeak = 5", "compute.peak is not a known key (a unit belongs into every key)"),
        ("capacity_gib = 80", "capacity_gib = 80\ncapacity = 80", "did you mean capacity_gib?"),
        ("usd_per_hour_high = 3\nas_of = 2026-11-01", "usd_per_hour_high = 3", "price[0] has no date"),
        ('as_of = 2026-11-01\nsource = "price page"', 'as_of = "soon"\nsource = "price page"', "write a date as YYYY"),
        ('confidence = "high"\n\n[compute]', "\n[compute]", "memory lacks confidence"),
        (
            'source = "data sheet"\nconfidence = "high"\n\n[[price]]',
            '\nconfidence = "high"\n\n[[price]]',
            "lacks source",
        ),
        ("bandwidth_gb_per_s = 3000", "bandwidth_gb_per_s = -1", "outside"),
        ("bandwidth_gb_per_s = 3000", 'bandwidth_gb_per_s = "fast"', "not a number"),
        ("bf16_dense_tflop_per_s = 900", "", "names no rate"),
        ("usd_per_hour_low = 2", "usd_per_hour_low = 4", "is above"),
        ('kind = "gpu"', 'kind = "toaster"', "it can be gpu"),
        ('name = "Chip"', "name = ", "is not TOML"),
    ],
)
def test_broken_profile_is_refused_in_one_line(old: str, new: str, words: str) -> None:
    assert old in CHIP
    with pytest.raises(ProfileError) as caught:
        read(CHIP.replace(old, new, 1))
    assert words in str(caught.value)
    assert "mine/chip.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_user_folder_wins_over_shipped_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_hardware("h100_sxm")
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "h100_sxm.toml").write_text(CHIP)
    (tmp_path / "hardware" / "own_chip.toml").write_text(CHIP)
    monkeypatch.setenv("INFEROMETER_PROFILES", str(tmp_path))
    assert load_hardware("h100_sxm").name == "Chip"
    assert load_hardware("own_chip").id == "own_chip"
    monkeypatch.delenv("INFEROMETER_PROFILES")
    assert load_hardware("h100_sxm") == shipped


def test_first_named_folder_wins_and_config_folder_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second", "config/inferometer/profiles"):
        (tmp_path / name / "hardware").mkdir(parents=True)
        text = CHIP.replace('name = "Chip"', f'name = "{name}"')
        (tmp_path / name / "hardware" / "chip.toml").write_text(text)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert load_hardware("chip").name == "config/inferometer/profiles"
    monkeypatch.setenv("INFEROMETER_PROFILES", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    assert load_hardware("chip").name == "first"


def test_missing_profile_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFEROMETER_PROFILES", "/nowhere/at/all")
    with pytest.raises(ProfileError, match="/nowhere/at/all"):
        list_hardware()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("qwen3-32b", "Qwen/Qwen3-32B"),
        ("QWEN/qwen3-32B", "Qwen/Qwen3-32B"),
        ("llama-3.1-70b", "meta-llama/Llama-3.1-70B"),
        ("deepseek-r1", "deepseek-ai/DeepSeek-R1"),
        ("kimi-k2.5", "moonshotai/Kimi-K2.5"),
    ],
)
def test_name_is_found_in_any_case_and_without_its_vendor(name: str, found: str) -> None:
    assert load_model(name).id == found


def test_unknown_name_carries_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_hardware("h100_smx")
    assert "h100_sxm" in caught.value.near


def test_tables_count_as_read_only_when_read() -> None:
    table = parse(Document("x.toml", "x", "a = 1\n[b]\nc = 2\n"))
    assert table.number("a") == 1.0
    with pytest.raises(ProfileError, match="b is not a known key"):
        table.finish()
    inner = table.table("b")
    assert inner.integer("c") == 2
    inner.finish()
    table.finish()
