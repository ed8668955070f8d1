#include "replica.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Calls that end with one step do so in the order they came; steps have the bits above. */
#define RANK_BITS 31

bool replica_open(Replica *replica, ReplicaRole role, const Rules *rules, const StepModel *model, Calls *calls,
                  PrefixTree *tree)
{
    size_t slots = (size_t)rules->max_sequences;
    memset(replica, 0, sizeof *replica);
    replica->role = role;
    replica->rules = *rules;
    replica->model = *model;
    replica->calls = calls;
    replica->prefill_first_slot = replica->prefill_last_slot = -1;
    replica->sequences = calloc(slots, sizeof *replica->sequences);
    replica->free_slots = malloc(slots * sizeof *replica->free_slots);
    if (!replica->sequences || !replica->free_slots)
        return false;
    for (size_t i = 0; i < slots; i++)
        replica->free_slots[i] = (int32_t)(slots - 1 - i);
    replica->free_count = (int64_t)slots;
    return cache_open(&replica->cache, tree, rules->kv_tokens) &&
           (rules->offload_tokens == 0 || cache_open(&replica->tier, tree, rules->offload_tokens)) &&
           heap_open(&replica->waiting, 0) && heap_open(&replica->finishing, rules->max_sequences) &&
           heap_open(&replica->victims, rules->max_sequences);
}

void replica_close(Replica *replica)
{
    cache_close(&replica->cache);
    cache_close(&replica->tier);
    heap_close(&replica->waiting);
    heap_close(&replica->finishing);
    heap_close(&replica->victims);
    free(replica->sequences);
    free(replica->free_slots);
    free(replica->outcomes);
    memset(replica, 0, sizeof *replica);
}

static bool leave_outcome(Replica *replica, StepOutcome outcome)
{
    if (replica->outcome_count == replica->outcome_capacity) {
        int64_t wanted = replica->outcome_capacity ? 2 * replica->outcome_capacity : 64;
        StepOutcome *grown = realloc(replica->outcomes, (size_t)wanted * sizeof *grown);
        if (!grown)
            return false;
        replica->outcomes = grown;
        replica->outcome_capacity = wanted;
    }
    replica->outcomes[replica->outcome_count++] = outcome;
    return true;
}

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t chain_blocks(const Replica *replica, int32_t leaf)
{
    const PrefixTree *tree = replica->cache.tree;
    return leaf < 0 ? 0 : (int64_t)tree->start[leaf] + tree->blocks[leaf];
}

/* The tokens that decoding added to memory, were the clock of decoding steps at `step`. */
static int64_t grown_tokens(const Replica *replica, int64_t step)
{
    int64_t parts = (replica->decoding * step - replica->joined_steps_sum) * replica->rules.progress;
    return (parts + PROGRESS_PARTS - 1) / PROGRESS_PARTS;
}

/* Private memory once the next decoding step has added to it. */
static int64_t private_tokens(const Replica *replica)
{
    return replica->held_tokens + grown_tokens(replica, replica->decode_step + 1);
}

/* The most that one decoding step, or its rounding, may overshoot a sequence's output. */
static int64_t overshoot_tokens(const Rules *rules)
{
    return rules->progress / PROGRESS_PARTS + 2;
}

bool replica_could_hold(const Replica *replica, int64_t call)
{
    const Calls *calls = replica->calls;
    const Rules *rules = &replica->rules;
    int64_t prompt = at_least(calls->input_tokens[call],
                              chain_blocks(replica, calls->leaf[call]) * replica->cache.tree->block_tokens);
    return prompt + calls->output_tokens[call] + rules->slack_tokens + overshoot_tokens(rules) <= rules->kv_tokens;
}

static int64_t queue_key(const Calls *calls, int64_t call)
{
    return (int64_t)calls->priority[call] << 40 | calls->rank[call];
}

static int64_t prompt_left(const Calls *calls, int64_t call)
{
    return calls->kv_arrived[call] ? 0 : at_least(1, (int64_t)calls->input_tokens[call] + calls->produced_tokens[call]);
}

bool replica_enqueue(Replica *replica, int64_t call)
{
    replica->queued_tokens += prompt_left(replica->calls, call);
    return heap_push(&replica->waiting, queue_key(replica->calls, call), call);
}

static void append_prefill(Replica *replica, int32_t slot)
{
    Sequence *sequence = &replica->sequences[slot];
    sequence->next = -1;
    sequence->previous = replica->prefill_last_slot;
    if (replica->prefill_last_slot >= 0)
        replica->sequences[replica->prefill_last_slot].next = slot;
    else
        replica->prefill_first_slot = slot;
    replica->prefill_last_slot = slot;
}

