/* Many texts, counted by several threads. */
#ifndef INFEROMETER_TEXT_BATCH_H
#define INFEROMETER_TEXT_BATCH_H

#include "source_text.h"

/* Count every text into `counts`, with one thread for every encoder; SIZE_MAX in place of a count that failed. Needs no
 * GIL. Where a thread cannot be started the others do its work. */
void count_texts(const struct vocabulary *v, struct encoder *const *encoders, unsigned threads,
                 const struct source_text *texts, size_t length, size_t *counts);

#endif
