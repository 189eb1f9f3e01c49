// SPDX-License-Identifier: Apache-2.0
/*
 * For the definitions' tests: the catalogue, texts that must be read or must be refused, values by
 * their path.
 *
 * The datasets are in definition/data (made by definition/make_data.py): mnist 120 + 20 of 28x28,
 * bare 30 of 2x2 without a test part, colour 20 of 3x6x8, tall 20 of 9x5, reals 20 of 3 numbers with
 * real targets, broken; and strokes. Run from the repository's root.
 */
#ifndef TESTS_DEFINITION_FIXTURE_H
#define TESTS_DEFINITION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definition/definition.h"

/* Strokes and one hidden layer; with SAL. */
#define BASE "\"dataset\":{\"name\":\"strokes\"},\"network\":{\"layers\":[{\"units\":16}]}"
#define SAL  BASE ",\"rule\":{\"name\":\"sal\"}"

static struct catalog *catalog;
static struct definition_context context;

static inline int setup(void **state)
{
    (void)state;
    struct tet_error error = {0};
    if (catalog_open(&catalog, "tests/unit/definition/data", (uint64_t)2 << 30, &error) != TET_OK) {
        fprintf(stderr, "catalog: %s\n", error.message);
        return -1;
    }
    context = (struct definition_context){.catalog = catalog,
                                          .memory_bytes = (uint64_t)1 << 30,
                                          .weights_folder = "tests/unit/definition/weights"};
    return schema_experiment() == NULL;
}

static inline int teardown(void **state)
{
    (void)state;
    catalog_close(catalog);
    return 0;
}

static inline struct definition *read_good(const char *text)
{
    struct definition *definition;
    struct tet_error error = {0};
    json_t *details;
    enum tet_err err = definition_read(&definition, &details, text, strlen(text), &context, &error);
    if (err != TET_OK) {
        char *list = details != NULL ? json_dumps(details, 0) : NULL;
        print_error("%s\n%s\n%s\n", text, error.message, list != NULL ? list : "");
        fail();
    }
    assert_null(details);
    assert_true(definition->n_runs >= 1);
    return definition;
}

static inline json_t *read_faults(const char *text)
{
    struct definition *definition;
    struct tet_error error = {0};
    json_t *details;
    enum tet_err err = definition_read(&definition, &details, text, strlen(text), &context, &error);
    if (err != TET_BAD_DEFINITION)
        print_error("%s\n%s %s\n", text, tet_err_code(err), error.message);
    assert_int_equal(err, TET_BAD_DEFINITION);
    assert_null(definition);
    assert_non_null(details);
    assert_true(json_array_size(details) > 0);
    return details;
}

static inline const json_t *member(const json_t *value, const char *path)
{
    char name[64];
    while (value != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(name))
                                     : json_object_get(value, name);
        path += n + (path[n] == '.');
    }
    return value;
}

static inline void expect_at(const json_t *root, const char *path, const char *expected)
{
    const json_t *value = member(root, path);
    char *text = value != NULL ? json_canonical(value) : strdup("(nothing)");
    if (strcmp(text, expected) != 0)
        print_error("%s: expected %s, found %s\n", path, expected, text);
    assert_string_equal(text, expected);
    free(text);
}

static inline char *dump(const json_t *value)
{
    char *text = json_canonical(value);
    assert_non_null(text);
    return text;
}

/* Resolving what is resolved gives the same bytes, for the experiment and for each of its runs. */
static inline void expect_idempotent(const char *text)
{
    struct definition *d = read_good(text);
    char *resolved = dump(d->resolved);
    struct definition *again = read_good(resolved);
    char *twice = dump(again->resolved);
    assert_string_equal(resolved, twice);
    assert_string_equal(d->hash, again->hash);
    assert_int_equal(d->n_runs, again->n_runs);
    for (size_t i = 0; i < d->n_runs; i++) {
        char *run = dump(d->runs[i].resolved), *other = dump(again->runs[i].resolved);
        char *parameters = dump(d->runs[i].parameters), *same = dump(again->runs[i].parameters);
        assert_string_equal(run, other);
        assert_string_equal(parameters, same);
        assert_string_equal(d->runs[i].hash, again->runs[i].hash);
        struct definition *alone = read_good(run);
        char *alone_run = dump(alone->runs[0].resolved);
        assert_string_equal(run, alone_run);
        assert_string_equal(alone->runs[0].hash, d->runs[i].hash);
        free(alone_run);
        definition_free(alone);
        free(run);
        free(other);
        free(parameters);
        free(same);
    }
    free(resolved);
    free(twice);
    definition_free(d);
    definition_free(again);
}

/* ---- faults ---- */

struct expected_fault {
    const char *pointer, *found, *allowed, *hint; // allowed: a part of it, "=..." all of it
};

struct bad_case {
    const char *text;
    struct expected_fault faults[8];
};

static inline bool fault_agrees(const json_t *fault, const struct expected_fault *e)
{
    const char *allowed = json_string_value(json_object_get(fault, "allowed"));
    const json_t *hint = json_object_get(fault, "hint");
    bool good = json_object_size(fault) == (hint != NULL ? 4 : 3) && allowed != NULL;
    good = good && strcmp(json_string_value(json_object_get(fault, "pointer")), e->pointer) == 0;
    if (good && e->allowed[0] == '=')
        good = strcmp(allowed, e->allowed + 1) == 0;
    else if (good)
        good = strstr(allowed, e->allowed) != NULL;
    if (good && e->found != NULL) {
        json_t *found = json_loads(e->found, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
        char *a = dump(found), *b = dump(json_object_get(fault, "found"));
        good = strcmp(a, b) == 0;
        free(a);
        free(b);
        json_decref(found);
    }
    if (e->hint != NULL)
        good = good && hint != NULL && strcmp(json_string_value(hint), e->hint) == 0;
    return good;
}

/* That each definition has the faults it must have, in order, and no others. */
static inline void expect_faults(const struct bad_case *cases, size_t n_cases)
{
    size_t wrong = 0;
    for (size_t c = 0; c < n_cases; c++) {
        const struct bad_case *one = &cases[c];
        json_t *details = read_faults(one->text);
        size_t n = 0;
        bool good = true;
        for (; n < 8 && one->faults[n].pointer != NULL; n++)
            good = good && fault_agrees(json_array_get(details, n), &one->faults[n]);
        good = good && n == json_array_size(details);
        if (!good) {
            char *text = json_dumps(details, JSON_INDENT(1));
            print_error("case %zu: %s\nexpected %zu faults", c, one->text, n);
            for (size_t i = 0; i < n; i++)
                print_error(" %s", one->faults[i].pointer);
            print_error("\nfound %s\n", text);
            free(text);
            wrong++;
        }
        json_decref(details);
    }
    assert_int_equal(wrong, 0);
}

#endif
