/* Run-time choice of a kernel. */
#include "kernel.h"

extern const struct kernel kernel_portable;
#if defined(__x86_64__)
extern const struct kernel kernel_avx2, kernel_avx512;
#elif defined(__aarch64__)
extern const struct kernel kernel_neon;
#endif

const struct kernel *choose_kernel(const char *name)
{
    const struct kernel *kernels[3] = {&kernel_portable};
    unsigned count = 1;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        kernels[count++] = &kernel_avx2;
    if (count == 2 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        kernels[count++] = &kernel_avx512;
#elif defined(__aarch64__)
    kernels[count++] = &kernel_neon;
#endif
    while (count--)
        if (!name || !strcmp(name, kernels[count]->name))
            return kernels[count];
    return 0;
}
