/* o200k and its kin: words break where a capital follows a small letter, contractions stay with their word.
 *
 *   [^\r\n\p{L}\p{N}]?X*Y+C? | [^\r\n\p{L}\p{N}]?X+Y*C? | \p{N}{1,3} | ?[^\s\p{L}\p{N}]+[\r\n/]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 *   X = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]   Y = [\p{Ll}\p{Lm}\p{Lo}\p{M}]   C = (?i:'s|'t|'re|'ve|'m|'ll|'d)
 *
 * Source: tiktoken_ext/openai_public.py 0.14.0 (o200k); tekken.json `config.pattern` (no C, single digits); Kimi's
 * tokenization_kimi.py ([\p{Han}]+ first, X and Y without Han, no slash in the tail).
 */
#include "scan_common.h"

#define BOTH_CASES (SET(LETTER) | MARKS)
#define X_SET (SET(UPPER) | BOTH_CASES)
#define Y_SET (SET(LOWER) | BOTH_CASES)
#define PREFIX_SET (EVERYTHING & ~(LETTERS | DIGITS | NEWLINES))
#define PUNCTUATION_SET (EVERYTHING & ~(LETTERS | DIGITS | SPACES))

struct variant {
    uint32_t word_mask; /* what X and Y are cut down to */
    unsigned digits;
    int contractions, slash_in_tail, han_first;
};

/* X*Y+ from `at`; 0 where it does not match. X* gives back as little as lets Y+ match: where no small letter follows,
 * that leaves for Y the last character that both sets hold. */
static inline size_t mixed_word(const uint8_t *text, size_t size, size_t at, uint32_t x_set, uint32_t y_set)
{
    size_t after_shared = 0;
    unsigned length;
    uint32_t bit;
    while ((bit = class_bit(text, size, at, &length)) & x_set) {
        at += length;
        if (bit & y_set)
            after_shared = at;
    }
    return bit & y_set ? skip_run(text, size, at, y_set) : after_shared;
}

static inline size_t word_end(const uint8_t *text, size_t size, size_t start, struct variant variant)
{
    uint32_t x_set = X_SET & variant.word_mask, y_set = Y_SET & variant.word_mask;
    unsigned length;
    uint32_t first = class_bit(text, size, start, &length);
    size_t body = first & PREFIX_SET ? start + length : start;
    size_t end = mixed_word(text, size, body, x_set, y_set);
    if (!end && body != start)
        end = mixed_word(text, size, start, x_set, y_set);
    if (!end) {
        end = skip_run(text, size, body, x_set);
        end = end > body ? end : 0;
    }
    return end && variant.contractions ? end + contraction_length(text, size, end) : end;
}

static inline size_t piece_end(const uint8_t *text, size_t size, size_t start, struct variant variant)
{
    unsigned length;
    uint32_t first = class_bit(text, size, start, &length);
    if (variant.han_first && first & HAN)
        return skip_run(text, size, start, HAN);
    if (first & ~(DIGITS | NEWLINES)) {
        size_t end = word_end(text, size, start, variant);
        if (end)
            return end;
    }
    if (first & DIGITS)
        return skip_at_most(text, size, start, DIGITS, variant.digits);
    size_t body = text[start] == ' ' ? start + 1 : start;
    size_t end = skip_run(text, size, body, PUNCTUATION_SET);
    if (end > body) {
        while (end < size && (text[end] == '\r' || text[end] == '\n' || (variant.slash_in_tail && text[end] == '/')))
            end++;
        return end;
    }
    if (first & SPACES)
        return skip_white_space(text, size, start, 0);
    return start + length; /* a Han letter outside every alternative cannot be; never stand still all the same */
}

size_t scan_o200k(const uint8_t *text, size_t size, size_t start)
{
    return piece_end(text, size, start, (struct variant){.word_mask = ~0u, .digits = 3, .contractions = 1, .slash_in_tail = 1});
}

size_t scan_tekken(const uint8_t *text, size_t size, size_t start)
{
    return piece_end(text, size, start, (struct variant){.word_mask = ~0u, .digits = 1, .slash_in_tail = 1});
}

size_t scan_kimi(const uint8_t *text, size_t size, size_t start)
{
    return piece_end(text, size, start, (struct variant){.word_mask = ~HAN, .digits = 3, .contractions = 1, .han_first = 1});
}
