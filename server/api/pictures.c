// SPDX-License-Identifier: Apache-2.0
/*
 * GET /v1/runs/{id}/weights/{name}.png: an array, its transpose or a product as a picture.
 *
 * layout=matrix: a square of `scale` pixels a weight, from blue over near-white to red, on a scale
 * from -most to most of the whole matrix; sides over 2000 are averaged down.
 * layout=fields: a grid of small pictures, a pixel between them: of a matrix whose columns are the
 * dataset's images, what each row looks at; of a kernel (to, from, K, K), a row of the grid for each
 * `to`. Each is drawn on a scale of its own, so that weak neurons show what they look at as well;
 * colour images as colours, mid-grey at 0.
 */
#include "api/results.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "definition/definition.h"
#include "results/matrix.h"
#include "results/picture.h"

enum {
    SCALE_MAX = 16,
    SIDE = 2000,       // rows or columns that are not averaged
    WISHED = 400,      // pixels of the longer side, about, where no scale is asked for
    FIELDS_MAX = 1024, // of a grid
    DRAWN = 2,         // pictures at once: each may need hundreds of megabytes for a moment
    WAITING = 2,       // for their turn: helpers that others would have
    PATIENCE_MS = 2000,
    GAP_GREY = 255
};

enum layout { LAYOUT_DEFAULT, LAYOUT_MATRIX, LAYOUT_FIELDS };

struct drawing {
    struct matrix m;
    enum layout layout;
    uint32_t scale; // 0: chosen here
    struct picture picture;
    double most; // of the scale, matrix
};

static uint32_t choose_scale(uint64_t side)
{
    const uint64_t scale = WISHED / (side > 0 ? side : 1);
    return scale < 1 ? 1 : scale > SCALE_MAX ? SCALE_MAX : (uint32_t)scale;
}

static enum tet_err draw_matrix(struct drawing *d, struct tet_error *error)
{
    struct matrix *m = &d->m;
    uint8_t rgb[3];
    d->most = matrix_most(m->values, (size_t)m->rows * m->columns);
    enum tet_err err = matrix_shrink(m, SIDE, error);
    const uint32_t longer = m->rows > m->columns ? m->rows : m->columns;
    const uint32_t scale = d->scale > 0 ? d->scale : choose_scale(longer);
    if (err == TET_OK)
        err = picture_create(&d->picture, (uint64_t)m->columns * scale, (uint64_t)m->rows * scale,
                             GAP_GREY, error);
    for (uint32_t r = 0; err == TET_OK && r < m->rows; r++)
        for (uint32_t c = 0; c < m->columns; c++) {
            picture_diverging(m->values[(size_t)r * m->columns + c], d->most, rgb);
            picture_fill(&d->picture, c * scale, r * scale, scale, rgb);
        }
    return err;
}

/* ---- fields ---- */

/* Small pictures of one shape: channels 3 as colours, 1 by the diverging scale. */
struct fields {
    uint32_t n, across; // of them, and in a row of the grid
    uint32_t channels, rows, columns;
};

/* (channels, rows, columns) values at pixel (x, y). */
static void draw_field(struct picture *picture, const struct fields *f, const double *values,
                       uint32_t x, uint32_t y, uint32_t scale)
{
    const size_t plane = (size_t)f->rows * f->columns;
    const double most = matrix_most(values, plane * f->channels);
    uint8_t rgb[3];
    for (uint32_t r = 0; r < f->rows; r++)
        for (uint32_t c = 0; c < f->columns; c++) {
            const double *v = values + (size_t)r * f->columns + c;
            if (f->channels == 1)
                picture_diverging(*v, most, rgb);
            for (uint32_t k = 0; f->channels == 3 && k < 3; k++) {
                const double share =
                    most > 0.0 && isfinite(v[k * plane]) ? v[k * plane] / most : 0.0;
                rgb[k] = (uint8_t)lround(127.5 + 127.5 * share);
            }
            picture_fill(picture, x + c * scale, y + r * scale, scale, rgb);
        }
}

