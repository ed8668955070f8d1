/* Whether a trace request can be acknowledged as it stands, without making anything of it. */
#ifndef INFEROMETER_CHECK_H
#define INFEROMETER_CHECK_H

#include "wire.h"

/* Add up a request's spans; false where it is not as exporters write it: it may still be a request then. */
bool check_request(Stretch message, size_t *spans);

bool is_utf8(Stretch text);

#endif
