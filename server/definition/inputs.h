// SPDX-License-Identifier: Apache-2.0
/*
 * What a definition refers to: datasets and files of initial weights. Answers are remembered for
 * the time that one definition is read, since thousands of runs may ask the same.
 *
 * Threads: one for each.
 */
#ifndef SERVER_DEFINITION_INPUTS_H
#define SERVER_DEFINITION_INPUTS_H

#include <jansson.h>

#include "definition/definition.h"

enum { INPUTS_DATASETS = 16 };

struct inputs {
    const struct definition_context *context;
    struct inputs_dataset {
        struct dataset_spec spec;
        enum tet_err err;
        struct tet_error why;
        struct dataset_info info;
    } datasets[INPUTS_DATASETS]; // a ring
    size_t n_datasets;           // asked for so far
    json_t *weights;             // object: file name to "sha256:..." or to an array of one sentence
};

void inputs_init(struct inputs *inputs, const struct definition_context *context);
void inputs_free(struct inputs *inputs);

/* inputs_dataset: what the catalog says; valid until the next call. */
const struct inputs_dataset *inputs_dataset(struct inputs *inputs, const struct dataset_spec *spec);

/* inputs_names: the catalog's names as an array of strings; NULL where there is no list. */
json_t *inputs_names(const struct inputs *inputs);

/* inputs_weights: the SHA-256 of a file of initial weights, borrowed; NULL and *allowed a sentence
 * where it cannot be used. TET_NO_MEMORY otherwise. */
TET_MUST_CHECK enum tet_err inputs_weights(struct inputs *inputs, const char *name,
                                           const char **sha256, const char **allowed);

#endif
