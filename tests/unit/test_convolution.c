// SPDX-License-Identifier: Apache-2.0
/*
 * Convolutions: the scalar kernels equal plain loops written here; those of every instruction set
 * that this processor has equal the scalar ones bit for bit, NaN standing for NaN, over the shares
 * of several ranks; nothing is written but the output's image. Then what follows from the
 * definitions: the three ways and the drive are adjoint to each other.
 */
#include "kernel_volumes.h"

static const char *const way_names[] = {"convolve", "transposed", "adjoint"};
static const uint32_t channels[] = {1, 2, 5, 6, 7, 16, 17, 63, 64, 65, 70, 130};
static const size_t batches[] = {1, 5, 16, 17, 40, 64, 100};

/* ---- shapes ---- */

struct shape {
    size_t n;
    uint32_t fine, coarse; // channels
    struct tet_window w;
};

/* Multiplications of a product over the shape. */
static double cost_of(const struct shape *s)
{
    const double positions =
        fmax((double)s->w.rows * s->w.columns, (double)s->w.out_rows * s->w.out_columns);
    return (double)s->fine * s->coarse * s->w.kernel * s->w.kernel * positions *
           (double)tet_round(s->n);
}

/* A random grid that the window fits, with a few positions to spare if that costs at most 300,000
 * multiplications, otherwise fewer. */
static struct shape shape_of(size_t n, uint32_t fine, uint32_t coarse, uint32_t kernel,
                             uint32_t stride, uint32_t padding)
{
    struct shape s = {.n = n, .fine = fine, .coarse = coarse};
    const uint32_t least = kernel > 2 * padding ? kernel - 2 * padding : 1;
    for (uint32_t spare = 2 * stride + 5; spare > 0; spare--) {
        s.w = window_over(least + (uint32_t)below(spare), least + (uint32_t)below(spare), kernel,
                          stride, padding);
        if (cost_of(&s) <= 3e5)
            break;
    }
    return s;
}

static struct shape random_shape(uint32_t fine, uint32_t coarse)
{
    static const size_t few[] = {1, 5, 16, 17};
    const uint32_t kernel = 1 + (uint32_t)below(fine * coarse < 300 ? 4 : 2);
    return shape_of(few[below(COUNT(few))], fine, coarse, kernel, 1 + (uint32_t)below(3),
                    (uint32_t)below(kernel));
}

static void describe(const char *kernel, const struct shape *s, const char *how, enum mode mode)
{
    CASE("%s n %zu, channels %u fine %u coarse, kernel %u stride %u padding %u, %u x %u to %u x "
         "%u, %s, %s",
         kernel, s->n, s->fine, s->coarse, s->w.kernel, s->w.stride, s->w.padding, s->w.rows,
         s->w.columns, s->w.out_rows, s->w.out_columns, how, mode_names[mode]);
}

/* Calls do(shape, argument) for pairs of channels, kernels with strides and paddings, and numbers of
 * examples. */
typedef void shape_fn(const struct shape *s, int argument);

static void every_shape(shape_fn *visit, int argument)
{
    for (size_t i = 0; i < COUNT(channels); i++)
        for (size_t k = 0; k < COUNT(channels); k++) {
            const struct shape s = random_shape(channels[i], channels[k]);
            visit(&s, argument);
        }
    for (uint32_t kernel = 1; kernel <= 7; kernel++)
        for (uint32_t stride = 1; stride <= 4; stride++)
            for (uint32_t padding = 0; padding < kernel; padding++) {
                const uint32_t last = stride < 4 ? stride : kernel + 1 + (uint32_t)below(2);
                const struct shape s = shape_of(1 + below(17), channels[below(5)],
                                                channels[below(5)], kernel, last, padding);
                visit(&s, argument);
            }
    for (size_t n = 0; n < COUNT(batches); n++)
        for (int again = 0; again < 3; again++) {
            const struct shape s = shape_of(batches[n], channels[below(6)], channels[below(6)],
                                            1 + (uint32_t)below(3), 1 + (uint32_t)below(2), 0);
            visit(&s, argument);
        }
}

/* ---- the three ways ---- */

/* What a convolution is made of; c points into it. */
struct convolution {
    struct tet_convolution c;
    struct tet_packed p;
    struct tet_window w;
};

