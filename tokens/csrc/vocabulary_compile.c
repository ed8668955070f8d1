/* Compiling a vocabulary: every table that look-ups need is made once, here. */
#include <stdlib.h>

#include "backtrack.h"
#include "piece_cache.h"
#include "trie.h"
#include "unicode.h"
#include "vocabulary_file.h"

struct compiler {
    const struct vocabulary_source *source;
    struct vocabulary v;
    uint32_t *pieces, *prefixes, *seed_ids, byte_tokens[BYTE_TOKENS];
    uint64_t *pairs, *pair_filter, *splits, *trie;
    struct piece_key *seed;
    size_t trie_units;
};

static uint32_t power_of_two(uint64_t least)
{
    uint32_t power = 1024;
    while (power < least)
        power *= 2;
    return power;
}

static void add_piece(struct compiler *c, uint32_t token)
{
    const struct vocabulary *v = &c->v;
    uint32_t slot = (uint32_t)hash_bytes(v->bytes + v->offsets[token], token_size(v, token)) & v->piece_mask;
    while (c->pieces[slot])
        slot = (slot + 1) & v->piece_mask;
    c->pieces[slot] = token + 1;
}

static const char *add_pieces(struct compiler *c)
{
    const struct vocabulary *v = &c->v;
    for (uint32_t token = 0; token < v->tokens; token++) {
        uint32_t size = token_size(v, token);
        if (!size || size > LONGEST_TOKEN)
            return "a token is empty or longer than 512 bytes";
        if (find_piece(v, v->bytes + v->offsets[token], size) != NO_TOKEN)
            return "a token is there twice";
        add_piece(c, token);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        c->byte_tokens[byte] = find_piece(v, (const uint8_t[]){(uint8_t)byte}, 1);
        if (c->byte_tokens[byte] >= BYTE_TOKENS)
            return "a byte has no token";
    }
    return 0;
}

static void add_pair(struct compiler *c, uint32_t token)
{
    uint32_t left = SPLIT_LEFT(c->splits[token]), right = SPLIT_RIGHT(c->splits[token]);
    uint64_t hash = pair_hash(left, right);
    uint64_t slot = 8 * (uint64_t)pair_line(hash, c->v.pair_mask), slots = 8 * ((uint64_t)c->v.pair_mask + 1);
    while (c->pairs[slot])
        slot = (slot + 1) % slots;
    c->pair_filter[hash & c->v.filter_mask] |= filter_bits(hash);
    c->pairs[slot] = pair_key(left, right) | (uint64_t)token << 1 | 1;
}

/* Merge a token's own bytes to the end. Returns the last two parts where that leads to the token, else NO_SPLIT. */
static uint64_t find_split(const struct compiler *c, uint32_t token)
{
    const struct vocabulary *v = &c->v;
    const uint8_t *bytes = v->bytes + v->offsets[token];
    uint32_t count = token_size(v, token), starts[LONGEST_TOKEN + 1], parts[LONGEST_TOKEN], merged[LONGEST_TOKEN];
    for (uint32_t at = 0; at <= count; at++)
        starts[at] = at;
    for (uint32_t at = 0; at < count; at++) {
        parts[at] = c->byte_tokens[bytes[at]];
        merged[at] = at + 1 < count ? find_piece(v, bytes + at, 2) : NO_TOKEN;
    }
    while (count > 1) {
        uint32_t best = 0;
        for (uint32_t at = 1; at + 1 < count; at++)
            best = merged[at] < merged[best] ? at : best;
        if (merged[best] == NO_TOKEN)
            return NO_SPLIT;
        if (count == 2)
            return SPLIT(parts[0], parts[1]);
        parts[best] = merged[best];
        count--;
        for (uint32_t at = best + 1; at < count; at++) {
            parts[at] = parts[at + 1];
            starts[at] = starts[at + 1];
            merged[at] = merged[at + 1];
        }
        starts[count] = starts[count + 1];
        for (uint32_t at = best ? best - 1 : 0; at <= best && at + 1 < count; at++)
            merged[at] = find_piece(v, bytes + starts[at], starts[at + 2] - starts[at]);
    }
    return SPLIT(parts[0], parts[0]);
}

/* Whether listed merges lead from a token's bytes to the token. */
static int is_reached(const struct compiler *c, uint32_t token)
{
    const struct vocabulary *v = &c->v;
    uint32_t parts[LONGEST_TOKEN], size = token_size(v, token);
    for (uint32_t at = 0; at < size; at++)
        parts[at] = c->byte_tokens[v->bytes[v->offsets[token] + at]];
    return merge_parts(v, parts, size) == 1 && parts[0] == token;
}

