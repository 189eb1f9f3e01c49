// SPDX-License-Identifier: Apache-2.0
/*
 * The built-in dataset `strokes`: digits drawn as a pen would draw them. See tetrad/dataset.h.
 *
 * An example: a label and a style are drawn; the style's knots (glyphs.c) are jittered, bent by a
 * quadratic warp, scaled, slanted, rotated and shifted onto the canvas; Catmull-Rom curves through
 * them are cut into short segments, whose thickness drifts with the pen's pressure; each pixel
 * takes its coverage from its distance to the nearest segment. Then brightness, specks, noise.
 *
 * Same bytes on every machine: floats with + - * / and sqrt only (no libm, no contraction), numbers
 * of one Philox stream per example, read in order. So an example's bytes are part of what a seed
 * means: constants and the order of draws are frozen; test_strokes pins them.
 *
 * Any thread; no state.
 */
#include <tetrad/dataset.h>

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/glyphs.h"
#include "philox.h"

enum {
    SIDE = TET_STROKES_SIDE,
    PIXELS = SIDE * SIDE,
    CURVE_STEPS = 4, // segments from knot to knot on a curve
};

/* Spreads: every number below is the half-width of a uniform distribution, unless a range. */
static const float GLYPH_PIXELS = 19.0f;                 // height of the box on the canvas
static const float SCALE_MIN = 0.72f, SCALE_MAX = 1.12f; // of both axes
static const float ASPECT = 0.22f;                       // of x against y
static const float SLANT = 0.36f;                        // x per y
static const float TILT = 0.13f;                         // tan of half the angle of rotation
static const float SHIFT = 2.0f;                         // pixels, each axis
static const float JITTER = 4.4f;                        // of a knot, units of the box
static const float WARP = 0.16f;                         // at the box's edge, of half its height
static const float HALF_MIN = 0.55f, HALF_MAX = 1.5f;    // half the pen's width, pixels
static const float PRESSURE = 0.07f;                     // change of that per segment, share
static const float INK_MIN = 0.6f, INK_MAX = 1.0f;       // brightness of the pen
static const float NOISE_MAX = 26.0f;                    // grey levels
static const float SPECK_SHARE = 0.30f;                  // of the images have a speck

struct point {
    float x, y;
};

struct draws { // the numbers of one example's stream, in order
    struct tet_stream stream;
    uint64_t block;
    uint32_t words[4];
    uint32_t used;
};

struct canvas {
    float cover[PIXELS]; // (rows, columns), 0..1
};

static uint32_t draw_u32(struct draws *d)
{
    if (d->used == 4) {
        tet_philox(&d->stream, d->block++, d->words);
        d->used = 0;
    }
    return d->words[d->used++];
}

static uint32_t draw_below(struct draws *d, uint32_t n)
{
    return (uint32_t)((uint64_t)draw_u32(d) * n >> 32);
}

static float draw_range(struct draws *d, float low, float high)
{
    return low + (high - low) * tet_uniform(draw_u32(d));
}

static float draw_around(struct draws *d, float spread)
{
    return draw_range(d, -spread, spread);
}

static float clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

/* First and one past the last pixel whose centre can lie within `reach` of [a, b]. */
static void pixel_range(float a, float b, float reach, int *first, int *end)
{
    float low = (a < b ? a : b) - reach, high = (a < b ? b : a) + reach;
    *first = (int)clamp(low, 0.0f, SIDE);
    *end = (int)clamp(high + 1.0f, 0.0f, SIDE);
}

/* A line of half-width `half` from a to b, in pixels; ink is its brightness. */
static void draw_segment(struct canvas *canvas, struct point a, struct point b, float half,
                         float ink)
{
    float reach = half + 0.5f, dx = b.x - a.x, dy = b.y - a.y;
    float length2 = dx * dx + dy * dy, inverse = length2 > 1e-6f ? 1.0f / length2 : 0.0f;
    int x0, x1, y0, y1;
    pixel_range(a.x, b.x, reach, &x0, &x1);
    pixel_range(a.y, b.y, reach, &y0, &y1);
    for (int y = y0; y < y1; y++) {
        float *row = canvas->cover + y * SIDE;
        float py = (float)y + 0.5f - a.y;
        for (int x = x0; x < x1; x++) {
            float px = (float)x + 0.5f - a.x;
            float t = clamp((px * dx + py * dy) * inverse, 0.0f, 1.0f);
            float ex = px - t * dx, ey = py - t * dy;
            float cover = clamp(reach - sqrtf(ex * ex + ey * ey), 0.0f, 1.0f) * ink;
            row[x] = row[x] < cover ? cover : row[x];
        }
    }
}

