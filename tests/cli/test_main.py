"""Errors become one line and an exit code; each verb runs with its extra alone."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
import pytest

from inferometer import cli
from inferometer.cli import VERBS, main, run

# blocks every installed package that is outside the extra's closure, as if it had never been installed
_PROBE = """
import sys
blocked = set({blocked!r})
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in blocked:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Block())
from inferometer.cli import run
sys.exit(run({arguments!r}))
"""


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _closure(extra: str | None) -> set[str]:
    """Return the distributions that `inferometer[extra]` installs, by their own metadata."""
    from packaging.requirements import Requirement

    seen: set[tuple[str, str]] = set()
    queue = [("inferometer", extra or "")]
    while queue:
        name, wanted = queue.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            requirements = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue
        for text in requirements:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                target = _canonical(requirement.name)
                queue.append((target, ""))
                queue.extend((target, inner) for inner in requirement.extras)
    return {name for name, _ in seen}


def _blocked_for(extra: str | None) -> list[str]:
    """Return the top-level modules of every installed distribution outside the extra's closure."""
    allowed = _closure(extra)
    blocked = []
    for module, distributions in metadata.packages_distributions().items():
        if not {_canonical(name) for name in distributions} & allowed:
            blocked.append(module)
    return sorted(set(blocked) - {"inferometer", *sys.stdlib_module_names})


def _run_with(extra: str | None, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    code = _PROBE.format(blocked=_blocked_for(extra), arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cots"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cost" in error


def test_no_verb_takes_the_place_of_a_name_of_the_package() -> None:
    for verb in VERBS:
        assert main.get_command(click.Context(main), verb) is not None
    assert callable(cli.run)
    assert cli.run is run


@pytest.mark.parametrize("verb", VERBS)
def test_wrong_flag_is_one_line_and_exit_code_2(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--no-such-flag"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_help_runs_without_any_extra(verb: str) -> None:
    done = _run_with(None, [verb, "--help"])
    assert done.returncode == 0, done.stderr
    assert "Usage: inferometer" in done.stdout


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("cost", ["cost", "--json"]),
        ("cost", ["runs", "--json"]),
        ("cost", ["store", "info", "--json"]),
        ("cost", ["import", "{session}", "--json"]),
        ("cost", ["profiles", "list", "--json"]),
        ("cost", ["tokens", "count", "{session}", "--json"]),
        ("audit", ["audit", "--json", "{out}"]),
        ("sidecar", ["sidecar", "--print-config"]),
    ],
)
def test_command_works_with_its_extra_alone(extra: str, arguments: list[str], tmp_path: Path) -> None:
    session = tmp_path / "session.jsonl"
    session.write_text(_SESSION)
    out = tmp_path / "audit.json"
    words = [word.format(session=session, out=out) for word in arguments]
    if arguments[0] in {"audit", "cost", "runs", "store"}:
        assert run(["import", str(session), "--json"]) == 0
    done = _run_with(extra, words)
    assert done.returncode == 0, done.stderr
    if "--json" in words:
        json.loads(out.read_text() if arguments[0] == "audit" else done.stdout)


def test_missing_extra_is_named() -> None:
    done = _run_with(None, ["audit"])
    assert done.returncode == 2
    assert "inferometer[audit]" in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["profiles", "list"], ["profiles", "show", "h100_sxm"], ["cost"]])
def test_a_reader_that_leaves_ends_the_command_without_a_word(words: list[str], tmp_path: Path) -> None:
    session = tmp_path / "session.jsonl"
    session.write_text(_SESSION)
    assert run(["import", str(session)]) == 0
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "inferometer", *words], stdout=pipe, stderr=subprocess.PIPE, timeout=60
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["profiles", "show", "h100_sxm"], ["profiles", "list", "--json"]])
def test_output_that_finds_no_room_is_told_in_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "inferometer", *words], stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert (done.returncode, done.stderr) == (2, b"error: output: no space left on device\n")


def test_input_that_is_closed_is_empty() -> None:
    command = f"{shlex.quote(sys.executable)} -m inferometer tokens count <&-"
    done = subprocess.run(command, shell=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, [b"0", b"-"])


@pytest.mark.parametrize("words", [[], ["store"], ["profiles"], ["tokens"]])
def test_no_command_at_all_shows_the_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage: inferometer")
    assert captured.err.count("\n") > 5


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("inferometer re", {"replay", "reconcile"}),
        ("inferometer store ", {"info", "purge"}),
        ("inferometer cost --b", {"--by"}),
    ],
)
def test_a_shell_is_given_completions(words: str, expected: set[str]) -> None:
    typed = words.split(" ")
    environment = {
        **os.environ,
        "_INFEROMETER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(typed) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "inferometer"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert expected <= {line.partition(",")[2] for line in done.stdout.splitlines()}


def test_ctrl_c_is_one_line_and_exit_code_130() -> None:
    code = (
        "import os, signal, sys; from inferometer.cli import main, run\n"
        "@main.command('wait')\n"
        "def wait(): os.kill(os.getpid(), signal.SIGINT)\n"
        "import inferometer.cli as cli; cli.VerbGroup.get_command = lambda self, context, name: wait\n"
        "cli.VERBS['wait'] = ('', '')\n"
        "sys.exit(run(['wait']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "stopped")


def test_what_a_terminal_cannot_show_is_no_failure(tmp_path: Path) -> None:
    session = tmp_path / "session.jsonl"
    session.write_text(_SESSION.replace('"sessionId":"s1"', '"sessionId":"sitzung-\\u00fc"'))
    assert run(["import", str(session)]) == 0
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for words in (["cost", "--by", "session"], ["audit", "--no-replay"]):
        done = subprocess.run([sys.executable, "-m", "inferometer", *words], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
    exported = subprocess.run(
        [sys.executable, "-m", "inferometer", "export", "--to", "otlp"], env=environment, capture_output=True
    )
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout.splitlines()[0])["resourceSpans"]


def test_a_path_that_the_system_refuses_is_the_users_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/secret")

    monkeypatch.setattr("inferometer.store.location.locate", refuse)
    monkeypatch.setattr("inferometer.store.database.locate", refuse)
    assert run(["cost"]) == 2
    assert capsys.readouterr().err == "error: /srv/secret: permission denied\n"


_SESSION = (
    '{"type":"user","uuid":"u1","parentUuid":null,"sessionId":"s1","timestamp":"2026-11-01T10:00:00.000Z",'
    '"message":{"role":"user","content":"hello"}}\n'
    '{"type":"assistant","uuid":"a1","parentUuid":"u1","sessionId":"s1","timestamp":"2026-11-01T10:00:02.000Z",'
    '"requestId":"req_1","message":{"id":"msg_1","role":"assistant","model":"claude-sonnet-4-5-20250929",'
    '"content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":10,"output_tokens":3,'
    '"cache_creation_input_tokens":0,"cache_read_input_tokens":0}}}\n'
)
