/* Feeds the harness of fuzz_tokens_native.c random text without libFuzzer, for machines that are emulated. The NEON kernel
 * on x86 (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user), from the root of the checkout:
 *
 *   aarch64-linux-gnu-gcc -static -O2 -std=c11 -Wall -Wextra -Itokens/csrc -o /tmp/drive_tokens tools/drive_fuzz_tokens.c \
 *     tools/fuzz_tokens_native.c $(ls tokens/csrc/[a-z]*.c | grep -v module.c) -lm -lpthread
 *   qemu-aarch64 /tmp/drive_tokens neon 20000 1
 *
 * Arguments: a kernel that has to be among those compared, the number of texts, a seed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "kernel.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state;

static uint32_t draw(uint32_t bound) /* splitmix64 */
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32) % bound;
}

/* Runs of the characters that patterns treat in their own ways; sometimes of any bytes. */
static size_t make_text(uint8_t *text, size_t room)
{
    static const char *const alphabets[] = {"abcdefghijklmnopqrstuvwxyz     ", "aBcDstSTrelLVEmd''\"  ", " \t\n\r\v\f/x",
                                            "0123456789 a.",    "!?.,;:/\\-_(){}[]<>@^`~\n /'"};
    static const char *const foreign[] = {"\xC3\xA9", "\xC5\xBF", "\xE4\xB8\xAD", "\xE2\x80\xA8", "\xF0\x9F\x98\x80", "\xCC\x81"};
    size_t size = 0, wanted = draw((uint32_t)room - 80);
    uint32_t strange = draw(4);
    while (size < wanted) {
        const char *alphabet = alphabets[draw(5)];
        size_t letters = strlen(alphabet);
        for (uint32_t run = 1 + draw(60); run--;)
            text[size++] = (uint8_t)alphabet[draw((uint32_t)letters)];
        if (strange && !draw(4)) {
            const char *character = foreign[draw(6)];
            memcpy(text + size, character, strlen(character));
            size += strlen(character);
        }
        if (strange == 3 && !draw(8))
            text[size++] = (uint8_t)draw(256);
    }
    return size;
}

int main(int argc, char **argv)
{
    if (argc != 4 || !choose_kernel(argv[1])) {
        fprintf(stderr, "usage: %s KERNEL TEXTS SEED; the kernel has to run on this machine\n", argv[0]);
        return 2;
    }
    unsigned long texts = strtoul(argv[2], 0, 10);
    state = strtoull(argv[3], 0, 10);
    LLVMFuzzerInitialize(&argc, &argv);
    static uint8_t input[2000];
    size_t bytes = 0;
    for (unsigned long number = 0; number < texts; number++) {
        input[0] = (uint8_t)draw(256);
        input[1] = draw(4) ? 0 : (uint8_t)draw(256);
        size_t size = 2 + make_text(input + 2, sizeof input - 2);
        bytes += size;
        uint8_t *exact = malloc(size); /* so that reading past the end is seen by a sanitizer */
        if (!exact)
            return 2;
        memcpy(exact, input, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    printf("%lu texts, %zu bytes: every kernel agrees, %s among them\n", texts, bytes, argv[1]);
    return 0;
}
