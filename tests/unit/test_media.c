// SPDX-License-Identifier: Apache-2.0
/* Accept: which of the types that a route offers a client gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "http/http_private.h"

static const char *const types[] = {"application/json", "text/csv", "application/x-ndjson", NULL};

static void gives(const char *accept, const char *wanted)
{
    struct media_choice choice = {.types = types};
    if (accept != NULL)
        media_take(&choice, accept);
    const char *found = media_best(&choice);
    if (wanted == NULL ? found != NULL : found == NULL || strcmp(found, wanted) != 0)
        fail_msg("Accept: %s gives %s, not %s", accept != NULL ? accept : "(none)",
                 found != NULL ? found : "none", wanted != NULL ? wanted : "none");
}

static void test_choice(void **state)
{
    (void)state;
    gives(NULL, "application/json");
    gives("*/*", "application/json");
    gives("text/csv", "text/csv");
    gives("TEXT/CSV", "text/csv");
    gives("text/csv;charset=utf-8", "text/csv");
    gives("text/*, */*;q=0.1", "text/csv");
    gives("text/csv;q=0.5, application/json;q=0.4", "text/csv");
    gives("text/csv;q=0.4 , application/json;q=0.4", "application/json");
    gives("*/*;q=0.8, application/json;q=0.2", "text/csv");
    gives("application/*", "application/json");
    gives("text/html, application/xhtml+xml, */*;q=0.8", "application/json");
    gives("text/csv ; q=1.000", "text/csv");
    gives("application/json;q=0, */*", "text/csv"); // the exact range counts, not the loose one
    gives("text/plain;a=\"x,text/csv\", application/x-ndjson", "application/x-ndjson");
}

static void test_nothing(void **state)
{
    (void)state;
    gives("image/png", NULL);
    gives("application/json;q=0", NULL);
    gives("*/*;q=0", NULL);
    gives("application/jso", NULL);
    gives("application/json5, text/*;q=0", NULL);
}

/* What is not understood is passed over; where nothing else is left, it is as if nothing was said. */
static void test_nonsense(void **state)
{
    (void)state;
    gives("", "application/json");
    gives(",,;, ;q=1", "application/json");
    gives("text/csv;q=2", "application/json");
    gives("text/csv;q=-1, application/x-ndjson", "application/x-ndjson");
    gives("text/csv;q=0.1234", "application/json");
    gives("text/csv garbage", "application/json");
    gives("\"", NULL);
    gives("*", NULL);
}

static void test_several_headers(void **state)
{
    (void)state;
    struct media_choice choice = {.types = types};
    media_take(&choice, "text/csv;q=0.5");
    media_take(&choice, "application/x-ndjson");
    assert_string_equal(media_best(&choice), "application/x-ndjson");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_several_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
