"""Code in the documents runs, and its documented output is what it prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from inferometer.cli import run
from inferometer.testing.sample_sessions import write_sample_sessions

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if BLOCK.search(path.read_text())
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run_in_order(page: Path, tmp_path: Path) -> None:
    """All blocks of a page are one program, run in a folder of their own, with the store in it."""
    program = tmp_path / "page.py"
    program.write_text("\n\n".join(BLOCK.findall(page.read_text())))
    environment = {**os.environ, "INFEROMETER_STORE": str(tmp_path / "store.sqlite"), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_every_question_of_the_readme_is_answered_on_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFEROMETER_STORE", str(tmp_path / "store.sqlite"))
    write_sample_sessions(tmp_path / "samples")
    ledger, budget = TOML.findall((ROOT / "docs" / "audit.md").read_text())
    (tmp_path / "ledger.toml").write_text(ledger)
    (tmp_path / "budget.toml").write_text(budget)
    assert run(["import", "samples"]) == 0
    asked = (ROOT / "README.md").read_text().partition("\n## Ask\n")[2].partition("\n## ")[0]
    questions = re.findall(r"^\$ inferometer (.+)\n((?:[^$`].*\n)*)", asked, re.MULTILINE)
    assert len(questions) >= 7
    for question, shown in questions:
        assert run(shlex.split(question, comments=True)) == 0, capsys.readouterr().err
        answered = capsys.readouterr().out
        assert answered
        assert [line for line in shown.splitlines() if line.strip() != "..." and line not in answered] == []


def test_readme_names_its_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "$ make demo" in text
    assert "$ make test" in text


def test_readme_shows_what_the_demo_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^```text\n(traced .*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert run(["demo"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:-1] == shown[0].splitlines()[:-1]
    assert printed[-1].startswith("report: ")
    assert "/audit.html" in printed[-1]
