// SPDX-License-Identifier: Apache-2.0
/*
 * Definitions, from JSON as a client sends it to plans. Input: the text.
 *
 * What was resolved is a definition itself, and resolves to itself; its plan passes the core's own
 * check; what is refused says where and why.
 */
#include "lab.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    open_lab();
    return 0;
}

/* Canonical texts are compared: 1 and 1.0 are one number in a definition, and two in Jansson. */
static void check_same(const json_t *value, const char *text)
{
    char *again = json_canonical(value);
    HOLDS(again != NULL);
    if (strcmp(text, again) != 0)
        fprintf(stderr, "%s\n%s\n", text, again);
    HOLDS(strcmp(text, again) == 0);
    free(again);
}

static struct definition *read_again(const json_t *resolved)
{
    struct definition *again = NULL;
    json_t *details = NULL;
    struct tet_error error = {0};
    char *text = json_canonical(resolved);
    HOLDS(text != NULL);
    if (definition_read(&again, &details, text, strlen(text), &context, &error) != TET_OK)
        fprintf(stderr, "%s\n%s\n%s\n", text, error.message,
                details != NULL ? json_dumps(details, 0) : "");
    HOLDS(again != NULL);
    check_same(again->resolved, text);
    free(text);
    return again;
}

static void check_plan(const struct run_definition *run)
{
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_plan plan;
    struct tet_protocol_plan protocol;
    HOLDS(definition_dataset(&spec, run->resolved, NULL) == TET_OK);
    HOLDS(catalog_info(catalog, &spec, &info, NULL) == TET_OK);
    HOLDS(definition_plan(&plan, run->resolved, &info, NULL) == TET_OK);
    HOLDS(tet_plan_check(&plan, &info.shape, NULL) == TET_OK);
    HOLDS(tet_plan_memory(&plan, &info.shape) <= run->memory_bytes);
    HOLDS(run->memory_bytes <= context.memory_bytes);
    if (protocol_patterns(run->resolved) == 0) {
        HOLDS(run->steps == tet_plan_steps(&plan));
        return;
    }
    HOLDS(definition_protocol(&protocol, run->resolved, NULL) == TET_OK);
    HOLDS(tet_protocol_check(&protocol, &plan, &info.shape, NULL) == TET_OK);
    HOLDS(run->steps == tet_protocol_steps(&protocol));
    definition_protocol_free(&protocol);
}

static void check_run(const struct run_definition *run)
{
    char hash[DEFINITION_HASH];
    struct tet_error error = {0};
    struct definition *again = read_again(run->resolved);
    HOLDS(again->n_runs == 1 && strcmp(again->runs[0].hash, run->hash) == 0);
    char *text = json_canonical(run->resolved);
    check_same(again->runs[0].resolved, text);
    free(text);
    HOLDS(definition_check(run->resolved, &error) == TET_OK);
    HOLDS(definition_hashes(run->resolved, NULL, hash) && strcmp(hash, run->hash) == 0);
    check_plan(run);
    definition_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct definition *d, *again;
    json_t *details;
    struct tet_error error = {0};
    if (!is_small(bytes, size))
        return -1;
    const enum tet_err err =
        definition_read(&d, &details, (const char *)bytes, size, &context, &error);
    check_error(err, &error);
    check_details(err, details);
    HOLDS((d != NULL) == (err == TET_OK));
    json_decref(details);
    if (d == NULL)
        return 0;
    HOLDS(d->n_runs >= 1 && d->n_runs <= DEFINITION_MAX_RUNS);
    check_run(&d->runs[0]);
    check_run(&d->runs[d->n_runs - 1]);
    again = read_again(d->resolved);
    HOLDS(again->n_runs == d->n_runs && strcmp(again->hash, d->hash) == 0);
    definition_free(again);
    definition_free(d);
    return 0;
}
