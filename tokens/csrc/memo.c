/* Hashing is some twenty times as fast as counting, and what an agent sends is mostly what it sent before. */
#include "memo.h"

#include <stdlib.h>

#include "table.h"

#define LINE 4u
#define MOST_AHEAD 16u
#define READ_AHEAD 2048u /* bytes; texts lie in memory, and the processor itself stops asking ahead where a page ends */

int memo_reserve(struct memo *memo, size_t bytes)
{
    if (memo->entries)
        return 0;
    uint32_t lines = 1;
    while (2 * (size_t)lines * LINE * sizeof *memo->entries <= bytes)
        lines *= 2;
    memo->entries = allocate_table((size_t)lines * LINE * sizeof *memo->entries, 0);
    memo->line_mask = lines - 1;
    return memo->entries ? 0 : -1;
}

void memo_release(struct memo *memo)
{
    free(memo->entries);
    memo->entries = 0;
}

/* Two lanes that each read every byte, so that what one misses by chance (2^-64) the other does not. */
static void digest_bytes(const uint64_t seed[4], const uint8_t *bytes, size_t size, uint64_t digest[2])
{
    uint64_t a = seed[0] ^ digest[0] ^ size, b = seed[1] ^ digest[1] ^ size;
    uint64_t c = seed[2] ^ digest[1], d = seed[3] ^ digest[0];
    uint8_t tail[32] = {0};
    for (;; bytes += 32, size -= 32) {
        if (size < 32) {
            memcpy(tail, bytes, size);
            bytes = tail;
        }
        __builtin_prefetch(bytes + READ_AHEAD);
        uint64_t w0 = load64(bytes), w1 = load64(bytes + 8), w2 = load64(bytes + 16), w3 = load64(bytes + 24);
        a = multiply_fold(w0 ^ a, w1 ^ seed[2]);
        b = multiply_fold(w0 ^ seed[3], w1 ^ b);
        c = multiply_fold(w2 ^ c, w3 ^ seed[1]);
        d = multiply_fold(w2 ^ seed[0], w3 ^ d);
        if (size < 32)
            break;
    }
    digest[0] = multiply_fold(a ^ seed[1], c ^ seed[0]);
    digest[1] = multiply_fold(b ^ seed[3], d ^ seed[2]);
}

void digest_text(const uint64_t seed[4], struct source_text text, uint64_t digest[2])
{
    unsigned width = text.width ? text.width : 1;
    digest[0] ^= width;
    digest_bytes(seed, text.characters, text.length * width, digest);
}

struct segment {
    struct source_text text;
    uint64_t digest[2];
};

static struct memo_entry *line_of(const struct memo *memo, const struct segment *segment)
{
    return memo->entries + LINE * (size_t)((uint32_t)segment->digest[0] & memo->line_mask);
}

/* Cut off the next segments, MOST_AHEAD at most, and ask for their entries: looked up one by one, each would wait for memory.
 * *start moves on. */
static size_t take_segments(const struct memo *memo, struct source_text text, size_t *start, struct segment *segments)
{
    size_t count = 0, unit = text.width ? text.width : 1;
    for (size_t end; count < MOST_AHEAD && *start < text.length; *start = end) {
        struct segment *segment = segments + count++;
        end = next_safe_cut(text, *start + SEGMENT);
        segment->text = (struct source_text){(const uint8_t *)text.characters + *start * unit, text.width, end - *start};
        segment->digest[0] = segment->digest[1] = 0;
        digest_text(memo->seed, segment->text, segment->digest);
        __builtin_prefetch(line_of(memo, segment));
        __builtin_prefetch(line_of(memo, segment) + LINE / 2); /* a line of entries takes two of the cache */
    }
    return count;
}

/* The entry of a segment, or with *known = 0 the one that gives way to it. */
static struct memo_entry *find_entry(const struct memo *memo, const struct segment *segment, int *known)
{
    struct memo_entry *line = line_of(memo, segment);
    unsigned found = LINE, oldest = 0;
    for (unsigned at = 0; at < LINE; at++) { /* without branches: nobody can guess which one it is */
        uint64_t other = (line[at].digest[0] ^ segment->digest[0]) | (line[at].digest[1] ^ segment->digest[1]);
        found = other ? found : at;
        oldest = line[at].used < line[oldest].used ? at : oldest;
    }
    *known = found < LINE;
    return line + (found < LINE ? found : oldest);
}

size_t count_remembered(struct memo *memo, struct encoder *encoder, const struct vocabulary *v,
                        struct source_text text)
{
    struct segment segments[MOST_AHEAD];
    size_t total = 0;
    for (size_t start = 0; start < text.length;) {
        size_t taken = take_segments(memo, text, &start, segments);
        for (const struct segment *segment = segments; segment < segments + taken; segment++) {
            int known;
            struct memo_entry *entry = find_entry(memo, segment, &known);
            if (!known) {
                size_t count = count_source(encoder, v, segment->text, SIZE_MAX - 1);
                if (count == SIZE_MAX)
                    return SIZE_MAX;
                *entry = (struct memo_entry){.digest = {segment->digest[0], segment->digest[1]}, .count = count};
            }
            entry->used = ++memo->clock;
            total += entry->count;
        }
    }
    return total;
}
