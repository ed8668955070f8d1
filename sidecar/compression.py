"""Content encodings of a request body, undone piece by piece so that no more is ever held than is allowed."""

from __future__ import annotations

import zlib

from inferometer.sidecar.refusal import Refusal

IDENTITY = "identity"
_CHUNK_BYTES = 256 * 1024
_SLICE_BYTES = 16 * 1024
# zstd output cannot be bounded by call; four bytes of input make at most one block of 128 KiB, so a slice makes 16 MiB
_ZSTD_SLICE_BYTES = 512
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
_WBITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
ENCODINGS = (IDENTITY, "gzip", "deflate", "zstd")


def decompress(body: bytes, compression: str, limit_bytes: int) -> bytes:
    """Return the body as it was before compression.

    Args:
        body: the bytes as sent.
        compression: ``identity``, ``gzip``, ``deflate`` or ``zstd``.
        limit_bytes: the most bytes the result may have; memory stays near it whatever was sent.

    Raises:
        Refusal: the result would be over the limit (413), or the body is not what the encoding says (400, 415).
    """
    if compression == IDENTITY:
        if len(body) > limit_bytes:
            raise Refusal.too_large(limit_bytes)
        return body
    if compression in _WBITS:
        return _inflate(body, compression, limit_bytes)
    if compression == "zstd":
        return _unzstd(body, limit_bytes)
    raise Refusal.unsupported(f"content encoding {compression!r}; use one of {', '.join(ENCODINGS)}")


def _inflate(body: bytes, compression: str, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    total = position = 0
    view = memoryview(body)
    # a gzip body may have several members, one after the other
    while position < len(view) and not (position and compression == "deflate"):
        inflater = zlib.decompressobj(_WBITS[compression])
        try:
            while not inflater.eof:
                # what was not read of a slice is copied at each call, so slices are short
                given = view[position : position + _SLICE_BYTES]
                piece = inflater.decompress(given, min(_CHUNK_BYTES, limit_bytes - total + 1))
                # at the end of a member both may hold what is left
                position += len(given) - max(len(inflater.unconsumed_tail), len(inflater.unused_data))
                total += len(piece)
                if total > limit_bytes:
                    raise Refusal.too_large(limit_bytes)
                if piece:
                    pieces.append(piece)
                elif not given and not inflater.eof:
                    raise Refusal.malformed(f"the {compression} body ends early")
        except zlib.error as error:
            if compression == "deflate" and not pieces:
                return _inflate_raw(body, limit_bytes)
            raise Refusal.malformed(f"the body is not {compression}") from error
    return b"".join(pieces)


def _inflate_raw(body: bytes, limit_bytes: int) -> bytes:
    # some clients send deflate without its zlib header, against RFC 9110 section 8.4.1.2
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise Refusal.malformed("the body is not deflate") from error
    if len(plain) > limit_bytes:
        raise Refusal.too_large(limit_bytes)
    if not inflater.eof:
        raise Refusal.malformed("the deflate body ends early")
    return plain


def _unzstd(body: bytes, limit_bytes: int) -> bytes:
    import zstandard

    pieces: list[bytes] = []
    total = position = 0
    view = memoryview(body)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    try:
        while position < len(view):
            frame = decompressor.decompressobj()
            while not frame.eof:
                given = view[position : position + _ZSTD_SLICE_BYTES]
                if not given:
                    raise Refusal.malformed("the zstd body ends early")
                piece = frame.decompress(given)
                position += len(given) - len(frame.unused_data)
                total += len(piece)
                if total > limit_bytes:
                    raise Refusal.too_large(limit_bytes)
                if piece:
                    pieces.append(piece)
    except zstandard.ZstdError as error:
        raise Refusal.malformed("the body is not zstd") from error
    return b"".join(pieces)
