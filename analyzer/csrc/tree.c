#include "tree.h"

#include <stdlib.h>
#include <string.h>

int64_t tree_open(PrefixTree *tree, int64_t segments, const int32_t *parent, const int32_t *blocks, int64_t spare,
                  int64_t block_tokens)
{
    size_t room = (size_t)(segments + spare + 1) * sizeof(int32_t);
    *tree = (PrefixTree){.segments = segments, .spare = spare, .block_tokens = block_tokens};
    tree->parent = malloc(room);
    tree->blocks = malloc(room);
    tree->start = malloc(room);
    if (!tree->parent || !tree->blocks || !tree->start) {
        tree_close(tree);
        return -1;
    }
    for (int64_t i = 0; i < segments; i++) {
        if (parent[i] >= i || parent[i] < -1 || blocks[i] < 1) {
            tree_close(tree);
            return i + 1;
        }
        tree->parent[i] = parent[i];
        tree->blocks[i] = blocks[i];
        tree->start[i] = parent[i] < 0 ? 0 : tree->start[parent[i]] + blocks[parent[i]];
    }
    for (int64_t i = segments; i < segments + spare; i++) {
        tree->parent[i] = -1;
        tree->blocks[i] = 0;
        tree->start[i] = 0;
    }
    return 0;
}

void tree_close(PrefixTree *tree)
{
    free(tree->parent);
    free(tree->blocks);
    free(tree->start);
    memset(tree, 0, sizeof *tree);
}

/* Known blocks: an open-addressing table from hash to the block's number, numbers given in order of discovery. */
typedef struct Blocks {
    uint64_t *hashes;
    int32_t *numbers; /* -1: free */
    uint64_t mask;
    int64_t count;
} Blocks;

static uint64_t spread(uint64_t hash)
{
    hash ^= hash >> 32;
    return hash * 0x9E3779B97F4A7C15u >> 7;
}

static bool blocks_open(Blocks *table, uint64_t size)
{
    table->hashes = malloc(size * sizeof *table->hashes);
    table->numbers = malloc(size * sizeof *table->numbers);
    table->mask = size - 1;
    table->count = 0;
    if (!table->hashes || !table->numbers)
        return false;
    memset(table->numbers, 0xff, size * sizeof *table->numbers);
    return true;
}

static void blocks_close(Blocks *table)
{
    free(table->hashes);
    free(table->numbers);
}

static uint64_t blocks_place(const Blocks *table, uint64_t hash)
{
    uint64_t place = spread(hash) & table->mask;
    while (table->numbers[place] >= 0 && table->hashes[place] != hash)
        place = (place + 1) & table->mask;
    return place;
}

static int32_t blocks_find(const Blocks *table, uint64_t hash)
{
    return table->numbers[blocks_place(table, hash)];
}

static bool blocks_add(Blocks *table, uint64_t hash)
{
    if ((uint64_t)table->count * 10 >= (table->mask + 1) * 7) {
        Blocks grown = {0};
        if (!blocks_open(&grown, (table->mask + 1) * 2)) {
            blocks_close(&grown);
            return false;
        }
        for (uint64_t i = 0; i <= table->mask; i++)
            if (table->numbers[i] >= 0) {
                uint64_t place = blocks_place(&grown, table->hashes[i]);
                grown.hashes[place] = table->hashes[i];
                grown.numbers[place] = table->numbers[i];
            }
        grown.count = table->count;
        blocks_close(table);
        *table = grown;
    }
    uint64_t place = blocks_place(table, hash);
    table->hashes[place] = hash;
    table->numbers[place] = (int32_t)table->count++;
    return true;
}

enum { ENDS = 1, BEGINS = 2 };

typedef struct Marks { /* per block, in order of discovery */
    uint8_t *flags;    /* ENDS: a chain ends or branches after it; BEGINS: it does not follow the block before it */
    int32_t *above;    /* of blocks that begin: the block above, -1 for none */
    int32_t *depth;    /* blocks before it in its chains */
    int64_t capacity;
} Marks;

