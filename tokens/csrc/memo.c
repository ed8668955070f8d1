/* Hashing is some twenty times as fast as counting, and what an agent sends is mostly what it sent before. */
#include "memo.h"

#include <stdlib.h>

#include "table.h"

#define LINE 4u

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

static struct memo_entry *find_entry(struct memo *memo, const uint64_t digest[2], int *known)
{
    struct memo_entry *line = memo->entries + LINE * (size_t)((uint32_t)digest[0] & memo->line_mask);
    struct memo_entry *oldest = line;
    for (unsigned at = 0; at < LINE; at++) {
        if (line[at].digest[0] == digest[0] && line[at].digest[1] == digest[1]) {
            *known = 1;
            return line + at;
        }
        oldest = line[at].used < oldest->used ? line + at : oldest;
    }
    *known = 0;
    return oldest;
}

size_t count_remembered(struct memo *memo, struct encoder *encoder, const struct vocabulary *v,
                        struct source_text text)
{
    size_t total = 0, unit = text.width ? text.width : 1;
    for (size_t start = 0, end; start < text.length; start = end) {
        end = next_safe_cut(text, start + SEGMENT);
        struct source_text segment = {(const uint8_t *)text.characters + start * unit, text.width, end - start};
        uint64_t digest[2] = {0, 0};
        digest_text(memo->seed, segment, digest);
        int known;
        struct memo_entry *entry = find_entry(memo, digest, &known);
        if (!known) {
            size_t count = count_source(encoder, v, segment, SIZE_MAX - 1);
            if (count == SIZE_MAX)
                return SIZE_MAX;
            *entry = (struct memo_entry){.digest = {digest[0], digest[1]}, .count = count};
        }
        entry->used = ++memo->clock;
        total += entry->count;
    }
    return total;
}
