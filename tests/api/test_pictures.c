// SPDX-License-Identifier: Apache-2.0
/* Pictures of weights, decoded by libpng, against the weights themselves; products against a naive
 * loop; receptive fields, kernels and samples; and what is refused. */
#include "api/contract.h"

#include <math.h>
#include <png.h>

#include "data/npz.h"

struct pixels {
    uint32_t width, height;
    uint8_t *rgb;
    double range;
};

static json_int_t dense, kernels, colours;

/* Eight colour images of 3 x 5 in planes: image i has the value 30 i in channel i % 3. */
static void write_colours(void)
{
    char file[160];
    struct tet_error error = {0};
    static float x[8 * 45];
    int64_t t[8];
    for (int i = 0; i < 8; i++) {
        t[i] = i % 2;
        for (int k = 0; k < 45; k++)
            x[i * 45 + k] = k / 15 == i % 3 ? (float)(30 * i) : 0.0f;
    }
    const struct npy arrays[] = {
        {.name = "x", .type = NPY_F4, .rank = 4, .shape = {8, 3, 3, 5}, .n = 8 * 45, .data = x},
        {.name = "t", .type = NPY_I8, .rank = 1, .shape = {8}, .n = 8, .data = t}};
    snprintf(file, sizeof file, "%s/colours.npz", server.data);
    if (npz_write(arrays, 2, file, &error) != TET_OK)
        fail_msg("%s", error.message);
}

static int start(void **state)
{
    (void)state;
    server_start("1", NULL);
    write_colours();
    dense = submit(&server, "{\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50},"
                            "\"network\":{\"layers\":[{\"units\":18,\"descending_units\":9}]},"
                            "\"rule\":{\"name\":\"sal\",\"gate\":false},"
                            "\"training\":{\"epochs\":1,\"batch\":20}}");
    kernels = submit(&server, "{\"dataset\":{\"name\":\"strokes\",\"train\":60,\"test\":20},"
                              "\"network\":{\"layers\":[{\"type\":\"conv2d\",\"channels\":5,"
                              "\"kernel\":3,\"stride\":2}]},\"rule\":{\"name\":\"bp\"},"
                              "\"training\":{\"epochs\":1,\"batch\":20}}");
    colours = submit(&server, "{\"dataset\":{\"name\":\"colours\",\"train\":6,\"test\":2},"
                              "\"network\":{\"layers\":[{\"units\":7}]},\"rule\":{\"name\":\"bp\"},"
                              "\"training\":{\"epochs\":1,\"batch\":2}}");
    json_decref(await_end(&server, dense, "succeeded"));
    json_decref(await_end(&server, kernels, "succeeded"));
    json_decref(await_end(&server, colours, "succeeded"));
    return 0;
}

static struct pixels decode(const char *path)
{
    struct reply reply;
    char range[256];
    ask_with(&server, "GET", path, NULL, NULL, &reply);
    expect(&reply, 200);
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, reply.body, reply.size) != 0);
    assert_true(image.format == PNG_FORMAT_RGB || image.format == PNG_FORMAT_GRAY);
    image.format = PNG_FORMAT_RGB;
    struct pixels p = {.width = image.width, .height = image.height};
    p.rgb = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(p.rgb);
    assert_true(png_image_finish_read(&image, NULL, p.rgb, 0, NULL) != 0);
    p.range = reply_header(&reply, "X-Colour-Range", range) != NULL ? atof(range) : NAN;
    reply_free(&reply);
    return p;
}

/* An array's values, from its .npy; *columns of the rows. */
static float *weights(json_int_t run, const char *name, size_t *rows, size_t *columns)
{
    char path[100];
    struct reply reply;
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/%s.npy", (long long)run, name);
    ask_with(&server, "GET", path, NULL, NULL, &reply);
    expect(&reply, 200);
    const size_t head = 10 + (size_t)((uint8_t)reply.body[8] | (uint8_t)reply.body[9] << 8);
    const char *shape = strstr(reply.body + 10, "'shape': (");
    *rows = strtoul(shape + 10, NULL, 10);
    *columns = (reply.size - head) / 4 / *rows;
    float *values = malloc(reply.size - head);
    assert_non_null(values);
    memcpy(values, reply.body + head, reply.size - head);
    reply_free(&reply);
    return values;
}

/* The colour of a value, by itself: blue below 0, red above, darker farther out. */
static void assert_colour(const uint8_t *rgb, double value, double most)
{
    const double share = value / most;
    if (fabs(share) < 1e-3)
        assert_true(rgb[0] >= 244 && rgb[1] >= 244 && rgb[2] >= 244);
    else if (share > 0.25)
        assert_true(rgb[0] > rgb[2]);
    else if (share < -0.25)
        assert_true(rgb[2] > rgb[0]);
    if (share == 1.0)
        assert_true(rgb[0] == 103 && rgb[1] == 0 && rgb[2] == 31);
    if (share == -1.0)
        assert_true(rgb[0] == 5 && rgb[1] == 48 && rgb[2] == 97);
    if (fabs(share - 0.2) < 1e-9)
        assert_true(rgb[0] == 253 && rgb[1] == 219 && rgb[2] == 199);
}

