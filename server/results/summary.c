// SPDX-License-Identifier: Apache-2.0
/* Summaries of experiments: see summary.h. */
#include "results/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "results/statistics.h"

struct sample {
    int64_t seed, run;
    double value;
};

struct at_step {
    uint64_t step;
    struct moments values;
};

struct difference {
    bool made;
    size_t baseline; // the point
    struct moments values;
    struct wilcoxon test;
    double p_holm;
};

struct point {
    json_t *parameters; // without the seed
    size_t runs[RUN_STATES_COUNT];
    struct sample *samples; // sorted by seed, then run, once all are there
    size_t n, room;
    struct moments values;
    struct at_step *steps; // ascending
    size_t n_steps, room_steps;
    struct difference difference;
};

struct summary {
    struct point *points;
    size_t n, room;
    json_t *places; // object: canonical parameters to the point's number
    size_t runs[RUN_STATES_COUNT];
    size_t n_steps;           // of all points
    int64_t run;              // whose steps are being added
    size_t at_point, at_step; // and where the next goes
    json_t *assignment;       // of the baseline; NULL: none
    size_t comparisons;
    enum tet_err err;
};

/* ---- collecting ---- */

struct summary *summary_create(void)
{
    struct summary *s = calloc(1, sizeof *s);
    if (s != NULL)
        s->places = json_object();
    if (s != NULL && s->places == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void summary_free(struct summary *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n; i++) {
        json_decref(s->points[i].parameters);
        free(s->points[i].samples);
        free(s->points[i].steps);
    }
    free(s->points);
    json_decref(s->places);
    json_decref(s->assignment);
    free(s);
}

/* Room for one more in an array of *room elements of `size` bytes; false for lack of memory. */
static bool grow(void *array, size_t n, size_t *room, size_t size)
{
    void **at = array;
    if (n < *room)
        return true;
    const size_t more = *room > 0 ? 2 * *room : 8;
    void *moved = reallocarray(*at, more, size);
    if (moved == NULL)
        return false;
    *at = moved;
    *room = more;
    return true;
}

/* The run's point, made where it is the first of it; NULL for lack of memory. */
static struct point *find_point(struct summary *s, const char *text, int64_t *seed)
{
    json_t *parameters = json_loads(text != NULL ? text : "{}", 0, NULL);
    *seed = json_integer_value(json_object_get(parameters, "training.seed"));
    json_object_del(parameters, "training.seed");
    char *key = parameters != NULL ? json_canonical(parameters) : NULL;
    const json_t *known = key != NULL ? json_object_get(s->places, key) : NULL;
    struct point *point = NULL;
    if (known != NULL) {
        point = &s->points[json_integer_value(known)];
    } else if (key != NULL && grow(&s->points, s->n, &s->room, sizeof *s->points) &&
               json_object_set_new(s->places, key, json_integer((json_int_t)s->n)) == 0) {
        point = &s->points[s->n++];
        *point = (struct point){.parameters = json_incref(parameters)};
    }
    free(key);
    json_decref(parameters);
    return point;
}

bool summary_add(void *context, const struct store_value *value)
{
    struct summary *s = context;
    struct sample sample = {.run = value->run, .value = value->value};
    struct point *p = find_point(s, value->parameters, &sample.seed);
    if (p == NULL || !grow(&p->samples, p->n, &p->room, sizeof *p->samples)) {
        s->err = TET_NO_MEMORY;
        return false;
    }
    s->runs[value->state]++;
    p->runs[value->state]++;
    if (value->state == RUN_SUCCEEDED && isfinite(value->value)) {
        p->samples[p->n++] = sample;
        moments_add(&p->values, value->value);
    }
    return true;
}

bool summary_add_step(void *context, const struct store_value *value)
{
    struct summary *s = context;
    if (value->state != RUN_SUCCEEDED || !isfinite(value->value))
        return true;
    if (value->run != s->run) { // its steps ascend
        int64_t seed;
        const struct point *found = find_point(s, value->parameters, &seed);
        s->err = found == NULL ? TET_NO_MEMORY : s->err;
        s->at_point = found != NULL ? (size_t)(found - s->points) : 0;
        s->at_step = 0;
        s->run = value->run;
    }
    if (s->err != TET_OK)
        return false;
    struct point *p = &s->points[s->at_point];
    while (s->at_step < p->n_steps && p->steps[s->at_step].step < value->step)
        s->at_step++;
    if (s->at_step == p->n_steps || p->steps[s->at_step].step != value->step) {
        if (s->n_steps >= SUMMARY_MAX_STEPS)
            s->err = TET_TOO_LARGE;
        else if (!grow(&p->steps, p->n_steps, &p->room_steps, sizeof *p->steps))
            s->err = TET_NO_MEMORY;
        if (s->err != TET_OK)
            return false;
        struct at_step *at = &p->steps[s->at_step];
        memmove(at + 1, at, (p->n_steps - s->at_step) * sizeof *at);
        *at = (struct at_step){.step = value->step};
        p->n_steps++;
        s->n_steps++;
    }
    moments_add(&p->steps[s->at_step].values, value->value);
    return true;
}

enum tet_err summary_failed(const struct summary *s, struct tet_error *error)
{
    if (s->err == TET_TOO_LARGE)
        return tet_error_set(error, TET_BAD_REQUEST,
                             "steps=all: the experiment has more than %d points times steps; "
                             "ask for the steps one by one with at=step:N",
                             SUMMARY_MAX_STEPS);
    return s->err == TET_OK ? TET_OK : tet_error_set(error, s->err, "out of memory");
}

size_t summary_values(const struct summary *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->points[i].n;
    return n;
}

/* ---- comparing ---- */

/* Numbers by their value: 1 and 1.0 are the same. */
static bool same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return a != NULL && b != NULL && json_equal(a, b);
}

