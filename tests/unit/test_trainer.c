// SPDX-License-Identifier: Apache-2.0
/*
 * The trainer against circuit.md: a naive network in double, written here from the equations, takes
 * the same initial weights and the same examples, and loss, telemetry, evaluation and weights are
 * compared after every step. Then what a run promises: the same bits whatever the instruction set
 * and however often it was saved; order, schedules, standardising, parts, divergence, memory.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <tetrad/trainer.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- allocations, counted ---- */

static struct {
    bool on;
    uint64_t calls, bytes, frees;
    uint64_t fail_at; // the call that fails, from 1; 0: none
} heap;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTED_HEAP 1

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_memalign(size_t alignment, size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void __libc_free(void *p);

static bool refused(size_t n)
{
    if (!heap.on)
        return false;
    heap.calls++;
    heap.bytes += n;
    return heap.calls == heap.fail_at;
}

void *malloc(size_t n)
{
    return refused(n) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return refused(n * size) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return refused(n) ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return refused(n) ? NULL : __libc_memalign(alignment, n);
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
    *p = refused(n) ? NULL : __libc_memalign(alignment, n);
    return *p == NULL ? 12 : 0;
}

void free(void *p)
{
    if (heap.on && p != NULL)
        heap.frees++;
    __libc_free(p);
}
#else
#define COUNTED_HEAP 0
#endif

/* ---- random values ---- */

static uint64_t draws;

static uint64_t draw(void) // splitmix64
{
    uint64_t z = 0x9E3779B97F4A7C15u * ++draws;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static float uniform(void) // [-1, 1)
{
    return (float)(int32_t)(draw() >> 32) * 0x1p-31f;
}

/* ---- datasets ---- */

enum { CAPACITY = 1 << 16 };

struct data {
    struct tet_dataset set;
    float x[CAPACITY], test_x[CAPACITY];
    float t[CAPACITY], test_t[CAPACITY];
    uint8_t bytes[CAPACITY];
    int32_t labels[1024], test_labels[1024];
};

static void fill_part(float *x, float *t, int32_t *labels, uint32_t n, uint32_t inputs,
                      uint32_t outputs)
{
    for (size_t i = 0; i < (size_t)n * inputs; i++)
        x[i] = uniform() * 1.7f;
    for (size_t i = 0; i < (size_t)n * outputs; i++)
        t[i] = uniform();
    for (size_t i = 0; i < n; i++)
        labels[i] = (int32_t)(draw() % outputs);
}

/* Random float examples; with labels or targets. */
static void make_data(struct data *d, uint64_t from, uint32_t n, uint32_t n_test, uint32_t inputs,
                      uint32_t outputs, bool labelled)
{
    draws = from << 32;
    const uint32_t most = n > n_test ? n : n_test;
    assert_true(most * inputs <= CAPACITY && most * outputs <= CAPACITY && most <= 1024);
    fill_part(d->x, d->t, d->labels, n, inputs, outputs);
    fill_part(d->test_x, d->test_t, d->test_labels, n_test, inputs, outputs);
    d->set = (struct tet_dataset){
        .shape = {inputs, outputs},
        .channels = 1,
        .rows = 1,
        .columns = inputs,
        .train = {n, NULL, d->x, labelled ? d->labels : NULL, labelled ? NULL : d->t},
    };
    if (n_test > 0)
        d->set.test = (struct tet_examples){
            n_test, NULL, d->test_x, labelled ? d->test_labels : NULL, labelled ? NULL : d->test_t};
}

/* ---- plans ---- */

static void add_layer(struct tet_plan *p, uint32_t units, uint32_t descending,
                      enum tet_activation activation)
{
    p->hidden[p->n_hidden++] = (struct tet_layer_plan){units, descending, activation};
}

/* No hidden layer yet; trains on all of n_train in the dataset's order. */
static struct tet_plan make_plan(enum tet_rule_name rule, enum tet_loss loss, uint32_t n_train,
                                 uint32_t batch, float lr)
{
    struct tet_plan p = {.loss = loss,
                         .rule = rule,
                         .gate = true,
                         .schedule = {.factor = 1.0f},
                         .epochs = 1,
                         .batch = batch,
                         .seed = 7,
                         .n_train = n_train};
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g] = (struct tet_group_plan){
            .lr = lr, .scale = g == TET_V || g == TET_U ? 0.5f : 1.0f, .plastic = true};
    return p;
}

/* ---- what a trainer reports and holds ---- */

struct log {
    size_t n;
    struct tet_record record[1 << 15];
};

static void keep(void *context, const struct tet_record *record)
{
    struct log *log = context;
    assert_true(log->n < COUNT(log->record));
    log->record[log->n++] = *record;
}

static bool find(const struct log *log, uint64_t step, enum tet_series series, uint32_t layer,
                 double *value)
{
    for (size_t i = log->n; i-- > 0;) {
        const struct tet_record *r = &log->record[i];
        if (r->step == step && r->series == series && r->layer == layer) {
            *value = r->value;
            return true;
        }
    }
    return false;
}

static struct tet_trainer *make(const struct tet_plan *plan, const struct data *data,
                                struct log *log)
{
    struct tet_trainer *t = NULL;
    struct tet_error error = {0};
    if (log != NULL)
        log->n = 0;
    if (tet_trainer_create(&t, plan, &data->set, log != NULL ? keep : NULL, log, &error) != TET_OK)
        fail_msg("no trainer: %s", error.message);
    return t;
}

static uint32_t index_of(const struct tet_trainer *t, const char *name)
{
    struct tet_tensor tensor;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        tet_trainer_tensor(t, i, &tensor);
        if (strcmp(tensor.name, name) == 0)
            return i;
    }
    fail_msg("no tensor %s", name);
    return 0;
}

/* All tensors one after the other, to be freed. */
static float *state_of(const struct tet_trainer *t, uint64_t *n)
{
    struct tet_tensor tensor;
    uint64_t total = 0;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        tet_trainer_tensor(t, i, &tensor);
        total += tensor.n;
    }
    float *values = malloc(total * sizeof *values), *at = values;
    assert_non_null(values);
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++, at += tensor.n) {
        tet_trainer_tensor(t, i, &tensor);
        tet_trainer_get(t, i, at);
    }
    *n = total;
    return values;
}

static void set_state(struct tet_trainer *t, const float *values)
{
    struct tet_tensor tensor;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++, values += tensor.n) {
        tet_trainer_tensor(t, i, &tensor);
        tet_trainer_set(t, i, values);
    }
}

static void same_state(const char *what, const struct tet_trainer *t, const float *expected,
                       uint64_t n)
{
    uint64_t got_n;
    float *got = state_of(t, &got_n);
    assert_int_equal(got_n, n);
    for (uint64_t i = 0; i < n; i++)
        if (memcmp(got + i, expected + i, sizeof *got) != 0)
            fail_msg("%s: value %llu: got %a, expected %a", what, (unsigned long long)i,
                     (double)got[i], (double)expected[i]);
    free(got);
}

static bool same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void same_records(const char *what, const struct tet_record *got,
                         const struct tet_record *expected, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (got[i].step != expected[i].step || got[i].series != expected[i].series ||
            got[i].layer != expected[i].layer || !same_double(got[i].value, expected[i].value))
            fail_msg("%s: record %zu: step %llu series %d layer %u %.17g, expected step %llu "
                     "series %d layer %u %.17g",
                     what, i, (unsigned long long)got[i].step, (int)got[i].series, got[i].layer,
                     got[i].value, (unsigned long long)expected[i].step, (int)expected[i].series,
                     expected[i].layer, expected[i].value);
}

static enum tet_event run(struct tet_trainer *t)
{
    enum tet_event event;
    do
        event = tet_trainer_step(t);
    while (event == TET_STEPPED || event == TET_EPOCH);
    return event;
}

/* ---- the naive network ---- */

enum { LAYERS = 9, WIDTH = 140, BATCH = 24 };

/* Matrices (rows, columns) with row stride WIDTH. */
typedef double matrix[WIDTH * WIDTH];
typedef double activity[BATCH * WIDTH];

static struct {
    struct tet_plan plan;
    uint32_t L, d[LAYERS], e[LAYERS];
    matrix p[TET_GROUPS][LAYERS], v[TET_GROUPS][LAYERS];
    double b[LAYERS][WIDTH];
    activity z[LAYERS], x[LAYERS], g[LAYERS], s[LAYERS], m[LAYERS], u[LAYERS], bp[LAYERS];
} net;

static matrix left, right; // of telemetry

static void size_of(int g, uint32_t l, uint32_t *rows, uint32_t *columns)
{
    *rows = g == TET_W || g == TET_V ? net.d[l] : g == TET_B ? net.e[l - 1] : net.e[l];
    *columns = g == TET_W ? net.d[l - 1] : g == TET_U ? net.d[l] : net.e[l];
}

static bool has(int g, uint32_t l)
{
    const enum tet_rule_name rule = net.plan.rule;
    return g == TET_W   ? l >= 1 && l <= net.L
           : g == TET_B ? rule != TET_RULE_BP && l >= 2 && l <= net.L
                        : rule == TET_RULE_SAL && l >= 1 && l < net.L;
}

