// SPDX-License-Identifier: Apache-2.0
/* Philox against Random123's known answers, normal numbers against reference quantiles. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "exact.h"
#include "philox.h"

static void known_answers(void **state)
{
    (void)state;
    // kat_vectors of Random123: counter, key, answer
    static const uint32_t cases[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (size_t i = 0; i < 3; i++) {
        const uint32_t *c = cases[i];
        struct tet_stream s = {{c[4], c[5]}, c[3], c[2]};
        uint32_t out[4];
        tet_philox(&s, (uint64_t)c[1] << 32 | c[0], out);
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(out[k], c[6 + k]);
    }
}

static void stream_words(void **state)
{
    (void)state;
    struct tet_stream s = tet_stream_make(UINT64_C(0x0123456789abcdef), TET_STREAM_V, 7);
    assert_int_equal(s.key[0], 0x89abcdef);
    assert_int_equal(s.key[1], 0x01234567);
    assert_int_equal(s.purpose, 3);
    assert_int_equal(s.index, 7);
    for (uint64_t i = 0; i < 12; i++) {
        uint32_t out[4];
        tet_philox(&s, i / 4, out);
        assert_int_equal(tet_stream_u32(&s, i), out[i % 4]);
    }
}

/* A run is its blocks, also where the number passes 32 and 64 bits. */
static void runs_of_blocks(void **state)
{
    (void)state;
    static const uint64_t starts[] = {0, 5, UINT32_MAX - 3, UINT64_C(1) << 40, UINT64_MAX - 2};
    const struct tet_stream s = tet_stream_make(UINT64_C(0xfedcba9876543210), TET_STREAM_B, 3);
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        uint32_t run[4][TET_PHILOX_RUN], out[4];
        tet_philox_run(&s, starts[i], run);
        for (uint64_t k = 0; k < TET_PHILOX_RUN; k++) {
            tet_philox(&s, starts[i] + k, out);
            for (size_t w = 0; w < 4; w++)
                assert_int_equal(run[w][k], out[w]);
        }
    }
}

static void uniform_range(void **state)
{
    (void)state;
    assert_true(tet_uniform(0) == 0.0f);
    assert_true(tet_uniform(255) == 0.0f);
    assert_true(tet_uniform(256) == 0x1p-24f);
    assert_true(tet_uniform(UINT32_MAX) == 1.0f - 0x1p-24f);
    assert_true(tet_uniform(UINT32_C(1) << 31) == 0.5f);
}

static void near(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance * (1.0 + fabs(expected))))
        fail_msg("got %.17g, expected %.17g", got, expected);
}

static void normal_quantiles(void **state)
{
    (void)state;
    // expected: statistics.NormalDist().inv_cdf((r + 0.5) * 2**-32), Python 3, to 2e-15
    static const struct {
        uint32_t r;
        double z;
    } cases[] = {
        {0u, -6.3379577545537895},
        {1u, -6.1664295178197506},
        {2u, -6.0851045457830306},
        {100u, -5.4630625543895386},
        {59652u, -4.1909583942489501},
        {1048576u, -3.4871039765916905},
        {322122546u, -1.4395314720898174},
        {322122548u, -1.4395314688002132},
        {1073741824u, -0.67448974982973842},
        {2147483647u, -2.9180993729166229e-10},
        {2147483648u, 2.9180993729166229e-10},
        {3221225472u, 0.67448975056242511},
        {3972844750u, 1.4395314737346194},
        {4294967294u, 6.1664295178197506},
        {4294967295u, 6.3379577545537895},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        near(tet_normal_from_u32(cases[i].r), cases[i].z, 2e-15);
}

/* The quantile's inverse by libm: Phi(z) = erfc(-z / sqrt(2)) / 2 gives p back, everywhere. */
static void normal_inverts(void **state)
{
    (void)state;
    double before = -INFINITY;
    for (uint64_t r = 0; r <= UINT32_MAX; r += 65537) {
        double p = ((double)r + 0.5) * 0x1p-32, z = tet_normal_from_u32((uint32_t)r);
        near(0.5 * erfc(-z / sqrt(2.0)) / p, 1.0, 2e-14);
        assert_true(z > before);
        before = z;
        double mirror = tet_normal_from_u32(UINT32_MAX - (uint32_t)r);
        near(mirror, -z, 1e-13);
    }
}

/* Pinned: what a seed means may never change. */
static void normal_bits(void **state)
{
    (void)state;
    struct tet_stream s = tet_stream_make(1, TET_STREAM_W, 1);
    uint64_t hash = UINT64_C(14695981039346656037);
    double sum = 0.0, squares = 0.0;
    enum { N = 100000 };
    for (uint64_t i = 0; i < N; i++) {
        double z = tet_normal_from_u32(tet_stream_u32(&s, i));
        unsigned char bytes[sizeof z];
        memcpy(bytes, &z, sizeof z);
        for (size_t k = 0; k < sizeof z; k++)
            hash = (hash ^ bytes[k]) * UINT64_C(1099511628211);
        sum += z;
        squares += z * z;
    }
    assert_true(fabs(sum / N) < 5.0 / sqrt(N));
    assert_true(fabs(squares / N - 1.0) < 5.0 * sqrt(2.0 / N));
    if (hash != UINT64_C(0x7ddd6cebde7560e5))
        fail_msg("hash 0x%016llx", (unsigned long long)hash);
}

static void below_range(void **state)
{
    (void)state;
    struct tet_stream s = tet_stream_make(5, TET_STREAM_SHUFFLE, 0);
    uint32_t counts[10] = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        assert_int_equal(tet_below(&s, i, 1), 0);
        uint32_t k = tet_below(&s, i, 10);
        assert_in_range(k, 0, 9);
        counts[k]++;
    }
    for (size_t k = 0; k < 10; k++)
        assert_in_range(counts[k], 9500, 10500);
    // by hand: the upper 32 bits of (out[1] 2^32 + out[0]) n / 2^32
    uint32_t out[4];
    tet_philox(&s, 3, out);
    uint32_t n = 4000000007u;
    long double x = ((long double)out[1] * 4294967296.0L + out[0]) / 18446744073709551616.0L * n;
    assert_int_equal(tet_below(&s, 3, n), (uint32_t)x);
}

