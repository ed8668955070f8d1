/* A double-array trie over the tokens that merging reaches.
 *
 * A unit packs base:24 | label:9 (byte + 256 where used) | token + 1: 31. The child of a unit for a byte stands at
 * base ^ byte and bears the byte as its label; no two units share a base, so the label alone tells it.
 */
#ifndef INFEROMETER_TRIE_H
#define INFEROMETER_TRIE_H

#include "vocabulary.h"

#define TRIE_BASE(unit) ((uint32_t)(unit) & 0xFFFFFFu)
#define TRIE_LABEL(unit) ((uint32_t)((unit) >> 24) & 0x1FFu)
#define TRIE_TOKEN(unit) ((uint32_t)((unit) >> 33) - 1) /* NO_TOKEN where the path to here is no token */

/* Build over the tokens whose split is known; returns a malloc'ed array of *units, NULL where memory is short. */
uint64_t *trie_build(const struct vocabulary *v, size_t *units);

/* The longest token that `text` begins with; a single byte always is one. Its size goes to *found. */
static inline uint32_t longest_token(const struct vocabulary *v, const uint8_t *text, size_t size, uint32_t *found)
{
    const uint64_t *trie = v->trie;
    uint64_t unit = trie[0], best = 0;
    size_t length = 0;
    for (size_t at = 0; at < size;) {
        unit = trie[TRIE_BASE(unit) ^ text[at]];
        if (TRIE_LABEL(unit) != (text[at] | 0x100u))
            break;
        at++;
        length = unit >> 33 ? at : length;
        best = unit >> 33 ? unit : best;
    }
    *found = (uint32_t)length;
    return TRIE_TOKEN(best);
}

#endif
