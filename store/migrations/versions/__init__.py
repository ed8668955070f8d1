"""The revisions, named by their order."""
