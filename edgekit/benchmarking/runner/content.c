#include "content.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "process.h"

/* Knuth, The Art of Computer Programming 2, 3.3.4 (MMIX): the upper bits of a 64-bit linear congruential generator. */
static uint32_t random_bits(void) {
    static uint64_t state = 20;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* Uniform in [-1, 1), a multiple of 2^-8: exact in every float type, bfloat16 included. */
static float random_float(void) { return (float)((int)(random_bits() >> 23) - 256) / 256.0f; }

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A normal number of [-1, 1) whose mantissa fits; zero stays zero. */
static uint16_t to_float16(float value) {
    uint32_t bits = float_bits(value);
    if (!(bits & 0x7fffffff)) return 0;
    return (uint16_t)((bits >> 16 & 0x8000) | ((bits >> 23 & 0xff) - 112) << 10 | (bits >> 13 & 0x3ff));
}

static void make_up(const struct tensor *tensor, void *content) {
    size_t bytes = tensor->bytes;
    if (tensor->element == FLOAT32)
        for (size_t i = 0; i < bytes / 4; i++) ((float *)content)[i] = random_float();
    else if (tensor->element == FLOAT64)
        for (size_t i = 0; i < bytes / 8; i++) ((double *)content)[i] = random_float();
    else if (tensor->element == FLOAT16)
        for (size_t i = 0; i < bytes / 2; i++) ((uint16_t *)content)[i] = to_float16(random_float());
    else if (tensor->element == BFLOAT16)
        for (size_t i = 0; i < bytes / 2; i++) ((uint16_t *)content)[i] = (uint16_t)(float_bits(random_float()) >> 16);
    else if (tensor->element == INTEGER_CODE)
        for (size_t i = 0; i < bytes; i++) ((uint8_t *)content)[i] = (uint8_t)random_bits();
    /* Other integers are indices or counts as often as not: zero, which is one of each. */
}

static void read_file(const struct input_file *input, const struct tensor *tensor, void *content) {
    FILE *file = fopen(input->path, "rb");
    if (!file) fail(INPUT_OUTPUT, "%s: %s", input->path, strerror(errno));
    size_t size = fread(content, 1, tensor->bytes, file);
    bool more = fgetc(file) != EOF;
    fclose(file);
    if (size != tensor->bytes || more)
        fail(INPUT_OUTPUT, "%s: expected %zu bytes, which input \"%s\" has", input->path, tensor->bytes, tensor->name);
}

static bool is_for(const struct input_file *input, const struct tensor *tensor) {
    return strlen(tensor->name) == input->name_length && !memcmp(tensor->name, input->name, input->name_length);
}

static void require_known(const struct options *options, const struct engine *engine) {
    for (size_t i = 0; i < options->input_count; i++) {
        const struct input_file *input = &options->inputs[i];
        bool known = false;
        for (size_t j = 0; j < engine->input_count; j++) known |= is_for(input, &engine->inputs[j]);
        if (!known) fail(USAGE, "--input %.*s: the model has no such input", (int)input->name_length, input->name);
    }
}

void set_inputs(const struct options *options, const struct engine *engine) {
    require_known(options, engine);
    for (size_t i = 0; i < engine->input_count; i++) {
        const struct tensor *tensor = &engine->inputs[i];
        const struct input_file *given = NULL;
        for (size_t j = 0; j < options->input_count; j++)
            if (is_for(&options->inputs[j], tensor)) given = &options->inputs[j];
        void *content = allocate(tensor->bytes);
        if (given) read_file(given, tensor, content);
        else make_up(tensor, content);
        engine->set_input(i, content);
    }
}

void write_outputs(const char *folder, const struct engine *engine) {
    if (mkdir(folder, 0777) && errno != EEXIST) fail(INPUT_OUTPUT, "%s: %s", folder, strerror(errno));
    for (size_t i = 0; i < engine->output_count; i++) {
        char path[4096];
        size_t bytes;
        const void *content = engine->get_output(i, &bytes);
        if (snprintf(path, sizeof path, "%s/%zu.bin", folder, i) >= (int)sizeof path)
            fail(INPUT_OUTPUT, "%s: the path is too long", folder);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(content, 1, bytes, file) != bytes || fclose(file))
            fail(INPUT_OUTPUT, "%s: %s", path, strerror(errno));
    }
}
