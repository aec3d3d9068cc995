/* edgekit-runner: measures one model in one runtime, in a process of its own, and writes one line of JSON.
 *
 *   options.c         the command line
 *   process.c         how the program ends
 *   litert.c, ort.c   a runtime behind the functions of engine.h, loaded with dlopen; *_profile.c times operations
 *   content.c         inputs and outputs
 *   measure.c         the loop
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "engine.h"
#include "measure.h"
#include "process.h"

static const struct runtime {
    const char *name;
    void (*open)(const char *library, struct engine *);
    void (*load)(const struct options *, struct engine *);
} runtimes[] = {{"litert", open_litert, load_litert}, {"onnxruntime", open_onnxruntime, load_onnxruntime}};

/* A profile is a mean over at least this many runs, and over as many as this long takes. */
enum { PROFILE_RUNS = 10, PROFILE_RUNS_AT_MOST = 200 };
static const double profile_ns = 3e8;

static void print_string(const char *text) {
    if (!text) {
        printf("null");
        return;
    }
    putchar('"');
    for (; *text; text++) {
        unsigned char character = (unsigned char)*text;
        if (character == '"' || character == '\\') printf("\\%c", character);
        else if (character < 0x20) printf("\\u%04x", character);
        else putchar(character);
    }
    putchar('"');
}

static void print_count(const char *key, long value) {
    if (value < 0) printf(", \"%s\": null", key);
    else printf(", \"%s\": %ld", key, value);
}

static void print_timing(const struct timing *timing) {
    printf(", \"first_us\": %.3f, \"warmup_runs\": %ld, \"settled\": %s, \"times_ns\": [",
           (double)timing->first_ns / 1e3, timing->warmup_runs, timing->settled ? "true" : "false");
    for (size_t i = 0; i < timing->count; i++) printf(i ? ", %lld" : "%lld", (long long)timing->times_ns[i]);
    printf("]");
}

static void print_profile(const struct op_time *ops, size_t count) {
    static const char *const words[] = {"null", "false", "true"};
    printf(", \"profile\": [");
    for (size_t i = 0; i < count; i++) {
        printf(i ? ", {\"op\": " : "{\"op\": ");
        print_string(ops[i].op);
        printf(", \"node\": ");
        print_string(ops[i].node);
        printf(", \"mean_us\": %.3f, \"accelerated\": %s}", ops[i].mean_us, words[ops[i].accelerated + 1]);
    }
    printf("]");
}

static int profile_runs(const struct timing *timing) {
    double runs = profile_ns / fmax(1, (double)timing->times_ns[timing->count - 1]);
    return (int)fmin(fmax(runs, PROFILE_RUNS), PROFILE_RUNS_AT_MOST);
}

static const struct runtime *find_runtime(const char *name) {
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++)
        if (!strcmp(name, runtimes[i].name)) return &runtimes[i];
    fail(USAGE, "--runtime %s: expected litert or onnxruntime", name);
}

int main(int count, char **arguments) {
    struct options options = parse_options(count, arguments);
    const struct runtime *runtime = find_runtime(options.runtime);
    struct engine engine = {0};
    runtime->open(options.library, &engine);
    tell_stage("loading");
    int64_t start = now_ns();
    runtime->load(&options, &engine);
    double load_us = (double)(now_ns() - start) / 1e3;
    set_inputs(&options, &engine);
    tell_stage("running");
    struct timing timing = measure(engine.run, &options.limits);
    if (options.output_folder) write_outputs(options.output_folder, &engine);
    struct op_time *ops = NULL;
    struct delegation delegation = {-1, -1, -1};
    size_t op_count = 0;
    if (options.profile) op_count = engine.profile(&options, profile_runs(&timing), &ops, &delegation);
    else if (engine.tells_delegation) engine.profile(&options, 1, NULL, &delegation);
    printf("{\"edgekit_runner\": 1, \"runtime\": \"%s\", \"runtime_version\": ", options.runtime);
    print_string(engine.version);
    printf(", \"load_us\": %.3f", load_us);
    print_timing(&timing);
    print_count("peak_memory_kb", timing.peak_memory_kb);
    print_count("accelerated_ops", delegation.accelerated_ops);
    print_count("total_ops", delegation.total_ops);
    print_count("partitions", delegation.partitions);
    print_profile(ops, op_count);
    printf("}\n");
    if (fflush(stdout) || ferror(stdout)) fail(INPUT_OUTPUT, "cannot write the result");
    /* The runtime's threads and destructors need no farewell, and some crash on it. */
    _Exit(DONE);
}
