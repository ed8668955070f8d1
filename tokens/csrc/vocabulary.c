/* Opening a compiled vocabulary. */
#include "vocabulary.h"

#include "unicode.h"
#include "vocabulary_file.h"

const char *vocabulary_open(struct vocabulary *v, const uint8_t *block, size_t size)
{
    const struct vocabulary_header *header = (const struct vocabulary_header *)block;
    if (size < sizeof *header || memcmp(header->magic, VOCABULARY_MAGIC, sizeof header->magic))
        return "not a compiled vocabulary";
    if (header->format != VOCABULARY_FORMAT || strncmp(header->unicode, unicode_version, sizeof header->unicode))
        return "compiled by another version";
    if (header->header_checksum != header_checksum(header) || header->size != size)
        return "truncated or damaged";
    if (header->checksum != hash_block(block + sizeof *header, size - sizeof *header))
        return "damaged";
    const uint8_t *at[SECTIONS];
    for (unsigned section = 0; section < SECTIONS; section++)
        at[section] = block + header->sections[section].offset;
    *v = (struct vocabulary){
        .header = header,
        .tokens = header->tokens,
        .offsets = (const uint32_t *)at[OFFSETS],
        .ids = (const uint32_t *)at[IDS],
        .pieces = (const uint32_t *)at[PIECES],
        .prefixes = (const uint32_t *)at[PREFIXES],
        .seed_ids = (const uint32_t *)at[SEED_IDS],
        .bytes = at[BYTES],
        .seed = at[SEED],
        .pairs = (const uint64_t *)at[PAIRS],
        .pair_filter = (const uint64_t *)at[PAIR_FILTER],
        .splits = (const uint64_t *)at[SPLITS],
        .trie = (const uint64_t *)at[TRIE],
        .piece_mask = (uint32_t)(header->sections[PIECES].size / sizeof(uint32_t)) - 1,
        .pair_mask = (uint32_t)(header->sections[PAIRS].size / 64) - 1,
        .filter_mask = (uint32_t)(header->sections[PAIR_FILTER].size / sizeof(uint64_t)) - 1,
        .seed_lines = (uint32_t)(header->sections[SEED].size / 64),
        .scan = scan_of_family(header->family),
    };
    return v->scan ? 0 : "compiled by another version";
}
