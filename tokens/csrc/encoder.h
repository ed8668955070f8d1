/* From text to tokens: cut into pieces, look each up, merge what is not there. */
#ifndef INFEROMETER_ENCODER_H
#define INFEROMETER_ENCODER_H

#include "prefix_chain.h"
#include "vocabulary.h"

/* Scratch memory of one thread. Start with zeros. */
struct encoder {
    uint32_t *tokens;
    size_t capacity;
};

/* What is done with the tokens besides counting them; NULL for nothing. Ids are the outside numbers. Returns -1 to stop. */
typedef int (*token_sink)(void *state, const uint32_t *ids, size_t count);

/* Count the tokens of valid UTF-8; SIZE_MAX where memory is short. Needs no GIL. */
size_t encode_text(struct encoder *encoder, const struct vocabulary *v, const uint8_t *text, size_t size,
                   token_sink sink, void *state);

void encoder_release(struct encoder *encoder);

#endif