static bool has_all(const json_t *parameters, const json_t *assignment)
{
    const char *path;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)assignment, path, value)
    {
        if (!same(json_object_get(parameters, path), value))
            return false;
    }
    return true;
}

/* Which parameters a baseline has besides the assignment's, as one text; to be freed. */
static char *other_paths(const json_t *parameters, const json_t *assignment)
{
    json_t *paths = json_object(), *value;
    const char *path;
    json_object_foreach((json_t *)(uintptr_t)parameters, path, value)
    {
        if (json_object_get(assignment, path) == NULL)
            json_object_set_new(paths, path, json_true());
    }
    char *text = json_canonical(paths);
    json_decref(paths);
    return text;
}

/* The values that a point has at these paths, as one text; NULL where it lacks one. */
static char *values_at(const json_t *parameters, const char *paths)
{
    json_t *wanted = json_loads(paths, 0, NULL), *values = json_object(), *value;
    const char *path;
    bool all = wanted != NULL && values != NULL;
    json_object_foreach(wanted, path, value)
    {
        json_t *found = json_object_get(parameters, path);
        all = all && found != NULL && json_object_set(values, path, found) == 0;
    }
    char *text = all ? json_canonical(values) : NULL;
    json_decref(wanted);
    json_decref(values);
    return text;
}

/* {paths: {values: point}} of the baselines. */
static json_t *index_baselines(const struct summary *s, size_t *n, size_t *only)
{
    json_t *index = json_object();
    *n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const json_t *parameters = s->points[i].parameters;
        if (!has_all(parameters, s->assignment))
            continue;
        char *paths = other_paths(parameters, s->assignment);
        char *values = paths != NULL ? values_at(parameters, paths) : NULL;
        if (values == NULL) {
            free(paths);
            json_decref(index);
            return NULL;
        }
        if (json_object_get(index, paths) == NULL)
            json_object_set_new(index, paths, json_object());
        json_object_set_new(json_object_get(index, paths), values, json_integer((json_int_t)i));
        free(values);
        free(paths);
        *only = i;
        ++*n;
    }
    return index;
}

/* The baseline that a point agrees with; false where there is none, or more than one. */
static bool find_baseline(const json_t *index, const json_t *parameters, size_t *baseline)
{
    const char *paths;
    json_t *points;
    size_t n = 0;
    json_object_foreach((json_t *)(uintptr_t)index, paths, points)
    {
        char *values = values_at(parameters, paths);
        const json_t *found = values != NULL ? json_object_get(points, values) : NULL;
        free(values);
        if (found == NULL)
            continue;
        *baseline = (size_t)json_integer_value(found);
        n++;
    }
    return n == 1;
}

static int by_seed(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    if (x->seed != y->seed)
        return x->seed < y->seed ? -1 : 1;
    return (x->run > y->run) - (x->run < y->run);
}

/* Seed by seed; a seed counts once, and only where both have it. */
static enum tet_err subtract(struct point *p, const struct point *baseline)
{
    double *differences = calloc(p->n + 1, sizeof *differences);
    size_t n = 0;
    if (differences == NULL)
        return TET_NO_MEMORY;
    for (size_t i = 0, k = 0; i < p->n; i++) {
        const int64_t seed = p->samples[i].seed;
        while (k < baseline->n && baseline->samples[k].seed < seed)
            k++;
        const bool again = i > 0 && p->samples[i - 1].seed == seed;
        if (again || k == baseline->n || baseline->samples[k].seed != seed)
            continue;
        differences[n] = p->samples[i].value - baseline->samples[k].value;
        moments_add(&p->difference.values, differences[n++]);
    }
    const enum tet_err err = wilcoxon_signed_rank(&p->difference.test, differences, n);
    free(differences);
    return err;
}

/* Holm's adjustment over all comparisons that have pairs. */
static enum tet_err adjust(struct summary *s)
{
    double *p = calloc(s->n + 1, sizeof *p);
    if (p == NULL)
        return TET_NO_MEMORY;
    for (size_t i = 0; i < s->n; i++) {
        const struct difference *d = &s->points[i].difference;
        p[i] = d->made && d->values.n > 0 ? d->test.p : NAN;
        s->comparisons += isnan(p[i]) ? 0 : 1;
    }
    const enum tet_err err = holm_adjust(p, s->n);
    for (size_t i = 0; i < s->n; i++)
        s->points[i].difference.p_holm = p[i];
    free(p);
    return err;
}

