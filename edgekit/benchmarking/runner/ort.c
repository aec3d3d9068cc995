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

void open_onnxruntime(const char *path, struct engine *engine) {
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
    engine->version = get_base()->get_version();
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

/* The bytes of an element of this type, and its kind; 0 for what this program cannot handle. */
static size_t bytes_of(int type, enum element *element) {
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (elements[i].type == type) {
            *element = elements[i].element;
            return elements[i].bytes;
        }
    return 0;
}

/* The shape and type of one input or output. */
struct description {
    struct tensor tensor;
    int type;
    size_t element_bytes;
    int64_t *dimensions;
    size_t rank;
};

static void read_shape(const struct ort_handle *info, struct description *found) {
    check_ort(ort.GetDimensionsCount(info, &found->rank), MODEL_REFUSED);
    found->dimensions = allocate(found->rank * sizeof *found->dimensions);
    check_ort(ort.GetDimensions(info, found->dimensions, found->rank), MODEL_REFUSED);
}

static struct description describe(const char *name, ort_handle type_info) {
    struct description found = {.tensor = {.name = name}};
    int kind;
    check_ort(ort.GetOnnxTypeFromTypeInfo(type_info, &kind), MODEL_REFUSED);
    if (kind != ONNX_TYPE_TENSOR) fail(MODEL_REFUSED, "\"%s\" is no tensor; expected a tensor of numbers", name);
    const struct ort_handle *info;
    check_ort(ort.CastTypeInfoToTensorInfo(type_info, &info), MODEL_REFUSED);
    check_ort(ort.GetTensorElementType(info, &found.type), MODEL_REFUSED);
    if (found.type == ORT_STRING) fail(MODEL_REFUSED, "\"%s\" holds strings; expected numbers", name);
    found.element_bytes = bytes_of(found.type, &found.tensor.element);
    if (!found.element_bytes)
        fail(MODEL_REFUSED, "\"%s\" has element type %d; expected real numbers", name, found.type);
    read_shape(info, &found);
    return found;
}

/* Sets the size; whether all dimensions are numbers. */
static bool set_size(struct description *description) {
    size_t *bytes = &description->tensor.bytes;
    *bytes = description->element_bytes;
    for (size_t i = 0; i < description->rank; i++) {
        int64_t size = description->dimensions[i];
        if (size < 0) return false;
        if (__builtin_mul_overflow(*bytes, size, bytes))
            fail(MODEL_REFUSED, "\"%s\" is too large for this machine; expected a smaller shape",
                 description->tensor.name);
    }
    return true;
}

/* A value in aligned memory of its own. */
static ort_handle make_value(const struct description *description) {
    enum { ALIGNMENT = 64 };
    static ort_handle cpu;
    if (!cpu) check_ort(ort.CreateCpuMemoryInfo(ORT_ARENA_ALLOCATOR, ORT_MEMORY_DEFAULT, &cpu), NO_LIBRARY);
    size_t bytes = description->tensor.bytes;
    void *memory;
    if (posix_memalign(&memory, ALIGNMENT, bytes ? bytes : 1)) fail(INFERENCE_FAILED, "no memory for %zu bytes", bytes);
    memset(memory, 0, bytes);
    ort_handle value;
    check_ort(ort.CreateTensorWithDataAsOrtValue(cpu, memory, bytes, description->dimensions, description->rank,
                                                 description->type, &value),
              MODEL_REFUSED);
    return value;
}

/* An open batch is 1, as everywhere in edgekit; another open size cannot be guessed. */
static void close_batch(struct description *description) {
    if (description->rank && description->dimensions[0] < 0) description->dimensions[0] = 1;
}

/* The inputs or the outputs of a session: the functions that tell of them, and what they are. */
struct side {
    ort_status (*get_name)(ort_handle, size_t, ort_handle, char **);
    ort_status (*get_type_info)(ort_handle, size_t, ort_handle *);
    bool is_input;
    size_t count;
    const char **names;
    ort_handle *values;
    bool *fixed;
};

static struct tensor *make_values(ort_handle session, struct side *side) {
    ort_handle allocator;
    check_ort(ort.GetAllocatorWithDefaultOptions(&allocator), NO_LIBRARY);
    struct tensor *tensors = allocate(side->count * sizeof *tensors);
    side->names = allocate(side->count * sizeof *side->names);
    side->values = allocate(side->count * sizeof *side->values);
    side->fixed = allocate(side->count * sizeof *side->fixed);
    for (size_t i = 0; i < side->count; i++) {
        char *name;
        ort_handle type_info;
        check_ort(side->get_name(session, i, allocator, &name), MODEL_REFUSED);
        check_ort(side->get_type_info(session, i, &type_info), MODEL_REFUSED);
        struct description description = describe(name, type_info);
        if (side->is_input) close_batch(&description);
        side->names[i] = name;
        side->fixed[i] = set_size(&description);
        if (side->fixed[i]) side->values[i] = make_value(&description);
        else if (side->is_input) fail(MODEL_REFUSED, "input \"%s\" has a dynamic dimension: fix its shape", name);
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
    enum element element;
    check_ort(ort.GetTensorTypeAndShape(value, &info), INFERENCE_FAILED);
    check_ort(ort.GetTensorShapeElementCount(info, &count), INFERENCE_FAILED);
    check_ort(ort.GetTensorElementType(info, &type), INFERENCE_FAILED);
    return count * bytes_of(type, &element);
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
    ort_handle session = measured.session = open_session(options, NULL);
    struct side inputs = {ort.SessionGetInputName, ort.SessionGetInputTypeInfo, .is_input = true};
    struct side outputs = {ort.SessionGetOutputName, ort.SessionGetOutputTypeInfo, .is_input = false};
    check_ort(ort.SessionGetInputCount(session, &inputs.count), MODEL_REFUSED);
    check_ort(ort.SessionGetOutputCount(session, &outputs.count), MODEL_REFUSED);
    engine->inputs = make_values(session, &inputs);
    engine->outputs = make_values(session, &outputs);
    engine->input_count = input_count = inputs.count;
    engine->output_count = output_count = outputs.count;
    measured.input_names = inputs.names, measured.inputs = inputs.values;
    measured.output_names = outputs.names, measured.outputs = outputs.values, measured.fixed_outputs = outputs.fixed;
    engine->set_input = set_input;
    engine->run = run;
    engine->get_output = get_output;
    engine->profile = profile_ort;
}
