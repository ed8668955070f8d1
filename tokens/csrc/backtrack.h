/* Encoding one piece from left to right in linear time, whatever its length. */
#ifndef INFEROMETER_BACKTRACK_H
#define INFEROMETER_BACKTRACK_H

#include "vocabulary.h"

/* Write the tokens of a piece to `tokens` (room for `size`) and return their number. `dead` has a bit for every position
 * of the piece, size / 64 + 1 words, all zero. */
size_t backtrack_piece(const struct vocabulary *v, const uint8_t *piece, size_t size, uint32_t *tokens, uint64_t *dead);

/* Merge parts of a text until no pair is left, the lowest pair first, of equals the one further left. Return how many
 * remain. Takes the square of the time. */
size_t merge_parts(const struct vocabulary *v, uint32_t *parts, size_t count);

#endif
