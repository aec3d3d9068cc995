/* Per-operation times of LiteRT, and which operations XNNPACK took.
 *
 * LiteRT tells the time of each operation that its interpreter runs, and XNNPACK that of each of its operators, by the
 * operator's kind alone. Both run in an order that is known, so the operators are matched with the file's operations by
 * the longest common subsequence of kinds. What has no match (XNNPACK has fused it) is a part of the operation before
 * it, when it can be, else told by XNNPACK's name and with no node. Times have a resolution of 1 us. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "litert.h"
#include "litert_ops.h"
#include "measure.h"
#include "process.h"

/* Runs before the counted ones. */
enum { WARMUP_RUNS = 3 };
enum { NO_NODE = -1 };

/* One operation of the file. `is_timed`: the interpreter ran it, no delegate took it. */
struct node {
    int code;
    const char *output;
    litert_handle *inputs, *outputs;
    size_t input_count, output_count;
    bool is_timed, is_planned;
};

/* One event of a run: an operation of the interpreter, or an operator of the delegate. */
struct slot {
    char *tag;
    bool is_delegated;
    uint64_t number, subgraph;
    double us;       /* of the run that was read last, in the end the mean */
    double *run_us;  /* of each run */
    int node;
};

static void read_node(litert_handle op, struct node *node) {
    CHECK(GetOpCode(op, &node->code), INFERENCE_FAILED);
    CHECK(GetNumOpInputs(op, &node->input_count), INFERENCE_FAILED);
    CHECK(GetNumOpOutputs(op, &node->output_count), INFERENCE_FAILED);
    node->inputs = allocate(node->input_count * sizeof *node->inputs);
    node->outputs = allocate(node->output_count * sizeof *node->outputs);
    for (size_t i = 0; i < node->input_count; i++) CHECK(GetOpInput(op, i, &node->inputs[i]), INFERENCE_FAILED);
    for (size_t i = 0; i < node->output_count; i++) CHECK(GetOpOutput(op, i, &node->outputs[i]), INFERENCE_FAILED);
    node->output = "";
    if (node->output_count) CHECK(GetTensorName(node->outputs[0], &node->output), INFERENCE_FAILED);
}

static struct node *list_nodes(const struct litert_model *model, size_t *count) {
    litert_handle subgraph, op;
    CHECK(GetSignatureSubgraph(model->signature, &subgraph), INFERENCE_FAILED);
    CHECK(GetNumSubgraphOps(subgraph, count), INFERENCE_FAILED);
    struct node *nodes = allocate(*count * sizeof *nodes);
    for (size_t i = 0; i < *count; i++) {
        CHECK(GetSubgraphOp(subgraph, i, &op), INFERENCE_FAILED);
        read_node(op, &nodes[i]);
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
        (*slots)[found++] = (struct slot){copy(event.tag ? event.tag : ""), is_delegated, end.node, end.subgraph,
                                          (double)event.elapsed_us, NULL, NO_NODE};
    }
    free(events);
    return found;
}

static void add_run(struct slot *slots, size_t count, int run, litert_handle profiler) {
    struct slot *more;
    size_t found = read_slots(profiler, &more);
    for (size_t i = 0; i < found; i++) {
        if (i < count) slots[i].run_us[run] = more[i].us;
        free(more[i].tag);
    }
    free(more);
}

/* The slots of `runs` runs with their mean times. */
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
        if (i == 0) {
            count = read_slots(profiler, slots);
            for (size_t j = 0; j < count; j++) {
                (*slots)[j].run_us = allocate((size_t)runs * sizeof(double));
                (*slots)[j].run_us[0] = (*slots)[j].us;
            }
        } else add_run(*slots, count, i, profiler);
    }
    for (size_t i = 0; i < count; i++) (*slots)[i].us = trimmed_mean((*slots)[i].run_us, (size_t)runs);
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

/* Whether all that makes the inputs of a node has run. */
static bool is_ready(const struct node *node, const struct node *nodes, size_t count) {
    for (size_t i = 0; i < node->input_count; i++)
        for (size_t j = 0; node->inputs[i] && j < count; j++)
            for (size_t k = 0; !nodes[j].is_planned && k < nodes[j].output_count; k++)
                if (nodes[j].outputs[k] == node->inputs[i]) return false;
    return true;
}

