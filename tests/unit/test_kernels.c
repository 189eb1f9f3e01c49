// SPDX-License-Identifier: Apache-2.0
/*
 * Kernels: every one of every instruction set that this processor has equals the scalar one bit for
 * bit, NaN standing for NaN; the scalar ones equal plain loops written here; padding stays zero;
 * nothing outside an output is written.
 *
 * Every array is allocated on its own between guards of a NaN that spoils what reads it; under
 * AddressSanitizer without guards, so that it sees every read past an end.
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

#include "kernels/kernels.h"

#define COUNT(a)  (sizeof(a) / sizeof *(a))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- instruction sets ---- */

enum { MAX_ISAS = 4 };
static const struct tet_kernels *isas[MAX_ISAS]; // those other than the scalar
static size_t n_isas;
static const struct tet_kernels *const scalar = &tet_kernels_scalar;

static uint64_t seed = 20241218; // TETRAD_TEST_SEED overrides it

static int set_up(void **state)
{
    (void)state;
    static const char *const names[] = {"avx2", "avx512", "neon"};
    n_isas = 0;
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct tet_kernels *found = NULL;
        setenv("TETRAD_ISA", names[i], 1);
        if (tet_kernels_select(&found, NULL) == TET_OK)
            isas[n_isas++] = found;
    }
    unsetenv("TETRAD_ISA");
    if (getenv("TETRAD_TEST_SEED") != NULL)
        seed = strtoull(getenv("TETRAD_TEST_SEED"), NULL, 0);
    print_message("seed %llu; against scalar:", (unsigned long long)seed);
    for (size_t i = 0; i < n_isas; i++)
        print_message(" %s", isas[i]->name);
    print_message("\n");
    return 0;
}

/* ---- random values ---- */

static uint64_t draws;

static uint64_t draw(void) // splitmix64
{
    uint64_t z = seed + 0x9E3779B97F4A7C15u * ++draws;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static size_t below(size_t n)
{
    return (size_t)(draw() % n);
}

static float uniform(void) // [-1, 1)
{
    return (float)(int32_t)(draw() >> 32) * 0x1p-31f;
}

enum mode { PLAIN, TINY, VAST, WILD, MODES };
static const char *const mode_names[] = {"plain", "tiny", "vast", "wild"};

/* plain: around 1, some zeros of both signs; tiny: products are subnormal; vast: sums overflow;
 * wild: infinities, NaN, subnormal and extreme values among plain ones. */
static float value_of(enum mode mode)
{
    static const float special[] = {INFINITY,  -INFINITY,  NAN,     -0.0f,    0.0f,
                                    0x1p-149f, -0x1p-130f, FLT_MAX, -FLT_MAX, FLT_MIN};
    const size_t dice = below(64);
    if (dice < 6)
        return dice < 3 ? 0.0f : -0.0f;
    if (mode == TINY)
        return uniform() * (dice < 40 ? 0x1p-68f : 0x1p-140f);
    if (mode == VAST)
        return uniform() * (dice < 30 ? 0x1p62f : 0x1p65f);
    if (mode == WILD && dice < 9)
        return special[below(COUNT(special))];
    return uniform() * 2.0f;
}

/* ---- arrays ---- */

#ifdef __SANITIZE_ADDRESS__
enum { GUARD = 0 };
#else
enum { GUARD = 80 };
#endif
static const uint32_t spoiled = 0x7FC0DEADu;

struct array {
    float *all;
    size_t n;
};

static struct array arrays[64];
static size_t n_arrays;

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float *new_array(size_t n)
{
    assert_true(n_arrays < COUNT(arrays));
    float *all = malloc((n + 2 * GUARD) * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < n + 2 * GUARD; i++)
        memcpy(all + i, &spoiled, sizeof *all);
    arrays[n_arrays++] = (struct array){all, n};
    return all + GUARD;
}

static float *copy_of(const float *a, size_t n)
{
    float *b = new_array(n);
    memcpy(b, a, n * sizeof *b);
    return b;
}

static float *values(enum mode mode, size_t n)
{
    float *a = new_array(n);
    for (size_t i = 0; i < n; i++)
        a[i] = value_of(mode);
    return a;
}

/* (n, d) with stride ld: zeros from d up to d rounded up, spoiled after that. */
static float *activity(enum mode mode, size_t n, size_t d, size_t ld)
{
    float *a = new_array(n * ld);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < tet_round(d); c++)
            a[r * ld + c] = c < d ? value_of(mode) : 0.0f;
    return a;
}

static size_t packed_index(size_t rows, size_t columns, size_t r, size_t c)
{
    const size_t padded = (rows + 15) / 16 * 16, panel = r / 64;
    const size_t width = padded - panel * 64 < 64 ? padded - panel * 64 : 64;
    return panel * 64 * columns + c * width + r % 64;
}

static struct tet_packed packed(enum mode mode, size_t rows, size_t columns, bool velocity)
{
    struct tet_packed p = {.rows = (uint32_t)rows, .columns = (uint32_t)columns};
    const size_t n = (rows + 15) / 16 * 16 * columns;
    assert_int_equal(tet_packed_floats(rows, columns), n);
    for (int i = 0; i < (velocity ? 2 : 1); i++) {
        float *a = new_array(n);
        memset(a, 0, n * sizeof *a);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++)
                a[packed_index(rows, columns, r, c)] = value_of(mode);
        *(i == 0 ? &p.w : &p.v) = a;
    }
    return p;
}

