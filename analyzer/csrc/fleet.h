/* The whole simulation: sessions start, calls become ready when what they waited for has ended, pass the front end, are
 * routed to replicas, and their ends make others ready (closed loop). One clock, events in order of time. */
#ifndef INFEROMETER_FLEET_H
#define INFEROMETER_FLEET_H

#include "background.h"
#include "frontend.h"
#include "replica.h"
#include "router.h"

typedef struct Edges { /* what waits for what: the calls that wait for call c are to[first[c]..first[c + 1]) */
    const int64_t *first;
    const int32_t *to;
    const double *gap_s; /* tool time and residual gap between the one's end and the other's start */
} Edges;

typedef struct Sessions { /* calls of session s are first[s]..first[s + 1] */
    int64_t count;
    const int64_t *first;
    const double *start_s;   /* NaN: when one of `concurrency` places is free; the others in any order */
    const double *release_s; /* per call: not before so long after the session's start */
    int64_t concurrency;
} Sessions;

typedef struct FleetOptions {
    int64_t replicas;        /* whole ones, or those that prefill where decode_replicas > 0 */
    int64_t decode_replicas;
    RouterKind router;
    double round_trip_s;     /* of the network between client and front end */
    double entry_s;          /* that every call takes before it reaches a queue, whatever the load */
    int64_t front_workers;
    double front_call_s, front_token_s;
    double transfer_s, transfer_token_s; /* keys and values from prefill to decode */
} FleetOptions;

typedef struct Fleet {
    FleetOptions options;
    Edges edges;
    Sessions sessions;
    Calls calls;
    PrefixTree tree;
    FrontEnd frontend;
    Background background;
    Router router, decode_router;
    Replica *replicas;       /* whole or prefill ones, then decoding ones */
    int64_t replica_count;
    const Cache **caches;    /* of each replica */
    Heap events;             /* (time, kind and subject) */
    Heap steps;              /* (end of the step, replica) */
    int64_t *start_order;    /* sessions with a start time, by it */
    int64_t timed_sessions, next_timed, next_queued;
    int32_t *open_calls;     /* of each session */
    int32_t *waits_for;      /* of each call */
    int32_t *session_of;
    int64_t *to_begin;       /* replicas whose next step starts once all events of the moment are through */
    int64_t to_begin_count;
    uint8_t *begins;
    int64_t done;            /* foreground calls served or refused */
    int32_t next_rank;
    double now_s;
    bool (*interrupted)(void); /* asked now and then whether to give up; NULL: never */
} Fleet;

typedef struct RoleSetup {
    Rules rules;
    StepModel model;
} RoleSetup;

/* Prepare a fleet whose calls, tree, edges, sessions, options and background lengths are already set.
 * Returns false without memory; close it all the same. */
bool fleet_open(Fleet *fleet, const RoleSetup *whole, const RoleSetup *decode, uint64_t seed);
void fleet_close(Fleet *fleet);
/* Run until every foreground call is served or refused. Returns false without memory and when interrupted; calls that
 * wait for each other in a circle are left unseen. */
bool fleet_run(Fleet *fleet);

#endif
