/* Keyed chains of block hashes over token ids.
 *
 *   hash[i] = SipHash-2-4(key, hash[i-1] as 8 bytes | ids of block i as 4 bytes each), all little endian; hash[-1] = 0
 *
 * Only whole blocks have a hash. Source: Aumasson and Bernstein, SipHash, 2012.
 */
#ifndef INFEROMETER_PREFIX_CHAIN_H
#define INFEROMETER_PREFIX_CHAIN_H

#include <stddef.h>
#include <stdint.h>

struct prefix_chain {
    uint64_t key[2];
    uint64_t parent;
    uint32_t block, filled; /* tokens a block, tokens of the open one */
    uint32_t *open;         /* owned; the ids of the open block */
    uint64_t *hashes;       /* owned; blocks hashed so far */
    size_t count, capacity;
};

#define MOST_BLOCK_TOKENS (1u << 20)

/* Begin after the block whose hash is `parent`, 0 for the first; -1 where memory is short. */
int chain_start(struct prefix_chain *chain, const uint64_t key[2], uint32_t block, uint64_t parent);

/* Append ids; -1 where memory is short. */
int chain_append(struct prefix_chain *chain, const uint32_t *ids, size_t count);

void chain_release(struct prefix_chain *chain);

#endif
