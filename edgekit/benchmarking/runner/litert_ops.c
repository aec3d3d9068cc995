#include "litert_ops.h"

#include <stddef.h>
#include <string.h>

/* In XNNPACK, an operation may become one of several operators, whose names (xnn_operator_type_to_string) begin so.
 * "Invalid Unary Op" is a function of one integer, by a table. */
enum { ALTERNATIVES = 4 };
static const struct {
    int code;
    const char *name;
    bool is_elidable;
    const char *operators[ALTERNATIVES];
} kinds[] = {
    {0, "ADD", false, {"Add"}},
    {1, "AVERAGE_POOL_2D", false, {"Average Pooling", "Global Average Pooling", "Mean"}},
    {2, "CONCATENATION", false, {"Copy", "Concatenate"}},
    {3, "CONV_2D", false, {"Convolution", "Fully Connected"}},
    {4, "DEPTHWISE_CONV_2D", false, {"Convolution"}},
    {5, "DEPTH_TO_SPACE", false, {"Depth To Space"}},
    {6, "DEQUANTIZE", true, {"Convert"}},
    {8, "FLOOR", false, {"Floor", "Invalid Unary Op"}},
    {9, "FULLY_CONNECTED", false, {"Fully Connected", "Dynamic Fully Connected", "Batch Matrix Multiply"}},
    {14, "LOGISTIC", false, {"Sigmoid", "Invalid Unary Op"}},
    {17, "MAX_POOL_2D", false, {"Max Pooling"}},
    {18, "MUL", false, {"Multiply"}},
    {19, "RELU", true, {"Clamp"}},
    {20, "RELU_N1_TO_1", true, {"Clamp"}},
    {21, "RELU6", true, {"Clamp"}},
    {22, "RESHAPE", true, {"Static Reshape", "Copy"}},
    {23, "RESIZE_BILINEAR", false, {"Resize Bilinear"}},
    {25, "SOFTMAX", false, {"Softmax"}},
    {26, "SPACE_TO_DEPTH", false, {"Space To Depth"}},
    {28, "TANH", false, {"TanH", "Tanh", "Invalid Unary Op"}},
    {34, "PAD", true, {"Constant Pad"}},
    {39, "TRANSPOSE", false, {"Transpose"}},
    {40, "MEAN", false, {"Mean", "Mean Squared", "Global Average Pooling"}},
    {41, "SUB", false, {"Subtract"}},
    {42, "DIV", false, {"Divide"}},
    {43, "SQUEEZE", true, {"Static Reshape", "Fuse Dims", "Copy"}},
    {45, "STRIDED_SLICE", false, {"Slice"}},
    {47, "EXP", false, {"Exp", "Invalid Unary Op"}},
    {49, "SPLIT", false, {"Slice", "Copy"}},
    {54, "PRELU", false, {"PReLU"}},
    {55, "MAXIMUM", false, {"Maximum"}},
    {57, "MINIMUM", false, {"Minimum"}},
    {59, "NEG", false, {"Negate", "Invalid Unary Op"}},
    {60, "PADV2", true, {"Constant Pad"}},
    {65, "SLICE", false, {"Slice"}},
    {66, "SIN", false, {"Sine", "Invalid Unary Op"}},
    {67, "TRANSPOSE_CONV", false, {"Deconvolution"}},
    {70, "EXPAND_DIMS", true, {"Static Expand Dims", "Static Reshape", "Copy"}},
    {73, "LOG", false, {"Log", "Invalid Unary Op"}},
    {74, "SUM", false, {"Sum", "Normalize"}},
    {75, "SQRT", false, {"Square Root", "Invalid Unary Op"}},
    {76, "RSQRT", false, {"Reciprocal Square Root", "Invalid Unary Op"}},
    {82, "REDUCE_MAX", false, {"Reduce Max"}},
    {89, "REDUCE_MIN", false, {"Reduce Min"}},
    {92, "SQUARE", true, {"Square", "Invalid Unary Op"}},
    {98, "LEAKY_RELU", false, {"LeakyReLU", "Leaky ReLU", "Invalid Unary Op"}},
    {99, "SQUARED_DIFFERENCE", false, {"Squared Difference"}},
    {101, "ABS", false, {"Abs", "Invalid Unary Op"}},
    {104, "CEIL", false, {"Ceiling", "Invalid Unary Op"}},
    {108, "COS", false, {"Cosine", "Invalid Unary Op"}},
    {111, "ELU", false, {"ELU", "Invalid Unary Op"}},
    {114, "QUANTIZE", true, {"Convert"}},
    {116, "ROUND", false, {"Bankers Rounding", "Bankders Rounding", "Invalid Unary Op"}},
    {117, "HARD_SWISH", false, {"HardSwish", "Invalid Unary Op"}},
    {126, "BATCH_MATMUL", false, {"Batch Matrix Multiply", "Dynamic Fully Connected", "Fully Connected"}},
    {150, "GELU", false, {"GELU", "ApproxGELU", "Invalid Unary Op"}},
};

static int find(int code) {
    for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds); i++)
        if (kinds[i].code == code) return i;
    return -1;
}

const char *name_of_op(int code) {
    int kind = find(code);
    return kind < 0 ? "" : kinds[kind].name;
}

/* What follows an operator's name is its layout and its types, in parentheses, or nothing. */
static bool is_called(const char *operator_name, const char *name) {
    size_t length = strlen(name);
    if (strncmp(operator_name, name, length)) return false;
    return !operator_name[length] || !strncmp(operator_name + length, " (", 2);
}

bool runs_as(int code, const char *operator_name) {
    int kind = find(code);
    for (int i = 0; kind >= 0 && i < ALTERNATIVES; i++)
        if (kinds[kind].operators[i] && is_called(operator_name, kinds[kind].operators[i])) return true;
    return false;
}

bool is_auxiliary(const char *operator_name) {
    static const char *const names[] = {"Clamp", "Static Reshape", "Copy", "Convert", "Transpose"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_called(operator_name, names[i])) return true;
    return false;
}

bool is_elidable(int code) {
    int kind = find(code);
    return kind >= 0 && kinds[kind].is_elidable;
}
