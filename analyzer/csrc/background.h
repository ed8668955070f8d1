/* Other tenants' calls: a Poisson stream whose lengths are drawn from a table, each with a prompt of its own. Their
 * blocks stay in the cache after them, in spare segments of the prefix tree, and compete with everyone else's. */
#ifndef INFEROMETER_BACKGROUND_H
#define INFEROMETER_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "cache.h"

#define MOST_BACKGROUND_CALLS 5000000

typedef struct Background {
    double rate_per_s;   /* 0: none */
    int64_t lengths;     /* rows of the table */
    const int32_t *input_tokens, *output_tokens;
    int64_t left;        /* calls that may still come: an overloaded fleet must not queue without end */
    uint64_t state;      /* of the generator */
    PrefixTree *tree;
    int32_t *owner;      /* replica that each spare segment was given to, -1: none yet */
    uint8_t *claimed;    /* spare segments of calls that have not ended */
    int64_t cursor;
} Background;

/* Prepare the stream. Returns false without memory. */
bool background_open(Background *background, PrefixTree *tree, uint64_t seed);
void background_close(Background *background);
/* Draw the seconds to the next call. */
double background_gap(Background *background);
/* Draw the row of the length table for the next call. */
int64_t background_row(Background *background);
/* Find a spare segment that no cache holds a block of; -1 where a few tries find none. */
int32_t background_claim(Background *background, const Cache *const *caches, int32_t replica, int64_t input_tokens);
/* The call that claimed a segment has ended. */
void background_disclaim(Background *background, int32_t leaf);

#endif
