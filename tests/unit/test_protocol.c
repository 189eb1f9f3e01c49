// SPDX-License-Identifier: Apache-2.0
/*
 * Protocols against plain loops in double: what every condition does to every group, for rules with
 * and without laterals, at layers in and below the top. Then what theory predicts: one afferent
 * alone changes nothing beyond decay. Patterns, wiring, kernels, and plans that must be refused.
 */
#include <tetrad/protocol.h>

#include <stdio.h>

#include "philox.h"
#include "training.h"

enum { W = 16, N = 5, PAIRINGS = 12 };

static struct data data;

/* A motif: stage 1 is l, stage 2 is l + 1, or of dfa the output. Matrices (W, W), activities (N,
 * W). */
struct motif {
    enum tet_rule_name rule;
    enum tet_activation phi;
    bool gate;
    uint32_t d0, d1, e1, e2;
    double lr[TET_GROUPS], decay[TET_GROUPS];
    double p[TET_GROUPS][W * W], w2[W * W], b[W];
    double asc[N * W], desc[N * W], held_x[N * W], held_s[N * W];
};

/* What it does under one condition. */
struct activity {
    double x0[N * W], x1[N * W], s2[N * W], s1[N * W], m[N * W], u[N * W];
};

/* y (n, rows) = x (n, columns) P^T, or with the transpose of P */
static void times(const double *p, bool transposed, uint32_t rows, uint32_t columns,
                  const double *x, double *y)
{
    for (uint32_t n = 0; n < N; n++)
        for (uint32_t r = 0; r < rows; r++) {
            double sum = 0.0;
            for (uint32_t c = 0; c < columns; c++)
                sum += p[transposed ? c * W + r : r * W + c] * x[n * W + c];
            y[n * W + r] = sum;
        }
}

static void naive_gate(const struct motif *o, const double *x, double *s)
{
    for (uint32_t n = 0; n < N; n++)
        for (uint32_t i = 0; i < o->d1; i++) {
            const double v = x[n * W + i];
            s[n * W + i] *= o->phi == TET_RELU ? v > 0.0 : o->phi == TET_TANH ? 1.0 - v * v : 1.0;
        }
}

static void activate(const struct motif *o, unsigned afferents, struct activity *a)
{
    memset(a, 0, sizeof *a);
    if (afferents & TET_AFFERENT_W)
        memcpy(a->x0, o->asc, sizeof a->x0);
    times(o->p[TET_W], false, o->d1, o->d0, a->x0, a->x1);
    for (uint32_t n = 0; n < N; n++)
        for (uint32_t i = 0; i < o->d1; i++) {
            double *x = &a->x1[n * W + i];
            *x += o->b[i];
            *x = o->phi == TET_RELU ? fmax(*x, 0.0) : o->phi == TET_TANH ? tanh(*x) : *x;
        }
    if (afferents & TET_AFFERENT_U)
        memcpy(a->x1, o->held_x, sizeof a->x1);
    if (afferents & TET_AFFERENT_B)
        memcpy(a->s2, o->desc, sizeof a->s2);
    if (o->rule == TET_RULE_BP)
        times(o->w2, true, o->d1, o->e2, a->s2, a->s1);
    else
        times(o->p[o->rule == TET_RULE_DFA ? TET_D : TET_B], false, o->e1, o->e2, a->s2, a->s1);
    if (o->gate)
        naive_gate(o, a->x1, a->s1);
    if (afferents & TET_AFFERENT_V)
        memcpy(a->s1, o->held_s, sizeof a->s1);
    if (o->rule == TET_RULE_SAL)
        times(o->p[TET_V], false, o->d1, o->e1, a->s1, a->m);
    else
        memcpy(a->m, a->s1, sizeof a->m);
    if (o->rule == TET_RULE_SAL || !o->gate)
        naive_gate(o, a->x1, a->m);
    times(o->p[TET_U], false, o->e1, o->d1, a->x1, a->u);
}

static void learn(const struct motif *o, double *p, enum tet_group g, uint32_t rows,
                  uint32_t columns, const double *a, const double *x)
{
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            double sum = 0.0;
            for (uint32_t n = 0; n < N; n++)
                sum += a[n * W + r] * x[n * W + c];
            p[r * W + c] += o->lr[g] * (sum / N - o->decay[g] * p[r * W + c]);
        }
}