static void unlink_prefill(Replica *replica, int32_t slot)
{
    Sequence *sequence = &replica->sequences[slot];
    if (sequence->previous >= 0)
        replica->sequences[sequence->previous].next = sequence->next;
    else
        replica->prefill_first_slot = sequence->next;
    if (sequence->next >= 0)
        replica->sequences[sequence->next].previous = sequence->previous;
    else
        replica->prefill_last_slot = sequence->previous;
}

/* Let a sequence whose prompt is computed decode the `left` tokens that are still to come. */
static bool join_decoding(Replica *replica, int32_t slot, int64_t left)
{
    Sequence *sequence = &replica->sequences[slot];
    int64_t progress = replica->rules.progress;
    int64_t steps = (left * PROGRESS_PARTS + progress - 1) / progress;
    sequence->decoding = true;
    sequence->joined_step = replica->decode_step;
    sequence->joined_share_s = replica->share_s;
    replica->decoding++;
    replica->joined_steps_sum += sequence->joined_step;
    replica->decode_base_tokens += sequence->target_tokens;
    return heap_push(&replica->finishing, (replica->decode_step + steps) << RANK_BITS | replica->calls->rank[sequence->call],
                     slot);
}

/* Keep the blocks of a later prompt that a call's output filled, in memory that was the call's own till now. Its chain
 * is still pinned, so that these stand before it in the order of eviction. */
static void keep_output(Replica *replica, int64_t call)
{
    int32_t tail = replica->calls->tail_leaf[call];
    int64_t blocks = replica->calls->tail_blocks[call];
    cache_acquire(&replica->cache, tail, blocks, replica->held_tokens + grown_tokens(replica, replica->decode_step));
    cache_release(&replica->cache, tail, INT32_MAX);
    if (replica->tier.tree) {
        int64_t limit = at_most(blocks, replica->tier.capacity_tokens / replica->tier.tree->block_tokens);
        cache_acquire(&replica->tier, tail, limit, 0);
        cache_release(&replica->tier, tail, INT32_MAX);
    }
}

/* Take a sequence out of the batch and its memory back, leaving its computed blocks in the cache and the tier below. */
static void retire(Replica *replica, int32_t slot, bool finished)
{
    Sequence *sequence = &replica->sequences[slot];
    Calls *calls = replica->calls;
    if (sequence->decoding) {
        heap_remove(&replica->finishing, slot);
        replica->decoding--;
        replica->joined_steps_sum -= sequence->joined_step;
        replica->decode_base_tokens -= sequence->target_tokens;
        calls->busy_s[sequence->call] += replica->share_s - sequence->joined_share_s;
    } else {
        replica->queued_tokens -= sequence->target_tokens - sequence->computed_tokens;
    }
    int64_t computed = at_least(sequence->computed_tokens / replica->cache.tree->block_tokens, sequence->hit_blocks);
    if (sequence->computed_tokens >= sequence->target_tokens)
        computed = INT32_MAX;
    replica->held_tokens -= sequence->held_tokens;
    replica->promised_tokens -= sequence->promised_tokens;
    if (finished && sequence->leaf >= 0 && calls->tail_leaf[sequence->call] >= 0)
        keep_output(replica, sequence->call);
    if (sequence->leaf >= 0) {
        cache_release(&replica->cache, sequence->leaf, computed);
        if (replica->tier.tree) {
            int64_t limit = at_most(computed, replica->tier.capacity_tokens / replica->tier.tree->block_tokens);
            cache_acquire(&replica->tier, sequence->leaf, limit, 0);
            cache_release(&replica->tier, sequence->leaf, limit);
        }
    }
    replica->admitted--;
    heap_remove(&replica->victims, slot);
    replica->free_slots[replica->free_count++] = slot;
}

/* Send the sequence that came last back to the queue; what it computed is lost but for its cached blocks. */
static bool preempt(Replica *replica, int32_t slot)
{
    Sequence *sequence = &replica->sequences[slot];
    Calls *calls = replica->calls;
    int64_t call = sequence->call;
    if (sequence->decoding) {
        int64_t done = (replica->decode_step - sequence->joined_step) * replica->rules.progress / PROGRESS_PARTS;
        calls->produced_tokens[call] += (int32_t)at_most(done, sequence->promised_tokens - 1);
    } else {
        unlink_prefill(replica, slot);
    }
    if (calls->preemptions[call] < UINT16_MAX)
        calls->preemptions[call]++;
    calls->kv_arrived[call] = 0;
    replica->totals.preemptions++;
    replica->totals.recomputed_tokens += (double)sequence->computed_tokens;
    retire(replica, slot, false);
    return replica_enqueue(replica, call);
}

