/* From text to tokens: cut into pieces, look them up, work out what is not there and remember it. */
#ifndef INFEROMETER_ENCODER_H
#define INFEROMETER_ENCODER_H

#include "kernel.h"

/* The memory of one thread at work. Everything in it can be forgotten; results never depend on it. */
struct encoder {
    const struct kernel *kernel;
    struct piece_cache cache;
    int is_small; /* made beyond the bound on memory, not kept */
    struct batch batch;
    uint32_t *tokens; /* of one piece */
    uint64_t *dead;
    size_t capacity;
    uint32_t *out; /* ids of one batch */
    size_t out_capacity;
    uint8_t *scratch; /* the UTF-8 of one window of a text */
    size_t scratch_capacity;
};

/* Make an encoder whose cache takes about `cache_bytes` at most, 0 for the size that fits the vocabulary. NULL where memory
 * is short. */
struct encoder *encoder_create(const struct vocabulary *v, const struct kernel *kernel, size_t cache_bytes);

/* The memory that an encoder of full size takes once ids were asked for. */
size_t encoder_bytes(const struct vocabulary *v);

void encoder_destroy(struct encoder *encoder);

/* Give back what one huge piece or window took. */
void encoder_trim(struct encoder *encoder);

/* What is done with the ids of a text, as they come; returns -1 to stop. */
typedef int (*id_sink)(void *state, const uint32_t *ids, size_t count);

/* Both take valid UTF-8 of less than 4 GiB and return the number of tokens, SIZE_MAX where memory is short or the sink
 * said stop. `encoder_count` may stop early once there are more than `limit`. Neither needs the GIL. */
size_t encoder_count(struct encoder *encoder, const struct vocabulary *v, const uint8_t *text, size_t size, size_t limit);
size_t encoder_encode(struct encoder *encoder, const struct vocabulary *v, const uint8_t *text, size_t size, id_sink sink,
                      void *state);

#endif