static void naive_pair(struct motif *o, unsigned afferents)
{
    static struct activity a;
    activate(o, afferents, &a);
    learn(o, o->p[TET_W], TET_W, o->d1, o->d0, a.m, a.x0);
    learn(o, o->w2, TET_W, o->e2, o->d1, a.s2, a.x1);
    if (o->rule == TET_RULE_SAL) {
        learn(o, o->p[TET_V], TET_V, o->d1, o->e1, a.x1, a.s1);
        learn(o, o->p[TET_U], TET_U, o->e1, o->d1, a.s1, a.x1);
        learn(o, o->p[TET_B], TET_B, o->e1, o->e2, a.u, a.s2);
    }
    if (o->rule == TET_RULE_KP)
        learn(o, o->p[TET_B], TET_B, o->e1, o->e2, a.x1, a.s2);
}

/* ---- the protocol under test ---- */

static unsigned afferents_of(enum tet_condition condition)
{
    static const unsigned sets[] = {
#define X(name, text, afferents) afferents,
        TET_CONDITIONS(X)
#undef X
    };
    return sets[condition];
}

static void take_matrix(const struct tet_trainer *t, const char *name, uint32_t l, double *p)
{
    static float values[W * W];
    char text[8];
    struct tet_tensor tensor;
    snprintf(text, sizeof text, "%s%u", name, l);
    tet_trainer_tensor(t, index_of(t, text), &tensor);
    tet_trainer_get(t, index_of(t, text), values);
    const uint32_t columns = tensor.rank == 1 ? 1 : tensor.shape[1];
    for (uint64_t i = 0; i < tensor.n; i++)
        p[tensor.rank == 1 ? i : i / columns * W + i % columns] = values[i];
}

static float given_asc[N * W], given_desc[N * W];

static struct motif take_motif(const struct tet_trainer *t, const struct tet_plan *p, uint32_t l,
                               uint32_t inputs, uint32_t outputs)
{
    static struct motif o;
    static struct activity a;
    const bool top = l == p->n_hidden;
    memset(&o, 0, sizeof o);
    o.rule = p->rule;
    o.phi = p->hidden[l - 1].activation;
    o.gate = p->gate;
    o.d0 = l == 1 ? inputs : p->hidden[l - 2].units;
    o.d1 = p->hidden[l - 1].units;
    o.e1 = p->hidden[l - 1].descending_units;
    o.e2 = top || p->rule == TET_RULE_DFA ? outputs : p->hidden[l].descending_units;
    for (int g = 0; g < TET_GROUPS; g++) {
        o.lr[g] = (double)p->group[g].lr;
        o.decay[g] = (double)p->group[g].decay;
        if (tet_rule_info(p->rule)->group[g])
            take_matrix(t, tet_group_name((enum tet_group)g), g == TET_B ? l + 1 : l, o.p[g]);
    }
    take_matrix(t, "b", l, o.b);
    if (p->rule == TET_RULE_BP)
        take_matrix(t, "W", l + 1, o.w2);
    for (uint32_t n = 0; n < N; n++) {
        for (uint32_t i = 0; i < o.d0; i++)
            o.asc[n * W + i] = given_asc[n * o.d0 + i];
        for (uint32_t i = 0; i < o.e2; i++)
            o.desc[n * W + i] = given_desc[n * o.e2 + i];
    }
    activate(&o, TET_AFFERENT_W | TET_AFFERENT_B, &a);
    memcpy(o.held_x, a.x1, sizeof a.x1);
    memcpy(o.held_s, a.s1, sizeof a.s1);
    return o;
}

static const struct tet_protocol_row *run_protocol(const struct tet_trainer *t,
                                                   const struct tet_protocol_plan *plan,
                                                   struct tet_protocol **p, size_t *n)
{
    struct tet_error error = {0};
    uint64_t steps = 0;
    if (tet_protocol_create(p, plan, t, &error) != TET_OK)
        fail_msg("no protocol: %s", error.message);
    enum tet_event event = TET_STEPPED;
    for (; event == TET_STEPPED; steps++)
        event = tet_protocol_step(*p);
    assert_int_equal(event, TET_FINISHED);
    assert_int_equal(steps, tet_protocol_steps(plan));
    assert_int_equal(tet_protocol_step_count(*p), steps);
    assert_int_equal(tet_protocol_step(*p), TET_FINISHED);
    return tet_protocol_rows(*p, n);
}

static bool same_rows(const struct tet_protocol_row *a, const struct tet_protocol_row *b, size_t n)
{
    const size_t from = offsetof(struct tet_protocol_row, n); // past the padding
    for (size_t i = 0; i < n; i++)
        if (a[i].condition != b[i].condition || a[i].group != b[i].group ||
            a[i].layer != b[i].layer || memcmp(&a[i].n, &b[i].n, sizeof *a - from) != 0)
            return false;
    return true;
}

