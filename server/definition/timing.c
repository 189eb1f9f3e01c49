// SPDX-License-Identifier: Apache-2.0
/*
 * Resolving what came to rules later and is off by default: noise, delay and the order of changes.
 * What is off is not written out, so that definitions from before keep their hashes.
 *
 * One thread per definition.
 */
#include "definition/resolve.h"

#include <string.h>

/* Members that are 0, then the object itself if none is left. */
static void drop_noise(json_t *rule)
{
    static const char *const keys[] = {"activity", "teaching", "synapses"};
    json_t *noise = json_object_get(rule, "noise");
    for (size_t i = 0; i < 3; i++)
        if (json_number_value(json_object_get(noise, keys[i])) == 0.0)
            json_object_del(noise, keys[i]);
    if (noise != NULL && json_object_size(noise) == 0)
        json_object_del(rule, "noise");
}

/* A delay whose length had a fault stays: what it would be is not known. */
static void drop_delay(json_t *rule)
{
    const json_t *batches = json_object_get(json_object_get(rule, "delay"), "batches");
    if (batches != NULL && json_integer_value(batches) == 0)
        json_object_del(rule, "delay");
}

static bool is(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* Where stages change from the top down, what waits with its activities would come from circuits
 * that no step had. */
static void check_order(struct resolve_work *w, const json_t *rule)
{
    const json_t *delay = json_object_get(rule, "delay"),
                 *order = json_object_get(rule, "update_order");
    if (json_integer_value(json_object_get(delay, "batches")) > 0 &&
        json_is_true(json_object_get(delay, "eligibility")) && is(order, "top_down"))
        faults_add(w->faults, "/rule/update_order", order, NULL,
                   "together, or rule.delay.eligibility false: with eligibility all activities of "
                   "a change come from one circuit");
    if (json_is_true(json_object_get(rule, "center")) && is(order, "top_down"))
        faults_add(w->faults, "/rule/update_order", order, NULL,
                   "together, or rule.center false: gates need activities that are not centred");
}

void resolve_timing(struct resolve_work *w)
{
    json_t *rule = json_object_get(w->run, "rule");
    check_order(w, rule);
    drop_noise(rule);
    drop_delay(rule);
    if (is(json_object_get(rule, "update_order"), "together"))
        json_object_del(rule, "update_order");
}