typedef struct Demand { /* what admitting a call would take */
    int32_t leaf;
    int64_t blocks;  /* of its chain */
    Match match;
    bool joins_at_once; /* its keys and values came with it */
    int64_t target_tokens, held_tokens, promised_tokens;
} Demand;

static Demand demand_of(const Replica *replica, int64_t call)
{
    const Calls *calls = replica->calls;
    int64_t block_tokens = replica->cache.tree->block_tokens;
    bool arrived = calls->kv_arrived[call];
    Demand demand = {.leaf = arrived ? -1 : calls->leaf[call], .joins_at_once = arrived};
    demand.blocks = chain_blocks(replica, demand.leaf);
    demand.match = cache_match(&replica->cache, demand.leaf);
    demand.target_tokens = at_least(1, (int64_t)calls->input_tokens[call] + calls->produced_tokens[call]);
    demand.held_tokens = at_least(0, demand.target_tokens - demand.blocks * block_tokens) + replica->rules.slack_tokens;
    demand.promised_tokens = at_least(0, calls->output_tokens[call] - calls->produced_tokens[call]);
    return demand;
}

static bool fits(const Replica *replica, const Demand *demand)
{
    int64_t block_tokens = replica->cache.tree->block_tokens;
    int64_t grown = grown_tokens(replica, replica->decode_step + 1);
    int64_t tokens = replica->cache.active_tokens + replica->held_tokens + grown + demand->held_tokens;
    tokens += demand->joins_at_once ? overshoot_tokens(&replica->rules) : 0;
    tokens += (demand->match.idle + demand->blocks - demand->match.blocks) * block_tokens;
    double reserve = replica->rules.reserve_share *
                     (double)(replica->promised_tokens - grown + demand->promised_tokens);
    return (double)tokens + at_least(0, (int64_t)ceil(reserve)) <= (double)replica->cache.capacity_tokens;
}

static int64_t hit_tokens_of(const Replica *replica, const Demand *demand, int64_t blocks)
{
    int64_t block_tokens = replica->cache.tree->block_tokens;
    int64_t tokens = blocks * block_tokens;
    if (tokens < demand->target_tokens)
        return tokens;
    return (demand->target_tokens - 1) / block_tokens * block_tokens; /* the last token is always computed */
}

/* Admit the first waiting call if memory, slots and reserves allow. Returns 1 admitted, 0 not now, -1 without memory. */
static int admit(Replica *replica)
{
    Calls *calls = replica->calls;
    if (replica->waiting.count == 0 || replica->free_count == 0)
        return 0;
    int64_t call = replica->waiting.entries[0].item;
    Demand demand = demand_of(replica, call);
    if (!fits(replica, &demand))
        return 0;
    heap_pop(&replica->waiting);

    int32_t slot = replica->free_slots[--replica->free_count];
    Sequence *sequence = &replica->sequences[slot];
    int64_t fetched_blocks = 0;
    if (replica->tier.tree)
        fetched_blocks = cache_match(&replica->tier, demand.leaf).blocks;
    replica->held_tokens += demand.held_tokens;
    cache_acquire(&replica->cache, demand.leaf, INT32_MAX, private_tokens(replica));
    cache_make_room(&replica->cache, private_tokens(replica));
    int64_t hit = hit_tokens_of(replica, &demand, demand.match.blocks);
    int64_t fetched = at_least(0, hit_tokens_of(replica, &demand, fetched_blocks) - hit);
    int64_t prompted = cache_prompt(&replica->cache, demand.leaf) * replica->cache.tree->block_tokens;
    bool arrived = demand.joins_at_once;
    *sequence = (Sequence){
        .call = call,
        .leaf = demand.leaf,
        .previous = -1,
        .next = -1,
        .target_tokens = demand.target_tokens,
        .computed_tokens = arrived ? demand.target_tokens : hit + fetched,
        .hit_blocks = at_least(demand.match.blocks, fetched_blocks),
        .hit_share = (double)(hit + fetched) / (double)demand.target_tokens,
        .held_tokens = demand.held_tokens,
        .promised_tokens = demand.promised_tokens,
    };
    replica->promised_tokens += demand.promised_tokens;
    replica->queued_tokens -= arrived ? 0 : sequence->computed_tokens;
    replica->admitted++;
    if (calls->preemptions[call] == 0 && !arrived) {
        calls->admitted_s[call] = replica->step_begin_s;
        calls->hit_tokens[call] = (int32_t)hit;
        calls->loaded_tokens[call] = (int32_t)fetched;
        calls->reused_tokens[call] = (int32_t)at_least(0, hit + fetched - prompted);
    }
    if (arrived) {
        bool joined = join_decoding(replica, slot, demand.promised_tokens) &&
                      heap_push(&replica->victims, -queue_key(calls, call), slot);
        cache_make_room(&replica->cache, private_tokens(replica)); /* it adds to memory in this very step */
        return joined ? 1 : -1;
    }
    if (fetched > 0) {
        StepOutcome wait = {OUTCOME_LOADING, call, slot, (double)fetched * replica->rules.offload_s_per_token};
        return leave_outcome(replica, wait) ? 1 : -1;
    }
    append_prefill(replica, slot);
    return heap_push(&replica->victims, -queue_key(calls, call), slot) ? 1 : -1;
}