/* Return how many leading blocks of a chain are known, at the depth they are known at. */
static int64_t known_prefix(const Blocks *table, const Marks *marks, const uint64_t *chain, int64_t length)
{
    int64_t low = 0, high = length;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int32_t number = blocks_find(table, chain[middle]);
        if (number >= 0 && marks->depth[number] == middle)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool marks_reserve(Marks *marks, int64_t wanted)
{
    if (wanted <= marks->capacity)
        return true;
    int64_t capacity = marks->capacity ? marks->capacity : 1024;
    while (capacity < wanted)
        capacity *= 2;
    uint8_t *flags = realloc(marks->flags, (size_t)capacity);
    if (flags)
        marks->flags = flags;
    int32_t *above = realloc(marks->above, (size_t)capacity * sizeof *above);
    if (above)
        marks->above = above;
    int32_t *depth = realloc(marks->depth, (size_t)capacity * sizeof *depth);
    if (depth)
        marks->depth = depth;
    if (!flags || !above || !depth)
        return false;
    memset(flags + marks->capacity, 0, (size_t)(capacity - marks->capacity));
    marks->capacity = capacity;
    return true;
}

/* Make a chain's blocks known and note where it branches off and ends; *last is its last block, -1 for none. */
static bool add_chain(Blocks *table, Marks *marks, const uint64_t *chain, int64_t length, int32_t *last,
                      int64_t *unchained)
{
    int64_t known = known_prefix(table, marks, chain, length);
    int32_t above = known ? blocks_find(table, chain[known - 1]) : -1;
    int64_t fresh = known;
    for (; fresh < length; fresh++) {
        if (blocks_find(table, chain[fresh]) >= 0) {
            (*unchained)++;
            break;
        }
        if (!marks_reserve(marks, table->count + 1))
            return false;
        int32_t number = (int32_t)table->count;
        if (!blocks_add(table, chain[fresh]))
            return false;
        marks->depth[number] = (int32_t)fresh;
        if (fresh == known) {
            marks->flags[number] |= BEGINS;
            marks->above[number] = above;
            if (above >= 0)
                marks->flags[above] |= ENDS;
        }
        above = number;
    }
    if (above >= 0)
        marks->flags[above] |= ENDS;
    *last = above;
    return true;
}

/* Join blocks between marks to segments; `leaf` holds last blocks and is turned into segments. */
static bool join_segments(TreeBuild *build, int64_t chains, int64_t blocks, const Marks *marks)
{
    int64_t segments = 0;
    int32_t *segment_of = malloc((size_t)(blocks + 1) * sizeof *segment_of);
    if (!segment_of)
        return false;
    for (int64_t i = 0; i < blocks; i++)
        segments += (marks->flags[i] & BEGINS) || (marks->flags[i - 1] & ENDS);
    build->parent = malloc((size_t)(segments + 1) * sizeof *build->parent);
    build->blocks = calloc((size_t)(segments + 1), sizeof *build->blocks);
    if (!build->parent || !build->blocks) {
        free(segment_of);
        return false;
    }
    int32_t segment = -1;
    for (int64_t i = 0; i < blocks; i++) {
        if (marks->flags[i] & BEGINS) {
            segment++;
            build->parent[segment] = marks->above[i] < 0 ? -1 : segment_of[marks->above[i]];
        } else if (marks->flags[i - 1] & ENDS) {
            segment++;
            build->parent[segment] = segment - 1;
        }
        build->blocks[segment]++;
        segment_of[i] = segment;
    }
    for (int64_t i = 0; i < chains; i++)
        if (build->leaf[i] >= 0)
            build->leaf[i] = segment_of[build->leaf[i]];
    build->segments = segments;
    build->unique_blocks = blocks;
    free(segment_of);
    return true;
}

bool tree_build(TreeBuild *build, int64_t chains, const int64_t *offsets, const uint64_t *hashes)
{
    Blocks table = {0};
    Marks marks = {0};
    bool done = false;
    memset(build, 0, sizeof *build);
    build->leaf = malloc((size_t)(chains + 1) * sizeof *build->leaf);
    if (build->leaf && blocks_open(&table, 4096)) {
        done = true;
        for (int64_t i = 0; done && i < chains; i++)
            done = add_chain(&table, &marks, hashes + offsets[i], offsets[i + 1] - offsets[i], &build->leaf[i],
                             &build->unchained);
        done = done && join_segments(build, chains, table.count, &marks);
    }
    blocks_close(&table);
    free(marks.flags);
    free(marks.above);
    free(marks.depth);
    if (!done)
        tree_build_close(build);
    return done;
}

void tree_build_close(TreeBuild *build)
{
    free(build->leaf);
    free(build->parent);
    free(build->blocks);
    memset(build, 0, sizeof *build);
}
