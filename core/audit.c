// SPDX-License-Identifier: Apache-2.0
/*
 * The locality audit: see audit.h.
 *
 *     clean     descend, change; after every update a copy of the network's whole block is kept
 *     poisoned  the block is NaN. Before an update its own array and what it lists come in from
 *               `truth`; after it the array is compared with the clean copy, which goes into truth,
 *               and the block is NaN again
 *
 * So every update is judged by itself, and whatever is written or read between two updates is seen:
 * the former is missing in truth at the end, the latter is NaN.
 */
#include "audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"
#include "philox.h"

enum { SPANS = 8 * TET_LAYERS, UPDATES = 256, EXAMPLES = 5 };

/* An array of the network, by its letter; '-': scratch. */
struct span {
    char kind;
    uint32_t l;
    float *values;
    size_t n;
};

struct work {
    struct tet_watch watch;
    struct tet_net net;
    struct tet_audit *audit;
    char *block, *truth; // `bytes` each
    size_t bytes;
    struct span span[SPANS];
    size_t n_spans;
    char *clean[UPDATES]; // the block after each update
    const float *updated[UPDATES];
    size_t n_updates, at; // of the clean run; the next one of the poisoned run
    bool poisoned, no_memory;
};

/* ---- arrays ---- */

static void note(struct work *w, char kind, uint32_t l, float *values, size_t n)
{
    if (values != NULL && n > 0 && w->n_spans < SPANS)
        w->span[w->n_spans++] = (struct span){kind, l, values, n};
}

static void note_layer(struct work *w, uint32_t l)
{
    const struct tet_net *net = &w->net;
    const struct tet_layer *layer = &net->layer[l];
    const size_t n = net->capacity;
    note(w, 'x', l, net->x[l], tet_net_seen(net, l, false));
    if (layer->image) { // or the same array as x_l
        note(w, 'x', l, net->image[l], tet_volume_floats(&layer->x_d));
        note(w, 'g', l, net->image[l], tet_volume_floats(&layer->x_d));
        note(w, 'x', l, net->a[l], tet_volume_floats(&layer->a));
        note(w, 'g', l, net->a[l], tet_volume_floats(&layer->a));
    } else
        note(w, 'g', l, net->x[l], tet_net_seen(net, l, false));
    if (l == 0)
        return;
    note(w, 's', l, net->s[l],
         layer->image ? tet_volume_floats(&layer->z_e) : n * tet_stride(net->e[l]));
    note(w, 'm', l, net->m[l],
         layer->image ? tet_volume_floats(&layer->z_d) : n * tet_stride(net->d[l]));
    if (net->u[l] != NULL)
        note(w, 'u', l, net->u[l], tet_net_seen(net, l, true));
    note(w, 'b', l, net->b[l], tet_round(net->d[l]));
}

static void note_arrays(struct work *w)
{
    const struct tet_net *net = &w->net;
    for (uint32_t l = 0; l <= net->L; l++)
        note_layer(w, l);
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            const struct tet_packed *p = &net->p[g][l];
            const size_t n = tet_packed_floats(p->rows, p->columns);
            note(w, tet_group_name(g)[0], l, p->w, n);
            note(w, tet_group_name(g)[0], l, p->v, n);
        }
    }
    for (uint32_t l = 2; l <= net->L && net->rule->magnitudes != NULL; l++)
        note(w, 'F', l, net->feedback[l].w,
             tet_packed_floats(net->feedback[l].rows, net->feedback[l].columns));
    note(w, '-', 0, net->flat, net->n_flat);
    note(w, '-', 0, net->below, net->n_below);
    if (net->staged != net->x[0])
        note(w, '-', 0, net->staged, net->capacity * tet_stride(tet_net_width(net, 0)));
}

static char *at_in(const struct work *w, const struct span *span, char *block)
{
    return block + ((char *)span->values - w->block);
}

