// SPDX-License-Identifier: Apache-2.0
/* Forks: the definition of a run that begins at another's checkpoint and differs in what it does
 * from there on. Threads: any; nothing is shared between calls. */
#ifndef SERVER_DEFINITION_FORK_H
#define SERVER_DEFINITION_FORK_H

#include <tetrad/trainer.h>

#include "definition/definition.h"

struct fork_parent {
    int64_t run;
    const char *resolved; // its definition, as stored
    const char *digest;   // of the weights at the checkpoint
    struct tet_cursor cursor;
    bool final; // the validation part has ended it there: weights_are_final
};

/* fork_read: an experiment of one run: the parent's definition with `changes` ({dotted path:
 * value}), and "fork", which says where it began. The run's parameters are the changes. What would
 * make the checkpoint something else cannot be changed: dataset, network, size and order of
 * mini-batches, interventions that lie before it; of a final one also how long training goes on and
 * what of it is selected. Errors as definition_read; a fault of a change is at "/changes/PATH", one
 * of the checkpoint's place at "/step". */
TET_MUST_CHECK enum tet_err fork_read(struct definition **definition, json_t **details,
                                      const struct fork_parent *parent, const json_t *changes,
                                      const struct definition_context *context,
                                      struct tet_error *error);

#endif