static void add_pairs(struct compiler *c)
{
    for (uint32_t token = 0; token < c->v.tokens; token++) {
        const uint32_t *merges = c->source->merges;
        if (!merges)
            c->splits[token] = find_split(c, token);
        else if (merges[2 * token] == NO_TOKEN)
            c->splits[token] = token_size(&c->v, token) == 1 ? SPLIT(token, token) : NO_SPLIT;
        else
            c->splits[token] = SPLIT(merges[2 * token], merges[2 * token + 1]);
        if (c->splits[token] != NO_SPLIT && token_size(&c->v, token) > 1)
            add_pair(c, token);
    }
    for (uint32_t token = 0; c->source->merges && token < c->v.tokens; token++)
        if (c->splits[token] != NO_SPLIT && !is_reached(c, token))
            c->splits[token] = NO_SPLIT;
}

/* What each token has of its own: pairs across a seam. */
static void note_pairs(const struct compiler *c, uint32_t *joins)
{
    const struct vocabulary *v = &c->v;
    for (size_t slot = 0; slot < 8 * ((size_t)v->pair_mask + 1); slot++) {
        if (!c->pairs[slot])
            continue;
        uint32_t left = (uint32_t)(c->pairs[slot] >> 43), right = (uint32_t)(c->pairs[slot] >> 22) & (MAX_TOKENS - 1);
        uint32_t seam = seam_bit(v->bytes[v->offsets[left + 1] - 1], v->bytes[v->offsets[right]]);
        joins[left] |= seam;
        joins[right] |= seam ? JOINS_RIGHT : 0;
    }
}

/* What the parts of each token have, and theirs. Nothing is said of tokens that are unordered. */
static int add_joins(struct compiler *c)
{
    uint32_t *joins = calloc(c->v.tokens, sizeof *joins);
    if (!joins)
        return -1;
    note_pairs(c, joins);
    for (uint32_t token = BYTE_TOKENS; token < c->v.tokens; token++) {
        uint64_t split = c->splits[token];
        uint32_t left = SPLIT_LEFT(split), right = SPLIT_RIGHT(split);
        if (split == NO_SPLIT)
            continue;
        if (left >= token || right >= token || (c->splits[left] | c->splits[right]) & UNORDERED) {
            c->splits[token] |= UNORDERED;
            continue;
        }
        uint64_t below_left = joins[left] | c->splits[left] >> JOINS_SHIFT;
        uint64_t below_right = joins[right] | c->splits[right] >> JOINS_SHIFT;
        c->splits[token] |= ((below_left & JOINS_RIGHT) | (below_right & (JOINS_RIGHT - 1))) << JOINS_SHIFT;
    }
    free(joins);
    return 0;
}

/* The trie finds every token that merging reaches; what it cannot find stays in the table of pieces, if it is to be found
 * at all. */
static void keep_odd_pieces(struct compiler *c)
{
    uint32_t odd = 0;
    for (uint32_t token = 0; token < c->v.tokens; token++)
        odd += c->splits[token] == NO_SPLIT;
    memset(c->pieces, 0, ((size_t)c->v.piece_mask + 1) * sizeof *c->pieces);
    c->v.piece_mask = power_of_two(2 * (uint64_t)odd) - 1;
    for (uint32_t token = 0; c->source->whole_pieces && token < c->v.tokens; token++)
        if (c->splits[token] == NO_SPLIT)
            add_piece(c, token);
}

static void add_prefixes(struct compiler *c)
{
    const struct vocabulary *v = &c->v;
    for (uint32_t token = 0; token < v->tokens; token++) {
        uint32_t size = token_size(v, token);
        uint32_t length = 0, prefix = NO_TOKEN;
        if (size > 1)
            prefix = longest_token(v, v->bytes + v->offsets[token], size - 1, &length);
        c->prefixes[token] = length << 22 | (prefix + 1);
    }
}

static void add_seeds(struct compiler *c)
{
    const struct vocabulary *v = &c->v;
    for (uint32_t token = 0; token < v->tokens; token++) {
        uint32_t size = token_size(v, token);
        const uint8_t *bytes = v->bytes + v->offsets[token];
        if (size > SHORT_PIECE || (c->splits[token] == NO_SPLIT && !c->source->whole_pieces))
            continue;
        struct piece_key key = make_key(bytes, size);
        struct piece_key *line = c->seed + LINE_KEYS * (size_t)key_line(key.low, key.high, v->seed_lines - 1);
        unsigned slot = 0;
        while (slot < LINE_KEYS && line[slot].high)
            slot++;
        key.high |= 1ull << 60;
        if (slot < LINE_KEYS) {
            line[slot] = key;
            c->seed_ids[line - c->seed + slot] = v->ids[token];
        }
    }
}

