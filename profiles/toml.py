"""A user's TOML file: read, parsed, and refused in one line, whatever is in it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inferometer.schema.errors import ProfileError


def read_text(path: str | Path) -> str:
    """Read a text file.

    Raises:
        ProfileError: it cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileError(str(path), f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ProfileError(str(path), f"is not TOML: {error}") from error


def parse_toml(path: str | Path, text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Parse TOML; ``path`` is what a message names.

    Raises:
        ProfileError: it is not TOML, is nested deeper than the parser goes, or holds a number of thousands of digits.
    """
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except RecursionError:
        raise ProfileError(str(path), "is not TOML that can be read: it is nested too deeply") from None
    except ValueError as error:  # a TOMLDecodeError is one, and so is what int() says to very long numbers
        raise ProfileError(str(path), f"is not TOML: {error}") from error


def read_toml(path: str | Path, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: the file.
        parse_float: what a number with a point or an exponent becomes, such as ``Decimal`` for money.

    Raises:
        ProfileError: it cannot be read, or is not TOML.
    """
    return parse_toml(path, read_text(path), parse_float=parse_float)
