#define _GNU_SOURCE
#include "process.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOT_CAPTURING = -1 };
static int log_file = NOT_CAPTURING, standard_error = NOT_CAPTURING;

/* The first line of the runtime's log that is an error, without the word, or nothing. */
static const char *first_error(const char *log) {
    static const char mark[] = "ERROR: ";
    const char *error = strstr(log, mark);
    if (!error) return NULL;
    char *line = copy(error + strlen(mark));
    line[strcspn(line, "\n")] = 0;
    return line;
}

_Noreturn void fail(int code, const char *format, ...) {
    static char message[8192];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message / 2, format, values);
    va_end(values);
    const char *error = first_error(release_log());
    size_t length = strlen(message);
    if (error) snprintf(message + length, sizeof message - length, ": %s", error);
    for (char *at = message; *at; at++)
        if (isspace((unsigned char)*at)) *at = ' ';
    fprintf(stderr, "edgekit-runner: %s\n", message);
    /* The runtime's threads and destructors need no farewell, and some crash on it. */
    fflush(NULL);
    _Exit(code);
}

void tell_stage(const char *stage) {
    fprintf(stderr, "edgekit-runner: stage: %s\n", stage);
    fflush(stderr);
}

void *allocate(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (!memory) fail(INFERENCE_FAILED, "no memory for %zu bytes", size);
    return memory;
}

char *copy(const char *text) {
    char *memory = allocate(strlen(text) + 1);
    return strcpy(memory, text);
}

/* A file that goes with the process. Old C libraries (glibc before 2.27, Android's before API 30) have no memfd_create
 * for what their kernels can. */
static int temporary_file(void) {
    int file = (int)syscall(SYS_memfd_create, "edgekit-runner", 0u);
    if (file >= 0) return file;
    FILE *on_disk = tmpfile();
    return on_disk ? fileno(on_disk) : NOT_CAPTURING;
}

void capture_log(void) {
    log_file = temporary_file();
    if (log_file < 0) return;
    fflush(stderr);
    standard_error = dup(STDERR_FILENO);
    if (standard_error >= 0 && dup2(log_file, STDERR_FILENO) >= 0) return;
    if (standard_error >= 0) close(standard_error);
    close(log_file);
    log_file = standard_error = NOT_CAPTURING;
}

const char *release_log(void) {
    if (log_file < 0) return "";
    fflush(stderr);
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    struct stat facts;
    char *log = NULL;
    if (!fstat(log_file, &facts)) log = calloc(1, (size_t)facts.st_size + 1);
    if (log && pread(log_file, log, (size_t)facts.st_size, 0) < 0) log[0] = 0;
    close(log_file);
    log_file = standard_error = NOT_CAPTURING;
    return log ? log : "";
}
