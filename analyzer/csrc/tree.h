/* The prefix tree of a workload: every chain of block hashes is a path from a root, and a run of blocks that no chain
 * leaves or ends inside is one segment, so that walking a chain costs its branches, not its blocks.
 *
 *      segment 0 [b0 b1 b2 b3] --- segment 1 [b4 b5]          chain of call A ends in 1
 *                            \--- segment 2 [b4' b5' b6']     chain of call B ends in 2
 */
#ifndef INFEROMETER_TREE_H
#define INFEROMETER_TREE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct PrefixTree {
    int64_t segments;     /* those of the workload, then `spare` ones whose length is set at run time */
    int64_t spare;
    int64_t block_tokens;
    int32_t *parent;      /* -1: a root; a parent's number is lower than its children's */
    int32_t *blocks;      /* length of the segment */
    int32_t *start;       /* blocks above the segment */
} PrefixTree;

/* Copy `segments` parents and lengths, leaving room for `spare` more roots.
 * Returns 0, -1 without memory, or 1 + the number of the first segment whose parent does not precede it. */
int64_t tree_open(PrefixTree *tree, int64_t segments, const int32_t *parent, const int32_t *blocks, int64_t spare,
                  int64_t block_tokens);
void tree_close(PrefixTree *tree);

typedef struct TreeBuild {
    int32_t *leaf;        /* per chain: the segment it ends in, -1 for an empty chain */
    int32_t *parent, *blocks;
    int64_t segments;
    int64_t unique_blocks;
    int64_t unchained;    /* chains cut short because a later block was known and an earlier one not */
} TreeBuild;

/* Build the tree of chains given as concatenated hashes, chain i being hashes[offsets[i]..offsets[i+1]).
 * Known prefixes are found by bisection, for a hash covers all blocks before it. Returns false without memory. */
bool tree_build(TreeBuild *build, int64_t chains, const int64_t *offsets, const uint64_t *hashes);
void tree_build_close(TreeBuild *build);

#endif
