/* Keyed chains of block hashes; see the header for the definition. */
#include "prefix_chain.h"

#include <stdlib.h>
#include <string.h>

#define ROTATE(value, bits) ((value) << (bits) | (value) >> (64 - (bits)))

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = ROTATE(v[1], 13) ^ v[0], v[0] = ROTATE(v[0], 32);
    v[2] += v[3], v[3] = ROTATE(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = ROTATE(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = ROTATE(v[1], 17) ^ v[2], v[2] = ROTATE(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

static void open_block(struct prefix_chain *chain)
{
    chain->state[0] = chain->key[0] ^ 0x736F6D6570736575u;
    chain->state[1] = chain->key[1] ^ 0x646F72616E646F6Du;
    chain->state[2] = chain->key[0] ^ 0x6C7967656E657261u;
    chain->state[3] = chain->key[1] ^ 0x7465646279746573u;
    chain->filled = 0;
    sip_word(chain->state, chain->parent);
}

static int close_block(struct prefix_chain *chain)
{
    uint64_t *v = chain->state, bytes = 8 + 4 * (uint64_t)chain->block;
    sip_word(v, bytes << 56 | (chain->block & 1 ? chain->open[chain->block - 1] : 0));
    v[2] ^= 0xFF;
    for (int round = 0; round < 4; round++)
        sip_round(v);
    chain->parent = v[0] ^ v[1] ^ v[2] ^ v[3];
    if (chain->count == chain->capacity) {
        size_t capacity = chain->capacity ? 2 * chain->capacity : 64;
        uint64_t *hashes = realloc(chain->hashes, capacity * sizeof *hashes);
        if (!hashes)
            return -1;
        chain->hashes = hashes;
        chain->capacity = capacity;
    }
    chain->hashes[chain->count++] = chain->parent;
    open_block(chain);
    return 0;
}

int chain_start(struct prefix_chain *chain, const uint64_t key[2], uint32_t block, uint64_t parent)
{
    *chain = (struct prefix_chain){.key = {key[0], key[1]}, .parent = parent, .block = block};
    chain->open = malloc(block * sizeof *chain->open);
    open_block(chain);
    return chain->open ? 0 : -1;
}

int chain_append(struct prefix_chain *chain, const uint32_t *ids, size_t count)
{
    while (count) {
        size_t room = chain->block - chain->filled, taken = room < count ? room : count;
        memcpy(chain->open + chain->filled, ids, taken * sizeof *ids);
        size_t filled = chain->filled + taken;
        uint64_t state[4]; /* in registers: the compiler cannot know that the ids are not the state */
        memcpy(state, chain->state, sizeof state);
        for (size_t at = chain->filled & ~1u; at + 1 < filled; at += 2)
            sip_word(state, chain->open[at] | (uint64_t)chain->open[at + 1] << 32);
        memcpy(chain->state, state, sizeof state);
        chain->filled = (uint32_t)filled;
        ids += taken, count -= taken;
        if (filled == chain->block && close_block(chain))
            return -1;
    }
    return 0;
}

void chain_release(struct prefix_chain *chain)
{
    free(chain->hashes);
    free(chain->open);
    chain->hashes = 0;
    chain->open = 0;
}