static struct tet_packed packed_copy(const struct tet_packed *p)
{
    const size_t n = tet_packed_floats(p->rows, p->columns);
    struct tet_packed q = *p;
    q.w = copy_of(p->w, n);
    q.v = p->v != NULL ? copy_of(p->v, n) : NULL;
    return q;
}

static float weight(const struct tet_packed *p, size_t r, size_t c)
{
    return p->w[packed_index(p->rows, p->columns, r, c)];
}

/* What is being compared, for messages. */
static char what[200];

#define CASE(...) (void)snprintf(what, sizeof what, __VA_ARGS__)

static void check_guards(void)
{
    const size_t guard = GUARD;
    for (size_t i = 0; i < n_arrays; i++)
        for (size_t k = 0; k < guard; k++)
            if (bits_of(arrays[i].all[k]) != spoiled ||
                bits_of(arrays[i].all[GUARD + arrays[i].n + k]) != spoiled)
                fail_msg("%s: wrote %zu floats outside array %zu", what, k, i);
}

static void drop_arrays(void)
{
    check_guards();
    for (size_t i = 0; i < n_arrays; i++)
        free(arrays[i].all);
    n_arrays = 0;
}

static int forget(void **state) // after a test that failed
{
    (void)state;
    for (size_t i = 0; i < n_arrays; i++)
        free(arrays[i].all);
    n_arrays = 0;
    return 0;
}

static void same_value(const char *isa, const char *part, size_t i, float got, float expected)
{
    if (bits_of(got) != bits_of(expected) && !(isnan(got) && isnan(expected)))
        fail_msg("seed %llu, %s, %s[%zu]: %s %a, expected %a", (unsigned long long)seed, what, part,
                 i, isa, (double)got, (double)expected);
}

static void same(const char *isa, const char *part, const float *got, const float *expected,
                 size_t n)
{
    if (memcmp(got, expected, n * sizeof *got) == 0)
        return;
    for (size_t i = 0; i < n; i++)
        same_value(isa, part, i, got[i], expected[i]);
}

/* Exactly the same bits: an input, which is not to be touched. */
static void untouched(const char *part, const float *got, const float *before, size_t n)
{
    if (memcmp(got, before, n * sizeof *got) != 0)
        fail_msg("seed %llu, %s: %s was written", (unsigned long long)seed, what, part);
}

/* Of an output (n, d): columns from d are zero up to d rounded up, and spoiled as before then. */
static void check_padding(const float *y, size_t n, size_t d, size_t ld, bool zero)
{
    for (size_t r = 0; r < n; r++)
        for (size_t c = d; c < ld; c++)
            if (c < tet_round(d) ? zero && !(y[r * ld + c] == 0.0f)
                                 : bits_of(y[r * ld + c]) != spoiled)
                fail_msg("seed %llu, %s: padding (%zu, %zu) of %zu columns is %a",
                         (unsigned long long)seed, what, r, c, d, (double)y[r * ld + c]);
}

static void check_packed_padding(const struct tet_packed *p)
{
    for (size_t r = p->rows; r < tet_round(p->rows); r++)
        for (size_t c = 0; c < p->columns; c++)
            if (!(weight(p, r, c) == 0.0f))
                fail_msg("seed %llu, %s: row %zu of %u, column %zu is %a", (unsigned long long)seed,
                         what, r, p->rows, c, (double)weight(p, r, c));
}

static void close_to(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("seed %llu, %s: got %.9g, expected %.9g, allowed %.3g apart",
                 (unsigned long long)seed, what, got, expected, tolerance);
}

/* ---- sizes ---- */

static const size_t examples[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                  12, 13, 14, 15, 16, 17, 63, 64, 65, 100};
static const size_t widths[] = {1, 2, 15, 16, 17, 33, 48, 63, 64, 65, 66, 127, 128, 129, 130, 200};
static const size_t few_examples[] = {1, 3, 6, 7, 16};
static const size_t few_widths[] = {1, 16, 63, 65, 130, 200};
static const size_t few_columns[] = {1, 5, 17, 66};

/* ---- products ---- */

static const char *const finish_names[] = {"none", "relu", "tanh", "gate_relu", "gate_tanh"};

static float finished(enum tet_finish finish, float y, float gate)
{
    float t = y;
    switch (finish) {
    case TET_FINISH_RELU:
        return 0.0f > y ? 0.0f : y;
    case TET_FINISH_TANH:
        scalar->tanh(1, &y, &t);
        return t;
    case TET_FINISH_GATE_RELU:
        return gate > 0.0f ? y : 0.0f;
    case TET_FINISH_GATE_TANH:
        return y * fmaf(-gate, gate, 1.0f);
    case TET_FINISH_NONE:
        break;
    }
    return y;
}

/* Reference (n, r): fmaf in ascending order, and a plain sum in double to judge the order's error
 * by. */
static void plain_forward(const struct tet_forward *f)
{
    for (size_t n = 0; n < f->n; n++)
        for (size_t r = 0; r < f->p->rows; r++) {
            float y = 0.0f;
            double exact = 0.0, size = 0.0;
            for (size_t c = 0; c < f->p->columns; c++) {
                const float a = f->x[n * f->ldx + c], w = weight(f->p, r, c);
                y = fmaf(a, w, y);
                exact += (double)a * w;
                size += fabs((double)a * w);
            }
            if (f->bias != NULL) {
                y += f->bias[r];
                exact += f->bias[r];
            }
            const size_t i = n * f->ldy + r;
            const float gate = f->gate != NULL ? f->gate[i] : 0.0f;
            same_value("scalar", "y", i, f->y[i], finished(f->finish, y, gate));
            if (f->finish == TET_FINISH_NONE && isfinite(y))
                close_to(f->y[i], exact, 1e-5 * size + 1e-6 * fabs(exact) + 1e-40);
        }
}

