/* Tables lie on large pages where the system has them: a page of the usual size would be missed at every probe, and made
 * one by one. */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* madvise */
#endif
#include "table.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define HUGE_PAGE ((size_t)2 << 20)

void *allocate_table(size_t size, const void *content)
{
    size_t alignment = size >= HUGE_PAGE ? HUGE_PAGE : 64;
    size_t room = (size + alignment - 1) / alignment * alignment;
    void *table = aligned_alloc(alignment, room);
    if (!table)
        return 0;
#if defined(MADV_HUGEPAGE)
    if (room >= HUGE_PAGE)
        madvise(table, room, MADV_HUGEPAGE); /* before the first touch */
#endif
    return content ? memcpy(table, content, size) : memset(table, 0, size);
}
