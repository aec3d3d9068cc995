/* .tflite files in LiteRT, by the C API of libLiteRt.so. */
#define _GNU_SOURCE
#include "litert.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

/* Where the entry signature is; files without any have one by default. */
enum { SIGNATURE = 0 };

struct litert_api litert;
static struct litert_model measured;
static size_t input_count, output_count;
/* Of each output, in the file's order, its number in the signature. */
static size_t *output_order;

static void *find(void *library, const char *name, const char *path) {
    void *symbol = dlsym(library, name);
    if (!symbol) fail(NO_LIBRARY, "%s: has no %s; expected libLiteRt.so of ai-edge-litert 2.1.6 or later", path, name);
    return symbol;
}

void open_litert(const char *path, struct engine *engine) {
    (void)engine;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(NO_LIBRARY, "%s", dlerror());
    find(library, LITERT_MARK, path);
#define LITERT_FIND(result, name, ...) *(void **)&litert.name = find(library, "LiteRt" #name, path);
    LITERT_FUNCTIONS(LITERT_FIND)
}

void check_litert(litert_status status, const char *call, int code) {
    if (!status) return;
    fail(code, "LiteRT: %.*s failed with status %d", (int)strcspn(call, "("), call, status);
}

static litert_handle make_environment(void) {
    /* Of the accelerators only the CPU is wanted. */
    litert_environment_option options[] = {
        {LITERT_OPTION_ACCELERATORS, {LITERT_ANY_INTEGER, {LITERT_CPU}}},
        {LITERT_OPTION_LOG_SEVERITY, {LITERT_ANY_INTEGER, {LITERT_LOG_ERROR}}},
    };
    litert_handle environment;
    CHECK(CreateEnvironment(2, options, &environment), NO_LIBRARY);
    return environment;
}

/* LiteRT's options of one component are TOML, which it frees. */
static void add_options(litert_handle options, const char *component, const char *toml) {
    litert_handle opaque;
    CHECK(CreateOpaqueOptions(component, copy(toml), free, &opaque), NO_LIBRARY);
    CHECK(AddOpaqueOptions(options, opaque), NO_LIBRARY);
}

static litert_handle make_options(const struct options *options, bool with_profiler) {
    litert_handle compilation;
    CHECK(CreateOptions(&compilation), NO_LIBRARY);
    CHECK(SetOptionsHardwareAccelerators(compilation, LITERT_CPU), NO_LIBRARY);
    char toml[128];
    snprintf(toml, sizeof toml, "num_threads = %d\nkernel_mode = \"%s\"\n", options->threads,
             options->xnnpack ? "xnnpack" : "builtin");
    add_options(compilation, "xnnpack", toml);
    if (with_profiler) add_options(compilation, "runtime_options_string", "enable_profiling = true\n");
    return compilation;
}

static struct tensor describe(const char *name, const litert_tensor_type *type) {
    struct tensor tensor = {.name = name};
    switch (type->element_type) {
        case LITERT_FLOAT32: tensor.element = FLOAT32; break;
        case LITERT_FLOAT64: tensor.element = FLOAT64; break;
        case LITERT_FLOAT16: tensor.element = FLOAT16; break;
        case LITERT_BFLOAT16: tensor.element = BFLOAT16; break;
        case LITERT_INT8: case LITERT_UINT8: case LITERT_INT16: tensor.element = INTEGER_CODE; break;
        case LITERT_BOOL: tensor.element = BOOLEAN; break;
        case LITERT_INT32: case LITERT_INT64: case LITERT_UINT16: case LITERT_UINT32: case LITERT_UINT64:
            tensor.element = INTEGER; break;
        case LITERT_STRING: fail(MODEL_REFUSED, "\"%s\" holds strings; expected numbers", name);
        default: fail(MODEL_REFUSED, "\"%s\" has element type %d; expected real numbers", name, type->element_type);
    }
    unsigned rank = type->layout.rank, most = sizeof type->layout.dimensions / sizeof *type->layout.dimensions;
    if (rank > most) fail(MODEL_REFUSED, "\"%s\" has %u dimensions; expected at most %u", name, rank, most);
    for (unsigned i = 0; i < rank; i++)
        if (type->layout.dimensions[i] < 0) fail(MODEL_REFUSED, "\"%s\" has a dynamic dimension: fix its shape", name);
    return tensor;
}

