"""Build the sdist, a wheel from that sdist alone, and compare the wheel's contents with the checkout's.

Exact means exact: every Python file, type stub, profile, template and migration of the packages is in the wheel, all
extensions are, and nothing else is.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "inferometer"
SHIPPED = {".py", ".pyi", ".toml", ".json", ".j2", ".css", ".js", ".mako", ".typed"}
EXTENSIONS = ("inferometer/tokens/_native.", "inferometer/analyzer/_replay.", "inferometer/ingest/_otlp.")


def expected_files() -> set[str]:
    """Return the wheel's package files as the checkout has them: tracked or new, never ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    files = set()
    for name in listed:
        path = Path(name)
        if path.suffix not in SHIPPED or not (ROOT / path).is_file():
            continue
        if path.parts[:2] == ("src", "inferometer"):
            files.add(Path(*path.parts[1:]).as_posix())
        elif (PACKAGE / path.parts[0]).is_symlink() and len(path.parts) > 1:
            files.add(Path("inferometer", path).as_posix())
    return files


def build(source: Path, kind: str, into: Path) -> Path:
    """Build one distribution of `source` and return its file."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(into), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    (result,) = [path for path in into.iterdir() if path.suffix == (".whl" if kind == "wheel" else ".gz")]
    return result


def wheel_problems(wheel: Path) -> list[str]:
    """Return what the wheel lacks or has too much, one line each."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    compiled = {name for name in names if name.endswith((".so", ".pyd"))}
    problems = [f"missing extension {name}*" for name in EXTENSIONS if not any(c.startswith(name) for c in compiled)]
    problems += [f"unexpected extension {name}" for name in compiled if not name.startswith(EXTENSIONS)]
    expected = expected_files()
    problems += [f"missing {name}" for name in sorted(expected - names)]
    problems += [f"unexpected {name}" for name in sorted(names - compiled - expected)]
    return problems


def main() -> int:
    """Build, compare, and return an exit code."""
    with tempfile.TemporaryDirectory() as folder:
        sdist = build(ROOT, "sdist", Path(folder, "sdist"))
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        wheel = build(Path(folder, sdist.name.removesuffix(".tar.gz")), "wheel", Path(folder, "wheel"))
        problems = wheel_problems(wheel)
        print(f"{sdist.name}, {wheel.name}: {'; '.join(problems) or 'contents are exact'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
