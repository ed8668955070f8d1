/* What the scanners share: sets of classes as bit masks, runs over a set, white space. */
#ifndef INFEROMETER_SCAN_COMMON_H
#define INFEROMETER_SCAN_COMMON_H

#include "scan.h"
#include "unicode.h"

/* A set holds bit `class`; the upper sixteen bits stand for the same classes in script Han. */
#define BOTH(bits) ((uint32_t)(bits) | (uint32_t)(bits) << 16)
#define SET(name) BOTH(1u << CLASS_##name)

#define LETTERS (SET(UPPER) | SET(LOWER) | SET(LETTER))
#define DIGITS SET(DIGIT)
#define NEWLINES SET(NEWLINE)
#define SPACES (SET(SPACE) | NEWLINES)
#define MARKS SET(MARK)
#define END_OF_TEXT (1u << CLASS_END)
#define EVERYTHING (~END_OF_TEXT)
#define HAN 0xFFFF0000u

/* The class at `at` as a one-bit set, END_OF_TEXT past the text. */
static inline uint32_t class_bit(const uint8_t *text, size_t size, size_t at, unsigned *length)
{
    if (at >= size) {
        *length = 0;
        return END_OF_TEXT;
    }
    return 1u << class_of(decode_utf8(text + at, length));
}

/* The end of the longest run of characters of `set` from `at`. */
static inline size_t skip_run(const uint8_t *text, size_t size, size_t at, uint32_t set)
{
    unsigned length;
    while (class_bit(text, size, at, &length) & set)
        at += length;
    return at;
}

static inline size_t skip_at_most(const uint8_t *text, size_t size, size_t at, uint32_t set, unsigned limit)
{
    unsigned length;
    while (limit-- && class_bit(text, size, at, &length) & set)
        at += length;
    return at;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d) at an apostrophe: its length, 0 where there is none. U+017F folds to s. */
static inline size_t contraction_length(const uint8_t *text, size_t size, size_t at)
{
    if (at + 1 >= size || text[at] != '\'')
        return 0;
    uint8_t first = text[at + 1] | 0x20;
    if (first == 's' || first == 't' || first == 'm' || first == 'd')
        return 2;
    if (at + 2 >= size)
        return 0;
    if (text[at + 1] == 0xC5 && text[at + 2] == 0xBF)
        return 3;
    uint8_t second = text[at + 2] | 0x20;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l'))
        return 3;
    return 0;
}

/* `\s*[\r\n]+|\s+(?!\S)|\s+` at white space; `whole_at_end` puts `\s++$` before it. */
static inline size_t skip_white_space(const uint8_t *text, size_t size, size_t start, int whole_at_end)
{
    size_t at = start, last = start, after_newline = start;
    unsigned length;
    uint32_t bit;
    while ((bit = class_bit(text, size, at, &length)) & SPACES) {
        last = at;
        at += length;
        if (bit & NEWLINES)
            after_newline = at;
    }
    if (whole_at_end && at == size)
        return at;
    if (after_newline > start)
        return after_newline;
    return at == size || last == start ? at : last;
}

#endif
