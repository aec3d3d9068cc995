/* What a runtime must do to be measured. To add one, write a file like ort.c and a row in main.c's table. */
#ifndef EDGEKIT_ENGINE_H
#define EDGEKIT_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

/* How an element looks in memory; OTHER is one that this program cannot make up. */
enum element { OTHER, FLOAT16, BFLOAT16, FLOAT32, FLOAT64, INTEGER_CODE, INTEGER, BOOLEAN };

/* One input or output. `bytes` is the size of its packed content. */
struct tensor {
    const char *name;
    enum element element;
    size_t bytes;
};

/* The time of one operation per inference, a trimmed_mean (measure.h). `accelerated`: 1 yes, 0 no, -1 unknown. */
struct op_time {
    const char *op;
    const char *node;
    double mean_us;
    int accelerated;
};

/* The operations of the file that a delegate took; all -1 when unknown. */
struct delegation {
    int accelerated_ops;
    int total_ops;
    int partitions;
};

/* A loaded model. Every function ends the process with the runtime's own message when the runtime fails. */
struct engine {
    const char *version; /* NULL when the library does not tell */
    struct tensor *inputs;
    size_t input_count;
    struct tensor *outputs;
    size_t output_count;
    void (*set_input)(size_t index, const void *content);
    void (*run)(void);
    /* The content of an output of the last run, and its size in `bytes`. */
    const void *(*get_output)(size_t index, size_t *bytes);
    /* Loads the model once more, with profiling, and runs it `runs` times; fills `delegation` if
     * tells_delegation, and `ops` unless that is NULL. Returns how many there are. */
    bool tells_delegation;
    size_t (*profile)(const struct options *options, int runs, struct op_time **ops, struct delegation *delegation);
};

/* Loads the library; the time that it takes is not the model's. */
void open_litert(const char *library, struct engine *engine);
void open_onnxruntime(const char *library, struct engine *engine);

/* Loads the model and makes it ready to run. */
void load_litert(const struct options *options, struct engine *engine);
void load_onnxruntime(const struct options *options, struct engine *engine);

#endif
