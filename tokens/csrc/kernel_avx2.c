/* x86 with AVX2 and BMI2. */
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#endif

#include "ascii_rules.h"
#include "piece_cache.h"

static inline uint64_t join(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

/* Bytes in [first, first + count): subtraction wraps, so one unsigned comparison does. */
static inline uint64_t in_range(__m256i low, __m256i high, char first, char count)
{
    const __m256i from = _mm256_set1_epi8(first), last = _mm256_set1_epi8((char)(count - 1));
    low = _mm256_sub_epi8(low, from);
    high = _mm256_sub_epi8(high, from);
    return join(_mm256_cmpeq_epi8(_mm256_min_epu8(low, last), low), _mm256_cmpeq_epi8(_mm256_min_epu8(high, last), high));
}

static inline struct byte_masks classify_avx2(const uint8_t *block)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)block), high = _mm256_loadu_si256((const __m256i *)(block + 32));
    const __m256i small = _mm256_set1_epi8(0x20);
    struct byte_masks m;
    m.letters = in_range(_mm256_or_si256(low, small), _mm256_or_si256(high, small), 'a', 26);
    m.capitals = m.letters & ~join(_mm256_slli_epi16(low, 2), _mm256_slli_epi16(high, 2));
    m.digits = in_range(low, high, '0', 10);
    m.spaces = in_range(low, high, ' ', 1);
    m.white = m.spaces | in_range(low, high, 9, 5);
    m.newlines = in_range(low, high, '\n', 1) | in_range(low, high, '\r', 1);
    m.quotes = in_range(low, high, '\'', 1);
    m.slashes = in_range(low, high, '/', 1);
    m.foreign = join(low, high);
    return m;
}

static inline struct piece_key load_key_bmi2(const uint8_t *piece, uint32_t length)
{
    uint64_t words[2];
    __builtin_memcpy(words, piece, 16);
    uint32_t beyond = length > 8 ? 8 * (length - 8) : 0;
    return (struct piece_key){_bzhi_u64(words[0], 8 * length), _bzhi_u64(words[1], beyond) | (uint64_t)length << 56};
}

static inline unsigned find_slot_avx2(const struct piece_key *line, const struct piece_key *key)
{
    const __m256i mask = _mm256_set_epi64x((long long)~COUNT_BITS, -1, (long long)~COUNT_BITS, -1);
    __m256i wanted = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)key));
    __m256i low = _mm256_and_si256(_mm256_load_si256((const __m256i *)line), mask);
    __m256i high = _mm256_and_si256(_mm256_load_si256((const __m256i *)(line + 2)), mask);
    unsigned equal = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(low, wanted))) |
                     (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(high, wanted))) << 4;
    return _tzcnt_u32((equal & equal >> 1 & 0x55) | 0x100) >> 1;
}

#define KERNEL kernel_avx2
#define KERNEL_NAME "avx2"
#define CLASSIFY classify_avx2
#define FIND_SLOT find_slot_avx2
#define LOAD_KEY load_key_bmi2
#include "kernel_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int no_avx2;
#endif
