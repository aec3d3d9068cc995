#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "process.h"

/* The rule of the warm-up is told in edgekit/benchmarking/protocol.py. */
static const double settled_change = 0.02;
static const size_t window_runs = 5;
static const int64_t window_ns = 50000000;
static const int64_t slow_run_ns = 200000000;
static const size_t slow_window_runs = 2;
/* What it takes to compare; the warm-up lasts until then even when its time is over. */
enum { WINDOWS_AT_LEAST = 2 };

struct times {
    int64_t *values;
    size_t count, capacity;
};

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t time_once(void (*run)(void)) {
    int64_t start = now_ns();
    run();
    return now_ns() - start;
}

static void append(struct times *times, int64_t value) {
    if (times->count == times->capacity) {
        times->capacity = times->capacity ? 2 * times->capacity : 4096;
        times->values = realloc(times->values, times->capacity * sizeof *times->values);
        if (!times->values) fail(INFERENCE_FAILED, "no memory for %zu times", times->capacity);
    }
    times->values[times->count++] = value;
}

static int compare(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static double median(const struct times *times) {
    qsort(times->values, times->count, sizeof *times->values, compare);
    size_t middle = times->count / 2;
    if (times->count % 2) return (double)times->values[middle];
    return ((double)times->values[middle - 1] + (double)times->values[middle]) / 2;
}

static int compare_numbers(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double trimmed_mean(double *values, size_t count) {
    size_t cut = count / 10;
    double sum = 0;
    qsort(values, count, sizeof *values, compare_numbers);
    for (size_t i = cut; i < count - cut; i++) sum += values[i];
    return sum / (double)(count - 2 * cut);
}

static bool is_full(const struct times *window, int64_t total_ns, int64_t last_ns) {
    if (last_ns > slow_run_ns) return window->count >= slow_window_runs;
    return window->count >= window_runs && total_ns >= window_ns;
}

static void warm_up(void (*run)(void), double warmup_s, struct timing *timing) {
    if (warmup_s <= 0) return;
    int64_t end = now_ns() + (int64_t)(warmup_s * 1e9);
    struct times window = {0};
    double previous = 0;
    int64_t total_ns = 0;
    int windows = 0;
    while (!timing->settled && (now_ns() < end || windows < WINDOWS_AT_LEAST)) {
        int64_t last_ns = time_once(run);
        timing->warmup_runs++;
        append(&window, last_ns);
        total_ns += last_ns;
        if (!is_full(&window, total_ns, last_ns)) continue;
        double current = median(&window), change = current > previous ? current - previous : previous - current;
        timing->settled = previous > 0 && change < settled_change * previous;
        previous = current;
        windows++;
        window.count = 0;
        total_ns = 0;
    }
    free(window.values);
}

/* The most memory that this process had in use (VmHWM), in KiB; -1 when the system does not tell. */
static long peak_memory_kb(void) {
    FILE *file = fopen("/proc/self/status", "r");
    if (!file) return -1;
    char line[256];
    long peak = -1;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, "VmHWM:", 6)) peak = atol(line + 6);
    fclose(file);
    return peak;
}

struct timing measure(void (*run)(void), const struct limits *limits) {
    struct timing timing = {.first_ns = time_once(run)};
    warm_up(run, limits->warmup_s, &timing);
    timing.peak_memory_kb = peak_memory_kb();
    struct times times = {0};
    int64_t start = now_ns();
    for (;;) {
        append(&times, time_once(run));
        double elapsed_s = (double)(now_ns() - start) / 1e9;
        bool enough = times.count >= (size_t)limits->min_runs && elapsed_s >= limits->min_s;
        if (enough || elapsed_s >= limits->max_s || times.count >= (size_t)limits->max_runs) break;
    }
    timing.times_ns = times.values;
    timing.count = times.count;
    return timing;
}
