/* Opening and compiling vocabularies. */
#include "vocabulary.h"

#include <stdlib.h>

#include "unicode.h"

static const char MAGIC[8] = "INFVOCAB";

static uint64_t header_checksum(const struct vocabulary_header *header)
{
    return hash_bytes((const uint8_t *)header, offsetof(struct vocabulary_header, header_checksum));
}

const char *vocabulary_open(struct vocabulary *v, const uint8_t *block, size_t size)
{
    const struct vocabulary_header *header = (const struct vocabulary_header *)block;
    if (size < sizeof *header || memcmp(header->magic, MAGIC, sizeof MAGIC))
        return "not a compiled vocabulary";
    if (header->format != VOCABULARY_FORMAT || strncmp(header->unicode, unicode_version, sizeof header->unicode))
        return "compiled by another version";
    if (header->header_checksum != header_checksum(header) || header->size != size)
        return "truncated or damaged";
    if (header->checksum != hash_bytes(block + sizeof *header, size - sizeof *header))
        return "damaged";
    const uint8_t *at[SECTIONS];
    for (unsigned section = 0; section < SECTIONS; section++)
        at[section] = block + header->sections[section].offset;
    *v = (struct vocabulary){
        .header = header,
        .tokens = header->tokens,
        .offsets = (const uint32_t *)at[OFFSETS],
        .ids = (const uint32_t *)at[IDS],
        .byte_tokens = (const uint32_t *)at[BYTE_TOKENS],
        .pieces = (const uint32_t *)at[PIECES],
        .bytes = at[BYTES],
        .pairs = (const uint64_t *)at[PAIRS],
        .piece_mask = (uint32_t)(header->sections[PIECES].size / sizeof(uint32_t)) - 1,
        .pair_mask = (uint32_t)(header->sections[PAIRS].size / 64) - 1,
        .scan = scan_of_family(header->family),
    };
    return v->scan ? 0 : "compiled by another version";
}

static uint32_t power_of_two(uint64_t least)
{
    uint32_t power = 1024;
    while (power < least)
        power *= 2;
    return power;
}

static const char *fill_pieces(struct vocabulary *v, uint32_t *pieces)
{
    for (uint32_t token = 0; token < v->tokens; token++) {
        const uint8_t *bytes = v->bytes + v->offsets[token];
        size_t size = v->offsets[token + 1] - v->offsets[token];
        if (!size || find_piece(v, bytes, size) != NO_TOKEN)
            return "a token is empty or there twice";
        uint32_t slot = (uint32_t)hash_bytes(bytes, size) & v->piece_mask;
        while (pieces[slot])
            slot = (slot + 1) & v->piece_mask;
        pieces[slot] = token + 1;
    }
    return 0;
}

static void add_pair(const struct vocabulary *v, uint64_t *pairs, uint32_t left, uint32_t right, uint32_t merged)
{
    uint64_t key = pair_key(left, right);
    uint64_t slot = 8 * (mix64(key) & v->pair_mask), slots = 8 * ((uint64_t)v->pair_mask + 1);
    while (pairs[slot])
        slot = (slot + 1) % slots;
    pairs[slot] = key | (uint64_t)merged << 1 | 1;
}

/* Every cut of a token into two tokens is a merge, as the ranks alone decide. Returns how many there are; with `pairs`
 * also writes them. */
static uint64_t walk_pairs(const struct vocabulary *v, uint64_t *pairs)
{
    uint64_t found = 0;
    for (uint32_t token = 0; token < v->tokens; token++) {
        const uint8_t *bytes = v->bytes + v->offsets[token];
        size_t size = v->offsets[token + 1] - v->offsets[token];
        for (size_t cut = 1; cut < size; cut++) {
            uint32_t left = find_piece(v, bytes, cut);
            uint32_t right = left == NO_TOKEN ? NO_TOKEN : find_piece(v, bytes + cut, size - cut);
            if (right == NO_TOKEN)
                continue;
            found++;
            if (pairs)
                add_pair(v, pairs, left, right, token);
        }
    }
    return found;
}

static uint64_t aligned(uint64_t offset)
{
    return (offset + 63) & ~(uint64_t)63;
}

uint8_t *vocabulary_compile(const uint8_t *bytes, const uint32_t *offsets, const uint32_t *ids, uint32_t tokens,
                            uint32_t family, const uint8_t sha256[32], size_t *size, const char **problem)
{
    struct vocabulary v = {.tokens = tokens, .offsets = offsets, .bytes = bytes};
    struct vocabulary_header header = {
        .format = VOCABULARY_FORMAT, .tokens = tokens, .family = family};
    uint8_t *block = 0;
    *problem = "out of memory";
    v.piece_mask = power_of_two(2 * (uint64_t)tokens) - 1;
    uint32_t *pieces = calloc((size_t)v.piece_mask + 1, sizeof *pieces);
    if (!pieces)
        return 0;
    v.pieces = pieces;
    if ((*problem = fill_pieces(&v, pieces)))
        goto error;
    uint32_t byte_tokens[256];
    for (unsigned byte = 0; byte < 256; byte++) {
        byte_tokens[byte] = find_piece(&v, (const uint8_t[]){(uint8_t)byte}, 1);
        if (byte_tokens[byte] == NO_TOKEN) {
            *problem = "a byte has no token";
            goto error;
        }
    }
    v.pair_mask = power_of_two(walk_pairs(&v, 0) / 4) - 1;

    const uint64_t sizes[SECTIONS] = {
        [OFFSETS] = 4 * ((uint64_t)tokens + 1),        [BYTES] = offsets[tokens],
        [IDS] = 4 * (uint64_t)tokens,                  [BYTE_TOKENS] = sizeof byte_tokens,
        [PIECES] = 4 * ((uint64_t)v.piece_mask + 1),   [PAIRS] = 64 * ((uint64_t)v.pair_mask + 1),
    };
    uint64_t total = aligned(sizeof header);
    for (unsigned section = 0; section < SECTIONS; section++) {
        header.sections[section].offset = total;
        header.sections[section].size = sizes[section];
        total = aligned(total + sizes[section]);
    }
    *problem = "out of memory";
    block = calloc(1, total);
    if (!block)
        goto error;
    const void *sources[SECTIONS] = {offsets, bytes, ids, byte_tokens, pieces, 0};
    for (unsigned section = 0; section < PAIRS; section++)
        memcpy(block + header.sections[section].offset, sources[section], sizes[section]);
    walk_pairs(&v, (uint64_t *)(block + header.sections[PAIRS].offset));

    memcpy(header.magic, MAGIC, sizeof MAGIC);
    memcpy(header.source_sha256, sha256, 32);
    strncpy(header.unicode, unicode_version, sizeof header.unicode - 1);
    header.size = total;
    header.checksum = hash_bytes(block + sizeof header, total - sizeof header);
    header.header_checksum = header_checksum(&header);
    memcpy(block, &header, sizeof header);
    *size = total;
    *problem = 0;
error:
    free(pieces);
    return block;
}
