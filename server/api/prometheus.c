// SPDX-License-Identifier: Apache-2.0
/*
 * GET /metrics: what the server counts and measures about itself, in Prometheus' text format 0.0.4.
 *
 * Labels have few values: routes of the table, methods, states, classes; never an id or a name that a user gave.
 */
#include "api/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tetrad/trainer.h>

#include "events/events.h"
#include "monitor/meters.h"
#include "store/changes.h"

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(FILE *out, const char *name, const char *type, const char *help, double value)
{
    head(out, name, type, help);
    fprintf(out, "%s %.17g\n", name, value);
}

/* One histogram's lines; labels: "" or `a="b",`. counts of each bucket alone, n + 1 of them. */
static void histogram(FILE *out, const char *name, const char *labels, const double *bounds,
                      const uint64_t *counts, size_t n, double sum)
{
    const int end = *labels != '\0' ? (int)strlen(labels) - 1 : 0; // without the comma
    const char *open = end > 0 ? "{" : "", *close = end > 0 ? "}" : "";
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++) {
        all += counts[i];
        fprintf(out, "%s_bucket{%sle=\"%g\"} %llu\n", name, labels, bounds[i],
                (unsigned long long)all);
    }
    all += counts[n];
    fprintf(out, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, labels, (unsigned long long)all);
    fprintf(out, "%s_sum%s%.*s%s %.17g\n", name, open, end, labels, close, sum);
    fprintf(out, "%s_count%s%.*s%s %llu\n", name, open, end, labels, close,
            (unsigned long long)all);
}

/* Reads a meter; true: it counted something. */
static bool read_meter(const struct meter_histogram *h, uint64_t counts[METER_BOUNDS + 1],
                       double *sum)
{
    uint64_t all = 0;
    for (size_t i = 0; i <= METER_BOUNDS; i++)
        all += counts[i] = atomic_load_explicit(&h->counts[i], memory_order_relaxed);
    *sum = 1e-6 * (double)atomic_load_explicit(&h->sum, memory_order_relaxed);
    return all > 0;
}

static void meter(FILE *out, const char *name, const char *help, const struct meter_histogram *h)
{
    uint64_t counts[METER_BOUNDS + 1];
    double sum;
    (void)read_meter(h, counts, &sum);
    head(out, name, "histogram", help);
    histogram(out, name, "", h->bounds, counts, h->n, sum);
}

static void write_http(FILE *out, struct http_server *http)
{
    static const char name[] = "tetrad_http_request_duration_seconds";
    static const char *const classes[METER_CLASSES] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    size_t n_routes = 0;
    while (api_routes[n_routes].method != NULL)
        n_routes++;
    head(out, name, "histogram",
         "Time from a request's headers to its reply, by route and class of status.");
    for (size_t r = 0; r < METER_ROUTES; r++) {
        const struct http_route *route = r < n_routes ? &api_routes[r] : NULL;
        for (size_t c = 0; c < METER_CLASSES; c++) {
            uint64_t counts[METER_BOUNDS + 1];
            double sum;
            char labels[256];
            if (!read_meter(&meters.http[r][c], counts, &sum))
                continue;
            snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\",status=\"%s\",",
                     route != NULL ? route->method : "other", route != NULL ? route->path : "none",
                     classes[c]);
            histogram(out, name, labels, meters.http_bounds, counts, meters.n_http_bounds, sum);
        }
    }
    if (http == NULL)
        return;
    single(out, "tetrad_http_connections", "gauge", "Connections that are open, without streams.",
           (double)http_connections(http));
    single(out, "tetrad_event_streams", "gauge", "Event streams that are open.",
           (double)http_streams(http));
}

static void write_events(FILE *out, struct events *events)
{
    single(out, "tetrad_events_sent_total", "counter",
           "Events and heartbeats given to event streams.", (double)events_sent(events));
    single(out, "tetrad_events_missed_total", "counter",
           "Times that an event stream was told that it was too slow.",
           (double)events_missed(events));
}

static void write_store(FILE *out, const struct store_measures *m)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const double at = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    const double wait = at - 1e-3 * (double)m->oldest_queued_ms;
    single(out, "tetrad_queue_depth", "gauge", "Runs that wait for a worker.",
           (double)m->runs[RUN_QUEUED]);
    single(out, "tetrad_queue_oldest_wait_seconds", "gauge",
           "Since when the run that waits longest was submitted; 0: none waits.",
           m->oldest_queued_ms > 0 && wait > 0 ? wait : 0.0);
    head(out, "tetrad_runs", "gauge", "Runs in the database by state.");
    for (int s = 0; s < RUN_STATES_COUNT; s++)
        fprintf(out, "tetrad_runs{state=\"%s\"} %llu\n", run_state_text((enum run_state)s),
                (unsigned long long)m->runs[s]);
    single(out, "tetrad_sqlite_file_bytes", "gauge", "Size of the database's file.",
           (double)m->file_bytes);
    single(out, "tetrad_sqlite_wal_bytes", "gauge", "Size of its write-ahead log.",
           (double)m->wal_bytes);
    head(out, "tetrad_sqlite_commit_duration_seconds", "histogram",
         "Time that the database's commits took.");
    histogram(out, "tetrad_sqlite_commit_duration_seconds", "", store_commit_bounds,
              m->commits.at_most, STORE_COMMIT_BOUNDS, m->commits.seconds);
}

