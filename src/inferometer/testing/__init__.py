"""For tests and the demo: a deterministic model server, sample sessions, a small agent, fixed clock and ids."""

from inferometer.testing.recorder import Recorded, deterministic, record

__all__ = ["Recorded", "deterministic", "record"]
