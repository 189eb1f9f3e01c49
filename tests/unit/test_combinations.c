// SPDX-License-Identifier: Apache-2.0
/* Settings together, as nobody has thought of them: plans drawn at random, each trained with all
 * kernels and numbers of threads, and saved and gone on with after every single call, to the same
 * bits. What a setting does by itself is tested elsewhere. */
#include <stdio.h>

#include "training.h"

enum { PLANS = 240, INPUTS = 2 * 7 * 6, OUTPUTS = 5 };

static const char *const kernels[] = {NULL, "scalar", "avx2", "avx512", "neon"};

static struct data data;

static uint32_t below(uint32_t n)
{
    return (uint32_t)(draw() % n);
}

static bool chance(uint32_t percent)
{
    return below(100) < percent;
}

static float one_of(const float *values, uint32_t n)
{
    return values[below(n)];
}
#define ONE_OF(...)                                                                                \
    one_of((const float[]){__VA_ARGS__},                                                           \
           (uint32_t)(sizeof((const float[]){__VA_ARGS__}) / sizeof(float)))

/* ---- a plan, which the core may refuse ---- */

static void draw_layers(struct tet_plan *p)
{
    const bool other = p->rule == TET_RULE_SAL && !p->gate && chance(60);
    for (uint32_t i = below(3); i > 0; i--) {
        const uint32_t units = 1 + below(5);
        const uint32_t kernel = 1 + below(3);
        add_convolution(p, units, other ? 1 + below(5) : units, (enum tet_activation)below(3),
                        kernel, 1 + below(2), below(kernel));
        if (chance(40))
            add_pool(p, (enum tet_pool)(1 + below(2)), 1 + below(3), 1 + below(3));
    }
    for (uint32_t i = below(3); i > 0; i--) {
        const uint32_t units = 1 + below(20);
        add_layer(p, units, other ? 1 + below(20) : units, (enum tet_activation)below(3));
    }
}

static void draw_groups(struct tet_plan *p)
{
    const struct tet_rule_info *info = tet_rule_info(p->rule);
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        struct tet_group_plan *group = &p->group[g];
        group->lr *= ONE_OF(1.0f, 1.0f, 0.3f, 0.0f);
        group->decay = ONE_OF(0.0f, 0.01f, 0.3f);
        group->init = (enum tet_init)below(4);
        if (group->init == TET_INIT_IDENTITY && g != TET_V && g != TET_U)
            group->init = TET_INIT_NORMAL;
        group->scale = ONE_OF(0.0f, 0.3f, 1.0f, 1.0f);
        group->plastic = !info->fixed[g] && chance(85);
        group->probability = ONE_OF(0.0f, 0.1f, 0.7f, 1.0f);
        group->excitatory = g == TET_D ? 0.0f : ONE_OF(0.0f, 0.0f, 0.2f, 0.8f);
    }
}

static void draw_circuit(struct tet_plan *p)
{
    if (chance(40))
        p->noise =
            (struct tet_noise_plan){ONE_OF(0.0f, 0.1f), ONE_OF(0.0f, 0.2f), ONE_OF(0.0f, 0.01f)};
    if (chance(40))
        p->delay = (struct tet_delay_plan){1 + below(4), chance(50)};
    p->top_down = chance(30) && !(p->delay.batches > 0 && p->delay.eligibility);
    p->center = chance(30) && !p->top_down;
    p->normalize = chance(30) ? TET_NORMALIZE_STAGE : TET_NORMALIZE_NONE;
    if ((p->rule == TET_RULE_KP || p->rule == TET_RULE_SAL) && chance(30))
        p->homeostasis = ONE_OF(0.02f, 1.0f);
    p->clip = ONE_OF(0.0f, 0.0f, 0.1f, 10.0f);
    p->momentum = ONE_OF(0.0f, 0.5f, 0.9f);
    p->mirror = (struct tet_mirror_plan){1 + below(5), 1 + below(3), 0.7f};
    const struct tet_schedule_plan schedules[] = {
        {.factor = 1.0f}, {TET_SCHEDULE_STEP, 2, {1, 2}, 0.5f}, {TET_SCHEDULE_COSINE, .factor = 0}};
    p->schedule = schedules[below(COUNT(schedules))];
}

