// SPDX-License-Identifier: Apache-2.0
/* The result table: see table.h. */
#include "results/table.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "results/statistics.h"
#include "text.h"

/* A path without its first name, which says little: "optimizer.groups.W.lr" is shown as "W.lr". */
static const char *short_path(const char *path)
{
    const char *dot = strchr(path, '.');
    const char *rest = dot != NULL ? dot + 1 : path;
    return strncmp(rest, "groups.", 7) == 0 ? rest + 7 : rest;
}

/* "rule.name" says itself by its value. */
static void add_parameter(struct text *label, const char *path, const json_t *value)
{
    char *text = json_is_string(value) ? strdup(json_string_value(value)) : json_text(value);
    if (strcmp(path, "rule.name") != 0 && strcmp(path, "training.seed") != 0)
        text_printf(label, ", %s %s", short_path(path), text != NULL ? text : "?");
    free(text);
}

static void hash(unsigned char into[32], const json_t *parameters)
{
    char *text = parameters != NULL ? json_canonical(parameters) : NULL;
    if (text != NULL)
        crypto_generichash(into, 32, (const unsigned char *)text, strlen(text), NULL, 0);
    free(text);
}

static void identify(struct outcome *o, const json_t *parameters)
{
    json_t *rest = json_clone(parameters);
    json_object_del(rest, "training.seed");
    hash(o->point, rest);
    json_object_del(rest, "rule.name");
    hash(o->others, rest);
    json_decref(rest);
}

void outcome_begin(struct outcome *o, const json_t *definition, const json_t *parameters,
                   uint64_t steps)
{
    *o = (struct outcome){.steps = steps, .accuracy = NAN, .accuracy_of = -1};
    const char *rule =
        json_string_value(json_object_get(json_object_get(definition, "rule"), "name"));
    const json_t *training = json_object_get(definition, "training");
    o->epochs = (uint64_t)json_integer_value(json_object_get(training, "epochs"));
    o->seed = (int64_t)json_integer_value(json_object_get(training, "seed"));
    o->bp = rule != NULL && strcmp(rule, "bp") == 0;
    identify(o, parameters);
    struct text label = {0};
    text_puts(&label, rule != NULL ? rule : "?");
    const char *path;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)parameters, path, value)
    {
        add_parameter(&label, path, value);
    }
    const size_t room = sizeof o->label - 4;
    if (label.failed) // no memory: what is sure, and that it is not all
        snprintf(o->label, sizeof o->label, "%.*s...", (int)room, rule != NULL ? rule : "?");
    else
        snprintf(o->label, sizeof o->label, "%.*s%s", (int)room, text_get(&label),
                 label.size > room ? "..." : "");
    text_free(&label);
}

/* Test accuracy tells more than validation, and that more than training accuracy. */
static int worth(int series)
{
    return series == TET_SERIES_TEST_ACCURACY         ? 3
           : series == TET_SERIES_VALIDATION_ACCURACY ? 2
           : series == TET_SERIES_TRAIN_ACCURACY      ? 1
                                                      : 0;
}

void outcome_take(struct outcome *o, enum tet_series series, uint32_t layer, uint64_t step,
                  double value)
{
    if (worth((int)series) > 0 && worth((int)series) >= worth(o->accuracy_of)) {
        o->accuracy = value;
        o->accuracy_of = (int)series;
    }
    if (series != TET_SERIES_ALIGNMENT_MODULATION || layer < 1 || layer > TET_MAX_HIDDEN ||
        o->epochs == 0 || o->steps == 0 || step == 0)
        return;
    const uint64_t epoch = (step - 1) / ((o->steps + o->epochs - 1) / o->epochs);
    if (o->n_first[layer - 1]++ == 0)
        o->first[layer - 1] = value;
    if (epoch > o->last_epoch[layer - 1]) { // the last is not known: a run may stop early
        o->last[layer - 1] = 0.0;
        o->n_last[layer - 1] = 0;
        o->last_epoch[layer - 1] = epoch;
    }
    o->last[layer - 1] += value;
    o->n_last[layer - 1]++;
}