static enum tet_err compare_all(struct summary *s, const json_t *index, bool one, size_t only)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->points[i].n > 0)
            qsort(s->points[i].samples, s->points[i].n, sizeof(struct sample), by_seed);
    for (size_t i = 0; i < s->n; i++) {
        struct point *p = &s->points[i];
        p->difference = (struct difference){.baseline = only};
        if (has_all(p->parameters, s->assignment) ||
            (!one && !find_baseline(index, p->parameters, &p->difference.baseline)))
            continue;
        p->difference.made = true;
        const enum tet_err err = subtract(p, &s->points[p->difference.baseline]);
        if (err != TET_OK)
            return err;
    }
    return adjust(s);
}

enum tet_err summary_compare(struct summary *s, const json_t *assignment, struct tet_error *error)
{
    size_t n = 0, only = 0;
    s->assignment =
        assignment != NULL ? json_deep_copy(assignment) : json_pack("{s:s}", "rule.name", "bp");
    json_t *index = s->assignment != NULL ? index_baselines(s, &n, &only) : NULL;
    enum tet_err err = TET_OK;
    if (index == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    else if (n == 0 && assignment != NULL)
        err = tet_error_set(error, TET_NOT_FOUND, "no point of the sweep has these values");
    else if (assignment == NULL && n != 1) {
        json_decref(s->assignment);
        s->assignment = NULL;
    } else if (compare_all(s, index, n == 1, only) != TET_OK)
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    json_decref(index);
    return err;
}

/* ---- showing ---- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *interval(const struct moments *m)
{
    const double half = moments_half_width(m);
    return isnan(half) ? json_null() : json_pack("[f, f]", m->mean - half, m->mean + half);
}

static json_t *counts(const size_t runs[RUN_STATES_COUNT])
{
    json_t *object = json_object();
    for (int state = 0; state < RUN_STATES_COUNT; state++)
        json_object_set_new(object, run_state_text((enum run_state)state),
                            json_integer((json_int_t)runs[state]));
    return object;
}

static json_t *difference_json(const struct difference *d)
{
    const bool any = d->values.n > 0;
    if (!d->made)
        return json_null();
    json_t *test = !any ? json_null()
                        : json_pack("{s:I, s:I, s:f, s:f, s:f, s:b}", "n", (json_int_t)d->test.n,
                                    "zeros", (json_int_t)d->test.zeros, "w_plus", d->test.w_plus,
                                    "p", d->test.p, "p_min", d->test.p_min, "exact", d->test.exact);
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "baseline", (json_int_t)d->baseline,
                     "n", (json_int_t)d->values.n, "mean", number(moments_mean(&d->values)), "sd",
                     number(moments_sd(&d->values)), "interval", interval(&d->values), "wilcoxon",
                     test, "p_holm", number(any ? d->p_holm : NAN));
}

static json_t *steps_json(const struct point *p)
{
    static const char *const names[] = {"steps", "n", "mean", "sd", "low", "high", "min", "max"};
    json_t *arrays[8], *object = json_object();
    for (size_t k = 0; k < 8; k++) {
        arrays[k] = json_array();
        json_object_set_new(object, names[k], arrays[k]);
    }
    for (size_t i = 0; i < p->n_steps; i++) {
        const struct moments *m = &p->steps[i].values;
        const double half = moments_half_width(m);
        json_array_append_new(arrays[0], json_integer((json_int_t)p->steps[i].step));
        json_array_append_new(arrays[1], json_integer((json_int_t)m->n));
        json_array_append_new(arrays[2], number(m->mean));
        json_array_append_new(arrays[3], number(moments_sd(m)));
        json_array_append_new(arrays[4], number(m->mean - half));
        json_array_append_new(arrays[5], number(m->mean + half));
        json_array_append_new(arrays[6], number(m->min));
        json_array_append_new(arrays[7], number(m->max));
    }
    return object;
}

static json_t *point_json(const struct point *p, bool steps)
{
    const struct moments *m = &p->values;
    json_t *object = json_pack(
        "{s:O, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "parameters", p->parameters, "runs",
        counts(p->runs), "n", (json_int_t)m->n, "mean", number(moments_mean(m)), "sd",
        number(moments_sd(m)), "interval", interval(m), "min", number(m->n > 0 ? m->min : NAN),
        "max", number(m->n > 0 ? m->max : NAN), "difference", difference_json(&p->difference));
    if (object != NULL && steps)
        json_object_set_new(object, "series", steps_json(p));
    return object;
}

json_t *summary_json(const struct summary *s, bool steps)
{
    json_t *points = json_array();
    for (size_t i = 0; i < s->n; i++)
        if (json_array_append_new(points, point_json(&s->points[i], steps)) != 0) {
            json_decref(points);
            return NULL;
        }
    return json_pack("{s:o, s:o, s:I, s:o}", "runs", counts(s->runs), "baseline",
                     s->assignment != NULL ? json_incref(s->assignment) : json_null(),
                     "comparisons", (json_int_t)s->comparisons, "points", points);
}
