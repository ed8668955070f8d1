/* Threads take runs of texts from a common counter, so that none waits for the one with the longest. */
#include "text_batch.h"

#include <pthread.h>
#include <stdatomic.h>

#define TAKEN_AT_ONCE 16u
#define MOST_THREADS 64u

struct job {
    const struct vocabulary *v;
    const struct source_text *texts;
    size_t length;
    size_t *counts;
    _Atomic size_t next;
};

struct worker {
    struct job *job;
    struct encoder *encoder;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct job *job = worker->job;
    for (;;) {
        size_t at = atomic_fetch_add_explicit(&job->next, TAKEN_AT_ONCE, memory_order_relaxed);
        if (at >= job->length)
            break;
        for (size_t end = at + TAKEN_AT_ONCE; at < end && at < job->length; at++)
            job->counts[at] = count_source(worker->encoder, job->v, job->texts[at], SIZE_MAX - 1);
    }
    return 0;
}

void count_texts(const struct vocabulary *v, struct encoder *const *encoders, unsigned threads,
                 const struct source_text *texts, size_t length, size_t *counts)
{
    struct job job = {.v = v, .texts = texts, .length = length, .counts = counts};
    struct worker workers[MOST_THREADS];
    pthread_t started[MOST_THREADS];
    unsigned running = 0;
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    for (unsigned thread = 1; thread < threads; thread++) {
        workers[thread] = (struct worker){&job, encoders[thread]};
        if (!pthread_create(&started[running], 0, work, &workers[thread]))
            running++;
    }
    workers[0] = (struct worker){&job, encoders[0]};
    work(&workers[0]);
    while (running)
        pthread_join(started[--running], 0);
}
