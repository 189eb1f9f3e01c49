// SPDX-License-Identifier: Apache-2.0
/*
 * Interventions against what they should do, done by hand: a trainer without any is brought to the
 * same step, its arrays are changed here, and it is trained on beside the other, with whatever has
 * to stay as it is put back after every step. All bits have to agree.
 */
#include <stdio.h>

#include "philox.h"

#include "interventions.h"

/* ---- arrays of a state, by name ---- */

struct array {
    struct tet_tensor tensor;
    uint64_t at; // its place in a state
    size_t rows, columns, taps;
};

static bool get_array(const struct tet_trainer *t, const char *name, struct array *a)
{
    a->at = 0;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++, a->at += a->tensor.n) {
        tet_trainer_tensor(t, i, &a->tensor);
        if (strcmp(a->tensor.name, name) != 0)
            continue;
        a->taps = a->tensor.rank == 4 ? (size_t)a->tensor.shape[2] * a->tensor.shape[3] : 1;
        a->rows = a->tensor.shape[0];
        a->columns = a->tensor.rank > 1 ? a->tensor.shape[1] * a->taps : 1;
        return true;
    }
    return false;
}

static bool get_layer(const struct tet_trainer *t, const char *of, char group, uint32_t l,
                      struct array *a)
{
    char name[32];
    snprintf(name, sizeof name, "%s%c%u", of, group, l);
    return get_array(t, name, a);
}

/* ---- by hand ---- */

static const char groups[] = "WBVUD";

/* gone[i]: value i of a state is to be 0 from now on: weights, and with them their velocities. */
struct synapses {
    struct array w, v; // v.tensor.n is 0 where there are none
};

static bool get_synapses(const struct tet_trainer *t, char group, uint32_t l, struct synapses *s)
{
    if (!get_layer(t, "velocity/", group, l, &s->v))
        s->v.tensor.n = 0;
    return get_layer(t, "", group, l, &s->w);
}

static void put_away(const struct synapses *s, uint64_t i, bool *gone)
{
    gone[s->w.at + i] = true;
    if (s->v.tensor.n > 0)
        gone[s->v.at + i] = true;
}

/* Exactly the nearest whole number to fraction n of n things, by selection sampling. */
struct sampling {
    struct tet_stream stream;
    uint32_t asked, left, needed;
};

static struct sampling sample(const struct tet_plan *p, uint32_t nth, uint32_t target, uint32_t l,
                              uint32_t n, double fraction)
{
    return (struct sampling){
        .stream = tet_stream_make(p->seed, TET_STREAM_INTERVENTION, nth << 16 | target << 8 | l),
        .left = n,
        .needed = (uint32_t)floor(fraction * n + 0.5)};
}

static bool taken(struct sampling *s)
{
    const bool yes = tet_below(&s->stream, s->asked++, s->left--) < s->needed;
    s->needed -= yes;
    return yes;
}

static uint32_t lesion_by_hand(const struct tet_trainer *t, const struct tet_plan *p, uint32_t nth,
                               enum tet_group g, uint32_t l, double fraction, const bool *there,
                               bool *gone)
{
    struct synapses synapses;
    uint32_t n = 0, lost = 0;
    if (!get_synapses(t, groups[g], l, &synapses))
        return 0;
    const struct array a = synapses.w;
    for (uint64_t i = 0; i < a.tensor.n; i += a.taps)
        n += there[a.at + i] && !gone[a.at + i];
    struct sampling s = sample(p, nth, (uint32_t)g, l, n, fraction);
    for (uint64_t i = 0; i < a.tensor.n; i += a.taps)
        if (there[a.at + i] && !gone[a.at + i] && taken(&s)) {
            lost++;
            for (size_t k = 0; k < a.taps; k++)
                put_away(&synapses, i + k, gone);
        }
    assert_int_equal(lost, (uint32_t)floor(fraction * n + 0.5));
    return lost;
}

/* All rows (or columns) of an array that belong to neuron i of `units`. */
static void part_away(const struct tet_trainer *t, char group, uint32_t l, bool columns,
                      uint32_t units, uint32_t i, bool *gone)
{
    struct synapses synapses;
    if (!get_synapses(t, group, l, &synapses))
        return;
    const struct array a = synapses.w;
    for (size_t r = 0; r < a.rows; r++)
        for (size_t c = 0; c < a.columns; c++)
            if ((columns ? c / (a.columns / units) : r / (a.rows / units)) == i)
                put_away(&synapses, r * a.columns + c, gone);
}