static enum tet_err draw_fields(struct drawing *d, const struct fields *f, struct tet_error *error)
{
    const uint32_t down = (f->n + f->across - 1) / f->across;
    const uint64_t wide = (uint64_t)f->across * f->columns, high = (uint64_t)down * f->rows;
    const uint32_t scale = d->scale > 0 ? d->scale : choose_scale(wide > high ? wide : high);
    const size_t size = (size_t)f->channels * f->rows * f->columns;
    const enum tet_err err = picture_create(&d->picture, wide * scale + f->across - 1,
                                            high * scale + down - 1, GAP_GREY, error);
    for (uint32_t i = 0; err == TET_OK && i < f->n; i++)
        draw_field(&d->picture, f, d->m.values + i * size, i % f->across * (f->columns * scale + 1),
                   i / f->across * (f->rows * scale + 1), scale);
    return err;
}

static uint32_t square_side(uint32_t n)
{
    uint32_t side = 1;
    while (side * side < n)
        side++;
    return side;
}

/* The kernels of a convolution: of colour images one picture for each `to`, else one for each pair. */
static struct fields kernel_fields(const struct matrix *m, const struct tet_shape *shape,
                                   bool first)
{
    struct fields f = {.channels = 1, .rows = m->kernel, .columns = m->kernel};
    f.n = m->rows * m->from;
    f.across = m->from;
    if (first && shape->channels == 3 && m->from == 3)
        f.channels = 3;
    if (f.channels == 3 || m->from == 1) {
        f.n = m->rows;
        f.across = square_side(m->rows);
    }
    return f;
}

/* The shape of the run's examples; all 0 where there is no telling. */
static struct tet_shape shape_of(struct api *api, const json_t *definition)
{
    struct dataset_spec spec;
    struct dataset_info info = {0};
    if (definition_dataset(&spec, definition, NULL) != TET_OK ||
        catalog_info(api->catalog, &spec, &info, NULL) != TET_OK)
        return (struct tet_shape){0};
    return info.shape;
}

static bool keep_definition(void *context, const struct store_run *run)
{
    *(json_t **)context = api_parse(run->definition);
    return true;
}

static enum tet_err plan_fields(struct api *api, int64_t run, const char *name,
                                const struct drawing *d, struct fields *f, struct tet_error *error)
{
    json_t *definition = NULL;
    const enum tet_err err = store_run_read(api->store, run, keep_definition, &definition, error);
    if (err != TET_OK)
        return err;
    const struct tet_shape shape = shape_of(api, definition);
    json_decref(definition);
    const bool colour = shape.channels == 3;
    if (d->m.kernel > 0) {
        *f = kernel_fields(&d->m, &shape, strcmp(name, "W1") == 0);
    } else if (shape.rows > 1 && d->m.columns == shape.inputs && (colour || shape.channels == 1)) {
        *f = (struct fields){.n = d->m.rows < FIELDS_MAX ? d->m.rows : FIELDS_MAX,
                             .channels = shape.channels,
                             .rows = shape.rows,
                             .columns = shape.columns};
        f->across = square_side(f->n);
    } else
        return tet_error_set(error, TET_BAD_REQUEST,
                             "layout: found fields, allowed matrix: the columns of %.60s are not "
                             "the pixels of the dataset's images",
                             name);
    if (f->n > FIELDS_MAX * 4)
        f->n = FIELDS_MAX * 4 / f->across * f->across > 0 ? FIELDS_MAX * 4 / f->across * f->across
                                                          : f->across;
    return TET_OK;
}

/* ---- the handler ---- */

static bool read_layout(const struct http_request *request, struct http_reply *reply,
                        struct drawing *d)
{
    const char *text = http_query(request, "layout");
    uint64_t scale = 0;
    if (!http_query_uint(request, reply, "scale", 1, SCALE_MAX, 0, &scale))
        return false;
    d->scale = (uint32_t)scale;
    d->layout = text == NULL                  ? LAYOUT_DEFAULT
                : strcmp(text, "matrix") == 0 ? LAYOUT_MATRIX
                                              : LAYOUT_FIELDS;
    if (text == NULL || d->layout == LAYOUT_MATRIX || strcmp(text, "fields") == 0)
        return true;
    struct tet_error error = {0};
    tet_error_set(&error, TET_BAD_REQUEST, "layout: found \"%.40s\", allowed matrix or fields",
                  text);
    http_reply_error(reply, &error, api_query_fault("layout", text, "matrix or fields"));
    return false;
}

