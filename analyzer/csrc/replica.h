/* One replica of a serving engine: a queue, KV memory with a prefix cache, and a scheduler that forms one step after
 * another (continuous batching). It knows nothing of arrivals or of other replicas.
 *
 * All decoding sequences advance in lockstep, so a step costs a constant: contexts are summed, not visited, and a
 * sequence that joins at step D with n tokens to go ends at step D + ceil(n / tokens per step), known when it joins.
 */
#ifndef INFEROMETER_REPLICA_H
#define INFEROMETER_REPLICA_H

#include "cache.h"
#include "calls.h"
#include "heap.h"
#include "steptime.h"

/* How many parts a token is counted in where speculative decoding advances by fractions of one. */
#define PROGRESS_PARTS 65536

typedef enum ReplicaRole { ROLE_WHOLE, ROLE_PREFILL, ROLE_DECODE } ReplicaRole;

typedef struct Rules {
    int64_t max_sequences;     /* in a batch, and admitted */
    int64_t max_step_tokens;   /* of a step, decoding and prefill together */
    int64_t max_chunk_tokens;  /* of one prompt in a step */
    bool prefill_first;        /* prompts go in steps of their own, before decoding; else both share a step */
    double reserve_share;      /* of the output tokens still to come that admission keeps free: 0 none, 1 all */
    int64_t kv_tokens;         /* that memory holds */
    int64_t window_tokens;     /* longest prompt the model takes */
    int64_t slack_tokens;      /* of the last, part-filled KV block of a sequence */
    int64_t progress;          /* output tokens of one decoding step, in PROGRESS_PARTS */
    int64_t draft_tokens;      /* verified beyond one per sequence and step */
    int64_t offload_tokens;    /* held by the tier below; 0: none */
    double offload_s_per_token; /* to fetch one back */
    double hull_sequences;     /* calibrated up to this batch; 0: unknown */
    double hull_context_tokens; /* up to this mean context of a decoding sequence; 0: unknown */
    double hull_hit_share;     /* and up to this share of a prompt found in the cache; below 0: unknown */
} Rules;

typedef struct Sequence {
    int64_t call;
    int32_t leaf;
    int32_t previous, next;    /* among sequences in prefill */
    int32_t chunk;             /* tokens in the step that runs */
    bool decoding;
    int64_t target_tokens;     /* to be computed before the next output token comes */
    int64_t computed_tokens;
    int64_t hit_blocks;        /* that were kept already */
    double hit_share;          /* of the prompt, found or fetched */
    int64_t held_tokens;       /* private memory, without what decoding added */
    int64_t promised_tokens;   /* of output still to come at admission */
    int64_t joined_step;
    double joined_share_s;
} Sequence;

typedef enum OutcomeKind { OUTCOME_FINISHED, OUTCOME_PREFILLED, OUTCOME_LOADING } OutcomeKind;

typedef struct StepOutcome { /* what a step, or an admission, leaves for the fleet to do */
    OutcomeKind kind;
    int64_t call;
    int32_t slot;              /* LOADING: whom to wake */
    double delay_s;            /* LOADING: after how long */
} StepOutcome;

typedef struct ReplicaTotals {
    double busy_s, last_end_s;
    double steps, decode_steps, prefill_tokens, decode_tokens, decode_kv_tokens, prefill_pairs;
    double expert_coverage;    /* sum over steps of the share of experts touched */
    double outside_steps, outside_s; /* beyond what was calibrated */
    double preemptions, recomputed_tokens, peak_tokens, peak_sequences;
} ReplicaTotals;

typedef struct Replica {
    ReplicaRole role;
    Rules rules;
    StepModel model;
    Calls *calls;
    Cache cache, tier;         /* the tier below keeps a copy of what was computed */
    Sequence *sequences;
    int32_t *free_slots;
    int64_t free_count;
    Heap waiting;              /* calls by (priority, rank) */
    Heap finishing;            /* slots by (the step they end at, rank) */
    Heap victims;              /* slots by who is preempted first */
    int32_t prefill_first_slot, prefill_last_slot;
    int64_t admitted;          /* sequences that hold memory */
    int64_t decoding;
    int64_t decode_step;       /* number of decoding steps so far */
    int64_t joined_steps_sum;  /* over decoding sequences */
    int64_t decode_base_tokens; /* sum of their contexts when they joined */
    int64_t held_tokens, promised_tokens;
    int64_t queued_tokens;     /* prompt tokens waiting or in prefill, for routers */
    double share_s;            /* sum over steps of seconds per scheduled token */
    bool stepping;
    bool step_decodes;
    bool step_reuses;          /* more of a prompt than was calibrated */
    double step_begin_s, step_end_s, step_s, step_share_s;
    StepOutcome *outcomes;
    int64_t outcome_count, outcome_capacity;
    ReplicaTotals totals;
} Replica;

/* Prepare an idle replica. Returns false without memory; close it all the same. */
bool replica_open(Replica *replica, ReplicaRole role, const Rules *rules, const StepModel *model, Calls *calls,
                  PrefixTree *tree);
void replica_close(Replica *replica);
/* Return whether memory could hold the call alone at its longest. */
bool replica_could_hold(const Replica *replica, int64_t call);
/* Queue a call. Returns false without memory. */
bool replica_enqueue(Replica *replica, int64_t call);
/* Form the next step at `now_s` and set step_end_s; `stepping` stays false where there is nothing to do. Admissions
 * that wait for the tier below are left in `outcomes`. Returns false without memory. */
bool replica_begin_step(Replica *replica, double now_s);
/* Apply the step that ends now; finished and handed-over calls are left in `outcomes`. Returns false without memory. */
bool replica_end_step(Replica *replica);
/* A sequence's blocks are back from the tier below. Returns false without memory. */
bool replica_wake(Replica *replica, int32_t slot);

#endif
