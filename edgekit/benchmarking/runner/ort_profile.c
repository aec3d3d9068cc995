/* Per-operation times from the JSON file that a session of onnxruntime writes when it profiles. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ort.h"
#include "process.h"

/* Runs before the counted ones. */
enum { WARMUP_RUNS = 3 };

/* What follows `"key" :` on a line, or NULL. onnxruntime writes one event per line. */
static const char *value_of(const char *line, const char *key) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *at = strstr(line, quoted);
    if (!at) return NULL;
    at += strlen(quoted);
    while (isspace((unsigned char)*at)) at++;
    if (*at != ':') return NULL;
    at++;
    while (isspace((unsigned char)*at)) at++;
    return at;
}

/* A copy of the JSON string at `text`, its escapes of one character undone; "" when there is none. */
static char *string_at(const char *text) {
    if (!text || *text != '"') return copy("");
    char *found = allocate(strlen(text)), *end = found;
    for (text++; *text && *text != '"'; text++) {
        if (*text == '\\' && text[1]) text++;
        *end++ = *text;
    }
    return found;
}

/* onnxruntime calls a node that it has fused NAME_token_NUMBER, and one that it has moved to its blocked layout
 * OUTPUT_nchwc after its output; without these endings the names are those of the file. */
static void restore_source_name(char *name) {
    static const char layout[] = "_nchwc", fused[] = "_token_";
    size_t length = strlen(name);
    if (length > strlen(layout) && !strcmp(name + length - strlen(layout), layout)) name[length - strlen(layout)] = 0;
    char *end = name + strlen(name);
    while (end > name && isdigit((unsigned char)end[-1])) end--;
    size_t stem = (size_t)(end - name);
    if (!*end || stem <= strlen(fused)) return;
    char *mark = end - strlen(fused);
    if (!strncmp(mark, fused, strlen(fused))) *mark = 0;
}

/* The name of the node that an event of a kernel is about: its name without the ending; else NULL. */
static char *node_of(const char *line) {
    static const char ending[] = "_kernel_time";
    char *category = string_at(value_of(line, "cat"));
    if (strcmp(category, "Node")) return NULL;
    char *name = string_at(value_of(line, "name"));
    size_t length = strlen(name);
    if (length < strlen(ending) || strcmp(name + length - strlen(ending), ending)) return NULL;
    name[length - strlen(ending)] = 0;
    restore_source_name(name);
    return name;
}

/* The entry of a node; each run lists the nodes in the same order, so the one after the last found is tried first. */
static struct op_time *find(struct op_time *ops, size_t count, const char *op, const char *node) {
    static size_t next;
    for (size_t i = 0; i < count; i++) {
        struct op_time *candidate = &ops[(next + i) % count];
        if (strcmp(candidate->node, node) || strcmp(candidate->op, op)) continue;
        next = (size_t)(candidate - ops) + 1;
        return candidate;
    }
    return NULL;
}

/* The mean over `runs` runs: of every node, all events but those of the warm-up. Nodes are in the order of their first
 * event, which is the order in which they run. */
static size_t read_events(FILE *file, int runs, struct op_time **result) {
    struct op_time *ops = NULL;
    int *seen = NULL;
    size_t count = 0, capacity = 0;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        char *node = node_of(line);
        const char *duration = value_of(line, "dur");
        if (!node || !duration) continue;
        char *op = string_at(value_of(line, "op_name"));
        struct op_time *known = find(ops, count, op, node);
        if (!known) {
            if (count == capacity) {
                capacity = capacity ? 2 * capacity : 256;
                ops = realloc(ops, capacity * sizeof *ops);
                seen = realloc(seen, capacity * sizeof *seen);
                if (!ops || !seen) fail(INFERENCE_FAILED, "no memory for %zu operations", capacity);
            }
            seen[count] = 0;
            ops[count] = (struct op_time){op, node, 0, -1};
            known = &ops[count++];
        }
        if (seen[known - ops]++ >= WARMUP_RUNS) known->mean_us += atof(duration) / runs;
    }
    *result = ops;
    return count;
}

size_t profile_ort(const struct options *options, int runs, struct op_time **ops, struct delegation *delegation) {
    (void)delegation;
    char prefix[64], *path;
    snprintf(prefix, sizeof prefix, "edgekit-profile-%ld", (long)getpid());
    ort_handle session = open_session(options, prefix), allocator;
    for (int i = 0; i < runs + WARMUP_RUNS; i++) run_session(session);
    check_ort(ort.GetAllocatorWithDefaultOptions(&allocator), INFERENCE_FAILED);
    check_ort(ort.SessionEndProfiling(session, allocator, &path), INFERENCE_FAILED);
    FILE *file = fopen(path, "r");
    if (!file) fail(INPUT_OUTPUT, "%s: %s", path, strerror(errno));
    size_t count = read_events(file, runs, ops);
    fclose(file);
    remove(path);
    return count;
}
