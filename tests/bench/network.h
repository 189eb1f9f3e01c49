// SPDX-License-Identifier: Apache-2.0
/*
 * The networks that are measured, said in a line: what an example is, the hidden layers (relu), and
 * the outputs, with commas between.
 *
 *   784, 256, 256, 10
 *   1x28x28, conv 6 5 pad 2, max 2, conv 16 5, max 2, 120, 84, 10
 *
 *   N                              dense, N neurons; first: N inputs; last: N outputs
 *   CxHxW                          first: an image of C channels
 *   conv N K [stride S] [pad P]    N channels, K x K window, stride 1 and no padding if not said
 *   max K [stride S], avg ...      pools the convolution before it; its stride is K if not said
 *
 * network.py reads the same language. Whether the windows fit is for tet_plan_check to say.
 */
#ifndef TESTS_BENCH_NETWORK_H
#define TESTS_BENCH_NETWORK_H

#include <tetrad/plan.h>

#include "bench.h"

struct network {
    const char *text;
    struct tet_shape shape;
    struct tet_layer_plan hidden[TET_MAX_HIDDEN];
    uint32_t n_hidden;
};

struct network_reader {
    const char *text, *at;
};

__attribute__((noreturn)) static inline void network_fault(const struct network_reader *r,
                                                           const char *expected)
{
    die("--network \"%s\": expected %s at \"%s\"; the head of network.h says how", r->text,
        expected, r->at);
}

/* Whether `word` is next; if so, goes past it. */
static inline bool network_accept(struct network_reader *r, const char *word)
{
    const size_t length = strlen(word);
    r->at += strspn(r->at, " ");
    const bool found = strncmp(r->at, word, length) == 0;
    r->at += found ? length : 0;
    return found;
}

static inline uint32_t network_number(struct network_reader *r)
{
    r->at += strspn(r->at, " ");
    char *end;
    const unsigned long n = strtoul(r->at, &end, 10);
    if (*r->at < '0' || *r->at > '9' || n > TET_MAX_UNITS)
        network_fault(r, "a number");
    r->at = end;
    return (uint32_t)n;
}

static inline void network_comma(struct network_reader *r)
{
    if (!network_accept(r, ","))
        network_fault(r, "a comma");
}

static inline struct tet_shape network_inputs(struct network_reader *r)
{
    struct tet_shape s = {.channels = 1, .rows = 1, .columns = network_number(r)};
    if (network_accept(r, "x")) {
        s.channels = s.columns;
        s.rows = network_number(r);
        if (!network_accept(r, "x"))
            network_fault(r, "x and the columns of an image");
        s.columns = network_number(r);
    }
    const uint64_t inputs = (uint64_t)s.rows * s.columns <= TET_MAX_UNITS
                                ? (uint64_t)s.channels * s.rows * s.columns
                                : 0;
    if (inputs < 1 || inputs > TET_MAX_UNITS)
        network_fault(r, "fewer inputs before that");
    s.inputs = (uint32_t)inputs;
    return s;
}

static inline struct tet_layer_plan network_convolution(struct network_reader *r)
{
    struct tet_layer_plan layer = {.type = TET_CONV2D, .stride = 1};
    layer.units = layer.descending_units = network_number(r);
    layer.kernel = network_number(r);
    if (network_accept(r, "stride"))
        layer.stride = network_number(r);
    if (network_accept(r, "pad"))
        layer.padding = network_number(r);
    return layer;
}

static inline void network_pool(struct network_reader *r, enum tet_pool pool,
                                struct tet_layer_plan *layer)
{
    if (layer == NULL || layer->type != TET_CONV2D || layer->pool != TET_POOL_NONE)
        network_fault(r, "a convolution before the pooling");
    layer->pool = pool;
    layer->pool_size = layer->pool_stride = network_number(r);
    if (network_accept(r, "stride"))
        layer->pool_stride = network_number(r);
}

/* One hidden layer or pooling; or, when the text ends after it, the outputs. */
static inline void network_item(struct network_reader *r, struct network *net)
{
    struct tet_layer_plan *last = net->n_hidden > 0 ? &net->hidden[net->n_hidden - 1] : NULL;
    struct tet_layer_plan layer = {.activation = TET_RELU, .type = TET_DENSE};
    if (network_accept(r, "max")) {
        network_pool(r, TET_POOL_MAX, last);
        return;
    }
    if (network_accept(r, "avg")) {
        network_pool(r, TET_POOL_AVG, last);
        return;
    }
    if (network_accept(r, "conv"))
        layer = network_convolution(r);
    else
        layer.units = layer.descending_units = network_number(r);
    if (layer.type == TET_DENSE && *r->at == '\0') {
        net->shape.outputs = layer.units;
        return;
    }
    if (net->n_hidden == TET_MAX_HIDDEN)
        network_fault(r, "fewer layers");
    net->hidden[net->n_hidden++] = layer;
}

static inline struct network network_read(const char *text)
{
    struct network_reader r = {text, text};
    struct network net = {.text = text, .shape = network_inputs(&r)};
    while (net.shape.outputs == 0) {
        network_comma(&r);
        network_item(&r, &net);
    }
    return net;
}

#endif