static litert_handle make_buffer(litert_handle environment, const litert_tensor_type *type, litert_handle requirements,
                                 struct tensor *tensor) {
    litert_handle buffer;
    CHECK(CreateManagedTensorBufferFromRequirements(environment, type, requirements, &buffer), MODEL_REFUSED);
    CHECK(GetTensorBufferPackedSize(buffer, &tensor->bytes), MODEL_REFUSED);
    return buffer;
}

static void make_inputs(litert_handle environment, struct litert_model *model, struct tensor *tensors) {
    for (size_t i = 0; i < input_count; i++) {
        litert_handle tensor, requirements;
        litert_tensor_type type;
        const char *name;
        CHECK(GetSignatureInputName(model->signature, i, &name), MODEL_REFUSED);
        CHECK(GetSignatureInputTensorByIndex(model->signature, i, &tensor), MODEL_REFUSED);
        CHECK(GetRankedTensorType(tensor, &type), MODEL_REFUSED);
        /* A dimension that the signature leaves open has a default in the file, which is 1 as a rule. */
        CHECK(GetCompiledModelInputTensorLayout(model->compiled, SIGNATURE, i, &type.layout), MODEL_REFUSED);
        tensors[i] = describe(name, &type);
        CHECK(GetCompiledModelInputBufferRequirements(model->compiled, SIGNATURE, i, &requirements), MODEL_REFUSED);
        model->input_buffers[i] = make_buffer(environment, &type, requirements, &tensors[i]);
    }
}

static void make_outputs(litert_handle environment, struct litert_model *model, struct tensor *tensors) {
    litert_layout *layouts = allocate(output_count * sizeof *layouts);
    CHECK(GetCompiledModelOutputTensorLayouts(model->compiled, SIGNATURE, output_count, layouts, true), MODEL_REFUSED);
    for (size_t i = 0; i < output_count; i++) {
        litert_handle tensor, requirements;
        litert_tensor_type type;
        const char *name;
        CHECK(GetSignatureOutputName(model->signature, i, &name), MODEL_REFUSED);
        CHECK(GetSignatureOutputTensorByIndex(model->signature, i, &tensor), MODEL_REFUSED);
        CHECK(GetRankedTensorType(tensor, &type), MODEL_REFUSED);
        type.layout = layouts[i];
        tensors[i] = describe(name, &type);
        CHECK(GetCompiledModelOutputBufferRequirements(model->compiled, SIGNATURE, i, &requirements), MODEL_REFUSED);
        model->output_buffers[i] = make_buffer(environment, &type, requirements, &tensors[i]);
    }
}

/* The signature may list the outputs in another order than the file does. */
static void find_order(const struct litert_model *model) {
    output_order = allocate(output_count * sizeof *output_order);
    for (size_t i = 0; i < output_count; i++) output_order[i] = i;
    litert_handle subgraph, wanted, tensor;
    size_t count;
    CHECK(GetSignatureSubgraph(model->signature, &subgraph), MODEL_REFUSED);
    CHECK(GetNumSubgraphOutputs(subgraph, &count), MODEL_REFUSED);
    for (size_t i = 0; i < count && i < output_count; i++) {
        CHECK(GetSubgraphOutput(subgraph, i, &wanted), MODEL_REFUSED);
        for (size_t j = i; j < output_count; j++) {
            CHECK(GetSignatureOutputTensorByIndex(model->signature, output_order[j], &tensor), MODEL_REFUSED);
            if (tensor != wanted) continue;
            size_t found = output_order[j];
            memmove(&output_order[i + 1], &output_order[i], (j - i) * sizeof *output_order);
            output_order[i] = found;
            break;
        }
    }
}

