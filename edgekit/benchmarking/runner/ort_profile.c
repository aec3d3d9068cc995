/* Per-operation times from the JSON file that a session of onnxruntime writes when it profiles: one event per line,
 * written when what it times has ended. Events of nodes come before that of the execution of their graph, and that of
 * the main graph before that of the run. Operations are those of the main graph: the time of a Loop or an If has in it
 * all that it runs. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"
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
    size_t length = 1;
    while (text[length] && text[length] != '"') length += text[length] == '\\' && text[length + 1] ? 2 : 1;
    char *found = allocate(length), *end = found;
    for (const char *at = text + 1; at < text + length; at++) {
        if (*at == '\\' && at + 1 < text + length) at++;
        *end++ = *at;
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

/* One operation: its time in each counted run. */
struct op {
    char *op, *node;
    double *times_us;
};

/* A node's event whose run has not ended yet. */
struct event {
    char *op, *node;
    long long start_us, took_us;
};

struct reader {
    int runs, run; /* how many are counted, and the number of this one: negative while warming up */
    struct op *ops;
    size_t op_count, next;
    struct event *events;
    size_t event_count;
    long long ended_graph_us; /* when the graph began whose execution was the last event; negative for none */
};

static void *grow(void *list, size_t count, size_t size) {
    enum { STEP = 256 };
    if (count % STEP) return list;
    list = realloc(list, (count + STEP) * size);
    if (!list) fail(INFERENCE_FAILED, "no memory for %zu operations", count);
    return list;
}

/* The operation of an event; each run has the same order, so the one after the last found is tried first. */
static struct op *find(struct reader *reader, const struct event *event) {
    for (size_t i = 0; i < reader->op_count; i++) {
        size_t number = (reader->next + i) % reader->op_count;
        struct op *candidate = &reader->ops[number];
        if (strcmp(candidate->node, event->node) || strcmp(candidate->op, event->op)) continue;
        reader->next = number + 1;
        return candidate;
    }
    reader->ops = grow(reader->ops, reader->op_count, sizeof *reader->ops);
    struct op *op = &reader->ops[reader->op_count++];
    *op = (struct op){copy(event->op), copy(event->node), allocate((size_t)reader->runs * sizeof(double))};
    return op;
}

static void drop_events(struct reader *reader, size_t from) {
    for (size_t i = from; i < reader->event_count; i++) {
        free(reader->events[i].op);
        free(reader->events[i].node);
    }
    reader->event_count = from;
}

/* What follows the execution of a graph tells which one it was: unless the run ends, that of a node. */
static void leave_nested_graph(struct reader *reader) {
    size_t count = reader->event_count;
    if (reader->ended_graph_us < 0) return;
    while (count && reader->events[count - 1].start_us >= reader->ended_graph_us) count--;
    drop_events(reader, count);
    reader->ended_graph_us = -1;
}

static void end_run(struct reader *reader) {
    bool is_counted = reader->run >= 0 && reader->run < reader->runs;
    for (size_t i = 0; is_counted && i < reader->event_count; i++)
        find(reader, &reader->events[i])->times_us[reader->run] += (double)reader->events[i].took_us;
    drop_events(reader, 0);
    reader->ended_graph_us = -1;
    reader->run++;
}

/* The event of a kernel is called after its node. */
static void add_event(struct reader *reader, const char *line, char *name) {
    static const char ending[] = "_kernel_time";
    size_t length = strlen(name);
    const char *start = value_of(line, "ts"), *duration = value_of(line, "dur");
    if (length < strlen(ending) || strcmp(name + length - strlen(ending), ending) || !start || !duration) return;
    name[length - strlen(ending)] = 0;
    restore_source_name(name);
    leave_nested_graph(reader);
    reader->events = grow(reader->events, reader->event_count, sizeof *reader->events);
    reader->events[reader->event_count++] =
        (struct event){string_at(value_of(line, "op_name")), copy(name), atoll(start), atoll(duration)};
}

static void read_event(struct reader *reader, const char *line) {
    char *category = string_at(value_of(line, "cat")), *name = string_at(value_of(line, "name"));
    const char *start = value_of(line, "ts");
    if (!strcmp(category, "Node")) add_event(reader, line, name);
    else if (!strcmp(name, "model_run")) end_run(reader);
    else if (!strcmp(name, "SequentialExecutor::Execute") && start) {
        leave_nested_graph(reader);
        reader->ended_graph_us = atoll(start);
    }
    free(category);
    free(name);
}

/* Operations are in the order in which they run. */
static size_t read_file(FILE *file, int runs, struct op_time **result) {
    struct reader reader = {.runs = runs, .run = -WARMUP_RUNS, .ended_graph_us = -1};
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) read_event(&reader, line);
    *result = allocate(reader.op_count * sizeof **result);
    for (size_t i = 0; i < reader.op_count; i++) {
        const struct op *op = &reader.ops[i];
        (*result)[i] = (struct op_time){op->op, op->node, trimmed_mean(op->times_us, (size_t)runs), -1};
    }
    return reader.op_count;
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
    size_t count = read_file(file, runs, ops);
    fclose(file);
    remove(path);
    return count;
}
