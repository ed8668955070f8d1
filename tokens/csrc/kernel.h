/* The inner loops, compiled once for each instruction set. */
#ifndef INFEROMETER_KERNEL_H
#define INFEROMETER_KERNEL_H

#include "piece_cache.h"
#include "vocabulary.h"

#define BATCH 256u
#define BATCH_ROOM (BATCH + 64u)

/* One batch of pieces: piece i is text[start of i, ends[i]), where it starts at the end of the one before. */
struct batch {
    uint32_t start, count;
    uint32_t ends[BATCH_ROOM];
    uint32_t lines[BATCH_ROOM];
    struct piece_key keys[BATCH_ROOM];
    uint32_t misses[BATCH_ROOM]; /* numbers of the pieces the cache does not have */
    uint32_t missed;
};

struct kernel {
    const char *name;
    /* Cut text from batch->start until the batch or the text is full. */
    void (*cut)(const struct vocabulary *v, const uint8_t *text, size_t size, struct batch *batch);
    /* Make keys and ask for their lines, and those of `ids` beside them unless it is NULL; a long piece gets a key that no
     * slot holds, with its hash in the lower word. */
    void (*prepare)(const struct piece_cache *cache, const struct piece_ids *ids, const uint8_t *text, size_t size,
                    struct batch *batch);
    /* Sum up the tokens of the pieces that are cached and note those that are not. */
    size_t (*count)(const struct piece_cache *cache, struct batch *batch);
    /* Append ids at *out, which moves on, from piece `at` to the first that is not cached or has more than SLOT_IDS; return
     * its number. SLOT_IDS are written for each, whatever their count. */
    uint32_t (*write)(const struct piece_cache *cache, const struct batch *batch, uint32_t at, uint32_t **out);
};

/* The best kernel this machine runs; `name` asks for one, NULL for the best; NULL where it cannot run. */
const struct kernel *choose_kernel(const char *name);

#endif