static void poison(struct work *w)
{
    for (size_t i = 0; i < w->n_spans; i++)
        memset(w->span[i].values, 0xff, w->span[i].n * sizeof(float)); // NaN
}

static void bring_in(struct work *w, char kind, uint32_t l)
{
    for (size_t i = 0; i < w->n_spans; i++) {
        const struct span *s = &w->span[i];
        if (s->kind == kind && s->l == l)
            memcpy(s->values, at_in(w, s, w->truth), s->n * sizeof(float));
    }
}

/* ---- rows ---- */

static struct tet_audit_row *find_row(struct tet_audit *audit, char kind)
{
    for (size_t i = 0; i < audit->n; i++)
        if (audit->rows[i].update[0] == kind)
            return &audit->rows[i];
    if (audit->n == TET_AUDIT_ROWS)
        return &audit->rows[TET_AUDIT_ROWS - 1];
    struct tet_audit_row *row = &audit->rows[audit->n++];
    *row = (struct tet_audit_row){.update = {kind, '_', 'l'}};
    return row;
}

static void begin_rows(struct tet_audit *audit, const struct tet_rule *rule)
{
    *audit = (struct tet_audit){0};
    for (size_t i = 0; i < TET_READS && rule->reads[i] != NULL; i++) {
        struct tet_audit_row *row = find_row(audit, rule->reads[i][0]);
        const char *list = tet_reads_of(rule, rule->reads[i][0]);
        snprintf(row->reads, sizeof row->reads, "%s", list != NULL ? list : "");
        tet_reads_judge(row);
    }
}

__attribute__((format(printf, 2, 3))) static void blame(struct tet_audit_row *row,
                                                        const char *format, ...)
{
    va_list args;
    if (row->verdict == TET_VERDICT_WRONG_LIST)
        return; // the first reason stays
    row->verdict = TET_VERDICT_WRONG_LIST;
    va_start(args, format);
    vsnprintf(row->why, sizeof row->why, format, args);
    va_end(args);
}

/* ---- looking on ---- */

/* Which array it is: the first that has it, so s_l where m_l is the same. */
static const struct span *find_span(const struct work *w, const float *values)
{
    for (size_t i = 0; i < w->n_spans; i++)
        if (w->span[i].values == values && w->span[i].kind != 'g')
            return &w->span[i];
    return NULL;
}

static void keep_clean(struct work *w, const float *updated)
{
    char *copy = w->n_updates < UPDATES ? malloc(w->bytes) : NULL;
    if (copy == NULL) {
        w->no_memory = true;
        return;
    }
    memcpy(copy, w->block, w->bytes);
    w->updated[w->n_updates] = updated;
    w->clean[w->n_updates++] = copy;
}

static void prepare(struct work *w, const struct span *target)
{
    const char *list = tet_reads_of(w->net.rule, target->kind);
    char kind;
    uint32_t l;
    bring_in(w, target->kind, target->l);
    while (list != NULL && tet_reads_next(&w->net, &list, target->l, &kind, &l))
        bring_in(w, kind, l);
}

/* Compares all arrays of the target (weights and velocities) with the clean run's, and takes those
 * over. */
static void compare(struct work *w, const struct span *target)
{
    struct tet_audit_row *row = find_row(w->audit, target->kind);
    char *clean = w->clean[w->at];
    row->checked++;
    if (tet_reads_of(w->net.rule, target->kind) == NULL)
        blame(row, "the rule does not list this update");
    for (size_t i = 0; i < w->n_spans; i++) {
        const struct span *s = &w->span[i];
        const size_t size = s->n * sizeof(float);
        if (s->kind != target->kind || s->l != target->l)
            continue;
        if (memcmp(s->values, at_in(w, s, clean), size) != 0)
            blame(row,
                  "layer %u reads more than this: it comes out differently with all else "
                  "poisoned",
                  s->l);
        memcpy(at_in(w, s, w->truth), at_in(w, s, clean), size);
    }
}

