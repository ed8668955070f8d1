/* Pretokenizers: where a text is cut before bytes are merged. Each is a hand-written form of a published pattern. */
#ifndef INFEROMETER_SCAN_H
#define INFEROMETER_SCAN_H

#include <stddef.h>
#include <stdint.h>

enum scan_family {
    SCAN_O200K,
    SCAN_CL100K,
    SCAN_LLAMA3,
    SCAN_QWEN2,
    SCAN_QWEN3_5,
    SCAN_R50K,
    SCAN_TEKKEN,
    SCAN_KIMI,
    SCAN_DEEPSEEK,
    SCAN_FAMILIES
};

/* Return the end of the piece that begins at `start` (< size). The text must be valid UTF-8; what stands before `start`
 * does not matter. */
typedef size_t (*scan_piece)(const uint8_t *text, size_t size, size_t start);

/* NULL for a family that is not known. */
scan_piece scan_of_family(unsigned family);
const char *scan_family_name(unsigned family);

#endif
