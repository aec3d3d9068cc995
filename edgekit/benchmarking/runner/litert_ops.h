/* The kinds of operation that XNNPACK takes, and what it calls them. */
#ifndef EDGEKIT_LITERT_OPS_H
#define EDGEKIT_LITERT_OPS_H

#include <stdbool.h>

/* TFLite's name of an operation (schema.fbs, BuiltinOperator); "" for one that XNNPACK does not take. */
const char *name_of_op(int code);

/* Whether XNNPACK may run an operation of this kind as the operator that it calls `operator_name`. */
bool runs_as(int code, const char *operator_name);

/* Whether this operator may be a part of an operation that begins with another one. */
bool is_auxiliary(const char *operator_name);

/* Whether XNNPACK may leave an operation of this kind out: it fuses it into a neighbour, or does it when loading. */
bool is_elidable(int code);

#endif
