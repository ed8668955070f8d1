/* Batches through the kernel; what the cache does not have is worked out here. */
#include "encoder.h"

#include <stdlib.h>

#include "backtrack.h"
#include "table.h"

#define LONG_PIECES 32768u
#define SCRATCH_KEPT ((size_t)1 << 20) /* bytes of each kind */

size_t encoder_bytes(const struct vocabulary *v)
{
    return (size_t)v->seed_lines * 128 + LONG_PIECES * sizeof(struct long_piece);
}

struct encoder *encoder_create(const struct vocabulary *v, const struct kernel *kernel, size_t cache_bytes)
{
    struct encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder)
        return 0;
    uint32_t lines = v->seed_lines, long_lines = LONG_PIECES;
    while (cache_bytes && lines > 1 && (size_t)lines * 128 + long_lines * sizeof(struct long_piece) > cache_bytes) {
        lines /= 2;
        long_lines = long_lines > 1 ? long_lines / 2 : 1;
    }
    encoder->kernel = kernel;
    encoder->cache.line_mask = lines - 1;
    encoder->cache.long_mask = long_lines - 1;
    encoder->cache.keys = allocate_table((size_t)lines * 64, lines == v->seed_lines ? v->seed : 0);
    encoder->cache.long_pieces = allocate_table(long_lines * sizeof(struct long_piece), 0);
    if (!encoder->cache.keys || !encoder->cache.long_pieces) {
        encoder_destroy(encoder);
        return 0;
    }
    return encoder;
}

void encoder_destroy(struct encoder *encoder)
{
    if (!encoder)
        return;
    free(encoder->cache.keys);
    free(encoder->cache.ids);
    free(encoder->cache.long_pieces);
    free(encoder->tokens);
    free(encoder->dead);
    free(encoder->out);
    free(encoder->scratch);
    free(encoder);
}

void encoder_trim(struct encoder *encoder)
{
    if (encoder->capacity * sizeof *encoder->tokens > SCRATCH_KEPT) {
        free(encoder->tokens);
        free(encoder->dead);
        encoder->tokens = 0, encoder->dead = 0, encoder->capacity = 0;
    }
    if (encoder->out_capacity * sizeof *encoder->out > SCRATCH_KEPT) {
        free(encoder->out);
        encoder->out = 0, encoder->out_capacity = 0;
    }
    if (encoder->scratch_capacity > SCRATCH_KEPT) {
        free(encoder->scratch);
        encoder->scratch = 0, encoder->scratch_capacity = 0;
    }
}

static int reserve_piece(struct encoder *encoder, size_t size)
{
    if (size <= encoder->capacity)
        return 0;
    size_t capacity = size < 1024 ? 1024 : size + size / 2;
    uint32_t *tokens = realloc(encoder->tokens, capacity * sizeof *tokens);
    if (tokens)
        encoder->tokens = tokens;
    uint64_t *dead = realloc(encoder->dead, (capacity / 64 + 1) * sizeof *dead);
    if (dead)
        encoder->dead = dead;
    encoder->capacity = tokens && dead ? capacity : encoder->capacity;
    return tokens && dead ? 0 : -1;
}

/* Work a piece out: tokens in encoder->tokens, their number returned; SIZE_MAX where memory is short. */
static size_t work_out(struct encoder *encoder, const struct vocabulary *v, const uint8_t *piece, size_t size)
{
    if (reserve_piece(encoder, size))
        return SIZE_MAX;
    encoder->tokens[0] = find_piece(v, piece, size);
    if (encoder->tokens[0] != NO_TOKEN)
        return 1;
    memset(encoder->dead, 0, (size / 64 + 1) * sizeof *encoder->dead);
    return backtrack_piece(v, piece, size, encoder->tokens, encoder->dead);
}

static struct piece_key *line_of(const struct piece_cache *cache, struct piece_key key)
{
    return cache->keys + LINE_KEYS * (size_t)key_line(key.low, key.high, cache->line_mask);
}