static void near(const char *what, const char *field, double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-7 + 2e-4 * fabs(expected)))
        fail_msg("%s: %s: got %.9g, expected %.9g", what, field, got, expected);
}

/* One group after a condition: `after`, against `before` and what decay alone made. */
static void check_row(const char *what, const struct tet_protocol_row *row, const double *before,
                      const double *after, const double *decayed, uint32_t rows, uint32_t columns)
{
    double mean = 0, mean_abs = 0, square = 0, driven = 0, driven_abs = 0, driven_square = 0,
           norm = 0, up = 0, down = 0; // beyond what rounding may do
    const double n = rows * columns;
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            const uint32_t i = r * W + c;
            mean += (after[i] - before[i]) / n;
            mean_abs += fabs(after[i] - before[i]) / n;
            square += (after[i] - before[i]) * (after[i] - before[i]);
            driven += (after[i] - decayed[i]) / n;
            driven_abs += fabs(after[i] - decayed[i]) / n;
            driven_square += (after[i] - decayed[i]) * (after[i] - decayed[i]);
            norm += before[i] * before[i];
            up += after[i] - decayed[i] > 1e-6;
            down += after[i] - decayed[i] < -1e-6;
        }
    assert_int_equal(row->n, rows * columns);
    near(what, "change_mean", row->change_mean, mean);
    near(what, "change_mean_abs", row->change_mean_abs, mean_abs);
    near(what, "change_relative", row->change_relative, sqrt(square / norm));
    near(what, "driven_mean", row->driven_mean, driven);
    near(what, "driven_mean_abs", row->driven_mean_abs, driven_abs);
    near(what, "driven_relative", row->driven_relative, sqrt(driven_square / norm));
    near(what, "shares", row->potentiated + row->depressed + row->unchanged, 1.0);
    const double hit = (double)row->stimulated;
    near(what, "stimulated", row->stimulated_mean_abs * hit + row->other_mean_abs * (n - hit),
         driven_abs * n);
    if (driven_abs == 0.0 && row->unchanged != 1.0)
        fail_msg("%s: unchanged %g", what, row->unchanged);
    if (row->potentiated * n < up - 0.5 || row->potentiated * n > n - down + 0.5 ||
        row->depressed * n < down - 0.5 || row->depressed * n > n - up + 0.5)
        fail_msg("%s: up %g, down %g, expected at least %g, %g of %g", what, row->potentiated,
                 row->depressed, up / n, down / n, n);
}

static void draw_given(void)
{
    for (int i = 0; i < N * W; i++) {
        given_asc[i] = (float)(draw() >> 40) * 0x1p-23f - 1.0f;
        given_desc[i] = (float)(draw() >> 40) * 0x1p-23f - 1.0f;
    }
}

/* All conditions of one plan at one layer. */
static void follow_plan(const char *name, const struct tet_plan *p, uint32_t l)
{
    static struct motif o, start, decayed;
    struct tet_trainer *t = make(p, &data, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tet_trainer_step(t), TET_STEPPED); // so that biases are not 0
    draw_given();
    start = take_motif(t, p, l, data.set.shape.inputs, data.set.shape.outputs);
    const struct tet_protocol_plan plan = {.layer = l,
                                           .conditions = (1u << TET_CONDITIONS_COUNT) - 1,
                                           .pairings = PAIRINGS,
                                           .n = N,
                                           .ascending = given_asc,
                                           .descending = given_desc};
    struct tet_protocol *protocol;
    size_t n, at = 0;
    const struct tet_protocol_row *rows = run_protocol(t, &plan, &protocol, &n);
    for (enum tet_condition c = 0; c < TET_CONDITIONS_COUNT; c++) {
        o = start;
        for (int i = 0; i < PAIRINGS; i++)
            naive_pair(&o, afferents_of(c));
        if (c == TET_CONDITION_NEITHER)
            decayed = o;
        const uint32_t high[] = {o.d1, o.e1, o.d1, o.e1}, wide[] = {o.d0, o.e2, o.e1, o.d1};
        for (int g = 0; g < TET_MOTIF; g++) {
            if (!tet_rule_info(p->rule)->group[g])
                continue;
            char what[100];
            snprintf(what, sizeof what, "%s, layer %u, %s, %s", name, l, tet_condition_text(c),
                     tet_group_name((enum tet_group)g));
            assert_true(at < n);
            assert_int_equal(rows[at].condition, c);
            assert_int_equal(rows[at].group, g);
            assert_int_equal(rows[at].layer, g == TET_B ? l + 1 : l);
            check_row(what, &rows[at++], start.p[g], o.p[g], decayed.p[g], high[g], wide[g]);
        }
    }
    assert_int_equal(at, n);
    tet_protocol_destroy(protocol);
    tet_trainer_destroy(t);
}

