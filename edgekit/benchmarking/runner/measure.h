/* When a model has warmed up, and how long it takes. */
#ifndef EDGEKIT_MEASURE_H
#define EDGEKIT_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

struct timing {
    int64_t first_ns;
    long warmup_runs;
    bool settled;
    /* The most memory that was in use before the timed runs, whose list of times grows; -1 when it is not known. */
    long peak_memory_kb;
    int64_t *times_ns;
    size_t count;
};

/* The monotonic clock, in nanoseconds. */
int64_t now_ns(void);

/* The mean without the slowest and the fastest tenth, which say more of the machine than of the model. Sorts. */
double trimmed_mean(double *values, size_t count);

/* The first run, the warm-up and the timed runs. */
struct timing measure(void (*run)(void), const struct limits *limits);
#endif