static void write_storage(FILE *out, struct storage *storage)
{
    struct storage_view view;
    storage_look(storage, &view);
    head(out, "tetrad_storage_free_bytes", "gauge", "Free on the disk of a folder.");
    for (int i = 0; i < STORAGE_FOLDERS; i++)
        if (view.free_bytes[i] != UINT64_MAX)
            fprintf(out, "tetrad_storage_free_bytes{folder=\"%s\"} %llu\n",
                    storage_folder_text((enum storage_folder)i),
                    (unsigned long long)view.free_bytes[i]);
    single(out, "tetrad_storage_full", "gauge",
           "Whether a disk is too full to take anything in: 1, otherwise 0.",
           view.error.err == TET_STORAGE_FULL);
    single(out, "tetrad_storage_fails", "gauge", "Whether a disk fails: 1, otherwise 0.",
           view.error.err == TET_STORAGE_FAILS);
}

static void write_changes(FILE *out)
{
    head(out, "tetrad_run_changes_total", "counter",
         "Runs that came to a state, by why; without bulk actions on more than 200 runs.");
    for (int s = 0; s < RUN_STATES_COUNT; s++)
        for (int r = 0; r < METER_REASONS_COUNT; r++) {
            const uint64_t n =
                atomic_load_explicit(&meters.run_changes[s][r], memory_order_relaxed);
            if (n > 0 || r == METER_NONE)
                fprintf(out, "tetrad_run_changes_total{state=\"%s\",reason=\"%s\"} %llu\n",
                        run_state_text((enum run_state)s), meter_reason_text[r],
                        (unsigned long long)n);
        }
}

static void write_training(FILE *out, struct api *api)
{
    struct pool_view *views = pool_look(api->pool);
    double busy = 0, speed = 0;
    for (const struct pool_view *v = views; v != NULL && v->run != 0; v++) {
        busy++;
        speed += (double)v->samples_per_second;
    }
    free(views);
    single(out, "tetrad_workers", "gauge", "Runs that can be trained at once.",
           pool_workers(api->pool));
    single(out, "tetrad_workers_busy", "gauge", "Runs that are being trained.", busy);
    single(out, "tetrad_samples_per_second", "gauge",
           "Examples trained in a second by all workers together.", speed);
    single(out, "tetrad_samples_total", "counter", "Examples trained since the server started.",
           (double)atomic_load_explicit(&meters.samples, memory_order_relaxed));
    single(out, "tetrad_runs_memory_bytes", "gauge",
           "Memory that the runs being trained are counted with.", (double)pool_memory(api->pool));
    single(out, "tetrad_runs_memory_limit_bytes", "gauge", "Memory that runs may take together.",
           (double)api->memory_bytes);
    meter(out, "tetrad_step_duration_seconds",
          "Time of a mini-batch, evaluations included, over stretches of half a second.",
          &meters.step);
    meter(out, "tetrad_queue_wait_duration_seconds", "Time from a run's submission to its start.",
          &meters.queue_wait);
}

static void write_process(FILE *out)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;
    struct timespec cpu;
    if (file != NULL && fscanf(file, "%*u %llu", &pages) == 1)
        single(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
               (double)pages * (double)sysconf(_SC_PAGESIZE));
    if (file != NULL)
        fclose(file);
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        single(out, "process_cpu_seconds_total", "counter",
               "Total user and system CPU time spent in seconds.",
               (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec);
}

static void write_all(FILE *out, struct api *api, const struct store_measures *measures)
{
    head(out, "tetrad_build_info", "gauge", "The program's version and its kernels; always 1.");
    fprintf(out, "tetrad_build_info{version=\"%s\",kernels=\"%s\"} 1\n", TETRAD_VERSION,
            tet_isa_name());
    write_store(out, measures);
    write_storage(out, api->storage);
    write_changes(out);
    write_training(out, api);
    write_http(out, atomic_load(&api->http));
    write_events(out, api->events);
    write_process(out);
}

void api_prometheus(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct store_measures measures;
    struct tet_error error = {0};
    char *text = NULL;
    size_t size = 0;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    if (store_measure(api->store, &measures, &error) != TET_OK) {
        http_reply_error(reply, &error, NULL);
        return;
    }
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        write_all(out, api, &measures);
        if (fclose(out) == 0 && text != NULL) {
            http_reply_bytes(reply, 200, "text/plain; version=0.0.4; charset=utf-8", text, size);
            return;
        }
    }
    free(text);
    (void)tet_error_set(&error, TET_NO_MEMORY, "no memory for the metrics");
    http_reply_error(reply, &error, NULL);
}