static void remember_short(struct encoder *encoder, const struct vocabulary *v, struct piece_key key, size_t count)
{
    struct piece_cache *cache = &encoder->cache;
    struct piece_key *line = line_of(cache, key);
    unsigned slot = 0;
    while (slot < LINE_KEYS && line[slot].high)
        slot++;
    if (slot == LINE_KEYS)
        slot = 2 + (cache->clock++ & 1);
    key.high |= (uint64_t)count << 60;
    line[slot] = key;
    for (size_t at = 0; cache->ids && at < SLOT_IDS && at < count; at++)
        cache->ids[line - cache->keys + slot].ids[at] = v->ids[encoder->tokens[at]];
}

/* The entry of a long piece by its hash, the lower word of its key; NULL where another or none is there. */
static struct long_piece *find_long(const struct piece_cache *cache, uint64_t hash, const uint8_t *piece, size_t size)
{
    struct long_piece *entry = cache->long_pieces + (hash & cache->long_mask);
    return entry->size == size && !memcmp(entry->bytes, piece, size) ? entry : 0;
}

static void remember_long(struct encoder *encoder, const struct vocabulary *v, uint64_t hash, const uint8_t *piece,
                          size_t size, size_t count)
{
    struct long_piece *entry = encoder->cache.long_pieces + (hash & encoder->cache.long_mask);
    memcpy(entry->bytes, piece, size);
    entry->size = (uint8_t)size;
    entry->count = (uint8_t)count;
    for (size_t at = 0; at < LONG_IDS && at < count; at++)
        entry->ids[at] = v->ids[encoder->tokens[at]];
}

static size_t count_piece(struct encoder *encoder, const struct vocabulary *v, struct piece_key key, const uint8_t *piece,
                          size_t size)
{
    if (size <= SHORT_PIECE) {
        const struct piece_key *line = line_of(&encoder->cache, key);
        unsigned slot = find_slot(line, key); /* another piece of this batch may have brought it */
        if (slot < LINE_KEYS)
            return line[slot].high >> 60;
    } else if (size <= LONG_PIECE) {
        const struct long_piece *entry = find_long(&encoder->cache, key.low, piece, size);
        if (entry)
            return entry->count;
    }
    size_t count = work_out(encoder, v, piece, size);
    if (count == SIZE_MAX)
        return SIZE_MAX;
    if (size <= SHORT_PIECE)
        remember_short(encoder, v, key, count);
    else if (size <= LONG_PIECE)
        remember_long(encoder, v, key.low, piece, size, count);
    return count;
}

size_t encoder_count(struct encoder *encoder, const struct vocabulary *v, const uint8_t *text, size_t size, size_t limit)
{
    struct batch *batch = &encoder->batch;
    size_t total = 0;
    for (size_t at = 0; at < size && total <= limit; at = batch->ends[batch->count - 1]) {
        batch->start = (uint32_t)at;
        encoder->kernel->cut(v, text, size, batch);
        encoder->kernel->prepare(&encoder->cache, 0, text, size, batch);
        total += encoder->kernel->count(&encoder->cache, batch);
        for (uint32_t miss = 0; miss < batch->missed; miss++) {
            uint32_t piece = batch->misses[miss], start = piece ? batch->ends[piece - 1] : (uint32_t)at;
            size_t count = count_piece(encoder, v, batch->keys[piece], text + start, batch->ends[piece] - start);
            if (count == SIZE_MAX)
                return SIZE_MAX;
            total += count;
        }
    }
    return total;
}

/* Room for the ids beside the slots, made when ids are first asked for. */
static int reserve_ids(struct encoder *encoder, const struct vocabulary *v)
{
    struct piece_cache *cache = &encoder->cache;
    if (cache->ids)
        return 0;
    size_t slots = LINE_KEYS * ((size_t)cache->line_mask + 1);
    cache->ids = allocate_table(slots * sizeof *cache->ids, 0);
    if (!cache->ids)
        return -1;
    int seeded = cache->line_mask + 1 == v->seed_lines;
    for (size_t slot = 0; slot < slots; slot++) {
        cache->ids[slot].ids[0] = seeded ? v->seed_ids[slot] : 0;
        struct piece_key key = cache->keys[slot];
        size_t size = key.high >> 56 & 15, count = key.high >> 60;
        if (!count || (seeded && key_equals(key, ((const struct piece_key *)v->seed)[slot])))
            continue;
        key.high &= ~(COUNT_BITS | LENGTH_BITS);
        if (work_out(encoder, v, (const uint8_t *)&key, size) == SIZE_MAX)
            return -1;
        for (size_t at = 0; at < SLOT_IDS && at < count; at++)
            cache->ids[slot].ids[at] = v->ids[encoder->tokens[at]];
    }
    return 0;
}

