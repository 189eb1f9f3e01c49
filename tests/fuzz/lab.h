// SPDX-License-Identifier: Apache-2.0
/* The datasets and the limits of definitions, for targets that read them. Run from the repository's root. */
#ifndef TESTS_FUZZ_LAB_H
#define TESTS_FUZZ_LAB_H

#include "fuzz.h"

#include "definition/definition.h"
#include "json.h"
#include "results/protocol.h"

static struct catalog *catalog;
static struct definition_context context;

static inline void open_lab(void)
{
    struct tet_error error = {0};
    HOLDS(catalog_open(&catalog, "tests/unit/definition/data", 64 << 20, &error) == TET_OK);
    context = (struct definition_context){.catalog = catalog,
                                          .memory_bytes = 64 << 20,
                                          .weights_folder = "tests/unit/definition/weights"};
    HOLDS(schema_experiment() != NULL);
}

/* Whether every number of a text is short: sweeps and datasets of thousands take seconds, by contract, and
 * a fuzzer would get nowhere with them. */
static inline bool is_small(const uint8_t *text, size_t size)
{
    const size_t most = memmem(text, size, "sweep", 5) != NULL ? 2 : 3;
    size_t digits = 0;
    for (size_t i = 0; i < size && digits <= most; i++)
        digits = text[i] >= '0' && text[i] <= '9' ? digits + 1 : 0;
    return digits <= most;
}

#endif
