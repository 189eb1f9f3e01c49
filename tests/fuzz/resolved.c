// SPDX-License-Identifier: Apache-2.0
/*
 * Resolved definitions that this server has not resolved: those of an imported experiment, which are
 * known to fit the schema and no more. Input: {"definition", "changes", "step", "epoch", "batch",
 * "final"}: trained for a few steps if the core's own check lets it pass, and forked.
 */
#include "lab.h"

#include "definition/fork.h"

#include <tetrad/trainer.h>

enum { MOST_BYTES = 4 << 20, MOST_EXAMPLES = 200, STEPS = 4 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    open_lab();
    return 0;
}

static uint64_t number(const json_t *input, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(input, key));
    return n > 0 ? (uint64_t)n : 0;
}

static void run_protocol(const json_t *resolved, const struct tet_plan *plan,
                         const struct tet_shape *shape, const struct tet_trainer *trainer)
{
    struct tet_error error = {0};
    struct tet_protocol_plan protocol;
    struct tet_protocol *p = NULL;
    enum tet_err err = definition_protocol(&protocol, resolved, &error);
    if (err == TET_OK)
        err = tet_protocol_check(&protocol, plan, shape, &error);
    if (err == TET_OK && tet_protocol_memory(&protocol, plan, shape) < MOST_BYTES) {
        HOLDS(tet_protocol_create(&p, &protocol, trainer, &error) == TET_OK);
        for (int i = 0; i < STEPS; i++)
            (void)tet_protocol_step(p);
    }
    check_error(err, &error);
    tet_protocol_destroy(p);
    definition_protocol_free(&protocol);
}

static void report(void *seen, const struct tet_record *record)
{
    char text[TET_SERIES_NAME];
    tet_record_text(record, text);
    HOLDS(strlen(text) < sizeof text && record->series < TET_SERIES_COUNT);
    ++*(size_t *)seen;
}

/* As predict and a session do it. */
static void train(const json_t *resolved)
{
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_plan plan;
    struct tet_error error = {0};
    struct tet_trainer *trainer = NULL;
    const struct tet_dataset *dataset = NULL;
    size_t seen = 0;
    enum tet_err err = definition_dataset(&spec, resolved, &error);
    if (err == TET_OK && (spec.train > MOST_EXAMPLES || spec.test > MOST_EXAMPLES))
        return; // they would be drawn
    if (err == TET_OK)
        err = catalog_acquire(catalog, &spec, &dataset, &info, &error);
    if (err == TET_OK)
        err = definition_plan(&plan, resolved, &info, &error);
    if (err == TET_OK)
        err = tet_plan_check(&plan, &info.shape, &error);
    plan.threads = 1;
    if (err == TET_OK && tet_plan_memory(&plan, &info.shape) < MOST_BYTES) {
        err = tet_trainer_create(&trainer, &plan, dataset, report, &seen, &error);
        for (int i = 0; i < STEPS && trainer != NULL; i++)
            (void)tet_trainer_step(trainer);
        if (trainer != NULL && protocol_patterns(resolved) > 0)
            run_protocol(resolved, &plan, &info.shape, trainer);
    }
    check_error(err, &error);
    tet_trainer_destroy(trainer);
    catalog_release(catalog, dataset);
}

static void fork_it(const json_t *input, const json_t *resolved)
{
    struct definition *d;
    json_t *details;
    struct tet_error error = {0};
    char *text = json_canonical(resolved);
    const json_t *changes = json_object_get(input, "changes");
    const struct fork_parent parent = {
        .run = 7,
        .resolved = text,
        .digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        .cursor = {.step = number(input, "step"),
                   .epoch = (uint32_t)number(input, "epoch"),
                   .batch = (uint32_t)number(input, "batch")},
        .final = json_is_true(json_object_get(input, "final"))};
    HOLDS(text != NULL);
    const enum tet_err err = fork_read(&d, &details, &parent,
                                       json_is_object(changes) ? changes : NULL, &context, &error);
    check_error(err, &error);
    HOLDS((d != NULL) == (err == TET_OK));
    HOLDS(details == NULL || json_array_size(details) > 0);
    if (d != NULL) {
        const json_t *fork = json_object_get(d->runs[0].resolved, "fork");
        HOLDS(d->n_runs == 1);
        HOLDS(json_integer_value(json_object_get(fork, "run")) == 7);
    }
    json_decref(details);
    definition_free(d);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    json_t *input;
    char before[DEFINITION_HASH], after[DEFINITION_HASH];
    struct tet_error error = {0};
    if (json_read(&input, (const char *)bytes, size, &error) != TET_OK)
        return -1;
    json_t *resolved = json_object_get(input, "definition");
    if (resolved == NULL) {
        json_decref(input);
        return -1;
    }
    error = (struct tet_error){0};
    const enum tet_err err = definition_check(resolved, &error);
    check_error(err, &error);
    if (err == TET_OK) {
        HOLDS(definition_hashes(resolved, NULL, before));
        train(resolved);
        fork_it(input, resolved);
        HOLDS(definition_hashes(resolved, NULL, after) && strcmp(before, after) == 0);
    }
    json_decref(input);
    return 0;
}
