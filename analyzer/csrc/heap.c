#include "heap.h"

#include <stdlib.h>
#include <string.h>

bool heap_open(Heap *heap, int64_t items)
{
    memset(heap, 0, sizeof *heap);
    if (items > 0) {
        heap->places = malloc((size_t)items * sizeof *heap->places);
        if (!heap->places)
            return false;
        memset(heap->places, 0xff, (size_t)items * sizeof *heap->places);
    }
    return true;
}

void heap_close(Heap *heap)
{
    free(heap->entries);
    free(heap->places);
    memset(heap, 0, sizeof *heap);
}

static bool before(HeapEntry a, HeapEntry b)
{
    return a.key < b.key || (a.key == b.key && a.item < b.item);
}

static void put(Heap *heap, int64_t place, HeapEntry entry)
{
    heap->entries[place] = entry;
    if (heap->places)
        heap->places[entry.item] = (int32_t)place;
}

static void sift_up(Heap *heap, int64_t place, HeapEntry entry)
{
    while (place > 0) {
        int64_t above = (place - 1) / 2;
        if (!before(entry, heap->entries[above]))
            break;
        put(heap, place, heap->entries[above]);
        place = above;
    }
    put(heap, place, entry);
}

static void sift_down(Heap *heap, int64_t place, HeapEntry entry)
{
    int64_t below;
    while ((below = 2 * place + 1) < heap->count) {
        if (below + 1 < heap->count && before(heap->entries[below + 1], heap->entries[below]))
            below++;
        if (!before(heap->entries[below], entry))
            break;
        put(heap, place, heap->entries[below]);
        place = below;
    }
    put(heap, place, entry);
}

bool heap_push(Heap *heap, int64_t key, int64_t item)
{
    if (heap->count == heap->capacity) {
        int64_t wanted = heap->capacity ? 2 * heap->capacity : 64;
        HeapEntry *grown = realloc(heap->entries, (size_t)wanted * sizeof *grown);
        if (!grown)
            return false;
        heap->entries = grown;
        heap->capacity = wanted;
    }
    sift_up(heap, heap->count++, (HeapEntry){key, item});
    return true;
}

HeapEntry heap_pop(Heap *heap)
{
    HeapEntry least = heap->entries[0];
    HeapEntry last = heap->entries[--heap->count];
    if (heap->places)
        heap->places[least.item] = -1;
    if (heap->count > 0)
        sift_down(heap, 0, last);
    return least;
}

void heap_remove(Heap *heap, int64_t item)
{
    int32_t place = heap->places[item];
    if (place < 0)
        return;
    HeapEntry last = heap->entries[--heap->count];
    heap->places[item] = -1;
    if (place == heap->count)
        return;
    if (place > 0 && before(last, heap->entries[(place - 1) / 2]))
        sift_up(heap, place, last);
    else
        sift_down(heap, place, last);
}
