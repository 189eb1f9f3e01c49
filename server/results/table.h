// SPDX-License-Identifier: Apache-2.0
/*
 * The result table of `tetrad run` and `tetrad submit --watch`: a line for each point of the sweep,
 * seeds put together.
 *
 * Threads: one for each.
 */
#ifndef SERVER_RESULTS_TABLE_H
#define SERVER_RESULTS_TABLE_H

#include <jansson.h>
#include <stdio.h>

#include <tetrad/trainer.h>

#include "store/store.h"

/* What the table says of one run. */
struct outcome {
    unsigned char
        point[32]; // hash of the parameters without the seed: runs of one point are put together
    unsigned char others[32]; // hash of the parameters without the seed and the rule
    char label[96];           // the same for people, shortened
    bool bp;                  // the rule that others are compared with
    int64_t seed;
    enum run_state state;
    char digest[STORE_HASH];
    uint64_t steps, epochs; // of the whole run, as planned
    /* The last epoch, from 0, that has records of a layer's cosine. Records come step by step, or
     * layer by layer as a server's series do; either way the steps of a layer ascend. */
    uint64_t last_epoch[TET_MAX_HIDDEN];
    double accuracy; // last test accuracy, else validation, else training accuracy; NaN: none
    /* The modulation's cosine: at the first record, and summed over that epoch's records. */
    double first[TET_MAX_HIDDEN], last[TET_MAX_HIDDEN];
    uint32_t n_first[TET_MAX_HIDDEN], n_last[TET_MAX_HIDDEN];
    int accuracy_of; // the series that accuracy is from
};

/* outcome_begin: for a run with that resolved definition and those parameters (of the sweep). */
void outcome_begin(struct outcome *outcome, const json_t *definition, const json_t *parameters,
                   uint64_t steps);
void outcome_take(struct outcome *outcome, enum tet_series series, uint32_t layer, uint64_t step,
                  double value);

/* table_print: how many runs of the point succeeded; accuracy as mean +- sample standard deviation
 * and the mean's 95 % interval, the modulation cosine of each hidden layer at the first record and
 * averaged over the last epoch, and the beginning of each run's digest. Where there are points of
 * bp, a line for each other point's difference from bp, seed by seed: its mean and 95 % interval.
 * Which bp: the only one, or the one with the same parameters. */
void table_print(FILE *out, const struct outcome *outcomes, size_t n);

#endif
