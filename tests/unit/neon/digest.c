// SPDX-License-Identifier: Apache-2.0
/*
 * Prints digests of what the core computes under the instruction set that TETRAD_ISA names: first
 * `isa NAME`, then a line `CASE DIGEST` for each elementary function over a stride through all
 * floats, each kernel on odd shapes and extreme values, and small runs of every rule. test_neon.py
 * compares the lines between processors and instruction sets.
 *
 * Depends on the core and the C library alone, so that it cross-compiles. Exit status 3: there are
 * no such kernels here.
 *
 *     digest [STRIDE]    of the elementary functions; 1 walks through all floats
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tetrad/trainer.h>

#include "../random.h"
#include "kernels/kernels.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- digests: FNV-1a, 64 bits ---- */

static uint64_t digest;

static void begin(void)
{
    digest = UINT64_C(0xCBF29CE484222325);
}

static void add(uint64_t value, int bytes) // the lowest first, on every machine
{
    for (int i = 0; i < bytes; i++, value >>= 8)
        digest = (digest ^ (value & 0xFF)) * UINT64_C(0x100000001B3);
}

static void add_float(float x)
{
    uint32_t u = 0x7FC00000; // any NaN
    if (!isnan(x))
        memcpy(&u, &x, sizeof u);
    add(u, 4);
}

static void add_double(double x)
{
    uint64_t u = UINT64_C(0x7FF8000000000000);
    if (!isnan(x))
        memcpy(&u, &x, sizeof u);
    add(u, 8);
}

/* The first d of every row of a (n, ...), stride ld. */
static void add_rows(const float *a, size_t n, size_t d, size_t ld)
{
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < d; c++)
            add_float(a[r * ld + c]);
}

/* ---- values and arrays ---- */

enum mode { PLAIN, TINY, VAST, WILD, MODES };
static const char *const mode_names[] = {"plain", "tiny", "vast", "wild"};

/* plain: around 1, some zeros of both signs; tiny: products are subnormal; vast: sums overflow;
 * wild: infinities, NaN, subnormal and extreme values among plain ones. */
static float value_of(enum mode mode)
{
    static const float special[] = {INFINITY,  -INFINITY,  NAN,     -0.0f,    0.0f,
                                    0x1p-149f, -0x1p-130f, FLT_MAX, -FLT_MAX, FLT_MIN};
    const unsigned dice = (unsigned)(draw() % 64);
    if (dice < 6)
        return dice < 3 ? 0.0f : -0.0f;
    if (mode == TINY)
        return uniform() * (dice < 40 ? 0x1p-68f : 0x1p-140f);
    if (mode == VAST)
        return uniform() * (dice < 30 ? 0x1p62f : 0x1p65f);
    if (mode == WILD && dice < 9)
        return special[draw() % COUNT(special)];
    return uniform() * 2.0f;
}

static float memory[1 << 19];
static size_t taken;

static float *take(size_t n) // zeros
{
    if (n > COUNT(memory) - taken)
        abort();
    float *a = memory + taken;
    taken += n;
    memset(a, 0, n * sizeof *a);
    return a;
}

static float *activity(enum mode mode, size_t n, size_t d, size_t ld)
{
    float *a = take(n * ld);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < d; c++)
            a[r * ld + c] = value_of(mode);
    return a;
}

static struct tet_packed packed(enum mode mode, size_t rows, size_t columns, bool velocity)
{
    struct tet_packed p = {.rows = (uint32_t)rows, .columns = (uint32_t)columns};
    p.w = take(tet_packed_floats(rows, columns));
    p.v = velocity ? take(tet_packed_floats(rows, columns)) : NULL;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            const size_t i = tet_packed_at(rows, columns, r, c);
            p.w[i] = value_of(mode);
            if (velocity)
                p.v[i] = value_of(mode);
        }
    return p;
}

/* ---- kernels: of an activity (n, d), or of n examples and a matrix (r, d) ---- */

