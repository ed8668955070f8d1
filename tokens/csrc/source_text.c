/* Where a text may be cut so that counting both parts is counting the whole. */
#include "source_text.h"

#include <stdlib.h>

#include "transcode.h"
#include "unicode.h"

#define WINDOW ((size_t)1 << 15) /* characters: what is written stays in the second cache until it is read */
#define LARGEST_WINDOW ((size_t)1 << 31)
#define GLANCE 16u /* characters */

static inline uint32_t character(struct source_text text, size_t at)
{
    switch (text.width) {
    case 2:
        return ((const uint16_t *)text.characters)[at];
    case 4:
        return ((const uint32_t *)text.characters)[at];
    default:
        return ((const uint8_t *)text.characters)[at];
    }
}

static inline int is_ascii_letter(uint32_t c)
{
    return (c | 0x20) - 'a' < 26;
}

static int is_letter(uint32_t c)
{
    unsigned class = class_of(c) & 15;
    return class == CLASS_UPPER || class == CLASS_LOWER || class == CLASS_LETTER;
}

static int is_white(uint32_t c)
{
    unsigned class = class_of(c) & 15;
    return class == CLASS_SPACE || class == CLASS_NEWLINE;
}

/* Every pattern ends a piece between a letter and " x", and between a single line break and a letter; and what comes
 * before is cut the same at the end of a text. */
static int is_safe_cut(struct source_text text, size_t at)
{
    uint32_t before = character(text, at - 1), after = character(text, at);
    if (after == ' ')
        return is_ascii_letter(before) && at + 1 < text.length && is_ascii_letter(character(text, at + 1));
    return before == '\n' && at > 1 && is_letter(after) && !is_white(character(text, at - 2));
}

/* Defines whether one of the GLANCE places from `here` on may be a safe cut; reads a character more at either side. Without
 * branches, so that any compiler makes vectors of it. */
#define DEFINE_GLANCE(name, type)                                                              \
    static int name(const type *here)                                                          \
    {                                                                                          \
        type found = 0;                                                                        \
        for (int at = 0; at < (int)GLANCE; at++) {                                             \
            type before = here[at - 1], after = here[at], next = here[at + 1];                 \
            type ends_word = (type)((type)((before | 0x20) - 'a') < 26) & (type)(after == ' '); \
            type starts_word = (type)((type)((next | 0x20) - 'a') < 26);                       \
            type starts_line = (type)(before == '\n') & (type)(after > '@');                   \
            found |= (ends_word & starts_word) | starts_line;                                  \
        }                                                                                      \
        return found;                                                                          \
    }

DEFINE_GLANCE(glance_bytes, uint8_t)
DEFINE_GLANCE(glance_pairs, uint16_t)

static int may_be_cut_near(struct source_text text, size_t at)
{
    if (text.width == 4)
        return 1;
    return text.width == 2 ? glance_pairs((const uint16_t *)text.characters + at)
                           : glance_bytes((const uint8_t *)text.characters + at);
}

size_t next_safe_cut(struct source_text text, size_t at)
{
    while (at < text.length) {
        int near_end = text.length - at <= GLANCE;
        size_t end = near_end ? text.length : at + GLANCE;
        for (at = near_end || may_be_cut_near(text, at) ? at : end; at < end; at++)
            if (is_safe_cut(text, at))
                return at;
    }
    return text.length;
}

size_t last_safe_cut(struct source_text text)
{
    size_t at = text.length ? text.length - 1 : 0;
    while (at && !is_safe_cut(text, at))
        at--;
    return at;
}

/* The end of the window that begins at `start`: the end of the text, or the last safe cut; 0 where there is none. */
static size_t window_end(struct source_text text, size_t start)
{
    for (size_t size = WINDOW; size <= LARGEST_WINDOW; size *= 2) {
        if (text.length - start <= size)
            return text.length;
        for (size_t at = start + size; at > start + size / 2; at--)
            if (is_safe_cut(text, at))
                return at;
    }
    return 0;
}

/* Scratch lives as long as the encoder: pages that come and go with every call cost more than the counting. */
static int reserve_scratch(struct encoder *encoder, size_t room)
{
    if (room <= encoder->scratch_capacity)
        return 0;
    free(encoder->scratch);
    encoder->scratch = malloc(room);
    encoder->scratch_capacity = encoder->scratch ? room : 0;
    return encoder->scratch ? 0 : -1;
}

static size_t walk(struct encoder *encoder, const struct vocabulary *v, struct source_text text, size_t limit, id_sink sink,
                   void *state)
{
    size_t total = 0;
    for (size_t start = 0, end; start < text.length && total <= limit; start = end) {
        end = text.length <= (text.width ? WINDOW : LARGEST_WINDOW) ? text.length : window_end(text, start);
        if (!end)
            return SIZE_MAX;
        const uint8_t *bytes = (const uint8_t *)text.characters + start;
        size_t size = end - start;
        if (text.width) {
            if (reserve_scratch(encoder, utf8_room(text.width, size)))
                return SIZE_MAX;
            size = write_utf8((const uint8_t *)text.characters + start * text.width, text.width, size, encoder->scratch);
            bytes = encoder->scratch;
        }
        size_t count = sink ? encoder_encode(encoder, v, bytes, size, sink, state)
                            : encoder_count(encoder, v, bytes, size, limit - total);
        encoder_trim(encoder);
        if (count == SIZE_MAX)
            return SIZE_MAX;
        total += count;
    }
    return total;
}

size_t count_source(struct encoder *encoder, const struct vocabulary *v, struct source_text text, size_t limit)
{
    return walk(encoder, v, text, limit, 0, 0);
}

size_t encode_source(struct encoder *encoder, const struct vocabulary *v, struct source_text text, id_sink sink,
                     void *state)
{
    return walk(encoder, v, text, SIZE_MAX - 1, sink, state);
}
