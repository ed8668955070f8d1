"""What ``inferometer run`` does inside the program it runs: configure and hook before the program's first line."""

from __future__ import annotations

import json
import os
import sys

VARIABLE = "INFEROMETER_RUN"
"""JSON of the options that ``inferometer run`` was given; set for the program and the processes it starts."""


def begin() -> None:
    """Configure and instrument as ``inferometer run`` asked; a failure is one line on stderr, and the program runs."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return
    try:
        from inferometer.exporters.setup import configure
        from inferometer.integrations import instrument

        configure(set_global_provider=True, **json.loads(text))
        instrument()
    except Exception as error:
        print(f"inferometer: not recording: {error}", file=sys.stderr)  # noqa: T201 - the only way to say it here
