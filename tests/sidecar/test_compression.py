from __future__ import annotations

import gzip
import struct
import time
import zlib
from collections.abc import Callable

import pytest
import zstandard

from inferometer.sidecar.compression import decompress
from inferometer.sidecar.refusal import Refusal

PLAIN = bytes(range(256)) * 2000
SKIPPED = struct.pack("<II", 0x184D2A50, 3) + b"abc"


def raw_deflate(plain: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(plain) + deflater.flush()


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("identity", bytes),
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.compress),
]


@pytest.mark.parametrize(("compression", "pack"), PACKED, ids=["identity", "gzip", "deflate", "raw-deflate", "zstd"])
def test_a_body_of_the_limit_is_unpacked_and_one_more_byte_is_not(
    compression: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(PLAIN)
    assert decompress(packed, compression, len(PLAIN)) == PLAIN
    with pytest.raises(Refusal) as caught:
        decompress(packed, compression, len(PLAIN) - 1)
    assert caught.value.http_status == 413


@pytest.mark.parametrize(("compression", "pack"), [PACKED[1], PACKED[4]], ids=["gzip", "zstd"])
def test_a_body_of_several_parts_is_their_sum(compression: str, pack: Callable[[bytes], bytes]) -> None:
    cuts = (PLAIN[:10], b"", PLAIN[10:300_000], PLAIN[300_000:])
    assert decompress(b"".join(map(pack, cuts)), compression, len(PLAIN)) == PLAIN


def test_zstd_frames_to_be_skipped_are_skipped() -> None:
    packed = SKIPPED + zstandard.compress(PLAIN) + SKIPPED
    assert decompress(packed, "zstd", len(PLAIN)) == PLAIN


@pytest.mark.parametrize("part", [gzip.compress(b""), gzip.compress(b"x")], ids=["empty", "one-byte"])
def test_many_members_cost_in_proportion_to_their_bytes(part: bytes) -> None:
    """What is left of a body is not copied for each of its members: a body of the limit would take half an hour."""

    def measure_s(size_bytes: int) -> float:
        body = part * (size_bytes // len(part))
        begin = time.thread_time()
        decompress(body, "gzip", size_bytes)
        return time.thread_time() - begin

    assert measure_s(4 << 20) < 24 * max(measure_s(1 << 19) for _ in range(3))


@pytest.mark.parametrize(
    "body",
    [
        zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(PLAIN[:4096])).compress(PLAIN)[:-40],
        zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True))
        .compressobj()
        .compress(bytes(1 << 20)),
        SKIPPED[:-1],
        b"\x28\xb5\x2f\xfd",
    ],
    ids=["dictionary", "window", "skipped-frame-cut", "magic-alone"],
)
def test_zstd_that_cannot_be_unpacked_within_bounds_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        decompress(body, "zstd", 1 << 26)
    assert caught.value.http_status == 400