struct shape {
    size_t n, r, d;
};

/* Rows of tiles, vectors, panels: whole, one more, one less. */
static const struct shape shapes[] = {{1, 1, 1},    {2, 15, 3},   {5, 16, 17},  {6, 17, 16},
                                      {7, 65, 33},  {13, 64, 31}, {16, 63, 66}, {17, 129, 5},
                                      {33, 70, 12}, {3, 37, 130}};

static const struct tet_kernels *kernels;

/* By the shares of 1 to 4 ranks, one after another. */
#define EVERY_RANK(name)                                                                           \
    for (struct tet_rank name = {.size = 1 + draw() % 4}; name.rank < name.size; name.rank++)

static void forward(const struct shape *s, enum mode mode)
{
    for (int finish = 0; finish <= TET_FINISH_GATE_TANH; finish++)
        for (int biased = 0; biased < 2; biased++) {
            taken = 0;
            const size_t ldx = tet_stride(s->d), ldy = tet_stride(s->r);
            const struct tet_packed p = packed(mode, s->r, s->d, false);
            struct tet_forward f = {.n = s->n,
                                    .x = activity(mode, s->n, s->d, ldx),
                                    .ldx = ldx,
                                    .p = &p,
                                    .bias = biased ? activity(mode, 1, s->r, ldy) : NULL,
                                    .finish = (enum tet_finish)finish,
                                    .gate = activity(mode, s->n, s->r, ldy),
                                    .y = take(s->n * ldy),
                                    .ldy = ldy};
            EVERY_RANK(rank)
            {
                f.rank = &rank;
                kernels->forward(&f);
            }
            add_rows(f.y, s->n, tet_round(s->r), ldy);
        }
}

static void backward(const struct shape *s, enum mode mode)
{
    const size_t ld = tet_stride(s->n);
    const struct tet_packed p = packed(mode, s->r, s->d, false);
    const float *st = activity(mode, s->r, s->n, ld);
    float *yt = take(s->d * ld);
    EVERY_RANK(rank)
    kernels->backward(&rank, &p, s->n, st, ld, yt, ld);
    add_rows(yt, s->d, tet_round(s->n), ld);
}

static void drive(const struct shape *s, enum mode mode)
{
    for (int momentum = 0; momentum < 2; momentum++) {
        taken = 0;
        const size_t floats = tet_packed_floats(s->r, s->d);
        const struct tet_packed p = packed(mode, s->r, s->d, momentum != 0);
        struct tet_drive d = {.n = s->n, .lr = 0.1f, .decay = 0.01f, .momentum = 0.9f};
        d.lda = tet_stride(s->r);
        d.ldx = tet_stride(s->d);
        d.a = activity(mode, s->n, s->r, d.lda);
        d.x = activity(mode, s->n, s->d, d.ldx);
        EVERY_RANK(rank)
        {
            d.rank = &rank;
            kernels->drive(&d, &p);
        }
        add_rows(p.w, 1, floats, floats);
        if (momentum)
            add_rows(p.v, 1, floats, floats);
    }
}

static void panel_gram(const struct shape *s, enum mode mode)
{
    const struct tet_packed a = packed(mode, s->r, s->d, false);
    const struct tet_packed b = packed(mode, s->n, s->d, false);
    const size_t ldo = tet_stride(s->n);
    float *out = take(TET_PANEL * ldo);
    for (size_t r0 = 0; r0 < s->r; r0 += TET_PANEL) {
        kernels->panel_gram(&a, r0, &b, out, ldo);
        add_rows(out, s->r - r0 < TET_PANEL ? s->r - r0 : TET_PANEL, tet_round(s->n), ldo);
    }
}

