"""Write the class of every code point from a pinned Unicode database: as C for the scanners, as ranges for Python.

The reference tokenizers behave as Unicode 16.0. Run with a throw-away environment::

    pip install unicodedata2==16.0.0 fonttools
    python tools/make_unicode_tables.py > tokens/csrc/unicode_data.c
    python tools/make_unicode_tables.py --python > tokens/unicode_ranges.py

Source: general categories of UCD 16.0.0 (package unicodedata2); White_Space from PropList.txt 16.0.0; script Han from
fontTools, cut down to what was assigned in 16.0.0.
"""

from __future__ import annotations

import sys
import textwrap

import unicodedata2
from fontTools.unicodedata import script

UNICODE_VERSION = "16.0.0"
PAGE = 128
WHITE_SPACE = {
    *range(0x09, 0x0E),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
}
OTHER, UPPER, LOWER, LETTER, MARK, DIGIT, SPACE, NEWLINE, PUNCTUATION, SYMBOL = range(10)
HAN = 0x10


def classify(code_point: int) -> int:
    """Return the class byte of one code point."""
    if code_point in (0x0A, 0x0D):
        return NEWLINE
    if code_point in WHITE_SPACE:
        return SPACE
    category = unicodedata2.category(chr(code_point))
    han = HAN if category != "Cn" and script(chr(code_point)) == "Hani" else 0
    exact = {"Lu": UPPER, "Lt": UPPER, "Ll": LOWER, "Lm": LETTER, "Lo": LETTER}
    major = {"M": MARK, "N": DIGIT, "P": PUNCTUATION, "S": SYMBOL, "Z": OTHER, "C": OTHER}
    return (exact[category] if category in exact else major[category[0]]) | han


def write_array(kind: str, name: str, values: list[int]) -> None:
    """Print one C array."""
    print(f"const {kind} {name}[{len(values)}] = {{")
    for start in range(0, len(values), 32):
        print("    " + ",".join(map(str, values[start : start + 32])) + ",")
    print("};")


def write_ranges() -> None:
    """Print the Python file: for each property of the patterns the ranges of code points that have it."""
    members: dict[str, list[int]] = {name: [] for name in ("Lu", "Lt", "Ll", "Lm", "Lo", "M", "N", "P", "S", "Han")}
    for code_point in range(0x110000):
        category = unicodedata2.category(chr(code_point))
        members.get(category, members.get(category[0], [])).append(code_point)
        if classify(code_point) & HAN:
            members["Han"].append(code_point)
    members["White_Space"] = sorted(WHITE_SPACE)
    print('"""Made by tools/make_unicode_tables.py from Unicode 16.0.0; do not edit."""\n')
    print("RANGES: dict[str, str] = {")
    for name, points in members.items():
        ranges: list[list[int]] = []
        for point in points:
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1][1] = point
            else:
                ranges.append([point, point])
        words = [f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in ranges]
        print(f'    "{name}": (')
        for line in textwrap.wrap(" ".join(words), 100):
            print(f'        "{line} "')
        print("    ),")
    print("}")


def main() -> None:
    """Print one of the files."""
    if unicodedata2.unidata_version != UNICODE_VERSION:
        sys.exit(f"unicodedata2 has Unicode {unicodedata2.unidata_version}, need {UNICODE_VERSION}")
    if "--python" in sys.argv:
        write_ranges()
        return
    pages: dict[tuple[int, ...], int] = {}
    index = []
    for start in range(0, 0x110000, PAGE):
        page = tuple(classify(code_point) for code_point in range(start, start + PAGE))
        index.append(pages.setdefault(page, len(pages)))
    print("/* Made by tools/make_unicode_tables.py from Unicode 16.0.0; do not edit. */")
    print('#include "unicode.h"\n')
    print(f'const char unicode_version[] = "{UNICODE_VERSION}";\n')
    write_array("uint8_t" if len(pages) <= 256 else "uint16_t", "unicode_page", index)
    write_array("uint8_t", "unicode_class", [value for page in pages for value in page])


if __name__ == "__main__":
    main()
