// SPDX-License-Identifier: Apache-2.0
/*
 * exp, log and tanh of every instruction set that this processor has: equal to the scalar ones bit
 * for bit, and at most 2 ulp from the exact value (libm in double, whose own error is below 2^-27
 * of a float's ulp).
 *
 * Walks through the floats by their bit patterns, with a stride that meets every exponent
 * thousands of times; TETRAD_EXHAUSTIVE=1 takes all 2^32.
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

#include "kernels/kernels.h"

enum { BLOCK = 4096, MAX_ISAS = 4, STRIDE = 509 };

static const struct tet_kernels *isas[MAX_ISAS]; // the scalar one first
static size_t n_isas;

static int find_isas(void **state)
{
    (void)state;
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
    n_isas = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct tet_kernels *found = NULL;
        setenv("TETRAD_ISA", names[i], 1);
        if (tet_kernels_select(&found, NULL) == TET_OK)
            isas[n_isas++] = found;
    }
    unsetenv("TETRAD_ISA");
    return n_isas > 0 ? 0 : -1;
}

typedef void map_fn(size_t n, const float *x, float *y);

struct function {
    const char *name;
    double (*exact)(double x);
};

static const struct function functions[] = {{"exp", exp}, {"log", log}, {"tanh", tanh}};

static map_fn *map_of(const struct tet_kernels *k, const struct function *f)
{
    return f->name[0] == 'e' ? k->exp : f->name[0] == 'l' ? k->log : k->tanh;
}

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static bool same(float a, float b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

/* |got - exact| in units of the last place of a float of exact's size; infinity counts as 2^128. */
static double ulps(float got, double exact)
{
    if (isnan(got) || isnan(exact))
        return isnan(got) && isnan(exact) ? 0.0 : INFINITY;
    const double g = isinf(got) ? copysign(0x1p128, got) : (double)got;
    const double e = fabs(exact) > 0x1p128 ? copysign(0x1p128, exact) : exact;
    uint64_t u;
    memcpy(&u, &e, sizeof u);
    int exponent = (int)(u >> 52 & 0x7FF);
    exponent = exponent < 1023 - 126 ? 1023 - 126 : exponent > 1023 + 127 ? 1023 + 127 : exponent;
    u = (uint64_t)(exponent - 23) << 52;
    double ulp;
    memcpy(&ulp, &u, sizeof ulp);
    return fabs(g - e) / ulp;
}

struct worst {
    double ulps;
    float at, got;
};

/* n values from every instruction set against the scalar ones, and those against the exact ones. */
static void judge_block(const struct function *f, size_t n, const float *x, struct worst *worst)
{
    static float y[MAX_ISAS][BLOCK];
    for (size_t k = 0; k < n_isas; k++) {
        map_of(isas[k], f)(n, x, y[k]);
        for (size_t i = 0; i < n; i++)
            if (!same(y[k][i], y[0][i]))
                fail_msg("%s(%a): %s %a, %s %a", f->name, (double)x[i], isas[k]->name,
                         (double)y[k][i], isas[0]->name, (double)y[0][i]);
    }
    for (size_t i = 0; i < n; i++) {
        const double error = ulps(y[0][i], f->exact((double)x[i]));
        if (error > worst->ulps)
            *worst = (struct worst){error, x[i], y[0][i]};
    }
}

/* Patterns first, first + stride, ... up to last. */
static void walk(const struct function *f, uint64_t first, uint64_t last, uint64_t stride,
                 struct worst *worst)
{
    static float x[BLOCK];
    size_t n = 0;
    for (uint64_t u = first; u <= last; u += stride) {
        x[n++] = float_of((uint32_t)u);
        if (n == BLOCK || u + stride > last) {
            judge_block(f, n, x, worst);
            n = 0;
        }
    }
}

/* All floats within `around` patterns of x. */
static void walk_around(const struct function *f, float x, uint64_t around, struct worst *worst)
{
    const uint64_t u = bits_of(x);
    walk(f, u > around ? u - around : 0, u + around < UINT32_MAX ? u + around : UINT32_MAX, 1,
         worst);
}

static void error_bound(void **state)
{
    const struct function *f = *state;
    const bool all = getenv("TETRAD_EXHAUSTIVE") != NULL;
    struct worst worst = {0};
    walk(f, 0, UINT32_MAX, all ? 1 : STRIDE, &worst);
    // where formulas change over, overflow, or become subnormal
    static const float corners[] = {
        0.0f,    FLT_MIN,   1.0f,       0.625f,  88.72284f,       89.0f,    -87.33f, -103.97208f,
        -104.0f, 0.346574f, 1.4142135f, 0.7071f, 0x1.fffffep127f, INFINITY, 9.0f,    44.5f};
    for (size_t i = 0; i < sizeof corners / sizeof *corners; i++) {
        walk_around(f, corners[i], 20000, &worst);
        walk_around(f, -corners[i], 20000, &worst);
    }
    print_message("%s: at most %.4f ulp, at %a: %a, exactly %.17g%s\n", f->name, worst.ulps,
                  (double)worst.at, (double)worst.got, f->exact((double)worst.at),
                  all ? " (all floats)" : "");
    if (!(worst.ulps <= 2.0))
        fail_msg("%s(%a): got %a, exactly %a: %.4f ulp, allowed 2", f->name, (double)worst.at,
                 (double)worst.got, f->exact((double)worst.at), worst.ulps);
}