static void panel_product(const struct shape *s, enum mode mode)
{
    const struct tet_packed a = packed(mode, s->r, s->d, false);
    const float *b = activity(mode, s->d, TET_PANEL, TET_PANEL);
    float *out = take(TET_PANEL * TET_PANEL);
    for (size_t r0 = 0; r0 < s->r; r0 += TET_PANEL)
        for (size_t nc = 16; nc <= TET_PANEL; nc += 16) {
            kernels->panel_product(&a, r0, b, TET_PANEL, nc, out, TET_PANEL);
            add_rows(out, s->r - r0 < TET_PANEL ? s->r - r0 : TET_PANEL, nc, TET_PANEL);
        }
}

static void bias(const struct shape *s, enum mode mode)
{
    const size_t ld = tet_stride(s->r);
    const float *a = activity(mode, s->n, s->r, ld);
    float *b = activity(mode, 1, s->r, ld);
    kernels->bias(s->n, s->r, a, ld, 0.3f, b);
    add_rows(b, 1, tet_round(s->r), ld);
}

static void gate(const struct shape *s, enum mode mode)
{
    const size_t ld = tet_stride(s->r);
    const float *a = activity(mode, s->n, s->r, ld), *x = activity(mode, s->n, s->r, ld);
    float *y = take(s->n * ld);
    for (int phi = TET_RELU; phi <= TET_IDENTITY; phi++) {
        kernels->gate(s->n, s->r, ld, (enum tet_activation)phi, a, x, y);
        add_rows(y, s->n, tet_round(s->r), ld);
    }
}

static void cross_entropy(const struct shape *s, enum mode mode)
{
    const size_t ld = tet_stride(s->r);
    float *z = activity(mode, s->n, s->r, ld);
    float *signal = take(s->n * ld), *loss = take(s->n);
    int32_t labels[64];
    for (size_t i = 0; i < s->n; i++)
        labels[i] = (int32_t)(draw() % s->r);
    add(kernels->cross_entropy(s->n, s->r, ld, z, labels, 0.03f, signal, loss), 8);
    add_rows(signal, s->n, tet_round(s->r), ld);
    add_rows(loss, 1, s->n, s->n);
    add(kernels->cross_entropy(s->n, s->r, ld, z, labels, 0.03f, NULL, loss), 8);
    add_rows(loss, 1, s->n, s->n);
}

static void mse(const struct shape *s, enum mode mode)
{
    const size_t ld = tet_stride(s->r);
    const float *z = activity(mode, s->n, s->r, ld), *t = activity(mode, s->n, s->r, ld);
    float *signal = take(s->n * ld), *loss = take(s->n);
    kernels->mse(s->n, s->r, ld, z, t, 0.03f, signal, loss);
    add_rows(signal, s->n, tet_round(s->r), ld);
    add_rows(loss, 1, s->n, s->n);
}

static void dot(const struct shape *s, enum mode mode)
{
    const size_t lda = tet_stride(s->r), ldb = lda + 32;
    const float *a = activity(mode, s->n, s->r, lda), *b = activity(mode, s->n, s->r, ldb);
    add_float(kernels->dot(s->n, s->r, a, lda, b, ldb));
}

static void finite_all(const struct shape *s, enum mode mode)
{
    const size_t n = tet_round(s->r);
    float *a = activity(mode == WILD ? PLAIN : mode, 1, s->r, n);
    add(kernels->finite(a, s->r), 1);
    for (size_t i = 0; i < s->r; i++) {
        const float before = a[i];
        a[i] = value_of(WILD);
        add(kernels->finite(a, s->r), 1);
        a[i] = before;
    }
}

static void standardize(const struct shape *s, enum mode mode)
{
    const size_t d = s->r;
    const float *x = activity(mode, 1, d, d), *scale = activity(mode, 1, d, d);
    const float *shift = activity(mode, 1, d, d);
    uint8_t bytes[256] = {255};
    for (size_t i = 0; i < d; i++)
        bytes[i] = (uint8_t)draw();
    float *y = take(d);
    kernels->standardize_bytes(d, bytes, scale, shift, y);
    add_rows(y, 1, d, d);
    kernels->standardize_floats(d, x, scale, shift, y);
    add_rows(y, 1, d, d);
}

