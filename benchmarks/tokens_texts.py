"""The texts of ``benchmarks/tokens.py``, the same on every machine but for the version of Python.

- English: Python's own manual as `pydoc_data.topics` carries it, prose with a little code and grammar;
- Python: the modules at the top of the standard library, in order of name;
- JSON: the recorded bodies of providers in `shared/data/http`, in order of path, base64 and all;
- prompts: every line of the prompts in `shared/data/sessions/lmcache-*` once, in order of path: English, code,
  output of tools;
- languages, CJK+emoji: drawn from what the tokens of o200k_base spell, by script and by 1 / rank under a fixed seed,
  with punctuation. Nearly every stretch of them is new, where real text says things again.
"""

from __future__ import annotations

import json
import random
import re
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from pydoc_data.topics import topics

SLICE = 400_000
"""Characters that are timed of each."""


def _joined(paths: Iterable[Path], bound: int) -> str:
    text = ""
    for path in paths:
        text += path.read_text(encoding="utf-8", errors="replace")
        if len(text) > bound:
            break
    return text[:bound]


def read_prompts(shared: Path) -> list[str]:
    """Return the prompts of the recorded agent sessions in order."""
    return [
        json.loads(line)["input"]
        for path in sorted(shared.glob("data/sessions/lmcache-*/*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


SCRIPTS = {
    "Han": (r"[\u4e00-\u9fff]+", "", "，", "。"),
    "kana": (r"[\u3040-\u30ff\u4e00-\u9fff]*[\u3040-\u30ff]+", "", "、", "。"),
    "Hangul": (r"[\uac00-\ud7a3]+", " ", ",", "."),
    "Cyrillic": (r"[\u0400-\u04ff]{2,}", " ", ",", "."),
    "Arabic": (r"[\u0620-\u064a]{2,}", " ", "،", "."),
    "Devanagari": (r"[\u0900-\u097f]{2,}", " ", ",", "।"),
    "Latin": (r"[a-zà-ſ]*[à-ſ][a-zà-ſ]*", " ", ",", "."),
}
EMOJI = [*"😀🎉🚀👍🔥", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪"]


def make_lines(ranks: dict[bytes, int], script: str, length: int, ends: Sequence[str] = ("",)) -> list[str]:
    """Return lines of words that tokens spell, the lower their rank the more often; ``length`` characters in all."""
    pattern, space, comma, stop = SCRIPTS[script]
    spelled = (token.decode("utf-8", "replace").strip() for token in sorted(ranks, key=ranks.__getitem__))
    words = list(dict.fromkeys(word for word in spelled if re.fullmatch(pattern, word)))
    weights = [1 / (place + 10) for place in range(len(words))]
    chance = random.Random(script)
    lines: list[str] = []
    while length > 0:
        drawn = (chance.choices(words, weights, k=chance.randrange(2, 9)) for _ in range(chance.randrange(1, 6)))
        lines.append((comma + space).join(space.join(clause) for clause in drawn) + stop + chance.choice(ends))
        length -= len(lines[-1]) + 1
    return lines


def load_texts(shared: Path, ranks: dict[bytes, int]) -> dict[str, str]:
    """Return the texts by name, without those whose folder is absent."""
    manual = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore").decode()
    bodies = (path for path in sorted(shared.glob("data/http/**/*.json")) if path.stat().st_size < 1_500_000)
    lines = dict.fromkeys(line for prompt in read_prompts(shared) for line in prompt.splitlines())
    texts = {
        "English": manual,
        "Python": _joined(sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")), 3 * SLICE),
        "JSON": _joined(bodies, 3 * SLICE),
        "prompts": "\n".join(lines)[: 3 * SLICE],
        "languages": "\n".join(line for script in SCRIPTS for line in make_lines(ranks, script, SLICE // 8)),
    }
    dense = [line for script in ("Han", "kana", "Hangul") for line in make_lines(ranks, script, SLICE // 9, EMOJI)]
    texts["CJK+emoji"] = "\n".join(dense)
    return {name: text for name, text in texts.items() if text}


def make_messages(texts: dict[str, str], count: int = 10_000) -> list[str]:
    """Return messages of log-normal length, about 1,300 characters on average, from every text alike."""
    chance = random.Random(7)
    names = [name for name in ("English", "prompts", "Python", "JSON", "languages") if name in texts]
    messages = []
    for _ in range(count):
        text = texts[chance.choice(names)]
        length = min(20_000, int(chance.lognormvariate(6.7, 1.0)))
        start = chance.randrange(max(1, len(text) - length))
        messages.append(text[start : start + length])
    return messages
