from collections.abc import Sequence

from typing_extensions import Buffer

UNICODE_VERSION: str
FORMAT: int
FAMILIES: dict[str, int]

def compile_vocabulary(
    token_bytes: Buffer,
    offsets: Buffer,
    ids: Buffer,
    merges: Buffer | None,
    family: int,
    whole_pieces: bool,
    sha256: Buffer,
    /,
) -> bytes: ...

class Vocabulary:
    def __new__(cls, block: Buffer, *, kernel: str | None = None, cache_bytes: int = 0) -> Vocabulary: ...
    def count(self, text: str | Buffer, /) -> int: ...
    def count_till_limit(self, text: str | Buffer, limit: int, /) -> int | None: ...
    def count_batch(self, texts: Sequence[str | Buffer], threads: int = 1) -> list[int]: ...
    def encode(self, text: str | Buffer, /) -> list[int]: ...
    def chain(self, texts: Sequence[str | Buffer], block: int, key: Buffer, /) -> tuple[int, bytes]: ...