/* Takes the trainer's weights over. */
static void take_over(const struct tet_trainer *t, const struct tet_plan *plan,
                      const struct data *data)
{
    memset(&net, 0, sizeof net);
    net.plan = *plan;
    net.L = plan->n_hidden + 1;
    net.d[0] = data->set.shape.inputs;
    for (uint32_t l = 1; l < net.L; l++) {
        net.d[l] = plan->hidden[l - 1].units;
        net.e[l] = plan->hidden[l - 1].descending_units;
    }
    net.d[net.L] = net.e[net.L] = data->set.shape.outputs;
    uint32_t met = 0;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        struct tet_tensor tensor;
        static float values[WIDTH * WIDTH];
        tet_trainer_tensor(t, i, &tensor);
        assert_true(tensor.n <= COUNT(values));
        tet_trainer_get(t, i, values);
        if (tensor.velocity) {
            for (uint64_t k = 0; k < tensor.n; k++)
                assert_true(values[k] == 0.0f);
            continue;
        }
        const uint32_t l = (uint32_t)atoi(tensor.name + 1);
        const char *kind = strchr("WBVUb", tensor.name[0]);
        assert_non_null(kind);
        const int g = (int)(kind - strchr("WBVUb", 'W'));
        if (tensor.name[0] == 'b') {
            assert_int_equal(tensor.rank, 1);
            assert_int_equal(tensor.n, net.d[l]);
            for (uint32_t k = 0; k < net.d[l]; k++)
                net.b[l][k] = values[k];
            continue;
        }
        uint32_t rows, columns;
        size_of(g, l, &rows, &columns);
        assert_true(has(g, l));
        assert_int_equal(tensor.rank, 2);
        assert_int_equal(tensor.shape[0], rows);
        assert_int_equal(tensor.shape[1], columns);
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t c = 0; c < columns; c++)
                net.p[g][l][r * WIDTH + c] = values[r * columns + c];
        met++;
    }
    for (int g = 0; g < TET_GROUPS; g++)
        for (uint32_t l = 0; l <= net.L; l++)
            met -= has(g, l);
    assert_int_equal(met, 0);
}

/* y (n, rows) = x (n, columns) P^T, or with `transposed` y (n, columns) = x (n, rows) P */
static void times(uint32_t n, const double *p, uint32_t rows, uint32_t columns, bool transposed,
                  const double *x, double *y)
{
    const uint32_t outs = transposed ? columns : rows, ins = transposed ? rows : columns;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t o = 0; o < outs; o++) {
            double sum = 0.0;
            for (uint32_t k = 0; k < ins; k++)
                sum += x[i * WIDTH + k] * (transposed ? p[k * WIDTH + o] : p[o * WIDTH + k]);
            y[i * WIDTH + o] = sum;
        }
}

static enum tet_activation phi(uint32_t l)
{
    return l < net.L ? net.plan.hidden[l - 1].activation : TET_IDENTITY;
}

static void ascend(uint32_t n)
{
    for (uint32_t l = 1; l <= net.L; l++) {
        times(n, net.p[TET_W][l], net.d[l], net.d[l - 1], false, net.x[l - 1], net.z[l]);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t c = 0; c < net.d[l]; c++) {
                const uint32_t at = i * WIDTH + c;
                const double z = net.z[l][at] += net.b[l][c];
                const double h = tanh(z);
                net.x[l][at] = phi(l) == TET_RELU ? fmax(z, 0.0) : phi(l) == TET_TANH ? h : z;
                net.g[l][at] = phi(l) == TET_RELU ? z > 0.0 : phi(l) == TET_TANH ? 1.0 - h * h : 1;
            }
    }
}

/* Sets s_L; sums the loss of n examples, first.. of a part; counts the right ones. */
static double judge(uint32_t n, const struct tet_examples *part, uint32_t first, uint64_t *correct)
{
    const uint32_t L = net.L, d = net.d[L];
    double loss = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        const double *z = net.z[L] + i * WIDTH;
        double *s = net.s[L] + i * WIDTH, sum = 0.0;
        uint32_t best = 0;
        for (uint32_t c = 1; c < d; c++)
            best = z[c] > z[best] ? c : best;
        for (uint32_t c = 0; c < d; c++)
            sum += exp(z[c] - z[best]);
        const uint32_t label = part->labels != NULL ? (uint32_t)part->labels[first + i] : d;
        *correct += best == label;
        for (uint32_t c = 0; c < d; c++) {
            const double t =
                part->labels != NULL ? c == label : (double)part->targets[(first + i) * d + c];
            s[c] = t - (net.plan.loss == TET_MSE ? z[c] : exp(z[c] - z[best]) / sum);
            if (net.plan.loss == TET_MSE)
                loss += s[c] * s[c] / 2.0;
            else if (c == label)
                loss += log(sum) - (z[c] - z[best]);
        }
    }
    return loss;
}

static void load(uint32_t n, const struct tet_examples *part, uint32_t first)
{
    assert_true(n <= BATCH);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < net.d[0]; c++)
            net.x[0][i * WIDTH + c] = part->floats[(size_t)(first + i) * net.d[0] + c];
}

static void multiply(uint32_t n, uint32_t d, const double *a, double *y) // y *= a
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < d; c++)
            y[i * WIDTH + c] *= a[i * WIDTH + c];
}

static void descend(uint32_t n)
{
    const enum tet_rule_name rule = net.plan.rule;
    const size_t size = sizeof(activity);
    memcpy(net.bp[net.L], net.s[net.L], size);
    memcpy(net.m[net.L], net.s[net.L], size);
    for (uint32_t l = net.L - 1; l >= 1; l--) {
        const uint32_t d = net.d[l], e = net.e[l], above = net.d[l + 1];
        times(n, net.p[TET_W][l + 1], above, d, true, net.bp[l + 1], net.bp[l]);
        multiply(n, d, net.g[l], net.bp[l]);
        if (rule == TET_RULE_BP) {
            memcpy(net.s[l], net.bp[l], size);
            memcpy(net.m[l], net.bp[l], size);
            continue;
        }
        times(n, net.p[TET_B][l + 1], e, net.e[l + 1], false, net.s[l + 1], net.s[l]);
        if (net.plan.gate)
            multiply(n, e, net.g[l], net.s[l]);
        if (rule == TET_RULE_SAL) {
            times(n, net.p[TET_V][l], d, e, false, net.s[l], net.m[l]);
            multiply(n, d, net.g[l], net.m[l]);
            times(n, net.p[TET_U][l], e, d, false, net.x[l], net.u[l]);
        } else {
            memcpy(net.m[l], net.s[l], size);
            if (!net.plan.gate)
                multiply(n, d, net.g[l], net.m[l]);
        }
    }
}

/* P of group g by the batch mean of a x^T, by its decay and momentum. */
static void change_one(int g, uint32_t l, uint32_t n, double rate, const double *a, const double *x)
{
    const struct tet_group_plan *plan = &net.plan.group[g];
    uint32_t rows, columns;
    size_of(g, l, &rows, &columns);
    for (uint32_t r = 0; r < rows && plan->plastic; r++)
        for (uint32_t c = 0; c < columns; c++) {
            double sum = 0.0;
            for (uint32_t i = 0; i < n; i++)
                sum += a[i * WIDTH + r] * x[i * WIDTH + c];
            double *p = &net.p[g][l][r * WIDTH + c], *v = &net.v[g][l][r * WIDTH + c];
            *v = (double)net.plan.momentum * *v + sum / n - (double)plan->decay * *p;
            *p += (double)plan->lr * rate * *v;
        }
}

static void change(uint32_t n, double rate)
{
    const enum tet_rule_name rule = net.plan.rule;
    for (uint32_t l = 1; l <= net.L; l++) {
        change_one(TET_W, l, n, rate, net.m[l], net.x[l - 1]);
        for (uint32_t r = 0; r < net.d[l] && net.plan.group[TET_W].plastic; r++)
            for (uint32_t i = 0; i < n; i++)
                net.b[l][r] +=
                    (double)net.plan.group[TET_W].lr * rate * net.m[l][i * WIDTH + r] / n;
        if (rule == TET_RULE_KP && l >= 2)
            change_one(TET_B, l, n, rate, net.x[l - 1], net.m[l]);
        if (rule == TET_RULE_SAL && l < net.L) {
            change_one(TET_V, l, n, rate, net.x[l], net.s[l]);
            change_one(TET_U, l, n, rate, net.s[l], net.x[l]);
            change_one(TET_B, l + 1, n, rate, net.u[l], net.s[l + 1]);
        }
    }
}

static double cosine(const double *a, const double *b, uint32_t rows, uint32_t columns)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            const uint32_t i = r * WIDTH + c;
            ab += a[i] * b[i];
            aa += a[i] * a[i];
            bb += b[i] * b[i];
        }
    return aa * bb == 0.0 ? 0.0 : ab / sqrt(aa * bb);
}

static double frobenius(int g, uint32_t l)
{
    uint32_t rows, columns;
    double sum = 0.0;
    size_of(g, l, &rows, &columns);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++)
            sum += net.p[g][l][r * WIDTH + c] * net.p[g][l][r * WIDTH + c];
    return sqrt(sum);
}

/* out (rows, columns) = a b, inner sum over k; each may be taken transposed. */
static void product(uint32_t rows, uint32_t inner, uint32_t columns, const double *a, bool a_t,
                    const double *b, bool b_t, double *out)
{
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            double sum = 0.0;
            for (uint32_t k = 0; k < inner; k++)
                sum += (a_t ? a[k * WIDTH + r] : a[r * WIDTH + k]) *
                       (b_t ? b[c * WIDTH + k] : b[k * WIDTH + c]);
            out[r * WIDTH + c] = sum;
        }
}

