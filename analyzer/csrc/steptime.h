/* How long one scheduler step of a serving engine takes: a closed form of constant cost.
 *
 * All members are seconds or counts, worked out once per (hardware, engine, model, precision, parallelism) by
 * analyzer/steptime.py; nothing here knows a chip or a model. Both structs hold doubles alone, in the order of
 * `StepModel` and `StepLoad` there, so that a float64 array is either of them.
 */
#ifndef INFEROMETER_STEPTIME_H
#define INFEROMETER_STEPTIME_H

typedef struct StepModel {
    /* shape of the deployment */
    double attention_groups; /* data-parallel attention ranks that share the load of one replica; >= 1 */
    double microbatches;     /* pipeline stages, each at work on its share of the batch; >= 1 */
    /* matrix products that every token meets: reading and computing add up, so that the share of the chip's rate which
     * a step of n tokens reaches grows as n / (n + half), half of it where reading takes as long as computing */
    double weight_seconds;         /* read the weights once */
    double gemm_seconds_per_token; /* compute, per token of the step */
    /* experts: the same, with only the touched ones read */
    double expert_weight_seconds;    /* read all experts of the busiest rank */
    double expert_log_miss;          /* log(1 - chance that one token touches an expert); <= 0 */
    double expert_seconds_per_token; /* compute, per token of the replica, evenly spread */
    double expert_imbalance;         /* excess of the busiest rank over the mean, once every rank has work */
    /* attention over cached tokens: full layers, and layers that look back at most `window_tokens` */
    double kv_seconds_per_token;           /* read one cached token, full layers */
    double kv_compute_seconds_per_token;   /* compute one query token against one cached token, full layers */
    double window_tokens;                  /* 0: no such layers */
    double window_kv_seconds_per_token;    /* as above, windowed layers */
    double window_compute_seconds_per_token;
    double pair_seconds;                   /* prefill: one (query, key) pair, full layers */
    double window_pair_seconds;            /* the same, windowed layers */
    double state_seconds_per_sequence;     /* read and write the constant state of linear layers */
    /* communication between the ranks of a replica */
    double link_seconds;           /* latency of all collectives of a step */
    double link_seconds_per_token; /* transfer, per token of an attention group */
    /* the host: scheduling, sampling, launching */
    double host_seconds;
    double host_seconds_per_sequence;
    /* speculative decoding */
    double draft_seconds;           /* drafting for a step in which anything is drafted */
    double draft_seconds_per_token; /* per drafted token */
} StepModel;

typedef struct StepLoad {
    double sequences;               /* sequences with any work in the step */
    double decode_sequences;        /* of these, the ones that decode */
    double decode_kv_tokens;        /* sum of the context lengths of the decoding sequences */
    double draft_tokens;            /* speculative: tokens verified beyond one per decoding sequence; 0 where off */
    double prefill_tokens;          /* prompt tokens computed (cached ones are not) */
    double prefill_attention_pairs; /* sum over chunks of c*k + c*c/2: c new tokens after k earlier ones */
} StepLoad;

/* Return the seconds of one step; 0 for a step without work. Pure, never fails, about 50 ns. */
double step_seconds(const StepModel *model, const StepLoad *load);

#endif
