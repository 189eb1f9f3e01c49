// SPDX-License-Identifier: Apache-2.0
/* The texts of events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them. Pure functions. */
#include "events/private.h"

#include <stdio.h>
#include <stdlib.h>

#include "json.h"

struct http_shared *text_event(uint64_t id, const char *event, json_t *data)
{
    char *json = data != NULL ? json_text(data) : NULL, *text = NULL, number[40] = "";
    struct http_shared *shared = NULL;
    json_decref(data);
    if (id > 0)
        snprintf(number, sizeof number, "id: %llu\n", (unsigned long long)id);
    if (json != NULL) {
        const int n = asprintf(&text, "%sevent: %s\ndata: %s\n\n", number, event, json);
        if (n > 0)
            shared = http_shared_new(text, (size_t)n);
        if (n >= 0)
            free(text);
    }
    free(json);
    return shared;
}

struct http_shared *text_state(uint64_t id, const struct store_change *c, int64_t at_ms)
{
    json_begin();
    return text_event(id, "state",
                      json_pack("{s:I, s:I, s:s, s:s?, s:I, s:o, s:s}", "run", (json_int_t)c->run,
                                "experiment", (json_int_t)c->experiment, "state",
                                run_state_text(c->state), "reason", c->reason, "step",
                                (json_int_t)c->step, "at", json_time(at_ms), "experiment_state",
                                run_state_text(c->experiment_state)));
}

struct http_shared *text_changed(uint64_t id, const int64_t *experiments, size_t n)
{
    json_begin();
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer((json_int_t)experiments[i]));
    return text_event(id, "changed", json_pack("{s:o}", "experiments", list));
}

struct http_shared *text_missed(uint64_t id, const char *reason)
{
    json_begin();
    return text_event(id, "missed", json_pack("{s:s}", "reason", reason));
}

struct http_shared *text_metrics(const struct entry *entry)
{
    json_begin();
    json_t *all = json_object();
    for (size_t i = 0; i < entry->n_records; i++) {
        const struct tet_record *r = &entry->records[i];
        char name[TET_SERIES_NAME];
        tet_record_text(r, name);
        json_t *series = json_object_get(all, name);
        if (series == NULL) {
            series = json_pack("{s:[], s:[]}", "steps", "values");
            json_object_set_new(all, name, series);
        }
        json_array_append_new(json_object_get(series, "steps"), json_integer((json_int_t)r->step));
        json_array_append_new(json_object_get(series, "values"), json_finite(r->value));
    }
    return text_event(entry->id, "metrics",
                      json_pack("{s:I, s:I, s:o}", "run", (json_int_t)entry->run, "experiment",
                                (json_int_t)entry->experiment, "series", all));
}

struct http_shared *text_progress(const struct event_progress *runs, int64_t experiment,
                                  int64_t run, bool *none)
{
    json_begin();
    json_t *list = json_array();
    for (const struct event_progress *p = runs; p->run != 0; p++) {
        if ((experiment != 0 && experiment != p->experiment) || (run != 0 && run != p->run))
            continue;
        json_array_append_new(
            list, json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "run", (json_int_t)p->run,
                            "experiment", (json_int_t)p->experiment, "step", (json_int_t)p->step,
                            "steps", (json_int_t)p->steps, "epoch", (json_int_t)p->epoch,
                            "samples_per_s", json_finite(p->samples_per_s), "eta_s",
                            json_finite(p->eta_s), "loss", json_finite(p->loss)));
    }
    *none = json_array_size(list) == 0;
    if (!*none)
        return text_event(0, "progress", json_pack("{s:o}", "runs", list));
    json_decref(list);
    return NULL;
}
