/* DeepSeek V3: three successive splits, each cutting what the one before left over, so the text of the last one ends
 * wherever a digit or a CJK character stands.
 *
 *   \p{N}{1,3}     [一-龥぀-ゟ゠-ヿ]+
 *   [!-/:-~][A-Za-z]+ | [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+ | ?[\p{P}\p{S}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 *
 * What no alternative matches becomes a piece up to the next match. Source: tokenizer.json of DeepSeek-V3.
 */
#include "scan_common.h"

#define WORD_SET (LETTERS | MARKS)
#define SIGN_SET (SET(PUNCTUATION) | SET(SYMBOL))

static inline int is_cjk(uint32_t code_point)
{
    return (code_point >= 0x4E00 && code_point <= 0x9FA5) || (code_point >= 0x3040 && code_point <= 0x30FF);
}

static inline int is_ascii_letter(uint8_t byte)
{
    return (uint8_t)((byte | 0x20) - 'a') < 26;
}

static size_t cjk_end(const uint8_t *text, size_t size, size_t at)
{
    unsigned length;
    while (at < size && is_cjk(decode_utf8(text + at, &length)))
        at += length;
    return at;
}

/* The end of the stretch that holds neither digits nor CJK. */
static size_t stretch_end(const uint8_t *text, size_t size, size_t at)
{
    unsigned length;
    while (at < size) {
        uint32_t code_point = decode_utf8(text + at, &length);
        if (1u << class_of(code_point) & DIGITS || is_cjk(code_point))
            break;
        at += length;
    }
    return at;
}

/* The third split at `start`; 0 where nothing matches. */
static size_t match_end(const uint8_t *text, size_t size, size_t start)
{
    unsigned length;
    uint32_t first = class_bit(text, size, start, &length);
    if (text[start] < 0x80 && first & SIGN_SET && start + 1 < size && is_ascii_letter(text[start + 1])) {
        size_t end = start + 1;
        while (end < size && is_ascii_letter(text[end]))
            end++;
        return end;
    }
    size_t body = first & (LETTERS | SIGN_SET | NEWLINES) ? start : start + length;
    size_t end = skip_run(text, size, body, WORD_SET);
    if (end > body)
        return end;
    if (first & WORD_SET)
        return skip_run(text, size, start, WORD_SET);
    body = text[start] == ' ' ? start + 1 : start;
    end = skip_run(text, size, body, SIGN_SET);
    if (end > body)
        return skip_run(text, size, end, NEWLINES);
    return first & SPACES ? skip_white_space(text, size, start, 0) : 0;
}

size_t scan_deepseek(const uint8_t *text, size_t size, size_t start)
{
    unsigned length;
    uint32_t code_point = decode_utf8(text + start, &length);
    if (1u << class_of(code_point) & DIGITS)
        return skip_at_most(text, size, start, DIGITS, 3);
    if (is_cjk(code_point))
        return cjk_end(text, size, start);
    size_t stretch = stretch_end(text, size, start), end = match_end(text, stretch, start);
    for (size_t at = start; !end; at += length) {
        decode_utf8(text + at, &length);
        if (at + length >= stretch)
            return stretch;
        if (match_end(text, stretch, at + length))
            return at + length;
    }
    return end;
}
