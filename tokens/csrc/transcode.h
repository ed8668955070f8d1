/* From Python's fixed-width characters to UTF-8. */
#ifndef INFEROMETER_TRANSCODE_H
#define INFEROMETER_TRANSCODE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that `length` characters of `width` bytes (1, 2, 4) can take, and a little more for whole words to be written. */
size_t utf8_room(unsigned width, size_t length);

/* Write them and return how many there are. Surrogate pairs become the character they stand for, lone surrogates U+FFFD, as
 * the reference repairs them. */
size_t write_utf8(const void *characters, unsigned width, size_t length, uint8_t *out);

#endif