static const char *build_tables(struct compiler *c)
{
    static const char *const NO_MEMORY = "out of memory";
    struct vocabulary *v = &c->v;
    v->piece_mask = power_of_two(2 * (uint64_t)v->tokens) - 1;
    v->pair_mask = power_of_two(v->tokens / 4) - 1;
    v->filter_mask = power_of_two(v->tokens / 8) - 1;
    v->seed_lines = power_of_two(v->tokens / 2);
    c->pieces = calloc((size_t)v->piece_mask + 1, sizeof *c->pieces);
    c->pairs = calloc((size_t)v->pair_mask + 1, 64);
    c->pair_filter = calloc((size_t)v->filter_mask + 1, sizeof *c->pair_filter);
    c->splits = malloc(v->tokens * sizeof *c->splits);
    c->prefixes = malloc(v->tokens * sizeof *c->prefixes);
    c->seed = calloc(v->seed_lines, 64);
    c->seed_ids = calloc(v->seed_lines, 4 * LINE_KEYS);
    if (!c->pieces || !c->pairs || !c->pair_filter || !c->splits || !c->prefixes || !c->seed ||
        !c->seed_ids)
        return NO_MEMORY;
    v->pieces = c->pieces, v->pairs = c->pairs, v->pair_filter = c->pair_filter, v->splits = c->splits;
    const char *problem = add_pieces(c);
    if (problem)
        return problem;
    add_pairs(c);
    if (add_joins(c))
        return NO_MEMORY;
    v->trie = c->trie = trie_build(v, &c->trie_units);
    if (!c->trie)
        return NO_MEMORY;
    add_prefixes(c);
    keep_odd_pieces(c);
    add_seeds(c);
    return 0;
}

static uint64_t aligned(uint64_t offset)
{
    return (offset + 63) & ~(uint64_t)63;
}

/* Lay all tables one after another behind the header. */
static uint8_t *write_block(const struct compiler *c, size_t *size)
{
    const struct vocabulary_source *source = c->source;
    const struct {
        const void *bytes;
        uint64_t size;
    } tables[SECTIONS] = {
        [OFFSETS] = {source->offsets, 4 * ((uint64_t)source->tokens + 1)},
        [BYTES] = {source->bytes, source->offsets[source->tokens]},
        [IDS] = {source->ids, 4 * (uint64_t)source->tokens},
        [PIECES] = {c->pieces, 4 * ((uint64_t)c->v.piece_mask + 1)},
        [PAIRS] = {c->pairs, 64 * ((uint64_t)c->v.pair_mask + 1)},
        [PAIR_FILTER] = {c->pair_filter, 8 * ((uint64_t)c->v.filter_mask + 1)},
        [SPLITS] = {c->splits, 8 * (uint64_t)source->tokens},
        [PREFIXES] = {c->prefixes, 4 * (uint64_t)source->tokens},
        [TRIE] = {c->trie, 8 * (uint64_t)c->trie_units},
        [SEED] = {c->seed, 64 * (uint64_t)c->v.seed_lines},
        [SEED_IDS] = {c->seed_ids, 4 * LINE_KEYS * (uint64_t)c->v.seed_lines},
    };
    struct vocabulary_header header = {
        .format = VOCABULARY_FORMAT, .tokens = source->tokens, .family = source->family};
    uint64_t total = aligned(sizeof header);
    for (unsigned section = 0; section < SECTIONS; section++) {
        header.sections[section].offset = total;
        header.sections[section].size = tables[section].size;
        total = aligned(total + tables[section].size);
    }
    uint8_t *block = calloc(1, total);
    if (!block)
        return 0;
    for (unsigned section = 0; section < SECTIONS; section++)
        memcpy(block + header.sections[section].offset, tables[section].bytes, tables[section].size);
    memcpy(header.magic, VOCABULARY_MAGIC, sizeof header.magic);
    memcpy(header.source_sha256, source->sha256, 32);
    strncpy(header.unicode, unicode_version, sizeof header.unicode - 1);
    header.size = total;
    header.checksum = hash_block(block + sizeof header, total - sizeof header);
    header.header_checksum = header_checksum(&header);
    memcpy(block, &header, sizeof header);
    *size = total;
    return block;
}

uint8_t *vocabulary_compile(const struct vocabulary_source *source, size_t *size, const char **problem)
{
    struct compiler c = {
        .source = source,
        .v = {.tokens = source->tokens, .offsets = source->offsets, .bytes = source->bytes, .ids = source->ids},
    };
    uint8_t *block = 0;
    *problem = build_tables(&c);
    if (!*problem && !(block = write_block(&c, size)))
        *problem = "out of memory";
    free(c.pieces);
    free(c.pairs);
    free(c.pair_filter);
    free(c.splits);
    free(c.prefixes);
    free(c.trie);
    free(c.seed);
    free(c.seed_ids);
    return block;
}
