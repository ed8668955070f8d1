"""The verb `profiles`: lists, shows and validates, with nothing but the base installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inferometer.cli import run

CLAIM = """
claim = "Nine of ten calls are cached"
claimed = "0.9"
status = "unsourced"
metric = "cached_calls/calls"
unit = "share"
scope = "agents"
as_of = 2026-11-01
source = "none found"
confidence = "low"
"""


def test_list_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["profiles"]
    assert set(found) == {"hardware", "engines", "models", "caching", "fine_tuning", "training", "claims"}
    assert {"id": "h100_sxm", "aliases": ["h100", "h100-sxm", "h100-sxm-80gb"]} in found["hardware"]


def test_list_of_one_kind_is_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "list", "engines"]) == 0
    printed = capsys.readouterr().out
    assert "vllm" in printed
    assert "h100_sxm" not in printed


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("H100", "hardware"),
        ("vllm", "engines"),
        ("llama-3.3-70b", "models"),
        ("gpt-4o", "fine_tuning"),
        ("calls_10", "claims"),
    ],
)
def test_show_finds_a_profile_of_any_kind(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "show", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == kind


def test_show_prints_dates_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "show", "mi300x"]) == 0
    printed = capsys.readouterr().out
    assert "as_of: 2026-" in printed
    assert "usd_per_hour_low: 1.5" in printed


def test_unknown_name_is_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "show", "h100_smx"]) == 2
    error = capsys.readouterr().err
    assert "h100_sxm" in error
    assert error.count("\n") == 1


def test_shipped_profiles_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "validate"]) == 0
    assert "hardware" in capsys.readouterr().out


def test_one_file_is_validated_as_what_its_tables_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cached.toml"
    path.write_text(CLAIM)
    assert run(["profiles", "validate", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] == {"claims": 1}
    path.write_text(CLAIM.replace("as_of = 2026-11-01", ""))
    assert run(["profiles", "validate", str(path)]) == 2
    assert "has no date" in capsys.readouterr().err


def test_file_of_no_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "what.toml"
    path.write_text("answer = 42\n")
    assert run(["profiles", "validate", str(path)]) == 2
    assert "is none of" in capsys.readouterr().err


def test_profiles_load_without_numpy_or_any_extra() -> None:
    program = (
        "import sys\n"
        "for name in ('numpy', 'orjson', 'msgspec', 'genai_prices', 'sqlalchemy', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "from inferometer.cli import run\n"
        "sys.exit(run(['profiles', 'show', 'b200_sxm', '--json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
