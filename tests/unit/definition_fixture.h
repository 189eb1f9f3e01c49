// SPDX-License-Identifier: Apache-2.0
/*
 * For the definitions' tests: the catalogue, texts that must be read or must be refused, values by
 * their path.
 *
 * The datasets are in definition/data (made by definition/make_data.py): mnist 120 + 20 of 28x28,
 * bare 30 of 2x2 without a test part, reals 20 with real targets, broken; and strokes. Run from the
 * repository's root.
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

#endif