static void one_forward(size_t n, size_t rows, size_t columns, enum tet_finish finish, bool bias,
                        enum mode mode, bool reference)
{
    CASE("forward n %zu, %zu x %zu, %s, %s, %s", n, rows, columns, finish_names[finish],
         bias ? "bias" : "no bias", mode_names[mode]);
    const size_t ldx = tet_stride(columns), ldy = tet_stride(rows);
    struct tet_packed p = packed(mode, rows, columns, false);
    const float *w = copy_of(p.w, tet_packed_floats(rows, columns));
    const float *x = activity(mode, n, columns, ldx), *x0 = copy_of(x, n * ldx);
    const bool gated = finish == TET_FINISH_GATE_RELU || finish == TET_FINISH_GATE_TANH;
    struct tet_forward f = {.n = n,
                            .x = x,
                            .ldx = ldx,
                            .p = &p,
                            .bias = bias ? activity(mode, 1, rows, tet_round(rows)) : NULL,
                            .finish = finish,
                            .gate = gated ? activity(mode, n, rows, ldy) : NULL,
                            .y = new_array(n * ldy),
                            .ldy = ldy};
    scalar->forward(&f);
    check_padding(f.y, n, rows, ldy, mode != WILD);
    if (reference)
        plain_forward(&f);
    const float *expected = f.y;
    for (size_t i = 0; i < n_isas; i++) {
        f.y = new_array(n * ldy);
        isas[i]->forward(&f);
        same(isas[i]->name, "y", f.y, expected, n * ldy);
        check_padding(f.y, n, rows, ldy, mode != WILD);
    }
    untouched("x", x, x0, n * ldx);
    untouched("W", p.w, w, tet_packed_floats(rows, columns));
    drop_arrays();
}

static void forward_every_size(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(examples); n++)
        for (size_t r = 0; r < COUNT(widths); r++)
            for (size_t c = 0; c < COUNT(widths); c++) {
                // the larger a shape, the fewer of its neighbours are walked through
                if (examples[n] > 17 && below(2) != 0)
                    continue;
                enum tet_finish finish = (enum tet_finish)below(5);
                const bool bias = finish <= TET_FINISH_TANH && below(4) != 0;
                one_forward(examples[n], widths[r], widths[c], finish, bias,
                            (enum mode)below(MODES), false);
            }
}

static void forward_every_finish(void **state)
{
    const bool gates_with_bias = *state != NULL;
    for (int finish = gates_with_bias ? TET_FINISH_GATE_RELU : 0; finish <= TET_FINISH_GATE_TANH;
         finish++)
        for (int bias = gates_with_bias ? 1 : 0; bias < 2; bias++)
            for (int mode = 0; mode < MODES; mode++)
                for (size_t n = 0; n < COUNT(few_examples); n++)
                    for (size_t r = 0; r < COUNT(few_widths); r++)
                        for (size_t c = 0; c < COUNT(few_columns); c++)
                            if (gates_with_bias || bias == 0 || finish < TET_FINISH_GATE_RELU)
                                one_forward(few_examples[n], few_widths[r], few_columns[c],
                                            (enum tet_finish)finish, bias != 0, (enum mode)mode,
                                            true);
}

static void plain_backward(const struct tet_packed *p, size_t n, const float *st, size_t ld,
                           const float *yt)
{
    for (size_t c = 0; c < p->columns; c++)
        for (size_t i = 0; i < n; i++) {
            float y = 0.0f;
            double exact = 0.0, size = 0.0;
            for (size_t r = 0; r < p->rows; r++) {
                y = fmaf(weight(p, r, c), st[r * ld + i], y);
                exact += (double)weight(p, r, c) * st[r * ld + i];
                size += fabs((double)weight(p, r, c) * st[r * ld + i]);
            }
            same_value("scalar", "yt", c * ld + i, yt[c * ld + i], y);
            if (isfinite(y))
                close_to(yt[c * ld + i], exact, 1e-5 * size + 1e-40);
        }
}

static void one_backward(size_t n, size_t rows, size_t columns, enum mode mode, bool reference)
{
    CASE("backward n %zu, %zu x %zu, %s", n, rows, columns, mode_names[mode]);
    const size_t ld = tet_stride(n);
    const struct tet_packed p = packed(mode, rows, columns, false);
    const float *st = activity(mode, rows, n, ld), *st0 = copy_of(st, rows * ld);
    float *expected = new_array(columns * ld);
    scalar->backward(&p, n, st, ld, expected, ld);
    check_padding(expected, columns, n, ld, mode != WILD);
    if (reference)
        plain_backward(&p, n, st, ld, expected);
    for (size_t i = 0; i < n_isas; i++) {
        float *yt = new_array(columns * ld);
        isas[i]->backward(&p, n, st, ld, yt, ld);
        same(isas[i]->name, "yt", yt, expected, columns * ld);
    }
    untouched("st", st, st0, rows * ld);
    drop_arrays();
}

