"""Run each framework's tests in an environment of its own: ``tools/test_frameworks.py [NAME...] [--regenerate]``.

Frameworks cannot share one environment (they pin each other's dependencies apart), so each has one below ``.venvs/``.
``--regenerate`` installs the current releases and writes the goldens anew; without it what is installed is used.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENVS = ROOT / ".venvs"
TESTS = ROOT / "tests" / "frameworks"
CORE = ("openai", "anthropic", "langgraph", "openai-agents", "litellm", "mcp")
"""What continuous integration runs for real."""

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    # name, also that of tests/frameworks/test_<name>.py: what is installed
    "openai": ("openai",),
    "anthropic": ("anthropic",),
    "langgraph": ("langgraph", "langchain-openai"),
    "openai-agents": ("openai-agents",),
    "litellm": ("litellm",),
    "mcp": ("mcp",),
    "mcp-1": ("mcp<2",),
    "google-genai": ("google-genai",),
    "bedrock": ("boto3",),
    "crewai": ("crewai",),
    "pydantic-ai": ("pydantic-ai-slim[openai]",),
    "smolagents": ("smolagents[openai]", "openinference-instrumentation-smolagents"),
    "strands": ("strands-agents[openai]>=1.62",),
    "mistralai": ("mistralai",),
    "llama-index": ("llama-index-core", "llama-index-llms-openai", "openinference-instrumentation-llama-index"),
    "dspy": ("dspy", "litellm", "openinference-instrumentation-dspy"),
    "google-adk": ("google-adk>=2.13",),
    "agent-framework": ("agent-framework-core", "agent-framework-openai"),
}


def install(name: str, upgrade: bool) -> None:
    """Make the environment of a framework, or bring it up to date."""
    python = VENVS / name / "bin" / "python"
    stamp = VENVS / name / ".installed"
    if stamp.exists() and not upgrade:
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENVS / name)], check=True)
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    ours = [*project["dependencies"], *project["optional-dependencies"]["cost"], "pytest>=8.3"]
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", *ours, *ENVIRONMENTS[name]]
    subprocess.run([str(python), *words], check=True)
    stamp.touch()


def run(name: str, regenerate: bool) -> bool:
    """Run a framework's tests; the package is used from the checkout, with the extensions built there."""
    module = TESTS / f"test_{name.replace('-', '_')}.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    if regenerate:
        environment["INFEROMETER_REGENERATE"] = "1"
    words = ["-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-c", os.devnull]
    python = str(VENVS / name / "bin" / "python")
    done = subprocess.run([python, *words, "--rootdir", str(TESTS), str(module)], env=environment, check=False)
    return done.returncode == 0


def main() -> int:
    """Install and run; the exit code is 1 where a framework failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}; default all")
    parser.add_argument("--core", action="store_true", help=f"only {', '.join(CORE)}")
    parser.add_argument("--regenerate", action="store_true", help="install current releases, write goldens anew")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - ENVIRONMENTS.keys())
    if unknown:
        parser.error(f"no environment {', '.join(unknown)}; there are {', '.join(ENVIRONMENTS)}")
    failed = []
    for name in options.names or (CORE if options.core else ENVIRONMENTS):
        begun = time.monotonic()
        print(f"== {name}", flush=True)
        try:
            install(name, options.regenerate)
            passed = run(name, options.regenerate)
        except subprocess.CalledProcessError as error:
            print(f"   {error}")
            passed = False
        if not passed:
            failed.append(name)
        print(f"   {'passed' if passed else 'FAILED'} in {time.monotonic() - begun:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
