/* Runs of ASCII a word at a time, the rest one by one. */
#include "transcode.h"

#include <string.h>

size_t utf8_room(unsigned width, size_t length)
{
    return length * (width == 1 ? 2 : width == 2 ? 3 : 4) + 8;
}

static inline uint8_t *put(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (uint8_t)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (uint8_t)(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (uint8_t)(0xE0 | c >> 12);
        } else {
            *out++ = (uint8_t)(0xF0 | c >> 18);
            *out++ = (uint8_t)(0x80 | (c >> 12 & 0x3F));
        }
        *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    }
    *out++ = (uint8_t)(0x80 | (c & 0x3F));
    return out;
}

static uint8_t *write_bytes(const uint8_t *in, size_t length, uint8_t *out)
{
    for (size_t at = 0; at < length;) {
        uint64_t word;
        if (length - at >= 8 && (memcpy(&word, in + at, 8), !(word & 0x8080808080808080u))) {
            memcpy(out, &word, 8);
            out += 8, at += 8;
            continue;
        }
        out = put(out, in[at++]);
    }
    return out;
}

/* Defines the loop for characters of two or four bytes; `step` of them that are ASCII go at once. */
#define DEFINE_WRITER(name, type, step)                                                                    \
    static uint8_t *name(const type *in, size_t length, uint8_t *out)                                      \
    {                                                                                                      \
        for (size_t at = 0; at < length;) {                                                                \
            type seen = 0x80;                                                                              \
            if (length - at >= (step)) {                                                                   \
                seen = 0;                                                                                  \
                for (unsigned next = 0; next < (step); next++)                                             \
                    seen |= in[at + next];                                                                 \
            }                                                                                              \
            if (seen < 0x80) {                                                                             \
                for (unsigned next = 0; next < (step); next++)                                             \
                    out[next] = (uint8_t)in[at + next];                                                    \
                out += (step), at += (step);                                                               \
                continue;                                                                                  \
            }                                                                                              \
            uint32_t c = in[at++];                                                                         \
            if (c >= 0xD800 && c < 0xE000) {                                                               \
                uint32_t low = c < 0xDC00 && at < length ? in[at] : 0;                                     \
                int paired = low >= 0xDC00 && low < 0xE000;                                                \
                c = paired ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;                     \
                at += (size_t)paired;                                                                      \
            }                                                                                              \
            out = put(out, c);                                                                             \
        }                                                                                                  \
        return out;                                                                                        \
    }

DEFINE_WRITER(write_pairs, uint16_t, 16)
DEFINE_WRITER(write_quads, uint32_t, 8)

size_t write_utf8(const void *characters, unsigned width, size_t length, uint8_t *out)
{
    uint8_t *end = width == 1   ? write_bytes(characters, length, out)
                   : width == 2 ? write_pairs(characters, length, out)
                                : write_quads(characters, length, out);
    return (size_t)(end - out);
}
