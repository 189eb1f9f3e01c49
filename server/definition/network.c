// SPDX-License-Identifier: Apache-2.0
/*
 * Resolving the network part of a run: what may stand above what, sizes that depend on each other,
 * and whether images fit.
 *
 * Items of network.layers keep their places, the ones that are no layers of their own (poolings,
 * flatten) too, so that paths of sweeps and pointers of faults mean what their author wrote.
 *
 * An item that had a fault is null, a member with one is not there: then what depends on it is not
 * looked at.
 */
#include "definition/resolve.h"

#include <stdio.h>
#include <string.h>

const char *const resolve_layer_types[LAYER_TYPES] = {
    [LAYER_DENSE] = "dense",       [LAYER_CONV2D] = "conv2d",   [LAYER_MAX_POOL] = "max_pool",
    [LAYER_AVG_POOL] = "avg_pool", [LAYER_FLATTEN] = "flatten",
};

enum { LAYER_INPUT = -1, LAYER_UNKNOWN = -2 }; // what else may be below an item

static int type_of(const json_t *layer)
{
    const char *name = json_string_value(json_object_get(layer, "type"));
    for (int type = 0; name != NULL && type < LAYER_TYPES; type++)
        if (strcmp(resolve_layer_types[type], name) == 0)
            return type;
    return LAYER_UNKNOWN;
}

static bool is_pool(int type)
{
    return type == LAYER_MAX_POOL || type == LAYER_AVG_POOL;
}

static json_t *layers_of(const struct resolve_work *w)
{
    return json_object_get(json_object_get(w->run, "network"), "layers");
}

static void put_pointer(char pointer[RESOLVE_POINTER], size_t i, const char *key)
{
    snprintf(pointer, RESOLVE_POINTER, "/network/layers/%zu/%s", i, key);
}

/* ---- order ---- */

/* Why an item cannot stand where it does, or NULL. `flat`: what has ended the images, LAYER_INPUT
 * where nothing has. */
static const char *misplaced(int type, int below, int flat, bool convolved)
{
    if (type == LAYER_CONV2D && flat == LAYER_DENSE)
        return "a convolution cannot stand above a dense layer";
    if (type == LAYER_CONV2D && flat == LAYER_FLATTEN)
        return "a convolution cannot stand above flatten";
    if (is_pool(type) && is_pool(below))
        return "a convolution has one pooling";
    if (is_pool(type) && below != LAYER_CONV2D && below != LAYER_UNKNOWN)
        return "a pooling stands directly after a convolution";
    if (type == LAYER_FLATTEN && (flat != LAYER_INPUT || !convolved))
        return "flatten stands between the convolutions and the first dense layer";
    return NULL;
}

static void check_order(struct resolve_work *w, const json_t *layers)
{
    int below = LAYER_INPUT, flat = LAYER_INPUT;
    bool convolved = false;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const int type = type_of(layer);
        const char *why = misplaced(type, below, flat, convolved);
        if (why != NULL) {
            char pointer[RESOLVE_POINTER];
            put_pointer(pointer, i, "type");
            faults_add(w->faults, pointer, json_object_get(layer, "type"), NULL, "%s: %s",
                       flat != LAYER_INPUT ? "dense"
                       : is_pool(below)    ? "conv2d, flatten or dense"
                                           : "conv2d or dense",
                       why);
        }
        convolved = convolved || type == LAYER_CONV2D || type == LAYER_UNKNOWN;
        if (flat == LAYER_INPUT && (type == LAYER_DENSE || type == LAYER_FLATTEN))
            flat = type;
        below = type;
    }
}

/* ---- layers by themselves ---- */