static void make_convolution(struct convolution *v, const struct shape *s, enum tet_way way,
                             enum tet_finish finish, bool biased, enum mode mode)
{
    const uint32_t taps = s->w.kernel * s->w.kernel, look = s->w.padding;
    const bool up = way == TET_CONVOLVE, gated = finish >= TET_FINISH_GATE_RELU;
    const uint32_t from = up ? s->fine : s->coarse, to = up ? s->coarse : s->fine;
    v->w = s->w;
    v->p = way == TET_ADJOINT ? packed(mode, from, (size_t)to * taps, false)
                              : packed(mode, to, (size_t)from * taps, false);
    struct tet_convolution *c = &v->c;
    *c = (struct tet_convolution){
        .rank = &alone, .way = way, .n = s->n, .window = &v->w, .p = &v->p, .finish = finish};
    c->vx = up ? fine_volume(&s->w, from, look + (uint32_t)below(2), s->n)
               : coarse_volume(&s->w, from, (uint32_t)below(3), s->n);
    c->x = images(mode, &c->vx, s->n, up ? look : 0);
    if (biased)
        c->bias = activity(mode, 1, to, tet_round(to));
    const uint32_t pad = (uint32_t)below(3);
    c->vy = up ? coarse_volume(&s->w, to, pad, s->n) : fine_volume(&s->w, to, pad, s->n);
    if (gated) {
        const uint32_t other = (pad + 1 + (uint32_t)below(2)) % 3;
        c->vgate = up ? coarse_volume(&s->w, to, other, s->n) : fine_volume(&s->w, to, other, s->n);
        c->gate = images(mode, &c->vgate, s->n, 0);
    }
    c->y = new_array(floats_of(&c->vy));
}

/* All outputs of channel `to` at once, a tap after the other: where a tap of a coarse position looks
 * at a fine one, the output of the two takes in the other's value. sum, exact, size (position,
 * example). */
static void add_taps(const struct tet_convolution *c, size_t to, float *sum, double *exact,
                     double *size)
{
    const struct tet_window *w = c->window;
    const size_t k = w->kernel, n = tet_round(c->n);
    for (size_t from = 0; from < c->vx.channels; from++)
        for (size_t tap = 0; tap < k * k; tap++) {
            const float p = c->way == TET_ADJOINT ? weight(c->p, from, to * k * k + tap)
                                                  : weight(c->p, to, from * k * k + tap);
            for (size_t o = 0; o < (size_t)w->out_rows * w->out_columns; o++) {
                const size_t oy = o / w->out_columns, ox = o % w->out_columns;
                const ptrdiff_t y = looked_at(w, oy, tap / k), x = looked_at(w, ox, tap % k);
                const bool up = c->way == TET_CONVOLVE;
                if (!up && !inside(&c->vy, y, x))
                    continue;
                const float *value =
                    c->x + (up ? place(&c->vx, from, y, x)
                               : place(&c->vx, from, (ptrdiff_t)oy, (ptrdiff_t)ox));
                const size_t at = (up ? o : (size_t)y * w->columns + (size_t)x) * n;
                for (size_t i = 0; i < n; i++) {
                    sum[at + i] = fmaf(value[i], p, sum[at + i]);
                    exact[at + i] += (double)value[i] * p;
                    size[at + i] += fabs((double)value[i] * p);
                }
            }
        }
}

static void plain_convolution(const struct tet_convolution *c)
{
    const size_t n = tet_round(c->n), outputs = (size_t)c->vy.rows * c->vy.columns * n;
    float *sum = malloc(outputs * sizeof *sum);
    double *exact = malloc(outputs * sizeof *exact), *size = malloc(outputs * sizeof *size);
    assert_true(sum != NULL && exact != NULL && size != NULL);
    for (size_t to = 0; to < c->vy.channels; to++) {
        for (size_t i = 0; i < outputs; i++) {
            sum[i] = 0.0f;
            exact[i] = size[i] = 0.0;
        }
        add_taps(c, to, sum, exact, size);
        for (size_t i = 0; i < outputs; i++) {
            const float bias = c->bias != NULL ? c->bias[to] : 0.0f;
            const float before = c->bias != NULL ? sum[i] + bias : sum[i];
            const ptrdiff_t y = (ptrdiff_t)(i / n / c->vy.columns);
            const ptrdiff_t x = (ptrdiff_t)(i / n % c->vy.columns);
            const float gate = c->gate != NULL ? c->gate[place(&c->vgate, to, y, x) + i % n] : 0.0f;
            const size_t at = place(&c->vy, to, y, x) + i % n;
            same_value("scalar", "y", at, c->y[at], finished(c->finish, before, gate));
            if (c->finish == TET_FINISH_NONE && isfinite(before))
                close_to(c->y[at], exact[i] + bias,
                         1e-5 * size[i] + 1e-6 * fabs(exact[i] + bias) + 1e-40);
        }
    }
    free(sum);
    free(exact);
    free(size);
}