/* The Catmull-Rom curve from b to c at t, with neighbours a and d. */
static struct point curve(struct point a, struct point b, struct point c, struct point d, float t)
{
    float t2 = t * t, t3 = t2 * t;
    float wa = 0.5f * (-t3 + 2.0f * t2 - t), wb = 0.5f * (3.0f * t3 - 5.0f * t2 + 2.0f);
    float wc = 0.5f * (-3.0f * t3 + 4.0f * t2 + t), wd = 0.5f * (t3 - t2);
    return (struct point){wa * a.x + wb * b.x + wc * c.x + wd * d.x,
                          wa * a.y + wb * b.y + wc * c.y + wd * d.y};
}

/* Where the knots of a glyph come to lie on the canvas. */
static void place_knots(struct draws *d, const struct knot *glyph, uint32_t n, struct point *points)
{
    float scale = GLYPH_PIXELS / GLYPH_HEIGHT * draw_range(d, SCALE_MIN, SCALE_MAX);
    float aspect = draw_around(d, ASPECT);
    float scale_x = scale * (1.0f + aspect), scale_y = scale * (1.0f - 0.4f * aspect);
    float slant = draw_around(d, SLANT), tilt = draw_around(d, TILT);
    // a rotation by rational parametrisation, tilt = tan(angle / 2)
    float cosine = (1.0f - tilt * tilt) / (1.0f + tilt * tilt);
    float sine = 2.0f * tilt / (1.0f + tilt * tilt);
    float shift_x = draw_around(d, SHIFT), shift_y = draw_around(d, SHIFT);
    float warp[6];
    for (int i = 0; i < 6; i++)
        warp[i] = draw_around(d, WARP);
    const float half = 0.5f * GLYPH_HEIGHT;
    for (uint32_t i = 0; i < n; i++) {
        float u = ((float)glyph[i].x - 0.5f * GLYPH_WIDTH + draw_around(d, JITTER)) / half;
        float v = ((float)glyph[i].y - half + draw_around(d, JITTER)) / half;
        float x = u + warp[0] * u * u + warp[1] * u * v + warp[2] * v * v;
        float y = v + warp[3] * u * u + warp[4] * u * v + warp[5] * v * v;
        x *= half * scale_x;
        y *= half * scale_y;
        x -= slant * y;
        points[i].x = 0.5f * SIDE + shift_x + cosine * x - sine * y;
        points[i].y = 0.5f * SIDE + shift_y + sine * x + cosine * y;
    }
}

static void draw_digit(struct draws *d, struct canvas *canvas, uint32_t label)
{
    const struct knot *glyph = tet_glyphs[label][draw_below(d, GLYPH_STYLES)];
    struct point points[GLYPH_KNOTS];
    uint32_t n = 0;
    while (n < GLYPH_KNOTS && glyph[n].kind != KNOT_NONE)
        n++;
    place_knots(d, glyph, n, points);
    float half = draw_range(d, HALF_MIN, HALF_MAX), ink = draw_range(d, INK_MIN, INK_MAX);
    bool begins = true;
    for (uint32_t i = 0; i + 1 < n; i++) {
        if (glyph[i].kind == KNOT_LIFT) {
            begins = true;
            continue;
        }
        bool turns = begins || glyph[i].kind == KNOT_CORNER,
             ends = glyph[i + 1].kind != KNOT_SMOOTH;
        struct point before = points[turns ? i : i - 1], after = points[ends ? i + 1 : i + 2];
        struct point from = points[i];
        for (int k = 1; k <= CURVE_STEPS; k++) {
            half = clamp(half * (1.0f + draw_around(d, PRESSURE)), HALF_MIN, HALF_MAX);
            struct point to =
                curve(before, points[i], points[i + 1], after, (float)k * (1.0f / CURVE_STEPS));
            draw_segment(canvas, from, to, half, ink);
            from = to;
        }
        begins = false;
    }
}