static void backward_sizes(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(examples); n++)
        for (size_t r = 0; r < COUNT(widths); r++)
            for (size_t c = 0; c < COUNT(widths); c++)
                if (examples[n] <= 17 ? below(2) == 0 : below(4) == 0)
                    one_backward(examples[n], widths[r], widths[c], (enum mode)below(MODES), false);
    for (int mode = 0; mode < MODES; mode++)
        for (size_t n = 0; n < COUNT(few_examples); n++)
            for (size_t r = 0; r < COUNT(few_widths); r++)
                for (size_t c = 0; c < COUNT(few_columns); c++)
                    one_backward(few_examples[n], few_widths[r], few_columns[c], (enum mode)mode,
                                 true);
}

static void plain_drive(const struct tet_drive *d, const struct tet_packed *before,
                        const struct tet_packed *after)
{
    for (size_t r = 0; r < before->rows; r++)
        for (size_t c = 0; c < before->columns; c++) {
            float g = 0.0f;
            for (size_t n = 0; n < d->n; n++)
                g = fmaf(d->x[n * d->ldx + c], d->a[n * d->lda + r], g);
            const size_t i = packed_index(before->rows, before->columns, r, c);
            g = fmaf(-d->decay, before->w[i], g);
            if (before->v != NULL) {
                g = fmaf(d->momentum, before->v[i], g);
                same_value("scalar", "velocity", i, after->v[i], g);
            }
            same_value("scalar", "w", i, after->w[i], fmaf(d->lr, g, before->w[i]));
        }
}

static void one_drive(size_t n, size_t rows, size_t columns, bool momentum, enum mode mode,
                      bool reference)
{
    CASE("drive n %zu, %zu x %zu, %s, %s", n, rows, columns, momentum ? "momentum" : "no momentum",
         mode_names[mode]);
    const size_t lda = tet_stride(rows), ldx = tet_stride(columns);
    const size_t floats = tet_packed_floats(rows, columns);
    const struct tet_packed before = packed(mode, rows, columns, momentum);
    const float *a = activity(mode, n, rows, lda), *x = activity(mode, n, columns, ldx);
    const float *a0 = copy_of(a, n * lda), *x0 = copy_of(x, n * ldx);
    const struct tet_drive d = {.n = n,
                                .a = a,
                                .lda = lda,
                                .x = x,
                                .ldx = ldx,
                                .lr = below(8) == 0 ? 0.0f : 0.1f,
                                .decay = below(4) == 0 ? 0.0f : 0.01f,
                                .momentum = 0.9f};
    const struct tet_packed expected = packed_copy(&before);
    scalar->drive(&d, &expected);
    if (mode != WILD)
        check_packed_padding(&expected);
    if (reference)
        plain_drive(&d, &before, &expected);
    for (size_t i = 0; i < n_isas; i++) {
        const struct tet_packed got = packed_copy(&before);
        isas[i]->drive(&d, &got);
        same(isas[i]->name, "w", got.w, expected.w, floats);
        if (momentum)
            same(isas[i]->name, "velocity", got.v, expected.v, floats);
    }
    untouched("a", a, a0, n * lda);
    untouched("x", x, x0, n * ldx);
    drop_arrays();
}

static void drive_sizes(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(examples); n++)
        for (size_t r = 0; r < COUNT(widths); r++)
            for (size_t c = 0; c < COUNT(widths); c++)
                if (examples[n] <= 17 ? below(2) == 0 : below(4) == 0)
                    one_drive(examples[n], widths[r], widths[c], below(2) == 0,
                              (enum mode)below(MODES), false);
    for (int momentum = 0; momentum < 2; momentum++)
        for (int mode = 0; mode < MODES; mode++)
            for (size_t n = 0; n < COUNT(few_examples); n++)
                for (size_t r = 0; r < COUNT(few_widths); r++)
                    for (size_t c = 0; c < COUNT(few_columns); c++)
                        one_drive(few_examples[n], few_widths[r], few_columns[c], momentum != 0,
                                  (enum mode)mode, true);
}

/* out (nr, columns) against rows r0.. of a times b(k, c). */
static void plain_rows(const struct tet_packed *a, size_t r0, size_t nr, const struct tet_packed *b,
                       const float *bare, size_t ldb, size_t columns, const float *out, size_t ldo)
{
    for (size_t r = 0; r < nr; r++)
        for (size_t c = 0; c < columns; c++) {
            float y = 0.0f;
            for (size_t k = 0; k < a->columns; k++)
                y = fmaf(weight(a, r0 + r, k), b != NULL ? weight(b, c, k) : bare[k * ldb + c], y);
            same_value("scalar", "out", r * ldo + c, out[r * ldo + c], y);
        }
}

static void one_gram(size_t rows, size_t rows_b, size_t columns, enum mode mode)
{
    const struct tet_packed a = packed(mode, rows, columns, false);
    const struct tet_packed b = packed(mode, rows_b, columns, false);
    const size_t ldo = tet_stride(rows_b);
    for (size_t r0 = 0; r0 < rows; r0 += TET_PANEL) {
        const size_t nr = rows - r0 < TET_PANEL ? rows - r0 : TET_PANEL;
        CASE("panel_gram %zu x %zu from row %zu, %zu x %zu, %s", rows, columns, r0, rows_b, columns,
             mode_names[mode]);
        float *expected = new_array(TET_PANEL * ldo);
        scalar->panel_gram(&a, r0, &b, expected, ldo);
        plain_rows(&a, r0, nr, &b, NULL, 0, rows_b, expected, ldo);
        check_padding(expected, nr, rows_b, ldo, mode != WILD);
        for (size_t i = 0; i < n_isas; i++) {
            float *out = new_array(TET_PANEL * ldo);
            isas[i]->panel_gram(&a, r0, &b, out, ldo);
            same(isas[i]->name, "out", out, expected, nr * ldo);
            untouched("out past the rows", out + nr * ldo, expected + nr * ldo,
                      (TET_PANEL - nr) * ldo);
        }
    }
    drop_arrays();
}

