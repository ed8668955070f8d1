"""Prefix block hashes are what the definition says."""

from __future__ import annotations

import struct

from inferometer.tokens import HashKey, encoding, load_key

KEY = HashKey(bytes(range(32)))
TEXT = "The quick brown fox jumps over the lazy dog. " * 40


def siphash(key: bytes, message: bytes) -> int:
    """SipHash-2-4, written from the paper."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & mask

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & mask
            v[2] = (v[2] + v[3]) & mask
            v[1] = rotate(v[1], 13) ^ v[0]
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[1]) & mask
            v[0] = (v[0] + v[3]) & mask
            v[1] = rotate(v[1], 17) ^ v[2]
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = rotate(v[2], 32)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_siphash_reference_is_the_published_vector() -> None:
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


def test_hashes_follow_the_definition_for_any_block_size() -> None:
    ours = encoding("o200k_base")
    ids = ours.encode(TEXT)
    for block in (1, 2, 3, 16, 64, 65, 512):
        secret = KEY.digest(f"o200k_base\x1f{block}".encode(), b"prefix", 16)
        parent, expected = 0, b""
        for start in range(0, len(ids) - block + 1, block):
            message = struct.pack(f"<Q{block}I", parent, *ids[start : start + block])
            parent = siphash(secret, message)
            expected += struct.pack("<Q", parent)
        assert ours.block_hashes(TEXT, block, KEY) == expected


def test_count_comes_with_the_chain() -> None:
    ours = encoding("cl100k_base")
    tokens, chain = ours.prefix_chain(TEXT, 64, KEY)
    assert tokens == ours.count(TEXT)
    assert chain.blocks == tokens // 64
    assert (chain.vocabulary, chain.block_tokens, chain.key_id) == ("cl100k_base", 64, KEY.key_id)


def test_messages_share_the_prefix_they_share() -> None:
    ours = encoding("o200k_base")
    first = ours.block_hashes([TEXT, "one question"], 16, KEY)
    second = ours.block_hashes([TEXT, "another thing altogether, and longer"], 16, KEY)
    shared = len(ours.encode(TEXT)) // 16 * 8
    assert first[:shared] == second[:shared]
    assert first[shared : shared + 8] != second[shared : shared + 8] or len(first) == shared


def test_short_text_has_no_hash() -> None:
    assert encoding("o200k_base").block_hashes("one two three", 64, KEY) == b""


def test_keys_do_not_share_hashes() -> None:
    ours = encoding("o200k_base")
    assert ours.block_hashes(TEXT, 64, KEY) != ours.block_hashes(TEXT, 64, HashKey(bytes(32)))


def test_own_key_is_used_where_none_is_given() -> None:
    ours = encoding("o200k_base")
    assert ours.block_hashes(TEXT) == ours.block_hashes(TEXT, 64, load_key())