/* A short stray line, anywhere. One draw per statement: C leaves the order within one open. */
static void draw_speck(struct draws *d, struct canvas *canvas)
{
    struct point a, b;
    a.x = draw_range(d, 0.0f, SIDE);
    a.y = draw_range(d, 0.0f, SIDE);
    b.x = a.x + draw_around(d, 2.5f);
    b.y = a.y + draw_around(d, 2.5f);
    float half = draw_range(d, 0.4f, 0.9f);
    float ink = draw_range(d, 0.4f, 0.9f);
    draw_segment(canvas, a, b, half, ink);
}

/* Grey levels with triangular noise: two bytes of a word for each pixel. */
static void develop(struct draws *d, const struct canvas *canvas, uint8_t *image)
{
    float noise = draw_range(d, 0.0f, NOISE_MAX) * (1.0f / 255.0f);
    uint32_t word = 0;
    for (int i = 0; i < PIXELS; i++) {
        word = i % 2 == 0 ? draw_u32(d) : word >> 16;
        float r = (float)((int)(word & 255) + (int)(word >> 8 & 255) - 255);
        image[i] = (uint8_t)clamp(255.0f * canvas->cover[i] + noise * r + 0.5f, 0.0f, 255.0f);
    }
}

static void draw_example(uint64_t seed, enum tet_stream_purpose part, uint32_t i, uint8_t *image,
                         int32_t *label)
{
    struct draws d = {.stream = tet_stream_make(seed, part, i), .used = 4};
    struct canvas canvas;
    memset(&canvas, 0, sizeof canvas);
    uint32_t digit = draw_below(&d, TET_STROKES_CLASSES);
    draw_digit(&d, &canvas, digit);
    if (draw_range(&d, 0.0f, 1.0f) < SPECK_SHARE)
        draw_speck(&d, &canvas);
    develop(&d, &canvas, image);
    *label = (int32_t)digit;
}

static void draw_part(struct tet_examples *examples, uint64_t seed, enum tet_stream_purpose part,
                      uint32_t n, int32_t *labels, uint8_t *images)
{
    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++)
        draw_example(seed, part, i, images + (size_t)i * PIXELS, labels + i);
    *examples = (struct tet_examples){.n = n, .bytes = images, .labels = labels};
}

enum tet_err tet_strokes_create(struct tet_dataset *dataset, uint64_t seed, uint32_t n_train,
                                uint32_t n_test, struct tet_error *error)
{
    static_assert((int)GLYPH_DIGITS == (int)TET_STROKES_CLASSES, "a class for each digit");
    *dataset = (struct tet_dataset){0};
    if (n_train > TET_STROKES_MAX || n_test > TET_STROKES_MAX)
        return tet_error_set(error, TET_BAD_DATASET, "strokes: %u examples asked for, at most %d",
                             n_train > n_test ? n_train : n_test, TET_STROKES_MAX);
    uint64_t n = (uint64_t)n_train + n_test;
    uint64_t bytes = n * (sizeof(int32_t) + PIXELS) + 1;
    int32_t *labels = bytes <= SIZE_MAX ? malloc((size_t)bytes) : NULL;
    if (!labels)
        return tet_error_set(error, TET_NO_MEMORY, "strokes: no memory for %llu examples",
                             (unsigned long long)n);
    uint8_t *images = (uint8_t *)(labels + n);
    dataset->shape = (struct tet_shape){PIXELS, TET_STROKES_CLASSES, 1, SIDE, SIDE};
    dataset->memory = labels;
    draw_part(&dataset->train, seed, TET_STREAM_STROKES_TRAIN, n_train, labels, images);
    draw_part(&dataset->test, seed, TET_STREAM_STROKES_TEST, n_test, labels + n_train,
              images + (size_t)n_train * PIXELS);
    return TET_OK;
}