static void transpose(const struct shape *s, enum mode mode)
{
    const size_t lda = tet_stride(s->d), ldb = tet_stride(s->r);
    const float *a = activity(mode, s->r, s->d, lda);
    float *b = take(s->d * ldb);
    kernels->transpose(s->r, s->d, a, lda, b, ldb, tet_round(s->r));
    add_rows(b, s->d, tet_round(s->r), ldb);
}

/* ---- kernels over volumes: windows over a fine grid of images ---- */

struct image {
    size_t n;
    uint32_t fine, coarse; // channels
    uint32_t rows, columns, kernel, stride, padding;
};

/* Overlaps, gaps between windows, padding wider than the image; several panels; whole tiles and
 * vectors, one more, one less. */
static const struct image images[] = {{1, 1, 1, 1, 1, 1, 1, 0},   {5, 3, 7, 5, 4, 3, 1, 1},
                                      {17, 2, 6, 7, 6, 5, 2, 2},  {33, 6, 17, 6, 8, 2, 3, 0},
                                      {16, 17, 5, 4, 5, 3, 2, 1}, {3, 5, 70, 2, 3, 2, 1, 1},
                                      {7, 65, 3, 3, 2, 1, 2, 0},  {20, 4, 13, 1, 2, 7, 1, 6}};

static struct tet_window window_of(const struct image *i)
{
    return (struct tet_window){i->kernel,
                               i->stride,
                               i->padding,
                               i->rows,
                               i->columns,
                               tet_window_count(i->rows, i->kernel, i->stride, i->padding),
                               tet_window_count(i->columns, i->kernel, i->stride, i->padding)};
}

static struct tet_volume fine_volume(const struct image *i, uint32_t pad)
{
    return (struct tet_volume){i->fine, i->rows, i->columns, pad, tet_round(i->n)};
}

static struct tet_volume coarse_volume(const struct image *i, uint32_t channels, uint32_t pad)
{
    const struct tet_window w = window_of(i);
    return (struct tet_volume){channels, w.out_rows, w.out_columns, pad, tet_round(i->n)};
}

static float *volume(enum mode mode, const struct tet_volume *v) // zeros around the images
{
    float *a = take(tet_volume_floats(v));
    for (size_t c = 0; c < v->channels; c++)
        for (size_t y = 0; y < v->rows; y++)
            for (size_t x = 0; x < v->columns; x++)
                for (size_t n = 0; n < v->ld; n++)
                    a[tet_volume_at(v, c, y, x) + n] = value_of(mode);
    return a;
}

static void add_volume(const float *a, const struct tet_volume *v)
{
    add_rows(a, 1, tet_volume_floats(v), 0);
}

static void one_way(const struct image *i, enum mode mode, enum tet_way way, enum tet_finish finish,
                    bool biased)
{
    taken = 0;
    const struct tet_window w = window_of(i);
    const bool up = way == TET_CONVOLVE;
    const size_t taps = (size_t)w.kernel * w.kernel;
    const struct tet_packed p = way == TET_TRANSPOSED ? packed(mode, i->fine, i->coarse * taps, 0)
                                                      : packed(mode, i->coarse, i->fine * taps, 0);
    const struct tet_volume fine = fine_volume(i, w.padding + 1);
    const struct tet_volume coarse = coarse_volume(i, i->coarse, 1);
    struct tet_convolution c = {.way = way,
                                .n = i->n,
                                .window = &w,
                                .p = &p,
                                .vx = up ? fine : coarse,
                                .finish = finish,
                                .vgate = up ? coarse : fine,
                                .vy = up ? coarse : fine};
    c.vgate.pad = 0;
    c.x = volume(mode, &c.vx);
    c.bias = biased ? activity(mode, 1, i->coarse, tet_round(i->coarse)) : NULL;
    c.gate = volume(mode, &c.vgate);
    c.y = take(tet_volume_floats(&c.vy));
    EVERY_RANK(rank)
    {
        c.rank = &rank;
        kernels->convolve(&c);
    }
    add_volume(c.y, &c.vy);
}

