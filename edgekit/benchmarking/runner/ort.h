/* What ort.c and ort_profile.c share. */
#ifndef EDGEKIT_ORT_H
#define EDGEKIT_ORT_H

#include "engine.h"
#include "ort_api.h"

/* The functions of the loaded library. */
extern struct ort_api ort;

/* One session with its values; an output whose shape the file does not fix has none between runs. */
struct ort_model {
    ort_handle session;
    const char **input_names;
    const char **output_names;
    ort_handle *inputs;
    ort_handle *outputs;
    bool *fixed_outputs;
};

/* A session of the file, which writes a profile to `profile_prefix`_<time>.json unless that is NULL. */
ort_handle open_session(const struct options *options, const char *profile_prefix);

/* Runs `session` once on the values of the measured one. */
void run_session(ort_handle session);

/* See engine.h. */
size_t profile_ort(const struct options *options, int runs, struct op_time **ops, struct delegation *delegation);

/* Ends the process when a call of onnxruntime failed. */
void check_ort(ort_status status, int code);

#endif