static double feedback_cosine(uint32_t l)
{
    const double *w = net.p[TET_W][l + 1], *b = net.p[TET_B][l + 1];
    const uint32_t d = net.d[l], above = net.d[l + 1], e = net.e[l + 1];
    if (net.plan.rule != TET_RULE_SAL) {
        for (uint32_t r = 0; r < d; r++)
            for (uint32_t c = 0; c < above; c++)
                right[r * WIDTH + c] = w[c * WIDTH + r];
        return cosine(b, right, d, above);
    }
    static matrix one; // V_L
    for (uint32_t i = 0; i < above; i++)
        one[i * WIDTH + i] = 1.0;
    product(d, net.e[l], e, net.p[TET_V][l], false, b, false, left);
    product(d, above, e, w, true, l + 1 < net.L ? net.p[TET_V][l + 1] : one, false, right);
    return cosine(left, right, d, e);
}

static double gram_cosine(int g, uint32_t l, int h, uint32_t m)
{
    uint32_t rows, columns, h_rows, h_columns;
    size_of(g, l, &rows, &columns);
    size_of(h, m, &h_rows, &h_columns);
    assert_int_equal(rows, h_rows);
    product(rows, columns, rows, net.p[g][l], false, net.p[g][l], true, left);
    product(rows, h_columns, rows, net.p[h][m], false, net.p[h][m], true, right);
    return cosine(left, right, rows, rows);
}

/* ---- comparing the two ---- */

static void close_to(const char *what, uint64_t step, uint32_t l, double got, double expected,
                     double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("%s, step %llu, layer %u: got %.9g, expected %.9g, allowed %.3g apart", what,
                 (unsigned long long)step, l, got, expected, tolerance);
}

static void check_record(const struct log *log, uint64_t step, enum tet_series series, uint32_t l,
                         double expected, double tolerance)
{
    char name[TET_SERIES_NAME];
    double got = NAN;
    tet_series_text(series, l, name);
    if (!find(log, step, series, l, &got))
        fail_msg("step %llu: no record %s", (unsigned long long)step, name);
    close_to(name, step, l, got, expected, tolerance);
}

/* Returns how many records a step's telemetry has. */
static size_t check_telemetry(const struct log *log, uint64_t step, uint32_t n)
{
    size_t count = 0;
    for (uint32_t l = 1; l < net.L; l++) {
        check_record(log, step, TET_SERIES_ALIGNMENT_MODULATION, l,
                     cosine(net.m[l], net.bp[l], n, net.d[l]), 1e-4);
        count++;
        if (has(TET_B, l + 1)) {
            check_record(log, step, TET_SERIES_ALIGNMENT_FEEDBACK, l, feedback_cosine(l), 1e-4);
            count++;
        }
        if (has(TET_V, l)) {
            check_record(log, step, TET_SERIES_ALIGNMENT_LATERAL, l,
                         gram_cosine(TET_W, l, TET_V, l), 1e-4);
            check_record(log, step, TET_SERIES_ALIGNMENT_LATERAL_DESCENDING, l,
                         gram_cosine(TET_B, l + 1, TET_U, l), 1e-4);
            count += 2;
        }
    }
    for (int g = 0; g < TET_GROUPS; g++)
        for (uint32_t l = 1; l <= net.L; l++)
            if (has(g, l)) {
                const double norm = frobenius(g, l), ratio = norm / frobenius(TET_W, l);
                check_record(log, step, (enum tet_series)(TET_SERIES_NORM_W + g), l, norm,
                             1e-4 * norm);
                if (g == TET_B)
                    check_record(log, step, TET_SERIES_NORM_RATIO, l, ratio, 1e-4 * ratio);
                count += g == TET_B ? 2 : 1;
            }
    return count;
}

/* Largest difference of any array to the naive one, as a share of the array's largest value. */
static void check_weights(const char *what, const struct tet_trainer *t, uint64_t step,
                          double allowed)
{
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        struct tet_tensor tensor;
        static float values[WIDTH * WIDTH];
        tet_trainer_tensor(t, i, &tensor);
        tet_trainer_get(t, i, values);
        const char *name = tensor.name + (tensor.velocity ? strlen("velocity/") : 0);
        const uint32_t l = (uint32_t)atoi(name + 1);
        const int g = (int)(strchr("WBVUb", name[0]) - strchr("WBVUb", 'W'));
        const uint32_t columns = tensor.rank == 2 ? tensor.shape[1] : 1;
        double largest = 0.0, apart = 0.0;
        uint64_t worst = 0;
        for (uint64_t k = 0; k < tensor.n; k++) {
            const uint64_t at = k / columns * WIDTH + k % columns;
            const double expected = tensor.rank == 1  ? net.b[l][k]
                                    : tensor.velocity ? net.v[g][l][at]
                                                      : net.p[g][l][at];
            largest = fmax(largest, fabs(expected));
            if (!(fabs(values[k] - expected) <= apart)) {
                apart = fabs(values[k] - expected);
                worst = k;
            }
        }
        if (!(apart <= allowed * largest))
            fail_msg("%s, step %llu: %s[%llu] is %.9g, apart by %.3g of %.3g", what,
                     (unsigned long long)step, tensor.name, (unsigned long long)worst,
                     (double)values[worst], apart, largest);
    }
}

static void check_part(const struct log *log, uint64_t step, const struct tet_examples *part,
                       uint32_t first, uint32_t n, enum tet_series series)
{
    double loss = 0.0, value;
    uint64_t correct = 0;
    if (n == 0) {
        assert_false(find(log, step, series, 0, &value));
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        load(1, part, first + i);
        ascend(1);
        loss += judge(1, part, first + i, &correct);
    }
    check_record(log, step, series, 0, loss / n, 1e-4 * (1.0 + loss / n));
    if (part->labels != NULL)
        check_record(log, step, (enum tet_series)(series + 1), 0, (double)correct / n, 1e-9);
    else
        assert_false(find(log, step, (enum tet_series)(series + 1), 0, &value));
}

/* Follows a trainer with the naive network to its end, through everything that it reports. */
static void follow(const char *what, const struct tet_plan *plan, const struct data *data)
{
    static struct log log;
    struct tet_trainer *t = make(plan, data, &log);
    take_over(t, plan, data);
    const struct tet_examples *train = &data->set.train;
    uint64_t step = 0;
    size_t records = 0;
    bool ended = false;
    for (uint32_t epoch = 0; epoch < plan->epochs && !ended; epoch++) {
        double sum = 0.0;
        uint64_t correct = 0;
        uint32_t n, first = 0;
        for (; first < plan->n_train && !ended; first += n) {
            n = plan->n_train - first < plan->batch ? plan->n_train - first : plan->batch;
            load(n, train, first);
            ascend(n);
            const double loss = judge(n, train, first, &correct);
            descend(n);
            assert_int_equal(tet_trainer_step(t), TET_STEPPED);
            step++;
            sum += loss;
            close_to(what, step, 0, tet_trainer_loss(t), loss / n, 1e-4 * (1.0 + loss / n));
            if (plan->record_every > 0 && (step == 1 || step % plan->record_every == 0))
                records += check_telemetry(&log, step, n);
            assert_int_equal(log.n, records);
            change(n, tet_plan_rate(plan, epoch));
            check_weights(what, t, step, 1e-4);
            ended = step == tet_plan_steps(plan);
        }
        const uint32_t seen = first < plan->n_train ? first : plan->n_train;
        enum tet_event event;
        while ((event = tet_trainer_step(t)) == TET_STEPPED)
            ;
        assert_int_equal(event, ended ? TET_FINISHED : TET_EPOCH);
        check_record(&log, step, TET_SERIES_TRAIN_LOSS, 0, sum / seen, 1e-4 * (1.0 + sum / seen));
        if (train->labels != NULL)
            check_record(&log, step, TET_SERIES_TRAIN_ACCURACY, 0, (double)correct / seen, 1e-9);
        check_part(&log, step, train, plan->n_train, plan->n_validation,
                   TET_SERIES_VALIDATION_LOSS);
        const struct tet_examples *test = data->set.test.n > 0 ? &data->set.test : train;
        check_part(&log, step, test, test == train ? train->n - plan->n_test : 0, plan->n_test,
                   TET_SERIES_TEST_LOSS);
        records = log.n;
    }
    assert_int_equal(step, tet_plan_steps(plan));
    assert_int_equal(tet_trainer_cursor(t).step, step);
    assert_int_equal(tet_trainer_cursor(t).records, log.n);
    assert_int_equal(tet_trainer_step(t), TET_FINISHED);
    check_weights(what, t, step, 1e-4);
    tet_trainer_destroy(t);
}

/* ---- the rules ---- */

static struct data data;

/* 23 examples in batches of 6: the last has 5; 6 epochs of 4 steps. */
static struct tet_plan small_plan(enum tet_rule_name rule, enum tet_loss loss,
                                  enum tet_activation activation, float momentum)
{
    struct tet_plan p = make_plan(rule, loss, 23, 6, 0.05f);
    add_layer(&p, 9, 9, activation);
    add_layer(&p, 7, 7, activation);
    p.epochs = 6;
    p.schedule = (struct tet_schedule_plan){TET_SCHEDULE_STEP, 2, {2, 4}, 0.5f};
    p.momentum = momentum;
    p.n_validation = 8;
    p.n_test = 9;
    p.record_every = 1;
    p.record_alignment = true;
    for (int g = 0; g < TET_GROUPS; g++) {
        p.group[g].decay = 0.01f + 0.02f * (float)g;
        p.group[g].lr = (loss == TET_MSE ? 0.4f : 1.0f) * (0.05f - 0.01f * (float)g);
    }
    return p;
}