static void convolve(const struct image *i, enum mode mode)
{
    for (int finish = 0; finish <= TET_FINISH_TANH; finish++)
        for (int biased = 0; biased < 2; biased++)
            one_way(i, mode, TET_CONVOLVE, (enum tet_finish)finish, biased != 0);
}

static void descend(const struct image *i, enum mode mode, enum tet_way way)
{
    one_way(i, mode, way, TET_FINISH_NONE, false);
    one_way(i, mode, way, TET_FINISH_GATE_RELU, false);
    one_way(i, mode, way, TET_FINISH_GATE_TANH, false);
}

static void transposed(const struct image *i, enum mode mode)
{
    descend(i, mode, TET_TRANSPOSED);
}

static void adjoint(const struct image *i, enum mode mode)
{
    descend(i, mode, TET_ADJOINT);
}

static void convolve_drive(const struct image *i, enum mode mode)
{
    const struct tet_window w = window_of(i);
    const size_t taps = (size_t)w.kernel * w.kernel;
    for (int variant = 0; variant < 4; variant++) {
        taken = 0;
        const bool fine_rows = variant % 2 != 0, momentum = variant / 2 != 0;
        const struct tet_packed p = fine_rows ? packed(mode, i->fine, i->coarse * taps, momentum)
                                              : packed(mode, i->coarse, i->fine * taps, momentum);
        const size_t floats = tet_packed_floats(p.rows, p.columns);
        struct tet_convolution_drive d = {.n = i->n,
                                          .window = &w,
                                          .fine_rows = fine_rows,
                                          .vcoarse = coarse_volume(i, i->coarse, 1),
                                          .vfine = fine_volume(i, w.padding),
                                          .lr = 0.1f,
                                          .decay = 0.01f,
                                          .momentum = 0.9f};
        d.coarse = volume(mode, &d.vcoarse);
        d.fine = volume(mode, &d.vfine);
        EVERY_RANK(rank)
        {
            d.rank = &rank;
            kernels->convolve_drive(&d, &p);
        }
        add_rows(p.w, 1, floats, floats);
        if (momentum)
            add_rows(p.v, 1, floats, floats);
    }
}

static void convolve_bias(const struct image *i, enum mode mode)
{
    const struct tet_volume v = fine_volume(i, i->padding);
    const float *a = volume(mode, &v);
    float *b = activity(mode, 1, v.channels, v.channels);
    EVERY_RANK(rank)
    kernels->convolve_bias(&rank, i->n, a, &v, 0.3f, b);
    add_rows(b, 1, v.channels, v.channels);
}

/* Up and down again. */
static void pools(const struct image *i, enum mode mode, enum tet_pool pool)
{
    struct image unpadded = *i;
    unpadded.padding = 0;
    if (unpadded.kernel > i->rows || unpadded.kernel > i->columns)
        unpadded.kernel = 1;
    const struct tet_window w = window_of(&unpadded);
    struct tet_pooling p = {.n = i->n,
                            .window = &w,
                            .pool = pool,
                            .va = fine_volume(&unpadded, 1),
                            .vx = coarse_volume(&unpadded, i->fine, 2),
                            .vabove = coarse_volume(&unpadded, i->fine, 0)};
    p.a = volume(mode, &p.va);
    p.x = take(tet_volume_floats(&p.vx));
    p.above = volume(mode, &p.vabove);
    p.s = take(tet_volume_floats(&p.va));
    EVERY_RANK(rank)
    {
        p.rank = &rank;
        kernels->pool(&p);
    }
    EVERY_RANK(rank)
    {
        p.rank = &rank;
        kernels->unpool(&p);
    }
    add_volume(p.x, &p.vx);
    add_volume(p.s, &p.va);
}

static void pool_max(const struct image *i, enum mode mode)
{
    pools(i, mode, TET_POOL_MAX);
}

