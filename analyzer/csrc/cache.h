/* KV memory with a prefix cache: who holds how many tokens, and which shared blocks are kept.
 *
 * Of each segment of the prefix tree a leading part is kept. Segments in use are pinned; idle ones stand in a list by
 * last use, a child before its parent, so that taking from the old end always evicts leaves first. Everything costs a
 * constant per segment touched.
 *
 *      capacity  >=  resident (kept blocks: active + idle)  +  private (held by sequences, shared with nobody)
 */
#ifndef INFEROMETER_CACHE_H
#define INFEROMETER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "tree.h"

typedef struct Cache {
    PrefixTree *tree;
    int64_t capacity_tokens;
    int64_t resident_tokens; /* kept blocks, in use or idle */
    int64_t active_tokens;   /* of these, in use */
    int64_t evicted_tokens;  /* so far */
    int32_t *kept;           /* blocks kept of each segment, from its start */
    int32_t *users;          /* sequences that end in it, and children with users */
    uint8_t *prompted;       /* whether a prompt has held the segment */
    int32_t *older, *newer;  /* among idle segments; -1: none */
    int32_t oldest, newest;
} Cache;

typedef struct Match {
    int64_t blocks; /* leading blocks of a chain that are kept */
    int64_t idle;   /* of these, in no one's use */
} Match;

/* Prepare an empty cache over a tree that outlives it. Returns false without memory. */
bool cache_open(Cache *cache, PrefixTree *tree, int64_t capacity_tokens);
void cache_close(Cache *cache);
/* Look a chain up by the segment it ends in; -1 matches nothing. */
Match cache_match(const Cache *cache, int32_t leaf);
/* Evict idle blocks until `private_tokens` fit beside what is kept. Returns false, evicting nothing, where they cannot. */
bool cache_make_room(Cache *cache, int64_t private_tokens);
/* Pin a chain up to `limit_blocks` and keep all of that, evicting for it. The caller has seen that it fits. */
void cache_acquire(Cache *cache, int32_t leaf, int64_t limit_blocks, int64_t private_tokens);
/* Note that a prompt holds a chain, and return how many of its leading blocks prompts before it held. */
int64_t cache_prompt(Cache *cache, int32_t leaf);
/* Unpin a chain; blocks from `computed_blocks` on that no other sequence uses were never computed and are dropped. */
void cache_release(Cache *cache, int32_t leaf, int64_t computed_blocks);

#endif