struct litert_model compile_litert(const struct options *options, bool with_profiler, struct engine *engine) {
    struct litert_model model;
    litert_handle environment = make_environment();
    CHECK(CreateModelFromFile(environment, options->model, &model.model), MODEL_REFUSED);
    litert_handle compilation = make_options(options, with_profiler);
    CHECK(CreateCompiledModel(environment, model.model, compilation, &model.compiled), MODEL_REFUSED);
    CHECK(GetModelSignature(model.model, SIGNATURE, &model.signature), MODEL_REFUSED);
    CHECK(GetNumSignatureInputs(model.signature, &input_count), MODEL_REFUSED);
    CHECK(GetNumSignatureOutputs(model.signature, &output_count), MODEL_REFUSED);
    struct tensor *inputs = allocate(input_count * sizeof *inputs), *outputs = allocate(output_count * sizeof *outputs);
    model.input_buffers = allocate(input_count * sizeof *model.input_buffers);
    model.output_buffers = allocate(output_count * sizeof *model.output_buffers);
    make_inputs(environment, &model, inputs);
    make_outputs(environment, &model, outputs);
    if (!engine) return model;
    engine->inputs = inputs, engine->input_count = input_count;
    engine->outputs = outputs, engine->output_count = output_count;
    return model;
}

static void set_input(size_t index, const void *content) {
    void *memory;
    size_t bytes;
    CHECK(GetTensorBufferPackedSize(measured.input_buffers[index], &bytes), INFERENCE_FAILED);
    CHECK(LockTensorBuffer(measured.input_buffers[index], &memory, LITERT_LOCK_WRITE), INFERENCE_FAILED);
    memcpy(memory, content, bytes);
    CHECK(UnlockTensorBuffer(measured.input_buffers[index]), INFERENCE_FAILED);
}

void copy_litert_inputs(const struct litert_model *model) {
    for (size_t i = 0; i < input_count; i++) {
        void *from, *to;
        size_t bytes;
        CHECK(GetTensorBufferPackedSize(measured.input_buffers[i], &bytes), INFERENCE_FAILED);
        CHECK(LockTensorBuffer(measured.input_buffers[i], &from, LITERT_LOCK_READ), INFERENCE_FAILED);
        CHECK(LockTensorBuffer(model->input_buffers[i], &to, LITERT_LOCK_WRITE), INFERENCE_FAILED);
        memcpy(to, from, bytes);
        CHECK(UnlockTensorBuffer(model->input_buffers[i]), INFERENCE_FAILED);
        CHECK(UnlockTensorBuffer(measured.input_buffers[i]), INFERENCE_FAILED);
    }
}

static const void *get_output(size_t index, size_t *bytes) {
    litert_handle buffer = measured.output_buffers[output_order[index]];
    void *memory;
    CHECK(GetTensorBufferPackedSize(buffer, bytes), INFERENCE_FAILED);
    CHECK(LockTensorBuffer(buffer, &memory, LITERT_LOCK_READ), INFERENCE_FAILED);
    void *content = memcpy(allocate(*bytes), memory, *bytes);
    CHECK(UnlockTensorBuffer(buffer), INFERENCE_FAILED);
    return content;
}

void run_litert(const struct litert_model *model) {
    CHECK(RunCompiledModel(model->compiled, SIGNATURE, input_count, model->input_buffers, output_count,
                           model->output_buffers),
          INFERENCE_FAILED);
}

static void run(void) { run_litert(&measured); }

void load_litert(const struct options *options, struct engine *engine) {
    capture_log();
    measured = compile_litert(options, false, engine);
    find_order(&measured);
    release_log();
    engine->set_input = set_input;
    engine->run = run;
    engine->get_output = get_output;
    engine->profile = profile_litert;
    engine->tells_delegation = true;
}
