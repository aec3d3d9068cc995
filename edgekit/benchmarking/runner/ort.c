/* .onnx files in onnxruntime on its CPU execution provider, by the C API of libonnxruntime.so. */
#define _GNU_SOURCE
#include "ort.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

struct ort_api ort;
static struct ort_model measured;
static size_t input_count, output_count;

static const struct {
    int type;
    enum element element;
    size_t bytes;
} elements[] = {
    {ORT_FLOAT32, FLOAT32, 4}, {ORT_FLOAT64, FLOAT64, 8},      {ORT_FLOAT16, FLOAT16, 2}, {ORT_BFLOAT16, BFLOAT16, 2},
    {ORT_INT8, INTEGER_CODE, 1}, {ORT_UINT8, INTEGER_CODE, 1}, {ORT_INT16, INTEGER_CODE, 2}, {ORT_UINT16, INTEGER, 2},
    {ORT_INT32, INTEGER, 4},   {ORT_UINT32, INTEGER, 4},       {ORT_INT64, INTEGER, 8},   {ORT_UINT64, INTEGER, 8},
    {ORT_BOOL, BOOLEAN, 1},
};

static const char *open_library(const char *path) {
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(NO_LIBRARY, "%s", dlerror());
    const ort_api_base *(*get_base)(void);
    *(void **)&get_base = dlsym(library, "OrtGetApiBase");
    if (!get_base) fail(NO_LIBRARY, "%s: has no OrtGetApiBase; expected libonnxruntime.so", path);
    void *const *table = get_base()->get_api(ORT_API_VERSION);
    if (!table) fail(NO_LIBRARY, "%s: has no API version %d; expected onnxruntime 1.5 or later", path, ORT_API_VERSION);
#define ORT_FIND(number, result, name, ...) *(void **)&ort.name = table[number];
    ORT_FUNCTIONS(ORT_FIND)
    return get_base()->get_version();
}

void check_ort(ort_status status, int code) {
    if (status) fail(code, "onnxruntime: %s", ort.GetErrorMessage(status));
}

ort_handle open_session(const struct options *options, const char *profile_prefix) {
    static ort_handle environment;
    ort_handle session_options, session;
    if (!environment) check_ort(ort.CreateEnv(ORT_LOG_ERROR, "edgekit", &environment), NO_LIBRARY);
    check_ort(ort.CreateSessionOptions(&session_options), NO_LIBRARY);
    check_ort(ort.SetSessionExecutionMode(session_options, ORT_SEQUENTIAL), NO_LIBRARY);
    check_ort(ort.SetSessionGraphOptimizationLevel(session_options, ORT_ENABLE_ALL), NO_LIBRARY);
    check_ort(ort.SetSessionLogSeverityLevel(session_options, ORT_LOG_ERROR), NO_LIBRARY);
    check_ort(ort.SetIntraOpNumThreads(session_options, options->threads), NO_LIBRARY);
    check_ort(ort.SetInterOpNumThreads(session_options, 1), NO_LIBRARY);
    if (profile_prefix) check_ort(ort.EnableProfiling(session_options, profile_prefix), NO_LIBRARY);
    check_ort(ort.CreateSession(environment, options->model, session_options, &session), MODEL_REFUSED);
    return session;
}

/* The shape and type of one input or output; `is_fixed` says whether all its dimensions are numbers. */
struct description {
    struct tensor tensor;
    int type;
    int64_t *dimensions;
    size_t rank;
    bool is_fixed;
};

static struct description describe(const char *name, ort_handle type_info, const char *path) {
    struct description found = {.tensor = {.name = name}, .is_fixed = true};
    int kind;
    check_ort(ort.GetOnnxTypeFromTypeInfo(type_info, &kind), MODEL_REFUSED);
    if (kind != ONNX_TYPE_TENSOR)
        fail(MODEL_REFUSED, "%s: \"%s\" is no tensor; expected a tensor of numbers", path, name);
    const struct ort_handle *info;
    check_ort(ort.CastTypeInfoToTensorInfo(type_info, &info), MODEL_REFUSED);
    check_ort(ort.GetTensorElementType(info, &found.type), MODEL_REFUSED);
    if (found.type == ORT_STRING) fail(MODEL_REFUSED, "%s: \"%s\" holds strings; expected numbers", path, name);
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (elements[i].type == found.type)
            found.tensor.element = elements[i].element, found.tensor.bytes = elements[i].bytes;
    if (!found.tensor.bytes)
        fail(MODEL_REFUSED, "%s: \"%s\" has element type %d; expected real numbers", path, name, found.type);
    check_ort(ort.GetDimensionsCount(info, &found.rank), MODEL_REFUSED);
    found.dimensions = allocate(found.rank * sizeof *found.dimensions);
    check_ort(ort.GetDimensions(info, found.dimensions, found.rank), MODEL_REFUSED);
    for (size_t i = 0; i < found.rank; i++) {
        if (found.dimensions[i] < 0) found.is_fixed = false;
        else found.tensor.bytes *= (size_t)found.dimensions[i];
    }
    return found;
}

