#include "wire.h"

#include <string.h>

bool wire_varint(Stretch *message, uint64_t *value)
{
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 64 && message->at < message->end; shift += 7) {
        uint8_t byte = *message->at++;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = sum;
            return shift < 63 || byte < 2;
        }
    }
    return false;
}

/* Read `size` bytes as a number, lowest first; false where there are not so many. */
static bool fixed(Stretch *message, unsigned size, uint64_t *value)
{
    if (wire_size(*message) < size)
        return false;
    uint64_t sum = 0;
    for (unsigned place = 0; place < size; place++)
        sum |= (uint64_t)message->at[place] << (8 * place);
    message->at += size;
    *value = sum;
    return true;
}

bool wire_next(Stretch *message, Field *field)
{
    uint64_t tag, size;
    if (!wire_varint(message, &tag) || tag > UINT32_MAX || tag < 8)
        return false;
    field->number = (uint32_t)(tag >> 3);
    field->type = (uint32_t)(tag & 7);
    switch (field->type) {
    case VARINT:
        return wire_varint(message, &field->value);
    case FIXED64:
        return fixed(message, 8, &field->value);
    case FIXED32:
        return fixed(message, 4, &field->value);
    case BYTES:
        if (!wire_varint(message, &size) || size > wire_size(*message))
            return false;
        field->bytes = (Stretch){message->at, message->at + size};
        message->at += size;
        return true;
    default:
        return false;
    }
}
