"""The C extensions, and a guard for checkouts that turned the package links into text files."""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent
PACKAGES = (  # one link each
    *("schema", "profiles", "tokens", "store", "ingest", "tracer"),
    *("analyzer", "exporters", "integrations", "reports", "sidecar"),
)


def check_links() -> None:
    """Stop with one clear line where `src/inferometer/<package>` is not the folder it should link to."""
    for name in PACKAGES:
        if not (ROOT / "src" / "inferometer" / name).is_dir():
            sys.exit(
                f"src/inferometer/{name} is not a folder: this checkout turned symbolic links into text files. "
                "Run: git config core.symlinks true && git checkout -- src/inferometer"
            )


def compile_flags() -> tuple[list[str], list[str]]:
    """Return (compile, link) flags; INFEROMETER_SANITIZE=address,undefined makes a checked build."""
    flags = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-fno-strict-aliasing"]
    sanitizers = os.environ.get("INFEROMETER_SANITIZE")
    if sanitizers:
        checked = [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer", "-g", "-O1"]
        return flags + checked, checked
    return flags, []


def extension(module: str, folder: str) -> Extension:
    """Describe one extension made of every `.c` file of `folder`."""
    compile_args, link_args = compile_flags()
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.c"))
    headers = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.h"))
    return Extension(
        module, sources, depends=headers, extra_compile_args=compile_args, extra_link_args=link_args, libraries=["m"]
    )


check_links()
setup(
    ext_modules=[
        extension("inferometer.tokens._native", "tokens/csrc"),
        extension("inferometer.analyzer._replay", "analyzer/csrc"),
        extension("inferometer.ingest._otlp", "ingest/csrc"),
    ]
)
