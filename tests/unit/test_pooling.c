// SPDX-License-Identifier: Apache-2.0
/*
 * Pooling and its way back: the scalar kernels equal plain loops written here, those of every
 * instruction set that this processor has equal the scalar ones bit for bit; nothing is written but
 * the output's planes. What comes down is adjoint to what goes up.
 */
#include "kernel_volumes.h"

static const char *const pool_names[] = {"none", "max", "avg"};

/* p points into it. */
struct pooling {
    struct tet_pooling p;
    struct tet_window w;
};

/* Few different values, so that maxima are shared, zeros of both signs among them. */
static void repeat(float *a, size_t n)
{
    static const float few[] = {-0.0f, 0.0f, 0.5f, -0.5f, 0.5f};
    for (size_t i = 0; i < n; i++)
        if (bits_of(a[i]) != spoiled)
            a[i] = few[below(COUNT(few))];
}

static void make_pooling(struct pooling *v, size_t n, uint32_t channels, const struct tet_window *w,
                         enum tet_pool pool, enum mode mode, bool ties)
{
    CASE("%s n %zu, %u channels, size %u stride %u, %u x %u to %u x %u, %s%s", pool_names[pool], n,
         channels, w->kernel, w->stride, w->rows, w->columns, w->out_rows, w->out_columns,
         mode_names[mode], ties ? ", ties" : "");
    v->w = *w;
    v->p = (struct tet_pooling){.rank = &alone, .n = n, .window = &v->w, .pool = pool};
    struct tet_pooling *p = &v->p;
    p->va = fine_volume(w, channels, (uint32_t)below(3), n);
    float *a = images(mode, &p->va, n, 0);
    if (ties)
        repeat(a, floats_of(&p->va));
    p->a = a;
    p->vx = coarse_volume(w, channels, (uint32_t)below(3), n);
    p->x = new_array(floats_of(&p->vx));
    p->vabove = p->vx;
    p->vabove.pad = (uint32_t)below(3);
    p->above = images(mode, &p->vabove, n, 0);
    p->s = new_array(floats_of(&p->va));
}

/* The value of tap k, counted row by row, of the coarse position (oy, ox). */
static float tap_of(const struct tet_pooling *p, size_t c, size_t oy, size_t ox, size_t k, size_t i)
{
    const struct tet_window *w = p->window;
    return p
        ->a[place(&p->va, c, looked_at(w, oy, k / w->kernel), looked_at(w, ox, k % w->kernel)) + i];
}

static float pooled(const struct tet_pooling *p, size_t c, size_t oy, size_t ox, size_t i)
{
    const size_t taps = (size_t)p->window->kernel * p->window->kernel;
    float largest = tap_of(p, c, oy, ox, 0, i), sum = 0.0f;
    for (size_t k = 0; k < taps; k++) {
        const float a = tap_of(p, c, oy, ox, k, i);
        largest = a > largest ? a : largest;
        sum += a;
    }
    return p->pool == TET_POOL_MAX ? largest : sum * (1.0f / (float)taps);
}

/* What the coarse position (oy, ox) sends down to its tap k. */
static float share_of(const struct tet_pooling *p, size_t c, size_t oy, size_t ox, size_t k,
                      size_t i)
{
    const size_t taps = (size_t)p->window->kernel * p->window->kernel;
    const float above = p->above[place(&p->vabove, c, (ptrdiff_t)oy, (ptrdiff_t)ox) + i];
    if (p->pool == TET_POOL_AVG)
        return above * (1.0f / (float)taps);
    const float x = p->x[place(&p->vx, c, (ptrdiff_t)oy, (ptrdiff_t)ox) + i];
    size_t winner = 0;
    while (winner < taps && !(tap_of(p, c, oy, ox, winner, i) == x))
        winner++;
    return k == winner ? above : 0.0f;
}

/* What the fine position (y, x) is sent by the windows that look at it. */
static float unpooled(const struct tet_pooling *p, size_t c, size_t y, size_t x, size_t i)
{
    const struct tet_window *w = p->window;
    float sum = 0.0f;
    for (size_t oy = 0; oy < w->out_rows; oy++)
        for (size_t ox = 0; ox < w->out_columns; ox++) {
            const size_t top = oy * w->stride, left = ox * w->stride;
            if (y >= top && y < top + w->kernel && x >= left && x < left + w->kernel)
                sum += share_of(p, c, oy, ox, (y - top) * w->kernel + x - left, i);
        }
    return sum;
}

static void plain_pooling(const struct tet_pooling *p)
{
    const struct tet_window *w = p->window;
    for (size_t c = 0; c < p->va.channels; c++)
        for (size_t i = 0; i < tet_round(p->n); i++) {
            for (size_t o = 0; o < (size_t)w->out_rows * w->out_columns; o++) {
                const size_t oy = o / w->out_columns, ox = o % w->out_columns;
                const size_t at = place(&p->vx, c, (ptrdiff_t)oy, (ptrdiff_t)ox) + i;
                same_value("scalar", "x", at, p->x[at], pooled(p, c, oy, ox, i));
            }
            for (size_t f = 0; f < (size_t)w->rows * w->columns; f++) {
                const size_t y = f / w->columns, x = f % w->columns;
                const size_t at = place(&p->va, c, (ptrdiff_t)y, (ptrdiff_t)x) + i;
                same_value("scalar", "s", at, p->s[at], unpooled(p, c, y, x, i));
            }
        }
}

