#include "cache.h"

#include <stdlib.h>
#include <string.h>

bool cache_open(Cache *cache, PrefixTree *tree, int64_t capacity_tokens)
{
    size_t count = (size_t)(tree->segments + tree->spare + 1);
    *cache = (Cache){.tree = tree, .capacity_tokens = capacity_tokens, .oldest = -1, .newest = -1};
    cache->kept = calloc(count, sizeof(int32_t));
    cache->users = calloc(count, sizeof(int32_t));
    cache->prompted = calloc(count, 1);
    cache->older = malloc(count * sizeof(int32_t));
    cache->newer = malloc(count * sizeof(int32_t));
    if (cache->kept && cache->users && cache->prompted && cache->older && cache->newer)
        return true;
    cache_close(cache);
    return false;
}

void cache_close(Cache *cache)
{
    free(cache->kept);
    free(cache->users);
    free(cache->prompted);
    free(cache->older);
    free(cache->newer);
    memset(cache, 0, sizeof *cache);
}

static void unlink_idle(Cache *cache, int32_t segment)
{
    int32_t older = cache->older[segment], newer = cache->newer[segment];
    if (older >= 0)
        cache->newer[older] = newer;
    else
        cache->oldest = newer;
    if (newer >= 0)
        cache->older[newer] = older;
    else
        cache->newest = older;
}

static void append_idle(Cache *cache, int32_t segment)
{
    cache->older[segment] = cache->newest;
    cache->newer[segment] = -1;
    if (cache->newest >= 0)
        cache->newer[cache->newest] = segment;
    else
        cache->oldest = segment;
    cache->newest = segment;
}

Match cache_match(const Cache *cache, int32_t leaf)
{
    const PrefixTree *tree = cache->tree;
    Match match = {0, 0};
    int32_t segment = leaf;
    while (segment >= 0 && cache->kept[segment] == 0)
        segment = tree->parent[segment];
    if (segment < 0)
        return match;
    match.blocks = (int64_t)tree->start[segment] + cache->kept[segment];
    for (; segment >= 0 && cache->users[segment] == 0; segment = tree->parent[segment])
        match.idle += cache->kept[segment];
    return match;
}

/* Drop at least `tokens` of idle blocks, oldest first, or all there are. */
static void evict(Cache *cache, int64_t tokens)
{
    int64_t block_tokens = cache->tree->block_tokens;
    while (tokens > 0 && cache->oldest >= 0) {
        int32_t segment = cache->oldest;
        int64_t wanted = (tokens + block_tokens - 1) / block_tokens;
        int64_t dropped = wanted < cache->kept[segment] ? wanted : cache->kept[segment];
        cache->kept[segment] -= (int32_t)dropped;
        cache->resident_tokens -= dropped * block_tokens;
        cache->evicted_tokens += dropped * block_tokens;
        tokens -= dropped * block_tokens;
        if (cache->kept[segment] == 0)
            unlink_idle(cache, segment);
    }
}

bool cache_make_room(Cache *cache, int64_t private_tokens)
{
    int64_t excess = cache->resident_tokens + private_tokens - cache->capacity_tokens;
    if (excess <= 0)
        return true;
    if (cache->active_tokens + private_tokens > cache->capacity_tokens)
        return false;
    evict(cache, excess);
    return true;
}

static int64_t wanted_blocks(const PrefixTree *tree, int32_t segment, int64_t limit_blocks)
{
    int64_t wanted = limit_blocks - tree->start[segment];
    if (wanted <= 0)
        return 0;
    return wanted < tree->blocks[segment] ? wanted : tree->blocks[segment];
}

void cache_acquire(Cache *cache, int32_t leaf, int64_t limit_blocks, int64_t private_tokens)
{
    const PrefixTree *tree = cache->tree;
    int64_t added = 0;
    int32_t segment = leaf;
    for (; segment >= 0; segment = tree->parent[segment]) {
        if (cache->users[segment]++ > 0)
            break;
        int64_t kept = cache->kept[segment], wanted = wanted_blocks(tree, segment, limit_blocks);
        if (kept > 0)
            unlink_idle(cache, segment);
        cache->active_tokens += kept * tree->block_tokens;
        if (wanted > kept)
            added += (wanted - kept) * tree->block_tokens;
    }
    if (added == 0)
        return;
    int32_t shared = segment;
    int64_t excess = cache->resident_tokens + added + private_tokens - cache->capacity_tokens;
    if (excess > 0)
        evict(cache, excess);
    for (segment = leaf; segment != shared; segment = tree->parent[segment]) {
        int64_t wanted = wanted_blocks(tree, segment, limit_blocks);
        if (wanted > cache->kept[segment])
            cache->kept[segment] = (int32_t)wanted;
    }
    cache->resident_tokens += added;
    cache->active_tokens += added;
}

int64_t cache_prompt(Cache *cache, int32_t leaf)
{
    const PrefixTree *tree = cache->tree;
    int32_t segment = leaf;
    for (; segment >= 0 && !cache->prompted[segment]; segment = tree->parent[segment])
        cache->prompted[segment] = 1;
    return segment < 0 ? 0 : (int64_t)tree->start[segment] + tree->blocks[segment];
}

void cache_release(Cache *cache, int32_t leaf, int64_t computed_blocks)
{
    const PrefixTree *tree = cache->tree;
    for (int32_t segment = leaf; segment >= 0; segment = tree->parent[segment]) {
        if (--cache->users[segment] > 0)
            return;
        int64_t kept = cache->kept[segment];
        int64_t left = wanted_blocks(tree, segment, computed_blocks);
        if (left > kept)
            left = kept;
        cache->active_tokens -= kept * tree->block_tokens;
        cache->resident_tokens -= (kept - left) * tree->block_tokens;
        cache->kept[segment] = (int32_t)left;
        if (left > 0)
            append_idle(cache, segment);
    }
}
