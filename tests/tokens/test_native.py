"""Results do not depend on kernel, cache, windows or threads; damaged tables are refused."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from inferometer.tokens import _native, encoding
from inferometer.tokens.vocabularies.compiled import cache_directory
from inferometer.tokens.vocabularies.registry import DESCRIPTORS

PIECES = (
    "word",
    " Word",
    "CamelCase",
    "don't",
    " it's",
    "\n",
    "\n    ",
    "  \n",
    " ",
    "123456",
    "//\n//",
    ";\n/",
    "!?",
    "...",
    " (x)",
    "é",
    "中文",
    "\u0301",
    "😀",
    "\t\tif",
    "=" * 70,
    " " * 70,
    "a" * 90,
    "'ll",
    "'S",
    "x_y",
    "\r\n",
    "\u2028",
)


def random_text(seed: int, pieces: int) -> str:
    chance = random.Random(seed)
    return "".join(chance.choices(PIECES, k=pieces))


@pytest.fixture
def block() -> bytes:
    """A compiled o200k_base."""
    encoding.__wrapped__("o200k_base")
    return next(cache_directory().glob(f"o200k-446*-{_native.FORMAT}.bin")).read_bytes()


def kernels(block: bytes) -> list[_native.Vocabulary]:
    found = []
    for kernel in ("portable", "avx2", "avx512", "neon"):
        try:
            found += [_native.Vocabulary(block, kernel=kernel, cache_bytes=size) for size in (0, 1, 100_000)]
        except ValueError:
            assert kernel != "portable"
    return found


def test_kernels_and_caches_agree(block: bytes) -> None:
    vocabularies = kernels(block)
    for seed in range(60):
        text = random_text(seed, 1 << (seed % 11))
        expected = encoding("o200k_base").encode(text)
        for vocabulary in vocabularies:
            assert vocabulary.encode(text) == expected
            assert vocabulary.count(text) == len(expected)


def test_every_end_of_a_block_of_bytes_agrees(block: bytes) -> None:
    """The ASCII kernels work on 64 bytes; move every kind of piece over every edge."""
    portable, *others = kernels(block)
    text = random_text(1, 60)
    for shift in range(70):
        shifted = "x" * shift + text
        expected = portable.encode(shifted)
        for vocabulary in others:
            assert vocabulary.encode(shifted) == expected


@pytest.mark.parametrize("character", ["a", "é", "中", "😀"])
def test_texts_longer_than_a_window_agree(character: str) -> None:
    ours = encoding("o200k_base")
    paragraph = random_text(5, 2000) + character + "\nNew paragraph "
    text = paragraph * (3_000_000 // len(paragraph))
    once = ours.count(paragraph)
    assert ours.count(text) == once * (3_000_000 // len(paragraph))
    assert len(ours.encode(text)) == ours.count(text)


def test_text_without_a_place_to_cut_agrees() -> None:
    ours = encoding("o200k_base")
    text = "中" * 2_500_000
    assert ours.count(text) == len(ours.encode(text))


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_safe_cuts_are_safe(name: str) -> None:
    ours = encoding(name)
    for seed in range(400):
        text = random_text(seed, 12)
        cut = _native.last_safe_cut(text)
        assert ours.encode(text[:cut]) + ours.encode(text[cut:]) == ours.encode(text)


@pytest.mark.parametrize("threads", [1, 2, 3, 9, 64])
def test_threads_agree(threads: int) -> None:
    ours = encoding("o200k_base")
    texts = [random_text(seed, seed % 50) for seed in range(500)]
    assert ours.count_batch(texts, threads) == [ours.count(text) for text in texts]


@pytest.mark.parametrize("method", ["count", "encode", "block_hashes"])
def test_python_threads_agree(method: str) -> None:
    """Texts of this length are worked on without the GIL."""
    work = getattr(encoding("cl100k_base"), method)
    texts = [random_text(seed, 8000) for seed in range(6)]
    expected = [work(text) for text in texts]
    found: dict[int, list[object]] = {}

    def run(number: int) -> None:
        found[number] = [work(text) for text in texts]

    workers = [threading.Thread(target=run, args=(number,)) for number in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert list(found.values()) == [expected] * 5


def test_batch_takes_any_sequence_and_empty_ones() -> None:
    ours = encoding("o200k_base")
    assert ours.count_batch([]) == []
    assert ours.count_batch(("", b"", "a", b"\xff", bytearray(b"a b"))) == [0, 0, 1, ours.count("\ufffd"), 2]
    with pytest.raises(TypeError):
        ours.count_batch(["a", None])  # type: ignore[list-item]


def test_limit_stops_counting() -> None:
    ours = encoding("o200k_base")
    text = random_text(3, 5000)
    tokens = ours.count(text)
    assert ours.count_till_limit(text, tokens) == tokens
    assert ours.count_till_limit(text, tokens - 1) is None
    assert ours.count_till_limit(text, 0) is None
    assert ours.count_till_limit("", 0) == 0
    assert ours.count_till_limit("a", -1) is None


HUGE_PIECE = """
import re
from pathlib import Path
from inferometer.tokens import encoding
own = lambda: int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
ours, text = encoding("o200k_base"), "a" * 40_000_000
ours.count("x")
before = own()
assert ours.count(text) == 5_000_000
print(own() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: memory is not measured")
def test_what_a_huge_piece_took_is_given_back() -> None:
    found = subprocess.run([sys.executable, "-c", HUGE_PIECE], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 8


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "magic", "empty"])
def test_damaged_table_is_refused(block: bytes, damage: str) -> None:
    data = bytearray(block)
    if damage == "cut":
        del data[-100:]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "header":
        data[60] ^= 1
    elif damage == "magic":
        data[0] ^= 1
    else:
        data.clear()
    with pytest.raises(ValueError, match=r"damaged|compiled|aligned"):
        _native.Vocabulary(bytes(data))


def test_damaged_cache_is_compiled_anew() -> None:
    expected = encoding.__wrapped__("cl100k_base").encode("Hello world")
    (path,) = cache_directory().glob("cl100k-*.bin")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert encoding.__wrapped__("cl100k_base").encode("Hello world") == expected
    assert path.read_bytes() == content


def test_compiling_removes_what_earlier_formats_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    descriptor = DESCRIPTORS["cl100k_base"]
    stem = f"{descriptor.family}-{descriptor.sha256[:32]}"
    kept = {f"{stem}-{_native.FORMAT + 1}.bin", f"{stem}-notes.bin", "o200k-0123-1.bin", "notes.txt"}
    cache_directory().mkdir(parents=True)
    for name in {f"{stem}-1.bin", f"{stem}-{_native.FORMAT - 1}.bin"} | kept:
        (cache_directory() / name).write_text("x")
    assert encoding.__wrapped__("cl100k_base").count("Hello world") == 2
    assert {path.name for path in cache_directory().iterdir()} == {f"{stem}-{_native.FORMAT}.bin"} | kept


def test_unwritable_cache_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert encoding.__wrapped__("cl100k_base").count("Hello world") == 2


def test_unicode_version_is_the_reference_s() -> None:
    assert _native.UNICODE_VERSION == "16.0.0"
