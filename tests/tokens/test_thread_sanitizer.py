"""The core that counts, built with the thread sanitizer and run by several callers of several threads."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import need


@pytest.mark.timeout(300)
def test_threads_share_nothing_they_write(repository: Path, tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    need(compiler is not None, "cc", "no C compiler")
    assert compiler is not None
    sources = [path for path in (repository / "tokens/csrc").glob("*.c") if path.name != "module.c"]
    program = tmp_path / "race_tokens"
    flags = ["-g", "-O1", "-fsanitize=thread", "-std=c11", f"-I{repository}/tokens/csrc"]
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    probed = subprocess.run([compiler, "-fsanitize=thread", str(probe), "-o", str(program)], check=False)
    runs = probed.returncode == 0 and subprocess.run([str(program)], check=False).returncode == 0
    need(runs, "tsan", "the compiler has no thread sanitizer that runs here")
    harness = repository / "tools/race_tokens_native.c"
    subprocess.run(
        [compiler, *flags, str(harness), *map(str, sources), "-lm", "-lpthread", "-o", str(program)], check=True
    )
    found = subprocess.run([str(program)], capture_output=True, text=True, timeout=240, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert "agree" in found.stdout