bool replica_wake(Replica *replica, int32_t slot)
{
    append_prefill(replica, slot);
    return heap_push(&replica->victims, -queue_key(replica->calls, replica->sequences[slot].call), slot);
}

/* Give a sequence in prefill its part of the step's budget. */
static int64_t schedule_chunk(Replica *replica, Sequence *sequence, int64_t budget, StepLoad *load)
{
    const Rules *rules = &replica->rules;
    int64_t left = sequence->target_tokens - sequence->computed_tokens;
    int64_t chunk = at_most(at_most(left, budget), rules->max_chunk_tokens);
    double before = (double)sequence->computed_tokens, now = (double)chunk;
    sequence->chunk = (int32_t)chunk;
    load->prefill_tokens += now;
    load->prefill_attention_pairs += now * before + now * now / 2.0;
    load->sequences += 1.0;
    if (rules->hull_hit_share >= 0.0 && sequence->hit_share > rules->hull_hit_share)
        replica->step_reuses = true;
    return chunk;
}

/* Put prompts into the step: those begun first, then waiting calls while budget, slots and memory last. */
static int schedule_prefills(Replica *replica, int64_t budget, bool may_admit, StepLoad *load)
{
    int32_t slot = replica->prefill_first_slot;
    while (budget > 0) {
        if (slot < 0) {
            int32_t last = replica->prefill_last_slot;
            int admitted = may_admit ? admit(replica) : 0;
            if (admitted <= 0)
                return admitted;
            slot = last < 0 ? replica->prefill_first_slot : replica->sequences[last].next;
            continue; /* whoever loads or decodes at once is not in prefill, and the next one is tried */
        }
        budget -= schedule_chunk(replica, &replica->sequences[slot], budget, load);
        slot = replica->sequences[slot].next;
    }
    return 1;
}

/* Free memory for one more decoding step by evicting, then by preempting. Returns preempted sequences, -1: no memory. */
static int make_room_to_decode(Replica *replica)
{
    int preempted = 0;
    while (replica->decoding > 0 &&
           !cache_make_room(&replica->cache, private_tokens(replica))) {
        if (replica->victims.count == 0 || !preempt(replica, (int32_t)replica->victims.entries[0].item))
            return -1;
        preempted++;
    }
    return preempted;
}

static void count_step(Replica *replica, const StepLoad *load, double seconds)
{
    ReplicaTotals *totals = &replica->totals;
    const Rules *rules = &replica->rules;
    totals->steps++;
    totals->prefill_tokens += load->prefill_tokens;
    totals->prefill_pairs += load->prefill_attention_pairs;
    totals->decode_steps += replica->step_decodes;
    totals->decode_tokens += load->decode_sequences;
    totals->decode_kv_tokens += load->decode_kv_tokens;
    if (replica->model.expert_weight_seconds > 0.0)
        totals->expert_coverage -= expm1((load->decode_sequences + load->draft_tokens + load->prefill_tokens) *
                                         replica->model.expert_log_miss / replica->model.microbatches);
    bool outside = replica->step_reuses || (rules->hull_sequences > 0.0 && load->sequences > rules->hull_sequences) ||
                   (rules->hull_context_tokens > 0.0 &&
                    load->decode_kv_tokens > load->decode_sequences * rules->hull_context_tokens);
    totals->outside_steps += outside;
    totals->outside_s += outside ? seconds : 0.0;
    int64_t grown = grown_tokens(replica, replica->decode_step + replica->step_decodes);
    double used = (double)(replica->cache.resident_tokens + replica->held_tokens + grown);
    totals->peak_tokens = fmax(totals->peak_tokens, used);
    totals->peak_sequences = fmax(totals->peak_sequences, load->sequences);
}

