// SPDX-License-Identifier: Apache-2.0
/*
 * For the tests of bad input: what a reply says is wrong, and where.
 */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include "api/contract.h"

#define DATASET "\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":20}"
#define NETWORK "\"network\":{\"layers\":[{\"units\":8}]}"
#define RULE    "\"rule\":{\"name\":\"bp\"}"

static inline const char *code_of(const json_t *reply)
{
    return text(json_object_get(reply, "error"), "code");
}

static inline const char *message_of(const json_t *reply)
{
    return text(json_object_get(reply, "error"), "message");
}

struct fault {
    const char *definition, *pointer;
    const char *hint;  // NULL: any or none
    const char *words; // that `allowed` holds; NULL: any
};

/* One fault, at that place, in those words. */
static inline void check_fault(const struct fault *fault)
{
    json_t *reply = ask(&server, "POST", "/v1/experiments", fault->definition, 422);
    const json_t *details = json_object_get(json_object_get(reply, "error"), "details"),
                 *detail = json_array_get(details, 0), *hint = json_object_get(detail, "hint");
    if (json_array_size(details) != 1)
        print_message("# %s\n", message_of(reply));
    assert_string_equal(code_of(reply), "bad_definition");
    assert_int_equal(json_array_size(details), 1);
    assert_string_equal(text(detail, "pointer"), fault->pointer);
    assert_non_null(json_object_get(detail, "found"));
    if (fault->hint != NULL)
        assert_string_equal(json_string_value(hint), fault->hint);
    if (fault->words != NULL && strstr(text(detail, "allowed"), fault->words) == NULL)
        fail_msg("allowed: \"%s\", expected \"%s\"", text(detail, "allowed"), fault->words);
    json_decref(reply);
    json_decref(get(&server, 200, "/healthz"));
}

#endif