static void draw_training(struct tet_plan *p)
{
    p->epochs = 1 + below(3);
    p->max_steps = chance(25) ? 1 + below(8) : 0;
    p->shuffle = chance(70);
    p->standardize = (enum tet_standardize)below(3);
    p->n_validation = chance(60) ? 1 + below(9) : 0;
    p->n_test = below(10);
    if (p->n_validation > 0 && chance(60))
        p->selection = (struct tet_selection_plan){(enum tet_metric)(1 + below(2)), below(3),
                                                   ONE_OF(0.0f, 0.01f, 1e30f), chance(50)};
    p->test_at_end = chance(40);
    p->record_every = below(4);
    p->record_alignment = chance(60);
    p->record_assembly = chance(30);
    p->record_activity = chance(30);
    p->record_spectrum = chance(30);
    for (enum tet_group g = 0; g < TET_GROUPS; g++)
        p->trace_group[g] = chance(30) && tet_rule_info(p->rule)->group[g];
    p->traces = 1 + below(3);
    p->augment_crop = chance(30) ? below(4) : 0;
    p->augment_flip = chance(30);
}

static void draw_interventions(struct tet_plan *p)
{
    uint64_t step = 0;
    for (uint32_t i = below(5); i > 0; i--) {
        step += below(3);
        struct tet_intervention one = {.step = step};
        if (one.step >= tet_plan_steps(p))
            break;
        one.type = (enum tet_intervention_type)below(TET_INTERVENTION_TYPES);
        do
            one.group = (enum tet_group)below(TET_GROUPS);
        while (!tet_rule_info(p->rule)->group[one.group]);
        one.layer = chance(70) ? 0 : 1 + below(3);
        one.amount = one.type == TET_SCALE ? ONE_OF(-1.0f, 0.0f, 0.5f) : ONE_OF(0.01f, 0.5f, 1.0f);
        p->interventions[p->n_interventions++] = one;
    }
}

static struct tet_plan draw_plan(void)
{
    const uint32_t n = 9 + below(20), rule = below(TET_RULES + 3);
    struct tet_plan p = make_plan(rule < TET_RULES ? (enum tet_rule_name)rule : TET_RULE_SAL,
                                  chance(60) ? TET_CROSS_ENTROPY : TET_MSE, n, 1 + below(8), 0.02f);
    if (p.batch < 3)
        p.n_train = 9;
    p.gate = !tet_rule_info(p.rule)->takes_gate || chance(70);
    p.seed = draw() >> 11;
    draw_layers(&p);
    draw_groups(&p);
    draw_circuit(&p);
    draw_training(&p);
    draw_interventions(&p);
    return p;
}

/* ---- the same bits ---- */

/* What a run came to. */
struct end {
    enum tet_event event;
    float *state;
    uint64_t n;
    struct tet_cursor cursor;
    struct tet_selection selection;
};

static struct end end_of(struct tet_trainer *t)
{
    struct end end = {.event = run(t)};
    end.state = state_of(t, &end.n);
    end.cursor = tet_trainer_cursor(t);
    end.selection = tet_trainer_selection(t);
    return end;
}

static bool same_value(double a, double b)
{
    return same_double(a, b) || (isnan(a) && isnan(b)); // what a NaN is made of may differ
}

/* All that a run goes on from, but for bits that nobody looks at: where a mini-batch has fewer examples
 * than others, the rest of what waits is whatever was there; and in copies of weights the zeros that
 * fill up rows may have a sign. */
static bool has_unused(const char *tensor)
{
    return strncmp(tensor, "state/delay", strlen("state/delay")) == 0 ||
           strcmp(tensor, "state/selected_weights") == 0;
}

static void same_tensors(const char *what, const struct tet_trainer *t, const struct end *got,
                         const struct end *expected)
{
    struct tet_tensor tensor;
    assert_true(got->n == expected->n);
    for (uint64_t i = 0, at = 0; at < got->n; at += tensor.n) {
        tet_trainer_tensor(t, (uint32_t)i++, &tensor);
        if (!has_unused(tensor.name) &&
            memcmp(got->state + at, expected->state + at, tensor.n * sizeof(float)) != 0)
            fail_msg("%s: %s differs", what, tensor.name);
    }
}

/* That `log`, from record `from` of the whole on, and the end are those of the whole run. What a run
 * that diverged holds is not looked at. */
