/* The protobuf wire format, read in place: a message is a stretch of bytes, a field a tag and what follows it.
 *
 *     tag     varint, number << 3 | wire type
 *     VARINT  1 to 10 bytes, 7 bits each, lowest first       FIXED64  8 bytes, little endian
 *     BYTES   varint length, then so many bytes               FIXED32  4 bytes, little endian
 *
 * Source: protobuf.dev, Encoding (2025). Groups are not read.
 */
#ifndef INFEROMETER_WIRE_H
#define INFEROMETER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct {
    const uint8_t *at, *end;
} Stretch;

/* `value` holds a VARINT, FIXED64 or FIXED32, `bytes` the content of BYTES. */
typedef struct {
    uint32_t number;
    uint32_t type;
    uint64_t value;
    Stretch bytes;
} Field;

/* Read a varint; false where it is cut off or too long. */
bool wire_varint(Stretch *message, uint64_t *value);

/* Read the next field of a message that is not at its end; false where it is broken or of a type that is not read. */
bool wire_next(Stretch *message, Field *field);

static inline size_t wire_size(Stretch bytes)
{
    return (size_t)(bytes.end - bytes.at);
}

#endif