static void one_panel_product(size_t rows, size_t columns, size_t nc, enum mode mode)
{
    const struct tet_packed a = packed(mode, rows, columns, false);
    const float *b = activity(mode, columns, nc, TET_PANEL);
    for (size_t r0 = 0; r0 < rows; r0 += TET_PANEL) {
        const size_t nr = rows - r0 < TET_PANEL ? rows - r0 : TET_PANEL;
        CASE("panel_product %zu x %zu from row %zu, %zu columns, %s", rows, columns, r0, nc,
             mode_names[mode]);
        float *expected = new_array(TET_PANEL * TET_PANEL);
        scalar->panel_product(&a, r0, b, TET_PANEL, nc, expected, TET_PANEL);
        plain_rows(&a, r0, nr, NULL, b, TET_PANEL, nc, expected, TET_PANEL);
        check_padding(expected, nr, nc, TET_PANEL, false);
        for (size_t i = 0; i < n_isas; i++) {
            float *out = new_array(TET_PANEL * TET_PANEL);
            isas[i]->panel_product(&a, r0, b, TET_PANEL, nc, out, TET_PANEL);
            same(isas[i]->name, "out", out, expected, nr * TET_PANEL);
            untouched("out past the rows", out + nr * TET_PANEL, expected + nr * TET_PANEL,
                      (TET_PANEL - nr) * TET_PANEL);
        }
    }
    drop_arrays();
}

static void panels(void **state)
{
    (void)state;
    for (size_t r = 0; r < COUNT(widths); r++)
        for (size_t c = 0; c < COUNT(few_columns); c++) {
            for (size_t b = 0; b < COUNT(few_widths); b++)
                one_gram(widths[r], few_widths[b], few_columns[c], (enum mode)below(MODES));
            for (size_t nc = 16; nc <= TET_PANEL; nc += 16)
                one_panel_product(widths[r], few_columns[c], nc, (enum mode)below(MODES));
        }
}

/* ---- the other kernels ---- */

static void bias(void **state)
{
    (void)state;
    for (size_t e = 0; e < COUNT(examples); e++)
        for (size_t w = 0; w < COUNT(widths); w++) {
            const enum mode mode = (enum mode)below(MODES);
            const size_t n = examples[e], d = widths[w], ld = tet_stride(d);
            CASE("bias n %zu, %zu, %s", n, d, mode_names[mode]);
            const float *a = activity(mode, n, d, ld), lr = 0.3f;
            const float *before = activity(mode, 1, d, tet_round(d));
            float *expected = copy_of(before, tet_round(d));
            scalar->bias(n, d, a, ld, lr, expected);
            for (size_t c = 0; c < d; c++) {
                float lane[16] = {0};
                for (size_t k = 0; k < n; k++)
                    lane[k % 16] += a[k * ld + c];
                for (size_t half = 8; half > 0; half /= 2)
                    for (size_t i = 0; i < half; i++)
                        lane[i] += lane[i + half];
                same_value("scalar", "b", c, expected[c], fmaf(lr, lane[0], before[c]));
            }
            for (size_t c = d; c < tet_round(d); c++)
                assert_true(expected[c] == 0.0f);
            for (size_t i = 0; i < n_isas; i++) {
                float *b = copy_of(before, tet_round(d));
                isas[i]->bias(n, d, a, ld, lr, b);
                same(isas[i]->name, "b", b, expected, tet_round(d));
            }
            drop_arrays();
        }
}

static void gate(void **state)
{
    (void)state;
    static const char *const names[] = {"relu", "tanh", "identity"};
    for (int phi = TET_RELU; phi <= TET_IDENTITY; phi++)
        for (int mode = 0; mode < MODES; mode++)
            for (size_t w = 0; w < COUNT(widths); w++) {
                const size_t n = 1 + below(9), d = widths[w], ld = tet_stride(d);
                CASE("gate %s n %zu, %zu, %s", names[phi], n, d, mode_names[mode]);
                const float *s = activity((enum mode)mode, n, d, ld);
                const float *x = activity((enum mode)mode, n, d, ld);
                float *expected = new_array(n * ld);
                scalar->gate(n, d, ld, (enum tet_activation)phi, s, x, expected);
                check_padding(expected, n, d, ld, true);
                for (size_t r = 0; r < n; r++)
                    for (size_t c = 0; c < d; c++) {
                        const size_t i = r * ld + c;
                        same_value("scalar", "y", i, expected[i],
                                   phi == TET_RELU   ? (x[i] > 0.0f ? s[i] : 0.0f)
                                   : phi == TET_TANH ? s[i] * fmaf(-x[i], x[i], 1.0f)
                                                     : s[i]);
                    }
                for (size_t i = 0; i < n_isas; i++) {
                    float *y = new_array(n * ld), *in_place = copy_of(s, n * ld);
                    isas[i]->gate(n, d, ld, (enum tet_activation)phi, s, x, y);
                    same(isas[i]->name, "y", y, expected, n * ld);
                    isas[i]->gate(n, d, ld, (enum tet_activation)phi, in_place, x, in_place);
                    same(isas[i]->name, "y in place", in_place, expected, n * ld);
                }
                drop_arrays();
            }
}

