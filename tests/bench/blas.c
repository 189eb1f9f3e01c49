// SPDX-License-Identifier: Apache-2.0
/*
 * Peer: the same dense network, rule bp, by plain C loops around OpenBLAS's matrix product, as one would
 * write it without a library for training. One thread. Prints one JSON object.
 *
 *   blas [--network 784,256,256,10] [--batch N] [--momentum M] [--seconds S] [--windows N]
 *
 * Letters:  N    examples of a mini-batch
 *           D_l  width of layer l; layer 0 is the input, layer L the output
 */
#include <cblas.h>

#include "bench.h"
#include "network.h"

struct layer {
    uint32_t in, out;   // D_{l-1}, D_l
    float *w, *dw, *vw; // (D_l, D_{l-1}): weights, gradient, velocity
    float *b, *db, *vb; // (D_l)
    float *x, *s;       // (N, D_l): activity, and the loss's gradient by the sum before it
};

struct net {
    uint32_t L, n;
    struct layer layer[TET_MAX_HIDDEN + 2]; // 1..L; layer[0].x is the mini-batch
    float rate, momentum;
    float *inputs;   // (examples, D_0)
    int32_t *labels; // (examples)
    uint32_t *order; // (examples), shuffled once
    uint32_t examples, position;
    int32_t *label; // (N)
    double loss;
};

/* The next mini-batch. */
static void stage(struct net *net)
{
    const uint32_t d = net->layer[0].out;
    for (uint32_t n = 0; n < net->n; n++) {
        const uint32_t example = net->order[(net->position + n) % net->examples];
        memcpy(net->layer[0].x + (size_t)n * d, net->inputs + (size_t)example * d,
               d * sizeof(float));
        net->label[n] = net->labels[example];
    }
    net->position = (net->position + net->n) % net->examples;
}

static void forward(struct net *net, uint32_t l)
{
    const struct layer *layer = &net->layer[l];
    const int n = (int)net->n, in = (int)layer->in, out = (int)layer->out;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, out, in, 1.0f, net->layer[l - 1].x, in,
                layer->w, in, 0.0f, layer->x, out);
    for (uint32_t i = 0; i < net->n; i++) {
        float *x = layer->x + (size_t)i * layer->out;
        for (uint32_t j = 0; j < layer->out; j++)
            x[j] = x[j] + layer->b[j];
        for (uint32_t j = 0; j < layer->out && l < net->L; j++)
            x[j] = x[j] > 0.0f ? x[j] : 0.0f;
    }
}

/* s_L = (softmax(z) - onehot(label)) / N */
static void judge(struct net *net)
{
    const struct layer *layer = &net->layer[net->L];
    net->loss = 0.0;
    for (uint32_t n = 0; n < net->n; n++) {
        const float *z = layer->x + (size_t)n * layer->out;
        float *s = layer->s + (size_t)n * layer->out, most = z[0], sum = 0.0f;
        for (uint32_t j = 1; j < layer->out; j++)
            most = z[j] > most ? z[j] : most;
        for (uint32_t j = 0; j < layer->out; j++)
            sum += s[j] = expf(z[j] - most);
        net->loss -= logf(s[net->label[n]] / sum) / (float)net->n;
        for (uint32_t j = 0; j < layer->out; j++)
            s[j] /= sum * (float)net->n;
        s[net->label[n]] -= 1.0f / (float)net->n;
    }
}

/* s_{l-1} = (s_l W_l) where x_{l-1} > 0 */
static void backward(struct net *net, uint32_t l)
{
    const struct layer *layer = &net->layer[l], *below = &net->layer[l - 1];
    const int n = (int)net->n, in = (int)layer->in, out = (int)layer->out;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, in, out, 1.0f, layer->s, out,
                layer->w, in, 0.0f, below->s, in);
    for (size_t i = 0; i < (size_t)net->n * layer->in; i++)
        below->s[i] = below->x[i] > 0.0f ? below->s[i] : 0.0f;
}

/* v = momentum v + gradient, w = w - rate v */
static void descend(const struct net *net, size_t n, const float *gradient, float *restrict v,
                    float *restrict w)
{
    for (size_t i = 0; i < n; i++) {
        v[i] = net->momentum * v[i] + gradient[i];
        w[i] = w[i] - net->rate * v[i];
    }
}

