// SPDX-License-Identifier: Apache-2.0
/*
 * POST /v1/runs/{id}/predict: what a run's weights make of examples, of its dataset or of the
 * client's own.
 *
 * A trainer is made as for training, with one thread, in memory that is taken from what runs may
 * use; at most PREDICTIONS at once, so that training goes on beside them.
 */
#include "api/results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/sent.h"
#include "definition/definition.h"
#include "json.h"
#include "results/weights.h"

enum { PREDICTIONS = 2, EXAMPLES_MAX = 1000 };

struct predicting {
    struct api *api;
    int64_t run;
    struct sent sent;
    json_t *definition;
    const json_t *rows, *indices; // in the body, of n values: one of them is there
    uint64_t memory_bytes;
    int64_t step; // 0: the final one
    int part;     // enum tet_part
    struct store_checkpoint checkpoint;
    const struct tet_dataset *dataset;
    struct tet_plan plan;
    struct tet_trainer *trainer;
    uint32_t n;     // examples
    void *inputs;   // (n, d_0) bytes or floats, of inputs
    float *outputs; // (n, d_L)
    json_t *labels; // of indices; NULL: none
    json_t *prediction;
};

/* ---- the request ---- */

static bool keep_run(void *context, const struct store_run *run)
{
    struct predicting *p = context;
    p->definition = api_parse(run->definition);
    p->memory_bytes = run->memory_bytes;
    return true;
}

static const char *const part_names[] = {"train", "validation", "test", NULL};

static enum tet_err read_body(struct predicting *p, const struct http_request *request,
                              struct tet_error *error)
{
    const struct field fields[] = {{"inputs", FIELD_ARRAY, 1, EXAMPLES_MAX, .to = &p->rows},
                                   {"part", FIELD_CHOICE, .words = part_names, .to = &p->part},
                                   {"indices", FIELD_ARRAY, 1, EXAMPLES_MAX, .to = &p->indices},
                                   {"step", FIELD_INTEGER, 1, FIELD_NO_BOUND, .to = &p->step}};
    struct sent *sent = &p->sent;
    const enum tet_err err = sent_read(sent, request, fields, 4, false, error);
    if (err != TET_OK || sent->faults.n > 0)
        return err;
    const bool part = sent_has(sent, "part");
    if ((p->rows != NULL) == (part || p->indices != NULL))
        faults_add(&sent->faults, "", NULL, NULL, "object with either inputs, or part and indices");
    else if (p->rows == NULL && (!part || p->indices == NULL))
        sent_missing(sent, &fields[part ? 2 : 1]);
    p->n = (uint32_t)json_array_size(p->rows != NULL ? p->rows : p->indices);
    return err;
}

/* ---- the examples ---- */

static bool read_number(const json_t *value, bool byte, double *number)
{
    *number = json_number_value(value);
    if (byte)
        return json_is_number(value) && *number >= 0 && *number <= 255 && *number == floor(*number);
    return json_is_number(value) && fabs(*number) <= 3.4e38;
}

