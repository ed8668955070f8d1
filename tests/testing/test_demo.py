"""The demo and `inferometer run`, as a newcomer calls them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from inferometer.cli import run
from inferometer.cli.demo import describe
from inferometer.schema.selection import Selection
from inferometer.store import open_store
from inferometer.testing.model_stub import ModelStub

AGENT = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="x")
answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
print(answer.usage.total_tokens)
sys.exit(int(sys.argv[2]))
"""


def test_demo_traces_imports_and_audits(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("altair")
    store, out = tmp_path / "store.sqlite", tmp_path / "audit.html"
    assert run(["demo", "--out", str(out), "--store", str(store), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert "<html" in out.read_text(encoding="utf-8")
    with open_store(str(store)) as opened:
        calls = list(opened.inferences(Selection(where=(("service", "demo-agent"),))))
        runs = opened.runs(Selection(where=(("service", "demo-agent"),)))
    # the one rate limit on the way is an attempt, not a call
    assert len(calls) == document["traced"] - 1
    assert sum(len(call.inference.attempts) for call in calls) == document["traced"]
    assert {run.agent_name for run in runs} == {"orders"}
    assert {call.placement.agent_name for call in calls} == {"orders", "researcher"}
    assert document["inferences"] == len(calls) + document["imported"]["inferences"]
    readme = without_dollars((repository / "README.md").read_text(encoding="utf-8"))
    for line in describe(document):  # prices are those of the installed list, all else is the demo's own
        assert without_dollars(line) in readme


def without_dollars(text: str) -> str:
    return re.sub(r"\$[0-9.,]*[0-9]", "$", text)


def test_demo_says_at_once_that_its_report_has_no_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store.sqlite"
    assert run(["demo", "--out", str(tmp_path / "none" / "audit.html"), "--store", str(store)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"there is no folder {tmp_path / 'none'}" in captured.err
    assert not store.exists()


@pytest.mark.parametrize("code", [0, 7])
def test_run_records_an_unchanged_program_and_keeps_its_exit_code(tmp_path: Path, code: int) -> None:
    script, store = tmp_path / "shop_agent.py", tmp_path / "store.sqlite"
    script.write_text(AGENT)
    with ModelStub() as stub:
        words = ["run", "--store", str(store), "--", sys.executable, str(script), stub.openai_url, str(code)]
        done = subprocess.run(
            [sys.executable, "-m", "inferometer", *words], capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (code, "")
    with open_store(str(store)) as opened:
        (call,) = opened.inferences(Selection())
        (found,) = opened.runs(Selection())
    assert call.inference.meters.total == int(done.stdout)
    assert [attempt.status for attempt in call.inference.attempts] == [200]
    assert found.service == "shop_agent"


def test_run_keeps_a_sitecustomize_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('theirs', end=' ')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = ["run", "--store", str(tmp_path / "s.sqlite"), sys.executable, "-c", "print('ran')"]
    done = subprocess.run([sys.executable, "-m", "inferometer", *words], capture_output=True, text=True, check=False)
    # once for the interpreter of the command itself, once for that of the program
    assert done.stdout.split() == ["theirs", "theirs", "ran"]


@pytest.mark.parametrize(
    "words", [["run", "no-such-program-anywhere"], ["run"], ["run", "--store", "a", "--endpoint", "b", "true"]]
)
def test_run_of_nothing_is_the_users_mistake(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
