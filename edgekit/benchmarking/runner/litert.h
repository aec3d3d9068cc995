/* What litert.c and litert_profile.c share. */
#ifndef EDGEKIT_LITERT_H
#define EDGEKIT_LITERT_H

#include "engine.h"
#include "litert_api.h"

/* The functions of the loaded library. */
extern struct litert_api litert;

/* One compiled model with its buffers. */
struct litert_model {
    litert_handle model;
    litert_handle compiled;
    litert_handle signature;
    litert_handle *input_buffers;
    litert_handle *output_buffers;
};

/* Compiles the file and makes its buffers; describes them in `engine`, unless that is NULL. */
struct litert_model compile_litert(const struct options *options, bool with_profiler, struct engine *engine);

/* Runs the model once. */
void run_litert(const struct litert_model *model);

/* Gives `model` the inputs of the measured one. */
void copy_litert_inputs(const struct litert_model *model);

/* See engine.h. */
size_t profile_litert(const struct options *options, int runs, struct op_time **ops, struct delegation *delegation);

/* Ends the process when a call of LiteRT failed. */
void check_litert(litert_status status, const char *call, int code);
#define CHECK(call, code) check_litert(litert.call, #call, code)

#endif
