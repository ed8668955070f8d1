#include "fleet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum EventKind { EVENT_READY, EVENT_ENTER, EVENT_DECODE, EVENT_WAKE, EVENT_BACKGROUND } EventKind;

#define SUBJECT_BITS 56
#define SLOT_BITS 28
#define TURNS_TO_ASK 2000000 /* about a tenth of a second */

static bool schedule(Fleet *fleet, double time_s, EventKind kind, int64_t subject)
{
    return heap_push(&fleet->events, key_of_time(time_s), (int64_t)kind << SUBJECT_BITS | subject);
}

static int by_start(const void *a, const void *b)
{
    const double *left = *(const double *const *)a, *right = *(const double *const *)b;
    if (*left != *right)
        return *left < *right ? -1 : 1;
    return left < right ? -1 : left > right;
}

/* Sort the sessions that have a start time by it; equal ones keep their order. */
static bool order_sessions(Fleet *fleet)
{
    const Sessions *sessions = &fleet->sessions;
    const double **starts = malloc((size_t)(sessions->count + 1) * sizeof *starts);
    fleet->start_order = malloc((size_t)(sessions->count + 1) * sizeof *fleet->start_order);
    if (!starts || !fleet->start_order) {
        free(starts);
        return false;
    }
    for (int64_t i = 0; i < sessions->count; i++)
        if (!isnan(sessions->start_s[i]))
            starts[fleet->timed_sessions++] = &sessions->start_s[i];
    qsort(starts, (size_t)fleet->timed_sessions, sizeof *starts, by_start);
    for (int64_t i = 0; i < fleet->timed_sessions; i++)
        fleet->start_order[i] = starts[i] - sessions->start_s;
    free(starts);
    return true;
}

/* Note which blocks of a later prompt a call's output fills: those of the first call that waited for it and whose
 * prompt goes on from its prompt and is long enough to hold both. The last output token is never computed. */
static void note_tail(Fleet *fleet, int64_t call)
{
    Calls *calls = &fleet->calls;
    const PrefixTree *tree = &fleet->tree;
    int32_t leaf = calls->leaf[call];
    int64_t computed = (int64_t)calls->input_tokens[call] + calls->output_tokens[call] - 1;
    int64_t filled = computed / tree->block_tokens;
    if (leaf < 0 || calls->output_tokens[call] < 2)
        return;
    int64_t prompt_blocks = (int64_t)tree->start[leaf] + tree->blocks[leaf];
    for (int64_t edge = fleet->edges.first[call]; edge < fleet->edges.first[call + 1]; edge++) {
        int32_t next = fleet->edges.to[edge], segment = calls->leaf[next], tail = -1;
        if (calls->input_tokens[next] <= computed)
            continue;
        for (; segment >= 0 && tree->start[segment] >= prompt_blocks; segment = tree->parent[segment])
            if (tail < 0 && tree->start[segment] < filled)
                tail = segment;
        if (segment != leaf || tail < 0)
            continue;
        int64_t end = (int64_t)tree->start[tail] + tree->blocks[tail];
        calls->tail_leaf[call] = tail;
        calls->tail_blocks[call] = (int32_t)(filled < end ? filled : end);
        return;
    }
}

static bool open_columns(Fleet *fleet)
{
    const Sessions *sessions = &fleet->sessions;
    int64_t calls = fleet->calls.foreground;
    fleet->open_calls = calloc((size_t)sessions->count + 1, sizeof *fleet->open_calls);
    fleet->waits_for = calloc((size_t)calls + 1, sizeof *fleet->waits_for);
    fleet->session_of = malloc((size_t)(calls + 1) * sizeof *fleet->session_of);
    fleet->to_begin = malloc((size_t)(fleet->replica_count + 1) * sizeof *fleet->to_begin);
    fleet->begins = calloc((size_t)fleet->replica_count + 1, 1);
    if (!fleet->open_calls || !fleet->waits_for || !fleet->session_of || !fleet->to_begin || !fleet->begins)
        return false;
    for (int64_t session = 0; session < sessions->count; session++) {
        fleet->open_calls[session] = (int32_t)(sessions->first[session + 1] - sessions->first[session]);
        for (int64_t call = sessions->first[session]; call < sessions->first[session + 1]; call++)
            fleet->session_of[call] = (int32_t)session;
    }
    for (int64_t edge = 0; edge < fleet->edges.first[calls]; edge++)
        fleet->waits_for[fleet->edges.to[edge]]++;
    for (int64_t call = 0; call < calls; call++)
        note_tail(fleet, call);
    return true;
}