static void pool_avg(const struct image *i, enum mode mode)
{
    pools(i, mode, TET_POOL_AVG);
}

#define KERNELS(X)                                                                                 \
    X(forward)                                                                                     \
    X(backward)                                                                                    \
    X(drive)                                                                                       \
    X(panel_gram)                                                                                  \
    X(panel_product)                                                                               \
    X(bias)                                                                                        \
    X(gate)                                                                                        \
    X(cross_entropy)                                                                               \
    X(mse)                                                                                         \
    X(dot)                                                                                         \
    X(finite_all)                                                                                  \
    X(standardize)                                                                                 \
    X(transpose)

#define VOLUME_KERNELS(X)                                                                          \
    X(convolve)                                                                                    \
    X(transposed)                                                                                  \
    X(adjoint)                                                                                     \
    X(convolve_drive)                                                                              \
    X(convolve_bias)                                                                               \
    X(pool_max)                                                                                    \
    X(pool_avg)

static void all_kernels(void)
{
#define SHAPES(f) {.name = #f, .of_shape = f},
#define IMAGES(f) {.name = #f, .of_image = f},
    static const struct {
        const char *name;
        void (*of_shape)(const struct shape *, enum mode);
        void (*of_image)(const struct image *, enum mode);
    } cases[] = {KERNELS(SHAPES) VOLUME_KERNELS(IMAGES)};
#undef SHAPES
#undef IMAGES
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int mode = 0; mode < MODES; mode++) {
            begin();
            for (size_t s = 0; s < COUNT(shapes) && cases[i].of_shape != NULL; s++) {
                taken = 0;
                cases[i].of_shape(&shapes[s], (enum mode)mode);
            }
            for (size_t s = 0; s < COUNT(images) && cases[i].of_image != NULL; s++) {
                taken = 0;
                cases[i].of_image(&images[s], (enum mode)mode);
            }
            printf("%s/%s %016" PRIx64 "\n", cases[i].name, mode_names[mode], digest);
        }
}

/* ---- elementary functions ---- */

static void every_float(const char *name, void (*f)(size_t, const float *, float *),
                        uint64_t stride)
{
    enum { CHUNK = 1021 }; // a tail at the end of each
    float x[CHUNK], y[CHUNK];
    begin();
    for (uint64_t u = 0; u <= UINT32_MAX;) {
        size_t n = 0;
        for (; n < CHUNK && u <= UINT32_MAX; n++, u += stride) {
            const uint32_t bits = (uint32_t)u;
            memcpy(x + n, &bits, sizeof bits);
        }
        f(n, x, y);
        add_rows(y, 1, n, n);
    }
    printf("%s %016" PRIx64 "\n", name, digest);
}

/* ---- runs ---- */

enum { INPUTS = 37, OUTPUTS = 11, EXAMPLES = 70, TESTS = 31 };

/* Random real examples, with labels or targets. */
static struct tet_dataset real_data(bool labelled)
{
    static float x[(EXAMPLES + TESTS) * INPUTS], t[(EXAMPLES + TESTS) * OUTPUTS];
    static int32_t labels[EXAMPLES + TESTS];
    for (size_t i = 0; i < COUNT(x); i++)
        x[i] = uniform() * 1.7f;
    for (size_t i = 0; i < COUNT(t); i++)
        t[i] = uniform();
    for (size_t i = 0; i < COUNT(labels); i++)
        labels[i] = (int32_t)(draw() % OUTPUTS);
    struct tet_dataset set = {.shape = {INPUTS, OUTPUTS, 1, 1, INPUTS}};
    set.train = (struct tet_examples){EXAMPLES, NULL, x, labels, NULL};
    set.test = (struct tet_examples){TESTS, NULL, x + EXAMPLES * INPUTS, labels + EXAMPLES, NULL};
    if (!labelled) {
        set.train.targets = t;
        set.test.targets = t + EXAMPLES * OUTPUTS;
        set.train.labels = set.test.labels = NULL;
    }
    return set;
}