static void neuron_by_hand(const struct tet_trainer *t, const struct tet_plan *p, bool descending,
                           uint32_t l, uint32_t i, bool *gone)
{
    const uint32_t d = p->hidden[l - 1].units, e = p->hidden[l - 1].descending_units;
    struct array b;
    if (descending) {
        part_away(t, 'B', l + 1, false, e, i, gone);
        part_away(t, 'U', l, false, e, i, gone);
        part_away(t, 'V', l, true, e, i, gone);
        part_away(t, 'B', l, true, e, i, gone);
        part_away(t, 'D', l, false, e, i, gone);
        return;
    }
    part_away(t, 'W', l, false, d, i, gone);
    part_away(t, 'V', l, false, d, i, gone);
    part_away(t, 'U', l, true, d, i, gone);
    part_away(t, 'W', l + 1, true, d, i, gone);
    assert_true(get_layer(t, "", 'b', l, &b));
    gone[b.at + i] = true;
}

static void empty(float *values, const bool *gone, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        values[i] = gone[i] ? 0.0f : values[i];
}

/* ---- side by side ---- */

static struct tet_plan without(const struct tet_plan *p)
{
    struct tet_plan plain = *p;
    plain.n_interventions = 0;
    return plain;
}

static void one_step(struct tet_trainer *t)
{
    const uint64_t before = tet_trainer_cursor(t).step;
    while (tet_trainer_cursor(t).step == before)
        (void)tet_trainer_step(t);
}

/* Both go on to `last`, with what is gone kept at 0 in the one that knows of nothing. */
static void go_on(const char *what, struct tet_trainer *t, struct tet_trainer *by_hand,
                  const bool *gone, uint64_t last)
{
    uint64_t n;
    while (tet_trainer_cursor(t).step < last) {
        one_step(t);
        one_step(by_hand);
        float *values = state_of(by_hand, &n);
        empty(values, gone, n);
        set_state(by_hand, values);
        same_state(what, t, values, n);
        free(values);
    }
}

/* Which synapses are there before any intervention: a sparse group's others are 0 from the
 * start. */
static bool *wiring_of(const struct tet_plan *p, uint64_t *n)
{
    struct tet_plan plain = without(p);
    for (int g = 0; g < TET_GROUPS; g++)
        plain.group[g].init = TET_INIT_NORMAL;
    struct tet_trainer *t = make(&plain, &data, NULL);
    float *values = state_of(t, n);
    bool *there = calloc(*n, sizeof *there);
    assert_non_null(there);
    for (uint64_t i = 0; i < *n; i++)
        there[i] = values[i] != 0.0f;
    free(values);
    tet_trainer_destroy(t);
    return there;
}

static void lesion_one(enum tet_rule_name rule, int variant, enum tet_group g, uint32_t layer)
{
    char what[80];
    struct tet_plan p = plan_of(rule, variant);
    add(&p, AT, TET_LESION, g, layer, 0.3f);
    add(&p, AT + 3, TET_LESION, g, 0, 0.5f);
    snprintf(what, sizeof what, "%s, variant %d, lesion of %c%u", tet_rule_info(rule)->name,
             variant, groups[g], layer);
    const struct tet_plan plain = without(&p);
    uint64_t n;
    bool *there = wiring_of(&p, &n), *gone = calloc(n, sizeof *gone);
    assert_non_null(gone);
    struct tet_trainer *t = train_to(&p, AT), *by_hand = train_to(&plain, AT);
    uint32_t lost = 0;
    for (uint32_t nth = 0; nth < 2; nth++) {
        float *values = state_of(by_hand, &n);
        same_state(what, t, values, n);
        for (uint32_t l = 1; l <= p.n_hidden + 1; l++)
            if (nth == 1 || layer == 0 || layer == l)
                lost += lesion_by_hand(t, &p, nth, g, l, nth ? 0.5 : (double)0.3f, there, gone);
        empty(values, gone, n);
        set_state(by_hand, values);
        free(values);
        go_on(what, t, by_hand, gone, nth ? STEPS : AT + 3);
    }
    assert_true(lost > 10);
    free(there);
    free(gone);
    tet_trainer_destroy(t);
    tet_trainer_destroy(by_hand);
}