static void rules_follow_their_equations(void **state)
{
    (void)state;
    static const char *const activations[] = {"relu", "tanh", "identity"};
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int phi_ = TET_RELU; phi_ <= TET_IDENTITY; phi_++)
            for (int loss = TET_CROSS_ENTROPY; loss <= TET_MSE; loss++)
                for (int variant = 0; variant < 4; variant++) {
                    const bool gate = variant % 2 == 0, labelled = variant < 2 || loss == 0;
                    if (!gate && !tet_rule_info((enum tet_rule_name)rule)->takes_gate)
                        continue;
                    char what[100];
                    snprintf(what, sizeof what, "%s, %s, %s, gate %d, variant %d",
                             tet_rule_info((enum tet_rule_name)rule)->name, activations[phi_],
                             loss == TET_MSE ? "mse" : "cross_entropy", gate, variant);
                    struct tet_plan p =
                        small_plan((enum tet_rule_name)rule, (enum tet_loss)loss,
                                   (enum tet_activation)phi_, variant < 2 ? 0.0f : 0.5f);
                    p.gate = gate;
                    make_data(&data, 1 + (uint64_t)variant, 31, 11, 12, 4, labelled);
                    follow(what, &p, &data);
                }
}

static void unequal_descending_widths(void **state)
{
    (void)state;
    for (int phi_ = TET_RELU; phi_ <= TET_TANH; phi_++)
        for (int momentum = 0; momentum < 2; momentum++) {
            struct tet_plan p = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY,
                                           (enum tet_activation)phi_, momentum ? 0.6f : 0.0f);
            p.gate = false;
            p.hidden[0].descending_units = 4;
            p.hidden[1].descending_units = 19;
            make_data(&data, 11, 31, 11, 12, 4, true);
            follow("unequal descending widths", &p, &data);
        }
}

/* Wider than a panel in every place, so that telemetry goes by several blocks. */
static void wide_network(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int variant = 0; variant < 2; variant++) {
            struct tet_plan p =
                make_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 20, 10, 0.02f);
            const bool other = rule == TET_RULE_SAL && variant == 1;
            add_layer(&p, 70, other ? 131 : 70, TET_TANH);
            add_layer(&p, 129, other ? 66 : 129, variant == 0 ? TET_RELU : TET_TANH);
            p.gate = !other;
            p.record_every = 2;
            p.record_alignment = true;
            p.epochs = 2;
            make_data(&data, 12, 20, 0, 33, variant == 0 ? 67 : 5, true);
            follow("wide", &p, &data);
        }
}

static void deep_and_flat_networks(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (uint32_t depth = 0; depth <= 7; depth += 7) {
            struct tet_plan p =
                make_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 23, 6, 0.03f);
            for (uint32_t l = 0; l < depth; l++)
                add_layer(&p, 8 + l, 8 + l, l % 2 ? TET_RELU : TET_TANH);
            p.epochs = 6;
            p.record_every = 3;
            p.record_alignment = true;
            p.momentum = 0.3f;
            make_data(&data, 13, 23, 0, 12, 4, true);
            follow(depth == 0 ? "no hidden layer" : "deep", &p, &data);
        }
}

static void frozen_groups(void **state)
{
    (void)state;
    for (unsigned frozen = 1; frozen < 16; frozen++) {
        struct tet_plan p = small_plan(TET_RULE_SAL, TET_MSE, TET_TANH, frozen % 2 ? 0.0f : 0.5f);
        for (unsigned g = 0; g < TET_GROUPS; g++)
            p.group[g].plastic = !(frozen >> g & 1);
        make_data(&data, 14, 31, 11, 12, 4, false);
        follow("frozen", &p, &data);

        struct tet_trainer *t = make(&p, &data, NULL), *start = make(&p, &data, NULL);
        assert_int_equal(run(t), TET_FINISHED);
        for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
            struct tet_tensor tensor;
            float before[200], after[200];
            tet_trainer_tensor(t, i, &tensor);
            tet_trainer_get(t, i, after);
            tet_trainer_get(start, i, before);
            const char group = tensor.velocity ? tensor.name[9] : tensor.name[0];
            const unsigned g = (unsigned)(strchr("WBVUb", group) - strchr("WBVUb", 'W')) % 4;
            const bool same = memcmp(before, after, tensor.n * sizeof *after) == 0;
            if (same != (frozen >> g & 1))
                fail_msg("%s: frozen groups %u, changed: %d", tensor.name, frozen, !same);
            assert_false(tensor.velocity && (frozen >> g & 1));
        }
        tet_trainer_destroy(t);
        tet_trainer_destroy(start);
    }
}

/* bp's change of every weight is the negative gradient of the mean loss, by central differences. */
static void bp_is_the_gradient(void **state)
{
    (void)state;
    enum { N = 5 };
    for (int phi_ = TET_RELU; phi_ <= TET_IDENTITY; phi_++)
        for (int loss = TET_CROSS_ENTROPY; loss <= TET_MSE; loss++) {
            struct tet_plan p = make_plan(TET_RULE_BP, (enum tet_loss)loss, N, N, 1.0f);
            add_layer(&p, 6, 6, (enum tet_activation)phi_);
            add_layer(&p, 5, 5, (enum tet_activation)phi_);
            make_data(&data, 15, N, 0, 7, 3, loss == TET_CROSS_ENTROPY);
            struct tet_trainer *t = make(&p, &data, NULL);
            take_over(t, &p, &data);
            uint64_t n;
            float *before = state_of(t, &n), *after;
            assert_int_equal(tet_trainer_step(t), TET_STEPPED);
            after = state_of(t, &n);
            load(N, &data.set.train, 0);
            ascend(N);
            for (uint32_t l = 1; l < net.L && phi_ == TET_RELU; l++)
                for (uint32_t i = 0; i < N * WIDTH; i++)
                    if (i % WIDTH < net.d[l] && fabs(net.z[l][i]) < 1e-4)
                        fail_msg("too near a kink: z_%u is %g", l, net.z[l][i]);
            uint64_t at = 0, unused = 0;
            double largest = 0.0;
            for (uint64_t i = 0; i < n; i++)
                largest = fmax(largest, fabs((double)after[i] - before[i]));
            assert_true(largest > 1e-3);
            for (int kind = 0; kind < 2; kind++) // the trainer's order: all W, then all b
                for (uint32_t l = 1; l <= net.L; l++)
                    for (uint32_t r = 0; r < net.d[l]; r++)
                        for (uint32_t c = 0; c < (kind == 0 ? net.d[l - 1] : 1); c++, at++) {
                            double *w = kind == 0 ? &net.p[TET_W][l][r * WIDTH + c] : &net.b[l][r];
                            const double old = *w, h = 1e-5;
                            double value[2];
                            for (int side = 0; side < 2; side++) {
                                *w = side == 0 ? old - h : old + h;
                                ascend(N);
                                value[side] = judge(N, &data.set.train, 0, &unused) / N;
                            }
                            *w = old;
                            const double got = (double)after[at] - before[at];
                            close_to(kind == 0 ? "-dloss/dW" : "-dloss/db", r, l, got,
                                     -(value[1] - value[0]) / (2.0 * h), 2e-5 * (1.0 + largest));
                        }
            assert_int_equal(at, n);
            free(before);
            free(after);
            tet_trainer_destroy(t);
        }
}

/* Checks that a - b^T shrinks by 1 - lr decay at every step. */
static void check_pair(const struct tet_trainer *t, const char *a, const char *b, double *start,
                       uint64_t step, double factor)
{
    struct tet_tensor tensor;
    static float p[WIDTH * WIDTH], q[WIDTH * WIDTH];
    tet_trainer_tensor(t, index_of(t, a), &tensor);
    tet_trainer_get(t, index_of(t, a), p);
    tet_trainer_get(t, index_of(t, b), q);
    const uint32_t rows = tensor.shape[0], columns = tensor.shape[1];
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            const double apart = (double)p[r * columns + c] - q[c * rows + r];
            double *first = &start[r * columns + c];
            if (step == 0)
                *first = apart;
            close_to(a, step, c, apart, *first * pow(factor, (double)step), 2e-5);
        }
}

static void pairs_converge(void **state)
{
    (void)state;
    static double start[4][WIDTH * WIDTH];
    for (int rule = TET_RULE_KP; rule <= TET_RULE_SAL; rule++) {
        struct tet_plan p = make_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 40, 5, 0.05f);
        add_layer(&p, 13, 13, TET_TANH);
        add_layer(&p, 18, 18, TET_RELU);
        p.epochs = 8;
        p.shuffle = true;
        for (int g = 0; g < TET_GROUPS; g++)
            p.group[g].decay = 0.5f;
        make_data(&data, 16, 40, 0, 12, 4, true);
        struct tet_trainer *t = make(&p, &data, NULL);
        const double factor = 1.0 - (double)0.05f * (double)0.5f;
        do {
            const uint64_t step = tet_trainer_cursor(t).step;
            check_pair(t, rule == TET_RULE_KP ? "B2" : "U1", rule == TET_RULE_KP ? "W2" : "V1",
                       start[0], step, factor);
            check_pair(t, rule == TET_RULE_KP ? "B3" : "U2", rule == TET_RULE_KP ? "W3" : "V2",
                       start[1], step, factor);
        } while (tet_trainer_step(t) != TET_FINISHED);
        assert_int_equal(tet_trainer_cursor(t).step, 64);
        tet_trainer_destroy(t);
    }
}