/* By the shares of some ranks, each in an array of its own. */
static void check_ranks(const struct tet_kernels *kernels, struct tet_convolution c)
{
    const size_t floats = floats_of(&c.vy);
    const float *expected = c.y;
    float *whole = new_array(floats);
    EVERY_RANK(rank, 1 + below(4))
    {
        c.rank = &rank;
        c.y = new_array(floats);
        kernels->convolve(&c);
        take_in(whole, c.y, floats);
    }
    check_written(whole, &c.vy, c.n, false);
    same(kernels->name, "y", whole, expected, floats);
}

static void one_convolution(const struct shape *s, enum tet_way way, enum tet_finish finish,
                            bool biased, enum mode mode)
{
    char how[40];
    (void)snprintf(how, sizeof how, "%s%s", finish_names[finish], biased ? " bias" : "");
    describe(way_names[way], s, how, mode);
    struct convolution v;
    make_convolution(&v, s, way, finish, biased, mode);
    const size_t floats = floats_of(&v.c.vx);
    const float *x = copy_of(v.c.x, floats);
    const float *w = copy_of(v.p.w, tet_packed_floats(v.p.rows, v.p.columns));
    const float *gate = v.c.gate != NULL ? copy_of(v.c.gate, floats_of(&v.c.vgate)) : NULL;
    scalar->convolve(&v.c);
    check_written(v.c.y, &v.c.vy, s->n, false);
    plain_convolution(&v.c);
    check_ranks(scalar, v.c);
    EVERY_ISA(isa)
    check_ranks(isa, v.c);
    untouched("x", v.c.x, x, floats);
    untouched("P", v.p.w, w, tet_packed_floats(v.p.rows, v.p.columns));
    if (gate != NULL)
        untouched("gate", v.c.gate, gate, floats_of(&v.c.vgate));
    drop_arrays();
}

static void convolve_one(const struct shape *s, int way)
{
    const enum tet_finish finish = (enum tet_finish)below(5);
    one_convolution(s, (enum tet_way)way, finish, way == TET_CONVOLVE && below(4) != 0,
                    below(2) == 0 ? PLAIN : (enum mode)below(MODES));
}

static void convolve_every_shape(void **state)
{
    (void)state;
    for (int way = TET_CONVOLVE; way <= TET_ADJOINT; way++)
        every_shape(convolve_one, way);
}

static void convolve_every_finish(void **state)
{
    (void)state;
    for (int way = TET_CONVOLVE; way <= TET_ADJOINT; way++)
        for (int finish = 0; finish <= TET_FINISH_GATE_TANH; finish++)
            for (int biased = 0; biased < (way == TET_CONVOLVE ? 2 : 1); biased++)
                for (int mode = 0; mode < MODES; mode++)
                    for (int again = 0; again < 6; again++) {
                        const struct shape s = random_shape(channels[below(6)], channels[below(7)]);
                        one_convolution(&s, (enum tet_way)way, (enum tet_finish)finish, biased != 0,
                                        (enum mode)mode);
                    }
}

/* ---- the drive ---- */

