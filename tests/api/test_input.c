// SPDX-License-Identifier: Apache-2.0
/*
 * Bad input over HTTP, all rows of it: what comes back has the exact status, code and pointer, and
 * after each the server still answers; at the end of each test it still trains. Replies are held
 * against openapi.json. Datasets are
 * test_bad_datasets.c, the command line is test_command.c.
 */
#include "api/faults.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int start(void **state)
{
    (void)state;
    return server_start("1", "64M");
}

/* ---- faults of a definition ---- */

static const struct fault faults[] = {
    /* unknown field */
    {"{" DATASET "," NETWORK "," RULE ",\"optimiser\":{\"lr\":1}}", "/optimiser", "optimizer",
     "optimizer"},
    {"{" DATASET "," NETWORK "," RULE ",\"training\":{\"epoch\":3}}", "/training/epoch", "epochs",
     "epochs"},
    {"{" DATASET ",\"network\":{\"layers\":[{\"units\":8,\"activtion\":\"relu\"}]}," RULE "}",
     "/network/layers/0/activtion", "activation", NULL},
    {"{" DATASET "," NETWORK "," RULE ",\"a/b~c\":1}", "/a~1b~0c", NULL, NULL},
    /* wrong type */
    {"[]", "", NULL, "object"},
    {"{" DATASET "," NETWORK "," RULE ",\"training\":{\"epochs\":\"3\"}}", "/training/epochs", NULL,
     "integer"},
    {"{" DATASET "," NETWORK "," RULE ",\"training\":{\"epochs\":2.5}}", "/training/epochs", NULL,
     "integer"},
    {"{" DATASET "," NETWORK "," RULE ",\"training\":{\"shuffle\":null}}", "/training/shuffle",
     NULL, "true or false"},
    {"{" DATASET ",\"network\":{\"layers\":{}}," RULE "}", "/network/layers", NULL, "array"},
    {"{" DATASET "," NETWORK ",\"rule\":\"bp\"}", "/rule", NULL, "object"},
    {"{" DATASET "," NETWORK "," RULE ",\"name\":7}", "/name", NULL, "string"},
    /* out of range */
    {"{" DATASET "," NETWORK "," RULE ",\"optimizer\":{\"lr\":0}}", "/optimizer/lr", NULL,
     "number > 0"},
    {"{" DATASET "," NETWORK "," RULE ",\"optimizer\":{\"lr\":-1e-3}}", "/optimizer/lr", NULL,
     "number > 0"},
    {"{" DATASET "," NETWORK "," RULE ",\"optimizer\":{\"lr\":1e300}}", "/optimizer/lr", NULL,
     "1e30"},
    {"{" DATASET "," NETWORK "," RULE ",\"optimizer\":{\"momentum\":1}}", "/optimizer/momentum",
     NULL, "< 1"},
    {"{" DATASET "," NETWORK "," RULE ",\"training\":{\"epochs\":0}}", "/training/epochs", NULL,
     "from 1 to"},
    {"{" DATASET "," NETWORK "," RULE ",\"training\":{\"batch\":101}}", "/training/batch", NULL,
     "1 to 100"},
    {"{" DATASET "," NETWORK "," RULE ",\"training\":{\"seed\":18446744073709551616}}",
     "/training/seed", NULL, "integer"},
    {"{" DATASET ",\"network\":{\"layers\":[{\"units\":0}]}," RULE "}", "/network/layers/0/units",
     NULL, "from 1 to"},
    {"{" DATASET "," NETWORK ",\"rule\":{\"name\":\"backprop\"}}", "/rule/name", NULL,
     "bp, fa, kp, sal"},
    {"{" DATASET "," NETWORK ",\"rule\":{\"name\":\"Sal\"}}", "/rule/name", "sal", NULL},
    {"{" DATASET "," NETWORK "," RULE ",\"name\":\"\"}", "/name", NULL, "1 to 200"},
    {"{\"dataset\":{\"name\":\"strokes\",\"train\":64,\"validation\":64}," NETWORK "," RULE "}",
     "/dataset/validation", NULL, "less than dataset.train"},
    /* missing */
    {"{" DATASET "," NETWORK "}", "/rule", NULL, "required"},
    {"{" DATASET "," NETWORK ",\"rule\":{}}", "/rule/name", NULL, "required"},
    /* what does not fit together */
    {"{" DATASET "," NETWORK ",\"rule\":{\"name\":\"bp\",\"gate\":true}}", "/rule/gate", NULL,
     "no gate"},
    {"{" DATASET "," NETWORK ",\"rule\":{\"name\":\"kp\",\"groups\":{\"V\":{}}}}", "/rule/groups/V",
     NULL, "W, B"},
    {"{" DATASET ",\"network\":{\"layers\":[{\"units\":8,\"descending_units\":4}]},"
     "\"rule\":{\"name\":\"sal\"}}",
     "/network/layers/0/descending_units", NULL, "gate false"},
    /* unknown dataset, unknown weights */
    {"{\"dataset\":{\"name\":\"stroke\"}," NETWORK "," RULE "}", "/dataset/name", "strokes",
     "one of"},
    {"{\"dataset\":{\"name\":\"../t.db\"}," NETWORK "," RULE "}", "/dataset/name", NULL, NULL},
    {"{" DATASET "," NETWORK "," RULE ",\"initial_weights\":\"none.npz\"}", "/initial_weights",
     NULL, NULL},
    {"{" DATASET "," NETWORK "," RULE ",\"initial_weights\":\"../t.db\"}", "/initial_weights", NULL,
     NULL},
    /* sizes: over the memory limit of 64 MiB; a product beyond 64 bits */
    {"{" DATASET ",\"network\":{\"layers\":[{\"units\":4096},{\"units\":4096}]}," RULE "}",
     "/network", NULL, "at most 67108864 bytes"},
    {"{\"dataset\":{\"name\":\"strokes\",\"train\":1000000}," NETWORK "," RULE "}", "/dataset/name",
     NULL, "the limit is 67108864"},
    {"{" DATASET ",\"network\":{\"layers\":[{\"units\":1048576},{\"units\":1048576},"
     "{\"units\":1048576},{\"units\":1048576}]}," RULE "}",
     "/network", NULL, "at most"},
    {"{" DATASET ",\"network\":{\"layers\":[{\"units\":99999999999999999999}]}," RULE "}",
     "/network/layers/0/units", NULL, "1048576"},
    /* sweeps */
    {"{" DATASET "," NETWORK "," RULE ",\"sweep\":{\"training.sed\":[1]}}", "/sweep/training.sed",
     "training.seed", NULL},
    {"{" DATASET "," NETWORK "," RULE ",\"sweep\":{\"training.seed\":[]}}", "/sweep/training.seed",
     NULL, "at least 1"},
    {"{" DATASET "," NETWORK "," RULE ",\"sweep\":{\"training.seed\":[1,2,1]}}",
     "/sweep/training.seed/2", NULL, "differ"},
    {"{" DATASET "," NETWORK "," RULE ",\"sweep\":{\"training.seed\":[1,-2]}}",
     "/sweep/training.seed/1", NULL, "from 0"},
    {"{" DATASET "," NETWORK "," RULE ",\"sweep\":{}}", "/sweep", NULL, NULL},
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        check_fault(&faults[i]);
    check_alive(&server);
}