/* With relu and V = U = I held fixed, sal is kp (circuit.md). */
static void identity_laterals(void **state)
{
    (void)state;
    make_data(&data, 17, 23, 0, 12, 4, true);
    struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 23, 6, 0.05f);
    add_layer(&p, 65, 65, TET_RELU);
    add_layer(&p, 7, 7, TET_RELU);
    p.epochs = 5;
    for (int g = TET_V; g <= TET_U; g++) {
        p.group[g].init = TET_INIT_IDENTITY;
        p.group[g].scale = 1.0f;
        p.group[g].plastic = false;
    }
    struct tet_plan q = p;
    q.rule = TET_RULE_KP;
    struct tet_trainer *sal = make(&p, &data, NULL), *kp = make(&q, &data, NULL);
    static float a[65 * 65], b[65 * 65];
    tet_trainer_get(sal, index_of(sal, "V1"), a);
    for (int i = 0; i < 65 * 65; i++)
        assert_true(a[i] == (i % 66 == 0 ? 1.0f : 0.0f));
    assert_int_equal(run(sal), TET_FINISHED);
    assert_int_equal(run(kp), TET_FINISHED);
    for (uint32_t i = 0; i < tet_trainer_tensors(kp); i++) {
        struct tet_tensor tensor;
        tet_trainer_tensor(kp, i, &tensor);
        tet_trainer_get(kp, i, a);
        tet_trainer_get(sal, index_of(sal, tensor.name), b);
        for (uint64_t k = 0; k < tensor.n; k++)
            if (a[k] != b[k])
                fail_msg("%s[%llu]: kp %a, sal %a", tensor.name, (unsigned long long)k,
                         (double)a[k], (double)b[k]);
    }
    tet_trainer_destroy(sal);
    tet_trainer_destroy(kp);
}

/* ---- the same bits ---- */

static struct tet_plan odd_plan(enum tet_rule_name rule, int variant)
{
    struct tet_plan p = make_plan(rule, variant % 2 ? TET_MSE : TET_CROSS_ENTROPY, 61, 13, 0.03f);
    const bool other = rule == TET_RULE_SAL && variant == 2;
    add_layer(&p, 65, other ? 31 : 65, variant % 2 ? TET_TANH : TET_RELU);
    add_layer(&p, 19, other ? 70 : 19, variant == 0 ? TET_RELU : TET_TANH);
    p.gate = !other;
    p.momentum = variant == 1 ? 0.0f : 0.7f;
    p.shuffle = true;
    p.standardize = (enum tet_standardize)variant;
    p.n_validation = 9;
    p.n_test = 30;
    p.record_every = 2;
    p.record_alignment = true;
    for (int g = 0; g < TET_GROUPS; g++) {
        p.group[g].decay = 0.01f;
        p.group[g].init = (enum tet_init)(variant % 2);
    }
    return p;
}

static void every_instruction_set(void **state)
{
    (void)state;
    static const char *const isas[] = {"avx2", "avx512", "neon"};
    static struct log expected, got;
    int compared = 0;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int variant = 0; variant < 3; variant++) {
            const struct tet_plan p = odd_plan((enum tet_rule_name)rule, variant);
            make_data(&data, 18, 70, 31, 37, 11, true);
            setenv("TETRAD_ISA", "scalar", 1);
            struct tet_trainer *t = make(&p, &data, &expected);
            assert_int_equal(run(t), TET_FINISHED);
            uint64_t n;
            float *values = state_of(t, &n);
            tet_trainer_destroy(t);
            for (size_t i = 0; i < COUNT(isas); i++) {
                setenv("TETRAD_ISA", isas[i], 1);
                got.n = 0;
                if (tet_trainer_create(&t, &p, &data.set, keep, &got, NULL) != TET_OK)
                    continue; // the processor lacks it
                compared++;
                assert_int_equal(run(t), TET_FINISHED);
                same_state(isas[i], t, values, n);
                assert_int_equal(got.n, expected.n);
                same_records(isas[i], got.record, expected.record, got.n);
                tet_trainer_destroy(t);
            }
            free(values);
            unsetenv("TETRAD_ISA");
        }
    print_message("%d runs compared with scalar ones\n", compared);
}

static void bad_instruction_set(void **state)
{
    (void)state;
    struct tet_plan p = make_plan(TET_RULE_BP, TET_CROSS_ENTROPY, 5, 2, 0.1f);
    struct tet_error error = {0};
    make_data(&data, 19, 5, 0, 3, 2, true);
    struct tet_trainer *t = (void *)&p;
    setenv("TETRAD_ISA", "altivec", 1);
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error), TET_BAD_REQUEST);
    unsetenv("TETRAD_ISA");
    assert_null(t);
    assert_non_null(strstr(error.message, "altivec"));
}

/* Saves after every single call, mini-batch or piece of an evaluation, and goes on in another
 * trainer, fresh or used: after 8 calls one is in the midst of an evaluation. */
static void save_anywhere(void **state)
{
    (void)state;
    static struct log whole, first, second;
    for (int rule = 0; rule < TET_RULES; rule++) {
        struct tet_plan p = odd_plan((enum tet_rule_name)rule, rule == TET_RULE_SAL ? 2 : 0);
        p.epochs = 3;
        p.max_steps = 13; // in the midst of the third epoch
        p.schedule = (struct tet_schedule_plan){TET_SCHEDULE_STEP, 1, {1}, 0.5f};
        make_data(&data, 20, 70, 31, 37, 11, true);
        struct tet_trainer *t = make(&p, &data, &whole);
        assert_int_equal(run(t), TET_FINISHED);
        uint64_t n, m;
        float *expected = state_of(t, &n);
        const struct tet_cursor end = tet_trainer_cursor(t);
        tet_trainer_destroy(t);

        bool more = true;
        for (int calls = 0; more; calls++) {
            char what[64];
            snprintf(what, sizeof what, "%s saved after %d calls",
                     tet_rule_info((enum tet_rule_name)rule)->name, calls);
            t = make(&p, &data, &first);
            for (int i = 0; i < calls && more; i++)
                more = tet_trainer_step(t) != TET_FINISHED;
            float *saved = state_of(t, &m);
            const struct tet_cursor cursor = tet_trainer_cursor(t);
            tet_trainer_destroy(t);
            assert_int_equal(cursor.records, first.n);
            same_records(what, first.record, whole.record, first.n);

            t = make(&p, &data, &second);
            for (int i = 0; i < calls % 3 * 4; i++)
                (void)tet_trainer_step(t);
            second.n = 0;
            assert_int_equal(tet_trainer_seek(t, &cursor, NULL), TET_OK);
            set_state(t, saved);
            same_state(what, t, saved, m);
            assert_true(same_double(tet_trainer_loss(t), cursor.last_loss));
            assert_int_equal(run(t), TET_FINISHED);
            same_state(what, t, expected, n);
            if (first.n + second.n != whole.n)
                fail_msg("%s: %zu + %zu records, expected %zu", what, first.n, second.n, whole.n);
            same_records(what, second.record, whole.record + first.n, second.n);
            const struct tet_cursor now = tet_trainer_cursor(t);
            assert_true(now.step == end.step && now.records == end.records &&
                        now.epoch == end.epoch && now.batch == end.batch &&
                        same_double(now.last_loss, end.last_loss));
            free(saved);
            tet_trainer_destroy(t);
        }
        free(expected);
    }
}

static void impossible_cursors(void **state)
{
    (void)state;
    struct tet_plan p = make_plan(TET_RULE_BP, TET_CROSS_ENTROPY, 10, 3, 0.1f); // 4 steps an epoch
    p.epochs = 2;
    make_data(&data, 21, 10, 0, 3, 2, true);
    const struct tet_cursor bad[] = {
        {.step = 9, .epoch = 2},             // past the end
        {.step = 8, .epoch = 3},             //
        {.step = 5, .epoch = 0, .batch = 5}, // past the epoch
        {.step = 3, .epoch = 0, .batch = 2}, // step and position do not agree
        {.step = 3, .epoch = 1, .batch = 0}, //
        {.step = 4, .epoch = 0, .batch = 3}, //
        {.step = 8, .epoch = 2, .batch = 1}, // a mini-batch after the last epoch
        {.step = 8, .epoch = UINT32_MAX, .batch = 1},
    };
    const struct tet_cursor good[] = {{0},
                                      {.step = 4, .batch = 4},
                                      {.step = 4, .epoch = 1},
                                      {.step = 8, .epoch = 1, .batch = 4},
                                      {.step = 8, .epoch = 2}};
    struct tet_trainer *t = make(&p, &data, NULL);
    for (size_t i = 0; i < COUNT(good); i++)
        assert_int_equal(tet_trainer_seek(t, &good[i], NULL), TET_OK);
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct tet_error error = {0};
        const struct tet_cursor before = tet_trainer_cursor(t);
        const enum tet_err err = tet_trainer_seek(t, &bad[i], &error);
        if (err != TET_BAD_DEFINITION)
            fail_msg("cursor %zu (step %llu, epoch %u, batch %u): got %d, expected %d", i,
                     (unsigned long long)bad[i].step, bad[i].epoch, bad[i].batch, (int)err,
                     (int)TET_BAD_DEFINITION);
        assert_true(error.message[0] != '\0');
        assert_int_equal(tet_trainer_cursor(t).step, before.step);
    }
    tet_trainer_destroy(t);
}

/* ---- order and paired randomness ---- */

/* The order in which examples are trained on: example i has the i-th input alone, so that only
 * column i of W_1 changes. */
