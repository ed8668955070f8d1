"""``inferometer run``: the program runs as it would alone, in whichever way Python is asked to run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inferometer.cli import run
from inferometer.cli.run_ import environment
from inferometer.integrations import startup
from inferometer.schema.selection import Selection
from inferometer.store import open_store
from inferometer.testing.model_stub import ModelStub

ASK = """
def ask(url):
    import openai
    client = openai.OpenAI(base_url=url, api_key="x")
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
    return answer.usage.total_tokens
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module that asks a model."""
    (tmp_path / "asking.py").write_text(ASK)
    return tmp_path


def _start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "inferometer", "run", "--store", str(folder / "store.sqlite"), "--", *words]
    return subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _calls(folder: Path) -> list[tuple[int | None, str | None]]:
    with open_store(str(folder / "store.sqlite")) as opened:
        runs = {found.run_id: found.service for found in opened.runs(Selection())}
        return [(row.inference.meters.total, runs[row.placement.run_id]) for row in opened.inferences(Selection())]


def test_options_after_the_program_are_the_programs(folder: Path) -> None:
    (folder / "agent.py").write_text(
        "import argparse, asking\n"
        "parser = argparse.ArgumentParser(prog='agent')\n"
        "for name in ('--store', '--capture', '--url'): parser.add_argument(name)\n"
        "options = parser.parse_args()\n"
        "print(options.store, options.capture, asking.ask(options.url))\n"
    )
    with ModelStub() as stub:
        words = [sys.executable, "agent.py", "--store", "mine", "--capture=mine", "--url", stub.openai_url]
        done = _start(folder, *words)
        output, errors = done.communicate(timeout=60)
    assert (done.returncode, errors) == (0, "")
    ((total, service),) = _calls(folder)
    assert output == f"mine mine {total}\n"
    assert service == "agent"
    help_asked = _start(folder, sys.executable, "agent.py", "--help")
    assert help_asked.communicate(timeout=60)[0].startswith("usage: agent")
    assert help_asked.returncode == 0


@pytest.mark.parametrize("form", ["module", "command", "standard input"])
def test_modules_commands_and_standard_input_are_recorded(folder: Path, form: str) -> None:
    (folder / "agent.py").write_text("import sys, asking\nprint(asking.ask(sys.argv[1]))\n")
    program = {"module": ["-m", "agent"], "command": ["-c", "import agent"], "standard input": ["-"]}[form]
    with ModelStub() as stub:
        done = _start(folder, sys.executable, *program, stub.openai_url)
        output, errors = done.communicate("import agent\n" if form == "standard input" else None, timeout=60)
    assert (done.returncode, errors) == (0, "")
    ((total, service),) = _calls(folder)
    assert output == f"{total}\n"
    assert service == ("agent" if form == "module" else Path(sys.executable).stem)


def test_processes_that_the_program_starts_are_recorded(folder: Path) -> None:
    (folder / "agent.py").write_text(
        "import multiprocessing, subprocess, sys, asking\n"
        "if __name__ == '__main__':\n"
        "    url = sys.argv[1]\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(asking.ask, (url,)))\n"
        "        pool.close(); pool.join()\n"
        "    code = 'import sys, asking; asking.ask(sys.argv[1])'\n"
        "    sys.exit(subprocess.run([sys.executable, '-c', code, url]).returncode)\n"
    )
    with ModelStub() as stub:
        done = _start(folder, sys.executable, "agent.py", stub.openai_url)
        output, errors = done.communicate(timeout=120)
        assert len(stub.served) == 2
    assert (done.returncode, errors) == (0, "")
    calls = _calls(folder)
    assert len(calls) == 2
    assert int(output) in {total for total, _ in calls}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_end_the_program_as_they_would_alone(folder: Path, number: signal.Signals) -> None:
    (folder / "agent.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    codes = []
    for process in (
        _start(folder, sys.executable, "agent.py"),
        subprocess.Popen([sys.executable, "agent.py"], cwd=folder, stdout=-1, stderr=-1, text=True),
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        process.communicate(timeout=60)
        codes.append(process.returncode)
    assert codes[0] == codes[1] == -number


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--store", "none/store.sqlite"], "none/store.sqlite: cannot be opened: no such file or directory"),
        (["--endpoint", "ftp://collector"], "--endpoint 'ftp://collector' needs http:// or https://"),
        (["--endpoint", "collector"], "--endpoint 'collector' needs http:// or https://"),
        (["--endpoint", "http://:4318"], "and a host"),
        (["--endpoint", "http://collector:port"], "and a host"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_a_destination_that_takes_no_spans_is_refused_before_the_program_starts(
    option: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("the program was started"))
    assert run(["run", *option, "--", sys.executable, "agent.py"]) == 2
    said = capsys.readouterr().err
    assert (told in said, said.count("\n")) == (True, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["-I", "-E", "-S", "-uI"])
def test_an_interpreter_told_to_leave_us_out_is_the_users_mistake(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "--", sys.executable, flag, "agent.py"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "service"),
    [
        (["python", "-W", "ignore", "-X", "dev", "-u", "shop/agent.py", "-m", "x"], "agent"),
        (["python3.12", "-um", "shop.agent", "x.py"], "shop.agent"),
        (["python", "-uc", "print(1)", "x.py"], "python"),
        (["python", "-", "x.py"], "python"),
        (["python"], "python"),
        (["/usr/bin/shop-agent", "run.py"], "shop-agent"),
    ],
)
def test_a_program_is_named_by_its_script_or_module(words: list[str], service: str) -> None:
    found = environment(tuple(words), None, None, None, None)
    assert json.loads(found[startup.VARIABLE]) == {"service": service}
