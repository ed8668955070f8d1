/* The body of a kernel; included by one file for each instruction set, which defines
 *   KERNEL         the kernel's variable
 *   KERNEL_NAME    its name
 *   CLASSIFY       a function from 64 bytes to byte_masks, if there is one worth having
 *   FIND_SLOT      a function from a line and a key to the slot, LINE_KEYS where it is not there
 *   LOAD_KEY       a function from sixteen readable bytes and a length to a key
 */
#include "ascii_rules.h"
#include "kernel.h"

#ifdef CLASSIFY
static inline uint32_t emit_ends(uint64_t starts, uint32_t base, uint32_t *ends)
{
    uint32_t count = 0;
    for (; starts; starts &= starts - 1)
        ends[count++] = base + (uint32_t)__builtin_ctzll(starts);
    return count;
}

static inline void cut_ascii(scan_piece scan, const uint8_t *text, size_t size, struct batch *batch,
                             struct ascii_rules rules)
{
    uint32_t count = 0;
    size_t at = batch->start;
    while (count < BATCH && at < size) {
        if (size - at >= 64 && !((text[at] | text[at + 1]) & 0x80)) {
            uint64_t starts = piece_starts(text + at, CLASSIFY(text + at), rules);
            if (starts) {
                count += emit_ends(starts, (uint32_t)at, batch->ends + count);
                at += 63 - (unsigned)__builtin_clzll(starts);
                continue;
            }
        }
        at = scan(text, size, at);
        batch->ends[count++] = (uint32_t)at;
    }
    batch->count = count;
}
#endif

static void cut_plain(scan_piece scan, const uint8_t *text, size_t size, struct batch *batch)
{
    uint32_t count = 0;
    size_t at = batch->start;
    while (count < BATCH && at < size) {
        at = scan(text, size, at);
        batch->ends[count++] = (uint32_t)at;
    }
    batch->count = count;
}

static void cut(const struct vocabulary *v, const uint8_t *text, size_t size, struct batch *batch)
{
    switch (v->header->family) {
#ifdef CLASSIFY
    case SCAN_O200K:
        cut_ascii(v->scan, text, size, batch, (struct ascii_rules){1, 1, 3, JOINED_CONTRACTIONS});
        return;
    case SCAN_TEKKEN:
        cut_ascii(v->scan, text, size, batch, (struct ascii_rules){1, 1, 1, NO_CONTRACTIONS});
        return;
    case SCAN_KIMI:
        cut_ascii(v->scan, text, size, batch, (struct ascii_rules){1, 0, 3, JOINED_CONTRACTIONS});
        return;
    case SCAN_CL100K:
    case SCAN_LLAMA3:
        cut_ascii(v->scan, text, size, batch, (struct ascii_rules){0, 0, 3, SEPARATE_CONTRACTIONS});
        return;
    case SCAN_QWEN2:
    case SCAN_QWEN3_5:
        cut_ascii(v->scan, text, size, batch, (struct ascii_rules){0, 0, 1, SEPARATE_CONTRACTIONS});
        return;
#endif
    default:
        cut_plain(v->scan, text, size, batch);
    }
}

/* Inlined twice, so that whoever counts does not ask for each piece whether ids are wanted. */
static inline __attribute__((always_inline)) void prepare_keys(const struct piece_cache *cache, const struct piece_ids *ids,
                                                               const uint8_t *text, size_t size, struct batch *batch)
{
    const struct piece_key *keys = cache->keys;
    const struct long_piece *long_pieces = cache->long_pieces;
    uint32_t start = batch->start, line_mask = cache->line_mask, long_mask = cache->long_mask;
    for (uint32_t at = 0; at < batch->count; at++) {
        uint32_t length = batch->ends[at] - start, line = 0;
        struct piece_key key = {0, ~COUNT_BITS};
        if (length <= SHORT_PIECE) {
            key = size - start >= 16 ? LOAD_KEY(text + start, length) : make_key(text + start, length);
            line = key_line(key.low, key.high, line_mask);
            __builtin_prefetch(keys + LINE_KEYS * (size_t)line);
            if (ids)
                __builtin_prefetch(ids + LINE_KEYS * (size_t)line);
        } else if (length <= LONG_PIECE) {
            key.low = hash_bytes(text + start, length);
            __builtin_prefetch(long_pieces + (key.low & long_mask));
        }
        batch->keys[at] = key;
        batch->lines[at] = line;
        start = batch->ends[at];
    }
}

static void prepare(const struct piece_cache *cache, const struct piece_ids *ids, const uint8_t *text, size_t size,
                    struct batch *batch)
{
    if (ids)
        prepare_keys(cache, ids, text, size, batch);
    else
        prepare_keys(cache, 0, text, size, batch);
}

static size_t count_pieces(const struct piece_cache *cache, struct batch *batch)
{
    const struct piece_key *keys = cache->keys;
    size_t total = 0;
    uint32_t missed = 0;
    for (uint32_t at = 0; at < batch->count; at++) {
        const struct piece_key *line = keys + LINE_KEYS * (size_t)batch->lines[at];
        unsigned slot = FIND_SLOT(line, batch->keys + at);
        batch->misses[missed] = at;
        missed += slot >= LINE_KEYS;
        total += slot < LINE_KEYS ? line[slot & (LINE_KEYS - 1)].high >> 60 : 0;
    }
    batch->missed = missed;
    return total;
}

static uint32_t write_ids(const struct piece_cache *cache, const struct batch *batch, uint32_t at, uint32_t **out)
{
    const struct piece_key *keys = cache->keys;
    const struct piece_ids *ids = cache->ids;
    uint32_t *next = *out;
    for (; at < batch->count; at++) {
        size_t first = LINE_KEYS * (size_t)batch->lines[at];
        unsigned slot = FIND_SLOT(keys + first, batch->keys + at);
        if (slot >= LINE_KEYS)
            break;
        uint32_t count = (uint32_t)(keys[first + slot].high >> 60);
        if (count > SLOT_IDS)
            break;
        memcpy(next, ids + first + slot, sizeof *ids);
        next += count;
    }
    *out = next;
    return at;
}

const struct kernel KERNEL = {KERNEL_NAME, cut, prepare, count_pieces, write_ids};