/* Losses, signals and count by double arithmetic. Returns how many labels are the first largest. */
static size_t plain_cross_entropy(size_t n, size_t d, size_t ld, const float *z,
                                  const int32_t *labels, const float *s, const float *loss)
{
    size_t correct = 0;
    for (size_t r = 0; r < n; r++, z += ld, s += ld) {
        size_t best = 0;
        for (size_t c = 0; c < d; c++)
            if (z[c] > z[best])
                best = c;
        double sum = 0.0;
        for (size_t c = 0; c < d; c++)
            sum += exp((double)z[c] - z[best]);
        const size_t label = (size_t)labels[r];
        const double expected = log(sum) - ((double)z[label] - z[best]);
        close_to(loss[r], expected, 1e-6 * (1.0 + fabs(expected)));
        for (size_t c = 0; c < d; c++) {
            const double p = exp((double)z[c] - z[best]) / sum;
            close_to(s[c], ((c == label ? 1.0 : 0.0) - p) / (double)n, 2e-6 / (double)n);
        }
        correct += best == label;
    }
    return correct;
}

/* Values that a softmax can have to deal with; ties on purpose. */
static float *logits(enum mode mode, size_t n, size_t d, size_t ld)
{
    float *z = activity(mode == VAST ? PLAIN : mode, n, d, ld);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < d; c++) {
            float *v = z + r * ld + c;
            *v = mode == VAST ? *v * 100.0f : mode == PLAIN ? roundf(*v * 4.0f) / 2.0f : *v;
        }
    return z;
}

static void one_cross_entropy(size_t n, size_t d, enum mode mode)
{
    CASE("cross_entropy n %zu, %zu, %s", n, d, mode_names[mode]);
    const size_t ld = tet_stride(d);
    const float *z0 = logits(mode, n, d, ld);
    int32_t labels[100];
    for (size_t r = 0; r < n; r++)
        labels[r] = (int32_t)below(d);
    float *z = copy_of(z0, n * ld), *s = new_array(n * ld), *loss = new_array(n);
    const size_t correct = scalar->cross_entropy(n, d, ld, z, labels, s, loss);
    for (size_t r = 0; r < n; r++)
        untouched("z", z + r * ld, z0 + r * ld, d);
    if (mode != WILD) {
        check_padding(s, n, d, ld, true);
        assert_int_equal(correct, plain_cross_entropy(n, d, ld, z0, labels, s, loss));
    }
    for (size_t i = 0; i < n_isas; i++) {
        float *zi = copy_of(z0, n * ld), *si = new_array(n * ld), *li = new_array(n);
        assert_int_equal(correct, isas[i]->cross_entropy(n, d, ld, zi, labels, si, li));
        same(isas[i]->name, "loss", li, loss, n);
        same(isas[i]->name, "s", si, s, n * ld);
        same(isas[i]->name, "z", zi, z, n * ld);
    }
    for (size_t i = 0; i <= n_isas; i++) { // the losses alone
        const struct tet_kernels *k = i < n_isas ? isas[i] : scalar;
        float *zi = copy_of(z0, n * ld), *li = new_array(n);
        assert_int_equal(correct, k->cross_entropy(n, d, ld, zi, labels, NULL, li));
        same(k->name, "loss alone", li, loss, n);
        for (size_t r = 0; r < n; r++)
            untouched("z", zi + r * ld, z0 + r * ld, d);
    }
    drop_arrays();
}

static void cross_entropy(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++)
        for (size_t w = 0; w < COUNT(widths); w++) {
            one_cross_entropy(examples[below(COUNT(examples))], widths[w], (enum mode)mode);
            one_cross_entropy(1 + below(4), widths[w], (enum mode)mode);
        }
}

/* The contract allows s to be z. */
static void cross_entropy_in_place(void **state)
{
    (void)state;
    for (size_t w = 0; w < COUNT(few_widths); w++) {
        const size_t n = 7, d = few_widths[w], ld = tet_stride(d);
        CASE("cross_entropy in place n %zu, %zu", n, d);
        const float *z0 = logits(PLAIN, n, d, ld);
        int32_t labels[7];
        for (size_t r = 0; r < n; r++)
            labels[r] = (int32_t)below(d);
        float *z = copy_of(z0, n * ld), *s = new_array(n * ld), *loss = new_array(n);
        const size_t correct = scalar->cross_entropy(n, d, ld, z, labels, s, loss);
        for (size_t i = 0; i <= n_isas; i++) {
            const struct tet_kernels *k = i < n_isas ? isas[i] : scalar;
            float *both = copy_of(z0, n * ld), *li = new_array(n);
            assert_int_equal(correct, k->cross_entropy(n, d, ld, both, labels, both, li));
            same(k->name, "loss", li, loss, n);
            for (size_t r = 0; r < n; r++)
                same(k->name, "s", both + r * ld, s + r * ld, d);
        }
        drop_arrays();
    }
}

/* The first of equal values counts; NaN is never the largest but in the first place. */
static void cross_entropy_ties(void **state)
{
    (void)state;
    const struct tet_kernels *all[MAX_ISAS + 1] = {scalar};
    memcpy(all + 1, isas, sizeof isas);
    for (size_t i = 0; i <= n_isas; i++) {
        float z[3 * 16] = {[0] = 1,   [1] = 3,  [2] = 3,  [16] = -2, [17] = -2,
                           [18] = -2, [32] = 5, [33] = 4, [34] = 5};
        float loss[3];
        CASE("ties, %s", all[i]->name);
        assert_int_equal(all[i]->cross_entropy(3, 3, 16, z, (int32_t[]){1, 0, 0}, NULL, loss), 3);
        assert_int_equal(all[i]->cross_entropy(3, 3, 16, z, (int32_t[]){2, 1, 2}, NULL, loss), 0);
        close_to(loss[1], log(3.0), 1e-6);
    }
}