bool fleet_open(Fleet *fleet, const RoleSetup *whole, const RoleSetup *decode, uint64_t seed)
{
    const FleetOptions *options = &fleet->options;
    bool split = options->decode_replicas > 0;
    fleet->replica_count = options->replicas + options->decode_replicas;
    fleet->replicas = calloc((size_t)fleet->replica_count, sizeof *fleet->replicas);
    fleet->caches = calloc((size_t)fleet->replica_count, sizeof *fleet->caches);
    fleet->router.kind = options->router;
    fleet->decode_router.kind = options->router == ROUTE_PREFIX ? ROUTE_LEAST_LOADED : options->router;
    if (!fleet->replicas || !fleet->caches || !heap_open(&fleet->events, 0) || !heap_open(&fleet->steps, 0) ||
        !order_sessions(fleet) || !open_columns(fleet) ||
        !frontend_open(&fleet->frontend, options->front_workers, options->front_call_s, options->front_token_s) ||
        !background_open(&fleet->background, &fleet->tree, seed))
        return false;
    for (int64_t i = 0; i < fleet->replica_count; i++) {
        bool decodes = i >= options->replicas;
        const RoleSetup *setup = decodes ? decode : whole;
        ReplicaRole role = !split ? ROLE_WHOLE : decodes ? ROLE_DECODE : ROLE_PREFILL;
        if (!replica_open(&fleet->replicas[i], role, &setup->rules, &setup->model, &fleet->calls, &fleet->tree))
            return false;
        fleet->caches[i] = &fleet->replicas[i].cache;
    }
    return true;
}

void fleet_close(Fleet *fleet)
{
    for (int64_t i = 0; fleet->replicas && i < fleet->replica_count; i++)
        replica_close(&fleet->replicas[i]);
    free(fleet->replicas);
    free(fleet->caches);
    heap_close(&fleet->events);
    heap_close(&fleet->steps);
    frontend_close(&fleet->frontend);
    background_close(&fleet->background);
    calls_close(&fleet->calls);
    tree_close(&fleet->tree);
    free(fleet->start_order);
    free(fleet->open_calls);
    free(fleet->waits_for);
    free(fleet->session_of);
    free(fleet->to_begin);
    free(fleet->begins);
    memset(fleet, 0, sizeof *fleet);
}

static bool start_session(Fleet *fleet, int64_t session, double now_s)
{
    const Sessions *sessions = &fleet->sessions;
    for (int64_t call = sessions->first[session]; call < sessions->first[session + 1]; call++) {
        fleet->calls.ready_s[call] = now_s + sessions->release_s[call];
        if (fleet->waits_for[call] == 0 && !schedule(fleet, fleet->calls.ready_s[call], EVENT_READY, call))
            return false;
    }
    return true;
}

/* Start the next session that has no time of its own, passing over empty ones. */
static bool start_queued_session(Fleet *fleet, double now_s)
{
    const Sessions *sessions = &fleet->sessions;
    while (fleet->next_queued < sessions->count) {
        int64_t session = fleet->next_queued++;
        if (isnan(sessions->start_s[session]) && fleet->open_calls[session] > 0)
            return start_session(fleet, session, now_s);
    }
    return true;
}

/* A foreground call is over: let go of what waited for it. */
static bool end_call(Fleet *fleet, int64_t call, CallStatus status, double end_s)
{
    Calls *calls = &fleet->calls;
    calls->status[call] = (uint8_t)status;
    calls->end_s[call] = end_s;
    if (call >= calls->foreground) {
        background_disclaim(&fleet->background, calls->leaf[call]);
        return true;
    }
    fleet->done++;
    for (int64_t edge = fleet->edges.first[call]; edge < fleet->edges.first[call + 1]; edge++) {
        int32_t next = fleet->edges.to[edge];
        double ready_s = end_s + fleet->edges.gap_s[edge];
        if (ready_s > calls->ready_s[next])
            calls->ready_s[next] = ready_s;
        if (--fleet->waits_for[next] == 0 && !schedule(fleet, calls->ready_s[next], EVENT_READY, next))
            return false;
    }
    int32_t session = fleet->session_of[call];
    if (--fleet->open_calls[session] == 0 && isnan(fleet->sessions.start_s[session]))
        return start_queued_session(fleet, end_s);
    return true;
}