/* The client's rows, in the dataset's own units: bytes as 0 to 255. */
static enum tet_err read_inputs(struct predicting *p, struct tet_error *error)
{
    const bool bytes = p->dataset->train.bytes != NULL;
    const uint32_t d = p->dataset->shape.inputs;
    p->inputs = calloc((size_t)p->n * d, bytes ? 1 : sizeof(float));
    if (p->inputs == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for %u examples", p->n);
    for (uint32_t i = 0; i < p->n; i++) {
        const json_t *row = json_array_get(p->rows, i);
        char pointer[64];
        snprintf(pointer, sizeof pointer, "/inputs/%u", i);
        if (!json_is_array(row) || json_array_size(row) != d) {
            faults_add(&p->sent.faults, pointer, json_is_array(row) ? NULL : row, NULL,
                       json_is_array(row) ? "array of %u numbers, as the dataset has, not of %zu"
                                          : "array of %u numbers, as the dataset has",
                       d, json_array_size(row));
            continue;
        }
        for (uint32_t k = 0; k < d; k++) {
            double value;
            if (!read_number(json_array_get(row, k), bytes, &value)) {
                snprintf(pointer, sizeof pointer, "/inputs/%u/%u", i, k);
                faults_add(&p->sent.faults, pointer, json_array_get(row, k), NULL,
                           bytes ? "integer from 0 to 255, as the dataset has" : "number");
            } else if (bytes)
                ((uint8_t *)p->inputs)[(size_t)i * d + k] = (uint8_t)value;
            else
                ((float *)p->inputs)[(size_t)i * d + k] = (float)value;
        }
    }
    return TET_OK;
}

static void use_inputs(struct predicting *p)
{
    const bool bytes = p->dataset->train.bytes != NULL;
    const struct tet_examples examples = {
        .n = p->n, .bytes = bytes ? p->inputs : NULL, .floats = bytes ? NULL : p->inputs};
    tet_trainer_outputs(p->trainer, &examples, 0, p->n, p->outputs);
}

static void use_indices(struct predicting *p)
{
    const uint32_t outputs = p->dataset->shape.outputs;
    const struct tet_examples *examples;
    uint32_t first;
    const uint32_t n = tet_trainer_part(p->trainer, (enum tet_part)p->part, &examples, &first);
    p->labels = examples->labels != NULL ? json_array() : NULL;
    for (uint32_t i = 0; i < p->n; i++) {
        const json_t *index = json_array_get(p->indices, i);
        const json_int_t at = json_integer_value(index);
        if (!json_is_integer(index) || at < 0 || at >= (json_int_t)n) {
            char pointer[40];
            snprintf(pointer, sizeof pointer, "/indices/%u", i);
            if (n == 0)
                faults_add(&p->sent.faults, pointer, index, NULL, "none: the run has no %s part",
                           part_names[p->part]);
            else
                faults_add(&p->sent.faults, pointer, index, NULL,
                           "integer from 0 to %u: of the %s part", n - 1, part_names[p->part]);
            continue;
        }
        tet_trainer_outputs(p->trainer, examples, first + (uint32_t)at, 1,
                            p->outputs + (size_t)i * outputs);
        if (p->labels != NULL)
            json_array_append_new(p->labels, json_integer(examples->labels[first + at]));
    }
}

/* ---- the trainer ---- */

static enum tet_err restore(struct predicting *p, struct tet_error *error)
{
    struct tet_error why = {0};
    /* A fork's first checkpoint is another rule's perhaps, and an imported run has weights alone. */
    const enum tet_err err = weights_adopt(p->trainer, &p->checkpoint, &why);
    if (err == TET_BAD_WEIGHTS || err == TET_BAD_DEFINITION)
        return tet_error_set(error, TET_CONFLICT, "%s", why.message);
    return err != TET_OK ? tet_error_set(error, err, "%s", why.message) : TET_OK;
}

static enum tet_err make_trainer(struct predicting *p, struct tet_error *error)
{
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_error why = {0};
    enum tet_err err = definition_dataset(&spec, p->definition, &why);
    if (err == TET_OK)
        err = catalog_acquire(p->api->catalog, &spec, &p->dataset, &info, &why);
    if (err == TET_OK) // refuses another dataset of the name
        err = definition_plan(&p->plan, p->definition, &info, &why);
    p->plan.threads = 1;
    if (err == TET_OK)
        err = tet_plan_check(&p->plan, &info.shape, &why);
    /* What an imported run says of its memory is not to be trusted. */
    if (err == TET_OK && tet_plan_memory(&p->plan, &info.shape) > p->api->memory_bytes)
        return tet_error_set(error, TET_CONFLICT,
                             "the run's network needs more memory than this server allows");
    if (err == TET_OK)
        err = tet_trainer_create(&p->trainer, &p->plan, p->dataset, NULL, NULL, &why);
    if (err == TET_NOT_FOUND || err == TET_BAD_DATASET)
        return tet_error_set(error, TET_CONFLICT, "the run's dataset cannot be used any more: %s",
                             why.message);
    if (err != TET_OK)
        return tet_error_set(error, err, "%s", why.message);
    return restore(p, error);
}

static enum tet_err predict(struct predicting *p, json_t **details, struct tet_error *error)
{
    enum tet_err err = make_trainer(p, error);
    if (err != TET_OK)
        return err;
    p->outputs = calloc((size_t)p->n * p->dataset->shape.outputs, sizeof *p->outputs);
    if (p->outputs == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for %u outputs", p->n);
    if (p->rows == NULL) {
        use_indices(p);
    } else {
        err = read_inputs(p, error);
        if (err == TET_OK && p->sent.faults.n == 0)
            use_inputs(p);
    }
    return err == TET_OK ? sent_judge(&p->sent, details, error) : err;
}

/* ---- the reply ---- */

/* Softmax of z (n), in double. */
static json_t *softmax(const float *z, uint32_t n)
{
    double most = z[0], sum = 0.0;
    json_t *row = json_array();
    for (uint32_t c = 1; c < n; c++)
        most = z[c] > most ? z[c] : most;
    for (uint32_t c = 0; c < n; c++)
        sum += exp(z[c] - most);
    for (uint32_t c = 0; c < n; c++)
        json_array_append_new(row, json_finite(exp(z[c] - most) / sum));
    return row;
}

/* The greatest, of equal ones the first, as an evaluation has it. */
static uint32_t class_of(const float *z, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t c = 1; c < n; c++)
        if (z[c] > z[best])
            best = c;
    return best;
}

static json_t *prediction_json(const struct predicting *p)
{
    const uint32_t d = p->dataset->shape.outputs;
    const bool probable = p->plan.loss == TET_CROSS_ENTROPY,
               classes = p->dataset->train.labels != NULL;
    json_t *rows = json_array(), *list = classes ? json_array() : json_null();
    for (uint32_t i = 0; i < p->n; i++) {
        const float *z = p->outputs + (size_t)i * d;
        if (classes)
            json_array_append_new(list, json_integer(class_of(z, d)));
        json_t *row = probable ? softmax(z, d) : json_array();
        for (uint32_t c = 0; !probable && c < d; c++)
            json_array_append_new(row, json_finite(z[c]));
        json_array_append_new(rows, row);
    }
    json_t *value = json_pack("{s:I, s:I, s:o, s:o}", "run", (json_int_t)p->run, "step",
                              (json_int_t)p->checkpoint.cursor.step, "classes", list,
                              probable ? "probabilities" : "outputs", rows);
    if (p->labels != NULL)
        json_object_set(value, "labels", p->labels);
    return value;
}

static enum tet_err read_request(struct predicting *p, const struct http_request *request,
                                 json_t **details, struct tet_error *error)
{
    enum tet_err err = store_run_read(p->api->store, p->run, keep_run, p, error);
    if (err == TET_OK)
        err = read_body(p, request, error);
    if (err == TET_OK)
        err = sent_judge(&p->sent, details, error);
    if (err == TET_OK)
        err = api_checkpoint_read(p->api, p->run, (uint64_t)p->step, &p->checkpoint, error);
    return err;
}

static atomic_int at_work;

/* With memory of its own, where there is some and no more than one other is at work. */
static enum tet_err predict_beside(struct predicting *p, json_t **details, struct tet_error *error)
{
    enum tet_err err;
    if (atomic_fetch_add(&at_work, 1) >= PREDICTIONS)
        err = tet_error_set(error, TET_BUSY, "%d predictions are being made; try again soon",
                            PREDICTIONS);
    else if (!pool_borrow(p->api->pool, p->memory_bytes))
        err = tet_error_set(error, TET_BUSY,
                            "the runs that are being trained leave no memory for this one's "
                            "network; try again later");
    else {
        err = predict(p, details, error);
        if (err == TET_OK)
            p->prediction = prediction_json(p);
        tet_trainer_destroy(p->trainer);
        catalog_release(p->api->catalog, p->dataset);
        pool_return(p->api->pool, p->memory_bytes);
    }
    atomic_fetch_sub(&at_work, 1);
    return err;
}

void api_predict(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct predicting p = {.api = context, .run = http_id(request, 0)};
    struct tet_error error = {0};
    json_t *details = NULL;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    http_reply_unchanged(reply);
    enum tet_err err = read_request(&p, request, &details, &error);
    if (err == TET_OK)
        err = predict_beside(&p, &details, &error);
    if (err == TET_OK)
        http_reply_json(reply, 200, p.prediction);
    else
        http_reply_error(reply, &error, details);
    store_checkpoint_free(&p.checkpoint);
    free(p.inputs);
    free(p.outputs);
    json_decref(p.labels);
    sent_free(&p.sent);
    json_decref(p.definition);
}