static void mse(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++)
        for (size_t w = 0; w < COUNT(widths); w++) {
            const size_t n = examples[below(COUNT(examples))], d = widths[w], ld = tet_stride(d);
            CASE("mse n %zu, %zu, %s", n, d, mode_names[mode]);
            const float *z = activity((enum mode)mode, n, d, ld);
            const float *t = activity((enum mode)mode, n, d, ld);
            float *s = new_array(n * ld), *loss = new_array(n), *alone = new_array(n);
            scalar->mse(n, d, ld, z, t, s, loss);
            check_padding(s, n, d, ld, true);
            scalar->mse(n, d, ld, z, t, NULL, alone);
            same("scalar", "loss alone", alone, loss, n);
            for (size_t r = 0; r < n && mode == PLAIN; r++) {
                double sum = 0.0;
                for (size_t c = 0; c < d; c++) {
                    const double e = (double)t[r * ld + c] - z[r * ld + c];
                    sum += e * e / 2.0;
                    close_to(s[r * ld + c], e / (double)n, 1e-6 / (double)n);
                }
                close_to(loss[r], sum, 1e-6 * sum);
            }
            for (size_t i = 0; i < n_isas; i++) {
                float *si = new_array(n * ld), *li = new_array(n);
                isas[i]->mse(n, d, ld, z, t, si, li);
                same(isas[i]->name, "s", si, s, n * ld);
                same(isas[i]->name, "loss", li, loss, n);
                isas[i]->mse(n, d, ld, z, t, NULL, li);
                same(isas[i]->name, "loss alone", li, loss, n);
            }
            drop_arrays();
        }
}

static void dot(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++)
        for (size_t e = 0; e < COUNT(examples); e++)
            for (size_t w = 0; w < COUNT(widths); w++) {
                const size_t n = examples[e], d = widths[w], lda = tet_stride(d);
                const size_t ldb = MAX(lda, 208);
                CASE("dot %zu x %zu, %s", n, d, mode_names[mode]);
                const float *a = activity((enum mode)mode, n, d, lda);
                const float *b = activity((enum mode)mode, n, d, ldb);
                float lane[16] = {0};
                double exact = 0.0, size = 0.0;
                for (size_t r = 0; r < n; r++)
                    for (size_t c = 0; c < tet_round(d); c++) {
                        const float u = a[r * lda + c], v = b[r * ldb + c];
                        lane[c % 16] = fmaf(u, v, lane[c % 16]);
                        exact += (double)u * v;
                        size += fabs((double)u * v);
                    }
                for (size_t half = 8; half > 0; half /= 2)
                    for (size_t i = 0; i < half; i++)
                        lane[i] += lane[i + half];
                const float expected = scalar->dot(n, d, a, lda, b, ldb);
                same_value("scalar", "dot", 0, expected, lane[0]);
                if (mode == PLAIN)
                    close_to(expected, exact, 1e-5 * size);
                for (size_t i = 0; i < n_isas; i++)
                    same_value(isas[i]->name, "dot", 0, isas[i]->dot(n, d, a, lda, b, ldb),
                               expected);
                drop_arrays();
            }
}

static void finite_values(void **state)
{
    (void)state;
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    const struct tet_kernels *all[MAX_ISAS + 1] = {scalar};
    memcpy(all + 1, isas, sizeof isas);
    for (size_t w = 0; w < COUNT(widths); w++) {
        const size_t n = widths[w];
        float *a = activity(PLAIN, 1, n, tet_round(n));
        a[below(n)] = FLT_MAX;
        a[below(n)] = -0x1p-149f;
        for (size_t k = 0; k <= n_isas; k++) {
            CASE("finite %zu, %s", n, all[k]->name);
            if (!all[k]->finite(a, n))
                fail_msg("%s: finite values taken for others", what);
            for (size_t i = 0; i < n; i++)
                for (size_t b = 0; b < COUNT(bad); b++) {
                    const float before = a[i];
                    a[i] = bad[b];
                    if (all[k]->finite(a, n))
                        fail_msg("%s: %a at %zu not found", what, (double)bad[b], i);
                    a[i] = before;
                }
        }
        drop_arrays();
    }
}

static void standardize(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++)
        for (size_t d = 1; d <= 200; d++) {
            CASE("standardize %zu, %s", d, mode_names[mode]);
            const float *scale = values((enum mode)mode, d), *shift = values((enum mode)mode, d);
            const float *x = values((enum mode)mode, d);
            uint8_t *bytes = malloc(d); // exactly, for AddressSanitizer
            assert_non_null(bytes);
            for (size_t i = 0; i < d; i++)
                bytes[i] = (uint8_t)(i == 0 ? 255 : draw());
            float *from_bytes = new_array(d), *from_floats = new_array(d);
            scalar->standardize_bytes(d, bytes, scale, shift, from_bytes);
            scalar->standardize_floats(d, x, scale, shift, from_floats);
            for (size_t i = 0; i < d; i++) {
                same_value("scalar", "bytes", i, from_bytes[i],
                           fmaf((float)bytes[i], scale[i], shift[i]));
                same_value("scalar", "floats", i, from_floats[i], fmaf(x[i], scale[i], shift[i]));
            }
            for (size_t k = 0; k < n_isas; k++) {
                float *y = new_array(d);
                isas[k]->standardize_bytes(d, bytes, scale, shift, y);
                same(isas[k]->name, "bytes", y, from_bytes, d);
                isas[k]->standardize_floats(d, x, scale, shift, y);
                same(isas[k]->name, "floats", y, from_floats, d);
            }
            free(bytes);
            drop_arrays();
        }
}

