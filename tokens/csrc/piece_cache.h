/* A bounded cache from pieces to their tokens.
 *
 * A short piece, of at most fifteen bytes, has a key of sixteen: the piece, filled up with zeros; the last byte holds its
 * length in the low and its number of tokens in the high four bits. Four keys make a line of 64 bytes, the unit of
 * look-up. The first two of a line, set from the vocabulary in the order of rank, stay; the other two give way to what
 * comes. Ids, up to four a piece, lie beside the keys and are only touched by who wants them.
 *
 * A long piece has an entry of two lines: what counting wants in the first, ids in the second.
 */
#ifndef INFEROMETER_PIECE_CACHE_H
#define INFEROMETER_PIECE_CACHE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SHORT_PIECE 15u
#define LONG_PIECE 62u
#define LINE_KEYS 4u
#define SLOT_IDS 4u
#define LONG_IDS 16u
#define COUNT_BITS 0xF000000000000000u /* of the upper word of a key */
#define LENGTH_BITS 0x0F00000000000000u

struct piece_key {
    uint64_t low, high;
};

struct piece_ids {
    uint32_t ids[SLOT_IDS];
};

struct long_piece {
    uint8_t bytes[LONG_PIECE];
    uint8_t size, count; /* size 0: free */
    uint32_t ids[LONG_IDS];
};

struct piece_cache {
    struct piece_key *keys;
    struct piece_ids *ids; /* beside the keys; NULL until ids are asked for */
    struct long_piece *long_pieces;
    uint32_t line_mask, long_mask, clock;
};

static inline uint32_t key_line(uint64_t low, uint64_t high, uint32_t line_mask)
{
    uint64_t hash = low * 0x9E3779B97F4A7C15u + high * 0xD6E8FEB86659FD93u;
    return (uint32_t)(hash >> 32 ^ hash >> 50) & line_mask;
}

/* The key of a piece of 1 to 15 bytes, read byte by byte. */
static inline struct piece_key make_key(const uint8_t *piece, size_t size)
{
    struct piece_key key = {0, 0};
    memcpy(&key, piece, size);
    key.high |= (uint64_t)size << 56;
    return key;
}

/* Whether two keys stand for the same piece, whatever their counts. */
static inline int key_equals(struct piece_key a, struct piece_key b)
{
    return a.low == b.low && !((a.high ^ b.high) & ~COUNT_BITS);
}

/* The slot of a key within a line, LINE_KEYS where it is not there. */
static inline unsigned find_slot(const struct piece_key *line, struct piece_key key)
{
    unsigned slot = 0;
    while (slot < LINE_KEYS && !key_equals(line[slot], key))
        slot++;
    return slot;
}

/* The same for a key without a count, looking at every slot whatever it finds. */
static inline unsigned find_slot_branchless(const struct piece_key *line, const struct piece_key *key)
{
    unsigned found = LINE_KEYS;
    for (unsigned slot = 0; slot < LINE_KEYS; slot++)
        found = line[slot].low == key->low && (line[slot].high & ~COUNT_BITS) == key->high ? slot : found;
    return found;
}

#endif
