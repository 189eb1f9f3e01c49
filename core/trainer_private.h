// SPDX-License-Identifier: Apache-2.0
/* The trainer as its own files know it: trainer.c (making, and what is done when), batch.c (one
 * mini-batch), state.c (tensors and cursor). */
#ifndef CORE_TRAINER_PRIVATE_H
#define CORE_TRAINER_PRIVATE_H

#include <stdatomic.h>

#include "network.h"
#include "trainer.h"

/* A contiguous stretch of examples of a dataset. */
struct part {
    const struct tet_examples *examples;
    uint32_t first, n;
};

enum { TRAIN = TET_PART_TRAIN, VALIDATION = TET_PART_VALIDATION, TEST = TET_PART_TEST, PARTS };

/* The examples at hand. */
struct batch {
    const struct part *part;
    const uint32_t *order; // NULL: as they lie
    uint32_t first;
    bool learn;
    _Atomic size_t correct; // classified right, in all shares
};

struct tet_trainer {
    struct tet_net net;
    struct batch batch;
    const struct tet_dataset *dataset;
    struct part part[PARTS];
    tet_report_fn *report;
    void *context;
    struct tet_cursor cursor;
    struct tet_divergence divergence;
    bool diverged;
    bool ordered; // `order` holds this epoch's

    uint32_t intervened; // how many of the plan's interventions have happened

    /* The evaluation at hand. */
    int evaluated;     // the part
    uint32_t position; // examples of it done
    double loss[PARTS];
    uint64_t correct[PARTS];

    uint32_t *order;      // (n_train) of the epoch, with shuffle
    float *scale, *shift; // (d_0) of standardising
    int32_t *labels;      // (N)
    float *targets;       // (N, d_L), mse
    float *losses;        // (N)
};

/* tet_trainer_run_batch: runs examples first.. of a part, forward, or as a whole mini-batch;
 * returns the sum of their losses and adds to *correct. order (NULL: as they lie) has the places in
 * the part; record: telemetry is reported. */
double tet_trainer_run_batch(struct tet_trainer *t, const struct part *part, const uint32_t *order,
                             uint32_t first, uint32_t n, bool learn, bool record,
                             uint64_t *correct);

/* tet_trainer_intervene: all that happens before mini-batch step + 1 and has not yet. replay: only
 * what lasts. */
void tet_trainer_intervene(struct tet_trainer *t, uint64_t step, bool replay);

#endif
