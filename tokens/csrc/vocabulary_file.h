/* What the writer and the reader of compiled vocabularies share. */
#ifndef INFEROMETER_VOCABULARY_FILE_H
#define INFEROMETER_VOCABULARY_FILE_H

#include "vocabulary.h"

#define VOCABULARY_MAGIC "INFVOCAB"

/* Four streams, so that checking tens of megabytes takes a few milliseconds. */
static inline uint64_t hash_block(const uint8_t *bytes, size_t size)
{
    uint64_t states[4] = {1, 2, 3, 4};
    size_t at = 0;
    for (; at + 64 <= size; at += 64)
        for (unsigned lane = 0; lane < 4; lane++)
            states[lane] = multiply_fold(load64(bytes + at + 16 * lane) ^ states[lane] ^ 0xA0761D6478BD642Fu,
                                         load64(bytes + at + 16 * lane + 8) ^ 0xE7037ED1A0B428DBu);
    return hash_bytes((const uint8_t *)states, sizeof states) ^ hash_bytes(bytes + at, size - at);
}

static inline uint64_t header_checksum(const struct vocabulary_header *header)
{
    return hash_bytes((const uint8_t *)header, offsetof(struct vocabulary_header, header_checksum));
}

#endif