/* Every fault of a definition is in one reply, each at its place; none is reported for another. */
static void test_all_at_once(void **state)
{
    (void)state;
    static const char definition[] =
        "{\"nme\":\"x\",\"tags\":[1,\"a\"],\"dataset\":{\"name\":\"strokes\",\"train\":-5},"
        "\"network\":{\"layers\":[{\"units\":8},{\"units\":true},{\"activation\":\"relu\"}],"
        "\"loss\":\"hinge\"},\"rule\":{\"name\":\"sal\",\"groups\":{\"X\":{}}},"
        "\"optimizer\":{\"lr\":-1,\"schedule\":{\"type\":\"step\",\"epochs\":[3,2]}},"
        "\"training\":{\"epochs\":1e9},\"sweep\":{\"training.seed\":[1,1.5]}}";
    static const char *const pointers[] = {"/nme",
                                           "/tags/0",
                                           "/dataset/train",
                                           "/network/layers/1/units",
                                           "/network/layers/2/units",
                                           "/network/loss",
                                           "/rule/groups/X",
                                           "/optimizer/lr",
                                           "/optimizer/schedule/epochs/1",
                                           "/training/epochs",
                                           "/sweep/training.seed/1"};
    const size_t n = sizeof pointers / sizeof *pointers;
    json_t *reply = ask(&server, "POST", "/v1/experiments", definition, 422), *detail;
    const json_t *details = json_object_get(json_object_get(reply, "error"), "details");
    size_t i, k;
    for (i = 0; i < n; i++) {
        bool found = false;
        json_array_foreach(details, k, detail)
        {
            found = found || strcmp(text(detail, "pointer"), pointers[i]) == 0;
        }
        if (!found)
            fail_msg("no fault at %s", pointers[i]);
    }
    if (json_array_size(details) != n) {
        char *shown = json_dumps(details, JSON_INDENT(1));
        print_message("# %s\n", shown);
        free(shown);
    }
    assert_int_equal(json_array_size(details), n);
    assert_non_null(strstr(message_of(reply), "11 faults"));
    json_decref(reply);
    check_alive(&server);
}

