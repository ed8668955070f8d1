/* x86 with AVX-512 BW. */
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi,bmi2,lzcnt,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi,bmi2,lzcnt,popcnt")
#endif

#include "ascii_rules.h"
#include "piece_cache.h"

static inline struct byte_masks classify_avx512(const uint8_t *block)
{
    __m512i bytes = _mm512_loadu_si512(block);
    __m512i folded = _mm512_sub_epi8(_mm512_or_si512(bytes, _mm512_set1_epi8(0x20)), _mm512_set1_epi8('a'));
    struct byte_masks m;
    m.letters = _mm512_cmplt_epu8_mask(folded, _mm512_set1_epi8(26));
    m.capitals = m.letters & ~_mm512_test_epi8_mask(bytes, _mm512_set1_epi8(0x20));
    m.digits = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, _mm512_set1_epi8('0')), _mm512_set1_epi8(10));
    m.spaces = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(' '));
    m.white = m.spaces | _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, _mm512_set1_epi8(9)), _mm512_set1_epi8(5));
    m.newlines = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\n')) |
                 _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\r'));
    m.quotes = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\''));
    m.slashes = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('/'));
    m.foreign = _mm512_movepi8_mask(bytes);
    return m;
}

static inline struct piece_key load_key_bmi2(const uint8_t *piece, uint32_t length)
{
    uint64_t words[2];
    __builtin_memcpy(words, piece, 16);
    uint32_t beyond = length > 8 ? 8 * (length - 8) : 0;
    return (struct piece_key){_bzhi_u64(words[0], 8 * length), _bzhi_u64(words[1], beyond) | (uint64_t)length << 56};
}

static inline unsigned find_slot_avx512(const struct piece_key *line, const struct piece_key *key)
{
    const __m512i mask = _mm512_broadcast_i32x4(_mm_set_epi64x((long long)~COUNT_BITS, -1));
    __m512i wanted = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)key));
    unsigned equal = _mm512_testn_epi64_mask(_mm512_xor_si512(_mm512_load_si512(line), wanted), mask);
    return _tzcnt_u32((equal & equal >> 1 & 0x55) | 0x100) >> 1;
}

#define KERNEL kernel_avx512
#define KERNEL_NAME "avx512"
#define CLASSIFY classify_avx512
#define FIND_SLOT find_slot_avx512
#define LOAD_KEY load_key_bmi2
#include "kernel_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int no_avx512;
#endif