struct group {
    struct moments accuracy;
    size_t n, succeeded;
    int accuracy_of;
    double first[TET_MAX_HIDDEN], last[TET_MAX_HIDDEN];
    size_t n_cosine[TET_MAX_HIDDEN];
};

static bool same_point(const struct outcome *a, const struct outcome *b)
{
    return memcmp(a->point, b->point, sizeof a->point) == 0;
}

static bool first_of_point(const struct outcome *outcomes, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (same_point(&outcomes[k], &outcomes[i]))
            return false;
    return true;
}

static bool has_accuracy(const struct outcome *o)
{
    return o->state == RUN_SUCCEEDED && !isnan(o->accuracy);
}

static void put_together(struct group *g, const struct outcome *outcomes, size_t n,
                         const struct outcome *point)
{
    *g = (struct group){.accuracy_of = -1};
    for (size_t i = 0; i < n; i++) {
        const struct outcome *o = &outcomes[i];
        if (!same_point(o, point))
            continue;
        g->n++;
        g->succeeded += o->state == RUN_SUCCEEDED; // a protocol has no accuracy
        if (!has_accuracy(o))
            continue;
        g->accuracy_of = o->accuracy_of;
        moments_add(&g->accuracy, o->accuracy);
        for (int l = 0; l < TET_MAX_HIDDEN; l++)
            if (o->n_first[l] > 0 && o->n_last[l] > 0) {
                g->first[l] += o->first[l];
                g->last[l] += o->last[l] / o->n_last[l];
                g->n_cosine[l]++;
            }
    }
}

enum { COSINE_WIDTH = 15, ACCURACY_WIDTH = 34 };

static void print_group(FILE *out, int width, int room, const char *label, const struct group *g)
{
    char runs[24], accuracy[112] = "-", sd[32] = "", interval[48] = "";
    const char *part = g->accuracy_of == TET_SERIES_VALIDATION_ACCURACY ? " (validation)"
                       : g->accuracy_of == TET_SERIES_TRAIN_ACCURACY    ? " (training)"
                                                                        : "";
    const size_t n = g->accuracy.n;
    snprintf(runs, sizeof runs, g->succeeded == g->n ? "%zu" : "%zu/%zu", g->succeeded, g->n);
    const double mean = moments_mean(&g->accuracy), half = moments_half_width(&g->accuracy);
    if (n > 1) {
        snprintf(sd, sizeof sd, " +- %.2f", 100.0 * moments_sd(&g->accuracy));
        snprintf(interval, sizeof interval, " [%.2f, %.2f]", 100.0 * (mean - half),
                 100.0 * (mean + half));
    }
    if (n > 0)
        snprintf(accuracy, sizeof accuracy, "%.2f%s %%%s%s", 100.0 * mean, sd, interval, part);
    fprintf(out, "  %-*s  %5s  %-*s ", width, label, runs, ACCURACY_WIDTH, accuracy);
    int used = 0;
    for (int l = 0; l < TET_MAX_HIDDEN && g->n_cosine[l] > 0; l++)
        used += fprintf(out, " %5.2f to %.2f ", g->first[l] / (double)g->n_cosine[l],
                        g->last[l] / (double)g->n_cosine[l]);
    if (used == 0)
        used = fprintf(out, " -");
    fprintf(out, "%*s ", used < room ? room - used : 0, "");
}

static void print_endings(FILE *out, const struct outcome *outcomes, size_t n,
                          const struct outcome *point)
{
    for (size_t i = 0; i < n; i++)
        if (same_point(&outcomes[i], point) && outcomes[i].state == RUN_SUCCEEDED)
            fprintf(out, " %.8s", outcomes[i].digest + strlen("sha256:"));
        else if (same_point(&outcomes[i], point))
            fprintf(out, " %s", run_state_text(outcomes[i].state));
    fputc('\n', out);
}