static enum tet_err draw(struct api *api, int64_t run, const char *name,
                         const struct store_checkpoint *checkpoint, struct drawing *d,
                         struct tet_error *error)
{
    struct fields fields = {0};
    enum tet_err err = matrix_read(&d->m, name, checkpoint, error);
    if (err != TET_OK)
        return err;
    if (d->layout == LAYOUT_DEFAULT)
        d->layout = d->m.kernel > 0 ? LAYOUT_FIELDS : LAYOUT_MATRIX;
    if (d->layout == LAYOUT_MATRIX)
        return draw_matrix(d, error);
    err = plan_fields(api, run, name, d, &fields, error);
    return err == TET_OK ? draw_fields(d, &fields, error) : err;
}

void api_reply_picture(struct http_reply *reply, const struct picture *picture)
{
    struct tet_error error = {0};
    void *bytes = NULL;
    size_t size = 0;
    if (picture_png(picture, &bytes, &size, &error) != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        http_reply_bytes(reply, 200, "image/png", bytes, size);
}

static struct {
    pthread_mutex_t lock;
    pthread_cond_t turn;
    int drawing, waiting;
} turns = {.lock = PTHREAD_MUTEX_INITIALIZER, .turn = PTHREAD_COND_INITIALIZER};

/* Whether there is a turn, soon; then it is given back with give_turn. Whoever has gone on to another page is still
 * drawn for: a few wait for that, and are not sent away. */
static bool take_turn(struct http_reply *reply)
{
    struct tet_error error = {0};
    struct timespec until;
    clock_in(&until, PATIENCE_MS);
    pthread_mutex_lock(&turns.lock);
    if (turns.drawing >= DRAWN && turns.waiting < WAITING) {
        turns.waiting++;
        while (turns.drawing >= DRAWN &&
               pthread_cond_clockwait(&turns.turn, &turns.lock, CLOCK_MONOTONIC, &until) == 0) {
        }
        turns.waiting--;
    }
    const bool mine = turns.drawing < DRAWN;
    turns.drawing += mine;
    pthread_mutex_unlock(&turns.lock);
    if (mine)
        return true;
    tet_error_set(&error, TET_BUSY,
                  "%d pictures are being drawn, which is as many as may be at once", (int)DRAWN);
    http_reply_error(reply, &error, NULL);
    return false;
}

static void give_turn(void)
{
    pthread_mutex_lock(&turns.lock);
    turns.drawing--;
    pthread_cond_signal(&turns.turn);
    pthread_mutex_unlock(&turns.lock);
}

void api_weights_png(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct drawing d = {0};
    struct api_facts facts;
    struct store_checkpoint checkpoint = {0};
    struct tet_error error = {0};
    const char *name = http_part(request, 1);
    char kind[API_KIND + MATRIX_NAME], most[32];
    if (!http_query_only(request, reply, (const char *const[]){"layout", "scale", "step", NULL}) ||
        !read_layout(request, reply, &d) || !take_turn(reply))
        return;
    snprintf(kind, sizeof kind, "png-%d-%u-%.*s", (int)d.layout, d.scale, MATRIX_NAME, name);
    if (!api_weights_begin(context, request, reply, kind, &facts, &checkpoint)) {
        give_turn();
        return;
    }
    const enum tet_err err = draw(context, http_id(request, 0), name, &checkpoint, &d, &error);
    if (err != TET_OK) {
        http_reply_error(reply, &error, NULL);
    } else {
        snprintf(most, sizeof most, "%.9g", d.most);
        if (d.layout == LAYOUT_MATRIX)
            http_reply_header(reply, "X-Colour-Range", most);
        api_reply_picture(reply, &d.picture);
    }
    picture_free(&d.picture);
    matrix_free(&d.m);
    store_checkpoint_free(&checkpoint);
    give_turn();
}
