"""For tests and the demo: a deterministic model server, sample sessions, a small agent, fixed clock and ids."""