/* Brightness falls with the distance from 0, on either side. */
static void assert_monotone(const struct pixels *p, const double *values, size_t rows,
                            size_t columns, uint32_t scale)
{
    double most = 0.0;
    assert_int_equal(p->width, columns * scale);
    assert_int_equal(p->height, rows * scale);
    for (size_t i = 0; i < rows * columns; i++)
        most = fmax(most, fabs(values[i]));
    assert_true(fabs(p->range - most) <= 1e-8 * most);
    for (size_t i = 0; i < rows * columns; i++)
        for (uint32_t k = 0; k < scale * scale; k++) {
            const size_t y = i / columns * scale + k / scale, x = i % columns * scale + k % scale;
            const uint8_t *rgb = p->rgb + 3 * (y * p->width + x);
            assert_colour(rgb, values[i], most);
            const size_t j = (i * 7 + 3) % (rows * columns);
            const uint8_t *other =
                p->rgb + 3 * (j / columns * scale * p->width + j % columns * scale);
            if (values[i] * values[j] > 0 && fabs(values[i]) > 1.3 * fabs(values[j]) &&
                fabs(values[i]) > 0.1 * most)
                assert_true(rgb[1] < other[1]);
        }
}

static double *as_double(const float *values, size_t n)
{
    double *d = calloc(n, sizeof *d);
    assert_non_null(d);
    for (size_t i = 0; i < n; i++)
        d[i] = values[i];
    return d;
}

static void test_matrix(void **state)
{
    (void)state;
    char path[120];
    size_t rows, columns;
    float *w = weights(dense, "W2", &rows, &columns);
    double *values = as_double(w, rows * columns);
    for (uint32_t scale = 1; scale <= 16; scale += 5) {
        snprintf(path, sizeof path, "/v1/runs/%lld/weights/W2.png?scale=%u", (long long)dense,
                 scale);
        struct pixels p = decode(path);
        assert_monotone(&p, values, rows, columns, scale);
        free(p.rgb);
    }
    /* By itself the longer side has 100 to 800 pixels. */
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/W2.png", (long long)dense);
    struct pixels p = decode(path);
    assert_in_range(p.width > p.height ? p.width : p.height, 100, 800);
    free(p.rgb);
    double *turned = calloc(rows * columns, sizeof *turned);
    assert_non_null(turned);
    for (size_t i = 0; i < rows * columns; i++)
        turned[i % columns * rows + i / columns] = values[i];
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/W2.T.png?scale=2", (long long)dense);
    p = decode(path);
    assert_monotone(&p, turned, columns, rows, 2);
    free(p.rgb);
    free(turned);
    free(values);
    free(w);
}

/* V1 B2: (18, 9) (9, 10). */
static void test_product(void **state)
{
    (void)state;
    char path[120];
    size_t n, k, k2, m;
    float *v = weights(dense, "V1", &n, &k), *b = weights(dense, "B2", &k2, &m);
    assert_int_equal(k, k2);
    double *y = calloc(n * m, sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            for (size_t l = 0; l < k; l++)
                y[i * m + j] += (double)v[i * k + l] * b[l * m + j];
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/V1.B2.png?scale=3", (long long)dense);
    struct pixels p = decode(path);
    assert_monotone(&p, y, n, m, 3);
    free(p.rgb);
    free(y);
    free(v);
    free(b);
}

/* Each row of W1 is an image of 28 x 28. */
static void test_fields(void **state)
{
    (void)state;
    char path[120];
    size_t rows, columns;
    float *w = weights(dense, "W1", &rows, &columns);
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/W1.png?layout=fields&scale=2",
             (long long)dense);
    struct pixels p = decode(path);
    assert_int_equal(p.width, 5 * 57 - 1);
    assert_int_equal(p.height, 4 * 57 - 1);
    for (size_t i = 0; i < rows; i++) {
        double most = 0.0;
        for (size_t k = 0; k < columns; k++)
            most = fmax(most, fabs((double)w[i * columns + k]));
        for (size_t k = 0; k < columns; k++) {
            const size_t x = i % 5 * 57 + k % 28 * 2, y = i / 5 * 57 + k / 28 * 2;
            assert_colour(p.rgb + 3 * (y * p.width + x), w[i * columns + k], most);
            assert_colour(p.rgb + 3 * ((y + 1) * p.width + x + 1), w[i * columns + k], most);
        }
    }
    free(p.rgb);
    free(w);
    /* Kernels: 5 of 3 x 3 in a grid 3 across. */
    w = weights(kernels, "W1", &rows, &columns);
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/W1.png?scale=4", (long long)kernels);
    p = decode(path);
    assert_int_equal(p.width, 3 * 13 - 1);
    assert_int_equal(p.height, 2 * 13 - 1);
    for (size_t i = 0; i < 5; i++) {
        double most = 0.0;
        for (size_t k = 0; k < 9; k++)
            most = fmax(most, fabs((double)w[i * 9 + k]));
        for (size_t k = 0; k < 9; k++)
            assert_colour(p.rgb + 3 * ((i / 3 * 13 + k / 3 * 4) * p.width + i % 3 * 13 + k % 3 * 4),
                          w[i * 9 + k], most);
    }
    free(p.rgb);
    free(w);
}