static void check_ranks(const struct tet_kernels *kernels, struct tet_pooling p)
{
    const size_t coarse = floats_of(&p.vx), fine = floats_of(&p.va);
    const float *x = p.x, *s = p.s;
    float *whole_x = new_array(coarse), *whole_s = new_array(fine);
    EVERY_RANK(rank, 1 + below(4))
    {
        p.rank = &rank;
        p.x = new_array(coarse);
        kernels->pool(&p);
        take_in(whole_x, p.x, coarse);
    }
    p.x = whole_x;
    EVERY_RANK(rank, 1 + below(4))
    {
        p.rank = &rank;
        p.s = new_array(fine);
        kernels->unpool(&p);
        take_in(whole_s, p.s, fine);
    }
    check_written(whole_x, &p.vx, p.n, false);
    check_written(whole_s, &p.va, p.n, true);
    same(kernels->name, "x", whole_x, x, coarse);
    same(kernels->name, "s", whole_s, s, fine);
}

static void one_pooling(size_t n, uint32_t channels, const struct tet_window *w, enum tet_pool pool,
                        enum mode mode, bool ties)
{
    struct pooling v;
    make_pooling(&v, n, channels, w, pool, mode, ties);
    const float *a = copy_of(v.p.a, floats_of(&v.p.va));
    const float *above = copy_of(v.p.above, floats_of(&v.p.vabove));
    scalar->pool(&v.p);
    const float *x = copy_of(v.p.x, floats_of(&v.p.vx));
    scalar->unpool(&v.p);
    check_written(v.p.x, &v.p.vx, n, false);
    check_written(v.p.s, &v.p.va, n, true);
    plain_pooling(&v.p);
    check_ranks(scalar, v.p);
    EVERY_ISA(isa)
    check_ranks(isa, v.p);
    untouched("a", v.p.a, a, floats_of(&v.p.va));
    untouched("x", v.p.x, x, floats_of(&v.p.vx));
    untouched("above", v.p.above, above, floats_of(&v.p.vabove));
    drop_arrays();
}

/* A window that fits its grid, with some positions to spare. */
static struct tet_window random_window(uint32_t size, uint32_t stride)
{
    return window_over(size + (uint32_t)below(6), size + (uint32_t)below(6), size, stride, 0);
}

/* Strides below, at and above the size: windows that overlap, that meet, that leave gaps. */
static void every_window(void **state)
{
    (void)state;
    static const uint32_t channels[] = {1, 2, 5, 16, 17};
    static const size_t batches[] = {1, 5, 16, 17, 40, 64, 100};
    for (int pool = TET_POOL_MAX; pool <= TET_POOL_AVG; pool++)
        for (uint32_t size = 1; size <= 5; size++)
            for (uint32_t stride = 1; stride <= size + 2; stride++)
                for (int mode = 0; mode < MODES; mode++)
                    for (int ties = 0; ties < 2; ties++) {
                        const struct tet_window w = random_window(size, stride);
                        one_pooling(batches[below(COUNT(batches))],
                                    channels[below(COUNT(channels))], &w, (enum tet_pool)pool,
                                    (enum mode)mode, ties != 0);
                    }
}

/* The first of equals in the order (ky, kx) wins, not the first in another. */
static void first_winner(void **state)
{
    (void)state;
    const struct tet_window w = window_over(2, 2, 2, 1, 0);
    for (unsigned winners = 1; winners < 16; winners++) {
        struct pooling v;
        make_pooling(&v, 1, 1, &w, TET_POOL_MAX, PLAIN, false);
        float *a = copy_of(v.p.a, floats_of(&v.p.va));
        for (unsigned k = 0; k < 4; k++)
            a[place(&v.p.va, 0, k / 2, k % 2)] = winners >> k & 1 ? 3.0f : -3.0f;
        v.p.a = a;
        scalar->pool(&v.p);
        scalar->unpool(&v.p);
        unsigned first = 0;
        while (!(winners >> first & 1))
            first++;
        const float above = v.p.above[place(&v.p.vabove, 0, 0, 0)];
        for (unsigned k = 0; k < 4; k++)
            same_value("scalar", "s", k, v.p.s[place(&v.p.va, 0, k / 2, k % 2)],
                       k == first ? 0.0f + above : 0.0f);
        drop_arrays();
    }
}

/* <pool(a), above> = <a, unpool(above)>: of the mean, and of a maximum where its winners are. */
static void adjoint(void **state)
{
    (void)state;
    for (int pool = TET_POOL_MAX; pool <= TET_POOL_AVG; pool++)
        for (uint32_t size = 1; size <= 4; size++)
            for (uint32_t stride = 1; stride <= size + 1; stride++) {
                const struct tet_window w = random_window(size, stride);
                struct pooling v;
                double up, down;
                make_pooling(&v, 17, 5, &w, (enum tet_pool)pool, PLAIN, stride == 1);
                scalar->pool(&v.p);
                scalar->unpool(&v.p);
                const double got = inner(&v.p.vx, v.p.x, &v.p.vabove, v.p.above, 17, &up);
                close_to(inner(&v.p.va, v.p.a, &v.p.va, v.p.s, 17, &down), got, 1e-6 * (1.0 + up));
                drop_arrays();
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(every_window), TEST(first_winner), TEST(adjoint)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