static void lesions(void **state)
{
    (void)state;
    for (int variant = 0; variant < ODD_PLANS; variant++)
        for (int g = TET_W; g <= TET_U; g++) {
            lesion_one(TET_RULE_SAL, variant, (enum tet_group)g, 0);
            lesion_one(TET_RULE_SAL, variant, (enum tet_group)g, 2);
        }
    lesion_one(TET_RULE_KP, 3, TET_B, 3);
    lesion_one(TET_RULE_FA, 3, TET_B, 0);
    lesion_one(TET_RULE_FRSF, 0, TET_B, 0);
    for (int variant = 0; variant < ODD_PLANS; variant++)
        lesion_one(TET_RULE_DFA, variant, TET_D, variant % 2 != 0);
    lesion_one(TET_RULE_BP, 0, TET_W, 1);
}

static void silence_one(enum tet_rule_name rule, int variant, bool descending, uint32_t layer)
{
    char what[80];
    struct tet_plan p = plan_of(rule, variant);
    add(&p, AT, descending ? TET_SILENCE_DESCENDING : TET_SILENCE_ASCENDING, TET_W, layer, 0.4f);
    snprintf(what, sizeof what, "%s, variant %d, %s neurons of layer %u", tet_rule_info(rule)->name,
             variant, descending ? "descending" : "ascending", layer);
    const struct tet_plan plain = without(&p);
    struct tet_trainer *t = train_to(&p, AT), *by_hand = train_to(&plain, AT);
    uint64_t n;
    float *values = state_of(by_hand, &n);
    bool *gone = calloc(n, sizeof *gone);
    assert_non_null(gone);
    same_state(what, t, values, n);
    for (uint32_t l = 1; l <= p.n_hidden; l++) {
        const struct tet_layer_plan *h = &p.hidden[l - 1];
        const uint32_t units = descending ? h->descending_units : h->units;
        struct sampling s = sample(&p, 0, descending ? 255 : 254, l, units, (double)0.4f);
        for (uint32_t i = 0; i < units && (layer == 0 || layer == l); i++)
            if (taken(&s))
                neuron_by_hand(t, &p, descending, l, i, gone);
    }
    empty(values, gone, n);
    set_state(by_hand, values);
    free(values);
    go_on(what, t, by_hand, gone, STEPS);
    free(gone);
    tet_trainer_destroy(t);
    tet_trainer_destroy(by_hand);
}

static void neurons(void **state)
{
    (void)state;
    for (int variant = 0; variant < ODD_PLANS; variant++)
        for (int descending = 0; descending < 2; descending++) {
            silence_one(TET_RULE_SAL, variant, descending == 1, 0);
            silence_one(TET_RULE_SAL, variant, descending == 1, 1);
            silence_one(TET_RULE_KP, variant, descending == 1, 2);
            silence_one(TET_RULE_DFA, variant, descending == 1, 0);
        }
    silence_one(TET_RULE_DFA, 0, true, 2);
    silence_one(TET_RULE_BP, 3, false, 0);
    silence_one(TET_RULE_USF, 1, false, 0);
    silence_one(TET_RULE_FA, 3, true, 0);
}

/* Frozen arrays are put back after every step; with them the biases of W, and the velocities. */
static void put_back(const struct tet_trainer *t, enum tet_group g, uint32_t layer, float *values,
                     const float *before)
{
    for (uint32_t l = 1; l <= TET_MAX_HIDDEN + 1; l++)
        for (int kind = 0; kind < 3 && (layer == 0 || layer == l); kind++) {
            struct array a;
            if ((kind == 2 && g != TET_W) ||
                !get_layer(t, kind == 1 ? "velocity/" : "", kind == 2 ? 'b' : groups[g], l, &a))
                continue;
            memcpy(values + a.at, before + a.at, a.tensor.n * sizeof *values);
        }
}

