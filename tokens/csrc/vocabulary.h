/* A compiled vocabulary: one flat block of memory, mapped from a file, never written to.
 *
 *   header | token offsets u32[n+1] | token bytes | ids u32[n] | tokens of single bytes u32[256]
 *          | pieces: open-addressed u32 (token + 1) | pairs: lines of eight u64
 *
 * Tokens are numbered by rank (the order of merging); `ids` gives the number the outside knows. A pair slot packs
 * left:21 | right:21 | merged:21 | used:1, and a line that has a free slot ends the search.
 */
#ifndef INFEROMETER_VOCABULARY_H
#define INFEROMETER_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "hash.h"
#include "scan.h"

#define VOCABULARY_FORMAT 1u
#define MAX_TOKENS (1u << 21)
#define NO_TOKEN UINT32_MAX

enum vocabulary_section { OFFSETS, BYTES, IDS, BYTE_TOKENS, PIECES, PAIRS, SECTIONS };

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
    const uint32_t *offsets, *ids, *byte_tokens, *pieces;
    const uint8_t *bytes;
    const uint64_t *pairs;
    uint32_t piece_mask, pair_mask; /* number of slots, of lines, less one */
    scan_piece scan;
};

/* Look at a block of memory that must outlive `vocabulary`. Return NULL, or what is wrong with it. */
const char *vocabulary_open(struct vocabulary *vocabulary, const uint8_t *block, size_t size);

/* Compile. `offsets` has tokens + 1 entries; tokens must be distinct and not empty, and every single byte must be one
 * of them. Return a malloc'ed block of *size bytes; NULL with *problem set on failure. */
uint8_t *vocabulary_compile(const uint8_t *bytes, const uint32_t *offsets, const uint32_t *ids, uint32_t tokens,
                            uint32_t family, const uint8_t sha256[32], size_t *size, const char **problem);

static inline uint32_t find_piece(const struct vocabulary *v, const uint8_t *piece, size_t size)
{
    uint32_t slot = (uint32_t)hash_bytes(piece, size) & v->piece_mask;
    for (;; slot = (slot + 1) & v->piece_mask) {
        uint32_t token = v->pieces[slot] - 1;
        if (token == NO_TOKEN)
            return NO_TOKEN;
        uint32_t offset = v->offsets[token];
        if (v->offsets[token + 1] - offset == size && !memcmp(v->bytes + offset, piece, size))
            return token;
    }
}

static inline uint64_t pair_key(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 43 | (uint64_t)right << 22;
}

static inline uint32_t find_pair(const struct vocabulary *v, uint32_t left, uint32_t right)
{
    uint64_t key = pair_key(left, right);
    uint32_t line = (uint32_t)mix64(key) & v->pair_mask;
    for (;; line = (line + 1) & v->pair_mask) {
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
