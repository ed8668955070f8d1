/* For machines without vector instructions we know. */
#include "piece_cache.h"

static inline unsigned find_slot_portable(const struct piece_key *line, const struct piece_key *key)
{
    unsigned found = LINE_KEYS;
    for (unsigned slot = 0; slot < LINE_KEYS; slot++)
        found = line[slot].low == key->low && (line[slot].high & ~COUNT_BITS) == key->high ? slot : found;
    return found;
}

#define KERNEL kernel_portable
#define KERNEL_NAME "portable"
#define FIND_SLOT find_slot_portable
#define LOAD_KEY make_key
#include "kernel_body.h"
