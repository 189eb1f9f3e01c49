// SPDX-License-Identifier: Apache-2.0
/*
 * For the kernels' tests: the instruction sets that this processor has, random arrays and how they
 * are compared.
 *
 * Every array is allocated on its own between guards of a NaN that spoils what reads it; under
 * AddressSanitizer without guards, so that it sees every read past an end.
 */
#ifndef TESTS_KERNEL_ARRAYS_H
#define TESTS_KERNEL_ARRAYS_H

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
#include "random.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- instruction sets ---- */

enum { MAX_ISAS = 4 };
static const struct tet_kernels *isas[MAX_ISAS]; // those other than the scalar
static size_t n_isas;
static const struct tet_kernels *const scalar = &tet_kernels_scalar;

static inline int set_up(void **state)
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
    const char *other = getenv("TETRAD_TEST_SEED");
    seed = other != NULL ? strtoull(other, NULL, 0) : 20241218;
    print_message("seed %llu; against scalar:", (unsigned long long)seed);
    for (size_t i = 0; i < n_isas; i++)
        print_message(" %s", isas[i]->name);
    print_message("\n");
    return 0;
}

/* ---- random values ---- */

static inline size_t below(size_t n)
{
    return (size_t)(draw() % n);
}

enum mode { PLAIN, TINY, VAST, WILD, MODES };
static const char *const mode_names[] = {"plain", "tiny", "vast", "wild"};

/* plain: around 1, some zeros of both signs; tiny: products are subnormal; vast: sums overflow;
 * wild: infinities, NaN, subnormal and extreme values among plain ones. */
static inline float value_of(enum mode mode)
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

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float *new_array(size_t n)
{
    assert_true(n_arrays < COUNT(arrays));
    float *all = malloc((n + 2 * GUARD) * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < n + 2 * GUARD; i++)
        memcpy(all + i, &spoiled, sizeof *all);
    arrays[n_arrays++] = (struct array){all, n};
    return all + GUARD;
}

static inline float *copy_of(const float *a, size_t n)
{
    float *b = new_array(n);
    memcpy(b, a, n * sizeof *b);
    return b;
}

/* (n, d) with stride ld: zeros from d up to d rounded up, spoiled after that. */
static inline float *activity(enum mode mode, size_t n, size_t d, size_t ld)
{
    float *a = new_array(n * ld);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < tet_round(d); c++)
            a[r * ld + c] = c < d ? value_of(mode) : 0.0f;
    return a;
}

static inline size_t packed_index(size_t rows, size_t columns, size_t r, size_t c)
{
    const size_t padded = (rows + 15) / 16 * 16, panel = r / 64;
    const size_t width = padded - panel * 64 < 64 ? padded - panel * 64 : 64;
    return panel * 64 * columns + c * width + r % 64;
}

/* What is being compared, for messages. */
static char what[200];

#define CASE(...) (void)snprintf(what, sizeof what, __VA_ARGS__)

static inline void check_guards(void)
{
    const size_t guard = GUARD;
    for (size_t i = 0; i < n_arrays; i++)
        for (size_t k = 0; k < guard; k++)
            if (bits_of(arrays[i].all[k]) != spoiled ||
                bits_of(arrays[i].all[GUARD + arrays[i].n + k]) != spoiled)
                fail_msg("%s: wrote %zu floats outside array %zu", what, k, i);
}

static inline void drop_arrays(void)
{
    check_guards();
    for (size_t i = 0; i < n_arrays; i++)
        free(arrays[i].all);
    n_arrays = 0;
}

static inline int forget(void **state) // after a test that failed
{
    (void)state;
    for (size_t i = 0; i < n_arrays; i++)
        free(arrays[i].all);
    n_arrays = 0;
    return 0;
}

static inline void same_value(const char *isa, const char *part, size_t i, float got,
                              float expected)
{
    if (bits_of(got) != bits_of(expected) && !(isnan(got) && isnan(expected)))
        fail_msg("seed %llu, %s, %s[%zu]: %s %a, expected %a", (unsigned long long)seed, what, part,
                 i, isa, (double)got, (double)expected);
}

static inline void same(const char *isa, const char *part, const float *got, const float *expected,
                        size_t n)
{
    if (memcmp(got, expected, n * sizeof *got) == 0)
        return;
    for (size_t i = 0; i < n; i++)
        same_value(isa, part, i, got[i], expected[i]);
}

/* Exactly the same bits: an input, which is not to be touched. */
static inline void untouched(const char *part, const float *got, const float *before, size_t n)
{
    if (memcmp(got, before, n * sizeof *got) != 0)
        fail_msg("seed %llu, %s: %s was written", (unsigned long long)seed, what, part);
}

/* Of an output (n, d): columns from d are zero up to d rounded up, and spoiled as before then. */
static inline void check_padding(const float *y, size_t n, size_t d, size_t ld, bool zero)
{
    for (size_t r = 0; r < n; r++)
        for (size_t c = d; c < ld; c++)
            if (c < tet_round(d) ? zero && !(y[r * ld + c] == 0.0f)
                                 : bits_of(y[r * ld + c]) != spoiled)
                fail_msg("seed %llu, %s: padding (%zu, %zu) of %zu columns is %a",
                         (unsigned long long)seed, what, r, c, d, (double)y[r * ld + c]);
}

static inline void close_to(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("seed %llu, %s: got %.9g, expected %.9g, allowed %.3g apart",
                 (unsigned long long)seed, what, got, expected, tolerance);
}

/* ---- packed matrices ---- */

static inline struct tet_packed packed(enum mode mode, size_t rows, size_t columns, bool velocity)
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

static inline struct tet_packed packed_copy(const struct tet_packed *p)
{
    const size_t n = tet_packed_floats(p->rows, p->columns);
    struct tet_packed q = *p;
    q.w = copy_of(p->w, n);
    q.v = p->v != NULL ? copy_of(p->v, n) : NULL;
    return q;
}

static inline float weight(const struct tet_packed *p, size_t r, size_t c)
{
    return p->w[packed_index(p->rows, p->columns, r, c)];
}

static inline void check_packed_padding(const struct tet_packed *p)
{
    for (size_t r = p->rows; r < tet_round(p->rows); r++)
        for (size_t c = 0; c < p->columns; c++)
            if (!(weight(p, r, c) == 0.0f))
                fail_msg("seed %llu, %s: row %zu of %u, column %zu is %a", (unsigned long long)seed,
                         what, r, p->rows, c, (double)weight(p, r, c));
}

/* ---- what follows a product ---- */

static const char *const finish_names[] = {"none", "relu", "tanh", "gate_relu", "gate_tanh"};

static inline float finished(enum tet_finish finish, float y, float gate)
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

/* ---- sizes ---- */

static const size_t examples[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                  12, 13, 14, 15, 16, 17, 63, 64, 65, 100};
static const size_t widths[] = {1, 2, 15, 16, 17, 33, 48, 63, 64, 65, 66, 127, 128, 129, 130, 200};
static const size_t few_widths[] = {1, 16, 63, 65, 130, 200};
static const size_t few_columns[] = {1, 5, 17, 66};

#define TEST(f) cmocka_unit_test_teardown(f, forget)

/* A product by one thread, and by the shares of several, one after another: the ranks must cover
 * it. */
static const struct tet_share alone __attribute__((unused)) = {.of = 1};
#define EVERY_RANK(name, ranks)                                                                    \
    for (struct tet_share name = {.of = (ranks)}; name.index < name.of; name.index++)

#endif