static void test_sweep_too_large(void **state)
{
    (void)state;
    char *definition = malloc(1 << 20), *at = definition;
    for (int extra = 0; extra < 2; extra++) {
        at = definition + sprintf(definition, "{" DATASET "," NETWORK "," RULE
                                              ",\"sweep\":{\"training.epochs\":[1,2],"
                                              "\"training.seed\":[0");
        for (int i = 1; i < 5000 + extra; i++)
            at += sprintf(at, ",%d", i);
        strcpy(at, "]}}");
        json_t *reply =
            ask(&server, "POST", "/v1/experiments?dry_run=1", definition, extra == 0 ? 200 : 422);
        if (extra == 0) {
            assert_int_equal(integer(reply, "run_count"), 10000);
        } else {
            const json_t *detail =
                json_array_get(json_object_get(json_object_get(reply, "error"), "details"), 0);
            assert_string_equal(text(detail, "pointer"), "/sweep");
            assert_int_equal(integer(detail, "found"), 10002);
            assert_string_equal(text(detail, "allowed"), "at most 10000 runs");
        }
        json_decref(reply);
    }
    /* A product beyond 64 bits. */
    at = definition + sprintf(definition, "{" DATASET "," NETWORK "," RULE ",\"sweep\":{");
    static const char *const paths[] = {"training.seed",     "training.epochs", "training.batch",
                                        "optimizer.lr",      "record.every",    "record.keep",
                                        "training.max_steps"};
    for (size_t p = 0; p < 7; p++) {
        at += sprintf(at, "%s\"%s\":[1", p > 0 ? "," : "", paths[p]);
        for (int i = 2; i <= 1000; i++)
            at += sprintf(at, ",%d", i);
        at += sprintf(at, "]");
    }
    strcpy(at, "}}");
    json_t *reply = ask(&server, "POST", "/v1/experiments", definition, 422), *detail;
    size_t i, found = 0;
    json_array_foreach(json_object_get(json_object_get(reply, "error"), "details"), i, detail)
    {
        found += strcmp(text(detail, "pointer"), "/sweep") == 0 &&
                 strcmp(text(detail, "found"), "more than 2^53 runs") == 0;
    }
    assert_int_equal(found, 1);
    json_decref(reply);
    free(definition);
    check_alive(&server);
}

/* ---- JSON ---- */