static void shuffle_permutes(void **state)
{
    (void)state;
    enum { N = 1000 };
    uint32_t p[N], again[N];
    unsigned char seen[N] = {0};
    struct tet_stream s = tet_stream_make(9, TET_STREAM_SHUFFLE, 2);
    for (uint32_t i = 0; i < N; i++)
        p[i] = again[i] = i;
    tet_shuffle(&s, p, N);
    tet_shuffle(&s, again, N);
    assert_memory_equal(p, again, sizeof p);
    uint32_t fixed = 0;
    for (uint32_t i = 0; i < N; i++) {
        assert_in_range(p[i], 0, N - 1);
        assert_int_equal(seen[p[i]], 0);
        seen[p[i]] = 1;
        fixed += p[i] == i;
    }
    assert_in_range(fixed, 0, 10);
    tet_shuffle(&s, p, 0);
    uint32_t one = 42;
    tet_shuffle(&s, &one, 1);
    assert_int_equal(one, 42);
    uint32_t first[5] = {0, 1, 2, 3, 4};
    static const uint32_t pinned[5] = {0, 4, 2, 3, 1};
    struct tet_stream other = tet_stream_make(1, TET_STREAM_SHUFFLE, 0);
    tet_shuffle(&other, first, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(first[i], pinned[i]);
}

/* Against libm's, all over its range; exact where it can be. */
static void exponentials(void **state)
{
    (void)state;
    const struct tet_stream stream = tet_stream_make(9, TET_STREAM_W, 0);
    for (uint32_t i = 0; i < 200000; i++) {
        const double unit = ((double)tet_stream_u32(&stream, i) + 0.5) * 0x1p-31 - 1.0;
        const double x = unit * (i % 4 == 0 ? 700.0 : i % 4 == 1 ? 1e-8 : 8.0);
        if (!(fabs(tet_exact_exp(x) - exp(x)) <= 1e-14 * exp(x)))
            fail_msg("exp(%.17g): got %.17g, expected %.17g", x, tet_exact_exp(x), exp(x));
    }
    assert_true(tet_exact_exp(0.0) == 1.0 && tet_exact_exp(-0.0) == 1.0);
    static const double bounds[] = {700.0, -700.0, 0.34657359027997264, -0.34657359027997264};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        assert_true(fabs(tet_exact_exp(bounds[i]) / exp(bounds[i]) - 1.0) <= 1e-14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),  cmocka_unit_test(stream_words),
        cmocka_unit_test(uniform_range),  cmocka_unit_test(normal_quantiles),
        cmocka_unit_test(normal_inverts), cmocka_unit_test(normal_bits),
        cmocka_unit_test(below_range),    cmocka_unit_test(shuffle_permutes),
        cmocka_unit_test(exponentials),   cmocka_unit_test(runs_of_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