static void look(struct tet_watch *watch, const float *updated, bool before)
{
    struct work *w = (struct work *)watch;
    if (!w->poisoned) {
        if (!before)
            keep_clean(w, updated);
        return;
    }
    const struct span *target = find_span(w, updated);
    if (target == NULL || w->at >= w->n_updates || w->updated[w->at] != updated) {
        blame(find_row(w->audit, '?'), "an array that the audit does not know is written");
        return;
    }
    if (before) {
        prepare(w, target);
        return;
    }
    compare(w, target);
    w->at++;
    poison(w);
}

/* ---- one network ---- */

static void work(struct tet_net *net)
{
    net->rule->descend(net);
    net->rule->change(net);
}

/* What the rule wrote without saying so is not in truth. */
static void check_end(struct work *w, char *clean)
{
    if (w->at != w->n_updates)
        blame(find_row(w->audit, '?'), "the poisoned run made other updates");
    for (size_t i = 0; i < w->n_spans; i++) {
        const struct span *s = &w->span[i];
        if (s->kind != '-' &&
            memcmp(at_in(w, s, w->truth), at_in(w, s, clean), s->n * sizeof(float)) != 0)
            blame(find_row(w->audit, s->kind),
                  "layer %u is written outside of the updates that "
                  "the audit looks at",
                  s->l);
    }
}

static void draw_normal(float *values, size_t n, size_t width, float factor, uint32_t index)
{
    const struct tet_stream stream = tet_stream_make(1, TET_STREAM_PROTOCOL, index);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < width; k++)
            values[i * tet_stride(width) + k] =
                factor * (float)tet_normal_from_u32(tet_stream_u32(&stream, i * width + k));
}

static void run_both(struct work *w)
{
    struct tet_net *net = &w->net;
    tet_net_draw(net);
    draw_normal(net->staged, EXAMPLES, tet_net_width(net, 0), 1.0f, 0);
    tet_net_ascend(net);
    draw_normal(net->s[net->L], EXAMPLES, net->d[net->L], 1.0f / EXAMPLES, 1);
    note_arrays(w);
    char *start = malloc(w->bytes);
    w->no_memory = start == NULL;
    if (!w->no_memory) {
        memcpy(start, w->block, w->bytes);
        memcpy(w->truth, w->block, w->bytes);
        net->watch = &w->watch;
        work(net);
    }
    if (!w->no_memory) {
        char *end = start; // not needed any more
        memcpy(end, w->block, w->bytes);
        w->poisoned = true;
        poison(w);
        work(net);
        check_end(w, end);
    }
    free(start);
}

static enum tet_err audit_network(struct tet_audit *audit, const struct tet_rule *rule,
                                  const struct tet_plan *plan, const struct tet_shape *shape,
                                  const struct tet_kernels *kernels, struct tet_error *error)
{
    struct work *w = calloc(1, sizeof *w);
    struct tet_net scratch = {0};
    enum tet_err err = TET_OK;
    const size_t bytes = tet_net_layout(&scratch, plan, shape, NULL);
    char *blocks = aligned_alloc(64, 2 * bytes);
    if (w == NULL || blocks == NULL) {
        err = tet_error_set(error, TET_NO_MEMORY, "no memory for an audit");
        goto out;
    }
    memset(blocks, 0, 2 * bytes);
    *w = (struct work){.watch = {look}, .audit = audit, .block = blocks, .bytes = bytes};
    w->truth = blocks + bytes;
    tet_net_layout(&w->net, plan, shape, blocks);
    w->net.rule = rule;
    w->net.kernels = kernels;
    w->net.n = EXAMPLES;
    w->net.rate = 1.0f;
    run_both(w);
    if (w->no_memory)
        err = tet_error_set(error, TET_NO_MEMORY, "no memory for an audit");
out:
    for (size_t i = 0; w != NULL && i < w->n_updates; i++)
        free(w->clean[i]);
    free(blocks);
    free(w);
    return err;
}