/* The width of the descending stream: `key`, by default the ascending one's, `of`. */
static void resolve_descending(struct resolve_work *w, size_t i, const char *key, const char *of)
{
    const json_t *layers = layers_of(w);
    json_t *layer = json_array_get(layers, i);
    const json_t *width = json_object_get(layer, of), *descending = json_object_get(layer, key);
    const json_int_t d = json_integer_value(width), e = json_integer_value(descending);
    const bool gate = json_is_true(json_object_get(json_object_get(w->run, "rule"), "gate"));
    char pointer[RESOLVE_POINTER];
    if (width == NULL || (descending != NULL && d == e))
        return;
    put_pointer(pointer, i, key);
    if (descending == NULL && faults_known(w->faults, pointer))
        return;
    if (descending != NULL && w->info != NULL) {
        const bool laterals = w->info->group[TET_V];
        const bool max = type_of(json_array_get(layers, i + 1)) == LAYER_MAX_POOL;
        if (laterals && max)
            faults_add(w->faults, pointer, descending, NULL,
                       "%" JSON_INTEGER_FORMAT " (%s): the winners of max_pool are ascending "
                       "channels, and the signal descends to them",
                       d, of);
        else if (laterals && gate)
            faults_add(w->faults, pointer, descending, NULL,
                       "%" JSON_INTEGER_FORMAT " (%s), or rule.gate false", d, of);
        if (laterals)
            return;
        if (!resolve_is_foreign(w, pointer, TET_V))
            faults_add(w->faults, pointer, descending, NULL,
                       "%" JSON_INTEGER_FORMAT " (%s): rule %s has no laterals", d, of,
                       w->info->name);
        descending = NULL;
    }
    if (descending == NULL)
        resolve_set(w, layer, key, json_integer(d));
}

static void resolve_stride(struct resolve_work *w, size_t i)
{
    json_t *layer = json_array_get(layers_of(w), i);
    const json_t *size = json_object_get(layer, "size");
    char pointer[RESOLVE_POINTER];
    put_pointer(pointer, i, "stride");
    if (size != NULL && json_object_get(layer, "stride") == NULL &&
        !faults_known(w->faults, pointer))
        resolve_set(w, layer, "stride", json_integer(json_integer_value(size)));
}

static void check_padding(struct resolve_work *w, size_t i)
{
    const json_t *layer = json_array_get(layers_of(w), i),
                 *kernel = json_object_get(layer, "kernel"),
                 *padding = json_object_get(layer, "padding");
    char pointer[RESOLVE_POINTER];
    if (kernel == NULL || json_integer_value(padding) < json_integer_value(kernel))
        return;
    put_pointer(pointer, i, "padding");
    faults_add(w->faults, pointer, padding, NULL,
               "integer from 0 to %" JSON_INTEGER_FORMAT " (less than kernel)",
               json_integer_value(kernel) - 1);
}

void resolve_network(struct resolve_work *w)
{
    const json_t *layers = layers_of(w);
    check_order(w, layers);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const int type = type_of(json_array_get(layers, i));
        if (type == LAYER_DENSE)
            resolve_descending(w, i, "descending_units", "units");
        if (type == LAYER_CONV2D) {
            check_padding(w, i);
            resolve_descending(w, i, "descending_channels", "channels");
        }
        if (is_pool(type))
            resolve_stride(w, i);
    }
}

/* ---- images ---- */

struct image {
    uint32_t channels, rows, columns;
};

/* A member as a number; 0 and *missing where it is not there. */
static uint32_t number(const json_t *layer, const char *key, bool *missing)
{
    const json_t *value = json_object_get(layer, key);
    *missing = *missing || value == NULL;
    return (uint32_t)json_integer_value(value);
}

/* Moves a window over the image; false where it does not fit, which is said of `key`. */
static bool move_window(struct resolve_work *w, size_t i, const char *key, uint32_t stride,
                        uint32_t padding, struct image *image)
{
    const json_t *found = json_object_get(json_array_get(layers_of(w), i), key);
    const uint32_t side = (uint32_t)json_integer_value(found), rows = image->rows,
                   columns = image->columns;
    image->rows = tet_window_count(rows, side, stride, padding);
    image->columns = tet_window_count(columns, side, stride, padding);
    if (image->rows > 0 && image->columns > 0)
        return true;
    char pointer[RESOLVE_POINTER], rings[40] = "";
    put_pointer(pointer, i, key);
    if (padding > 0)
        snprintf(rings, sizeof rings, " with %u of padding around it", padding);
    faults_add(w->faults, pointer, found, NULL,
               "integer from 1 to %u: the image below is %u x %u%s",
               (rows < columns ? rows : columns) + 2 * padding, rows, columns, rings);
    return false;
}

