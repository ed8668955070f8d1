/* The gateway and tokenisation workers before the engines: a first-come queue over a fixed number of workers. */
#ifndef INFEROMETER_FRONTEND_H
#define INFEROMETER_FRONTEND_H

#include "heap.h"

typedef struct FrontEnd {
    double call_s;      /* a worker's time per call */
    double token_s;     /* and per prompt token */
    double busy_s;      /* of all workers, so far */
    int64_t workers;    /* 0: no limit and no time */
    Heap free_at;
} FrontEnd;

/* Prepare idle workers. Returns false without memory. */
bool frontend_open(FrontEnd *frontend, int64_t workers, double call_s, double token_s);
void frontend_close(FrontEnd *frontend);
/* Send a call through and return when it leaves; calls must come in order of time. */
double frontend_pass(FrontEnd *frontend, double now_s, int64_t input_tokens);

#endif
