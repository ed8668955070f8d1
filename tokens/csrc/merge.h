/* Byte pair merging by rank: the definition of the encoding, used as it stands for pieces no faster way has. */
#ifndef INFEROMETER_MERGE_H
#define INFEROMETER_MERGE_H

#include "vocabulary.h"

/* Write the tokens of a piece that is no token itself to `tokens` (room for `size`); return their number, or SIZE_MAX
 * where memory is short. */
size_t merge_piece(const struct vocabulary *v, const uint8_t *piece, size_t size, uint32_t *tokens);

#endif