static void check_json(const char *bytes, size_t size, const char *words)
{
    struct reply reply;
    request(&server, "POST", "/v1/experiments", bytes, size, NULL, &reply);
    contract_check("POST", "/v1/experiments", &reply);
    expect(&reply, 400);
    assert_string_equal(code_of(reply.json), "bad_json");
    if (strstr(message_of(reply.json), words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", message_of(reply.json), words);
    reply_free(&reply);
}

static void test_json(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "line 1"},
        {"{", "line 1"},
        {"{\"a\":1,}", "line 1"},
        {"{}x", "line 1"},
        {"{\"optimizer\":\n{\"lr\":NaN}}", "line 2"},
        {"{\"optimizer\":{\"lr\":Infinity}}", "line 1"},
        {"{\"optimizer\":{\"lr\":1e400}}", "line 1"},
        {"{\"optimizer\":{\"lr\":-1e400}}", "line 1"},
        {"{\"name\":\"a\",\n\"name\":\"b\"}", "duplicate"},
        {"{\"optimizer\":{\"lr\":1,\"lr\":1}}", "duplicate"},
        {"{\"name\":\"\xff\"}", "decode byte"},
        {"{\"name\":\"\xc0\xaf\"}", "decode byte"},
        {"{\"name\":\"\xed\xa0\x80\"}", "decode byte"},
        {"{\"name\":\"\\ud800\"}", "line 1"},
        {"{\"na\\u0000me\":1}", "line 1"},
        {"\xef\xbb\xbf{}", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_json(cases[i].text, strlen(cases[i].text), cases[i].words);
    check_json("{\"name\":\"a\0b\"}", 14, "line 1");
    check_json("{}\0", 3, "line 1");

    /* A nesting bomb, of arrays and of objects: as much as the body may hold. */
    const size_t size = 1 << 20;
    char *bomb = malloc(size);
    memset(bomb, '[', size);
    check_json(bomb, size, "nested deeper than 32");
    for (size_t i = 0; i + 5 <= size; i += 5)
        memcpy(bomb + i, "{\"a\":", 5);
    check_json(bomb, size, "nested deeper than 32");
    free(bomb);
    check_alive(&server);
}

/* ---- bodies ---- */

static void check_refused(const char *body, size_t size, const char *const *headers, long status,
                          const char *code)
{
    struct reply reply;
    request(&server, "POST", "/v1/experiments", body, size, headers, &reply);
    contract_check("POST", "/v1/experiments", &reply);
    expect(&reply, status);
    assert_string_equal(code_of(reply.json), code);
    reply_free(&reply);
    json_decref(get(&server, 200, "/healthz"));
}

static void test_bodies(void **state)
{
    (void)state;
    const size_t most = 1 << 20;
    char *large = malloc(most + 1);
    memset(large, ' ', most + 1);
    check_refused(large, most + 1, NULL, 413, "too_large");
    check_refused(large, most, NULL, 400, "bad_json"); // blanks are read, and are not JSON
    free(large);

    /* As large as it may be, and right. */
    static const char definition[] = "{" DATASET "," NETWORK "," RULE "}";
    char *padded = malloc(most);
    memset(padded, ' ', most);
    memcpy(padded, definition, sizeof definition - 1);
    struct reply reply;
    request(&server, "POST", "/v1/experiments?dry_run=1", padded, most, NULL, &reply);
    expect(&reply, 200);
    reply_free(&reply);
    free(padded);

    static const char *const types[] = {
        "Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded",
        "Content-Type:", // curl: none at all
        "Content-Type: application/json; charset=utf-16", "Content-Type: application/jsonx"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        check_refused("{}", 2, (const char *const[]){types[i], NULL}, 415,
                      "unsupported_media_type");
    check_refused(
        "{}", 2,
        (const char *const[]){"Content-Type: application/json", "Content-Encoding: gzip", NULL},
        415, "unsupported_media_type");
    check_refused("{}", 2, (const char *const[]){"Transfer-Encoding: chunked", NULL}, 411,
                  "length_required");
    check_alive(&server);
}

/* A connection of its own on which `bytes` were said. */
static int say(const char *bytes)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(server.port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = REPLY_S};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
    return fd;
}

/* The reply, up to the length that it states; its status, 0 for none. */
static int hear(int fd, char *text, size_t size)
{
    size_t n = 0, whole = size - 1;
    ssize_t got;
    int status = 0;
    while (n < whole && (got = recv(fd, text + n, whole - n, 0)) > 0) {
        n += (size_t)got;
        text[n] = '\0';
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (end != NULL && length != NULL && length < end)
            whole = (size_t)(end + 4 - text) + (size_t)atol(length + 16);
        if (whole > size - 1)
            whole = size - 1;
    }
    text[n] = '\0';
    (void)sscanf(text, "HTTP/1.1 %d", &status);
    return status;
}

static void test_raw(void **state)
{
    (void)state;
#define POST                                                                                       \
    "POST /v1/experiments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    static const struct {
        const char *bytes;
        int status;
        const char *code;
    } cases[] = {
        {POST "\r\n", 411, "length_required"},
        {POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411, "length_required"},
        {POST "Content-Length: 1048577\r\n\r\n", 413, "too_large"},
        {POST "Content-Length: 18446744073709551615\r\n\r\n", 413, NULL},
        {POST "Content-Length: 0\r\n\r\n", 400, "bad_json"},
        {"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "forbidden"},
        {"GET /healthz HTTP/1.1\r\n\r\n", 400, NULL},
        {"GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 403,
         "forbidden"},
    };
#undef POST
    char reply[8192], code[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int fd = say(cases[i].bytes), status = hear(fd, reply, sizeof reply);
        close(fd);
        if (status != cases[i].status)
            fail_msg("case %zu: %d, expected %d: %s", i, status, cases[i].status, reply);
        snprintf(code, sizeof code, "\"code\":\"%s\"", cases[i].code != NULL ? cases[i].code : "");
        if (cases[i].code != NULL && strstr(reply, code) == NULL)
            fail_msg("case %zu: no %s in %s", i, code, reply);
        json_decref(get(&server, 200, "/healthz"));
    }
    /* Whoever says this and goes does not trouble the others. */
    static const char *const noise[] = {
        ("POST /v1/experiments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
         "Content-Length: 500000\r\n\r\n{\"name\""),
        "\x16\x03\x01\x02\x01",
        "GET",
        "GET / HTTP/9.9\r\n\r\n",
        "\r\n\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n"};
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++) {
        close(say(noise[i]));
        json_decref(get(&server, 200, "/healthz"));
    }
    check_alive(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),          cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_sweep_too_large), cmocka_unit_test(test_json),
        cmocka_unit_test(test_bodies),          cmocka_unit_test(test_raw),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