/* Channel i of the coarse grid with j of the fine at tap (ky, kx). */
static float correlation(const struct tet_convolution_drive *d, size_t i, size_t j, size_t ky,
                         size_t kx)
{
    const struct tet_window *w = d->window;
    float lane[16] = {0};
    for (size_t o = 0; o < (size_t)w->out_rows * w->out_columns; o++) {
        const size_t oy = o / w->out_columns, ox = o % w->out_columns;
        const float *coarse = d->coarse + place(&d->vcoarse, i, (ptrdiff_t)oy, (ptrdiff_t)ox);
        const float *fine =
            d->fine + place(&d->vfine, j, looked_at(w, oy, ky), looked_at(w, ox, kx));
        for (size_t n = 0; n < (d->n + 15) / 16 * 16; n++)
            lane[n % 16] = fmaf(fine[n], coarse[n], lane[n % 16]);
    }
    for (int half = 8; half > 0; half /= 2)
        for (int at = 0; at < half; at++)
            lane[at] += lane[at + half];
    return lane[0];
}

static void plain_drive(const struct tet_convolution_drive *d, const struct tet_packed *before,
                        const struct tet_packed *after)
{
    const size_t k = d->window->kernel;
    for (size_t r = 0; r < before->rows; r++)
        for (size_t other = 0; other < before->columns / (k * k); other++)
            for (size_t tap = 0; tap < k * k; tap++) {
                float g = correlation(d, d->fine_rows ? other : r, d->fine_rows ? r : other,
                                      tap / k, tap % k);
                const size_t i =
                    packed_index(before->rows, before->columns, r, other * k * k + tap);
                g = fmaf(-d->decay, before->w[i], g);
                if (before->v != NULL) {
                    g = fmaf(d->momentum, before->v[i], g);
                    same_value("scalar", "velocity", i, after->v[i], g);
                }
                same_value("scalar", "w", i, after->w[i], fmaf(d->lr, g, before->w[i]));
            }
}

static struct tet_convolution_drive make_drive(const struct shape *s, bool fine_rows,
                                               const struct tet_window *w, enum mode mode)
{
    struct tet_convolution_drive d = {.rank = &alone,
                                      .n = s->n,
                                      .window = w,
                                      .fine_rows = fine_rows,
                                      .lr = below(8) == 0 ? 0.0f : 0.1f,
                                      .decay = below(4) == 0 ? 0.0f : 0.01f,
                                      .momentum = 0.9f};
    d.vcoarse = coarse_volume(w, s->coarse, (uint32_t)below(3), s->n);
    d.vfine = fine_volume(w, s->fine, w->padding + (uint32_t)below(2), s->n);
    d.coarse = images(mode, &d.vcoarse, s->n, 0);
    d.fine = images(mode, &d.vfine, s->n, w->padding);
    return d;
}

static struct tet_packed synapses(const struct shape *s, bool fine_rows, enum mode mode,
                                  bool velocity)
{
    const size_t taps = (size_t)s->w.kernel * s->w.kernel;
    return fine_rows ? packed(mode, s->fine, s->coarse * taps, velocity)
                     : packed(mode, s->coarse, s->fine * taps, velocity);
}

static void drive_by_ranks(const struct tet_kernels *kernels, struct tet_convolution_drive d,
                           const struct tet_packed *before, const struct tet_packed *expected)
{
    const size_t floats = tet_packed_floats(before->rows, before->columns);
    const struct tet_packed got = packed_copy(before);
    EVERY_RANK(rank, 1 + below(4))
    {
        d.rank = &rank;
        kernels->convolve_drive(&d, &got);
    }
    same(kernels->name, "w", got.w, expected->w, floats);
    if (before->v != NULL)
        same(kernels->name, "velocity", got.v, expected->v, floats);
}

static void one_drive(const struct shape *s, bool fine_rows, bool momentum, enum mode mode)
{
    describe(fine_rows ? "drive, fine rows," : "drive", s, momentum ? "momentum" : "no momentum",
             mode);
    const struct tet_packed before = synapses(s, fine_rows, mode, momentum);
    struct tet_convolution_drive d = make_drive(s, fine_rows, &s->w, mode);
    const float *fine = copy_of(d.fine, floats_of(&d.vfine));
    const float *coarse = copy_of(d.coarse, floats_of(&d.vcoarse));
    const struct tet_packed expected = packed_copy(&before);
    scalar->convolve_drive(&d, &expected);
    check_packed_padding(&expected);
    plain_drive(&d, &before, &expected);
    drive_by_ranks(scalar, d, &before, &expected);
    EVERY_ISA(isa)
    drive_by_ranks(isa, d, &before, &expected);
    untouched("fine", d.fine, fine, floats_of(&d.vfine));
    untouched("coarse", d.coarse, coarse, floats_of(&d.vcoarse));
    drop_arrays();
}

