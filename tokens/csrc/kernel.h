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

#define NO_SLOT UINT32_MAX
#define SLOT_BITS 0x0FFFFFFFu

struct kernel {
    const char *name;
    /* Cut text from batch->start until the batch or the text is full. */
    void (*cut)(const struct vocabulary *v, const uint8_t *text, size_t size, struct batch *batch);
    /* Make keys and ask for their lines; a long piece gets a key that no slot holds, with its hash in the lower word. */
    void (*prepare)(const struct piece_cache *cache, const uint8_t *text, size_t size, struct batch *batch);
    /* Sum up the tokens of the pieces that are cached and note those that are not. */
    size_t (*count)(const struct piece_cache *cache, struct batch *batch);
    /* Slot | tokens << 28 of every piece, NO_SLOT where it is not cached; asks for the ids of the slots. */
    void (*locate)(const struct piece_cache *cache, const struct batch *batch, uint32_t *slots);
};

/* The best kernel this machine runs; `name` asks for one, NULL for the best; NULL where it cannot run. */
const struct kernel *choose_kernel(const char *name);

#endif
