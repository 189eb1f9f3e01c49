// SPDX-License-Identifier: Apache-2.0
/* list, show, queue, summary: what a server says, as tables. */
#include <curl/curl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/commands.h"

/* ---- paths with a query ---- */

/* Adds "?name=value" or "&name=value", escaped; nothing where value is NULL. */
static void add_query(struct client *c, char path[CLIENT_PATH], const char *name, const char *value)
{
    char *escaped = value != NULL ? curl_easy_escape(c->curl, value, 0) : NULL;
    const size_t n = strlen(path);
    if (escaped != NULL)
        snprintf(path + n, CLIENT_PATH - n, "%c%s=%s", strchr(path, '?') != NULL ? '&' : '?', name,
                 escaped);
    curl_free(escaped);
}

/* Opens, asks, and prints: the whole of a command that looks. */
typedef void print_fn(const json_t *reply);

static int look(const struct options *options, const char *start, const enum option *asked,
                print_fn *print)
{
    static const char *const names[OPTIONS_COUNT] = {
        [OPTION_STATE] = "state",      [OPTION_OWNER] = "owner", [OPTION_TAG] = "tag",
        [OPTION_QUERY] = "q",          [OPTION_LIMIT] = "limit", [OPTION_METRIC] = "metric",
        [OPTION_BASELINE] = "baseline"};
    struct client c = {0};
    struct tet_error error = {0};
    json_t *reply = NULL;
    char path[CLIENT_PATH];
    const enum tet_err err = client_open(&c, options, &error);
    int status = status_of(err);
    if (err != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
    } else {
        snprintf(path, sizeof path, "%s", start);
        for (; *asked != OPTIONS_COUNT; asked++)
            add_query(&c, path, names[*asked], options->value[*asked]);
        status = client_want(&c, "GET", path, NULL, &reply);
    }
    if (status == STATUS_OK && c.json)
        client_print(&c);
    else if (status == STATUS_OK)
        print(reply);
    json_decref(reply);
    client_close(&c);
    return status;
}

/* ---- pieces of tables ---- */

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* "1:02:03", or "" where it is not known. */
static const char *duration(double seconds)
{
    static char text[4][32];
    static unsigned next;
    char *out = text[next++ % 4];
    if (!(seconds >= 0) || seconds > 1e9)
        return "";
    const long s = lrint(seconds);
    if (s >= 3600)
        snprintf(out, sizeof text[0], "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, sizeof text[0], "%ld:%02ld", s / 60, s % 60);
    return out;
}

static void print_value(const char *name, const json_t *value)
{
    char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_t *holder = json_pack("{s:O?}", "v", (json_t *)(uintptr_t)value);
    printf("  %s %s", name, text != NULL ? text : client_text(holder, "v"));
    json_decref(holder);
    free(text);
}

/* ---- list ---- */

static void print_list(const json_t *reply)
{
    const json_t *all = json_object_get(reply, "experiments"), *e;
    size_t i;
    printf("%6s  %-9s  %-11s  %-12s  %-16s  %s\n", "id", "state", "runs done", "owner", "submitted",
           "name");
    json_array_foreach((json_t *)(uintptr_t)all, i, e)
    {
        const json_t *counts = json_object_get(e, "counts");
        const char *state;
        json_t *count;
        json_int_t runs = 0, open = 0;
        json_object_foreach((json_t *)(uintptr_t)counts, state, count)
        {
            runs += json_integer_value(count);
            if (strcmp(state, "queued") == 0 || strcmp(state, "running") == 0 ||
                strcmp(state, "paused") == 0)
                open += json_integer_value(count);
        }
        char done[32];
        snprintf(done, sizeof done, "%lld of %lld", (long long)(runs - open), (long long)runs);
        printf("%6lld  %-9s  %-11s  %-12s  %.16s  %s\n", (long long)client_integer(e, "id"),
               client_text(e, "state"), done, client_text(e, "owner"), client_text(e, "created_at"),
               client_text(e, "name"));
    }
    if (json_is_string(json_object_get(reply, "next")))
        printf("and older ones: --limit\n");
}

int list_command(const struct options *options)
{
    static const enum option asked[] = {OPTION_STATE, OPTION_OWNER, OPTION_TAG,
                                        OPTION_QUERY, OPTION_LIMIT, OPTIONS_COUNT};
    return look(options, "/v1/experiments", asked, print_list);
}

/* ---- show ---- */

static void print_run_line(const json_t *run)
{
    const json_t *progress = json_object_get(run, "progress"), *parameters, *final;
    const char *name;
    json_t *value;
    char id[32];
    const double steps = number(progress, "steps"), step = number(progress, "step");
    snprintf(id, sizeof id, "r%lld", (long long)client_integer(run, "id"));
    printf("%8s  %-9s  %3.0f %%  %8s", id, client_text(run, "state"),
           steps > 0 ? 100.0 * step / steps : 0.0, duration(number(progress, "eta_s")));
    parameters = json_object_get(run, "parameters");
    json_object_foreach((json_t *)(uintptr_t)parameters, name, value)
    {
        const char *last = strrchr(name, '.');
        print_value(last != NULL ? last + 1 : name, value);
    }
    final = json_object_get(run, "final");
    if (json_is_number(json_object_get(final, "test/accuracy")))
        printf("  accuracy %.2f %%", 100.0 * number(final, "test/accuracy"));
    printf("\n");
}

static void print_experiment(const json_t *e)
{
    const json_t *runs = json_object_get(e, "runs"), *run;
    size_t i;
    printf("experiment %lld: %s\nstate      %s\nowner      %s\nsubmitted  %s\nhash       %s\n\n",
           (long long)client_integer(e, "id"), client_text(e, "name"), client_text(e, "state"),
           client_text(e, "owner"), client_text(e, "created_at"), client_text(e, "hash"));
    printf("%8s  %-9s  %5s  %8s  %s\n", "run", "state", "done", "left", "parameters");
    json_array_foreach((json_t *)(uintptr_t)runs, i, run)
    {
        print_run_line(run);
    }
}

static void print_run(const json_t *run)
{
    static const char *const lines[] = {"state",      "reason",     "digest",  "hash",
                                        "created_at", "started_at", "ended_at"};
    const json_t *progress = json_object_get(run, "progress"),
                 *final = json_object_get(run, "final"),
                 *kept = json_object_get(run, "checkpoints");
    const char *name;
    json_t *value;
    size_t i;
    printf("run r%lld of experiment %lld\n", (long long)client_integer(run, "id"),
           (long long)client_integer(run, "experiment"));
    for (i = 0; i < sizeof lines / sizeof *lines; i++)
        if (json_is_string(json_object_get(run, lines[i])))
            printf("%-12s %s\n", lines[i], client_text(run, lines[i]));
    printf("%-12s %lld of %lld\n", "step", (long long)client_integer(progress, "step"),
           (long long)client_integer(progress, "steps"));
    printf("%-12s", "checkpoints");
    json_array_foreach((json_t *)(uintptr_t)kept, i, value)
    {
        printf(" %lld", (long long)json_integer_value(value));
    }
    printf("\n");
    json_object_foreach((json_t *)(uintptr_t) final, name, value)
    {
        printf("%-28s %.6g\n", name, json_is_number(value) ? json_number_value(value) : NAN);
    }
}

int show_command(const struct options *options)
{
    static const enum option none[] = {OPTIONS_COUNT};
    struct subject subject;
    char path[CLIENT_PATH];
    int status;
    if (!client_subject(options, "show", &subject, &status))
        return status;
    return look(options, subject_path(path, &subject, ""), none,
                subject.run ? print_run : print_experiment);
}

/* ---- queue ---- */

static void print_queue(const json_t *reply)
{
    const json_t *list, *one;
    size_t i;
    printf("%lld queued, %lld workers\n", (long long)client_integer(reply, "length"),
           (long long)client_integer(reply, "workers"));
    list = json_object_get(reply, "running");
    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        printf("running  r%-8lld %-12s %8s left\n", (long long)client_integer(one, "run"),
               client_text(one, "owner"), duration(number(one, "eta_s")));
    }
    list = json_object_get(reply, "queued");
    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        printf("%7lld  r%-8lld %-12s from %.16s\n", (long long)client_integer(one, "position"),
               (long long)client_integer(one, "run"), client_text(one, "owner"),
               client_text(one, "estimated_start_at"));
    }
    list = json_object_get(reply, "shares");
    if (json_array_size(list) > 0)
        printf("\n%-12s %6s %8s %8s %14s\n", "user", "weight", "running", "queued", "recent");
    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        printf("%-12s %6.2f %8lld %8lld %14s\n", client_text(one, "user"), number(one, "weight"),
               (long long)client_integer(one, "running"), (long long)client_integer(one, "queued"),
               duration(number(one, "recent_seconds")));
    }
}

