// SPDX-License-Identifier: Apache-2.0
/*
 * The training core, measured. Prints one JSON object.
 *
 *   core limit [--threads N]    the FMA limit of N threads together (limit.h)
 *   core run   [--rule NAME] [--network "784,256,256,10"] [--batch N] [--threads N]
 *              [--momentum M] [--record N] [--seconds S] [--windows N] [--examples N]
 *              [--init normal|identity]
 *                               trains on random bytes for about S seconds: samples/s, and the
 *                               share of the FMA limit measured just before and just after; with
 *                               --record also what one record of alignment costs. network.h has
 *                               the language of networks; --init identity begins at once where
 *                               random numbers for all weights would take seconds
 *   core run   ... --steps N    trains N steps and measures nothing: for a count of instructions
 *
 * What an epoch's end costs (it looks for values that are not finite, and reports) is not counted:
 * there is nothing to evaluate, and a real epoch is longer than these.
 */
#include <tetrad/trainer.h>

#include "bench.h"
#include "limit.h"
#include "network.h"

static enum tet_rule_name rule_named(const char *name)
{
    for (int rule = 0; rule < TET_RULES; rule++)
        if (strcmp(tet_rule_info((enum tet_rule_name)rule)->name, name) == 0)
            return (enum tet_rule_name)rule;
    die("--rule %s: there is no such rule", name);
}

/* Rates so small that random labels do not drive the weights anywhere. */
static struct tet_plan make_plan(const struct options *o, const struct network *network)
{
    struct tet_plan p = {.loss = TET_CROSS_ENTROPY,
                         .rule = rule_named(o->rule),
                         .gate = true,
                         .momentum = (float)o->momentum,
                         .mirror = {.every = 100, .batches = 10, .noise = 1.0f},
                         .schedule = {.factor = 1.0f},
                         .epochs = UINT32_MAX,
                         .batch = o->batch,
                         .seed = 1,
                         .shuffle = true,
                         .n_train = o->examples,
                         .standardize = TET_STANDARDIZE_ALL,
                         .record_every = o->record,
                         .record_alignment = o->record > 0,
                         .threads = o->threads};
    for (uint32_t i = 0; i < network->n_hidden; i++)
        p.hidden[p.n_hidden++] = network->hidden[i];
    const enum tet_init init = o->identity ? TET_INIT_IDENTITY : TET_INIT_NORMAL;
    for (enum tet_group g = 0; g < TET_GROUPS; g++)
        p.group[g] = (struct tet_group_plan){.lr = 1e-3f,
                                             .decay = 1e-3f,
                                             .init = init,
                                             .scale = 1.0f,
                                             .plastic = !tet_rule_info(p.rule)->fixed[g]};
    return p;
}

struct run {
    struct tet_trainer *trainer;
    uint64_t epoch_steps;
    uint64_t left; // steps until the epoch's end
};

static void expect(const struct run *run, enum tet_event event, enum tet_event expected)
{
    if (event == TET_DIVERGED)
        die("diverged at step %llu",
            (unsigned long long)tet_trainer_divergence(run->trainer)->step);
    if (event != expected)
        die("event %d where %d was expected", (int)event, (int)expected);
}

/* train_fn: n mini-batches; returns the seconds that the ends of epochs took. */
static double train(void *context, uint64_t n)
{
    struct run *run = context;
    double skipped = 0.0;
    for (; n > 0; n--) {
        if (run->left == 0) {
            const double start = seconds_now(CLOCK_MONOTONIC);
            expect(run, tet_trainer_step(run->trainer), TET_EPOCH);
            run->left = run->epoch_steps;
            skipped += seconds_now(CLOCK_MONOTONIC) - start;
        }
        expect(run, tet_trainer_step(run->trainer), TET_STEPPED);
        run->left--;
    }
    return skipped;
}

static volatile double reported; // what a record costs includes handing it over

static void report(void *context, const struct tet_record *record)
{
    (void)context;
    reported = record->value;
}

