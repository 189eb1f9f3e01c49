// SPDX-License-Identifier: Apache-2.0
/*
 * `tetrad run FILE.json`: trains an experiment's runs one after another, in this process, and shows
 * their progress.
 *
 * Two threads: a session trains; the main thread draws its progress, and turns SIGINT into a
 * request to stop.
 */
#include "commands/run.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "definition/definition.h"
#include "file.h"
#include "machine.h"
#include "results/protocol.h"
#include "results/table.h"
#include "results/weights.h"
#include "session.h"
#include "terminal.h"
#include "text.h"

/* Everything of one command. */
struct work {
    const struct options *options;
    char *text, *folder;
    struct catalog *catalog;
    struct definition *definition;
    uint64_t memory_bytes;
    FILE *metrics;
    struct outcome *outcomes;
    json_t **protocols; // rows of protocol runs, NULL where there are none
    struct terminal terminal;
};

/* One of its runs, trained by a thread of its own. */
struct training {
    struct work *work;
    size_t index;
    struct session session;
    struct session_live live;
    _Atomic int stop;
    struct session_result result;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done;        // under lock
    struct text said; // under lock: lines to print
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static void take_records(void *context, const struct tet_record *records, size_t n)
{
    struct training *t = context;
    for (size_t i = 0; i < n; i++) {
        const struct tet_record *r = &records[i];
        outcome_take(&t->work->outcomes[t->index], r->series, r->layer, r->step, r->value);
        if (t->work->metrics != NULL) {
            char name[TET_SERIES_NAME];
            tet_record_text(r, name);
            fprintf(t->work->metrics, "%zu,%" PRIu64 ",%s,%.17g\n", t->index + 1, r->step, name,
                    r->value);
        }
    }
}

static void take_intervention(void *context, uint32_t number, uint64_t step, const json_t *what)
{
    struct training *t = context;
    char *text = json_canonical(what);
    pthread_mutex_lock(&t->lock);
    text_printf(&t->said, "run %zu, step %" PRIu64 ": intervention %u: %s\n", t->index + 1, step,
                number + 1, text != NULL ? text : "");
    pthread_mutex_unlock(&t->lock);
    free(text);
}

static void *train(void *context)
{
    struct training *t = context;
    session_run(&t->session, &t->result);
    pthread_mutex_lock(&t->lock);
    t->done = true;
    pthread_cond_signal(&t->over);
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static void show(struct training *t)
{
    const struct outcome *outcome = &t->work->outcomes[t->index];
    char title[200];
    if (t->work->definition->n_runs > 1)
        snprintf(title, sizeof title, "%zu/%zu %.150s", t->index + 1, t->work->definition->n_runs,
                 outcome->label);
    else
        snprintf(title, sizeof title, "%.150s", outcome->label);
    const double rate = atomic_load(&t->live.samples_per_second);
    const uint64_t step = atomic_load(&t->live.step);
    const json_t *training = json_object_get(t->session.definition, "training");
    const uint32_t patterns = protocol_patterns(t->session.definition);
    const double batch =
        patterns > 0 ? patterns : (double)json_integer_value(json_object_get(training, "batch"));
    const float test = atomic_load(&t->live.test_accuracy),
                trained = atomic_load(&t->live.train_accuracy);
    terminal_show(
        &t->work->terminal,
        &(struct progress_line){.title = title,
                                .step = step,
                                .steps = outcome->steps,
                                .epoch = atomic_load(&t->live.epoch),
                                .epochs = patterns > 0 ? 0 : (uint32_t)outcome->epochs,
                                .samples_per_second = rate,
                                .seconds_left =
                                    rate > 0 ? (double)(outcome->steps - step) * batch / rate : -1,
                                .loss = atomic_load(&t->live.loss),
                                .accuracy = isnan(test) ? trained : test});
}

/* "result.npz" and run 2 of 6 make "result-2.npz". */
static char *numbered(const char *path, size_t index, size_t n)
{
    char *name = NULL;
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    const int stem =
        dot != NULL && (slash == NULL || dot > slash + 1) ? (int)(dot - path) : (int)strlen(path);
    const int printed = n == 1 ? asprintf(&name, "%s", path)
                               : asprintf(&name, "%.*s-%zu%s", stem, path, index + 1, path + stem);
    return printed < 0 ? NULL : name;
}

static enum tet_err write_weights(struct training *t, struct tet_error *error)
{
    const char *out = t->work->options->value[OPTION_OUT];
    if (out == NULL || !t->result.captured)
        return TET_OK;
    struct npy *arrays = NULL;
    size_t n = 0;
    char *path = numbered(out, t->index, t->work->definition->n_runs);
    enum tet_err err = path == NULL ? tet_error_set(error, TET_NO_MEMORY, "out of memory")
                                    : weights_npz(&arrays, &n, &t->result.last, error);
    if (err == TET_OK)
        err = npz_write(arrays, n, path, error);
    free(arrays);
    free(path);
    return err;
}

static void say(struct training *t)
{
    pthread_mutex_lock(&t->lock);
    struct text said = t->said;
    t->said = (struct text){0};
    pthread_mutex_unlock(&t->lock);
    if (said.size > 0)
        terminal_say(&t->work->terminal, text_get(&said));
    text_free(&said);
}

/* Draws until the session is over; five times a second on a terminal. */
static void watch(struct training *t)
{
    pthread_mutex_lock(&t->lock);
    while (!t->done) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 200000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&t->over, &t->lock, &until);
        pthread_mutex_unlock(&t->lock);
        if (interrupted)
            atomic_store(&t->stop, SESSION_CANCEL);
        say(t);
        show(t);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
}

/* The exit status that a run's end comes to; its weights are written where they are asked for, and
 * what there is to say is said. */
static int conclude(struct training *t)
{
    struct tet_error error = {0};
    int status = STATUS_OK;
    if (t->result.state == RUN_FAILED)
        status = status_of(t->result.err);
    else if (t->result.state == RUN_DIVERGED)
        status = STATUS_DIVERGED;
    else if (t->result.state == RUN_CANCELLED)
        status = STATUS_INTERRUPTED;
    else if (write_weights(t, &error) != TET_OK)
        status = status_of(error.err);
    if (t->result.reason[0] != '\0' || error.err != TET_OK)
        fprintf(stderr, "tetrad: run %zu %s: %s\n", t->index + 1, run_state_text(t->result.state),
                error.err != TET_OK ? error.message : t->result.reason);
    return status;
}

static int train_one(struct work *w, size_t index)
{
    struct training t = {.work = w, .index = index};
    const struct run_definition *run = &w->definition->runs[index];
    pthread_t thread;
    int status = STATUS_OK;
    t.live.loss = t.live.train_accuracy = t.live.test_accuracy = NAN;
    t.session = (struct session){
        .definition = run->resolved,
        .catalog = w->catalog,
        .weights_folder = w->folder,
        .memory_bytes = w->memory_bytes,
        .stop = &t.stop,
        .live = &t.live,
        .sink = {.context = &t, .records = take_records, .intervened = take_intervention}};
    outcome_begin(&w->outcomes[index], run->resolved, run->parameters, run->steps);
    pthread_mutex_init(&t.lock, NULL);
    pthread_cond_init(&t.over, NULL);
    if (pthread_create(&thread, NULL, train, &t) != 0) {
        fprintf(stderr, "tetrad: cannot start a thread: no memory\n");
        status = STATUS_MEMORY;
        goto out;
    }
    watch(&t);
    pthread_join(thread, NULL);
    say(&t);
    terminal_end(&w->terminal);
    w->outcomes[index].state = t.result.state;
    memcpy(w->outcomes[index].digest, t.result.digest, sizeof t.result.digest);
    w->protocols[index] = t.result.protocol;
    status = conclude(&t);
out:
    store_checkpoint_free(&t.result.last);
    pthread_cond_destroy(&t.over);
    pthread_mutex_destroy(&t.lock);
    return status;
}

static enum tet_err read_definition(struct work *w, struct tet_error *error)
{
    const char *path = w->options->argument[0];
    const char *slash = strrchr(path, '/');
    size_t size = 0;
    json_t *details = NULL;
    const char *data = NULL;
    w->folder =
        slash != NULL ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (w->folder == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    enum tet_err err = file_read(path, DEFINITION_MAX_BYTES, &w->text, &size, error);
    if (err == TET_OK)
        err = options_data(w->options, &data, error);
    if (err == TET_OK)
        err = catalog_open(&w->catalog, data, w->memory_bytes, error);
    if (err != TET_OK)
        return err;
    const struct definition_context context = {.catalog = w->catalog,
                                               .memory_bytes = w->memory_bytes,
                                               .weights_folder = w->folder,
                                               .weights_paths = true};
    err = definition_read(&w->definition, &details, w->text, size, &context, error);
    if (err == TET_OK) {
        w->outcomes = calloc(w->definition->n_runs, sizeof *w->outcomes);
        w->protocols = calloc(w->definition->n_runs, sizeof(json_t *));
    }
    if (err == TET_OK && (w->outcomes == NULL || w->protocols == NULL))
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (err == TET_BAD_DEFINITION) {
        fprintf(stderr, "tetrad: %s\n", error->message);
        faults_print(stderr, details);
    }
    json_decref(details);
    return err;
}

/* Whether --out can be written, before hours are spent on what it is to hold. */
static enum tet_err check_out(const struct work *w, struct tet_error *error)
{
    const char *out = w->options->value[OPTION_OUT];
    if (out == NULL)
        return TET_OK;
    const char *slash = strrchr(out, '/');
    char *folder =
        slash != NULL ? strndup(out, slash == out ? 1 : (size_t)(slash - out)) : strdup(".");
    enum tet_err err = TET_OK;
    if (folder == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    else if (access(folder, W_OK | X_OK) != 0)
        err = tet_error_set(error, TET_IO, "--out %s: %s: %s", out, folder, strerror(errno));
    free(folder);
    return err;
}

static enum tet_err open_metrics(struct work *w, struct tet_error *error)
{
    const char *path = w->options->value[OPTION_METRICS];
    if (path == NULL)
        return TET_OK;
    w->metrics = fopen(path, "we");
    if (w->metrics == NULL)
        return tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
    fputs("run,step,series,value\n", w->metrics);
    return TET_OK;
}

static int close_metrics(struct work *w)
{
    if (w->metrics == NULL)
        return STATUS_OK;
    const bool bad = ferror(w->metrics) != 0;
    if (fclose(w->metrics) == 0 && !bad)
        return STATUS_OK;
    fprintf(stderr, "tetrad: %s: %s\n", w->options->value[OPTION_METRICS], strerror(errno));
    return STATUS_IO;
}

/* Accuracies of runs that train; a table for each protocol. */
static void print_results(const struct work *w, size_t n)
{
    size_t tables = 0;
    for (size_t i = 0; i < n; i++) {
        if (w->protocols[i] == NULL)
            continue;
        if (n > 1)
            printf("%s%s, seed %lld: %.8s\n", tables > 0 ? "\n" : "", w->outcomes[i].label,
                   (long long)w->outcomes[i].seed, w->outcomes[i].digest + strlen("sha256:"));
        protocol_print(stdout, w->protocols[i]);
        tables++;
    }
    if (tables < n)
        table_print(stdout, w->outcomes, n);
}

static int train_all(struct work *w)
{
    int status = STATUS_OK;
    size_t n = 0;
    const struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    terminal_begin(&w->terminal, stderr);
    while (n < w->definition->n_runs && !interrupted) {
        const int one = train_one(w, n++);
        status = status == STATUS_OK ? one : status;
    }
    print_results(w, n);
    if (n == 1 && w->outcomes[0].digest[0] != '\0')
        printf("  digest %s\n", w->outcomes[0].digest);
    return status;
}

int run_command(const struct options *options)
{
    struct work w = {.options = options};
    struct tet_error error = {0};
    int status = STATUS_OK;
    enum tet_err err = TET_OK;
    if (options->argument[0] == NULL)
        err =
            tet_error_set(&error, TET_BAD_REQUEST, "run needs a definition: tetrad run FILE.json");
    if (err == TET_OK)
        err = options_size(options, OPTION_MEMORY, machine_memory() / 2, &w.memory_bytes, &error);
    if (err == TET_OK)
        err = tet_isa_check(&error);
    if (err == TET_OK)
        err = read_definition(&w, &error);
    if (err == TET_OK)
        err = check_out(&w, &error);
    if (err == TET_OK)
        err = open_metrics(&w, &error);
    if (err == TET_OK)
        status = train_all(&w);
    else {
        status = status_of(err);
        if (err == TET_BAD_JSON)
            fprintf(stderr, "tetrad: %s: %s\n", options->argument[0], error.message);
        else if (err != TET_BAD_DEFINITION)
            fprintf(stderr, "tetrad: %s\n", error.message);
    }
    const int closed = close_metrics(&w);
    status = status == STATUS_OK ? closed : status;
    for (size_t i = 0; w.protocols != NULL && i < w.definition->n_runs; i++)
        json_decref(w.protocols[i]);
    free(w.protocols);
    free(w.outcomes);
    definition_free(w.definition);
    catalog_close(w.catalog);
    free(w.folder);
    free(w.text);
    return status;
}