/* What a run varies; the mini-batches have 13 examples, the last of an epoch 9. */
static const struct variant {
    const char *name;
    enum tet_activation phi[3];
    enum tet_loss loss;
    float momentum;
    enum tet_init init;
    enum tet_standardize standardize;
    enum tet_schedule_type schedule;
    bool targets, strokes;
    enum tet_pool pool;     // of the first of two convolutions, or none and all layers are dense
    uint32_t descending[3]; // 0: as wide as ascending
} variants[] = {
    {.name = "relu", .phi = {TET_RELU, TET_RELU, TET_RELU}, .momentum = 0.7f},
    {.name = "tanh",
     .phi = {TET_TANH, TET_TANH, TET_TANH},
     .loss = TET_MSE,
     .init = TET_INIT_UNIFORM,
     .standardize = TET_STANDARDIZE_ALL,
     .schedule = TET_SCHEDULE_COSINE},
    {.name = "mixed",
     .phi = {TET_RELU, TET_IDENTITY, TET_TANH},
     .loss = TET_MSE,
     .momentum = 0.9f,
     .standardize = TET_STANDARDIZE_FEATURE,
     .schedule = TET_SCHEDULE_STEP,
     .targets = true},
    {.name = "strokes",
     .phi = {TET_RELU, TET_TANH, TET_RELU},
     .standardize = TET_STANDARDIZE_ALL,
     .strokes = true},
    {.name = "unequal", // sal alone
     .phi = {TET_RELU, TET_TANH, TET_RELU},
     .momentum = 0.7f,
     .descending = {31, 70, 5}},
    {.name = "largest",
     .phi = {TET_RELU, TET_TANH, TET_RELU},
     .momentum = 0.7f,
     .standardize = TET_STANDARDIZE_ALL,
     .strokes = true,
     .pool = TET_POOL_MAX},
    {.name = "mean", // sal alone
     .phi = {TET_TANH, TET_RELU, TET_RELU},
     .strokes = true,
     .pool = TET_POOL_AVG,
     .descending = {7, 3, 70}},
};

/* Two convolutions in place of the two dense layers at the bottom. */
static void make_convolutional(struct tet_plan *p, enum tet_pool pool)
{
    struct tet_layer_plan *one = &p->hidden[0], *two = &p->hidden[1];
    one->type = two->type = TET_CONV2D;
    one->kernel = 5; // 28 x 28 to 10 x 10
    one->stride = 3;
    one->padding = 2;
    one->pool = pool; // to 4 x 4
    one->pool_size = 3;
    one->pool_stride = 2;
    two->kernel = 2; // to 5 x 5
    two->stride = two->padding = 1;
    for (int g = 0; g < TET_GROUPS; g++)
        p->group[g].lr = 0.002f; // drives are sums over positions
}

static struct tet_plan plan_of(enum tet_rule_name rule, const struct variant *v, uint32_t threads)
{
    static const uint32_t widths[] = {65, 19, 34}, channels[] = {5, 6, 19};
    const uint32_t *units = v->pool != TET_POOL_NONE ? channels : widths;
    const bool unequal = v->descending[0] > 0;
    struct tet_plan p = {.n_hidden = v->strokes && v->pool == TET_POOL_NONE ? 2 : 3,
                         .loss = v->loss,
                         .rule = rule,
                         .gate = !unequal,
                         .momentum = v->momentum,
                         .schedule = {v->schedule, 1, {1}, 0.5f},
                         .epochs = 2,
                         .batch = 13,
                         .seed = 7,
                         .shuffle = true,
                         .n_train = 61,
                         .n_validation = 9,
                         .n_test = 30,
                         .standardize = v->standardize,
                         .record_every = 2,
                         .record_alignment = true,
                         .record_assembly = true,
                         .record_activity = true,
                         .record_spectrum = true,
                         .trace_group = {true},
                         .traces = 2,
                         .augment_crop = v->pool != TET_POOL_NONE ? 2u : 0u,
                         .augment_flip = v->pool != TET_POOL_NONE,
                         .threads = threads,
                         .interventions = {{1, TET_LESION, TET_W, 0, 0.2f},
                                           {3, TET_NOISE, TET_W, 0, 0.1f},
                                           {6, TET_RERANDOMISE, TET_W, 1, 0.0f}},
                         .n_interventions = 3};
    for (size_t l = 0; l < p.n_hidden; l++)
        p.hidden[l] =
            (struct tet_layer_plan){.units = units[l],
                                    .descending_units = unequal ? v->descending[l] : units[l],
                                    .activation = v->phi[l]};
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g] = (struct tet_group_plan){.lr = 0.03f,
                                             .decay = 0.01f,
                                             .init = v->init,
                                             .scale = g == TET_V || g == TET_U ? 0.5f : 1.0f,
                                             .plastic = true};
    if (v->pool != TET_POOL_NONE)
        make_convolutional(&p, v->pool);
    return p;
}

