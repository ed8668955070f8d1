/* Texts as Python holds them, read in windows so that memory stays bounded. */
#ifndef INFEROMETER_SOURCE_TEXT_H
#define INFEROMETER_SOURCE_TEXT_H

#include "encoder.h"

struct source_text {
    const void *characters;
    unsigned width; /* bytes a character: 1, 2, 4; 0 for ASCII, which is UTF-8 as it stands */
    size_t length;
};

/* The first place from `at` on where a text may be cut so that both parts count as the whole does; its length at last. */
size_t next_safe_cut(struct source_text text, size_t at);

/* The last such place; 0 where there is none. */
size_t last_safe_cut(struct source_text text);

/* Count or encode; SIZE_MAX where memory is short, the sink said stop, or 2 GiB hold no place to cut. No GIL needed. */
size_t count_source(struct encoder *encoder, const struct vocabulary *v, struct source_text text, size_t limit);
size_t encode_source(struct encoder *encoder, const struct vocabulary *v, struct source_text text, id_sink sink,
                     void *state);

#endif
