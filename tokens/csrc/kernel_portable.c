/* For machines without vector instructions we know. */
#include "piece_cache.h"

#define KERNEL kernel_portable
#define KERNEL_NAME "portable"
#define FIND_SLOT find_slot_branchless
#define LOAD_KEY make_key
#include "kernel_body.h"
