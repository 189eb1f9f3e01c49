// SPDX-License-Identifier: Apache-2.0
/*
 * Checkpoints and initial weights, as a run takes them on: those of imported runs are hostile. Input:
 * which circuit, how it is taken on, then edits of the checkpoint that the circuit had after a few steps.
 */
#include "lab.h"

#include "results/weights.h"

#include <tetrad/trainer.h>

enum { CIRCUITS = 6, STEPS = 3, MOST_ARRAYS = 40, MOST_VALUES = 1 << 16 };

#define BARE                                                                                       \
    "{\"dataset\":{\"name\":\"bare\"},\"training\":{\"epochs\":2,\"batch\":4},\"network\":{"       \
    "\"layers\":[{\"units\":4},{\"units\":3}]}"
static const char *const definitions[CIRCUITS] = {
    BARE ",\"rule\":{\"name\":\"sal\"}}",
    BARE ",\"rule\":{\"name\":\"kp\",\"normalize\":\"stage\"},\"optimizer\":{\"momentum\":0.5}}",
    BARE ",\"rule\":{\"name\":\"sal\",\"delay\":{\"batches\":2}}}",
    BARE ",\"rule\":{\"name\":\"bp\",\"delay\":{\"batches\":1,\"eligibility\":true}}}",
    ("{\"dataset\":{\"name\":\"bare\",\"validation\":8},\"training\":{\"epochs\":2,\"batch\":4,"
     "\"select\":\"best\",\"early_stopping\":{\"patience\":1}},\"network\":{\"layers\":[{\"units\":"
     "4}]},\"rule\":{\"name\":\"bp\"}}"),
    ("{\"dataset\":{\"name\":\"bare\"},\"training\":{\"epochs\":2,\"batch\":4},\"network\":{"
     "\"layers\":[{\"type\":\"conv2d\",\"channels\":2,\"kernel\":2}]},\"rule\":{\"name\":\"wm\"}"
     "}")};

static struct circuit {
    struct tet_plan plan;
    const struct tet_dataset *dataset;
    struct store_checkpoint start;
} circuits[CIRCUITS];

static struct tet_trainer *make_trainer(const struct circuit *c)
{
    struct tet_trainer *trainer;
    HOLDS(tet_trainer_create(&trainer, &c->plan, c->dataset, NULL, NULL, NULL) == TET_OK);
    return trainer;
}

static void make_circuit(struct circuit *c, const char *text)
{
    struct definition *d;
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_error error = {0};
    json_t *details;
    if (definition_read(&d, &details, text, strlen(text), &context, &error) != TET_OK)
        fprintf(stderr, "%s\n%s\n", text, json_dumps(details, 0));
    HOLDS(error.err == TET_OK);
    const json_t *resolved = d->runs[0].resolved;
    HOLDS(definition_dataset(&spec, resolved, &error) == TET_OK);
    HOLDS(catalog_acquire(catalog, &spec, &c->dataset, &info, &error) == TET_OK);
    HOLDS(definition_plan(&c->plan, resolved, &info, &error) == TET_OK);
    c->plan.threads = 1;
    struct tet_trainer *trainer = make_trainer(c);
    for (int i = 0; i < STEPS; i++)
        (void)tet_trainer_step(trainer);
    HOLDS(weights_capture(&c->start, trainer, &error) == TET_OK);
    tet_trainer_destroy(trainer);
    definition_free(d);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    open_lab();
    for (int i = 0; i < CIRCUITS; i++)
        make_circuit(&circuits[i], definitions[i]);
    return 0;
}

/* ---- the checkpoint ---- */

static struct store_checkpoint copy(const struct store_checkpoint *from)
{
    struct store_checkpoint c = {.cursor = from->cursor, .n = from->n};
    HOLDS((c.arrays = calloc(MOST_ARRAYS, sizeof *c.arrays)) != NULL && c.n < MOST_ARRAYS);
    for (size_t i = 0; i < c.n; i++) {
        struct store_array *a = &c.arrays[i];
        *a = from->arrays[i];
        HOLDS((a->data = malloc(a->n * sizeof *a->data + 1)) != NULL);
        memcpy(a->data, from->arrays[i].data, a->n * sizeof *a->data);
    }
    return c;
}

/* Another shape, with as many values as it takes: what reading from the store and importing vouch for. */
static void reshape(struct store_array *a, struct input *in)
{
    uint64_t n = 1;
    a->rank = 1 + (uint32_t)take_number(in, 1) % STORE_RANK;
    for (uint32_t k = 0; k < STORE_RANK; k++) {
        a->shape[k] = k < a->rank ? (uint32_t)take_number(in, 2) : 1;
        if (n * a->shape[k] > MOST_VALUES)
            a->shape[k] = 1;
        n *= a->shape[k];
    }
    a->data = realloc(a->data, n * sizeof *a->data + 1);
    HOLDS(a->data != NULL);
    for (uint64_t i = a->n; i < n; i++)
        a->data[i] = 0.5f;
    a->n = n;
}

