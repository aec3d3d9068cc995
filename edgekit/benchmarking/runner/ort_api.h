/* The part of onnxruntime's C API that this program calls. OrtApi is a table of functions whose order is fixed for
 * ever: include/onnxruntime/core/session/onnxruntime_c_api.h only ever appends, and onnxruntime_c_api.cc asserts the
 * numbers of each version's last entry (101 for version 1, 149 for version 5). The numbers below were counted there. */
#ifndef EDGEKIT_ORT_API_H
#define EDGEKIT_ORT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All functions below are as old as this version of the API (onnxruntime 1.5), so any later library has them. */
enum { ORT_API_VERSION = 5 };

typedef struct ort_handle *ort_handle;
typedef ort_handle ort_status; /* NULL is success */

typedef struct {
    void *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} ort_api_base;

enum { ORT_LOG_WARNING = 2, ORT_LOG_ERROR = 3 };
enum { ORT_SEQUENTIAL = 0 };
enum { ORT_ENABLE_ALL = 99 };
enum { ORT_ARENA_ALLOCATOR = 1, ORT_MEMORY_DEFAULT = 0 };
enum { ONNX_TYPE_TENSOR = 1 };

/* ONNXTensorElementDataType: the numbers of onnx.proto's TensorProto.DataType. */
enum {
    ORT_FLOAT32 = 1,
    ORT_UINT8 = 2,
    ORT_INT8 = 3,
    ORT_UINT16 = 4,
    ORT_INT16 = 5,
    ORT_INT32 = 6,
    ORT_INT64 = 7,
    ORT_STRING = 8,
    ORT_BOOL = 9,
    ORT_FLOAT16 = 10,
    ORT_FLOAT64 = 11,
    ORT_UINT32 = 12,
    ORT_UINT64 = 13,
    ORT_BFLOAT16 = 16
};

/* Every function: its number in the table, its result, its name, its parameters. */
#define ORT_FUNCTIONS(X)                                                                                               \
    X(2, const char *, GetErrorMessage, ort_status)                                                                    \
    X(3, ort_status, CreateEnv, int, const char *, ort_handle *)                                                       \
    X(7, ort_status, CreateSession, ort_handle, const char *, ort_handle, ort_handle *)                                \
    X(9, ort_status, Run, ort_handle, ort_handle, const char *const *, const ort_handle *, size_t,                     \
      const char *const *, size_t, ort_handle *)                                                                       \
    X(10, ort_status, CreateSessionOptions, ort_handle *)                                                              \
    X(13, ort_status, SetSessionExecutionMode, ort_handle, int)                                                        \
    X(14, ort_status, EnableProfiling, ort_handle, const char *)                                                       \
    X(22, ort_status, SetSessionLogSeverityLevel, ort_handle, int)                                                     \
    X(23, ort_status, SetSessionGraphOptimizationLevel, ort_handle, int)                                               \
    X(24, ort_status, SetIntraOpNumThreads, ort_handle, int)                                                           \
    X(25, ort_status, SetInterOpNumThreads, ort_handle, int)                                                           \
    X(30, ort_status, SessionGetInputCount, ort_handle, size_t *)                                                      \
    X(31, ort_status, SessionGetOutputCount, ort_handle, size_t *)                                                     \
    X(33, ort_status, SessionGetInputTypeInfo, ort_handle, size_t, ort_handle *)                                       \
    X(34, ort_status, SessionGetOutputTypeInfo, ort_handle, size_t, ort_handle *)                                      \
    X(36, ort_status, SessionGetInputName, ort_handle, size_t, ort_handle, char **)                                    \
    X(37, ort_status, SessionGetOutputName, ort_handle, size_t, ort_handle, char **)                                   \
    X(49, ort_status, CreateTensorWithDataAsOrtValue, ort_handle, void *, size_t, const int64_t *, size_t, int,        \
      ort_handle *)                                                                                                    \
    X(51, ort_status, GetTensorMutableData, ort_handle, void **)                                                       \
    X(55, ort_status, CastTypeInfoToTensorInfo, ort_handle, const struct ort_handle **)                                \
    X(56, ort_status, GetOnnxTypeFromTypeInfo, ort_handle, int *)                                                      \
    X(60, ort_status, GetTensorElementType, const struct ort_handle *, int *)                                          \
    X(61, ort_status, GetDimensionsCount, const struct ort_handle *, size_t *)                                         \
    X(62, ort_status, GetDimensions, const struct ort_handle *, int64_t *, size_t)                                     \
    X(64, ort_status, GetTensorShapeElementCount, const struct ort_handle *, size_t *)                                 \
    X(65, ort_status, GetTensorTypeAndShape, ort_handle, ort_handle *)                                                 \
    X(69, ort_status, CreateCpuMemoryInfo, int, int, ort_handle *)                                                     \
    X(78, ort_status, GetAllocatorWithDefaultOptions, ort_handle *)                                                    \
    X(96, void, ReleaseValue, ort_handle)                                                                              \
    X(110, ort_status, SessionEndProfiling, ort_handle, ort_handle, char **)

#define ORT_DECLARE(number, result, name, ...) result (*name)(__VA_ARGS__);
struct ort_api {
    ORT_FUNCTIONS(ORT_DECLARE)
};

#endif
