// SPDX-License-Identifier: Apache-2.0
/* Datasets as tables. Input: flags, test_fraction in 1/256, and three parts: the label's column, the
 * table to train on, the one to test on. */
#include "fuzz.h"

#include "data/csv.h"
#include "data/dataset_digest.h"
#include "text.h"

enum { HAS_LABEL = 1, HAS_TEST = 2, HAS_FRACTION = 4, MAX_BYTES = 1 << 20 };

/* The part as a table: the label first, every number so that it reads back as the same. */
static void write_table(struct text *text, const struct tet_examples *e, uint32_t inputs)
{
    for (uint32_t i = 0; i < e->n; i++) {
        text_printf(text, "%d", e->labels[i]);
        for (uint32_t k = 0; k < inputs; k++)
            text_printf(text, ",%.9g", (double)e->floats[(size_t)i * inputs + k]);
        text_puts(text, "\n");
    }
}

/* What was read, written plainly, reads back as the same. */
static void check_again(const struct tet_dataset *d)
{
    struct text train = {0}, test = {0};
    struct tet_dataset again;
    struct tet_error error = {0};
    struct csv_source source = {.label = "0"};
    char before[SHA256_TEXT], after[SHA256_TEXT];
    write_table(&train, &d->train, d->shape.inputs);
    write_table(&test, &d->test, d->shape.inputs);
    source.train = put_file(2, text_get(&train), strlen(text_get(&train)));
    if (d->test.n > 0)
        source.test = put_file(3, text_get(&test), strlen(text_get(&test)));
    HOLDS(csv_load(&again, &source, MAX_BYTES, &error) == TET_OK);
    dataset_digest(d, before);
    dataset_digest(&again, after);
    HOLDS(strcmp(before, after) == 0);
    tet_dataset_free(&again);
    text_free(&train);
    text_free(&test);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = {bytes, size};
    const unsigned flags = (unsigned)take_number(&in, 1);
    const double fraction = (double)take_number(&in, 1) / 256.0;
    char *label = take_text(&in);
    const struct input train = take_part(&in);
    struct tet_dataset d;
    struct tet_error error = {0};
    const struct csv_source source = {
        .train = put_file(0, train.at, train.left),
        .test = (flags & HAS_TEST) != 0 ? put_file(1, in.at, in.left) : NULL,
        .label = (flags & HAS_LABEL) != 0 ? label : NULL,
        .test_fraction = (flags & (HAS_TEST | HAS_FRACTION)) == HAS_FRACTION ? fraction : 0.0};
    const enum tet_err err = csv_load(&d, &source, MAX_BYTES, &error);
    check_error(err, &error);
    check_dataset(err, &d);
    HOLDS(err == TET_OK || err == TET_BAD_DATASET);
    if (err == TET_OK) {
        HOLDS(dataset_bytes(&d) <= MAX_BYTES);
        HOLDS(d.train.labels != NULL && d.train.floats != NULL);
        check_again(&d);
    }
    tet_dataset_free(&d);
    free(label);
    return 0;
}
