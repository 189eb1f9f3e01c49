// SPDX-License-Identifier: Apache-2.0
/* Digests of the elementary functions, and of each kernel on odd shapes and extreme values. */
#include <float.h>

#include "digest.h"

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
    for (struct tet_share name = {.of = 1 + draw() % 4}; name.index < name.of; name.index++)

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

void digest_kernels(const struct tet_kernels *selected, uint64_t stride)
{
    kernels = selected;
    seed = 20241218;
    every_float("exp", kernels->exp, stride);
    every_float("log", kernels->log, stride);
    every_float("tanh", kernels->tanh, stride);
    all_kernels();
}