static void begin_soon(Fleet *fleet, int64_t replica)
{
    if (fleet->begins[replica] || fleet->replicas[replica].stepping)
        return;
    fleet->begins[replica] = 1;
    fleet->to_begin[fleet->to_begin_count++] = replica;
}

/* Route a call to a replica's queue; background calls learn here which spare segment is theirs. */
static bool enter(Fleet *fleet, int64_t call)
{
    Calls *calls = &fleet->calls;
    int64_t replica = router_choose(&fleet->router, fleet->replicas, fleet->options.replicas, call);
    if (call >= calls->foreground)
        calls->leaf[call] = background_claim(&fleet->background, fleet->caches, (int32_t)replica,
                                             calls->input_tokens[call]);
    calls->rank[call] = fleet->next_rank++;
    calls->entered_s[call] = fleet->now_s;
    calls->replica[call] = (int16_t)replica;
    begin_soon(fleet, replica);
    return replica_enqueue(&fleet->replicas[replica], call);
}

/* Hand a prefilled call, its keys and values sent, to a decoding replica. */
static bool enter_decode(Fleet *fleet, int64_t call)
{
    const FleetOptions *options = &fleet->options;
    fleet->calls.kv_arrived[call] = 1;
    int64_t replica = options->replicas + router_choose(&fleet->decode_router, fleet->replicas + options->replicas,
                                                        options->decode_replicas, call);
    fleet->calls.replica[call] = (int16_t)replica;
    begin_soon(fleet, replica);
    return replica_enqueue(&fleet->replicas[replica], call);
}

/* The client sends a call: refuse what cannot run, send the rest through network and front end. */
static bool send(Fleet *fleet, int64_t call)
{
    Calls *calls = &fleet->calls;
    const Replica *first = &fleet->replicas[0], *last = &fleet->replicas[fleet->replica_count - 1];
    CallStatus refusal = CALL_UNSEEN;
    if (calls->input_tokens[call] > first->rules.window_tokens)
        refusal = CALL_OVER_CONTEXT;
    else if (!replica_could_hold(first, call) || !replica_could_hold(last, call))
        refusal = CALL_OVER_MEMORY;
    if (refusal != CALL_UNSEEN)
        return end_call(fleet, call, refusal, fleet->now_s);
    double arrives_s = fleet->now_s + fleet->options.round_trip_s / 2.0;
    double enters_s = frontend_pass(&fleet->frontend, arrives_s, calls->input_tokens[call]) + fleet->options.entry_s;
    if (enters_s <= fleet->now_s)
        return enter(fleet, call);
    return schedule(fleet, enters_s, EVENT_ENTER, call);
}

static bool send_background(Fleet *fleet)
{
    Background *background = &fleet->background;
    if (background->left-- <= 0)
        return true;
    int64_t row = background_row(background);
    int64_t call = calls_append(&fleet->calls, background->input_tokens[row], background->output_tokens[row], -1, 0);
    if (call < 0)
        return false;
    fleet->calls.ready_s[call] = fleet->now_s;
    return schedule(fleet, fleet->now_s + background_gap(background), EVENT_BACKGROUND, 0) && send(fleet, call);
}

static bool handle_event(Fleet *fleet, int64_t item)
{
    int64_t subject = item & (((int64_t)1 << SUBJECT_BITS) - 1);
    switch ((EventKind)(item >> SUBJECT_BITS)) {
    case EVENT_READY:
        return send(fleet, subject);
    case EVENT_ENTER:
        return enter(fleet, subject);
    case EVENT_DECODE:
        return enter_decode(fleet, subject);
    case EVENT_WAKE: {
        int64_t replica = subject >> SLOT_BITS;
        begin_soon(fleet, replica);
        return replica_wake(&fleet->replicas[replica], (int32_t)(subject & ((1 << SLOT_BITS) - 1)));
    }
    case EVENT_BACKGROUND:
        return send_background(fleet);
    }
    return false;
}

