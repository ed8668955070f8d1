/* Keyed chains of block hashes; see the header for the definition. */
#include "prefix_chain.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

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

/* Each step waits for the one before, so nothing stands between them: no block is hashed before it is whole. */
static uint64_t hash_block(const uint64_t key[2], uint64_t parent, const uint32_t *ids, uint32_t block)
{
    uint64_t v[4] = {key[0] ^ 0x736F6D6570736575u, key[1] ^ 0x646F72616E646F6Du, key[0] ^ 0x6C7967656E657261u,
                     key[1] ^ 0x7465646279746573u};
    uint64_t bytes = 8 + 4 * (uint64_t)block;
    sip_word(v, parent);
    for (uint32_t at = 0; at + 1 < block; at += 2)
        sip_word(v, load64((const uint8_t *)(ids + at)));
    sip_word(v, bytes << 56 | (block & 1 ? ids[block - 1] : 0));
    v[2] ^= 0xFF;
    for (int round = 0; round < 4; round++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Chain one whole block; -1 where memory is short. */
static int append_block(struct prefix_chain *chain, const uint32_t *ids)
{
    if (chain->count == chain->capacity) {
        size_t capacity = chain->capacity ? 2 * chain->capacity : 64;
        uint64_t *hashes = realloc(chain->hashes, capacity * sizeof *hashes);
        if (!hashes)
            return -1;
        chain->hashes = hashes;
        chain->capacity = capacity;
    }
    chain->parent = hash_block(chain->key, chain->parent, ids, chain->block);
    chain->hashes[chain->count++] = chain->parent;
    return 0;
}

int chain_start(struct prefix_chain *chain, const uint64_t key[2], uint32_t block, uint64_t parent)
{
    *chain = (struct prefix_chain){.key = {key[0], key[1]}, .parent = parent, .block = block};
    chain->open = malloc(block * sizeof *chain->open);
    return chain->open ? 0 : -1;
}

int chain_append(struct prefix_chain *chain, const uint32_t *ids, size_t count)
{
    while (chain->filled + count >= chain->block) {
        const uint32_t *whole = ids;
        size_t taken = chain->block - chain->filled;
        if (chain->filled) {
            memcpy(chain->open + chain->filled, ids, taken * sizeof *ids);
            whole = chain->open;
        }
        if (append_block(chain, whole))
            return -1;
        chain->filled = 0;
        ids += taken, count -= taken;
    }
    if (count)
        memcpy(chain->open + chain->filled, ids, count * sizeof *ids);
    chain->filled += (uint32_t)count;
    return 0;
}

void chain_release(struct prefix_chain *chain)
{
    free(chain->hashes);
    free(chain->open);
    chain->hashes = 0;
    chain->open = 0;
}
