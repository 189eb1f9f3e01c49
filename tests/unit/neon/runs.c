// SPDX-License-Identifier: Apache-2.0
/*
 * Prints digests of what the core computes under the instruction set that TETRAD_ISA names: first
 * `isa NAME`, then a line `CASE DIGEST` for each elementary function over a stride through all
 * floats and each kernel (kernels.c), and small runs of every rule (here). test_neon.py compares
 * the lines between processors and instruction sets.
 *
 * Depends on the core and the C library alone, so that it cross-compiles. Exit status 3: there are
 * no such kernels here.
 *
 *     digest [STRIDE]    of the elementary functions; 1 walks through all floats
 */
#include <tetrad/trainer.h>

#include "digest.h"

enum { INPUTS = 37, OUTPUTS = 11, EXAMPLES = 70, TESTS = 31 };

/* Random real examples, with labels or targets. */
static struct tet_dataset real_data(bool labelled)
{
    static float x[(EXAMPLES + TESTS) * INPUTS], t[(EXAMPLES + TESTS) * OUTPUTS];
    static int32_t labels[EXAMPLES + TESTS];
    for (size_t i = 0; i < COUNT(x); i++)
        x[i] = uniform() * 1.7f;
    for (size_t i = 0; i < COUNT(t); i++)
        t[i] = uniform();
    for (size_t i = 0; i < COUNT(labels); i++)
        labels[i] = (int32_t)(draw() % OUTPUTS);
    struct tet_dataset set = {.shape = {INPUTS, OUTPUTS, 1, 1, INPUTS}};
    set.train = (struct tet_examples){EXAMPLES, NULL, x, labels, NULL};
    set.test = (struct tet_examples){TESTS, NULL, x + EXAMPLES * INPUTS, labels + EXAMPLES, NULL};
    if (!labelled) {
        set.train.targets = t;
        set.test.targets = t + EXAMPLES * OUTPUTS;
        set.train.labels = set.test.labels = NULL;
    }
    return set;
}

/* What a run varies; the mini-batches have 13 examples, the last of an epoch 9. */
static const struct variant {
    const char *name;
    enum tet_activation phi[3];
    enum tet_loss loss;
    float momentum;
    enum tet_init init;
    enum tet_standardize standardize;
    enum tet_schedule_type schedule;
    bool targets, strokes;
    enum tet_pool pool;     // of the first of two convolutions, or none and all layers are dense
    uint32_t descending[3]; // 0: as wide as ascending
    bool circuit;           // signs, sparse wiring, noise and delay; sal alone
    bool changes;           // normalised, centred, scaled and clipped
} variants[] = {
    {.name = "relu", .phi = {TET_RELU, TET_RELU, TET_RELU}, .momentum = 0.7f},
    {.name = "tanh",
     .phi = {TET_TANH, TET_TANH, TET_TANH},
     .loss = TET_MSE,
     .init = TET_INIT_UNIFORM,
     .standardize = TET_STANDARDIZE_ALL,
     .schedule = TET_SCHEDULE_COSINE},
    {.name = "mixed",
     .phi = {TET_RELU, TET_IDENTITY, TET_TANH},
     .loss = TET_MSE,
     .momentum = 0.9f,
     .standardize = TET_STANDARDIZE_FEATURE,
     .schedule = TET_SCHEDULE_STEP,
     .targets = true},
    {.name = "strokes",
     .phi = {TET_RELU, TET_TANH, TET_RELU},
     .standardize = TET_STANDARDIZE_ALL,
     .strokes = true},
    {.name = "unequal", // sal alone
     .phi = {TET_RELU, TET_TANH, TET_RELU},
     .momentum = 0.7f,
     .descending = {31, 70, 5}},
    {.name = "largest",
     .phi = {TET_RELU, TET_TANH, TET_RELU},
     .momentum = 0.7f,
     .standardize = TET_STANDARDIZE_ALL,
     .strokes = true,
     .pool = TET_POOL_MAX},
    {.name = "mean", // sal alone
     .phi = {TET_TANH, TET_RELU, TET_RELU},
     .strokes = true,
     .pool = TET_POOL_AVG,
     .descending = {7, 3, 70}},
    {.name = "circuit",
     .phi = {TET_RELU, TET_TANH, TET_RELU},
     .momentum = 0.7f,
     .init = TET_INIT_LOG_NORMAL,
     .circuit = true},
    {.name = "circuit-images",
     .phi = {TET_TANH, TET_RELU, TET_RELU},
     .strokes = true,
     .pool = TET_POOL_AVG,
     .circuit = true},
    {.name = "changes", // likewise
     .phi = {TET_RELU, TET_TANH, TET_RELU},
     .momentum = 0.5f,
     .strokes = true,
     .pool = TET_POOL_AVG,
     .descending = {7, 3, 70},
     .changes = true},
};

/* Two convolutions in place of the two dense layers at the bottom. */
static void make_convolutional(struct tet_plan *p, enum tet_pool pool)
{
    struct tet_layer_plan *one = &p->hidden[0], *two = &p->hidden[1];
    one->type = two->type = TET_CONV2D;
    one->kernel = 5; // 28 x 28 to 10 x 10
    one->stride = 3;
    one->padding = 2;
    one->pool = pool; // to 4 x 4
    one->pool_size = 3;
    one->pool_stride = 2;
    two->kernel = 2; // to 5 x 5
    two->stride = two->padding = 1;
    for (int g = 0; g < TET_GROUPS; g++)
        p->group[g].lr = 0.002f; // drives are sums over positions
}

