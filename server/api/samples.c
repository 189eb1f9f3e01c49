// SPDX-License-Identifier: Apache-2.0
/* GET /v1/datasets/{name}/samples.png: a grid of a dataset's images. */
#include "api/results.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results/picture.h"

enum { SAMPLES_MAX = 400, SAMPLES = 64, SCALE_MAX = 8, STROKES_TRAIN = 1000, STROKES_TEST = 200 };

/* Where images of floats lie between black and white: from the least to the greatest of those
 * shown. */
struct range {
    double low, high;
};

static double value_at(const struct tet_examples *e, size_t at)
{
    return e->bytes != NULL ? e->bytes[at] : e->floats[at];
}

static struct range range_of(const struct tet_examples *e, size_t first, size_t n)
{
    struct range range = {0.0, 255.0};
    if (e->bytes != NULL)
        return range;
    range = (struct range){INFINITY, -INFINITY};
    for (size_t i = first; i < first + n; i++) {
        range.low = e->floats[i] < range.low ? e->floats[i] : range.low;
        range.high = e->floats[i] > range.high ? e->floats[i] : range.high;
    }
    return range;
}

static uint8_t shade(double value, struct range range)
{
    const double share =
        range.high > range.low ? (value - range.low) / (range.high - range.low) : 0.0;
    return share > 0.0 ? (uint8_t)(share < 1.0 ? 255.0 * share + 0.5 : 255.0) : 0;
}

static void draw_image(struct picture *picture, const struct tet_examples *e,
                       const struct tet_shape *shape, size_t example, struct range range,
                       uint32_t x, uint32_t y, uint32_t scale)
{
    const size_t plane = (size_t)shape->rows * shape->columns;
    for (uint32_t r = 0; r < shape->rows; r++)
        for (uint32_t c = 0; c < shape->columns; c++) {
            const size_t at = example * shape->inputs + (size_t)r * shape->columns + c;
            uint8_t rgb[3] = {0};
            for (size_t k = 0; k < 3; k++)
                rgb[k] = k > 0 && shape->channels == 1 ? rgb[0]
                                                       : shade(value_at(e, at + k * plane), range);
            picture_fill(picture, x + c * scale, y + r * scale, scale, rgb);
        }
}

static enum tet_err draw(struct picture *picture, const struct tet_dataset *data, bool test,
                         uint64_t first, uint64_t n, uint32_t scale, struct tet_error *error)
{
    const struct tet_examples *e = test ? &data->test : &data->train;
    const struct tet_shape *shape = &data->shape;
    uint32_t across = 1;
    if (shape->rows < 2 || (shape->channels != 1 && shape->channels != 3))
        return tet_error_set(error, TET_NOT_FOUND, "its examples are no images");
    if (first >= e->n)
        return tet_error_set(error, TET_NOT_FOUND, "the %s part has %u examples: none from %llu on",
                             test ? "test" : "train", e->n, (unsigned long long)first);
    n = n < e->n - first ? n : e->n - first;
    while ((uint64_t)across * across < n)
        across++;
    const uint32_t down = (uint32_t)((n + across - 1) / across), wide = shape->columns * scale + 1,
                   high = shape->rows * scale + 1;
    const enum tet_err err =
        picture_create(picture, (uint64_t)across * wide - 1, (uint64_t)down * high - 1, 128, error);
    const struct range range = range_of(e, first * shape->inputs, n * shape->inputs);
    for (uint32_t i = 0; err == TET_OK && i < n; i++)
        draw_image(picture, e, shape, first + i, range, i % across * wide, i / across * high,
                   scale);
    return err;
}

static bool read_part(const struct http_request *request, struct http_reply *reply, bool *test)
{
    const char *part = http_query(request, "part");
    struct tet_error error = {0};
    *test = part != NULL && strcmp(part, "test") == 0;
    if (part == NULL || *test || strcmp(part, "train") == 0)
        return true;
    tet_error_set(&error, TET_BAD_REQUEST, "part: found \"%.40s\", allowed train or test", part);
    http_reply_error(reply, &error, api_query_fault("part", part, "train or test"));
    return false;
}

void api_samples_png(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    const struct tet_dataset *data = NULL;
    struct dataset_info info;
    struct dataset_spec spec = {0};
    struct picture picture = {0};
    struct tet_error error = {0};
    uint64_t first = 0, n = 0, scale = 0;
    bool test = false;
    const char *name = http_part(request, 0);
    if (!http_query_only(request, reply,
                         (const char *const[]){"first", "n", "part", "scale", NULL}) ||
        !http_query_uint(request, reply, "first", 0, UINT32_MAX, 0, &first) ||
        !http_query_uint(request, reply, "n", 1, SAMPLES_MAX, SAMPLES, &n) ||
        !http_query_uint(request, reply, "scale", 1, SCALE_MAX, 1, &scale) ||
        !read_part(request, reply, &test))
        return;
    enum tet_err err = TET_OK;
    if (strlen(name) >= sizeof spec.name)
        err = tet_error_set(&error, TET_NOT_FOUND, "there is no dataset of such a name");
    else
        strcpy(spec.name, name);
    if (strcmp(name, "strokes") == 0) { // made on demand: of the default seed
        spec.seed = 1;
        spec.train = STROKES_TRAIN;
        spec.test = STROKES_TEST;
    }
    if (err == TET_OK)
        err = catalog_acquire(api->catalog, &spec, &data, &info, &error);
    if (err == TET_OK) {
        char tag[STORE_HASH + 80];
        snprintf(tag, sizeof tag, "%s-samples-%d-%llu-%llu-%llu",
                 info.sha256[0] != '\0' ? info.sha256 : "strokes", test, (unsigned long long)first,
                 (unsigned long long)n, (unsigned long long)scale);
        if (http_reply_etag(request, reply, tag))
            goto out;
        err = draw(&picture, data, test, first, n, (uint32_t)scale, &error);
    }
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        api_reply_picture(reply, &picture);
out:
    picture_free(&picture);
    catalog_release(api->catalog, data);
}