/* The first outcome of that point and seed that has an accuracy. */
static const struct outcome *with_seed(const struct outcome *outcomes, size_t n,
                                       const struct outcome *point, int64_t seed)
{
    for (size_t i = 0; i < n; i++)
        if (same_point(&outcomes[i], point) && outcomes[i].seed == seed &&
            has_accuracy(&outcomes[i]))
            return &outcomes[i];
    return NULL;
}

/* Of the n points of bp the only one, or the one with the point's other parameters; NULL where
 * there is none. */
static const struct outcome *choose(const struct outcome *const *bp, size_t n,
                                    const struct outcome *point)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(bp[i]->others, point->others, sizeof point->others) == 0)
            return bp[i];
    return n == 1 ? bp[0] : NULL;
}

/* A point less the baseline, over the seeds that both have. Returns whether there are any. */
static bool print_difference(FILE *out, const struct outcome *outcomes, size_t n,
                             const struct outcome *point, const struct outcome *baseline)
{
    struct moments m = {0};
    for (size_t i = 0; i < n; i++) {
        const struct outcome *o = &outcomes[i];
        if (!same_point(o, point) || with_seed(outcomes, n, point, o->seed) != o)
            continue;
        const struct outcome *other = with_seed(outcomes, n, baseline, o->seed);
        if (other != NULL && other->accuracy_of == o->accuracy_of)
            moments_add(&m, 100.0 * (o->accuracy - other->accuracy));
    }
    if (m.n == 0)
        return false;
    fprintf(out, "  %s less %s, seed by seed: %+.2f points", point->label, baseline->label,
            moments_mean(&m));
    const double half = moments_half_width(&m);
    if (m.n > 1)
        fprintf(out, ", 95 %% interval %+.2f to %+.2f, n %zu\n", moments_mean(&m) - half,
                moments_mean(&m) + half, m.n);
    else
        fprintf(out, ", n 1: no interval\n");
    return true;
}

static void print_differences(FILE *out, const struct outcome *outcomes, size_t n)
{
    const struct outcome **bp = calloc(n + 1, sizeof(struct outcome *));
    size_t n_bp = 0, printed = 0;
    for (size_t i = 0; bp != NULL && i < n; i++)
        if (outcomes[i].bp && first_of_point(outcomes, i))
            bp[n_bp++] = &outcomes[i];
    for (size_t i = 0; i < n && n_bp > 0; i++) {
        const struct outcome *baseline = choose(bp, n_bp, &outcomes[i]);
        if (baseline != NULL && !same_point(&outcomes[i], baseline) && first_of_point(outcomes, i))
            printed += print_difference(out, outcomes, n, &outcomes[i], baseline);
    }
    if (printed > 1)
        fprintf(out, "  %zu comparisons: each interval is for itself alone\n", printed);
    free(bp);
}

void table_print(FILE *out, const struct outcome *outcomes, size_t n)
{
    int width = 4, layers = 0;
    for (size_t i = 0; i < n; i++) {
        width = (int)strlen(outcomes[i].label) > width ? (int)strlen(outcomes[i].label) : width;
        while (layers < TET_MAX_HIDDEN && outcomes[i].n_last[layers] > 0)
            layers++;
    }
    const char *heading = "cosine with the gradient";
    const int room = layers * COSINE_WIDTH > (int)strlen(heading) ? layers * COSINE_WIDTH
                                                                  : (int)strlen(heading) + 1;
    fprintf(out, "  %-*s  %5s  %-*s  %-*s digests\n", width, "rule", "runs", ACCURACY_WIDTH,
            "test accuracy", room, heading);
    for (size_t i = 0; i < n; i++) {
        if (!first_of_point(outcomes, i))
            continue;
        struct group g;
        put_together(&g, outcomes, n, &outcomes[i]);
        print_group(out, width, room, outcomes[i].label, &g);
        print_endings(out, outcomes + i, n - i, &outcomes[i]);
    }
    fprintf(out, "  accuracy: mean +- standard deviation [95 %% interval of the mean]\n");
    if (layers > 0)
        fprintf(out,
                "  cosine: from the first step to the mean of the last epoch, layer 1 first\n");
    print_differences(out, outcomes, n);
}