int queue_command(const struct options *options)
{
    static const enum option asked[] = {OPTION_LIMIT, OPTIONS_COUNT};
    return look(options, "/v1/queue", asked, print_queue);
}

/* ---- summary ---- */

static void print_interval(const json_t *interval)
{
    if (json_array_size(interval) == 2)
        printf(" [%.4g, %.4g]", json_number_value(json_array_get(interval, 0)),
               json_number_value(json_array_get(interval, 1)));
}

static void print_point(const json_t *point)
{
    const json_t *parameters = json_object_get(point, "parameters"),
                 *difference = json_object_get(point, "difference");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)parameters, name, value)
    {
        print_value(name, value);
    }
    printf("\n    n %lld", (long long)client_integer(point, "n"));
    if (json_is_number(json_object_get(point, "mean")))
        printf("  mean %.4g", number(point, "mean"));
    if (json_is_number(json_object_get(point, "sd")))
        printf(" +- %.3g", number(point, "sd"));
    print_interval(json_object_get(point, "interval"));
    if (json_is_object(difference)) {
        printf("\n    less the baseline, seed by seed: %+.4g", number(difference, "mean"));
        print_interval(json_object_get(difference, "interval"));
        if (json_is_number(json_object_get(difference, "p_holm")))
            printf("  p %.3g (Wilcoxon, Holm)", number(difference, "p_holm"));
    }
    printf("\n");
}

static void print_summary(const json_t *reply)
{
    const json_t *points = json_object_get(reply, "points"), *point;
    size_t i;
    printf("%s, over the seeds of each point; intervals of 95 %%\n", client_text(reply, "metric"));
    json_array_foreach((json_t *)(uintptr_t)points, i, point)
    {
        print_point(point);
    }
}

int summary_command(const struct options *options)
{
    static const enum option asked[] = {OPTION_METRIC, OPTION_BASELINE, OPTIONS_COUNT};
    struct subject subject;
    char path[CLIENT_PATH];
    int status;
    if (!client_subject(options, "summary", &subject, &status))
        return status;
    if (subject.run) {
        fprintf(stderr, "tetrad: summary is of an experiment, such as 3\n");
        return STATUS_USAGE;
    }
    return look(options, subject_path(path, &subject, "/summary"), asked, print_summary);
}
