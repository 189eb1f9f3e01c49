// SPDX-License-Identifier: Apache-2.0
/*
 * GET /v1/examples: the files of schema/examples as they are, each with its name, and every one of
 * them a definition that the server takes once it has the dataset. The oracle is the folder itself,
 * so the test runs in the repository's root.
 */
#include "api/contract.h"

#include <glob.h>

static int start(void **state)
{
    (void)state;
    return server_start("1", NULL);
}

static void test_as_the_files(void **state)
{
    (void)state;
    glob_t files;
    assert_int_equal(glob("schema/examples/*.json", 0, NULL, &files), 0);
    json_t *reply = get(&server, 200, "/v1/examples");
    const json_t *examples = json_object_get(reply, "examples");
    assert_true(files.gl_pathc > 5);
    assert_int_equal(json_array_size(examples), files.gl_pathc);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const json_t *example = json_array_get(examples, i);
        json_t *file = json_load_file(files.gl_pathv[i], 0, NULL);
        assert_non_null(file);
        assert_string_equal(text(example, "file"), strrchr(files.gl_pathv[i], '/') + 1);
        assert_string_equal(text(example, "name"), text(file, "name"));
        assert_true(json_equal(json_object_get(example, "definition"), file));
        json_decref(file);
    }
    json_decref(reply);
    globfree(&files);
}

/* What a dry run says against an example: nothing, or only that its dataset is not here. */
static void test_good_definitions(void **state)
{
    (void)state;
    json_t *reply = get(&server, 200, "/v1/examples"), *example;
    size_t i, here = 0;
    json_array_foreach(json_object_get(reply, "examples"), i, example)
    {
        const json_t *definition = json_object_get(example, "definition");
        const bool builtin =
            strcmp(text(json_object_get(definition, "dataset"), "name"), "strokes") == 0;
        char *body = json_dumps(definition, 0);
        json_t *dry = ask(&server, "POST", "/v1/experiments?dry_run=1", body, builtin ? 200 : 422);
        if (!builtin) {
            const json_t *faults = json_object_get(json_object_get(dry, "error"), "details");
            assert_int_equal(json_array_size(faults), 1);
            assert_string_equal(text(json_array_get(faults, 0), "pointer"), "/dataset/name");
        }
        here += builtin;
        json_decref(dry);
        free(body);
    }
    assert_true(here > 3);
    json_decref(reply);
}

static void test_unchanged(void **state)
{
    (void)state;
    struct reply reply;
    char tag[256], header[300];
    ask_with(&server, "GET", "/v1/examples", NULL, NULL, &reply);
    expect(&reply, 200);
    assert_non_null(reply_header(&reply, "ETag", tag));
    reply_free(&reply);
    snprintf(header, sizeof header, "If-None-Match: %s", tag);
    ask_with(&server, "GET", "/v1/examples", NULL, (const char *const[]){header, NULL}, &reply);
    expect(&reply, 304);
    reply_free(&reply);
    json_decref(get(&server, 400, "/v1/examples?file=demo.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_files),
        cmocka_unit_test(test_good_definitions),
        cmocka_unit_test(test_unchanged),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
