/* How the program ends, and what the runtime says meanwhile. */
#ifndef EDGEKIT_PROCESS_H
#define EDGEKIT_PROCESS_H

#include <stddef.h>

/* Exit codes. On every ending but the first, standard error's last line is the reason. */
enum { DONE = 0, USAGE = 2, NO_LIBRARY = 3, MODEL_REFUSED = 4, INFERENCE_FAILED = 5, INPUT_OUTPUT = 6 };

/* Writes one line on standard error, with what the runtime complained of, and ends the process. */
_Noreturn void fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes a line on standard error that says what begins: a crash tells nothing. "loading" is the model, by a library
 * that works; then comes "running". */
void tell_stage(const char *stage);

/* Memory that is zero; ends the process when there is none. A size of 0 is allowed. Nothing is ever freed: the process
 * is short. */
void *allocate(size_t size);

/* A copy of a text. */
char *copy(const char *text);

/* From here on, what is written on standard error is kept instead (a runtime logs there as it likes). */
void capture_log(void);

/* Ends the capture and returns what was kept. */
const char *release_log(void);

#endif