static void freeze_one(enum tet_rule_name rule, int variant, enum tet_group g, uint32_t layer)
{
    char what[80];
    struct tet_plan p = plan_of(rule, variant);
    add(&p, AT, TET_FREEZE, g, layer, 0.0f);
    add(&p, AT + 4, TET_UNFREEZE, g, 0, 0.0f);
    snprintf(what, sizeof what, "%s, variant %d, frozen %c%u", tet_rule_info(rule)->name, variant,
             groups[g], layer);
    const struct tet_plan plain = without(&p);
    struct tet_trainer *t = train_to(&p, AT), *by_hand = train_to(&plain, AT);
    uint64_t n;
    float *before = state_of(by_hand, &n);
    for (uint64_t step = AT; step < STEPS; step++) {
        one_step(t);
        one_step(by_hand);
        float *values = state_of(by_hand, &n);
        if (step < AT + 4)
            put_back(by_hand, g, layer, values, before);
        set_state(by_hand, values);
        same_state(what, t, values, n);
        free(values);
    }
    free(before);
    tet_trainer_destroy(t);
    tet_trainer_destroy(by_hand);
}

static void freezing(void **state)
{
    (void)state;
    for (int variant = 0; variant < ODD_PLANS; variant++)
        for (int g = TET_W; g <= TET_U; g++)
            freeze_one(TET_RULE_SAL, variant, (enum tet_group)g, g % 2 ? 0 : 2);
    freeze_one(TET_RULE_KP, 3, TET_B, 2);
    freeze_one(TET_RULE_BP, 4, TET_W, 0);
}

/* What was never plastic learns from then on, with momentum too. */
static void unfreezing_the_fixed(void **state)
{
    (void)state;
    struct tet_plan p = plan_of(TET_RULE_SAL, 0), plain = p;
    p.group[TET_V].plastic = false;
    add(&p, 0, TET_UNFREEZE, TET_V, 0, 0.0f);
    struct tet_trainer *t = train_to(&p, STEPS), *other = train_to(&plain, STEPS);
    uint64_t n;
    float *expected = state_of(other, &n);
    same_state("unfrozen", t, expected, n);
    free(expected);
    tet_trainer_destroy(t);
    tet_trainer_destroy(other);
}

/* ---- values ---- */

static void shuffle_by_hand(float *v, const bool *there, uint64_t n, struct tet_stream stream)
{
    uint32_t place[1 << 15], order[1 << 15], m = 0;
    float old[1 << 15];
    assert_true(n <= COUNT(place));
    for (uint32_t i = 0; i < n; i++)
        if (there[i]) {
            old[m] = v[i];
            order[m] = m;
            place[m++] = i;
        }
    tet_shuffle(&stream, order, m);
    for (uint32_t i = 0; i < m; i++)
        v[place[i]] = old[order[i]];
}

static void noise_by_hand(float *v, const bool *there, uint64_t n, double amount,
                          struct tet_stream stream)
{
    double sum = 0.0, m = 0.0;
    for (uint64_t i = 0; i < n; i++)
        if (there[i]) {
            sum += (double)v[i] * (double)v[i];
            m += 1.0;
        }
    const double sd = amount * sqrt(sum / m);
    for (uint64_t i = 0; i < n; i++)
        if (there[i])
            v[i] = (float)((double)v[i] + sd * tet_normal_from_u32(tet_stream_u32(&stream, i)));
}

/* Laterals: standard deviation scale / sqrt(fan in), over sqrt(p); or uniform with the same. */
static void draw_by_hand(float *v, const bool *there, const struct array *a,
                         const struct tet_group_plan *plan, struct tet_stream stream)
{
    const double p = plan->probability > 0.0f ? (double)plan->probability : 1.0;
    const double sd = (double)plan->scale / sqrt((double)a->columns) / sqrt(p);
    for (uint64_t i = 0; i < a->tensor.n; i++) {
        const uint32_t word = tet_stream_u32(&stream, i);
        const double x = plan->init == TET_INIT_NORMAL
                             ? tet_normal_from_u32(word)
                             : 1.7320508075688772 * (2.0 * (double)tet_uniform(word) - 1.0);
        v[i] = there[i] ? (float)(sd * x) : 0.0f;
    }
}

