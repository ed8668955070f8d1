"""The published patterns that cut text into pieces, and the scanner family that stands for each.

A family has one scanner in ``tokens/csrc``; several spellings of a pattern may mean the same language.
"""

from __future__ import annotations

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_UPPER_NOT_HAN = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_LOWER_NOT_HAN = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_PREFIX = r"[^\r\n\p{L}\p{N}]?"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def _cased(upper: str, lower: str, contractions: str) -> str:
    suffix = f"{contractions}?" if contractions else ""
    return f"{_PREFIX}{upper}*{lower}+{suffix}|{_PREFIX}{upper}+{lower}*{suffix}"


PATTERNS: dict[str, tuple[str, ...]] = {
    "o200k": (_cased(_UPPER, _LOWER, _CONTRACTIONS) + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES,),
    "cl100k": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
        r"|\s+(?!\S)|\s",
    ),
    "llama3": (_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES,),
    "qwen2": (_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES,),
    "qwen3.5": (_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _SPACES,),
    "r50k": (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",),
    "tekken": (_cased(_UPPER, _LOWER, "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES,),
    "kimi": (
        r"[\p{Han}]+|"
        + _cased(_UPPER_NOT_HAN, _LOWER_NOT_HAN, _CONTRACTIONS)
        + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        + _SPACES,
    ),
    "deepseek": (
        r"\p{N}{1,3}",
        "[一-龥\u3040-ゟ゠-ヿ]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
        + _SPACES,
    ),
}
"""Family to its pattern; the several patterns of one family each cut what the one before left over."""

_OTHER_SPELLINGS: dict[tuple[str, ...], str] = {
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",): "r50k",
}


def family_of_patterns(patterns: list[str]) -> str | None:
    """Return the family that cuts text as these patterns, one after another, do; None where there is none."""
    wanted = tuple(_plain(pattern) for pattern in patterns)
    for family, known in PATTERNS.items():
        if wanted == tuple(map(_plain, known)):
            return family
    return next((family for known, family in _OTHER_SPELLINGS.items() if wanted == tuple(map(_plain, known))), None)


def _plain(pattern: str) -> str:
    """Return a pattern with escapes that mean themselves written one way."""
    return pattern.replace("\\r", "\r").replace("\\n", "\n").replace('\\"', '"')
