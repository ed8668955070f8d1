/* Short pieces by looking through all ranks, long ones with a heap: O(n log n). */
#include "merge.h"

#include <stdlib.h>

#define SHORT_PIECE 96

static size_t merge_short(const struct vocabulary *v, const uint8_t *piece, size_t size, uint32_t *tokens)
{
    uint32_t merged[SHORT_PIECE];
    for (size_t at = 0; at < size; at++)
        tokens[at] = v->byte_tokens[piece[at]];
    for (size_t at = 0; at + 1 < size; at++)
        merged[at] = find_pair(v, tokens[at], tokens[at + 1]);
    while (size > 1) {
        size_t best = 0;
        for (size_t at = 1; at + 1 < size; at++)
            best = merged[at] < merged[best] ? at : best;
        if (merged[best] == NO_TOKEN)
            break;
        tokens[best] = merged[best];
        size--;
        memmove(tokens + best + 1, tokens + best + 2, (size - best - 1) * sizeof *tokens);
        memmove(merged + best, merged + best + 1, (size - best - 1) * sizeof *merged);
        if (best + 1 < size)
            merged[best] = find_pair(v, tokens[best], tokens[best + 1]);
        if (best)
            merged[best - 1] = find_pair(v, tokens[best - 1], tokens[best]);
    }
    return size;
}

/* A heap of (merged token, position), least first; entries that a later merge made stale are dropped when they surface. */
struct heap {
    uint64_t *entries;
    size_t count;
};

static void heap_push(struct heap *heap, uint64_t entry)
{
    size_t at = heap->count++;
    while (at && heap->entries[(at - 1) / 2] > entry) {
        heap->entries[at] = heap->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->entries[at] = entry;
}

static uint64_t heap_pop(struct heap *heap)
{
    uint64_t least = heap->entries[0], last = heap->entries[--heap->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && heap->entries[child + 1] < heap->entries[child])
            child++;
        if (heap->entries[child] >= last)
            break;
        heap->entries[at] = heap->entries[child];
    }
    heap->entries[at] = last;
    return least;
}

static size_t merge_long(const struct vocabulary *v, const uint8_t *piece, size_t size, uint32_t *tokens)
{
    size_t result = SIZE_MAX;
    if (size >= NO_TOKEN / 4)
        return result;
    uint32_t *next = malloc(2 * size * sizeof *next), *previous = next + size;
    struct heap heap = {.entries = malloc(3 * size * sizeof *heap.entries)};
    if (!next || !heap.entries)
        goto error;
    for (size_t at = 0; at < size; at++) {
        tokens[at] = v->byte_tokens[piece[at]];
        next[at] = (uint32_t)at + 1;
        previous[at] = (uint32_t)at - 1;
    }
    for (size_t at = 0; at + 1 < size; at++) {
        uint32_t merged = find_pair(v, tokens[at], tokens[at + 1]);
        if (merged != NO_TOKEN)
            heap_push(&heap, (uint64_t)merged << 32 | at);
    }
    while (heap.count) {
        uint64_t entry = heap_pop(&heap);
        uint32_t at = (uint32_t)entry, merged = (uint32_t)(entry >> 32);
        if (tokens[at] == NO_TOKEN || next[at] >= size || find_pair(v, tokens[at], tokens[next[at]]) != merged)
            continue;
        uint32_t gone = next[at];
        tokens[at] = merged;
        tokens[gone] = NO_TOKEN;
        next[at] = next[gone];
        if (next[at] < size) {
            previous[next[at]] = at;
            merged = find_pair(v, tokens[at], tokens[next[at]]);
            if (merged != NO_TOKEN)
                heap_push(&heap, (uint64_t)merged << 32 | at);
        }
        if (at) {
            uint32_t before = previous[at];
            merged = find_pair(v, tokens[before], tokens[at]);
            if (merged != NO_TOKEN)
                heap_push(&heap, (uint64_t)merged << 32 | before);
        }
    }
    result = 0;
    for (size_t at = 0; at < size; at = next[at])
        tokens[result++] = tokens[at];
error:
    free(heap.entries);
    free(next);
    return result;
}

size_t merge_piece(const struct vocabulary *v, const uint8_t *piece, size_t size, uint32_t *tokens)
{
    return size <= SHORT_PIECE ? merge_short(v, piece, size, tokens) : merge_long(v, piece, size, tokens);
}