static void drive_one(const struct shape *s, int fine_rows)
{
    one_drive(s, fine_rows != 0, below(2) == 0, below(2) == 0 ? PLAIN : (enum mode)below(MODES));
}

static void drive_every_shape(void **state)
{
    (void)state;
    for (int fine_rows = 0; fine_rows < 2; fine_rows++)
        every_shape(drive_one, fine_rows);
    for (int fine_rows = 0; fine_rows < 2; fine_rows++)
        for (int momentum = 0; momentum < 2; momentum++)
            for (int mode = 0; mode < MODES; mode++)
                for (int again = 0; again < 6; again++) {
                    const struct shape s = random_shape(channels[below(6)], channels[below(7)]);
                    one_drive(&s, fine_rows != 0, momentum != 0, (enum mode)mode);
                }
}

/* ---- biases ---- */

static void one_bias(const struct tet_volume *v, size_t n, enum mode mode)
{
    CASE("bias n %zu, %u channels of %u x %u, pad %u, %s", n, v->channels, v->rows, v->columns,
         v->pad, mode_names[mode]);
    const float *a = images(mode, v, n, 0), *a0 = copy_of(a, floats_of(v));
    const float *b = activity(mode, 1, v->channels, tet_round(v->channels));
    const float lr = 0.3f;
    float *expected = copy_of(b, tet_round(v->channels));
    scalar->convolve_bias(&alone, n, a, v, lr, expected);
    for (size_t c = 0; c < v->channels; c++) {
        float lane[16] = {0};
        for (size_t p = 0; p < (size_t)v->rows * v->columns; p++)
            for (size_t i = 0; i < tet_round(n); i++)
                lane[i % 16] +=
                    a[place(v, c, (ptrdiff_t)(p / v->columns), (ptrdiff_t)(p % v->columns)) + i];
        for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; i++)
                lane[i] += lane[i + half];
        same_value("scalar", "b", c, expected[c], fmaf(lr, lane[0], b[c]));
    }
    untouched("b past the channels", expected + v->channels, b + v->channels,
              tet_round(v->channels) - v->channels);
    EVERY_ISA(isa)
    {
        float *got = copy_of(b, tet_round(v->channels));
        EVERY_RANK(rank, 1 + below(4))
        isa->convolve_bias(&rank, n, a, v, lr, got);
        same(isa->name, "b", got, expected, tet_round(v->channels));
    }
    untouched("a", a, a0, floats_of(v));
    drop_arrays();
}

static void biases(void **state)
{
    (void)state;
    for (size_t c = 0; c < COUNT(channels); c++)
        for (size_t n = 0; n < COUNT(batches); n++)
            for (int mode = 0; mode < MODES; mode++) {
                const struct tet_volume v =
                    volume(channels[c], 1 + (uint32_t)below(5), 1 + (uint32_t)below(5),
                           (uint32_t)below(3), batches[n]);
                one_bias(&v, batches[n], (enum mode)mode);
            }
}

/* ---- what follows from the definitions ---- */

/* <W x, s> = <x, W^T s>. */
static void adjoint_of(const struct shape *s, int unused)
{
    (void)unused;
    describe("adjoint", s, "none", PLAIN);
    struct convolution up, down;
    double size, other;
    make_convolution(&up, s, TET_CONVOLVE, TET_FINISH_NONE, false, PLAIN);
    make_convolution(&down, s, TET_ADJOINT, TET_FINISH_NONE, false, PLAIN);
    down.c.p = &up.p;
    scalar->convolve(&up.c);
    scalar->convolve(&down.c);
    const double coarse = inner(&up.c.vy, up.c.y, &down.c.vx, down.c.x, s->n, &size);
    const double fine = inner(&up.c.vx, up.c.x, &down.c.vy, down.c.y, s->n, &other);
    close_to(coarse, fine, 1e-6 * (size + other));
    drop_arrays();
}

