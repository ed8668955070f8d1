/* Every call of a simulation, as columns: what is asked, and what became of it. Times are seconds on the simulated clock.
 * The workload's calls come first; background calls of other tenants are appended while it runs. */
#ifndef INFEROMETER_CALLS_H
#define INFEROMETER_CALLS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum CallStatus {
    CALL_UNSEEN,
    CALL_SERVED,
    CALL_OVER_CONTEXT,
    CALL_OVER_MEMORY,
} CallStatus;

typedef struct Calls {
    int64_t count, capacity;
    int64_t foreground; /* the first ones; the rest are background */
    /* asked */
    int32_t *input_tokens, *output_tokens;
    int32_t *leaf;      /* segment of the prefix tree, -1: unknown prefix */
    uint8_t *priority;  /* lower goes first */
    int32_t *tail_leaf;   /* segment of a later prompt that its output fills, -1: none */
    int32_t *tail_blocks; /* leading blocks of that prompt that its prompt and output fill */
    /* answered */
    double *ready_s;    /* the client sends it */
    double *entered_s;  /* it joins an engine's queue */
    double *admitted_s; /* an engine first takes it into a batch */
    double *first_s;    /* the client has the first token */
    double *end_s;      /* the client has the last token */
    double *busy_s;     /* its share of the time its replicas worked */
    int32_t *hit_tokens;      /* found in the prefix cache when first admitted */
    int32_t *loaded_tokens;   /* fetched from the offload tier, not part of the above */
    int32_t *reused_tokens;   /* of both, what only outputs had filled before */
    int32_t *produced_tokens; /* output tokens so far */
    int32_t *rank;            /* order of entering an engine's queue */
    uint16_t *preemptions;
    int16_t *replica;         /* where it ended */
    uint8_t *status;
    uint8_t *kv_arrived;      /* its keys and values were sent by a prefill replica */
} Calls;

/* Make room for `capacity` calls, all unseen. Returns false without memory. */
bool calls_open(Calls *calls, int64_t capacity);
void calls_close(Calls *calls);
/* Append one unseen call and return its number, -1 without memory. */
int64_t calls_append(Calls *calls, int32_t input_tokens, int32_t output_tokens, int32_t leaf, uint8_t priority);

#endif