/* The delegated nodes in the order in which they run: TFLite cuts the graph into parts (tflite/graph_info.cc), each of
 * all the nodes of one side that are ready, again and again until none is. */
static size_t plan(struct node *nodes, size_t count, int *order) {
    size_t found = 0, planned = 0;
    bool side = false;
    for (int idle = 0; planned < count && idle < 2; side = !side) {
        bool grows = true;
        idle++;
        while (grows) {
            grows = false;
            for (size_t i = 0; i < count; i++) {
                struct node *node = &nodes[i];
                if (node->is_planned || node->is_timed != side || !is_ready(node, nodes, count)) continue;
                node->is_planned = grows = true;
                planned++;
                idle = 0;
                if (!side) order[found++] = (int)i;
            }
        }
    }
    return found;
}

/* How much a match is worth: operations that XNNPACK cannot leave out come first. */
static int worth(const struct slot *slot, const struct node *node) {
    if (!runs_as(node->code, slot->tag)) return 0;
    return is_elidable(node->code) ? 1 : 4;
}

/* Gives the delegated slots their nodes: the best common subsequence of `slots` and the nodes in `order`. */
static void match_delegated(struct slot **slots, size_t slot_count, const struct node *nodes, const int *order,
                            size_t node_count) {
    size_t width = node_count + 1;
    int *best = allocate((slot_count + 1) * width * sizeof *best);
    for (size_t i = slot_count; i-- > 0;)
        for (size_t j = node_count; j-- > 0;) {
            int skip_slot = best[(i + 1) * width + j], skip_node = best[i * width + j + 1];
            int value = worth(slots[i], &nodes[order[j]]), match = value ? value + best[(i + 1) * width + j + 1] : 0;
            int most = skip_slot > skip_node ? skip_slot : skip_node;
            best[i * width + j] = match > most ? match : most;
        }
    for (size_t i = 0, j = 0; i < slot_count && j < node_count;) {
        int value = worth(slots[i], &nodes[order[j]]);
        if (value && best[i * width + j] == value + best[(i + 1) * width + j + 1]) slots[i++]->node = order[j++];
        else if (best[i * width + j] == best[i * width + j + 1]) j++;
        else i++;
    }
    free(best);
    for (size_t i = 1; i < slot_count; i++) {
        bool follows = slots[i]->number && is_auxiliary(slots[i]->tag);
        if (slots[i]->node == NO_NODE && follows) slots[i]->node = slots[i - 1]->node;
    }
}

static void match_all(struct slot *slots, size_t slot_count, struct node *nodes, size_t node_count) {
    enum { MOST = 4000 }; /* the table of all pairs must fit into the memory of a board */
    struct slot **delegated = allocate(slot_count * sizeof *delegated);
    int *order = allocate(node_count * sizeof *order);
    size_t count = 0;
    for (size_t i = 0; i < slot_count; i++)
        if (slots[i].is_delegated) delegated[count++] = &slots[i];
    size_t ordered = plan(nodes, node_count, order);
    if (count < MOST && ordered < MOST) match_delegated(delegated, count, nodes, order, ordered);
}

/* One entry per operation of the file; operators without a node have their own. */
static size_t to_ops(const struct slot *slots, size_t slot_count, const struct node *nodes,
                     struct op_time **result) {
    struct op_time *ops = allocate(slot_count * sizeof *ops);
    size_t count = 0;
    int previous = NO_NODE;
    for (size_t i = 0; i < slot_count; i++) {
        const struct slot *slot = &slots[i];
        if (slot->node == NO_NODE || slot->node != previous) {
            bool is_known = slot->node != NO_NODE;
            const char *op = slot->is_delegated && is_known ? name_of_op(nodes[slot->node].code) : slot->tag;
            const char *node = is_known ? nodes[slot->node].output : "";
            ops[count++] = (struct op_time){op, node, 0, slot->is_delegated};
        }
        ops[count - 1].mean_us += slot->us;
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
    if (!ops) return 0;
    match_all(slots, slot_count, nodes, node_count);
    return to_ops(slots, slot_count, nodes, ops);
}
