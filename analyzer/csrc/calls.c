#include "calls.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS(X)                                                                                                     \
    X(input_tokens) X(output_tokens) X(leaf) X(priority) X(ready_s) X(entered_s) X(first_s) X(end_s) X(busy_s)         \
    X(hit_tokens) X(loaded_tokens) X(produced_tokens) X(rank) X(preemptions) X(replica) X(status) X(kv_arrived)        \
    X(tail_leaf) X(tail_blocks) X(reused_tokens) X(admitted_s)

static bool grow(Calls *calls, int64_t capacity)
{
#define GROW(column)                                                                                                   \
    {                                                                                                                  \
        void *grown = realloc(calls->column, (size_t)capacity * sizeof *calls->column);                                \
        if (!grown)                                                                                                    \
            return false;                                                                                              \
        calls->column = grown;                                                                                         \
        memset(calls->column + calls->capacity, 0, (size_t)(capacity - calls->capacity) * sizeof *calls->column);      \
    }
    COLUMNS(GROW)
#undef GROW
    calls->capacity = capacity;
    return true;
}

bool calls_open(Calls *calls, int64_t capacity)
{
    memset(calls, 0, sizeof *calls);
    if (grow(calls, capacity + 1))
        return true;
    calls_close(calls);
    return false;
}

void calls_close(Calls *calls)
{
#define FREE(column) free(calls->column);
    COLUMNS(FREE)
#undef FREE
    memset(calls, 0, sizeof *calls);
}

int64_t calls_append(Calls *calls, int32_t input_tokens, int32_t output_tokens, int32_t leaf, uint8_t priority)
{
    if (calls->count == calls->capacity && !grow(calls, calls->capacity * 2))
        return -1;
    int64_t call = calls->count++;
    calls->input_tokens[call] = input_tokens;
    calls->output_tokens[call] = output_tokens;
    calls->leaf[call] = leaf;
    calls->priority[call] = priority;
    calls->tail_leaf[call] = -1;
    return call;
}