/* Do what a replica left: calls that ended, that go on elsewhere, or that wait for the tier below. */
static bool settle(Fleet *fleet, int64_t index)
{
    Replica *replica = &fleet->replicas[index];
    for (int64_t i = 0; i < replica->outcome_count; i++) {
        StepOutcome outcome = replica->outcomes[i];
        bool done = true;
        switch (outcome.kind) {
        case OUTCOME_FINISHED:
            done = end_call(fleet, outcome.call, CALL_SERVED, fleet->now_s + fleet->options.round_trip_s / 2.0);
            break;
        case OUTCOME_PREFILLED: {
            double tokens = (double)fleet->calls.input_tokens[outcome.call];
            double sent_s = fleet->options.transfer_s + tokens * fleet->options.transfer_token_s;
            done = schedule(fleet, fleet->now_s + sent_s, EVENT_DECODE, outcome.call);
            break;
        }
        case OUTCOME_LOADING:
            done = schedule(fleet, fleet->now_s + outcome.delay_s, EVENT_WAKE, index << SLOT_BITS | outcome.slot);
            break;
        }
        if (!done)
            return false;
    }
    return true;
}

static bool begin_steps(Fleet *fleet)
{
    for (int64_t i = 0; i < fleet->to_begin_count; i++) {
        int64_t index = fleet->to_begin[i];
        Replica *replica = &fleet->replicas[index];
        fleet->begins[index] = 0;
        if (!replica_begin_step(replica, fleet->now_s) || !settle(fleet, index))
            return false;
        if (replica->stepping && !heap_push(&fleet->steps, key_of_time(replica->step_end_s), index))
            return false;
    }
    fleet->to_begin_count = 0;
    return true;
}

static double next_session_s(const Fleet *fleet)
{
    if (fleet->next_timed >= fleet->timed_sessions)
        return INFINITY;
    return fleet->sessions.start_s[fleet->start_order[fleet->next_timed]];
}

/* Go on by one: a session that starts, an event, or a step that ends, in this order where they coincide; steps begin
 * when nothing else happens at the moment. Sets *idle where nothing is left to happen. */
static bool advance(Fleet *fleet, bool *idle)
{
    double session_s = next_session_s(fleet);
    double event_s = fleet->events.count ? time_of_key(fleet->events.entries[0].key) : INFINITY;
    double step_s = fleet->steps.count ? time_of_key(fleet->steps.entries[0].key) : INFINITY;
    double next_s = fmin(session_s, fmin(event_s, step_s));
    if (fleet->to_begin_count > 0 && next_s > fleet->now_s)
        return begin_steps(fleet);
    if (isinf(next_s)) {
        *idle = true;
        return true;
    }
    fleet->now_s = next_s;
    if (session_s <= next_s)
        return start_session(fleet, fleet->start_order[fleet->next_timed++], next_s);
    if (event_s <= next_s)
        return handle_event(fleet, heap_pop(&fleet->events).item);
    int64_t index = heap_pop(&fleet->steps).item;
    if (!replica_end_step(&fleet->replicas[index]) || !settle(fleet, index))
        return false;
    begin_soon(fleet, index);
    return true;
}

bool fleet_run(Fleet *fleet)
{
    bool idle = false;
    for (int64_t i = 0; i < fleet->sessions.concurrency; i++)
        if (!start_queued_session(fleet, 0.0))
            return false;
    if (fleet->background.rate_per_s > 0.0 &&
        !schedule(fleet, background_gap(&fleet->background), EVENT_BACKGROUND, 0))
        return false;
    for (int64_t turn = 1; fleet->done < fleet->calls.foreground && !idle; turn++) {
        if (!advance(fleet, &idle))
            return false;
        if (turn % TURNS_TO_ASK == 0 && fleet->interrupted && fleet->interrupted())
            return false;
    }
    for (int64_t call = 0; call < fleet->calls.foreground; call++)
        if (fleet->calls.status[call] == CALL_SERVED)
            fleet->calls.first_s[call] += fleet->options.round_trip_s / 2.0;
    return true;
}
