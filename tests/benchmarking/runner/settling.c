/* measure.c on a clock that only the model moves: each run takes as long as the next argument says, the last one for
 * ever. Prints how many runs the warm-up had, whether it settled, and how many runs were timed. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "measure.h"

static int64_t clock_ns;
static char **durations;

int clock_gettime(clockid_t clock, struct timespec *now) {
    (void)clock;
    now->tv_sec = clock_ns / 1000000000;
    now->tv_nsec = clock_ns % 1000000000;
    return 0;
}

static void run(void) {
    clock_ns += atoll(*durations);
    if (durations[1]) durations++;
}

int main(int count, char **arguments) {
    if (count < 7) return 2;
    struct limits limits = {atof(arguments[1]), atol(arguments[2]), atof(arguments[3]), atof(arguments[4]),
                            atol(arguments[5])};
    durations = arguments + 6;
    struct timing timing = measure(run, &limits);
    printf("%ld %d %zu\n", timing.warmup_runs, timing.settled, timing.count);
    return 0;
}