static void same_run(const char *what, const struct log *log, size_t from, const struct log *whole,
                     const struct tet_trainer *t, const struct end *got, const struct end *expected)
{
    if (from + log->n != whole->n || got->event != expected->event ||
        got->cursor.step != expected->cursor.step ||
        !same_value(got->cursor.last_loss, expected->cursor.last_loss) ||
        got->selection.epoch != expected->selection.epoch ||
        got->selection.early != expected->selection.early)
        fail_msg("%s: event %d at step %llu with %zu + %zu records, selected epoch %u; expected "
                 "event %d at step %llu with %zu, selected epoch %u",
                 what, (int)got->event, (unsigned long long)got->cursor.step, from, log->n,
                 got->selection.epoch, (int)expected->event,
                 (unsigned long long)expected->cursor.step, whole->n, expected->selection.epoch);
    for (size_t i = 0; i < log->n; i++) {
        const struct tet_record *a = &log->record[i], *b = &whole->record[from + i];
        if (isnan(a->value) && isnan(b->value))
            continue;
        same_records(what, a, b, 1);
    }
    if (expected->event == TET_FINISHED)
        same_tensors(what, t, got, expected);
}

/* Selects kernels; false where this processor has no such. */
static bool select_kernels(const char *name)
{
    if (name == NULL)
        return unsetenv("TETRAD_ISA") == 0;
    assert_int_equal(setenv("TETRAD_ISA", name, 1), 0);
    return tet_isa_check(NULL) == TET_OK;
}

static void other_kernels(const struct tet_plan *plan, unsigned number, const struct log *whole,
                          const struct end *expected)
{
    static struct log log;
    struct tet_plan p = *plan;
    for (size_t i = 0; i < COUNT(kernels); i++) {
        char what[64];
        if (!select_kernels(kernels[i]))
            continue;
        p.threads = 1 + (number + (uint32_t)i) % 3;
        snprintf(what, sizeof what, "plan %u, %s, %u threads", number,
                 kernels[i] != NULL ? kernels[i] : "default", p.threads);
        struct tet_trainer *t = make(&p, &data, &log);
        const struct end end = end_of(t);
        same_run(what, &log, 0, whole, t, &end, expected);
        free(end.state);
        tet_trainer_destroy(t);
    }
    assert_true(select_kernels(NULL));
}

/* Saves after `calls`, and goes on in a trainer that has trained something else before; false once
 * the run has no such call. */
static bool save_after(const struct tet_plan *p, unsigned number, int calls,
                       const struct log *whole, const struct end *expected)
{
    static struct log log;
    char what[64];
    snprintf(what, sizeof what, "plan %u, saved after %d calls", number, calls);
    struct tet_trainer *t = make(p, &data, &log);
    bool more = true;
    for (int i = 0; i < calls && more; i++) {
        const enum tet_event event = tet_trainer_step(t);
        more = event == TET_STEPPED || event == TET_EPOCH;
    }
    uint64_t n;
    float *saved = state_of(t, &n);
    const struct tet_cursor cursor = tet_trainer_cursor(t);
    const bool over = !more && expected->event == TET_DIVERGED; // which nobody saves
    for (int i = 0; i < calls % 3 * 2; i++)
        (void)tet_trainer_step(t);
    if (!over) {
        log.n = 0;
        assert_int_equal(tet_trainer_seek(t, &cursor, NULL), TET_OK);
        set_state(t, saved);
        same_state(what, t, saved, n);
        const struct end end = end_of(t);
        same_run(what, &log, (size_t)cursor.records, whole, t, &end, expected);
        free(end.state);
    }
    free(saved);
    tet_trainer_destroy(t);
    return more;
}

static void same_bits(void **state)
{
    (void)state;
    static struct log whole;
    unsigned finished = 0, diverged = 0, refused = 0;
    make_data(&data, 80, 40, 11, INPUTS, OUTPUTS, true);
    make_images(&data, 2, 7, 6);
    for (unsigned number = 0; finished + diverged < PLANS; number++) {
        draws = (uint64_t)(1000 + number) << 32;
        const struct tet_plan p = draw_plan();
        if (tet_plan_check(&p, &data.set.shape, NULL) != TET_OK) {
            assert_true(++refused < 4 * PLANS);
            continue;
        }
        struct tet_trainer *t = make(&p, &data, &whole);
        const struct end end = end_of(t);
        tet_trainer_destroy(t);
        end.event == TET_FINISHED ? finished++ : diverged++;
        other_kernels(&p, number, &whole, &end);
        for (int calls = 0; save_after(&p, number, calls, &whole, &end); calls++)
            continue;
        free(end.state);
    }
    print_message("%u plans finished, %u diverged, %u were refused\n", finished, diverged, refused);
    assert_true(finished > 3 * diverged); // or nothing much is compared
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