static void value_one(enum tet_rule_name rule, int variant, enum tet_intervention_type type,
                      enum tet_group g, uint32_t layer, float amount)
{
    char what[80];
    struct tet_plan p = plan_of(rule, variant);
    add(&p, AT, type, g, layer, amount);
    snprintf(what, sizeof what, "%s, variant %d, type %d of %c%u", tet_rule_info(rule)->name,
             variant, (int)type, groups[g], layer);
    const struct tet_plan plain = without(&p);
    struct tet_trainer *t = train_to(&p, AT), *by_hand = train_to(&plain, AT);
    uint64_t n;
    bool *there = wiring_of(&p, &n), *none = calloc(n, sizeof *none);
    float *values = state_of(by_hand, &n);
    assert_non_null(none);
    for (uint32_t l = 1; l <= p.n_hidden + 1; l++) {
        struct array a, velocity;
        if ((layer != 0 && layer != l) || !get_layer(t, "", groups[g], l, &a))
            continue;
        const struct tet_stream stream =
            tet_stream_make(p.seed, TET_STREAM_INTERVENTION, (uint32_t)g << 8 | l);
        float *v = values + a.at;
        if (type == TET_SHUFFLE)
            shuffle_by_hand(v, there + a.at, a.tensor.n, stream);
        else if (type == TET_NOISE)
            noise_by_hand(v, there + a.at, a.tensor.n, (double)amount, stream);
        else if (type == TET_RERANDOMISE)
            draw_by_hand(v, there + a.at, &a, &p.group[g], stream);
        for (uint64_t i = 0; i < a.tensor.n && type == TET_SCALE; i++)
            v[i] = v[i] * amount;
        if ((type == TET_SHUFFLE || type == TET_RERANDOMISE) &&
            get_layer(t, "velocity/", groups[g], l, &velocity))
            memset(values + velocity.at, 0, velocity.tensor.n * sizeof *values);
    }
    set_state(by_hand, values);
    free(values);
    go_on(what, t, by_hand, none, STEPS);
    free(there);
    free(none);
    tet_trainer_destroy(t);
    tet_trainer_destroy(by_hand);
}

static void values(void **state)
{
    (void)state;
    for (int variant = 0; variant < ODD_PLANS; variant++) {
        for (int g = TET_W; g <= TET_U; g++) {
            value_one(TET_RULE_SAL, variant, TET_SHUFFLE, (enum tet_group)g, g % 2 ? 0 : 2, 0.0f);
            value_one(TET_RULE_SAL, variant, TET_SCALE, (enum tet_group)g, g % 2 ? 2 : 0, 0.7f);
            value_one(TET_RULE_SAL, variant, TET_NOISE, (enum tet_group)g, 0, 0.25f);
        }
        value_one(TET_RULE_SAL, variant, TET_RERANDOMISE, TET_V, 0, 0.0f);
        value_one(TET_RULE_SAL, variant, TET_RERANDOMISE, TET_U, 2, 0.0f);
        value_one(TET_RULE_DFA, variant, TET_SHUFFLE, TET_D, 0, 0.0f);
        value_one(TET_RULE_DFA, variant, TET_SCALE, TET_D, 2, 0.7f);
        value_one(TET_RULE_DFA, variant, TET_NOISE, TET_D, 0, 0.25f);
    }
}

/* Powers of two, so that the order of factors does not show. */
static void rates(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        struct tet_plan p = plan_of(TET_RULE_SAL, 3), slower;
        const enum tet_group g = all ? TET_GROUPS : TET_B;
        add(&p, AT, TET_RATE, g, 0, 0.25f);
        add(&p, AT, TET_RATE, g, 0, 0.5f);
        slower = without(&p);
        for (int k = 0; k < TET_GROUPS; k++)
            if (all || k == TET_B)
                slower.group[k].lr = 0.125f * slower.group[k].lr;
        const struct tet_plan plain = without(&p);
        struct tet_trainer *t = train_to(&p, STEPS), *before = train_to(&plain, AT),
                           *after = make(&slower, &data, NULL);
        const struct tet_cursor cursor = tet_trainer_cursor(before);
        uint64_t n;
        float *kept = state_of(before, &n), *expected;
        assert_int_equal(tet_trainer_seek(after, &cursor, NULL), TET_OK);
        set_state(after, kept);
        while (tet_trainer_cursor(after).step < STEPS)
            (void)tet_trainer_step(after);
        expected = state_of(after, &n);
        same_state("rates", t, expected, n);
        free(kept);
        free(expected);
        tet_trainer_destroy(t);
        tet_trainer_destroy(before);
        tet_trainer_destroy(after);
    }
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lesions),  cmocka_unit_test(neurons),
        cmocka_unit_test(freezing), cmocka_unit_test(unfreezing_the_fixed),
        cmocka_unit_test(values),   cmocka_unit_test(rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