static void add_record(void *context, const struct tet_record *r)
{
    (void)context;
    add(r->step, 8);
    add(r->series, 4);
    add(r->layer, 4);
    add(r->row, 4);
    add(r->column, 4);
    add_double(r->value);
}

static void add_tensors(const struct tet_trainer *t)
{
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        struct tet_tensor tensor;
        tet_trainer_tensor(t, i, &tensor);
        taken = 0;
        float *values = take(tensor.n);
        tet_trainer_get(t, i, values);
        add_rows(values, 1, tensor.n, tensor.n);
    }
}

static bool train(const struct tet_plan *plan, const struct tet_dataset *set, const char *name)
{
    struct tet_trainer *t = NULL;
    struct tet_error error = {0};
    begin();
    if (tet_trainer_create(&t, plan, set, add_record, NULL, &error) != TET_OK) {
        fprintf(stderr, "%s: %s\n", name, error.message);
        return false;
    }
    enum tet_event event;
    do
        event = tet_trainer_step(t);
    while (event == TET_STEPPED || event == TET_EPOCH);
    add_tensors(t);
    tet_trainer_destroy(t);
    if (event != TET_FINISHED) {
        fprintf(stderr, "%s: diverged\n", name);
        return false;
    }
    printf("%s/%s/threads-%u %016" PRIx64 "\n", tet_rule_info(plan->rule)->name, name,
           plan->threads, digest);
    return true;
}

static bool all_runs(void)
{
    struct tet_dataset strokes;
    struct tet_error error = {0};
    if (tet_strokes_create(&strokes, 5, 70, 31, &error) != TET_OK) {
        fprintf(stderr, "%s\n", error.message);
        return false;
    }
    bool good = true;
    for (size_t v = 0; v < COUNT(variants); v++) {
        const struct tet_dataset real = real_data(!variants[v].targets);
        for (int rule = 0; rule < TET_RULES; rule++)
            for (uint32_t threads = 1; threads <= 4; threads *= 2) {
                if (variants[v].descending[0] > 0 && rule != TET_RULE_SAL)
                    continue;
                const struct tet_plan plan =
                    plan_of((enum tet_rule_name)rule, &variants[v], threads);
                good &= train(&plan, variants[v].strokes ? &strokes : &real, variants[v].name);
            }
    }
    tet_dataset_free(&strokes);
    return good;
}

int main(int argc, char **argv)
{
    struct tet_error error = {0};
    const uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 2039;
    if (stride == 0 || tet_kernels_select(&kernels, &error) != TET_OK) {
        fprintf(stderr, "%s\n", stride == 0 ? "STRIDE: at least 1" : error.message);
        return 3;
    }
    printf("isa %s\n", kernels->name);
    seed = 20241218;
    every_float("exp", kernels->exp, stride);
    every_float("log", kernels->log, stride);
    every_float("tanh", kernels->tanh, stride);
    all_kernels();
    return all_runs() ? 0 : 1;
}