/* A value in aligned memory of its own. */
static ort_handle make_value(const struct description *description) {
    enum { ALIGNMENT = 64 };
    static ort_handle cpu;
    if (!cpu) check_ort(ort.CreateCpuMemoryInfo(ORT_ARENA_ALLOCATOR, ORT_MEMORY_DEFAULT, &cpu), NO_LIBRARY);
    size_t bytes = description->tensor.bytes;
    void *memory = aligned_alloc(ALIGNMENT, (bytes / ALIGNMENT + 1) * ALIGNMENT);
    if (!memory) fail(INFERENCE_FAILED, "no memory for %zu bytes", bytes);
    memset(memory, 0, bytes);
    ort_handle value;
    check_ort(ort.CreateTensorWithDataAsOrtValue(cpu, memory, bytes, description->dimensions, description->rank,
                                                 description->type, &value),
              MODEL_REFUSED);
    return value;
}

/* An open batch is 1, as everywhere in edgekit; another open size cannot be guessed. */
static void close_batch(struct description *description) {
    size_t open = 0;
    for (size_t i = 0; i < description->rank; i++) open += description->dimensions[i] < 0;
    if (open != 1 || description->dimensions[0] >= 0) return;
    description->dimensions[0] = 1;
    description->is_fixed = true;
}

static struct tensor *make_inputs(struct ort_model *model, ort_handle allocator, const char *path) {
    check_ort(ort.SessionGetInputCount(model->session, &input_count), MODEL_REFUSED);
    struct tensor *tensors = allocate(input_count * sizeof *tensors);
    model->input_names = allocate(input_count * sizeof *model->input_names);
    model->inputs = allocate(input_count * sizeof *model->inputs);
    for (size_t i = 0; i < input_count; i++) {
        char *name;
        ort_handle type_info;
        check_ort(ort.SessionGetInputName(model->session, i, allocator, &name), MODEL_REFUSED);
        check_ort(ort.SessionGetInputTypeInfo(model->session, i, &type_info), MODEL_REFUSED);
        struct description description = describe(name, type_info, path);
        close_batch(&description);
        if (!description.is_fixed)
            fail(MODEL_REFUSED, "%s: input \"%s\" has a dynamic dimension: fix its shape", path, name);
        model->input_names[i] = name;
        model->inputs[i] = make_value(&description);
        tensors[i] = description.tensor;
    }
    return tensors;
}

static struct tensor *make_outputs(struct ort_model *model, ort_handle allocator, const char *path) {
    check_ort(ort.SessionGetOutputCount(model->session, &output_count), MODEL_REFUSED);
    struct tensor *tensors = allocate(output_count * sizeof *tensors);
    model->output_names = allocate(output_count * sizeof *model->output_names);
    model->outputs = allocate(output_count * sizeof *model->outputs);
    model->fixed_outputs = allocate(output_count * sizeof *model->fixed_outputs);
    for (size_t i = 0; i < output_count; i++) {
        char *name;
        ort_handle type_info;
        check_ort(ort.SessionGetOutputName(model->session, i, allocator, &name), MODEL_REFUSED);
        check_ort(ort.SessionGetOutputTypeInfo(model->session, i, &type_info), MODEL_REFUSED);
        struct description description = describe(name, type_info, path);
        model->output_names[i] = name;
        model->fixed_outputs[i] = description.is_fixed;
        if (description.is_fixed) model->outputs[i] = make_value(&description);
        tensors[i] = description.tensor;
    }
    return tensors;
}

void run_session(ort_handle session) {
    for (size_t i = 0; i < output_count; i++) {
        if (measured.fixed_outputs[i] || !measured.outputs[i]) continue;
        ort.ReleaseValue(measured.outputs[i]);
        measured.outputs[i] = NULL;
    }
    check_ort(ort.Run(session, NULL, measured.input_names, measured.inputs, input_count, measured.output_names,
                      output_count, measured.outputs),
              INFERENCE_FAILED);
}

static void run(void) { run_session(measured.session); }

static size_t content_bytes(ort_handle value) {
    ort_handle info;
    size_t count;
    int type;
    check_ort(ort.GetTensorTypeAndShape(value, &info), INFERENCE_FAILED);
    check_ort(ort.GetTensorShapeElementCount(info, &count), INFERENCE_FAILED);
    check_ort(ort.GetTensorElementType(info, &type), INFERENCE_FAILED);
    size_t i = 0;
    while (elements[i].type != type) i++;
    return count * elements[i].bytes;
}

static void set_input(size_t index, const void *content) {
    void *memory;
    check_ort(ort.GetTensorMutableData(measured.inputs[index], &memory), INFERENCE_FAILED);
    memcpy(memory, content, content_bytes(measured.inputs[index]));
}

static const void *get_output(size_t index, size_t *bytes) {
    void *memory;
    *bytes = content_bytes(measured.outputs[index]);
    check_ort(ort.GetTensorMutableData(measured.outputs[index], &memory), INFERENCE_FAILED);
    return memory;
}

void load_onnxruntime(const struct options *options, struct engine *engine) {
    engine->version = open_library(options->library);
    measured.session = open_session(options, NULL);
    ort_handle allocator;
    check_ort(ort.GetAllocatorWithDefaultOptions(&allocator), NO_LIBRARY);
    engine->inputs = make_inputs(&measured, allocator, options->model);
    engine->input_count = input_count;
    engine->outputs = make_outputs(&measured, allocator, options->model);
    engine->output_count = output_count;
    engine->set_input = set_input;
    engine->run = run;
    engine->get_output = get_output;
    engine->profile = profile_ort;
}