/* The descending kernel that is the ascending one with its channels exchanged makes the adjoint. */
static void transposed_of(const struct shape *s, int unused)
{
    (void)unused;
    describe("transposed", s, "none", PLAIN);
    const size_t taps = (size_t)s->w.kernel * s->w.kernel;
    struct convolution w, b;
    make_convolution(&w, s, TET_ADJOINT, TET_FINISH_NONE, false, PLAIN);
    make_convolution(&b, s, TET_TRANSPOSED, TET_FINISH_NONE, false, PLAIN);
    for (size_t c = 0; c < s->fine; c++)
        for (size_t o = 0; o < s->coarse; o++)
            for (size_t tap = 0; tap < taps; tap++)
                b.p.w[packed_index(s->fine, s->coarse * taps, c, o * taps + tap)] =
                    weight(&w.p, o, c * taps + tap);
    b.c.x = w.c.x;
    b.c.vx = w.c.vx;
    b.c.vy = w.c.vy;
    b.c.y = new_array(floats_of(&b.c.vy));
    scalar->convolve(&w.c);
    scalar->convolve(&b.c);
    same("transposed", "y", b.c.y, w.c.y, floats_of(&w.c.vy));
    drop_arrays();
}

/* A convolution is linear in its kernel: <P x, y> = <P, drive of x and y>, whichever way. */
static void gradient_of(const struct shape *s, int fine_rows)
{
    describe("gradient", s, fine_rows ? "fine rows" : "coarse rows", PLAIN);
    struct convolution v;
    double size;
    make_convolution(&v, s, fine_rows ? TET_TRANSPOSED : TET_CONVOLVE, TET_FINISH_NONE, false,
                     PLAIN);
    struct tet_convolution_drive d = make_drive(s, fine_rows != 0, &s->w, PLAIN);
    float *coarse = images(PLAIN, &d.vcoarse, s->n, 0);
    clear_past(&d.vcoarse, coarse, s->n); // where the drive counts and the product here does not
    d.coarse = coarse;
    v.c.x = fine_rows ? d.coarse : d.fine;
    v.c.vx = fine_rows ? d.vcoarse : d.vfine;
    scalar->convolve(&v.c);
    const double got = fine_rows ? inner(&v.c.vy, v.c.y, &d.vfine, d.fine, s->n, &size)
                                 : inner(&v.c.vy, v.c.y, &d.vcoarse, d.coarse, s->n, &size);
    const struct tet_packed drive = packed_copy(&v.p);
    const size_t floats = tet_packed_floats(v.p.rows, v.p.columns);
    memset(drive.w, 0, floats * sizeof *drive.w);
    d.lr = 1.0f;
    scalar->convolve_drive(&d, &drive);
    double expected = 0.0;
    for (size_t i = 0; i < floats; i++) {
        expected += (double)v.p.w[i] * drive.w[i];
        size += fabs((double)v.p.w[i] * drive.w[i]);
    }
    close_to(got, expected, 1e-6 * size);
    drop_arrays();
}

/* B learns from the same two activities as W, with the channels exchanged, to the bit. */
static void exchanged_drive(const struct shape *s, int unused)
{
    (void)unused;
    describe("exchanged drive", s, "no momentum", PLAIN);
    const size_t taps = (size_t)s->w.kernel * s->w.kernel;
    struct tet_convolution_drive d = make_drive(s, false, &s->w, PLAIN);
    const struct tet_packed w = synapses(s, false, PLAIN, false);
    const struct tet_packed b = synapses(s, true, PLAIN, false);
    memset(w.w, 0, tet_packed_floats(w.rows, w.columns) * sizeof *w.w);
    memset(b.w, 0, tet_packed_floats(b.rows, b.columns) * sizeof *b.w);
    scalar->convolve_drive(&d, &w);
    d.fine_rows = true;
    scalar->convolve_drive(&d, &b);
    for (size_t c = 0; c < s->fine; c++)
        for (size_t o = 0; o < s->coarse; o++)
            for (size_t tap = 0; tap < taps; tap++)
                same_value("fine rows", "b", c, weight(&b, c, o * taps + tap),
                           weight(&w, o, c * taps + tap));
    drop_arrays();
}

static void adjoints(void **state)
{
    (void)state;
    every_shape(adjoint_of, 0);
    every_shape(transposed_of, 0);
    every_shape(gradient_of, 0);
    every_shape(gradient_of, 1);
    every_shape(exchanged_drive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(convolve_every_shape),
        TEST(convolve_every_finish),
        TEST(drive_every_shape),
        TEST(biases),
        TEST(adjoints),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
