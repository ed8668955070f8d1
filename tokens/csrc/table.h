/* Memory for tables that are probed all over. */
#ifndef INFEROMETER_TABLE_H
#define INFEROMETER_TABLE_H

#include <stddef.h>

/* A copy of `content`, zeros where it is NULL; NULL where memory is short. For `free`. */
void *allocate_table(size_t size, const void *content);

#endif