/* ---- the networks ---- */

static struct tet_plan make_plan(enum tet_rule_name rule, bool gate, bool images)
{
    const bool wider = !gate && tet_rule_info(rule)->group[TET_V]; // e_l other than d_l
    struct tet_plan p = {.rule = rule,
                         .gate = gate,
                         .mirror = {.every = 1, .batches = 1, .noise = 1.0f},
                         .momentum = 0.5f,
                         .schedule = {.factor = 1.0f},
                         .epochs = 1,
                         .batch = EXAMPLES,
                         .seed = 1,
                         .n_train = EXAMPLES};
    for (enum tet_group g = 0; g < TET_GROUPS; g++)
        p.group[g] = (struct tet_group_plan){.lr = 0.1f,
                                             .decay = 0.01f,
                                             .scale = 1.0f,
                                             .plastic = !tet_rule_info(rule)->fixed[g],
                                             .probability = 0.8f};
    if (images) {
        p.hidden[p.n_hidden++] = (struct tet_layer_plan){.units = 3,
                                                         .descending_units = 3,
                                                         .activation = gate ? TET_RELU : TET_TANH,
                                                         .type = TET_CONV2D,
                                                         .kernel = 3,
                                                         .stride = 1,
                                                         .padding = 1,
                                                         .pool = gate ? TET_POOL_MAX : TET_POOL_AVG,
                                                         .pool_size = 2,
                                                         .pool_stride = 2};
        p.hidden[p.n_hidden++] = (struct tet_layer_plan){.units = 4,
                                                         .descending_units = wider ? 5 : 4,
                                                         .activation = TET_TANH,
                                                         .type = TET_CONV2D,
                                                         .kernel = 2,
                                                         .stride = 1};
    }
    for (int i = 0; i < (images ? 1 : 3); i++)
        p.hidden[p.n_hidden++] =
            (struct tet_layer_plan){.units = 7 + (uint32_t)i,
                                    .descending_units = 7 + (uint32_t)i + (wider ? 2 : 0),
                                    .activation = i == 1 ? TET_RELU : TET_TANH};
    return p;
}

/* Updates that a rule lists but never makes say nothing of it. */
static void end_rows(struct tet_audit *audit)
{
    for (size_t i = 0; i < audit->n; i++) {
        struct tet_audit_row *row = &audit->rows[i];
        if (row->checked == 0)
            blame(row, "the rule lists an update that it does not make");
        audit->verdict = row->verdict > audit->verdict ? row->verdict : audit->verdict;
    }
}

enum tet_err tet_audit_rule(struct tet_audit *audit, enum tet_rule_name name,
                            const struct tet_rule *rule, struct tet_error *error)
{
    const struct tet_kernels *kernels = NULL;
    enum tet_err err = tet_kernels_select(&kernels, error);
    begin_rows(audit, rule);
    for (int i = 0; i < 4 && err == TET_OK; i++) {
        const bool gate = i < 2, images = i % 2 == 1;
        const struct tet_plan plan = make_plan(name, gate, images);
        struct tet_shape shape = {
            .inputs = 11, .outputs = 4, .channels = 1, .rows = 1, .columns = 11};
        if (images)
            shape = (struct tet_shape){
                .inputs = 2 * 6 * 6, .outputs = 4, .channels = 2, .rows = 6, .columns = 6};
        if (gate || rule->info.takes_gate)
            err = tet_plan_check(&plan, &shape, error);
        if (err == TET_OK && (gate || rule->info.takes_gate))
            err = audit_network(audit, rule, &plan, &shape, kernels, error);
    }
    end_rows(audit);
    return err;
}

enum tet_err tet_audit(struct tet_audit *audit, enum tet_rule_name rule, struct tet_error *error)
{
    return tet_audit_rule(audit, rule, tet_rule(rule), error);
}
