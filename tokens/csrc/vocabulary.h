/* A compiled vocabulary: one flat block of memory, mapped from a file, never written to.
 *
 *   header | token offsets u32[n+1] | token bytes | ids u32[n]
 *          | odd pieces: open-addressed u32 (token + 1) | pairs: lines of eight u64
 *          | pair filter: two bits of one u64 for every pair
 *          | splits u64[n]: left:21 | right:21 | joins:17 | unordered:1 | prefixes u32[n]: the longest shorter token it begins
 *            with, size << 22 | token + 1
 *          | trie: double array of u64                  | seed: a piece cache that knows the vocabulary, and the ids of its slots
 *
 * Tokens are numbered by rank (the order of merging) after the 256 single bytes; `ids` gives the number the outside knows. A pair slot packs
 * left:21 | right:21 | merged:21 | used:1, and a line that has a free slot ends the search. Each token has at most one
 * pair: of all cuts into two tokens only the one that merging its own bytes ends with can ever stand side by side, since
 * merges inside a span go the same way whatever surrounds it. A token that merging never reaches has no split and is in
 * `odd pieces` alone, where the vocabulary lets a whole piece win.
 *
 * `joins` tells of seams between characters of three or four bytes. The left parts of a token, their left parts and so on
 * can stand right of a seam, the right parts left of it. Bit 16 is set where one of the former is the right of any pair
 * across such a seam; bit i where one of the latter is the left of a pair whose right begins with 0xEi or 0xFi. Most
 * characters have neither, and merging across the seam need not be asked for their bytes.
 *
 * `unordered` marks a token that has a part, or a part of a part, that comes after what it merges to: some vocabularies
 * were made longer by hand. The order of their merges is not that of their numbers.
 */
#ifndef INFEROMETER_VOCABULARY_H
#define INFEROMETER_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "hash.h"
#include "scan.h"

#define VOCABULARY_FORMAT 8u
#define MAX_TOKENS (1u << 21)
#define LONGEST_TOKEN 512u
#define NO_TOKEN UINT32_MAX
#define BYTE_TOKENS 256u
#define NO_SPLIT UINT64_MAX
#define SPLIT(left, right) ((uint64_t)(left) | (uint64_t)(right) << 21)
#define SPLIT_LEFT(split) ((uint32_t)(split) & (MAX_TOKENS - 1))
#define SPLIT_RIGHT(split) ((uint32_t)((split) >> 21) & (MAX_TOKENS - 1))
#define JOINS_SHIFT 42
#define JOINS_RIGHT (1u << 16)
#define UNORDERED (1ull << 59)

enum vocabulary_section { OFFSETS, BYTES, IDS, PIECES, PAIRS, PAIR_FILTER, SPLITS, PREFIXES, TRIE, SEED, SEED_IDS, SECTIONS };

struct vocabulary_header {
    char magic[8];
    uint32_t format, tokens, family, flags;
    uint64_t size, checksum; /* checksum covers everything after the header */
    uint8_t source_sha256[32];
    char unicode[16];
    struct {
        uint64_t offset, size;
    } sections[SECTIONS];
    uint64_t header_checksum; /* over the fields above */
};

struct vocabulary {
    const struct vocabulary_header *header;
    uint32_t tokens;
    const uint32_t *offsets, *ids, *pieces, *prefixes, *seed_ids;
    const uint8_t *bytes, *seed;
    const uint64_t *pairs, *pair_filter, *splits, *trie;
    uint32_t piece_mask, pair_mask, filter_mask; /* number of slots, of lines, of words, less one */
    uint32_t seed_lines;
    scan_piece scan;
};

/* What a vocabulary is made of. `offsets` has tokens + 1 entries; tokens are distinct and not empty, every single byte
 * is one of them. `merges` (left, right for each token, NO_TOKEN for single bytes) is NULL where ranks alone decide;
 * then whole pieces win even over merges that do not lead to them. */
struct vocabulary_source {
    const uint8_t *bytes;
    const uint32_t *offsets, *ids, *merges;
    uint32_t tokens, family;
    const uint8_t *sha256;
    int whole_pieces;
};

/* Look at a block of memory that must outlive `vocabulary`. Return NULL, or what is wrong with it. */
const char *vocabulary_open(struct vocabulary *vocabulary, const uint8_t *block, size_t size);

/* Return a malloc'ed block of *size bytes; NULL with *problem set on failure. */
uint8_t *vocabulary_compile(const struct vocabulary_source *source, size_t *size, const char **problem);

static inline uint32_t token_size(const struct vocabulary *v, uint32_t token)
{
    return v->offsets[token + 1] - v->offsets[token];
}

/* The token of a whole piece: of all tokens while compiling, of those that merging does not reach in the compiled form. */
static inline uint32_t find_piece(const struct vocabulary *v, const uint8_t *piece, size_t size)
{
    uint32_t slot = (uint32_t)hash_bytes(piece, size) & v->piece_mask;
    for (;; slot = (slot + 1) & v->piece_mask) {
        uint32_t token = v->pieces[slot] - 1;
        if (token == NO_TOKEN)
            return NO_TOKEN;
        if (token_size(v, token) == size && !memcmp(v->bytes + v->offsets[token], piece, size))
            return token;
    }
}

/* The bit of the seam between two bytes, 0 where `joins` does not tell of it. */
static inline uint32_t seam_bit(uint8_t before, uint8_t after)
{
    return before >= 0x80 && after >= 0xE0 ? 1u << (after & 15) : 0;
}

static inline uint64_t pair_key(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 43 | (uint64_t)right << 22;
}

static inline uint64_t pair_hash(uint32_t left, uint32_t right)
{
    uint64_t hash = left * 0x9E3779B97F4A7C15u + right * 0xC2B2AE3D27D4EB4Fu;
    return hash ^ hash >> 32;
}

static inline uint32_t pair_line(uint64_t hash, uint32_t mask)
{
    return (uint32_t)(hash >> 12) & mask;
}

/* Most pairs that are asked for are none; two bits in memory that stays near say so. */
static inline uint64_t filter_bits(uint64_t hash)
{
    return 1ull << (hash >> 52 & 63) | 1ull << (hash >> 58);
}

static inline uint32_t find_pair(const struct vocabulary *v, uint32_t left, uint32_t right)
{
    uint64_t key = pair_key(left, right), hash = pair_hash(left, right), bits = filter_bits(hash);
    if ((v->pair_filter[hash & v->filter_mask] & bits) != bits)
        return NO_TOKEN;
    for (uint32_t line = pair_line(hash, v->pair_mask);; line = (line + 1) & v->pair_mask) {
        const uint64_t *slots = v->pairs + 8 * (size_t)line;
        for (unsigned slot = 0; slot < 8; slot++) {
            if (!slots[slot])
                return NO_TOKEN;
            if (slots[slot] >> 22 == key >> 22)
                return (uint32_t)(slots[slot] >> 1) & (MAX_TOKENS - 1);
        }
    }
}

#endif
