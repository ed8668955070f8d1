/* Classes of code points, Unicode 16.0, and decoding of UTF-8 that is known to be valid. */
#ifndef INFEROMETER_UNICODE_H
#define INFEROMETER_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum char_class {
    CLASS_OTHER,
    CLASS_UPPER,  /* Lu, Lt */
    CLASS_LOWER,  /* Ll */
    CLASS_LETTER, /* Lm, Lo */
    CLASS_MARK,
    CLASS_DIGIT, /* N: also Roman numerals and fractions */
    CLASS_SPACE, /* White_Space but for CR and LF */
    CLASS_NEWLINE,
    CLASS_PUNCTUATION,
    CLASS_SYMBOL,
    CLASS_END = 15, /* past the text */
    CLASS_HAN = 16  /* flag: script Han */
};

extern const char unicode_version[];
extern const uint8_t unicode_page[];
extern const uint8_t unicode_class[];

static inline unsigned class_of(uint32_t code_point)
{
    return unicode_class[((size_t)unicode_page[code_point >> 7] << 7) | (code_point & 127)];
}

/* The code point at s and its length; s must hold a whole, valid sequence. */
static inline uint32_t decode_utf8(const uint8_t *s, unsigned *length)
{
    uint32_t lead = s[0];
    if (lead < 0x80) {
        *length = 1;
        return lead;
    }
    if (lead < 0xE0) {
        *length = 2;
        return (lead & 0x1F) << 6 | (s[1] & 0x3F);
    }
    if (lead < 0xF0) {
        *length = 3;
        return (lead & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    }
    *length = 4;
    return (lead & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 | (uint32_t)(s[2] & 0x3F) << 6 | (s[3] & 0x3F);
}

#endif
