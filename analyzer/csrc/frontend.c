#include "frontend.h"

#include <string.h>

bool frontend_open(FrontEnd *frontend, int64_t workers, double call_s, double token_s)
{
    memset(frontend, 0, sizeof *frontend);
    frontend->workers = workers;
    frontend->call_s = call_s;
    frontend->token_s = token_s;
    for (int64_t worker = 0; worker < workers; worker++)
        if (!heap_push(&frontend->free_at, key_of_time(0.0), worker))
            return false;
    return true;
}

void frontend_close(FrontEnd *frontend)
{
    heap_close(&frontend->free_at);
}

double frontend_pass(FrontEnd *frontend, double now_s, int64_t input_tokens)
{
    if (frontend->workers == 0)
        return now_s;
    HeapEntry worker = heap_pop(&frontend->free_at);
    double free_s = time_of_key(worker.key);
    double work_s = frontend->call_s + frontend->token_s * (double)input_tokens;
    double leaves_s = (free_s > now_s ? free_s : now_s) + work_s;
    frontend->busy_s += work_s;
    heap_push(&frontend->free_at, key_of_time(leaves_s), worker.item); /* what was popped left room for it */
    return leaves_s;
}
