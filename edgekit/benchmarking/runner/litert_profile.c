/* Per-operation times of LiteRT, and which operations XNNPACK took.
 *
 * LiteRT tells the time of each operation that its interpreter runs, and XNNPACK that of each of its operators, by the
 * operator's kind alone. XNNPACK's operators are in the order of the file's operations, so both lists are walked side by
 * side: an operator belongs to the next operation that can become one of its kind, else (a fused activation, a reshape
 * within) to the one before. When an operation is left over, the lists do not fit, and XNNPACK's own names are told
 * with no node. Times have a resolution of 1 us. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "litert.h"
#include "litert_ops.h"
#include "process.h"

/* Runs before the counted ones. */
enum { WARMUP_RUNS = 3 };
enum { NO_NODE = -1 };

/* One operation of the file. `is_timed`: the interpreter ran it, no delegate took it. */
struct node {
    int code;
    const char *output;
    bool is_timed, is_matched;
};

/* One event of a run: an operation of the interpreter, or an operator of the delegate. */
struct slot {
    const char *tag;
    bool is_delegated;
    uint64_t number, subgraph;
    double total_us;
    int node;
};

static struct node *list_nodes(const struct litert_model *model, size_t *count) {
    litert_handle subgraph, op, tensor;
    CHECK(GetSignatureSubgraph(model->signature, &subgraph), INFERENCE_FAILED);
    CHECK(GetNumSubgraphOps(subgraph, count), INFERENCE_FAILED);
    struct node *nodes = allocate(*count * sizeof *nodes);
    for (size_t i = 0; i < *count; i++) {
        size_t outputs;
        nodes[i].output = "";
        CHECK(GetSubgraphOp(subgraph, i, &op), INFERENCE_FAILED);
        CHECK(GetOpCode(op, &nodes[i].code), INFERENCE_FAILED);
        CHECK(GetNumOpOutputs(op, &outputs), INFERENCE_FAILED);
        if (!outputs) continue;
        CHECK(GetOpOutput(op, 0, &tensor), INFERENCE_FAILED);
        CHECK(GetTensorName(tensor, &nodes[i].output), INFERENCE_FAILED);
    }
    return nodes;
}

/* The events of the last run. Their size differs between versions of LiteRT (the records of memory use in them do), so
 * it is found by what the library writes into a buffer of a known pattern. */
static char *read_events(litert_handle profiler, size_t *count, size_t *size) {
    enum { LARGEST_EVENT = 256, PATTERN = 0xa5 };
    int events;
    CHECK(GetNumProfilerEvents(profiler, &events), INFERENCE_FAILED);
    *count = (size_t)events;
    size_t bytes = *count * LARGEST_EVENT;
    unsigned char *buffer = memset(allocate(bytes), PATTERN, bytes);
    if (events) CHECK(GetProfilerEvents(profiler, events, buffer), INFERENCE_FAILED);
    while (bytes && buffer[bytes - 1] == PATTERN) bytes--;
    /* The last field, an int, may be followed by bytes that are not written. */
    *size = *count ? (bytes + *count * 8 - 1) / *count / 8 * 8 : 0;
    return (char *)buffer;
}

static size_t read_slots(litert_handle profiler, struct slot **slots) {
    size_t count, size, found = 0;
    char *events = read_events(profiler, &count, &size);
    *slots = allocate(count * sizeof **slots);
    if (size < sizeof(litert_event) + sizeof(litert_event_end)) return 0;
    for (size_t i = 0; i < count; i++) {
        litert_event event;
        litert_event_end end;
        memcpy(&event, events + i * size, sizeof event);
        memcpy(&end, events + (i + 1) * size - sizeof end, sizeof end);
        if (event.type != LITERT_OPERATOR_EVENT && event.type != LITERT_DELEGATE_EVENT) continue;
        bool is_delegated = event.type == LITERT_DELEGATE_EVENT;
        (*slots)[found++] = (struct slot){copy(event.tag), is_delegated, end.node, end.subgraph,
                                          (double)event.elapsed_us, NO_NODE};
    }
    free(events);
    return found;
}

static void add_run(struct slot *slots, size_t count, litert_handle profiler) {
    struct slot *more;
    size_t found = read_slots(profiler, &more);
    for (size_t i = 0; i < count && i < found; i++) slots[i].total_us += more[i].total_us;
}

