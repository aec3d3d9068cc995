/* The command line; runner.py takes the same one. */
#ifndef EDGEKIT_OPTIONS_H
#define EDGEKIT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Warm-up ends when it has settled, as a rule after warmup_s at the latest. Then it measures until (min_runs and min_s
 * are both reached) or max_s or max_runs is. */
struct limits {
    double warmup_s;
    long min_runs;
    double min_s;
    double max_s;
    long max_runs;
};

/* NAME=FILE: the raw content of one input. */
struct input_file {
    const char *name;
    size_t name_length;
    const char *path;
};

struct options {
    const char *runtime;
    const char *library;
    const char *model;
    int threads;
    bool xnnpack;
    struct limits limits;
    struct input_file *inputs;
    size_t input_count;
    const char *output_folder;
    bool profile;
};

/* Ends the process with a usage error when the command line is wrong. */
struct options parse_options(int count, char **arguments);

#endif
