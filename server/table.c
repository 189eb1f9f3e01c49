// SPDX-License-Identifier: Apache-2.0
/* The result table: see table.h. */
#include "table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* "rule.name" says itself by its value; other paths by their last part. */
static void add_parameter(char label[160], const char *path, const json_t *value)
{
    const char *dot = strrchr(path, '.');
    char *text = json_is_string(value)
                     ? strdup(json_string_value(value))
                     : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    const size_t used = strlen(label);
    if (strcmp(path, "rule.name") != 0)
        snprintf(label + used, 160 - used, "%s%s %s", used > 0 ? ", " : "",
                 dot != NULL ? dot + 1 : path, text != NULL ? text : "?");
    free(text);
}

void outcome_begin(struct outcome *o, const json_t *definition, const json_t *parameters,
                   uint64_t steps)
{
    *o = (struct outcome){.steps = steps, .accuracy = NAN, .accuracy_of = -1};
    const char *rule =
        json_string_value(json_object_get(json_object_get(definition, "rule"), "name"));
    const json_t *training = json_object_get(definition, "training");
    o->epochs = (uint64_t)json_integer_value(json_object_get(training, "epochs"));
    snprintf(o->label, sizeof o->label, "%s", rule != NULL ? rule : "?");
    const char *path;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)parameters, path,
                        value) if (strcmp(path, "training.seed") != 0)
        add_parameter(o->label, path, value);
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
    if (worth(series) > 0 && worth(series) >= worth(o->accuracy_of)) {
        o->accuracy = value;
        o->accuracy_of = (int)series;
    }
    if (series != TET_SERIES_ALIGNMENT_MODULATION || layer < 1 || layer > TET_MAX_HIDDEN ||
        o->epochs == 0)
        return;
    const uint64_t epoch = (o->steps + o->epochs - 1) / o->epochs;
    if (o->n_first[layer - 1]++ == 0)
        o->first[layer - 1] = value;
    if (step + epoch > o->steps) {
        o->last[layer - 1] += value;
        o->n_last[layer - 1]++;
    }
}

struct group {
    double accuracy[2]; // sum, sum of squared deviations
    size_t n, n_accuracy;
    double first[TET_MAX_HIDDEN], last[TET_MAX_HIDDEN];
    size_t n_cosine[TET_MAX_HIDDEN];
};

static void put_together(struct group *g, const struct outcome *outcomes, size_t n,
                         const char *label)
{
    *g = (struct group){0};
    for (size_t i = 0; i < n; i++) {
        const struct outcome *o = &outcomes[i];
        if (strcmp(o->label, label) != 0)
            continue;
        g->n++;
        if (o->state != RUN_SUCCEEDED || isnan(o->accuracy))
            continue;
        const double delta =
            o->accuracy - (g->n_accuracy > 0 ? g->accuracy[0] / (double)g->n_accuracy : 0.0);
        g->n_accuracy++;
        g->accuracy[0] += o->accuracy;
        if (g->n_accuracy > 1)
            g->accuracy[1] += delta * (o->accuracy - g->accuracy[0] / (double)g->n_accuracy);
        for (int l = 0; l < TET_MAX_HIDDEN; l++)
            if (o->n_first[l] > 0 && o->n_last[l] > 0) {
                g->first[l] += o->first[l];
                g->last[l] += o->last[l] / o->n_last[l];
                g->n_cosine[l]++;
            }
    }
}

static void print_group(FILE *out, int width, const char *label, const struct group *g)
{
    char accuracy[48] = "-", sd[32] = "";
    if (g->n_accuracy > 1)
        snprintf(sd, sizeof sd, " +- %.2f",
                 100.0 * sqrt(g->accuracy[1] / (double)(g->n_accuracy - 1)));
    if (g->n_accuracy > 0)
        snprintf(accuracy, sizeof accuracy, "%.2f%s %%",
                 100.0 * g->accuracy[0] / (double)g->n_accuracy, sd);
    fprintf(out, "  %-*s  %2zu  %-16s ", width, label, g->n, accuracy);
    for (int l = 0; l < TET_MAX_HIDDEN && g->n_cosine[l] > 0; l++)
        fprintf(out, " %5.2f > %.2f ", g->first[l] / (double)g->n_cosine[l],
                g->last[l] / (double)g->n_cosine[l]);
}

void table_print(FILE *out, const struct outcome *outcomes, size_t n)
{
    int width = 4, layers = 0;
    for (size_t i = 0; i < n; i++) {
        width = (int)strlen(outcomes[i].label) > width ? (int)strlen(outcomes[i].label) : width;
        while (layers < TET_MAX_HIDDEN && outcomes[i].n_last[layers] > 0)
            layers++;
    }
    const char *heading = "cosine of the modulation";
    const int room = layers * 14 > (int)strlen(heading) ? layers * 14 : (int)strlen(heading);
    fprintf(out, "  %-*s   n  %-16s  %-*s  digests\n", width, "rule", "test accuracy", room,
            heading);
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen = seen || strcmp(outcomes[k].label, outcomes[i].label) == 0;
        if (seen)
            continue;
        struct group g;
        put_together(&g, outcomes, n, outcomes[i].label);
        int cosines = 0;
        while (cosines < TET_MAX_HIDDEN && g.n_cosine[cosines] > 0)
            cosines++;
        print_group(out, width, outcomes[i].label, &g);
        fprintf(out, "%*s ", room - cosines * 14, "");
        for (size_t k = i; k < n; k++)
            if (strcmp(outcomes[k].label, outcomes[i].label) == 0)
                fprintf(out, " %.8s",
                        outcomes[k].state == RUN_SUCCEEDED ? outcomes[k].digest + strlen("sha256:")
                                                           : run_state_text(outcomes[k].state));
        fputc('\n', out);
    }
    if (layers > 0)
        fprintf(out, "  cosine with the gradient: at the first step > mean over the last epoch, "
                     "layer 1 first\n");
}
