#include "steptime.h"

#include <math.h>

static double expert_seconds(const StepModel *m, double tokens)
{
    if (m->expert_weight_seconds <= 0.0 && m->expert_seconds_per_token <= 0.0)
        return 0.0;
    double coverage = -expm1(tokens * m->expert_log_miss);
    double busiest = 1.0 + m->expert_imbalance * coverage;
    return coverage * m->expert_weight_seconds + tokens * m->expert_seconds_per_token * busiest;
}

static double attention_seconds(const StepModel *m, double decodes, double kv_tokens, double queries,
                                double prefill_tokens, double pairs)
{
    double seconds = pairs * m->pair_seconds;
    if (decodes > 0.0) {
        double per_sequence = queries / decodes;
        seconds += fmax(kv_tokens * m->kv_seconds_per_token,
                        kv_tokens * per_sequence * m->kv_compute_seconds_per_token);
        if (m->window_tokens > 0.0) {
            double seen = fmin(kv_tokens, decodes * m->window_tokens);
            seconds += fmax(seen * m->window_kv_seconds_per_token,
                            seen * per_sequence * m->window_compute_seconds_per_token);
        }
    }
    if (m->window_tokens > 0.0)
        seconds += fmin(pairs, prefill_tokens * m->window_tokens) * m->window_pair_seconds;
    return seconds;
}

double step_seconds(const StepModel *m, const StepLoad *load)
{
    double queries = load->decode_sequences + load->draft_tokens;
    double tokens = queries + load->prefill_tokens;
    if (tokens <= 0.0)
        return 0.0;
    double replica_share = 1.0 / m->microbatches;
    double rank_share = replica_share / m->attention_groups;
    double rank_tokens = tokens * rank_share;

    double seconds = m->weight_seconds + rank_tokens * m->gemm_seconds_per_token;
    seconds += expert_seconds(m, tokens * replica_share);
    seconds += attention_seconds(m, load->decode_sequences * rank_share, load->decode_kv_tokens * rank_share,
                                 queries * rank_share, load->prefill_tokens * rank_share,
                                 load->prefill_attention_pairs * rank_share);
    seconds += load->sequences * rank_share * m->state_seconds_per_sequence;
    seconds += m->link_seconds + rank_tokens * m->link_seconds_per_token;
    seconds += m->host_seconds + load->sequences * rank_share * m->host_seconds_per_sequence;
    if (load->draft_tokens > 0.0)
        seconds += m->draft_seconds + load->draft_tokens * rank_share * m->draft_seconds_per_token;
    return seconds;
}