static void update(struct net *net, uint32_t l)
{
    struct layer *layer = &net->layer[l];
    const int n = (int)net->n, in = (int)layer->in, out = (int)layer->out;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, n, 1.0f, layer->s, out,
                net->layer[l - 1].x, in, 0.0f, layer->dw, in);
    memset(layer->db, 0, layer->out * sizeof(float));
    for (uint32_t i = 0; i < net->n; i++)
        for (uint32_t j = 0; j < layer->out; j++)
            layer->db[j] += layer->s[(size_t)i * layer->out + j];
    descend(net, (size_t)layer->in * layer->out, layer->dw, layer->vw, layer->w);
    descend(net, layer->out, layer->db, layer->vb, layer->b);
}

/* train_fn: n mini-batches. */
static double train(void *context, uint64_t n)
{
    struct net *net = context;
    for (; n > 0; n--) {
        stage(net);
        for (uint32_t l = 1; l <= net->L; l++)
            forward(net, l);
        judge(net);
        for (uint32_t l = net->L; l >= 1; l--) {
            if (l > 1)
                backward(net, l);
            update(net, l);
        }
    }
    return 0.0;
}

static float *floats(size_t n)
{
    return allocate(n * sizeof(float));
}

/* Bytes standardised to mean 0 and deviation 1, and a random order. */
static void make_examples(struct net *net, const struct options *o)
{
    const uint32_t inputs = net->layer[0].out, outputs = net->layer[net->L].out;
    uint8_t *bytes;
    draw_examples(o->examples, inputs, outputs, &bytes, &net->labels);
    net->examples = o->examples;
    const size_t n = (size_t)o->examples * inputs;
    net->inputs = floats(n);
    for (size_t i = 0; i < n; i++)
        net->inputs[i] = ((float)bytes[i] - 127.5f) / 73.9f;
    free(bytes);
    net->order = allocate(o->examples * sizeof *net->order);
    uint64_t state = 2;
    for (uint32_t i = 0; i < o->examples; i++) { // Fisher and Yates
        const uint32_t j = (uint32_t)(draw(&state) % (i + 1));
        net->order[i] = net->order[j];
        net->order[j] = i;
    }
}

/* Weights uniform with the variance 2 / D_{l-1}. */
static void make_layer(struct net *net, uint32_t l, uint32_t width, uint64_t *state)
{
    struct layer *layer = &net->layer[l];
    layer->out = width;
    layer->x = floats((size_t)net->n * layer->out);
    layer->s = floats((size_t)net->n * layer->out);
    if (l == 0)
        return;
    layer->in = net->layer[l - 1].out;
    const size_t n = (size_t)layer->in * layer->out;
    layer->w = floats(n);
    layer->dw = floats(n);
    layer->vw = floats(n);
    layer->b = floats(layer->out);
    layer->db = floats(layer->out);
    layer->vb = floats(layer->out);
    const float reach = sqrtf(6.0f / (float)layer->in);
    for (size_t i = 0; i < n; i++)
        layer->w[i] = reach * ((float)(draw(state) >> 40) * 0x1p-23f - 1.0f);
}

static void make_layers(struct net *net, const struct network *network)
{
    uint64_t state = 3;
    net->L = network->n_hidden + 1;
    make_layer(net, 0, network->shape.inputs, &state);
    for (uint32_t l = 1; l < net->L; l++) {
        if (network->hidden[l - 1].type != TET_DENSE)
            die("blas: dense layers only");
        make_layer(net, l, network->hidden[l - 1].units, &state);
    }
    make_layer(net, net->L, network->shape.outputs, &state);
}

int main(int argc, char **argv)
{
    const struct options o = read_options(argc, argv, 1);
    if (o.threads != 1 || strcmp(o.rule, "bp") != 0 || o.record > 0 || o.steps > 0)
        die("blas: one thread, rule bp, no --record and no --steps");
    const struct network network = network_read(o.network);
    static struct net net; // its arrays live as long as the program
    net.n = o.batch;
    net.rate = 1e-3f;
    net.momentum = (float)o.momentum;
    net.label = allocate(o.batch * sizeof *net.label);
    make_layers(&net, &network);
    make_examples(&net, &o);
    const struct rate rate = measure(&o, train, &net);
    print_rate("blas", &o, &rate);
    printf(", \"library\": \"%s\", \"core\": \"%s\", \"loss\": %.6g}\n", openblas_get_config(),
           openblas_get_corename(), net.loss);
    return 0;
}
