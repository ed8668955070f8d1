/* Counts of stretches of text that were seen before.
 *
 * A text is cut at safe places, at least SEGMENT characters apart and found from the front, so that two texts that begin
 * alike are cut alike as far as they agree. Each stretch is known by 128 bits of a hash under a secret of the process;
 * no text is kept.
 */
#ifndef INFEROMETER_MEMO_H
#define INFEROMETER_MEMO_H

#include "source_text.h"

#define SEGMENT 512u

struct memo_entry {
    uint64_t digest[2]; /* both 0: free */
    uint64_t count;
    uint64_t used; /* when last asked for */
};

struct memo {
    struct memo_entry *entries; /* NULL until used */
    uint32_t line_mask;         /* lines of four entries; the least recently used gives way */
    uint64_t seed[4], clock;
};

/* Start with zeros and set the seed. `bytes` bounds the memory. */
int memo_reserve(struct memo *memo, size_t bytes);
void memo_release(struct memo *memo);

/* Count a text with what is remembered; SIZE_MAX as count_source. */
size_t count_remembered(struct memo *memo, struct encoder *encoder, const struct vocabulary *v,
                        struct source_text text);

/* 128 bits of a text under a secret, following those of what came before it. */
void digest_text(const uint64_t seed[4], struct source_text text, uint64_t digest[2]);

#endif
