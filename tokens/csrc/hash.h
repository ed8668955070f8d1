/* Hashing of bytes for tables and check sums (not secret), and SipHash-2-4 for what is keyed. */
#ifndef INFEROMETER_HASH_H
#define INFEROMETER_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t load64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, 8);
    return value;
}

static inline uint64_t multiply_fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Source: the construction of wyhash (Wang Yi, public domain), shortened. */
static inline uint64_t hash_bytes(const uint8_t *bytes, size_t size)
{
    uint64_t state = 0x9E3779B97F4A7C15u ^ size;
    for (; size >= 16; bytes += 16, size -= 16)
        state = multiply_fold(load64(bytes) ^ 0xA0761D6478BD642Fu ^ state, load64(bytes + 8) ^ 0xE7037ED1A0B428DBu);
    uint64_t low = 0, high = 0;
    if (size >= 8) {
        low = load64(bytes);
        high = load64(bytes + size - 8);
    } else {
        for (size_t at = 0; at < size; at++)
            low |= (uint64_t)bytes[at] << 8 * at;
    }
    return multiply_fold(low ^ 0x8EBC6AF09C88C6E3u ^ state, high ^ 0x589965CC75374CC3u);
}

static inline uint64_t mix64(uint64_t value)
{
    return multiply_fold(value ^ 0xA0761D6478BD642Fu, 0xE7037ED1A0B428DBu);
}

#endif
