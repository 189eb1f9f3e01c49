// SPDX-License-Identifier: Apache-2.0
/* A trainer's tests: making one, running it, and comparing what it reports and holds. */
#ifndef TESTS_TRAINING_H
#define TESTS_TRAINING_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "example.h"

static inline void close_to(const char *what, uint64_t step, uint32_t l, double got,
                            double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("%s, step %llu, layer %u: got %.9g, expected %.9g, allowed %.3g apart", what,
                 (unsigned long long)step, l, got, expected, tolerance);
}

/* ---- what a trainer reports and holds ---- */

struct log {
    size_t n;
    struct tet_record record[1 << 15];
};

static inline void keep(void *context, const struct tet_record *record)
{
    struct log *log = context;
    assert_true(log->n < COUNT(log->record));
    log->record[log->n++] = *record;
}

static inline bool find(const struct log *log, uint64_t step, enum tet_series series,
                        uint32_t layer, double *value)
{
    for (size_t i = log->n; i-- > 0;) {
        const struct tet_record *r = &log->record[i];
        if (r->step == step && r->series == series && r->layer == layer) {
            *value = r->value;
            return true;
        }
    }
    return false;
}

static inline struct tet_trainer *make(const struct tet_plan *plan, const struct data *data,
                                       struct log *log)
{
    struct tet_trainer *t = NULL;
    struct tet_error error = {0};
    if (log != NULL)
        log->n = 0;
    if (tet_trainer_create(&t, plan, &data->set, log != NULL ? keep : NULL, log, &error) != TET_OK)
        fail_msg("no trainer: %s", error.message);
    return t;
}

/* Weights and velocities: what else a run goes on from comes behind them. */
static inline uint32_t circuit_tensors(const struct tet_trainer *t)
{
    struct tet_tensor tensor;
    uint32_t n = tet_trainer_tensors(t);
    while (n > 0) {
        tet_trainer_tensor(t, n - 1, &tensor);
        if (strncmp(tensor.name, "state/", strlen("state/")) != 0)
            break;
        n--;
    }
    return n;
}

static inline uint32_t index_of(const struct tet_trainer *t, const char *name)
{
    struct tet_tensor tensor;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        tet_trainer_tensor(t, i, &tensor);
        if (strcmp(tensor.name, name) == 0)
            return i;
    }
    fail_msg("no tensor %s", name);
    return 0;
}

/* All tensors one after the other, to be freed. */
static inline float *state_of(const struct tet_trainer *t, uint64_t *n)
{
    struct tet_tensor tensor;
    uint64_t total = 0;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        tet_trainer_tensor(t, i, &tensor);
        total += tensor.n;
    }
    float *values = malloc(total * sizeof *values), *at = values;
    assert_non_null(values);
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++, at += tensor.n) {
        tet_trainer_tensor(t, i, &tensor);
        tet_trainer_get(t, i, at);
    }
    *n = total;
    return values;
}

static inline void set_state(struct tet_trainer *t, const float *values)
{
    struct tet_tensor tensor;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++, values += tensor.n) {
        tet_trainer_tensor(t, i, &tensor);
        tet_trainer_set(t, i, values);
    }
}

static inline void same_state(const char *what, const struct tet_trainer *t, const float *expected,
                              uint64_t n)
{
    uint64_t got_n;
    float *got = state_of(t, &got_n);
    assert_int_equal(got_n, n);
    for (uint64_t i = 0; i < n; i++)
        if (memcmp(got + i, expected + i, sizeof *got) != 0)
            fail_msg("%s: value %llu: got %a, expected %a", what, (unsigned long long)i,
                     (double)got[i], (double)expected[i]);
    free(got);
}

static inline bool same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static inline void same_records(const char *what, const struct tet_record *got,
                                const struct tet_record *expected, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (got[i].step != expected[i].step || got[i].series != expected[i].series ||
            got[i].layer != expected[i].layer || !same_double(got[i].value, expected[i].value))
            fail_msg("%s: record %zu: step %llu series %d layer %u %.17g, expected step %llu "
                     "series %d layer %u %.17g",
                     what, i, (unsigned long long)got[i].step, (int)got[i].series, got[i].layer,
                     got[i].value, (unsigned long long)expected[i].step, (int)expected[i].series,
                     expected[i].layer, expected[i].value);
}

static inline enum tet_event run(struct tet_trainer *t)
{
    enum tet_event event;
    do
        event = tet_trainer_step(t);
    while (event == TET_STEPPED || event == TET_EPOCH);
    return event;
}

#endif