static struct tet_plan protocol_plan(enum tet_rule_name rule, enum tet_activation phi, bool gate)
{
    const bool wider = rule == TET_RULE_SAL && !gate;
    struct tet_plan p = make_plan(rule, TET_CROSS_ENTROPY, 20, 5, 0.1f);
    add_layer(&p, 9, wider ? 11 : 9, phi);
    add_layer(&p, 7, wider ? 6 : 7, phi);
    p.gate = gate;
    for (int g = 0; g < TET_GROUPS; g++) {
        p.group[g].lr = 0.1f + 0.02f * (float)g;
        p.group[g].decay = 0.02f + 0.01f * (float)g;
        p.group[g].plastic = !tet_rule_info(rule)->fixed[g];
    }
    return p;
}

static void conditions_follow_the_rules(void **state)
{
    (void)state;
    make_data(&data, 51, 20, 0, 12, 4, true);
    static const enum tet_rule_name rules[] = {TET_RULE_BP,  TET_RULE_FA,  TET_RULE_KP,
                                               TET_RULE_SAL, TET_RULE_DFA, TET_RULE_WM};
    for (size_t r = 0; r < COUNT(rules); r++)
        for (int phi = TET_RELU; phi <= TET_IDENTITY; phi++)
            for (int gate = 1; gate >= 0; gate--) {
                if (!gate && !tet_rule_info(rules[r])->takes_gate)
                    continue;
                struct tet_plan p = protocol_plan(rules[r], (enum tet_activation)phi, gate == 1);
                char name[40];
                snprintf(name, sizeof name, "%s, phi %d, gate %d", tet_rule_info(rules[r])->name,
                         phi, gate);
                for (uint32_t l = 1; l <= 2; l++)
                    follow_plan(name, &p, l);
            }
}

/* ---- what theory predicts ---- */

static const struct tet_protocol_row *row_of(const struct tet_protocol_row *rows, size_t n,
                                             enum tet_condition c, enum tet_group g)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].condition == c && rows[i].group == g)
            return &rows[i];
    fail_msg("no row for %s, %s", tet_condition_text(c), tet_group_name(g));
    return NULL;
}

/* With silent thresholds, which pairs move which synapses of sal: the presynaptic neuron and the
 * other afferent of the postsynaptic one must both be active. */
static void one_afferent_alone_changes_nothing(void **state)
{
    (void)state;
    static const bool moved[TET_CONDITIONS_COUNT][TET_MOTIF] = {
        [TET_CONDITION_BOTH] = {true, true, true, true},
        [TET_CONDITION_WV] = {[TET_W] = true, [TET_V] = true, [TET_U] = true},
        [TET_CONDITION_BU] = {[TET_B] = true, [TET_V] = true, [TET_U] = true},
        [TET_CONDITION_VU] = {[TET_V] = true, [TET_U] = true},
    };
    make_data(&data, 52, 20, 0, 12, 4, true);
    struct tet_plan p = protocol_plan(TET_RULE_SAL, TET_TANH, true);
    struct tet_trainer *t = make(&p, &data, NULL);
    struct tet_protocol *protocol;
    const struct tet_protocol_plan plan = {.layer = 2,
                                           .conditions = (1u << TET_CONDITIONS_COUNT) - 1,
                                           .pairings = 30,
                                           .n = 8,
                                           .sd = 1.0f};
    size_t n;
    const struct tet_protocol_row *rows = run_protocol(t, &plan, &protocol, &n);
    assert_int_equal(n, TET_CONDITIONS_COUNT * TET_MOTIF);
    for (enum tet_condition c = 0; c < TET_CONDITIONS_COUNT; c++)
        for (enum tet_group g = 0; g <= TET_U; g++) {
            const struct tet_protocol_row *row = row_of(rows, n, c, g);
            const double left = pow(1.0 - (double)(p.group[g].lr * p.group[g].decay), 30.0);
            if (moved[c][g] != (row->unchanged < 0.01) || moved[c][g] != (row->driven_mean_abs > 0))
                fail_msg("%s, %s: unchanged %g, driven %g", tet_condition_text(c),
                         tet_group_name(g), row->unchanged, row->driven_mean_abs);
            if (!moved[c][g])
                close_to("decay", c, g, row->change_relative, 1.0 - left, 1e-6);
        }
    assert_int_equal(row_of(rows, n, TET_CONDITION_ASCENDING, TET_W)->stimulated, 7 * 9);
    assert_int_equal(row_of(rows, n, TET_CONDITION_DESCENDING, TET_W)->stimulated, 0);
    tet_protocol_destroy(protocol);
    tet_trainer_destroy(t);
}