static void order_of(const struct tet_plan *p, uint32_t n, uint32_t *order)
{
    static float before[CAPACITY], after[CAPACITY];
    make_data(&data, 22, n, 0, n, 3, true);
    for (uint32_t i = 0; i < n * n; i++)
        data.x[i] = i % (n + 1) == 0 ? 1.0f : 0.0f;
    struct tet_trainer *t = make(p, &data, NULL);
    struct tet_tensor tensor;
    tet_trainer_tensor(t, index_of(t, "W1"), &tensor);
    for (uint64_t step = 0; step < tet_plan_steps(p); step++) {
        tet_trainer_get(t, index_of(t, "W1"), before);
        do
            (void)tet_trainer_step(t);
        while (tet_trainer_cursor(t).step == step);
        tet_trainer_get(t, index_of(t, "W1"), after);
        uint32_t changed = 0;
        order[step] = n;
        for (uint32_t c = 0; c < n; c++)
            for (uint32_t r = 0; r < tensor.shape[0]; r++)
                if (before[r * n + c] != after[r * n + c]) {
                    changed += order[step] != c;
                    order[step] = c;
                }
        if (changed != 1)
            fail_msg("step %llu: %u columns changed", (unsigned long long)step, changed);
    }
    tet_trainer_destroy(t);
}

static void order(void **state)
{
    (void)state;
    enum { N = 21 };
    uint32_t seen[TET_RULES + 2][2 * N];
    for (int rule = 0; rule < TET_RULES + 2; rule++) {
        struct tet_plan p =
            make_plan((enum tet_rule_name)(rule % TET_RULES), TET_CROSS_ENTROPY, N, 1, 0.05f);
        add_layer(&p, 5, 5, TET_TANH);
        p.epochs = 2;
        p.shuffle = rule != TET_RULES;            // one run keeps the order
        p.seed = rule == TET_RULES + 1 ? 8u : 7u; // one has another seed
        order_of(&p, N, seen[rule]);
    }
    for (uint32_t i = 0; i < 2 * N; i++)
        assert_int_equal(seen[TET_RULES][i], i % N);
    for (int rule = 1; rule < TET_RULES; rule++)
        assert_memory_equal(seen[0], seen[rule], sizeof seen[0]);
    assert_memory_not_equal(seen[0], seen[TET_RULES + 1], sizeof seen[0]);
    assert_memory_not_equal(seen[0], seen[0] + N, sizeof seen[0] / 2);
    assert_memory_not_equal(seen[0], seen[TET_RULES], sizeof seen[0] / 2);
    for (uint32_t epoch = 0; epoch < 2; epoch++) {
        uint64_t met = 0;
        for (uint32_t i = 0; i < N; i++)
            met |= UINT64_C(1) << seen[0][epoch * N + i];
        assert_true(met == (UINT64_C(1) << N) - 1);
    }
}

static void rules_share_initial_weights(void **state)
{
    (void)state;
    static float a[WIDTH * WIDTH], b[WIDTH * WIDTH];
    make_data(&data, 23, 10, 0, 12, 4, true);
    struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 10, 5, 0.1f);
    add_layer(&p, 9, 9, TET_RELU);
    add_layer(&p, 8, 8, TET_TANH);
    struct tet_trainer *sal = make(&p, &data, NULL);
    for (int rule = 0; rule < TET_RULE_SAL; rule++) {
        struct tet_plan q = p;
        q.rule = (enum tet_rule_name)rule;
        struct tet_trainer *t = make(&q, &data, NULL);
        for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
            struct tet_tensor tensor;
            tet_trainer_tensor(t, i, &tensor);
            tet_trainer_get(t, i, a);
            tet_trainer_get(sal, index_of(sal, tensor.name), b);
            assert_memory_equal(a, b, tensor.n * sizeof *a);
        }
        tet_trainer_destroy(t);
    }
    p.seed++;
    struct tet_trainer *other = make(&p, &data, NULL);
    tet_trainer_get(sal, 0, a);
    tet_trainer_get(other, 0, b);
    assert_memory_not_equal(a, b, 9 * 12 * sizeof *a);
    tet_trainer_destroy(other);
    tet_trainer_destroy(sal);
}

/* Mean and spread of the initial values: of n values within 5 standard errors. */
static void initial_spread(void **state)
{
    (void)state;
    enum { D0 = 120, D1 = 110, E1 = 90, D2 = 100 };
    static float values[WIDTH * WIDTH];
    make_data(&data, 24, 2, 0, D0, D2, true);
    for (int phi_ = TET_RELU; phi_ <= TET_TANH; phi_++)
        for (int init = TET_INIT_NORMAL; init <= TET_INIT_UNIFORM; init++) {
            struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 2, 2, 0.1f);
            add_layer(&p, D1, E1, (enum tet_activation)phi_);
            p.gate = false;
            for (int g = 0; g < TET_GROUPS; g++) {
                p.group[g].init = (enum tet_init)init;
                p.group[g].scale = 0.5f + (float)g;
            }
            const bool he = phi_ == TET_RELU;
            const double w2 = sqrt(2.0 / (he ? D1 : D1 + D2));
            const struct {
                const char *name;
                double spread;
            } expected[] = {{"W1", 0.5 * sqrt(2.0 / (he ? D0 : D0 + D1))},
                            {"W2", 0.5 * w2},
                            {"B2", 1.5 * w2},
                            {"V1", 2.5 / sqrt(E1)},
                            {"U1", 3.5 / sqrt(D1)}};
            struct tet_trainer *t = make(&p, &data, NULL);
            for (size_t i = 0; i < COUNT(expected); i++) {
                struct tet_tensor tensor;
                const uint32_t at = index_of(t, expected[i].name);
                tet_trainer_tensor(t, at, &tensor);
                tet_trainer_get(t, at, values);
                double sum = 0.0, square = 0.0, largest = 0.0;
                for (uint64_t k = 0; k < tensor.n; k++) {
                    sum += values[k];
                    square += (double)values[k] * values[k];
                    largest = fmax(largest, fabs((double)values[k]));
                }
                const double n = (double)tensor.n, spread = expected[i].spread;
                close_to("mean", 0, (uint32_t)i, sum / n, 0.0, 5.0 * spread / sqrt(n));
                close_to("spread", 0, (uint32_t)i, sqrt(square / n), spread,
                         5.0 * spread / sqrt(2.0 * n));
                assert_true(init == TET_INIT_NORMAL ? largest > 3.0 * spread
                                                    : largest <= spread * sqrt(3.0) * 1.000001);
            }
            tet_trainer_destroy(t);
        }
}

/* ---- schedules ---- */

static void schedules(void **state)
{
    (void)state;
    const struct tet_schedule_plan cases[] = {
        {.type = TET_SCHEDULE_CONSTANT, .factor = 0.5f},
        {TET_SCHEDULE_STEP, 3, {1, 2, 4}, 0.5f},
        {TET_SCHEDULE_STEP, 1, {12}, 0.5f},
        {.type = TET_SCHEDULE_COSINE, .factor = 0.0f},
        {.type = TET_SCHEDULE_COSINE, .factor = 0.25f},
    };
    for (size_t s = 0; s < COUNT(cases); s++) {
        struct tet_plan p = make_plan(TET_RULE_BP, TET_MSE, 4, 4, 0.5f);
        p.schedule = cases[s];
        p.epochs = 6;
        p.group[TET_W].decay = 0.5f;
        make_data(&data, 25, 4, 0, 3, 2, false);
        memset(data.x, 0, sizeof data.x); // nothing drives W_1, it only decays
        struct tet_trainer *t = make(&p, &data, NULL);
        float before[6], after[6];
        for (uint32_t epoch = 0; epoch < p.epochs; epoch++) {
            double rate = 1.0;
            for (uint32_t i = 0; i < p.schedule.n_epochs; i++)
                rate *= p.schedule.epochs[i] <= epoch ? 0.5 : 1.0;
            if (p.schedule.type == TET_SCHEDULE_COSINE) {
                const double f = p.schedule.factor;
                rate = f + (1.0 - f) * (1.0 + cos(3.14159265358979323846 * epoch / 6.0)) / 2.0;
            }
            tet_trainer_get(t, 0, before);
            enum tet_event event;
            while ((event = tet_trainer_step(t)) == TET_STEPPED)
                ;
            assert_int_equal(event, epoch + 1 < p.epochs ? TET_EPOCH : TET_FINISHED);
            tet_trainer_get(t, 0, after);
            for (int i = 0; i < 6; i++)
                close_to("schedule", epoch, (uint32_t)s, after[i], before[i] * (1.0 - 0.25 * rate),
                         1e-6 * (double)fabsf(before[i]));
        }
        tet_trainer_destroy(t);
    }
}