static void transpose(void **state)
{
    (void)state;
    for (size_t e = 0; e < COUNT(examples); e++)
        for (size_t w = 0; w < COUNT(widths); w++)
            for (int way = 0; way < 2; way++) {
                const size_t n = way ? widths[w] : examples[e], d = way ? examples[e] : widths[w];
                const size_t lda = tet_stride(d), ldb = tet_stride(n);
                CASE("transpose %zu x %zu", n, d);
                const float *a = activity(WILD, n, d, lda);
                for (size_t k = 0; k <= n_isas; k++) {
                    const struct tet_kernels *isa = k < n_isas ? isas[k] : scalar;
                    float *b = new_array(d * ldb);
                    isa->transpose(n, d, a, lda, b, ldb);
                    for (size_t c = 0; c < d; c++)
                        for (size_t i = 0; i < n; i++)
                            same_value(isa->name, "b", c * ldb + i, b[c * ldb + i], a[i * lda + c]);
                    check_padding(b, d, n, ldb, true);
                }
                drop_arrays();
            }
}

/* ---- layouts and choice ---- */

static void layouts(void **state)
{
    (void)state;
    for (size_t d = 1; d < 1000; d++) {
        const size_t padded = (d + 15) / 16 * 16, ld = tet_stride(d);
        assert_int_equal(tet_round(d), padded);
        assert_true(ld >= padded && ld <= padded + 16);
        assert_int_equal(ld / 16 % 2, 1);
    }
    for (size_t w = 0; w < COUNT(widths); w++)
        for (size_t c = 0; c < COUNT(few_columns); c++) {
            const size_t rows = widths[w], columns = few_columns[c];
            bool *taken = calloc(tet_packed_floats(rows, columns), sizeof *taken);
            assert_non_null(taken);
            for (size_t r = 0; r < tet_round(rows); r++)
                for (size_t k = 0; k < columns; k++) {
                    const size_t i = tet_packed_at(rows, columns, r, k);
                    assert_int_equal(i, packed_index(rows, columns, r, k));
                    assert_true(i < tet_packed_floats(rows, columns) && !taken[i]);
                    taken[i] = true;
                }
            free(taken);
        }
}

static void selection(void **state)
{
    (void)state;
    const struct tet_kernels *best = NULL, *found = NULL;
    unsetenv("TETRAD_ISA");
    assert_int_equal(tet_kernels_select(&best, NULL), TET_OK);
    assert_non_null(best);
    assert_string_equal(tet_isa_name(), best->name);
    setenv("TETRAD_ISA", "", 1);
    assert_int_equal(tet_kernels_select(&found, NULL), TET_OK);
    assert_ptr_equal(found, best);
    setenv("TETRAD_ISA", "scalar", 1);
    assert_int_equal(tet_kernels_select(&found, NULL), TET_OK);
    assert_ptr_equal(found, scalar);
    assert_string_equal(tet_isa_name(), "scalar");
    for (size_t i = 0; i < n_isas; i++) {
        setenv("TETRAD_ISA", isas[i]->name, 1);
        assert_int_equal(tet_kernels_select(&found, NULL), TET_OK);
        assert_ptr_equal(found, isas[i]);
        assert_string_equal(tet_isa_name(), isas[i]->name);
    }
#if defined(__x86_64__)
    static const char *const wrong[] = {"sse9", "AVX2", "avx", "avx5121", " scalar", "neon"};
#else
    static const char *const wrong[] = {"sse9", "AVX2", "avx", "avx5121", " scalar", "avx512"};
#endif
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct tet_error error = {0};
        setenv("TETRAD_ISA", wrong[i], 1);
        assert_int_equal(tet_kernels_select(&found, &error), TET_BAD_REQUEST);
        assert_int_equal(error.err, TET_BAD_REQUEST);
        if (strstr(error.message, wrong[i]) == NULL || strstr(error.message, "scalar") == NULL)
            fail_msg("TETRAD_ISA=%s: message \"%s\" does not say what is wrong or allowed",
                     wrong[i], error.message);
        assert_int_equal(tet_kernels_select(&found, NULL), TET_BAD_REQUEST);
        assert_string_equal(tet_isa_name(), "none");
    }
    unsetenv("TETRAD_ISA");
}

#define TEST(f) cmocka_unit_test_teardown(f, forget)

int main(void)
{
    static int yes = 1;
    const struct CMUnitTest tests[] = {
        TEST(layouts),
        TEST(selection),
        TEST(forward_every_size),
        TEST(forward_every_finish),
        {"forward_gate_with_bias", forward_every_finish, NULL, forget, &yes},
        TEST(backward_sizes),
        TEST(drive_sizes),
        TEST(panels),
        TEST(bias),
        TEST(gate),
        TEST(cross_entropy),
        TEST(cross_entropy_in_place),
        TEST(cross_entropy_ties),
        TEST(mse),
        TEST(dot),
        TEST(finite_values),
        TEST(standardize),
        TEST(transpose),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
