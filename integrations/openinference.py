"""Frameworks that OpenInference instruments: its instrumentor is put in place with our rules about content.

Its spans go to the program's global tracer provider, or to the one that ``configure(set_global_provider=True)`` and
``inferometer run`` put there. What an instrumentor says of a call that a client's hook has traced too is counted once
when it is read.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any, ClassVar

from inferometer.integrations.base import Integration, Patches
from inferometer.tracer import recording


class OpenInferenceIntegration(Integration):
    """One framework's instrumentor.

    Class attributes: ``instrumentor``, its module and class.
    """

    instrumentor: ClassVar[tuple[str, str]]

    @property
    def instrumented(self) -> bool:
        """Whether OpenInference's package for this framework is there."""
        try:
            return find_spec(self.instrumentor[0]) is not None
        except (ImportError, ValueError):
            return False

    @property
    def installed(self) -> bool:
        """Whether there is something to put in place."""
        return super().installed and self.instrumented

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Put the instrumentor in place, unless the program has done so."""
        return self.put_in_place(patches)

    def put_in_place(self, patches: Patches) -> bool:
        """Put the instrumentor in place where it is there and the program has not; it is taken back with the rest."""
        if not self.instrumented:
            return False
        made = getattr(importlib.import_module(self.instrumentor[0]), self.instrumentor[1])()
        if not made.is_instrumented_by_opentelemetry:
            made.instrument(config=_config(), skip_dep_check=True)
            patches.on_undo(made.uninstrument)
        return True


def _config() -> Any:
    """Return OpenInference's switches: its own defaults, which keep content, only where content is asked for."""
    configuration = importlib.import_module("openinference.instrumentation").TraceConfig
    now = recording.active
    if now is not None and now.privacy.keeps_content:
        return configuration()
    return configuration(hide_inputs=True, hide_outputs=True, hide_llm_tools=True, hide_prompts=True)
