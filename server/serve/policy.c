// SPDX-License-Identifier: Apache-2.0
/* What the options say of the queue: see start.h. */
#include "serve/start.h"

#include <stdlib.h>
#include <string.h>

#include "pool.h"

/* Hours, with or without an h. */
static enum tet_err read_half_life(const struct options *options, double *seconds,
                                   struct tet_error *error)
{
    const char *text = options->value[OPTION_HALF_LIFE];
    char *end = NULL;
    const double hours = strtod(text, &end);
    *seconds = hours * 3600.0;
    if (end != text && (*end == '\0' || strcmp(end, "h") == 0) && hours >= 0.01 && hours <= 87600.0)
        return TET_OK;
    return tet_error_set(error, TET_BAD_REQUEST,
                         "--half-life: found \"%.40s\", allowed 0.01h to 87600h", text);
}

enum tet_err serve_policy(const struct options *options, struct store_policy *policy,
                          struct tet_error *error)
{
    uint64_t running = 0;
    *policy = (struct store_policy){0};
    enum tet_err err = read_half_life(options, &policy->half_life_s, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_QUEUED, 1, STORE_MAX_QUEUED, STORE_MAX_QUEUED,
                            &policy->max_queued, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_QUEUED_EACH, 1, STORE_MAX_QUEUED, 0,
                            &policy->max_queued_each, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_RUNNING_EACH, 1, POOL_MAX_WORKERS, 0, &running,
                            error);
    policy->max_running_each = (uint32_t)running;
    return err;
}
