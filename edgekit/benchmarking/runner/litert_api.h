/* The part of LiteRT's C API that this program calls, as the headers of github.com/google-ai-edge/LiteRT (litert/c/)
 * declare it and libLiteRt.so of ai-edge-litert 2.1.6, 2.2 and 2.3 exports it. Handles are opaque pointers, indices
 * size_t, and every function returns 0 or the number of an error. */
#ifndef EDGEKIT_LITERT_API_H
#define EDGEKIT_LITERT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int litert_status;
typedef struct litert_handle *litert_handle;

/* litert_layout.h: a shape; dimensions below 0 are dynamic. */
typedef struct {
    unsigned rank : 7;
    unsigned has_strides : 1;
    int32_t dimensions[8];
    uint32_t strides[8];
} litert_layout;

/* litert_model_types.h; the numbers are those of TfLiteType. */
typedef struct {
    int element_type;
    litert_layout layout;
} litert_tensor_type;

enum {
    LITERT_FLOAT32 = 1,
    LITERT_INT32 = 2,
    LITERT_UINT8 = 3,
    LITERT_INT64 = 4,
    LITERT_STRING = 5,
    LITERT_BOOL = 6,
    LITERT_INT16 = 7,
    LITERT_INT8 = 9,
    LITERT_FLOAT16 = 10,
    LITERT_FLOAT64 = 11,
    LITERT_UINT64 = 13,
    LITERT_UINT32 = 16,
    LITERT_UINT16 = 17,
    LITERT_BFLOAT16 = 19
};

/* What the library of 2.1.6 has and older ones, whose functions take other parameters, have not. */
#define LITERT_MARK "LiteRtCreateModelFromFd"

/* litert_common.h */
enum { LITERT_CPU = 1 };
enum { LITERT_LOCK_READ = 0, LITERT_LOCK_WRITE = 1 };

/* litert_any.h: a value of one of several types. */
typedef struct {
    int type;
    union {
        int64_t integer;
        const void *pointer;
    };
} litert_any;

/* litert_environment_options.h. Libraries skip tags that they do not know. */
typedef struct {
    int tag;
    litert_any value;
} litert_environment_option;

enum { LITERT_ANY_INTEGER = 2 };
enum { LITERT_OPTION_ACCELERATORS = 24, LITERT_OPTION_LOG_SEVERITY = 25 };
enum { LITERT_LOG_ERROR = 3 };

/* litert_profiler_event.h (ProfiledEventData), up to two records of memory use whose size is the library's affair; what
 * follows them is litert_event_end. */
typedef struct {
    const char *tag;
    int type;
    uint64_t start_us;
    uint64_t elapsed_us;
} litert_event;

typedef struct {
    uint64_t node;
    uint64_t subgraph;
    int source;
} litert_event_end;

/* An operation that the interpreter ran, and one that a delegate ran and timed by itself: `node` is its number in the
 * subgraph, and in the delegate's part of it. */
enum { LITERT_OPERATOR_EVENT = 1 << 1, LITERT_DELEGATE_EVENT = 1 << 3 };

/* Every function: its result, its name without "LiteRt", its parameters. */
#define LITERT_FUNCTIONS(X)                                                                                            \
    X(litert_status, CreateEnvironment, int, const litert_environment_option *, litert_handle *)                       \
    X(litert_status, CreateModelFromFile, litert_handle, const char *, litert_handle *)                                \
    X(litert_status, CreateOptions, litert_handle *)                                                                   \
    X(litert_status, SetOptionsHardwareAccelerators, litert_handle, int)                                               \
    X(litert_status, CreateOpaqueOptions, const char *, void *, void (*)(void *), litert_handle *)                     \
    X(litert_status, AddOpaqueOptions, litert_handle, litert_handle)                                                   \
    X(litert_status, CreateCompiledModel, litert_handle, litert_handle, litert_handle, litert_handle *)                \
    X(litert_status, GetModelSignature, litert_handle, size_t, litert_handle *)                                        \
    X(litert_status, GetNumSignatureInputs, litert_handle, size_t *)                                                   \
    X(litert_status, GetNumSignatureOutputs, litert_handle, size_t *)                                                  \
    X(litert_status, GetSignatureInputName, litert_handle, size_t, const char **)                                      \
    X(litert_status, GetSignatureOutputName, litert_handle, size_t, const char **)                                     \
    X(litert_status, GetSignatureInputTensorByIndex, litert_handle, size_t, litert_handle *)                           \
    X(litert_status, GetSignatureOutputTensorByIndex, litert_handle, size_t, litert_handle *)                          \
    X(litert_status, GetSignatureSubgraph, litert_handle, litert_handle *)                                             \
    X(litert_status, GetNumSubgraphOutputs, litert_handle, size_t *)                                                   \
    X(litert_status, GetSubgraphOutput, litert_handle, size_t, litert_handle *)                                        \
    X(litert_status, GetNumSubgraphOps, litert_handle, size_t *)                                                       \
    X(litert_status, GetSubgraphOp, litert_handle, size_t, litert_handle *)                                            \
    X(litert_status, GetOpCode, litert_handle, int *)                                                                  \
    X(litert_status, GetNumOpInputs, litert_handle, size_t *)                                                          \
    X(litert_status, GetOpInput, litert_handle, size_t, litert_handle *)                                               \
    X(litert_status, GetNumOpOutputs, litert_handle, size_t *)                                                         \
    X(litert_status, GetOpOutput, litert_handle, size_t, litert_handle *)                                              \
    X(litert_status, GetTensorName, litert_handle, const char **)                                                      \
    X(litert_status, GetRankedTensorType, litert_handle, litert_tensor_type *)                                         \
    X(litert_status, GetCompiledModelInputBufferRequirements, litert_handle, size_t, size_t, litert_handle *)          \
    X(litert_status, GetCompiledModelOutputBufferRequirements, litert_handle, size_t, size_t, litert_handle *)         \
    X(litert_status, GetCompiledModelInputTensorLayout, litert_handle, size_t, size_t, litert_layout *)                \
    X(litert_status, GetCompiledModelOutputTensorLayouts, litert_handle, size_t, size_t, litert_layout *, bool)        \
    X(litert_status, CreateManagedTensorBufferFromRequirements, litert_handle, const litert_tensor_type *,             \
      litert_handle, litert_handle *)                                                                                  \
    X(litert_status, GetTensorBufferPackedSize, litert_handle, size_t *)                                               \
    X(litert_status, LockTensorBuffer, litert_handle, void **, int)                                                    \
    X(litert_status, UnlockTensorBuffer, litert_handle)                                                                \
    X(litert_status, RunCompiledModel, litert_handle, size_t, size_t, litert_handle *, size_t, litert_handle *)        \
    X(litert_status, CompiledModelGetProfiler, litert_handle, litert_handle *)                                         \
    X(litert_status, StartProfiler, litert_handle)                                                                     \
    X(litert_status, StopProfiler, litert_handle)                                                                      \
    X(litert_status, ResetProfiler, litert_handle)                                                                     \
    X(litert_status, GetNumProfilerEvents, litert_handle, int *)                                                       \
    X(litert_status, GetProfilerEvents, litert_handle, int, void *)

#define LITERT_DECLARE(result, name, ...) result (*name)(__VA_ARGS__);
struct litert_api {
    LITERT_FUNCTIONS(LITERT_DECLARE)
};

#endif
