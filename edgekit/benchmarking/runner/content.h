/* What goes into a model and what comes out of it. */
#ifndef EDGEKIT_CONTENT_H
#define EDGEKIT_CONTENT_H

#include "engine.h"

/* Sets every input: from its file, else made up from a fixed seed. */
void set_inputs(const struct options *options, const struct engine *engine);

/* Writes every output of the last run as DIR/<index>.bin. */
void write_outputs(const char *folder, const struct engine *engine);

#endif
