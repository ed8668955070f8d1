/* A libFuzzer harness for cutting and merging: every kernel, cache size and way of counting must agree, the tokens must
 * spell the text, and a chain must not depend on how its ids came. Ten minutes, from the root of the checkout:
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -std=c11 -Itokens/csrc -o /tmp/fuzz_tokens \
 *     tools/fuzz_tokens_native.c $(ls tokens/csrc/[a-z]*.c | grep -v module.c) -lm -lpthread
 *   mkdir -p /tmp/fuzz_corpus && /tmp/fuzz_tokens -max_total_time=600 -max_len=3000 -len_control=0 /tmp/fuzz_corpus
 *
 * (Debian: clang libclang-rt-14-dev.) The first byte of an input chooses the family, the second how wide characters are
 * given, the rest is text.
 */
#include <stdio.h>
#include <stdlib.h>

#include "memo.h"
#include "prefix_chain.h"
#include "transcode.h"

static struct vocabulary vocabularies[SCAN_FAMILIES];
static struct encoder *encoders[SCAN_FAMILIES][8];
static struct memo memos[SCAN_FAMILIES];
static const uint64_t SECRET[4] = {0x243F6A8885A308D3u, 0x13198A2E03707344u, 0xA4093822299F31D0u, 0x082EFA98EC4E6C89u};
static const char *const MERGES[] = {
    "in", "the", " t", "th", "he", "er", " a", "ing", "  ", "    ", "aa", "aaaa", "ab", "abab", "ba", "\n\n", "ll", "'s", "re",
    " the", "\xE4\xB8", "\xE4\xB8\xAD", "\xC3\xA9", "\xCC\x81", "e\xCC\x81", "00", "000", "!!", "//", "\r\n", "xyz", "aaa"};

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    static uint8_t bytes[1024];
    static uint32_t offsets[320], ids[320];
    uint32_t tokens = 0, end = 0;
    for (; tokens < 256; tokens++, end++)
        bytes[end] = (uint8_t)tokens, offsets[tokens + 1] = end + 1, ids[tokens] = tokens;
    for (size_t merge = 0; merge < sizeof MERGES / sizeof *MERGES; merge++, tokens++) {
        size_t size = strlen(MERGES[merge]);
        memcpy(bytes + end, MERGES[merge], size);
        end += (uint32_t)size;
        offsets[tokens + 1] = end;
        ids[tokens] = 1000 - tokens;
    }
    for (unsigned family = 0; family < SCAN_FAMILIES; family++) {
        static const uint8_t sha256[32];
        struct vocabulary_source source = {bytes, offsets, ids, 0, tokens, family, sha256, 1};
        const char *problem;
        size_t size;
        uint8_t *block = vocabulary_compile(&source, &size, &problem);
        require(block != 0, problem ? problem : "compile");
        require(!vocabulary_open(&vocabularies[family], block, size), "open");
        memcpy(memos[family].seed, SECRET, sizeof SECRET);
        require(!memo_reserve(&memos[family], 4096), "memo");
        static const char *const kernels[] = {"portable", "avx2", "avx512", "neon"};
        for (unsigned made = 0; made < 8; made++) {
            const struct kernel *kernel = choose_kernel(kernels[made / 2]);
            if (kernel)
                encoders[family][made] = encoder_create(&vocabularies[family], kernel, made & 1 ? 1 : 0);
        }
    }
    return 0;
}

struct found {
    uint32_t ids[8192];
    size_t count;
};

static int collect(void *state, const uint32_t *ids, size_t count)
{
    struct found *found = state;
    require(found->count + count <= 8192, "room");
    memcpy(found->ids + found->count, ids, count * sizeof *ids);
    found->count += count;
    return 0;
}

static void check_spelling(const struct vocabulary *v, const struct found *found, struct source_text text)
{
    uint8_t *expected = malloc(utf8_room(text.width, text.length));
    size_t size = write_utf8(text.characters, text.width, text.length, expected), at = 0;
    for (size_t token = 0; token < found->count; token++) {
        uint32_t id = found->ids[token], rank = id < 256 && v->ids[id] == id ? id : 1000 - id;
        require(rank < v->tokens && at + token_size(v, rank) <= size, "id");
        require(!memcmp(v->bytes + v->offsets[rank], expected + at, token_size(v, rank)), "spelling");
        at += token_size(v, rank);
    }
    require(at == size, "length");
    free(expected);
}

static void check_chain(const struct found *found, uint32_t block, size_t first)
{
    struct prefix_chain whole, parts;
    require(!chain_start(&whole, SECRET, block, 3) && !chain_start(&parts, SECRET, block, 3), "chain");
    require(!chain_append(&whole, found->ids, found->count), "chain");
    for (size_t at = 0, end = first; at < found->count; at = end, end = at + 1 + end % 7) {
        end = end < found->count ? end : found->count;
        require(!chain_append(&parts, found->ids + at, end - at), "chain");
    }
    require(whole.count == found->count / block && whole.filled == found->count % block, "blocks");
    require(whole.count == parts.count && whole.filled == parts.filled && whole.parent == parts.parent, "parts of a chain");
    require(!whole.count || !memcmp(whole.hashes, parts.hashes, whole.count * sizeof *whole.hashes), "hashes");
    chain_release(&whole);
    chain_release(&parts);
}

/* The first safe cut from `at` on is what it is called: looking from the other end finds none between. */
static void check_next_cut(struct source_text text, size_t at)
{
    size_t cut = next_safe_cut(text, at);
    require(cut >= at && cut <= text.length, "place of a cut");
    text.length = cut < text.length ? cut + 1 : cut;
    size_t last = last_safe_cut(text);
    require(last < at || last == cut, "first cut");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    unsigned family = data[0] % SCAN_FAMILIES, width = 1u << data[1] % 3;
    const struct vocabulary *v = &vocabularies[family];
    struct source_text text = {0, width, (size - 2) / width};
    uint8_t *copy = malloc(text.length * width + 1); /* its end is the end of an allocation: reading on is seen */
    memcpy(copy, data + 2, text.length * width);
    for (size_t at = 0; width == 4 && at < text.length; at++)
        ((uint32_t *)copy)[at] %= 0x110000;
    text.characters = copy;
    static struct found first, other;
    first.count = 0;
    for (unsigned made = 0; made < 8; made++) {
        struct encoder *encoder = encoders[family][made];
        struct found *found = made ? &other : &first;
        if (!encoder)
            continue;
        other.count = made ? 0 : other.count;
        size_t count = encode_source(encoder, v, text, collect, found);
        require(count == found->count && count == first.count, "count of ids");
        require(!memcmp(found->ids, first.ids, count * sizeof *first.ids), "ids");
        require(count_source(encoder, v, text, SIZE_MAX - 1) == count, "count");
    }
    check_spelling(v, &first, text);
    size_t cut = last_safe_cut(text);
    struct source_text before = {copy, width, cut}, after = {copy + cut * width, width, text.length - cut};
    struct encoder *encoder = encoders[family][0];
    require(count_source(encoder, v, before, SIZE_MAX - 1) + count_source(encoder, v, after, SIZE_MAX - 1) ==
                first.count, "cut");
    for (size_t at = 1; at < text.length; at += 1 + at / 8)
        check_next_cut(text, at);
    for (unsigned again = 0; again < 2; again++)
        require(count_remembered(&memos[family], encoder, v, text) == first.count, "remembered count");
    check_chain(&first, 1 + data[1] / 3, data[0]);
    free(copy);
    return 0;
}
