// SPDX-License-Identifier: Apache-2.0
/*
 * The example for users of libtetrad: trains a network on the built-in images of digits by
 * self-assembling learning, without backpropagation, and shows how its modulation turns towards
 * the gradient that it never computes.
 *
 *     cc train_strokes.c $(pkg-config --cflags --libs tetrad) -o train_strokes
 */
#include <stdio.h>

#include <tetrad/trainer.h>

/* What the trainer has reported in the present epoch. */
struct progress {
    double accuracy; // over the test part, at the epoch's end
    double cosine;   // of the first hidden layer's modulation with the gradient, summed
    int cosines;
};

static void keep(void *context, const struct tet_record *record)
{
    struct progress *p = context;
    if (record->series == TET_SERIES_TEST_ACCURACY)
        p->accuracy = record->value;
    if (record->series == TET_SERIES_ALIGNMENT_MODULATION && record->layer == 1) {
        p->cosine += record->value;
        p->cosines++;
    }
}

int main(void)
{
    struct tet_dataset strokes = {0};
    struct tet_trainer *trainer = NULL;
    struct tet_error error = {0};
    struct progress progress = {0};

    /* 784-128-64-10. What is not set is 0: relu, cross-entropy, no momentum, normal weights. */
    struct tet_plan plan = {.rule = TET_RULE_SAL, .gate = true, .n_hidden = 2};
    plan.hidden[0] = (struct tet_layer_plan){.units = 128, .descending_units = 128};
    plan.hidden[1] = (struct tet_layer_plan){.units = 64, .descending_units = 64};
    for (int g = 0; g < TET_GROUPS; g++) // W, B, V and U learn alike
        plan.group[g] =
            (struct tet_group_plan){.lr = 0.05f, .decay = 1e-3f, .scale = 1.0f, .plastic = true};
    plan.n_train = 20000;
    plan.n_test = 1000;
    plan.standardize = TET_STANDARDIZE_FEATURE;
    plan.batch = 64;
    plan.epochs = 6;
    plan.schedule = (struct tet_schedule_plan){.type = TET_SCHEDULE_COSINE, .factor = 0.02f};
    plan.seed = 1;
    plan.shuffle = true;
    plan.record_every = 10; // mini-batches
    plan.record_alignment = true;

    if (tet_strokes_create(&strokes, 1, plan.n_train, plan.n_test, &error) == TET_OK &&
        tet_trainer_create(&trainer, &plan, &strokes, keep, &progress, &error) == TET_OK) {
        printf("epoch  accuracy  cosine   (%s kernels)\n", tet_isa_name());
        enum tet_event event;
        do {
            event = tet_trainer_step(trainer); // one mini-batch, or a part of an evaluation
            if (event == TET_EPOCH || event == TET_FINISHED) {
                printf("%5u  %6.2f %%  %6.3f\n", tet_trainer_cursor(trainer).epoch,
                       100.0 * progress.accuracy, progress.cosine / progress.cosines);
                progress = (struct progress){0};
            }
        } while (event == TET_STEPPED || event == TET_EPOCH);
        if (event == TET_DIVERGED)
            (void)tet_error_set(&error, TET_INTERNAL, "the run diverged");
    }
    if (error.err != TET_OK)
        fprintf(stderr, "train_strokes: %s\n", error.message);
    tet_trainer_destroy(trainer);
    tet_dataset_free(&strokes);
    return error.err == TET_OK ? 0 : 1;
}