/* ---- patterns, wiring, kernels ---- */

static void random_patterns_are_a_stream(void **state)
{
    (void)state;
    make_data(&data, 53, 20, 0, 12, 4, true);
    struct tet_plan p = protocol_plan(TET_RULE_SAL, TET_TANH, true);
    struct tet_trainer *t = make(&p, &data, NULL);
    struct tet_protocol *one, *other;
    const struct tet_stream up = tet_stream_make(p.seed, TET_STREAM_PROTOCOL, 0),
                            down = tet_stream_make(p.seed, TET_STREAM_PROTOCOL, 1);
    struct tet_protocol_plan plan = {
        .layer = 1, .conditions = 1u << TET_CONDITION_BOTH, .pairings = 7, .n = N, .sd = 0.5f};
    size_t n, m;
    const struct tet_protocol_row *rows = run_protocol(t, &plan, &one, &n);
    assert_int_equal(n, 8); // "neither" takes part
    for (uint32_t i = 0; i < N * 12; i++)
        given_asc[i] = (float)(0.5 * tet_normal_from_u32(tet_stream_u32(&up, i)));
    for (uint32_t i = 0; i < N * 7; i++)
        given_desc[i] = (float)(0.5 * tet_normal_from_u32(tet_stream_u32(&down, i)));
    plan.ascending = given_asc;
    plan.descending = given_desc;
    const struct tet_protocol_row *same = run_protocol(t, &plan, &other, &m);
    assert_int_equal(n, m);
    assert_true(same_rows(rows, same, n));
    tet_protocol_destroy(other);
    given_desc[3] += 1e-3f;
    same = run_protocol(t, &plan, &other, &m);
    assert_false(same_rows(rows, same, n));
    tet_protocol_destroy(other);
    tet_protocol_destroy(one);
    tet_trainer_destroy(t);
}

/* A neuron that is never active has no stimulated synapses, and they stay; nor do synapses that are
 * not there. */
static void silent_neurons_and_sparse_groups(void **state)
{
    (void)state;
    make_data(&data, 54, 20, 0, 12, 4, true);
    struct tet_plan p = protocol_plan(TET_RULE_SAL, TET_TANH, true);
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].probability = 0.6f;
    struct tet_trainer *t = make(&p, &data, NULL);
    static double w[W * W];
    take_matrix(t, "W", 1, w);
    uint64_t there = 0, hit = 0;
    for (uint32_t r = 0; r < 9; r++)
        for (uint32_t c = 0; c < 12; c++) {
            there += w[r * W + c] != 0.0;
            hit += w[r * W + c] != 0.0 && c % 3 != 0;
        }
    draw_given();
    for (uint32_t i = 0; i < N * 12; i += 3)
        given_asc[i] = 0.0f;
    const struct tet_protocol_plan plan = {.layer = 1,
                                           .conditions = 1u << TET_CONDITION_BOTH,
                                           .pairings = 7,
                                           .n = N,
                                           .ascending = given_asc,
                                           .descending = given_desc};
    struct tet_protocol *protocol;
    size_t n;
    const struct tet_protocol_row *rows = run_protocol(t, &plan, &protocol, &n),
                                  *row = row_of(rows, n, TET_CONDITION_BOTH, TET_W);
    assert_true(there > 30 && there < 9 * 12);
    assert_int_equal(row->n, there);
    assert_int_equal(row->stimulated, hit);
    assert_true(row->other_mean_abs == 0.0 && row->stimulated_mean_abs > 1e-4);
    near("sparse", "unchanged", row->unchanged, (double)(there - hit) / (double)there);
    tet_protocol_destroy(protocol);
    tet_trainer_destroy(t);
}

