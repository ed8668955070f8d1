"""The house stands: links, imports, and what a light import costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINKED = {
    *("schema", "profiles", "tokens", "store", "ingest", "tracer"),
    *("analyzer", "exporters", "integrations", "reports", "sidecar"),
}


def test_every_package_link_exists_and_is_relative(repository: Path) -> None:
    links = {path.name: path.readlink() for path in (repository / "src/inferometer").iterdir() if path.is_symlink()}
    assert links == {name: Path("../..", name) for name in LINKED}


def test_setup_stops_where_links_became_text_files(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "src/inferometer").mkdir(parents=True)
    for name in LINKED:
        (tmp_path / "src/inferometer" / name).write_text(f"../../{name}")
    (tmp_path / "setup.py").write_text((repository / "setup.py").read_text())
    done = subprocess.run([sys.executable, "setup.py", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "core.symlinks" in done.stderr
    assert "Traceback" not in done.stderr


def test_import_is_light() -> None:
    """`import inferometer` loads no compiled extension of ours, no SQLAlchemy and no server."""
    code = "import sys, inferometer; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    heavy = {"sqlalchemy", "opentelemetry", "uvicorn", "starlette", "numpy", "click", "rich", "alembic", "openai"}
    assert not loaded & heavy
    assert not {name for name in loaded if name.startswith("inferometer.")}


def test_all_extensions_are_compiled() -> None:
    from inferometer.analyzer import _replay
    from inferometer.ingest import _otlp
    from inferometer.tokens import _native

    for module in (_native, _replay, _otlp):
        assert module.__file__ is not None
        assert Path(module.__file__).suffix in {".so", ".pyd"}


def test_public_names_resolve() -> None:
    import inferometer

    for name in inferometer.__all__:
        assert getattr(inferometer, name) is not None


def test_unknown_public_name_is_an_attribute_error() -> None:
    import inferometer

    with pytest.raises(AttributeError, match="no attribute 'agnet'"):
        inferometer.agnet  # noqa: B018


def test_no_module_has_a_name_that_says_nothing(repository: Path) -> None:
    empty = re.compile(r"(^|_)(utils?|helpers?|common|manager|misc)(_|$)")
    folders = [repository / name for name in LINKED] + [repository / "src/inferometer" / n for n in ("cli", "testing")]
    modules = [path for folder in folders for path in folder.rglob("*.py")]
    assert modules
    assert not [str(path) for path in modules if empty.search(path.stem)]


def test_no_machine_path_is_committed(repository: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    machine = re.compile(rb"(?<![\w./])/(?:work|home/\w+)/(?:main|shared|[.]\w+)\b")
    found = []
    for name in tracked.stdout.splitlines():
        path = repository / name
        if path.is_file() and not path.is_symlink() and machine.search(path.read_bytes()):
            found.append(name)
    assert not found
