/* Counts many texts on many threads at once, for the thread sanitizer; every count must be that of one thread. From the
 * root of the checkout:
 *
 *   cc -g -O1 -fsanitize=thread -std=c11 -Wall -Wextra -Itokens/csrc -o /tmp/race_tokens tools/race_tokens_native.c \
 *     $(ls tokens/csrc/[a-z]*.c | grep -v module.c) -lm -lpthread && /tmp/race_tokens
 *
 * What threads share is what they share within Python: the vocabulary and the texts. Encoders and batches are their own.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "text_batch.h"

#define TEXTS 600u
#define LENGTH 300u
#define THREADS 4u
#define CALLERS 3u
#define ROUNDS 5u

static struct vocabulary vocabulary;
static struct source_text texts[TEXTS];
static size_t expected[TEXTS];

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void make_vocabulary(void)
{
    static uint8_t bytes[512];
    static uint32_t offsets[272], ids[272];
    static const char *const merges[] = {"in", "th", "the", " t", "er", "  ", "aa", "aaaa", "\xE4\xB8", "\xE4\xB8\xAD"};
    static const uint8_t sha256[32];
    uint32_t tokens = 0, end = 0;
    for (; tokens < 256; tokens++, end++)
        bytes[end] = (uint8_t)tokens, offsets[tokens + 1] = end + 1, ids[tokens] = tokens;
    for (size_t merge = 0; merge < sizeof merges / sizeof *merges; merge++, tokens++) {
        memcpy(bytes + end, merges[merge], strlen(merges[merge]));
        end += (uint32_t)strlen(merges[merge]);
        offsets[tokens + 1] = end, ids[tokens] = tokens;
    }
    struct vocabulary_source source = {bytes, offsets, ids, 0, tokens, SCAN_O200K, sha256, 1};
    const char *problem;
    size_t size;
    uint8_t *block = vocabulary_compile(&source, &size, &problem);
    require(block && !vocabulary_open(&vocabulary, block, size), "vocabulary");
}

/* Texts of one, two and four bytes a character, some of one letter alone. */
static void make_texts(void)
{
    static const uint32_t characters[] = {'a', 't', 'h', 'e', ' ', 'i', 'n', '\n', '7', '.', 0xE9, 0x4E2D, 0x1F600};
    uint64_t state = 1;
    for (unsigned number = 0; number < TEXTS; number++) {
        unsigned width = 1u << number % 3, known = width == 1 ? 11 : width == 2 ? 12 : 13;
        uint8_t *text = malloc((size_t)width * LENGTH);
        require(text != 0, "memory");
        for (unsigned at = 0; at < LENGTH; at++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            uint32_t character = number % 7 ? characters[(state >> 33) % known] : 'a';
            memcpy(text + (size_t)width * at, &character, width); /* little endian, as all of this is */
        }
        texts[number] = (struct source_text){text, width, LENGTH};
    }
}

static void count_all(unsigned threads, size_t *counts)
{
    struct encoder *encoders[THREADS];
    for (unsigned thread = 0; thread < threads; thread++) {
        encoders[thread] = encoder_create(&vocabulary, choose_kernel(0), thread & 1 ? 1 : 0);
        require(encoders[thread] != 0, "encoder");
    }
    count_texts(&vocabulary, encoders, threads, texts, TEXTS, counts);
    for (unsigned thread = 0; thread < threads; thread++)
        encoder_destroy(encoders[thread]);
}

static void *call(void *unused)
{
    size_t counts[TEXTS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        count_all(THREADS, counts);
        require(!memcmp(counts, expected, sizeof counts), "counts differ between threads");
    }
    return unused;
}

int main(void)
{
    pthread_t callers[CALLERS];
    make_vocabulary();
    make_texts();
    count_all(1, expected);
    for (unsigned caller = 0; caller < CALLERS; caller++)
        require(!pthread_create(&callers[caller], 0, call, 0), "thread");
    for (unsigned caller = 0; caller < CALLERS; caller++)
        pthread_join(callers[caller], 0);
    printf("%u callers of %u threads agree on %u texts\n", CALLERS, THREADS, TEXTS);
    return 0;
}