static void max_steps(void **state)
{
    (void)state;
    for (uint64_t most = 1; most <= 12; most++) {
        struct tet_plan p = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
        p.epochs = 3; // of 4 steps
        p.max_steps = most;
        make_data(&data, 26, 31, 11, 12, 4, true);
        follow("max_steps", &p, &data);
    }
    struct tet_plan p = small_plan(TET_RULE_BP, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
    p.epochs = 1;
    p.max_steps = 100;
    assert_int_equal(tet_plan_steps(&p), 4);
    follow("max_steps beyond the epochs", &p, &data);
}

/* ---- examples ---- */

/* Inputs as the network sees them: with W = 0 and targets e_0, one step at rate 1 makes row 0 of
 * W_1 the input itself. Training examples one after the other. */
static void inputs_seen(struct tet_plan *p, float *seen)
{
    const uint32_t d = data.set.shape.inputs;
    const float zeros[64] = {0};
    float w[2 * 32];
    p->loss = TET_MSE;
    struct tet_trainer *t = make(p, &data, NULL);
    for (uint32_t i = 0; i < p->n_train; i++) {
        tet_trainer_set(t, 0, zeros);
        tet_trainer_set(t, 1, zeros);
        assert_int_equal(tet_trainer_step(t), TET_STEPPED);
        tet_trainer_get(t, 0, w);
        memcpy(seen + i * d, w, d * sizeof *w);
    }
    tet_trainer_destroy(t);
}

static void standardizing(void **state)
{
    (void)state;
    enum { N = 30, VALIDATION = 10, D = 19, FLAT = 5 };
    static float seen[N * D];
    for (int bytes = 0; bytes < 2; bytes++)
        for (int how = TET_STANDARDIZE_NONE; how <= TET_STANDARDIZE_FEATURE; how++) {
            make_data(&data, 27, N + VALIDATION, 0, D, 2, false);
            double value[N * D], sum[D + 1] = {0}, square[D + 1] = {0};
            for (uint32_t i = 0; i < (N + VALIDATION) * D; i++) {
                data.bytes[i] = i % D == FLAT ? 77 : (uint8_t)(draw() >> 40);
                data.x[i] = i % D == FLAT ? 3.25f : data.x[i] * 5.0f + (float)(i % D);
                if (i >= N * D) // validation examples count for nothing
                    data.x[i] *= 1000.0f;
                if (i < N * D) {
                    value[i] = bytes ? data.bytes[i] : (double)data.x[i];
                    sum[i % D] += value[i];
                    square[i % D] += value[i] * value[i];
                    sum[D] += value[i];
                    square[D] += value[i] * value[i];
                }
            }
            for (uint32_t i = 0; i < N + VALIDATION; i++) {
                data.t[2 * i] = 1.0f;
                data.t[2 * i + 1] = 0.0f;
            }
            if (bytes) {
                data.set.train.floats = NULL;
                data.set.train.bytes = data.bytes;
            }
            struct tet_plan p = make_plan(TET_RULE_BP, TET_MSE, N, 1, 1.0f);
            p.n_validation = VALIDATION;
            p.standardize = (enum tet_standardize)how;
            inputs_seen(&p, seen);
            for (uint32_t i = 0; i < N * D; i++) {
                const uint32_t c = how == TET_STANDARDIZE_ALL ? D : i % D;
                const double n = how == TET_STANDARDIZE_ALL ? N * D : N, mean = sum[c] / n;
                const double spread = sqrt(square[c] / n - mean * mean);
                double expected = (value[i] - mean) / spread;
                if (how == TET_STANDARDIZE_NONE)
                    expected = bytes ? value[i] / 255.0 : value[i];
                if (how == TET_STANDARDIZE_FEATURE && c == FLAT)
                    expected = 0.0;
                close_to(bytes ? "bytes" : "floats", i, (uint32_t)how, seen[i], expected,
                         how == TET_STANDARDIZE_NONE ? 1.2e-7 * fabs(expected) : 1e-5);
            }
        }
}

/* Bytes and floats of the same value train alike. */
static void bytes_are_values(void **state)
{
    (void)state;
    make_data(&data, 28, 30, 0, 21, 4, true);
    for (uint32_t i = 0; i < 30 * 21; i++) {
        data.bytes[i] = (uint8_t)(draw() >> 40);
        data.x[i] = data.bytes[i];
    }
    struct tet_plan p = make_plan(TET_RULE_KP, TET_CROSS_ENTROPY, 20, 6, 0.05f);
    add_layer(&p, 9, 9, TET_RELU);
    p.standardize = TET_STANDARDIZE_ALL;
    p.n_validation = 4;
    p.n_test = 6;
    static struct log logs[2];
    struct tet_trainer *t = make(&p, &data, &logs[0]);
    assert_int_equal(run(t), TET_FINISHED);
    uint64_t n;
    float *expected = state_of(t, &n);
    tet_trainer_destroy(t);
    data.set.train.floats = NULL;
    data.set.train.bytes = data.bytes;
    t = make(&p, &data, &logs[1]);
    assert_int_equal(run(t), TET_FINISHED);
    same_state("bytes", t, expected, n);
    assert_int_equal(logs[0].n, logs[1].n);
    same_records("bytes", logs[1].record, logs[0].record, logs[0].n);
    free(expected);
    tet_trainer_destroy(t);
}

static void parts(void **state)
{
    (void)state;
    struct tet_plan p = small_plan(TET_RULE_KP, TET_CROSS_ENTROPY, TET_TANH, 0.0f);
    p.epochs = 2;
    for (uint32_t n_test = 0; n_test <= 9; n_test += 3) { // from the end of the training examples
        p.n_test = n_test;
        make_data(&data, 29, 40, 0, 12, 4, true);
        follow("test part at the end", &p, &data);
    }
    const struct {
        uint32_t train, validation, test, n, n_test; // plan, then dataset
        bool fits;
    } cases[] = {
        {20, 5, 10, 25, 10, true},         {20, 5, 10, 24, 10, false},
        {20, 5, 11, 25, 10, false},        {20, 5, 10, 35, 0, true},
        {20, 5, 10, 34, 0, false},         {20, UINT32_MAX, 0, 30, 0, false},
        {20, 5, UINT32_MAX, 30, 0, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tet_error error = {0};
        struct tet_trainer *t = NULL;
        p.n_train = cases[i].train;
        p.n_validation = cases[i].validation;
        p.n_test = cases[i].test;
        make_data(&data, 30, cases[i].n, cases[i].n_test, 12, 4, true);
        const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error);
        if (err != (cases[i].fits ? TET_OK : TET_BAD_DATASET))
            fail_msg("case %zu: got %d (%s)", i, (int)err, error.message);
        assert_true((t != NULL) == cases[i].fits);
        tet_trainer_destroy(t);
    }
    make_data(&data, 31, 40, 0, 12, 4, false); // real targets
    struct tet_error error = {0};
    struct tet_trainer *t = NULL;
    p = small_plan(TET_RULE_KP, TET_CROSS_ENTROPY, TET_TANH, 0.0f);
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error), TET_BAD_DATASET);
    assert_null(t);
    p.batch = 0;
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL), TET_BAD_DEFINITION);
    assert_null(t);
}

/* ---- divergence ---- */

static void stays_diverged(struct tet_trainer *t)
{
    uint64_t n;
    float *values = state_of(t, &n);
    const struct tet_cursor before = tet_trainer_cursor(t);
    const struct tet_divergence found = *tet_trainer_divergence(t);
    for (int i = 0; i < 5; i++)
        assert_int_equal(tet_trainer_step(t), TET_DIVERGED);
    same_state("diverged", t, values, n);
    const struct tet_cursor now = tet_trainer_cursor(t);
    assert_true(now.step == before.step && now.records == before.records);
    assert_int_equal(tet_trainer_divergence(t)->step, found.step);
    assert_string_equal(tet_trainer_divergence(t)->tensor, found.tensor);
    free(values);
}

/* Trains until it diverges; returns how many mini-batches were trained, and the last loss. */
static uint64_t until_diverged(struct tet_trainer *t, double *last)
{
    enum tet_event event;
    *last = NAN;
    for (int i = 0; i < 10000; i++) {
        event = tet_trainer_step(t);
        if (event == TET_DIVERGED)
            return tet_trainer_cursor(t).step;
        assert_int_not_equal(event, TET_FINISHED);
        *last = tet_trainer_loss(t);
    }
    fail_msg("did not diverge");
    return 0;
}

static void divergence(void **state)
{
    (void)state;
    static struct log log;
    double last;
    for (int rule = 0; rule < TET_RULES; rule++) {
        struct tet_plan p = small_plan((enum tet_rule_name)rule, TET_MSE, TET_RELU, 0.5f);
        for (int g = 0; g < TET_GROUPS; g++)
            p.group[g].lr = 1e4f;
        make_data(&data, 32, 31, 11, 12, 4, true);
        struct tet_trainer *t = make(&p, &data, &log);
        assert_int_equal(tet_trainer_divergence(t)->step, 0);
        const uint64_t trained = until_diverged(t, &last);
        const struct tet_divergence *d = tet_trainer_divergence(t);
        assert_true(d->step == trained || d->step == trained + 1);
        assert_true(trained >= 1);
        assert_int_equal(d->last_step, trained);
        assert_true(isfinite(d->last_loss) && d->last_loss == last);
        stays_diverged(t);
        tet_trainer_destroy(t);
    }
}

