/* A binary min-heap of (key, item), ties broken by the lower item, so that the order never depends on history. */
#ifndef INFEROMETER_HEAP_H
#define INFEROMETER_HEAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct HeapEntry {
    int64_t key;
    int64_t item;
} HeapEntry;

typedef struct Heap {
    HeapEntry *entries;
    int64_t count, capacity;
    int32_t *places; /* place of each item, -1 outside; NULL where items are never removed from the middle */
} Heap;

/* Prepare an empty heap; `items` > 0 allows heap_remove of items 0..items-1. Returns false without memory. */
bool heap_open(Heap *heap, int64_t items);
void heap_close(Heap *heap);
/* Add an entry. Returns false without memory. */
bool heap_push(Heap *heap, int64_t key, int64_t item);
/* Take the least entry off a heap that is not empty. */
HeapEntry heap_pop(Heap *heap);
/* Take an item out of a heap that tracks places; nothing happens where it is not in. */
void heap_remove(Heap *heap, int64_t item);

/* A time as a key: the bits of a non-negative double sort as the number does. */
static inline int64_t key_of_time(double seconds)
{
    union { double number; int64_t bits; } both = {.number = seconds + 0.0};
    return both.bits;
}

static inline double time_of_key(int64_t key)
{
    union { double number; int64_t bits; } both = {.bits = key};
    return both.number;
}

#endif
