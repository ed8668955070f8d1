#include "background.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool background_open(Background *background, PrefixTree *tree, uint64_t seed)
{
    size_t spare = (size_t)tree->spare + 1;
    background->tree = tree;
    background->state = seed;
    background->cursor = 0;
    background->left = MOST_BACKGROUND_CALLS;
    background->owner = malloc(spare * sizeof *background->owner);
    background->claimed = calloc(spare, 1);
    if (!background->owner || !background->claimed)
        return false;
    memset(background->owner, 0xff, spare * sizeof *background->owner);
    return true;
}

void background_close(Background *background)
{
    free(background->owner);
    free(background->claimed);
}

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014) */
static uint64_t draw(Background *background)
{
    uint64_t z = (background->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double draw_unit(Background *background)
{
    return (double)(draw(background) >> 11) * 0x1.0p-53;
}

double background_gap(Background *background)
{
    return -log1p(-draw_unit(background)) / background->rate_per_s;
}

int64_t background_row(Background *background)
{
    int64_t row = (int64_t)(draw_unit(background) * (double)background->lengths);
    return row < background->lengths ? row : background->lengths - 1;
}

int32_t background_claim(Background *background, const Cache *const *caches, int32_t replica, int64_t input_tokens)
{
    PrefixTree *tree = background->tree;
    int64_t blocks = input_tokens / tree->block_tokens;
    if (blocks < 1 || tree->spare == 0)
        return -1;
    for (int tries = 0; tries < 8; tries++) {
        int64_t index = background->cursor;
        int64_t segment = tree->segments + index;
        int32_t owner = background->owner[index];
        background->cursor = (index + 1) % tree->spare;
        if (background->claimed[index] || (owner >= 0 && caches[owner]->kept[segment] > 0))
            continue;
        tree->blocks[segment] = (int32_t)blocks;
        background->owner[index] = replica;
        background->claimed[index] = 1;
        return (int32_t)segment;
    }
    return -1;
}

void background_disclaim(Background *background, int32_t leaf)
{
    if (leaf >= background->tree->segments)
        background->claimed[leaf - background->tree->segments] = 0;
}