/* The slots of `runs` runs, their times added. */
static size_t collect(const struct litert_model *model, int runs, struct slot **slots) {
    litert_handle profiler;
    size_t count = 0;
    CHECK(CompiledModelGetProfiler(model->compiled, &profiler), INFERENCE_FAILED);
    if (!profiler) return 0;
    for (int i = 0; i < runs; i++) {
        CHECK(ResetProfiler(profiler), INFERENCE_FAILED);
        CHECK(StartProfiler(profiler), INFERENCE_FAILED);
        run_litert(model);
        CHECK(StopProfiler(profiler), INFERENCE_FAILED);
        if (i == 0) count = read_slots(profiler, slots);
        else add_run(*slots, count, profiler);
    }
    return count;
}

static void match_timed(struct slot *slots, size_t slot_count, struct node *nodes, size_t node_count) {
    for (size_t i = 0; i < slot_count; i++) {
        struct slot *slot = &slots[i];
        if (slot->is_delegated || slot->subgraph || slot->number >= node_count) continue;
        slot->node = (int)slot->number;
        nodes[slot->number].is_timed = true;
    }
}

/* The first delegated operation from `node` on that can be this operator, past ones that may be left out. */
static int next_match(const struct slot *slot, const struct node *nodes, int node, int count) {
    for (; node < count; node++) {
        if (nodes[node].is_timed) continue;
        if (runs_as(nodes[node].code, slot->tag)) return node;
        if (!is_elidable(nodes[node].code)) return NO_NODE;
    }
    return NO_NODE;
}

/* Whether each operation that the delegate took got an operator, but for those that may be left out. */
static bool match_delegated(struct slot *slots, size_t slot_count, struct node *nodes, int node_count) {
    int last = NO_NODE;
    for (size_t i = 0; i < slot_count; i++) {
        if (!slots[i].is_delegated) continue;
        int match = next_match(&slots[i], nodes, last + 1, node_count);
        if (match != NO_NODE) nodes[last = match].is_matched = true;
        slots[i].node = last;
        if (last == NO_NODE) return false;
    }
    for (int i = 0; i < node_count; i++)
        if (!nodes[i].is_timed && !nodes[i].is_matched && !is_elidable(nodes[i].code)) return false;
    return true;
}

/* One entry per operation of the file; operators without a node have their own. */
static size_t to_ops(const struct slot *slots, size_t slot_count, const struct node *nodes, int runs,
                     struct op_time **result) {
    struct op_time *ops = allocate(slot_count * sizeof *ops);
    size_t count = 0;
    int previous = NO_NODE;
    for (size_t i = 0; i < slot_count; i++) {
        const struct slot *slot = &slots[i];
        if (slot->node == NO_NODE || slot->node != previous) {
            const char *op = slot->is_delegated && slot->node != NO_NODE ? name_of_op(nodes[slot->node].code) : slot->tag;
            const char *node = slot->node != NO_NODE ? nodes[slot->node].output : "";
            ops[count++] = (struct op_time){op, node, 0, slot->is_delegated};
        }
        ops[count - 1].mean_us += slot->total_us / runs;
        previous = slot->node;
    }
    *result = ops;
    return count;
}

/* Operators of one part of the graph are numbered from 0. */
static struct delegation count_delegated(const struct slot *slots, size_t slot_count, const struct node *nodes,
                                         size_t node_count) {
    struct delegation found = {0, (int)node_count, 0};
    for (size_t i = 0; i < node_count; i++) found.accelerated_ops += !nodes[i].is_timed;
    for (size_t i = 0; i < slot_count; i++) found.partitions += slots[i].is_delegated && slots[i].number == 0;
    return found;
}

size_t profile_litert(const struct options *options, int runs, struct op_time **ops, struct delegation *delegation) {
    capture_log();
    struct litert_model model = compile_litert(options, true, NULL);
    copy_litert_inputs(&model);
    for (int i = 0; i < WARMUP_RUNS && runs > 1; i++) run_litert(&model);
    struct slot *slots = NULL;
    size_t slot_count = collect(&model, runs, &slots), node_count;
    release_log();
    struct node *nodes = list_nodes(&model, &node_count);
    if (!slot_count) return 0;
    match_timed(slots, slot_count, nodes, node_count);
    *delegation = count_delegated(slots, slot_count, nodes, node_count);
    if (!match_delegated(slots, slot_count, nodes, (int)node_count))
        for (size_t i = 0; i < slot_count; i++)
            if (slots[i].is_delegated) slots[i].node = NO_NODE;
    return to_ops(slots, slot_count, nodes, runs, ops);
}
