/* cl100k and its kin: contractions are pieces of their own, a word takes one character before it.
 *
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,3} | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 *
 * Source: tiktoken_ext/openai_public.py 0.14.0 (cl100k, which puts \s++$ before the newlines; r50k: case-sensitive
 * contractions, only a space before a word, runs of digits, no newlines after punctuation); Llama 3 and GLM-4 (as
 * above); Qwen <= 3 (single digits); Qwen 3.5 (marks count as letters).
 */
#include "scan_common.h"

struct variant {
    uint32_t letters;
    unsigned digits;
    int whole_at_end;
};

static inline size_t piece_end(const uint8_t *text, size_t size, size_t start, struct variant variant)
{
    unsigned length;
    size_t end = start + contraction_length(text, size, start);
    if (end > start)
        return end;
    uint32_t first = class_bit(text, size, start, &length);
    size_t body = first & (variant.letters | DIGITS | NEWLINES) & ~MARKS ? start : start + length;
    if (!(first & (DIGITS | NEWLINES))) {
        end = skip_run(text, size, body, variant.letters);
        if (end > body)
            return end;
        if (first & variant.letters)
            return skip_run(text, size, start, variant.letters);
    }
    if (first & DIGITS)
        return skip_at_most(text, size, start, DIGITS, variant.digits);
    body = text[start] == ' ' ? start + 1 : start;
    end = skip_run(text, size, body, EVERYTHING & ~(variant.letters | DIGITS | SPACES));
    if (end > body)
        return skip_run(text, size, end, NEWLINES);
    return skip_white_space(text, size, start, variant.whole_at_end);
}

size_t scan_cl100k(const uint8_t *text, size_t size, size_t start)
{
    return piece_end(text, size, start, (struct variant){.letters = LETTERS, .digits = 3, .whole_at_end = 1});
}

size_t scan_llama3(const uint8_t *text, size_t size, size_t start)
{
    return piece_end(text, size, start, (struct variant){.letters = LETTERS, .digits = 3});
}

size_t scan_qwen2(const uint8_t *text, size_t size, size_t start)
{
    return piece_end(text, size, start, (struct variant){.letters = LETTERS, .digits = 1});
}

size_t scan_qwen3_5(const uint8_t *text, size_t size, size_t start)
{
    return piece_end(text, size, start, (struct variant){.letters = LETTERS | MARKS, .digits = 1});
}

static size_t gpt2_contraction(const uint8_t *text, size_t size, size_t start)
{
    size_t length = contraction_length(text, size, start);
    for (size_t at = start + 1; at < start + length; at++)
        if (text[at] < 'a' || text[at] > 'z')
            return 0;
    return length;
}

size_t scan_r50k(const uint8_t *text, size_t size, size_t start)
{
    static const uint32_t kinds[] = {LETTERS, DIGITS, EVERYTHING & ~(LETTERS | DIGITS | SPACES)};
    size_t length = gpt2_contraction(text, size, start);
    if (length)
        return start + length;
    size_t body = text[start] == ' ' ? start + 1 : start;
    for (unsigned kind = 0; kind < 3; kind++) {
        size_t end = skip_run(text, size, body, kinds[kind]);
        if (end > body)
            return end;
    }
    size_t end = skip_run(text, size, start, SPACES);
    if (end == size || end == start + 1)
        return end;
    size_t last = end - 1;
    while ((text[last] & 0xC0) == 0x80)
        last--;
    return last > start ? last : end;
}
