"""Vocabularies: where they are found, how they are read, and their compiled form."""