static void rename_array(struct store_array *a, struct input *in)
{
    char *name = take_text(in);
    memset(a->name, 0, sizeof a->name);
    strncpy(a->name, name, sizeof a->name - 1);
    a->state = strchr(a->name, '/') != NULL;
    free(name);
}

static void edit_cursor(struct tet_cursor *cursor, struct input *in)
{
    struct npy array = {.type = NPY_F8, .rank = 1, .shape = {WEIGHTS_CURSOR}, .n = WEIGHTS_CURSOR};
    double values[WEIGHTS_CURSOR] = {0};
    for (int i = 0; i < WEIGHTS_CURSOR; i++) {
        const uint64_t bits = take_number(in, 8);
        memcpy(&values[i], &bits, sizeof bits);
        if (bits < 1 << 16) // counts are small, as a rule
            values[i] = (double)bits;
    }
    array.data = values;
    (void)weights_cursor(&array, cursor);
}

static void edit(struct store_checkpoint *c, struct input *in)
{
    const unsigned what = (unsigned)take_number(in, 1) % 6;
    const size_t i = (size_t)take_number(in, 1) % (c->n + 1);
    struct store_array *a = &c->arrays[i];
    if (what == 0) {
        edit_cursor(&c->cursor, in);
    } else if (i == c->n && c->n + 1 < MOST_ARRAYS) { // one more
        *a = (struct store_array){0};
        c->n++;
        rename_array(a, in);
        reshape(a, in);
    } else if (i == c->n) {
        return;
    } else if (what == 1) {
        reshape(a, in);
    } else if (what == 2) {
        rename_array(a, in);
    } else if (what == 3) { // one less
        free(a->data);
        memmove(a, a + 1, (c->n - i - 1) * sizeof *a);
        c->n--;
    } else if (a->n > 0) { // a value, or all
        const uint64_t at = take_number(in, 2) % a->n;
        const uint32_t bits = (uint32_t)take_number(in, 4);
        for (uint64_t k = at; k < a->n && (what == 5 || k == at); k++)
            memcpy(&a->data[k], &bits, sizeof bits);
    }
}

/* ---- what becomes of it ---- */

static void check_outputs(struct tet_trainer *trainer, const struct circuit *c)
{
    float *outputs = calloc(c->dataset->shape.outputs, sizeof *outputs);
    HOLDS(outputs != NULL);
    tet_trainer_outputs(trainer, &c->dataset->train, 0, 1, outputs);
    free(outputs);
}

static void load_weights(struct tet_trainer *trainer, const struct store_checkpoint *c)
{
    struct npy *arrays = NULL;
    size_t n, size;
    void *bytes;
    struct tet_error error = {0};
    HOLDS(weights_npz(&arrays, &n, c, &error) == TET_OK);
    if (npz_write_memory(arrays, n, &bytes, &size, &error) == TET_OK) { // no name may come twice
        const char *path = put_file(0, bytes, size);
        const enum tet_err err = weights_load(trainer, path, 1 << 20, &error);
        check_error(err, &error);
        HOLDS(err == TET_OK || err == TET_BAD_WEIGHTS || err == TET_BAD_DATASET);
        free(bytes);
    }
    free(arrays);
}

static enum tet_err take_on(struct tet_trainer *trainer, const struct store_checkpoint *c,
                            bool adopt)
{
    struct tet_error error = {0};
    const enum tet_err err =
        adopt ? weights_adopt(trainer, c, &error) : weights_restore(trainer, c, &error);
    check_error(err, &error);
    HOLDS(err == TET_OK || err == TET_BAD_WEIGHTS || err == TET_BAD_DEFINITION);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = {bytes, size};
    const struct circuit *circuit = &circuits[take_number(&in, 1) % CIRCUITS];
    const unsigned how = (unsigned)take_number(&in, 1) % 3;
    struct store_checkpoint c = copy(&circuit->start), after;
    char before[STORE_HASH], digest[STORE_HASH];
    struct tet_error error = {0};
    const bool edited = in.left > 0;
    while (in.left > 0)
        edit(&c, &in);
    struct tet_trainer *trainer = make_trainer(circuit);
    (void)weights_are_final(&c);
    if (how == 2) {
        load_weights(trainer, &c);
    } else if (take_on(trainer, &c, how == 1) == TET_OK) {
        HOLDS(weights_capture(&after, trainer, &error) == TET_OK);
        weights_digest(before, &circuit->start);
        weights_digest(digest, &after);
        HOLDS(edited || strcmp(before, digest) == 0);
        HOLDS(after.cursor.step == c.cursor.step && after.cursor.epoch == c.cursor.epoch);
        store_checkpoint_free(&after);
        check_outputs(trainer, circuit);
        for (int i = 0; i < STEPS; i++)
            (void)tet_trainer_step(trainer);
    }
    tet_trainer_destroy(trainer);
    store_checkpoint_free(&c);
    return 0;
}
