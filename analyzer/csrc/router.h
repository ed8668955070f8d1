/* Which replica a call goes to. */
#ifndef INFEROMETER_ROUTER_H
#define INFEROMETER_ROUTER_H

#include "replica.h"

typedef enum RouterKind { ROUTE_ROUND_ROBIN, ROUTE_LEAST_LOADED, ROUTE_PREFIX } RouterKind;

typedef struct Router {
    RouterKind kind;
    int64_t turn;
} Router;

/* Choose among `count` replicas from `replicas` on; returns its index there. Ties go to the first.
 * Least loaded counts calls in queue and batch. Prefix-affine takes the least of prompt tokens to compute here, prompt
 * tokens queued and tokens in memory, as the routers that track KV events do (NVIDIA Dynamo's cost function, weight 1).
 */
int64_t router_choose(Router *router, const Replica *replicas, int64_t count, int64_t call);

#endif
