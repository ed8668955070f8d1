/* The table of scanners. */
#include "scan.h"

size_t scan_o200k(const uint8_t *, size_t, size_t);
size_t scan_tekken(const uint8_t *, size_t, size_t);
size_t scan_kimi(const uint8_t *, size_t, size_t);
size_t scan_cl100k(const uint8_t *, size_t, size_t);
size_t scan_llama3(const uint8_t *, size_t, size_t);
size_t scan_qwen2(const uint8_t *, size_t, size_t);
size_t scan_qwen3_5(const uint8_t *, size_t, size_t);
size_t scan_r50k(const uint8_t *, size_t, size_t);
size_t scan_deepseek(const uint8_t *, size_t, size_t);

scan_piece scan_of_family(unsigned family)
{
    static const scan_piece scanners[SCAN_FAMILIES] = {
        [SCAN_O200K] = scan_o200k,     [SCAN_CL100K] = scan_cl100k, [SCAN_LLAMA3] = scan_llama3,
        [SCAN_QWEN2] = scan_qwen2,     [SCAN_QWEN3_5] = scan_qwen3_5, [SCAN_R50K] = scan_r50k,
        [SCAN_TEKKEN] = scan_tekken,   [SCAN_KIMI] = scan_kimi,     [SCAN_DEEPSEEK] = scan_deepseek,
    };
    return family < SCAN_FAMILIES ? scanners[family] : 0;
}

const char *scan_family_name(unsigned family)
{
    static const char *const names[SCAN_FAMILIES] = {
        [SCAN_O200K] = "o200k", [SCAN_CL100K] = "cl100k", [SCAN_LLAMA3] = "llama3",
        [SCAN_QWEN2] = "qwen2", [SCAN_QWEN3_5] = "qwen3.5", [SCAN_R50K] = "r50k",
        [SCAN_TEKKEN] = "tekken", [SCAN_KIMI] = "kimi", [SCAN_DEEPSEEK] = "deepseek",
    };
    return family < SCAN_FAMILIES ? names[family] : 0;
}
