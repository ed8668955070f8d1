#include "router.h"

static int64_t cost_of(const Router *router, const Replica *replica, int64_t call)
{
    if (router->kind == ROUTE_LEAST_LOADED)
        return replica->waiting.count + replica->admitted;
    const Calls *calls = replica->calls;
    int32_t leaf = calls->kv_arrived[call] ? -1 : calls->leaf[call];
    int64_t known = cache_match(&replica->cache, leaf).blocks * replica->cache.tree->block_tokens;
    int64_t fresh = calls->input_tokens[call] - known;
    return (fresh > 0 ? fresh : 0) + replica->queued_tokens + replica->cache.active_tokens + replica->held_tokens;
}

int64_t router_choose(Router *router, const Replica *replicas, int64_t count, int64_t call)
{
    if (count == 1)
        return 0;
    if (router->kind == ROUTE_ROUND_ROBIN)
        return router->turn++ % count;
    int64_t best = 0, least = cost_of(router, &replicas[0], call);
    for (int64_t i = 1; i < count; i++) {
        int64_t cost = cost_of(router, &replicas[i], call);
        if (cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}
