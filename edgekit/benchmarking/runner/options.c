#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

static const char usage[] =
    "usage: edgekit-runner --runtime litert|onnxruntime --library PATH --model PATH --threads N "
    "[--delegate xnnpack|none] --warmup-s S --min-runs N --min-s S --max-s S [--max-runs N] "
    "[--input NAME=FILE]... [--output-folder DIR] [--profile]";

/* What the arithmetic has room for on every processor. */
enum { MOST_RUNS = 1000000000, MOST_THREADS = 1024, LONGEST_S = 1000000 };

static double number(const char *flag, const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < 0 || value > LONGEST_S)
        fail(USAGE, "%s %s: expected a number from 0 to %d", flag, text, LONGEST_S);
    return value;
}

static long count(const char *flag, const char *text, long most) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < 1 || value > most)
        fail(USAGE, "%s %s: expected a whole number from 1 to %ld", flag, text, most);
    return value;
}

static void add_input(struct options *options, const char *text) {
    /* Names of tensors may hold "=", paths of ours do not. */
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text || !equals[1]) fail(USAGE, "--input %s: expected NAME=FILE", text);
    options->inputs[options->input_count++] = (struct input_file){text, (size_t)(equals - text), equals + 1};
}

static void set_option(struct options *options, const char *flag, const char *value) {
    if (!strcmp(flag, "--runtime")) options->runtime = value;
    else if (!strcmp(flag, "--library")) options->library = value;
    else if (!strcmp(flag, "--model")) options->model = value;
    else if (!strcmp(flag, "--threads")) options->threads = (int)count(flag, value, MOST_THREADS);
    else if (!strcmp(flag, "--warmup-s")) options->limits.warmup_s = number(flag, value);
    else if (!strcmp(flag, "--min-runs")) options->limits.min_runs = count(flag, value, MOST_RUNS);
    else if (!strcmp(flag, "--min-s")) options->limits.min_s = number(flag, value);
    else if (!strcmp(flag, "--max-s")) options->limits.max_s = number(flag, value);
    else if (!strcmp(flag, "--max-runs")) options->limits.max_runs = count(flag, value, MOST_RUNS);
    else if (!strcmp(flag, "--input")) add_input(options, value);
    else if (!strcmp(flag, "--output-folder")) options->output_folder = value;
    else if (!strcmp(flag, "--delegate")) {
        if (strcmp(value, "xnnpack") && strcmp(value, "none"))
            fail(USAGE, "--delegate %s: expected xnnpack or none", value);
        options->xnnpack = !strcmp(value, "xnnpack");
    } else fail(USAGE, "%s is no flag; %s", flag, usage);
}

struct options parse_options(int count_, char **arguments) {
    struct options options = {.xnnpack = true, .limits = {-1, 0, -1, -1, MOST_RUNS}};
    options.inputs = allocate((size_t)count_ * sizeof *options.inputs);
    for (int i = 1; i < count_; i++) {
        if (!strcmp(arguments[i], "--profile")) {
            options.profile = true;
            continue;
        }
        if (i + 1 == count_) fail(USAGE, "%s wants a value; %s", arguments[i], usage);
        set_option(&options, arguments[i], arguments[i + 1]);
        i++;
    }
    struct limits limits = options.limits;
    if (!options.runtime || !options.library || !options.model || !options.threads || limits.warmup_s < 0 ||
        !limits.min_runs || limits.min_s < 0 || limits.max_s < 0)
        fail(USAGE, "a flag is missing; %s", usage);
    return options;
}
