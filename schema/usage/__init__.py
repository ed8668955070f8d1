"""Provider response bodies and streams read as meters, one module per provider."""