static void kernels_agree(void **state)
{
    (void)state;
    static struct tet_protocol_row first[TET_PROTOCOL_ROWS];
    make_data(&data, 55, 20, 0, 12, 4, true);
    for (int rule = 0; rule < TET_RULES; rule++) {
        struct tet_plan p = protocol_plan((enum tet_rule_name)rule, TET_TANH, true);
        p.momentum = 0.5f;
        const struct tet_protocol_plan plan = {.layer = 1,
                                               .conditions = (1u << TET_CONDITIONS_COUNT) - 1,
                                               .pairings = 9,
                                               .n = 21,
                                               .sd = 1.0f};
        for (int scalar = 0; scalar < 2; scalar++) {
            if (scalar)
                setenv("TETRAD_ISA", "scalar", 1);
            struct tet_trainer *t = make(&p, &data, NULL);
            struct tet_protocol *protocol;
            size_t n;
            const struct tet_protocol_row *rows = run_protocol(t, &plan, &protocol, &n);
            assert_true(n >= TET_CONDITIONS_COUNT);
            if (scalar)
                assert_true(same_rows(first, rows, n));
            memcpy(first, rows, n * sizeof *rows);
            tet_protocol_destroy(protocol);
            tet_trainer_destroy(t);
            unsetenv("TETRAD_ISA");
        }
    }
}

/* ---- ends ---- */

static void diverging(void **state)
{
    (void)state;
    make_data(&data, 56, 20, 0, 12, 4, true);
    struct tet_plan p = protocol_plan(TET_RULE_SAL, TET_IDENTITY, true);
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].lr = 1e10f;
    struct tet_trainer *t = make(&p, &data, NULL);
    const struct tet_protocol_plan plan = {
        .layer = 1, .conditions = 1u << TET_CONDITION_BOTH, .pairings = 9, .n = 3, .sd = 1.0f};
    struct tet_protocol *protocol = NULL;
    assert_int_equal(tet_protocol_create(&protocol, &plan, t, NULL), TET_OK);
    enum tet_event event = TET_STEPPED;
    while (event == TET_STEPPED)
        event = tet_protocol_step(protocol);
    assert_int_equal(event, TET_DIVERGED);
    assert_int_equal(tet_protocol_step(protocol), TET_DIVERGED);
    tet_protocol_destroy(protocol);
    tet_trainer_destroy(t);
    tet_protocol_destroy(NULL);
}

static void plans_that_are_refused(void **state)
{
    (void)state;
    make_data(&data, 57, 20, 0, 2 * 6 * 5, 4, true);
    make_images(&data, 2, 6, 5);
    struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 20, 5, 0.1f);
    add_convolution(&p, 3, 3, TET_RELU, 3, 1, 0);
    add_layer(&p, 9, 9, TET_TANH);
    struct tet_trainer *t = make(&p, &data, NULL);
    const struct tet_protocol_plan good = {
        .layer = 2, .conditions = 1u << TET_CONDITION_BOTH, .pairings = 2, .n = 3, .sd = 1.0f};
    struct tet_protocol_plan bad[9];
    for (int i = 0; i < 9; i++)
        bad[i] = good;
    bad[0].layer = 0;
    bad[1].layer = 1; // a convolution
    bad[2].layer = 3;
    bad[3].pairings = 0;
    bad[4].n = 0;
    bad[5].n = TET_PROTOCOL_PATTERNS + 1;
    bad[6].sd = NAN;
    bad[7].conditions = 1u << TET_CONDITIONS_COUNT;
    bad[8].ascending = given_asc;
    struct tet_protocol *protocol = NULL;
    for (int i = 0; i < 9; i++) {
        struct tet_error error = {0};
        const enum tet_err err = tet_protocol_create(&protocol, &bad[i], t, &error);
        if (err != TET_BAD_DEFINITION || protocol != NULL || error.message[0] == '\0')
            fail_msg("case %d: %d %s", i, (int)err, error.message);
    }
    size_t n;
    (void)run_protocol(t, &good, &protocol, &n); // a dense layer on flattened images
    assert_int_equal(n, 8);
    assert_int_equal(tet_protocol_rows(protocol, &n)[0].n, 9 * 3 * 4 * 3);
    tet_protocol_destroy(protocol);
    tet_trainer_destroy(t);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_follow_the_rules),
        cmocka_unit_test(one_afferent_alone_changes_nothing),
        cmocka_unit_test(random_patterns_are_a_stream),
        cmocka_unit_test(silent_neurons_and_sparse_groups),
        cmocka_unit_test(kernels_agree),
        cmocka_unit_test(diverging),
        cmocka_unit_test(plans_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