/* That a layer of this many channels has not too many neurons, and its neurons not too many
 * synapses. */
static bool check_volume(struct resolve_work *w, size_t i, const char *key,
                         const struct image *image, uint32_t kernel)
{
    const json_t *layer = json_array_get(layers_of(w), i), *channels = json_object_get(layer, key);
    const uint64_t n = (uint64_t)json_integer_value(channels);
    char pointer[RESOLVE_POINTER];
    if (n * image->rows * image->columns > TET_MAX_VOLUME) {
        put_pointer(pointer, i, key);
        faults_add(w->faults, pointer, channels, NULL,
                   "fewer: its image is %u x %u, and a layer has at most %d neurons", image->rows,
                   image->columns, TET_MAX_VOLUME);
        return false;
    }
    if (n * kernel * kernel > TET_MAX_VOLUME) {
        put_pointer(pointer, i, "kernel");
        faults_add(w->faults, pointer, json_object_get(layer, "kernel"), NULL,
                   "less: with %llu channels a neuron has more than %d synapses",
                   (unsigned long long)n, TET_MAX_VOLUME);
        return false;
    }
    return true;
}

/* Goes up through a convolution; false where there is nothing more to say. */
static bool convolve(struct resolve_work *w, size_t i, struct image *image)
{
    const json_t *layer = json_array_get(layers_of(w), i);
    bool missing = false;
    const uint32_t kernel = number(layer, "kernel", &missing),
                   stride = number(layer, "stride", &missing),
                   padding = number(layer, "padding", &missing),
                   channels = number(layer, "channels", &missing), below = image->channels;
    if (missing || padding >= kernel || !move_window(w, i, "kernel", stride, padding, image) ||
        !check_volume(w, i, "channels", image, kernel) ||
        !check_volume(w, i, "descending_channels", image, kernel))
        return false;
    image->channels = channels;
    if ((uint64_t)below * kernel * kernel <= TET_MAX_VOLUME)
        return true;
    char pointer[RESOLVE_POINTER];
    put_pointer(pointer, i, "kernel");
    faults_add(w->faults, pointer, json_object_get(layer, "kernel"), NULL,
               "less: with %u channels below a neuron has more than %d synapses", below,
               TET_MAX_VOLUME);
    return false;
}

static bool has_images(const struct tet_shape *shape)
{
    return (uint64_t)shape->channels * shape->rows * shape->columns == shape->inputs &&
           (shape->channels > 1 || shape->rows > 1);
}

void resolve_images(struct resolve_work *w, const struct dataset_info *info)
{
    const json_t *layers = layers_of(w);
    const struct tet_shape *shape = &info->shape;
    struct image image = {shape->channels, shape->rows, shape->columns};
    int type, below = LAYER_INPUT;
    for (size_t i = 0; i < json_array_size(layers); i++, below = type) {
        const json_t *layer = json_array_get(layers, i);
        bool missing = false;
        type = type_of(layer);
        if (type == LAYER_CONV2D && !has_images(shape)) {
            char pointer[RESOLVE_POINTER];
            put_pointer(pointer, i, "type");
            faults_add(w->faults, pointer, json_object_get(layer, "type"), NULL,
                       "dense: the examples of dataset %s are not images but %u numbers each",
                       info->name, shape->inputs);
            return;
        }
        if (type == LAYER_CONV2D) {
            if (!convolve(w, i, &image))
                return;
            continue;
        }
        if (!is_pool(type) || below != LAYER_CONV2D)
            return; // no images from here on, or a fault that has been told
        const uint32_t stride = number(layer, "stride", &missing);
        (void)number(layer, "size", &missing);
        if (missing || !move_window(w, i, "size", stride, 0, &image))
            return;
    }
}