static int reserve_out(struct encoder *encoder, size_t count)
{
    if (count <= encoder->out_capacity)
        return 0;
    size_t capacity = count + count / 2;
    uint32_t *out = realloc(encoder->out, capacity * sizeof *out);
    if (!out)
        return -1;
    encoder->out = out;
    encoder->out_capacity = capacity;
    return 0;
}

/* Append the ids of one piece that has no slot to encoder->out[written]; the new length, SIZE_MAX where memory is short. */
static size_t write_piece(struct encoder *encoder, const struct vocabulary *v, struct piece_key key, const uint8_t *piece,
                          size_t size, size_t written)
{
    uint64_t hash = size <= SHORT_PIECE ? hash_bytes(piece, size) : key.low; /* a short one of many tokens is there, too */
    const struct long_piece *entry = size <= LONG_PIECE ? find_long(&encoder->cache, hash, piece, size) : 0;
    if (reserve_out(encoder, written + size + 4 * BATCH_ROOM + 4)) /* room for the cached pieces that follow, too */
        return SIZE_MAX;
    if (entry && entry->count <= LONG_IDS) {
        memcpy(encoder->out + written, entry->ids, entry->count * sizeof *entry->ids);
        return written + entry->count;
    }
    size_t count = work_out(encoder, v, piece, size);
    if (count == SIZE_MAX)
        return SIZE_MAX;
    for (size_t at = 0; at < count; at++)
        encoder->out[written + at] = v->ids[encoder->tokens[at]];
    if (size <= SHORT_PIECE && find_slot(line_of(&encoder->cache, key), key) == LINE_KEYS)
        remember_short(encoder, v, key, count);
    if (size <= LONG_PIECE && (size > SHORT_PIECE || count > SLOT_IDS))
        remember_long(encoder, v, hash, piece, size, count);
    return written + count;
}

/* The ids of one batch in encoder->out; their number, SIZE_MAX where memory is short. */
static size_t write_batch(struct encoder *encoder, const struct vocabulary *v, const uint8_t *text)
{
    const struct batch *batch = &encoder->batch;
    size_t written = 0;
    for (uint32_t at = 0;; at++) {
        uint32_t *out = encoder->out + written;
        at = encoder->kernel->write(&encoder->cache, batch, at, &out);
        written = (size_t)(out - encoder->out);
        if (at == batch->count)
            return written;
        uint32_t start = at ? batch->ends[at - 1] : batch->start;
        written = write_piece(encoder, v, batch->keys[at], text + start, batch->ends[at] - start, written);
        if (written == SIZE_MAX)
            return SIZE_MAX;
    }
}

size_t encoder_encode(struct encoder *encoder, const struct vocabulary *v, const uint8_t *text, size_t size, id_sink sink,
                      void *state)
{
    struct batch *batch = &encoder->batch;
    size_t total = 0;
    if (reserve_ids(encoder, v) || reserve_out(encoder, 4 * BATCH_ROOM + 4))
        return SIZE_MAX;
    for (size_t at = 0; at < size; at = batch->ends[batch->count - 1]) {
        batch->start = (uint32_t)at;
        encoder->kernel->cut(v, text, size, batch);
        encoder->kernel->prepare(&encoder->cache, encoder->cache.ids, text, size, batch);
        size_t written = write_batch(encoder, v, text);
        if (written == SIZE_MAX || sink(state, encoder->out, written))
            return SIZE_MAX;
        total += written;
    }
    return total;
}
