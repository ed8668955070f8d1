/* 64-bit ARM, which always has NEON. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "ascii_rules.h"
#include "piece_cache.h"

/* Sixty-four bytes, byte 4 * i + k in lane i of vector k: so that shifting one vector into another makes a nibble. */
static inline uint64_t join(uint8x16x4_t is)
{
    uint8x16_t low = vsriq_n_u8(is.val[1], is.val[0], 1), high = vsriq_n_u8(is.val[3], is.val[2], 1);
    uint8x16_t nibbles = vsriq_n_u8(high, low, 2);
    nibbles = vsriq_n_u8(nibbles, nibbles, 4);
    return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(nibbles), 4)), 0);
}

/* Bytes in [first, first + count), after `fold` was set in each: subtraction wraps, so one unsigned comparison does. */
static inline uint64_t in_range(uint8x16x4_t bytes, uint8_t fold, uint8_t first, uint8_t count)
{
    for (int part = 0; part < 4; part++) {
        uint8x16_t folded = vorrq_u8(bytes.val[part], vdupq_n_u8(fold));
        bytes.val[part] = vcltq_u8(vsubq_u8(folded, vdupq_n_u8(first)), vdupq_n_u8(count));
    }
    return join(bytes);
}

static inline uint64_t are(uint8x16x4_t bytes, uint8_t value)
{
    for (int part = 0; part < 4; part++)
        bytes.val[part] = vceqq_u8(bytes.val[part], vdupq_n_u8(value));
    return join(bytes);
}

static inline struct byte_masks classify_neon(const uint8_t *block)
{
    uint8x16x4_t bytes = vld4q_u8(block);
    struct byte_masks m;
    m.letters = in_range(bytes, 0x20, 'a', 26);
    m.capitals = in_range(bytes, 0, 'A', 26);
    m.digits = in_range(bytes, 0, '0', 10);
    m.spaces = are(bytes, ' ');
    m.white = m.spaces | in_range(bytes, 0, 9, 5);
    m.newlines = are(bytes, '\n') | are(bytes, '\r');
    m.quotes = are(bytes, '\'');
    m.slashes = are(bytes, '/');
    m.foreign = in_range(bytes, 0, 0x80, 0x80);
    return m;
}

static inline struct piece_key load_key_masked(const uint8_t *piece, uint32_t length)
{
    uint64_t words[2];
    __builtin_memcpy(words, piece, 16);
    uint64_t low = words[0] & ~0ull >> (length < 8 ? 64 - 8 * length : 0);
    uint64_t high = length > 8 ? words[1] & ~0ull >> (128 - 8 * length) : 0;
    return (struct piece_key){low, high | (uint64_t)length << 56};
}

#define KERNEL kernel_neon
#define KERNEL_NAME "neon"
#define CLASSIFY classify_neon
#define FIND_SLOT find_slot_branchless
#define LOAD_KEY load_key_masked
#include "kernel_body.h"
#else
typedef int no_neon;
#endif
