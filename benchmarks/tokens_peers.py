"""What ``benchmarks/tokens.py`` compares with: each peer counts, and is asked for ids where it has no count."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from inferometer.tokens.vocabularies import compiled
from inferometer.tokens.vocabularies.patterns import PATTERNS
from inferometer.tokens.vocabularies.registry import describe

NAME = "o200k_base"


@dataclass
class Peer:
    """A tokenizer of others: the count of one text, and all of many."""

    name: str
    count: Callable[[str], int]
    batch: Callable[[list[str]], object]


def vocabulary_file() -> Path:
    """Write the vocabulary where peers can read it."""
    content, _ = compiled._find(describe(NAME))
    path = Path(tempfile.mkdtemp()) / f"{NAME}.tiktoken"
    path.write_bytes(content)
    return path


@cache
def read_ranks(path: Path) -> dict[bytes, int]:
    """Return the rank of each token of a ``.tiktoken`` file."""
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in path.open("rb"))}


def _tiktoken(path: Path) -> Peer:
    import tiktoken
    import tiktoken_ext.openai_public as public

    ranks = read_ranks(path)
    public.load_tiktoken_bpe = lambda *_, **__: ranks  # type: ignore[assignment]
    made = tiktoken.Encoding(**public.o200k_base())
    encode = made.encode_ordinary
    return Peer("tiktoken", lambda text: len(encode(text)), lambda texts: [len(encode(text)) for text in texts])


def _gigatoken(path: Path) -> Peer:
    import gigatoken

    made = gigatoken.Tokenizer.from_tiktoken(path)
    return Peer("gigatoken", lambda text: len(made.encode(text)), made.encode_batch)


def _fastokens(path: Path) -> Peer:
    import fastokens

    made = fastokens.Tokenizer.from_tiktoken(str(path), encoding=NAME)
    encode = made.encode_ordinary
    return Peer("fastokens", lambda text: len(_ids(encode(text))), made.encode_batch_flat)


def _bpe_openai(_: Path) -> Peer:
    import bpe_openai

    encode = bpe_openai.get_encoding(NAME).encode_ordinary
    return Peer("bpe-openai", lambda text: len(encode(text)), lambda texts: [len(encode(text)) for text in texts])


@cache
def _spelled_merges(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges as transformers' converter of tiktoken files writes them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    letters = {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + n) for n, byte in enumerate(hidden)}}
    ranks = read_ranks(path)
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        known = [(ranks[left], ranks[right], left, right) for left, right in cuts if left in ranks and right in ranks]
        merges += [(spelled[left], spelled[right]) for _, _, left, right in sorted(known)]
    return {spelled[token]: rank for token, rank in ranks.items()}, merges


def _tokenizers(path: Path) -> Peer:
    from tokenizers import Regex, Tokenizer, models
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    vocabulary, merges = _spelled_merges(path)
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    cut = Split(Regex(PATTERNS["o200k"][0]), "isolated")
    made.pre_tokenizer = Sequence([cut, ByteLevel(add_prefix_space=False, use_regex=False)])
    return Peer("tokenizers", lambda text: len(made.encode(text)), made.encode_batch_fast)


def _ids(result: object) -> list[int]:
    return result if isinstance(result, list) else result.ids  # type: ignore[attr-defined]


MAKERS = {
    "tiktoken": _tiktoken,
    "gigatoken": _gigatoken,
    "fastokens": _fastokens,
    "bpe_openai": _bpe_openai,
    "tokenizers": _tokenizers,
}


def make_ours() -> Peer:
    """Return a counter that knows nothing yet, on the compiled table."""
    vocabulary = compiled.load(describe(NAME))
    return Peer("inferometer", vocabulary.count, vocabulary.count_batch)


def make_peers(path: Path) -> dict[str, Peer]:
    """Return ours and every installed peer."""
    peers = {"inferometer": make_ours()}
    for package, make in MAKERS.items():
        if find_spec(package):
            peer = make(path)
            peers[peer.name] = peer
    return peers
