/* Longest token first; a token is kept if merging would leave it and its neighbour apart, else the next shorter one is
 * tried, and where none fits the last token is taken back. A position found to lead nowhere is never visited again.
 *
 * Source: H. van Antwerpen, A. Neubeck, "So many tokens, so little time" (GitHub, 2024): a sequence of tokens is what
 * byte pair merging gives if and only if every two neighbours are.
 */
#include "backtrack.h"

#include "trie.h"

size_t merge_parts(const struct vocabulary *v, uint32_t *parts, size_t count)
{
    while (count > 1) {
        uint32_t best = NO_TOKEN;
        size_t where = 0;
        for (size_t at = 0; at + 1 < count; at++) {
            uint32_t merged = find_pair(v, parts[at], parts[at + 1]);
            where = merged < best ? at : where;
            best = merged < best ? merged : best;
        }
        if (best == NO_TOKEN)
            break;
        parts[where] = best;
        count--;
        memmove(parts + where + 1, parts + where + 2, (count - where - 1) * sizeof *parts);
    }
    return count;
}

/* The same as below for tokens whose merges cannot be undone by their numbers: merge and see. */
static int stay_apart_unordered(const struct vocabulary *v, uint32_t left, uint32_t right)
{
    uint32_t parts[2 * LONGEST_TOKEN], count = 0, length;
    for (uint32_t at = 0; at < token_size(v, left); at++)
        parts[count++] = longest_token(v, v->bytes + v->offsets[left] + at, 1, &length);
    for (uint32_t at = 0; at < token_size(v, right); at++)
        parts[count++] = longest_token(v, v->bytes + v->offsets[right] + at, 1, &length);
    return merge_parts(v, parts, count) == 2 && parts[0] == left && parts[1] == right;
}

/* Whether merging the bytes of both tokens leaves exactly these two: undo their merges, latest first, and see whether any
 * pair across the border would have merged before. Single bytes are the lowest tokens and thus the last. A version without
 * branches was slower: guessing which one is undone lets the next look-ups begin early. */
static inline int stay_apart(const struct vocabulary *v, uint32_t left, uint32_t right, uint32_t seam)
{
    uint64_t left_split = v->splits[left], right_split = v->splits[right];
    if ((left_split | right_split) & UNORDERED)
        return stay_apart_unordered(v, left, right);
    for (uint32_t limit = UINT32_MAX;;) {
        if (find_pair(v, left, right) < limit)
            return 0;
        if (seam && !(left_split >> JOINS_SHIFT & seam) && !(right_split >> JOINS_SHIFT & JOINS_RIGHT))
            return 1;
        if (left > right) {
            if (left < BYTE_TOKENS)
                return 1;
            limit = left;
            left = SPLIT_RIGHT(left_split);
            left_split = v->splits[left];
        } else {
            if (right < BYTE_TOKENS)
                return 1;
            limit = right + 1; /* of equal merges the one further left comes first */
            right = SPLIT_LEFT(right_split);
            right_split = v->splits[right];
        }
    }
}

size_t backtrack_piece(const struct vocabulary *v, const uint8_t *piece, size_t size, uint32_t *tokens, uint64_t *dead)
{
    size_t count = 0, at = 0;
    uint32_t length, token = longest_token(v, piece, size, &length);
    for (;;) {
        size_t end = at + length;
        if (!(dead[end >> 6] >> (end & 63) & 1) &&
            (!count || stay_apart(v, tokens[count - 1], token, seam_bit(piece[at - 1], piece[at])))) {
            tokens[count++] = token;
            at = end;
            if (at == size)
                return count;
            token = longest_token(v, piece + at, size - at, &length);
            continue;
        }
        uint32_t shorter = v->prefixes[token];
        token = (shorter & (2 * MAX_TOKENS - 1)) - 1;
        length = shorter >> 22;
        if (!length) {
            dead[at >> 6] |= 1ull << (at & 63);
            token = tokens[--count];
            length = token_size(v, token);
            at -= length;
        }
    }
}
