"""The canonical records, units and errors that every other package speaks; standard library only, no I/O."""
