/* Building the double array: depth first over the tokens in lexical order. */
#include "trie.h"

#include <stdlib.h>

#define WIDTHS 9u
#define PATIENCE 64u

struct builder {
    const struct vocabulary *v;
    uint32_t *order; /* tokens in lexical order */
    uint64_t *units;
    uint8_t *base_used;
    uint32_t size;
    uint32_t hints[WIDTHS]; /* where to look for room for so many children: before lies little */
};

static uint32_t byte_at(const struct vocabulary *v, uint32_t token, uint32_t depth)
{
    return v->bytes[v->offsets[token] + depth];
}

static int compare_tokens(const struct vocabulary *v, uint32_t a, uint32_t b)
{
    uint32_t size_a = token_size(v, a), size_b = token_size(v, b);
    int order = memcmp(v->bytes + v->offsets[a], v->bytes + v->offsets[b], size_a < size_b ? size_a : size_b);
    return order ? order : (int)size_a - (int)size_b;
}

/* Merge sort, since qsort has no room for the vocabulary. */
static void sort_tokens(const struct vocabulary *v, uint32_t *tokens, uint32_t *spare, size_t count)
{
    if (count < 2)
        return;
    size_t half = count / 2, left = 0, right = half;
    sort_tokens(v, tokens, spare, half);
    sort_tokens(v, tokens + half, spare, count - half);
    memcpy(spare, tokens, count * sizeof *tokens);
    for (size_t at = 0; at < count; at++) {
        int from_left = right == count || (left < half && compare_tokens(v, spare[left], spare[right]) <= 0);
        tokens[at] = from_left ? spare[left++] : spare[right++];
    }
}

static int grow(struct builder *b)
{
    uint32_t size = b->size ? 2 * b->size : 1u << 20;
    if (size > 1u << 24)
        return -1;
    uint64_t *units = realloc(b->units, size * sizeof *units);
    if (units)
        b->units = units;
    uint8_t *base_used = realloc(b->base_used, size);
    if (base_used)
        b->base_used = base_used;
    if (!units || !base_used)
        return -1;
    memset(units + b->size, 0, (size - b->size) * sizeof *units);
    memset(base_used + b->size, 0, size - b->size);
    b->size = size;
    return 0;
}

static int base_fits(const struct builder *b, uint32_t base, const uint8_t *labels, unsigned count)
{
    if (b->base_used[base])
        return 0;
    for (unsigned at = 0; at < count; at++)
        if (b->units[base ^ labels[at]])
            return 0;
    return 1;
}

static uint32_t find_base(struct builder *b, const uint8_t *labels, unsigned count)
{
    uint32_t *hint = &b->hints[count < WIDTHS ? count : WIDTHS - 1];
    unsigned tried = 0;
    for (uint32_t slot = *hint;; slot++) {
        if (slot >= b->size && grow(b))
            return 0;
        if (b->units[slot])
            continue;
        if (!tried++ || tried > PATIENCE)
            *hint = slot;
        if (base_fits(b, slot ^ labels[0], labels, count))
            return slot ^ labels[0];
    }
}

/* Place the children of `unit`, which stands for the tokens [low, high) that agree in `depth` bytes. */
static int place(struct builder *b, uint32_t unit, uint32_t low, uint32_t high, uint32_t depth)
{
    const struct vocabulary *v = b->v;
    if (low < high && token_size(v, b->order[low]) == depth)
        b->units[unit] |= (uint64_t)(b->order[low++] + 1) << 33;
    if (low == high)
        return 0;
    uint8_t labels[256] = {0};
    uint32_t starts[257];
    unsigned count = 0;
    for (uint32_t at = low; at < high; at++) {
        uint8_t byte = (uint8_t)byte_at(v, b->order[at], depth);
        if (!count || labels[count - 1] != byte) {
            starts[count] = at;
            labels[count++] = byte;
        }
    }
    starts[count] = high;
    uint32_t base = find_base(b, labels, count);
    if (!base)
        return -1;
    b->base_used[base] = 1;
    b->units[unit] |= base;
    for (unsigned child = 0; child < count; child++)
        b->units[base ^ labels[child]] = (uint64_t)(labels[child] | 0x100u) << 24;
    for (unsigned child = 0; child < count; child++)
        if (place(b, base ^ labels[child], starts[child], starts[child + 1], depth + 1))
            return -1;
    return 0;
}

uint64_t *trie_build(const struct vocabulary *v, size_t *units)
{
    struct builder b = {.v = v, .order = malloc(2 * (size_t)v->tokens * sizeof *b.order)};
    uint32_t count = 0;
    int failed = !b.order || grow(&b);
    if (!failed) {
        for (uint32_t token = 0; token < v->tokens; token++)
            if (v->splits[token] != NO_SPLIT)
                b.order[count++] = token;
        sort_tokens(v, b.order, b.order + v->tokens, count);
        b.units[0] = 1ull << 24; /* the root: used, but its label is no byte's, since leaves have base 0 too */
        b.base_used[0] = 1;
        failed = place(&b, 0, 0, count, 0);
    }
    free(b.order);
    free(b.base_used);
    if (failed) {
        free(b.units);
        return 0;
    }
    uint32_t last = b.size - 1;
    while (!b.units[last])
        last--;
    *units = (last | 255) + 1;
    return b.units;
}
