"""Hold token ids against tiktoken's (and tokenizers' for DeepSeek) on random text, for every family of patterns.

::

    python tools/fuzz_tokens.py --strings 1000000          # every family; minutes each
    python tools/fuzz_tokens.py --family kimi --seed 7

Each family cuts with its own published pattern; where no package carries a vocabulary of the family, that of
cl100k_base stands in, since cutting and merging are independent. Also varies the kernel and the size of the cache, on
which no result may depend. Exits with 1 at the first difference and prints the text.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import tiktoken

from inferometer.schema.errors import UserError
from inferometer.tokens import _native
from inferometer.tokens.vocabularies.carriers import candidate_files, read_file
from inferometer.tokens.vocabularies.compiled import compile_table
from inferometer.tokens.vocabularies.formats import TokenTable, read_table
from inferometer.tokens.vocabularies.patterns import PATTERNS
from inferometer.tokens.vocabularies.registry import DESCRIPTORS

Encode = Callable[[list[str]], list[list[int]]]

ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ    ",
    "aAsStTdDmMlLvVrReEſ'’`\" \n",
    " \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u3000x/",
    "0123456789½Ⅳ٣〇 a.",
    "!?.,;:/\\-_(){}[]<>|@#$%^&*~+=`'\"\n /",
    "中文字符漢字〇々ひらカタｶー한국어ไทย हिन्दी العربية עברית ",
    "éÉßŽǅʰªºñÑöØαΩжЖ",
    "e\u0301\u0300\u0308\u200d\u200c\u20dd\u0903\u0e31 aA!中",
    "😀👍🏽👩\u200d👧🇩🇪\ufe0f\U0001d400\U00020000\U000e0001",
    "\x00\x01\x1c\x1f\x7f\u200b\ufeff\u061c a\n",
)


def foreign_words(table: TokenTable) -> list[str]:
    """Return what tokens spell beyond ASCII."""
    spelled = (token.decode("utf-8", "replace") for token in table.tokens)
    return [word for word in spelled if "\ufffd" not in word and word.strip() and not word.isascii()]


def random_texts(seed: int, count: int, words: Sequence[str] = ()) -> Iterator[str]:
    """Yield texts of words, of one alphabet, of several, of any code points and with long runs."""
    chance = random.Random(seed)
    for _ in range(count):
        length = int(chance.expovariate(1 / 20)) % 200
        kind = chance.random()
        if words and kind < 0.2:
            scripts = [word for word in chance.sample(words, 40) if (word.strip()[0] > "\u0e00") == (kind < 0.15)]
            yield "".join(chance.choices(scripts or ["中"], k=length // 3 + 1))
        elif kind < 0.4:
            yield "".join(chance.choices(chance.choice(ALPHABETS), k=length))
        elif kind < 0.8:
            alphabet = "".join(chance.sample(ALPHABETS, 3))
            yield "".join(chance.choices(alphabet, k=length))
        elif kind < 0.9:
            points = (
                chance.randrange(0x110000) if chance.random() < 0.1 else chance.randrange(0x3000) for _ in range(length)
            )
            yield "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)
        else:
            parts = (chance.choice(chance.choice(ALPHABETS)) * chance.randrange(1, 70) for _ in range(length % 7 + 1))
            yield "".join(parts)


def family_table(family: str) -> tuple[TokenTable, bytes]:
    """Return a vocabulary to fuzz a family with, and the bytes of its file."""
    names = [name for name, descriptor in DESCRIPTORS.items() if descriptor.family == family]
    for name in [*names, "cl100k_base"]:
        for path in candidate_files(DESCRIPTORS[name]):
            content = read_file(path)
            return read_table(content, str(path)), content
    raise UserError(f"no vocabulary for {family}")


def reference(family: str, table: TokenTable, content: bytes) -> Encode | None:
    """Return the reference's batch encoder; None where its package is not installed."""
    if table.merges is not None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            return None
        tokenizer = Tokenizer.from_str(content.decode())
        return lambda texts: [item.ids for item in tokenizer.encode_batch(texts, add_special_tokens=False)]
    ranks = dict(zip(table.tokens, table.ids, strict=True))
    encoding = tiktoken.Encoding(family, pat_str=PATTERNS[family][0], mergeable_ranks=ranks, special_tokens={})
    return lambda texts: encoding.encode_ordinary_batch(texts, num_threads=1)


def fuzz(family: str, strings: int, seed: int, chunk: int = 5000) -> bool:
    """Compare one family; True where every text agreed."""
    table, content = family_table(family)
    expected_of = reference(family, table, content)
    if expected_of is None:
        print(f"{family:9} skipped: its reference needs the package tokenizers")
        return True
    block = compile_table(table, family, bytes(32), family)
    ours = [_native.Vocabulary(block), _native.Vocabulary(block, kernel="portable", cache_bytes=4096)]
    begun = time.monotonic()
    texts = random_texts(seed, strings, foreign_words(table))
    for done in range(0, strings, chunk):
        batch = [text for text, _ in zip(texts, range(min(chunk, strings - done)), strict=False)]
        for text, ids in zip(batch, expected_of(batch), strict=True):
            for vocabulary in ours:
                if vocabulary.encode(text) != ids or vocabulary.count(text) != len(ids):
                    print(f"{family}: {text!r}\n  expected {ids}\n  got      {vocabulary.encode(text)}")
                    return False
    print(f"{family:9} {strings:,} strings agree ({time.monotonic() - begun:.0f} s, seed {seed})", flush=True)
    return True


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", choices=[*PATTERNS, "all"], default="all")
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    families = list(PATTERNS) if options.family == "all" else [options.family]
    agreed = [fuzz(family, options.strings, options.seed) for family in families]
    sys.exit(0 if all(agreed) else 1)


if __name__ == "__main__":
    main()
