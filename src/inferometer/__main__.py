"""Run the command line: ``python -m inferometer``."""

from __future__ import annotations

import sys

from inferometer.cli import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