static void divergence_of_arrays(void **state)
{
    (void)state;
    double last, unused;
    static struct log log;
    // a loss that is not a number at once: nothing was trained
    struct tet_plan p = make_plan(TET_RULE_BP, TET_MSE, 6, 2, 0.1f);
    add_layer(&p, 4, 4, TET_TANH);
    make_data(&data, 33, 6, 0, 3, 2, false);
    data.t[0] = NAN;
    struct tet_trainer *t = make(&p, &data, &log);
    assert_int_equal(tet_trainer_step(t), TET_DIVERGED);
    const struct tet_divergence *d = tet_trainer_divergence(t);
    assert_int_equal(d->step, 1);
    assert_int_equal(d->last_step, 0);
    assert_true(isnan(d->last_loss));
    assert_string_equal(d->tensor, "");
    stays_diverged(t);
    tet_trainer_destroy(t);

    // the third mini-batch's loss
    make_data(&data, 33, 6, 0, 3, 2, false);
    data.t[4 * 2] = INFINITY;
    t = make(&p, &data, &log);
    assert_int_equal(until_diverged(t, &last), 2);
    d = tet_trainer_divergence(t);
    assert_int_equal(d->step, 3);
    assert_int_equal(d->last_step, 2);
    assert_true(d->last_loss == last);
    assert_string_equal(d->tensor, "");
    tet_trainer_destroy(t);

    // an update overflows, and no further mini-batch shows it: the evaluation finds the array
    static const char *const names[] = {"W1", "b1", "W2", "b2", "B2", "V1", "U1", "velocity/V1"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct tet_plan q = small_plan(TET_RULE_SAL, TET_MSE, TET_TANH, 0.5f);
        q.n_train = 6; // one mini-batch an epoch
        q.n_validation = q.n_test = q.record_every = 0;
        make_data(&data, 34, 31, 11, 12, 4, true);
        t = make(&q, &data, &log);
        assert_int_equal(tet_trainer_step(t), TET_STEPPED);
        struct tet_tensor tensor;
        static float values[200];
        const uint32_t at = index_of(t, names[i]);
        tet_trainer_tensor(t, at, &tensor);
        tet_trainer_get(t, at, values);
        values[tensor.n - 1] = i % 2 ? INFINITY : NAN;
        tet_trainer_set(t, at, values);
        assert_int_equal(tet_trainer_step(t), TET_DIVERGED);
        d = tet_trainer_divergence(t);
        assert_int_equal(d->step, 1);
        assert_int_equal(d->last_step, 1);
        assert_string_equal(d->tensor, names[i] + (tensor.velocity ? 9 : 0));
        assert_false(find(&log, 1, TET_SERIES_TRAIN_LOSS, 0, &unused));
        stays_diverged(t);
        tet_trainer_destroy(t);
    }
}

/* ---- tensors ---- */

static void tensors(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "W1",          "W2",          "W3",          "b1",          "b2",          "b3",
        "B2",          "B3",          "V1",          "V2",          "U1",          "U2",
        "velocity/W1", "velocity/W2", "velocity/W3", "velocity/B2", "velocity/B3", "velocity/V1",
        "velocity/V2", "velocity/U1", "velocity/U2"};
    struct tet_plan p = small_plan(TET_RULE_SAL, TET_MSE, TET_TANH, 0.5f);
    p.hidden[0] = (struct tet_layer_plan){66, 3, TET_TANH};
    p.gate = false;
    make_data(&data, 35, 31, 11, 12, 4, true);
    struct tet_trainer *t = make(&p, &data, NULL);
    struct tet_tensor tensor;
    assert_int_equal(tet_trainer_tensors(t), COUNT(expected));
    for (uint32_t i = 0; i < COUNT(expected); i++) {
        static float values[WIDTH * WIDTH], back[WIDTH * WIDTH];
        tet_trainer_tensor(t, i, &tensor);
        assert_string_equal(tensor.name, expected[i]);
        assert_int_equal(tensor.velocity, i >= 12);
        for (uint64_t k = 0; k < tensor.n; k++)
            values[k] = (float)(1000 * i) + (float)k;
        tet_trainer_set(t, i, values);
        tet_trainer_get(t, i, back);
        assert_memory_equal(values, back, tensor.n * sizeof *values);
    }
    for (uint32_t i = 0; i < COUNT(expected); i++) { // none lies over another
        float values[WIDTH * 70];
        tet_trainer_tensor(t, i, &tensor);
        tet_trainer_get(t, i, values);
        for (uint64_t k = 0; k < tensor.n; k++)
            assert_true(values[k] == (float)(1000 * i) + (float)k);
    }
    tet_trainer_destroy(t);
    tet_trainer_destroy(NULL);
}

/* A run without telemetry, or without anybody to report to, ends in the same weights. */
static void telemetry_only_looks(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++) {
        struct tet_plan p = odd_plan((enum tet_rule_name)rule, 0), q = p;
        q.record_every = 0;
        make_data(&data, 36, 70, 31, 37, 11, true);
        static struct log log;
        struct tet_trainer *t = make(&p, &data, NULL), *u = make(&q, &data, &log);
        assert_int_equal(run(t), TET_FINISHED);
        assert_int_equal(run(u), TET_FINISHED);
        uint64_t n;
        float *values = state_of(u, &n);
        same_state("telemetry", t, values, n);
        assert_int_equal(log.n, 6);
        assert_true(tet_trainer_cursor(t).records > log.n);
        free(values);
        tet_trainer_destroy(t);
        tet_trainer_destroy(u);
        p.record_alignment = false; // norms alone
        t = make(&p, &data, &log);
        assert_int_equal(run(t), TET_FINISHED);
        double value;
        assert_true(find(&log, 1, TET_SERIES_NORM_W, 1, &value));
        assert_false(find(&log, 1, TET_SERIES_ALIGNMENT_MODULATION, 1, &value));
        tet_trainer_destroy(t);
    }
}

/* ---- memory ---- */

static void no_allocation_in_steps(void **state)
{
    (void)state;
    if (!COUNTED_HEAP)
        skip();
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int variant = 0; variant < 3; variant++) {
            struct tet_plan p = odd_plan((enum tet_rule_name)rule, variant);
            p.epochs = 2;
            make_data(&data, 37, 70, 31, 37, 11, true);
            static struct log log;
            struct tet_trainer *t = make(&p, &data, &log);
            memset(&heap, 0, sizeof heap);
            heap.on = true;
            const enum tet_event event = run(t);
            heap.on = false;
            assert_int_equal(event, TET_FINISHED);
            assert_int_equal(heap.calls, 0);
            assert_int_equal(heap.frees, 0);
            tet_trainer_destroy(t);
        }
}

/* A trainer's one allocation is what tet_plan_memory says, small or large. */
static void memory_is_known(void **state)
{
    (void)state;
    if (!COUNTED_HEAP)
        skip();
    for (int large = 0; large < 2; large++)
        for (int rule = 0; rule < TET_RULES; rule++) {
            struct tet_plan p = odd_plan((enum tet_rule_name)rule, 0); // no standardising
            if (large)
                p.hidden[0].units = p.hidden[0].descending_units = 2500;
            make_data(&data, 38, 70, 31, 37, 11, true);
            struct tet_trainer *t = NULL;
            memset(&heap, 0, sizeof heap);
            heap.on = true;
            const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL);
            heap.on = false;
            assert_int_equal(err, TET_OK);
            assert_int_equal(heap.calls, 1);
            tet_trainer_destroy(t);
            const uint64_t stated = tet_plan_memory(&p, &data.set.shape);
            if (heap.bytes != stated)
                fail_msg("rule %d: %llu bytes allocated, tet_plan_memory says %llu", rule,
                         (unsigned long long)heap.bytes, (unsigned long long)stated);
        }
}

static void failing_allocations(void **state)
{
    (void)state;
    if (!COUNTED_HEAP)
        skip();
    for (int variant = 0; variant < 3; variant++) {
        const struct tet_plan p = odd_plan(TET_RULE_SAL, variant);
        make_data(&data, 39, 70, 31, 37, 11, true);
        bool failed = true;
        for (uint64_t nth = 1; failed; nth++) {
            struct tet_error error = {0};
            struct tet_trainer *t = (void *)&data;
            memset(&heap, 0, sizeof heap);
            heap.fail_at = nth;
            heap.on = true;
            const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error);
            heap.on = false;
            failed = heap.calls >= nth;
            if (failed) {
                assert_int_equal(err, TET_NO_MEMORY);
                assert_int_equal(error.err, TET_NO_MEMORY);
                assert_null(t);
                assert_int_equal(heap.frees, heap.calls - 1);
            } else
                assert_int_equal(err, TET_OK);
            tet_trainer_destroy(t);
            assert_true(nth > 1 || failed);
        }
    }
    // so does more than there is; and nothing leaks when the plan does not fit the data
    struct tet_plan p = odd_plan(TET_RULE_SAL, 1);
    p.n_train = 71;
    struct tet_trainer *t = NULL;
    memset(&heap, 0, sizeof heap);
    heap.on = true;
    const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL);
    heap.on = false;
    assert_int_equal(err, TET_BAD_DATASET);
    assert_null(t);
    assert_int_equal(heap.frees, heap.calls);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_their_equations),
        cmocka_unit_test(unequal_descending_widths),
        cmocka_unit_test(wide_network),
        cmocka_unit_test(deep_and_flat_networks),
        cmocka_unit_test(frozen_groups),
        cmocka_unit_test(bp_is_the_gradient),
        cmocka_unit_test(pairs_converge),
        cmocka_unit_test(identity_laterals),
        cmocka_unit_test(every_instruction_set),
        cmocka_unit_test(bad_instruction_set),
        cmocka_unit_test(save_anywhere),
        cmocka_unit_test(impossible_cursors),
        cmocka_unit_test(order),
        cmocka_unit_test(rules_share_initial_weights),
        cmocka_unit_test(initial_spread),
        cmocka_unit_test(schedules),
        cmocka_unit_test(max_steps),
        cmocka_unit_test(standardizing),
        cmocka_unit_test(bytes_are_values),
        cmocka_unit_test(parts),
        cmocka_unit_test(divergence),
        cmocka_unit_test(divergence_of_arrays),
        cmocka_unit_test(tensors),
        cmocka_unit_test(telemetry_only_looks),
        cmocka_unit_test(no_allocation_in_steps),
        cmocka_unit_test(memory_is_known),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
