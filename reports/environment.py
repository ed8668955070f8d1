"""The environment of all templates; apart from the pages, so that a light page loads no charts."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return it: autoescape on, an undefined name is an error."""
    return Environment(
        loader=PackageLoader("inferometer.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