static void one_value(const char *name, map_fn *map, float x, float expected)
{
    float y = 42.0f;
    map(1, &x, &y);
    if (!same(y, expected))
        fail_msg("%s(%a): got %a, expected %a", name, (double)x, (double)y, (double)expected);
}

static void special_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_isas; i++) {
        const struct tet_kernels *k = isas[i];
        const struct {
            map_fn *map;
            const char *name;
            float x, y;
        } cases[] = {
            {k->exp, "exp", 0.0f, 1.0f},
            {k->exp, "exp", -0.0f, 1.0f},
            {k->exp, "exp", 0x1p-149f, 1.0f},
            {k->exp, "exp", -0x1p-149f, 1.0f},
            {k->exp, "exp", INFINITY, INFINITY},
            {k->exp, "exp", -INFINITY, 0.0f},
            {k->exp, "exp", NAN, NAN},
            {k->exp, "exp", -NAN, NAN},
            {k->exp, "exp", 0x1.62e432p6f, INFINITY}, // the first float past ln(FLT_MAX)
            {k->exp, "exp", FLT_MAX, INFINITY},
            {k->exp, "exp", -FLT_MAX, 0.0f},
            {k->exp, "exp", -104.0f, 0.0f},
            {k->exp, "exp", -103.0f, 0x1p-149f},
            {k->log, "log", 1.0f, 0.0f},
            {k->log, "log", 0.0f, -INFINITY},
            {k->log, "log", -0.0f, -INFINITY},
            {k->log, "log", INFINITY, INFINITY},
            {k->log, "log", -INFINITY, NAN},
            {k->log, "log", -1.0f, NAN},
            {k->log, "log", -0x1p-149f, NAN},
            {k->log, "log", NAN, NAN},
            {k->log, "log", -NAN, NAN},
            {k->log, "log", 0x1p-149f, (float)-103.27892990343184},
            {k->tanh, "tanh", 0.0f, 0.0f},
            {k->tanh, "tanh", -0.0f, -0.0f},
            {k->tanh, "tanh", 0x1p-149f, 0x1p-149f},
            {k->tanh, "tanh", -0x1p-149f, -0x1p-149f},
            {k->tanh, "tanh", INFINITY, 1.0f},
            {k->tanh, "tanh", -INFINITY, -1.0f},
            {k->tanh, "tanh", FLT_MAX, 1.0f},
            {k->tanh, "tanh", -FLT_MAX, -1.0f},
            {k->tanh, "tanh", 20.0f, 1.0f},
            {k->tanh, "tanh", NAN, NAN},
            {k->tanh, "tanh", -NAN, NAN},
        };
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
            one_value(cases[c].name, cases[c].map, cases[c].x, cases[c].y);
    }
}

/* What users of the functions may rely on beyond the bound: tanh is odd and within [-1, 1], exp is
 * not negative. */
static void shapes(void **state)
{
    (void)state;
    enum { N = 1000 };
    static float x[N], minus[N], a[N], b[N], e[N];
    for (size_t i = 0; i < N; i++) {
        x[i] = (float)i * 0.0137f;
        minus[i] = -x[i];
    }
    for (size_t k = 0; k < n_isas; k++) {
        isas[k]->tanh(N, x, a);
        isas[k]->tanh(N, minus, b);
        isas[k]->exp(N, minus, e);
        for (size_t i = 0; i < N; i++)
            if (bits_of(-a[i]) != bits_of(b[i]) || !(a[i] <= 1.0f) || !(e[i] >= 0.0f))
                fail_msg("%s at %a: tanh %a and %a, exp %a", isas[k]->name, (double)x[i],
                         (double)a[i], (double)b[i], (double)e[i]);
    }
}

/* Any count, in place or not; nothing past the count is touched. */
static void counts(void **state)
{
    (void)state;
    enum { N = 70, GUARD = 32 };
    for (size_t k = 0; k < n_isas; k++)
        for (size_t f = 0; f < 3; f++) {
            map_fn *map = map_of(isas[k], &functions[f]);
            for (size_t n = 0; n <= N; n++) {
                float *x = malloc((n + 1) * sizeof *x), y[N + 2 * GUARD], alone;
                assert_non_null(x);
                for (size_t i = 0; i < n; i++)
                    x[i] = 0.1f + (float)i * 0.11f;
                for (size_t i = 0; i < N + 2 * GUARD; i++)
                    y[i] = -77.0f;
                map(n, x, y + GUARD);
                for (size_t i = 0; i < N + 2 * GUARD; i++) {
                    alone = -77.0f;
                    if (i >= GUARD && i < GUARD + n)
                        map(1, x + i - GUARD, &alone);
                    if (!same(y[i], alone))
                        fail_msg("%s %s of %zu at %zd: got %a, expected %a", isas[k]->name,
                                 functions[f].name, n, (ssize_t)i - GUARD, (double)y[i],
                                 (double)alone);
                }
                map(n, x, x);
                assert_memory_equal(x, y + GUARD, n * sizeof *x);
                free(x);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_values),
        cmocka_unit_test(shapes),
        cmocka_unit_test(counts),
        {"exp_error", error_bound, NULL, NULL, (void *)(uintptr_t)&functions[0]},
        {"log_error", error_bound, NULL, NULL, (void *)(uintptr_t)&functions[1]},
        {"tanh_error", error_bound, NULL, NULL, (void *)(uintptr_t)&functions[2]},
    };
    return cmocka_run_group_tests(tests, find_isas, NULL);
}