/* Dense, all activities wait; of images, s_L alone, and stages change from the top down. */
static void set_circuit(struct tet_plan *p, bool images)
{
    p->noise = (struct tet_noise_plan){0.1f, 0.2f, 0.005f};
    p->delay = (struct tet_delay_plan){2, !images};
    p->top_down = images;
    for (int g = 0; g < TET_GROUPS; g++) {
        p->group[g].excitatory = 0.4f + 0.1f * (float)g;
        p->group[g].probability = 0.7f;
    }
}

static struct tet_plan plan_of(enum tet_rule_name rule, const struct variant *v, uint32_t threads)
{
    static const uint32_t widths[] = {65, 19, 34}, channels[] = {5, 6, 19};
    const uint32_t *units = v->pool != TET_POOL_NONE ? channels : widths;
    const bool unequal = v->descending[0] > 0;
    struct tet_plan p = {.n_hidden = v->strokes && v->pool == TET_POOL_NONE ? 2 : 3,
                         .loss = v->loss,
                         .rule = rule,
                         .gate = !unequal,
                         .mirror = {.every = 3, .batches = 2, .noise = 1.0f},
                         .momentum = v->momentum,
                         .schedule = {v->schedule, 1, {1}, 0.5f},
                         .epochs = 2,
                         .batch = 13,
                         .seed = 7,
                         .shuffle = true,
                         .n_train = 61,
                         .n_validation = 9,
                         .n_test = 30,
                         .standardize = v->standardize,
                         .record_every = 2,
                         .record_alignment = true,
                         .record_assembly = true,
                         .record_activity = true,
                         .record_spectrum = true,
                         .trace_group = {true},
                         .traces = 2,
                         .augment_crop = v->pool != TET_POOL_NONE ? 2u : 0u,
                         .augment_flip = v->pool != TET_POOL_NONE,
                         .threads = threads,
                         .interventions = {{1, TET_LESION, TET_W, 0, 0.2f},
                                           {3, TET_NOISE, TET_W, 0, 0.1f},
                                           {6, TET_RERANDOMISE, TET_W, 1, 0.0f}},
                         .n_interventions = 3};
    for (size_t l = 0; l < p.n_hidden; l++)
        p.hidden[l] =
            (struct tet_layer_plan){.units = units[l],
                                    .descending_units = unequal ? v->descending[l] : units[l],
                                    .activation = v->phi[l]};
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g] = (struct tet_group_plan){.lr = 0.03f,
                                             .decay = 0.01f,
                                             .init = v->init,
                                             .scale = g == TET_V || g == TET_U ? 0.5f : 1.0f,
                                             .plastic = true};
    if (v->pool != TET_POOL_NONE)
        make_convolutional(&p, v->pool);
    if (v->circuit)
        set_circuit(&p, v->pool != TET_POOL_NONE);
    if (v->changes) {
        p.normalize = TET_NORMALIZE_STAGE;
        p.center = true;
        p.homeostasis = 0.01f;
        p.clip = 0.1f;
    }
    return p;
}

static void add_record(void *context, const struct tet_record *r)
{
    (void)context;
    add(r->step, 8);
    add(r->series, 4);
    add(r->layer, 4);
    add(r->row, 4);
    add(r->column, 4);
    add_double(r->value);
}

static void add_tensors(const struct tet_trainer *t)
{
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        struct tet_tensor tensor;
        tet_trainer_tensor(t, i, &tensor);
        taken = 0;
        float *values = take(tensor.n);
        tet_trainer_get(t, i, values);
        add_rows(values, 1, tensor.n, tensor.n);
    }
}

static bool train(const struct tet_plan *plan, const struct tet_dataset *set, const char *name)
{
    struct tet_trainer *t = NULL;
    struct tet_error error = {0};
    begin();
    if (tet_trainer_create(&t, plan, set, add_record, NULL, &error) != TET_OK) {
        fprintf(stderr, "%s: %s\n", name, error.message);
        return false;
    }
    enum tet_event event;
    do
        event = tet_trainer_step(t);
    while (event == TET_STEPPED || event == TET_EPOCH);
    add_tensors(t);
    tet_trainer_destroy(t);
    if (event != TET_FINISHED) {
        fprintf(stderr, "%s: diverged\n", name);
        return false;
    }
    printf("%s/%s/threads-%u %016" PRIx64 "\n", tet_rule_info(plan->rule)->name, name,
           plan->threads, digest);
    return true;
}

static bool all_runs(void)
{
    struct tet_dataset strokes;
    struct tet_error error = {0};
    if (tet_strokes_create(&strokes, 5, 70, 31, &error) != TET_OK) {
        fprintf(stderr, "%s\n", error.message);
        return false;
    }
    bool good = true;
    for (size_t v = 0; v < COUNT(variants); v++) {
        const struct tet_dataset real = real_data(!variants[v].targets);
        for (int rule = 0; rule < TET_RULES; rule++)
            for (uint32_t threads = 1; threads <= 4; threads *= 2) {
                if ((variants[v].descending[0] > 0 || variants[v].circuit) && rule != TET_RULE_SAL)
                    continue;
                const struct tet_plan plan =
                    plan_of((enum tet_rule_name)rule, &variants[v], threads);
                good &= train(&plan, variants[v].strokes ? &strokes : &real, variants[v].name);
            }
    }
    tet_dataset_free(&strokes);
    return good;
}

int main(int argc, char **argv)
{
    struct tet_error error = {0};
    const struct tet_kernels *kernels = NULL;
    const uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 2039;
    if (stride == 0 || tet_kernels_select(&kernels, &error) != TET_OK) {
        fprintf(stderr, "%s\n", stride == 0 ? "STRIDE: at least 1" : error.message);
        return 3;
    }
    printf("isa %s\n", kernels->name);
    digest_kernels(kernels, stride);
    seed = 20241219;
    return all_runs() ? 0 : 1;
}