static void test_colours(void **state)
{
    (void)state;
    char path[120];
    size_t rows, columns;
    float *w = weights(colours, "W1", &rows, &columns);
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/W1.png?layout=fields&scale=1",
             (long long)colours);
    struct pixels p = decode(path);
    assert_int_equal(p.width, 3 * 6 - 1);
    assert_int_equal(p.height, 3 * 4 - 1);
    for (size_t i = 0; i < rows; i++) {
        double most = 0.0;
        for (size_t k = 0; k < 45; k++)
            most = fmax(most, fabs((double)w[i * 45 + k]));
        for (size_t k = 0; k < 45; k++) {
            const size_t x = i % 3 * 6 + k % 5, y = i / 3 * 4 + k % 15 / 5;
            const double expected = 127.5 + 127.5 * w[i * 45 + k] / most;
            const size_t colour = k / 15;
            assert_true(fabs(p.rgb[3 * (y * p.width + x) + colour] - expected) <= 0.5001);
        }
    }
    free(p.rgb);
    free(w);
    /* Samples: image 2 + i has its value in channel (2 + i) % 3; of all shown 210 is white. */
    p = decode("/v1/datasets/colours/samples.png?first=2&n=6");
    assert_int_equal(p.width, 3 * 6 - 1);
    assert_int_equal(p.height, 2 * 4 - 1);
    for (size_t i = 0; i < 6; i++)
        for (size_t c = 0; c < 3; c++) {
            const uint8_t got = p.rgb[3 * ((i / 3 * 4 + 1) * p.width + i % 3 * 6 + 4) + c];
            const double expected = (i + 2) % 3 == c ? 255.0 * 30.0 * ((double)i + 2) / 210.0 : 0.0;
            assert_true(fabs(got - expected) <= 0.5001);
        }
    free(p.rgb);
    p = decode("/v1/datasets/strokes/samples.png?part=test&n=10&scale=2");
    assert_int_equal(p.width, 4 * 57 - 1);
    assert_int_equal(p.height, 3 * 57 - 1);
    free(p.rgb);
}

static void test_etag(void **state)
{
    (void)state;
    char path[120], tag[256], header[300], other[256];
    struct reply reply;
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/W2.png?scale=2", (long long)dense);
    ask_with(&server, "GET", path, NULL, NULL, &reply);
    assert_non_null(reply_header(&reply, "ETag", tag));
    snprintf(header, sizeof header, "If-None-Match: %s", tag);
    reply_free(&reply);
    ask_with(&server, "GET", path, NULL, (const char *const[]){header, NULL}, &reply);
    expect(&reply, 304);
    reply_free(&reply);
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/W2.png?scale=3", (long long)dense);
    ask_with(&server, "GET", path, NULL, (const char *const[]){header, NULL}, &reply);
    expect(&reply, 200);
    assert_string_not_equal(reply_header(&reply, "ETag", other), tag);
    reply_free(&reply);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
        long status;
    } cases[] = {
        {"W9.png", "W9", 404},
        {"V1.W1.png", "W1 has 18 rows", 400},
        {"V1.B2.B2.png", "B2 has 9 rows", 400},
        {"W1.T.T.png", "allowed", 400},
        {"T.png", "allowed", 400},
        {"W1..B2.png", "allowed", 400},
        {"W1.W1.T.W1.W1.T.W1.png", "allowed", 400},
        {"W2.png?layout=fields", "images", 400},
        {"W2.png?layout=grid", "matrix or fields", 400},
        {"W2.png?scale=17", "scale", 400},
        {"W2.png?scale=0", "scale", 400},
        {"W1.png?scale=16", "pixels", 400},
        {"W1.png?step=3", "kept are", 404},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *error = get(&server, cases[i].status, "/v1/runs/%lld/weights/%s", (long long)dense,
                            cases[i].name);
        const char *message = text(json_object_get(error, "error"), "message");
        if (strstr(message, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].name, message);
        json_decref(error);
    }
    json_decref(get(&server, 400, "/v1/runs/%lld/weights/W1.T.png", (long long)kernels));
    json_decref(get(&server, 404, "/v1/datasets/none/samples.png"));
    json_decref(get(&server, 404, "/v1/datasets/colours/samples.png?first=8"));
    json_decref(get(&server, 404, "/v1/datasets/colours/samples.png?part=test"));
    json_decref(get(&server, 400, "/v1/datasets/colours/samples.png?part=tests"));
    json_decref(get(&server, 400, "/v1/datasets/colours/samples.png?n=401"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix), cmocka_unit_test(test_product),
        cmocka_unit_test(test_fields), cmocka_unit_test(test_colours),
        cmocka_unit_test(test_etag),   cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
