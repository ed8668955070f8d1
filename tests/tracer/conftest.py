"""Spans recorded in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inferometer.testing import Recorded, record


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Record for the length of a test."""
    with record() as recorded:
        yield recorded
