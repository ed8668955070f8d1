/* The plain loop: piece by piece. */
#include "encoder.h"

#include <stdlib.h>

#include "merge.h"

static int reserve(struct encoder *encoder, size_t size)
{
    if (size <= encoder->capacity)
        return 0;
    size_t capacity = size < 1024 ? 1024 : size + size / 2;
    uint32_t *tokens = realloc(encoder->tokens, capacity * sizeof *tokens);
    if (!tokens)
        return -1;
    encoder->tokens = tokens;
    encoder->capacity = capacity;
    return 0;
}

size_t encode_text(struct encoder *encoder, const struct vocabulary *v, const uint8_t *text, size_t size,
                   token_sink sink, void *state)
{
    size_t total = 0;
    for (size_t start = 0, end; start < size; start = end) {
        end = v->scan(text, size, start);
        if (reserve(encoder, end - start))
            return SIZE_MAX;
        uint32_t *tokens = encoder->tokens;
        size_t count = 1;
        tokens[0] = find_piece(v, text + start, end - start);
        if (tokens[0] == NO_TOKEN)
            count = merge_piece(v, text + start, end - start, tokens);
        if (count == SIZE_MAX)
            return SIZE_MAX;
        total += count;
        if (!sink)
            continue;
        for (size_t at = 0; at < count; at++)
            tokens[at] = v->ids[tokens[at]];
        if (sink(state, tokens, count))
            return SIZE_MAX;
    }
    return total;
}

void encoder_release(struct encoder *encoder)
{
    free(encoder->tokens);
    *encoder = (struct encoder){0};
}
