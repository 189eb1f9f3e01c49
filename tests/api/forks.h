// SPDX-License-Identifier: Apache-2.0
/*
 * For the tests of interventions and forks: a small network, what trains and what forks it.
 */
#ifndef TESTS_FORKS_H
#define TESTS_FORKS_H

#include "api/contract.h"

#define DATA "\"dataset\":{\"name\":\"strokes\",\"train\":500,\"test\":100}"
#define NET  "\"network\":{\"layers\":[{\"units\":12},{\"units\":9}]}"
/* 10 mini-batches an epoch, all checkpoints kept. */
#define TRAINING                                                                                   \
    "\"training\":{\"epochs\":4,\"batch\":50},\"record\":{\"every\":0,\"keep\":100},"              \
    "\"optimizer\":{\"lr\":0.05,\"momentum\":0.5,\"decay\":0.001}"
#define LESION "{\"epoch\":1,\"type\":\"lesion\",\"group\":\"V\",\"fraction\":0.3}"
#define SAL    DATA "," NET ",\"rule\":{\"name\":\"sal\"}," TRAINING

static const char plain[] = "{" SAL "}";
static const char lesioned[] =
    "{" SAL ",\"interventions\":[" LESION ",{\"step\":25,\"type\":\"freeze\",\"group\":\"U\"}]}";

static inline int start(void **state)
{
    (void)state;
    return server_start("1", NULL);
}

static inline json_t *train(const char *definition)
{
    return await_end(&server, submit(&server, definition), "succeeded");
}

/* The reply to a fork; the caller frees. */
static inline json_t *fork_of(json_int_t run, const char *body, long status)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/runs/%lld/fork", (long long)run);
    return ask(&server, "POST", path, body, status);
}

/* The fork's run at its end; the caller frees. */
static inline json_t *forked(json_int_t run, const char *body)
{
    json_t *submitted = fork_of(run, body, 201);
    assert_int_equal(integer(submitted, "run_count"), 1);
    json_t *end = await_end(&server, integer(submitted, "first_run"), "succeeded");
    json_decref(submitted);
    return end;
}

static inline json_t *weights_text(json_int_t run)
{
    return get(&server, 200, "/v1/runs/%lld/weights", (long long)run);
}

#endif