bool replica_begin_step(Replica *replica, double now_s)
{
    const Rules *rules = &replica->rules;
    StepLoad load = {0};
    int scheduled = 0;
    replica->outcome_count = 0;
    replica->step_begin_s = now_s;
    replica->step_reuses = false;
    if (rules->prefill_first)
        scheduled = schedule_prefills(replica, rules->max_step_tokens, true, &load);
    bool decodes = replica->decoding > 0 && load.prefill_tokens == 0.0;
    if (!rules->prefill_first || decodes) {
        int preempted = make_room_to_decode(replica);
        if (preempted < 0)
            return false;
        int64_t budget = rules->max_step_tokens - replica->decoding * (1 + rules->draft_tokens);
        if (!rules->prefill_first)
            scheduled = schedule_prefills(replica, at_least(budget, 0), preempted == 0, &load);
        decodes = replica->decoding > 0;
    }
    if (scheduled < 0)
        return false;
    replica->step_decodes = decodes;
    if (decodes) {
        double sequences = (double)replica->decoding;
        load.decode_sequences = sequences;
        load.sequences += sequences;
        load.draft_tokens = sequences * (double)rules->draft_tokens;
        load.decode_kv_tokens =
            (double)(replica->decode_base_tokens + grown_tokens(replica, replica->decode_step)) + sequences;
    }
    replica->stepping = load.sequences > 0.0;
    if (!replica->stepping)
        return true;
    double seconds = step_seconds(&replica->model, &load);
    replica->step_s = seconds;
    replica->step_end_s = now_s + seconds;
    replica->step_share_s = seconds / (load.decode_sequences + load.prefill_tokens);
    count_step(replica, &load, seconds);
    return true;
}

/* A prompt is computed: its first token is out. */
static bool end_prefill(Replica *replica, int32_t slot)
{
    Sequence *sequence = &replica->sequences[slot];
    Calls *calls = replica->calls;
    int64_t call = sequence->call;
    unlink_prefill(replica, slot);
    if (calls->first_s[call] == 0.0)
        calls->first_s[call] = replica->step_end_s;
    if (sequence->promised_tokens > 0)
        calls->produced_tokens[call]++;
    int64_t left = sequence->promised_tokens - 1;
    if (left > 0 && replica->role != ROLE_PREFILL)
        return join_decoding(replica, slot, left);
    retire(replica, slot, left <= 0);
    return leave_outcome(replica, (StepOutcome){left > 0 ? OUTCOME_PREFILLED : OUTCOME_FINISHED, call, slot, 0.0});
}

bool replica_end_step(Replica *replica)
{
    Calls *calls = replica->calls;
    replica->stepping = false;
    replica->outcome_count = 0;
    replica->totals.last_end_s = replica->step_end_s;
    replica->totals.busy_s += replica->step_s;
    if (replica->step_decodes) {
        replica->decode_step++;
        replica->share_s += replica->step_share_s;
    }
    while (replica->finishing.count > 0 && replica->finishing.entries[0].key >> RANK_BITS <= replica->decode_step) {
        int32_t slot = (int32_t)replica->finishing.entries[0].item;
        int64_t call = replica->sequences[slot].call;
        retire(replica, slot, true);
        calls->produced_tokens[call] = calls->output_tokens[call];
        if (!leave_outcome(replica, (StepOutcome){OUTCOME_FINISHED, call, slot, 0.0}))
            return false;
    }
    int32_t slot = replica->prefill_first_slot;
    while (slot >= 0 && replica->sequences[slot].chunk > 0) {
        Sequence *sequence = &replica->sequences[slot];
        int32_t next = sequence->next;
        sequence->computed_tokens += sequence->chunk;
        replica->queued_tokens -= sequence->chunk;
        calls->busy_s[sequence->call] += sequence->chunk * replica->step_share_s;
        sequence->chunk = 0;
        if (sequence->computed_tokens >= sequence->target_tokens && !end_prefill(replica, slot))
            return false;
        slot = next;
    }
    return true;
}