static double median_of(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return values[n / 2];
}

static double seconds_of(struct run *run, uint64_t n)
{
    const double start = seconds_now(CLOCK_MONOTONIC);
    const double skipped = train(run, n);
    return seconds_now(CLOCK_MONOTONIC) - start - skipped;
}

/* The seconds that a record adds to a run: those of the step that records and of the next, which
 * finds the processor's caches full of the record, over two plain steps. `plain`: the seconds of a
 * plain step just then. Medians, over as many records as there are windows. */
static double record_cost(const struct options *o, struct run *run, double *plain)
{
    const uint64_t n = o->record, between = n - 2; // plain steps from one record to the next
    double *steps = allocate(o->windows * between * sizeof *steps), pair[MAX_WINDOWS];
    train(run, n - (tet_trainer_cursor(run->trainer).step - 1) % n); // to the step after a record
    for (uint32_t i = 0; i < o->windows; i++) {
        for (uint64_t k = 0; k < between; k++)
            steps[i * between + k] = seconds_of(run, 1);
        pair[i] = seconds_of(run, 2);
    }
    *plain = median_of(steps, o->windows * between);
    free(steps);
    return median_of(pair, o->windows) - 2.0 * *plain;
}

static void print_run(const struct options *o, const struct tet_plan *plan,
                      const struct tet_dataset *data, struct run *run)
{
    const double before = limit_measure(tet_isa_name(), o->threads);
    const struct rate rate = measure(o, train, run);
    double plain = 0.0, recording = 0.0;
    if (o->record > 2)
        recording = record_cost(o, run, &plain);
    const double after = limit_measure(tet_isa_name(), o->threads);
    const double flops = tet_plan_flops(plan, &data->shape), limit = fmax(before, after);
    const double gflops = flops * o->batch / rate.median / 1e9;
    print_rate("tetrad", o, &rate);
    printf(", \"version\": \"%s\", \"isa\": \"%s\", \"record\": %u, \"flop_per_sample\": %.9g, "
           "\"gflops\": %.5g, \"limit_before\": %.5g, \"limit_after\": %.5g, \"share\": %.4f, "
           "\"bytes\": %llu, \"loss\": %.6g, \"record_seconds\": %.6g, "
           "\"plain_step_seconds\": %.6g}\n",
           TETRAD_VERSION, tet_isa_name(), o->record, flops, gflops, before, after, gflops / limit,
           (unsigned long long)tet_plan_memory(plan, &data->shape), tet_trainer_loss(run->trainer),
           recording, plain);
}

static int run_core(const struct options *o)
{
    const struct network network = network_read(o->network);
    uint8_t *bytes;
    int32_t *labels;
    draw_examples(o->examples, network.shape.inputs, network.shape.outputs, &bytes, &labels);
    const struct tet_dataset data = {
        .shape = network.shape,
        .train = {.n = o->examples, .bytes = bytes, .labels = labels},
    };
    const struct tet_plan plan = make_plan(o, &network);
    struct tet_error error = {0};
    struct run run = {.epoch_steps = tet_plan_steps_per_epoch(&plan)};
    run.left = run.epoch_steps;
    if (tet_trainer_create(&run.trainer, &plan, &data, report, NULL, &error) != TET_OK)
        die("%s", error.message);
    if (o->steps > 0)
        train(&run, o->steps);
    else
        print_run(o, &plan, &data, &run);
    tet_trainer_destroy(run.trainer);
    free(bytes);
    free(labels);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const struct options o = read_options(argc, argv, 2);
    if (strcmp(what, "run") == 0)
        return run_core(&o);
    if (strcmp(what, "limit") != 0)
        die("usage: core limit|run [options]; see the head of core.c");
    printf("{\"isa\": \"%s\", \"threads\": %u, \"gflops\": %.5g}\n", tet_isa_name(), o.threads,
           limit_measure(tet_isa_name(), o.threads));
    return 0;
}
