// SPDX-License-Identifier: Apache-2.0
/*
 * Bad input over HTTP, all rows of it: what comes back has the exact status, code and pointer, and
 * after each the server still answers; at the end of each test it still trains. Replies are held
 * against openapi.json. Bad input on the command line is test_command.c.
 */
#include "api/contract.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <zlib.h>

#include "data/npz.h"

#define DATASET "\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":20}"
#define NETWORK "\"network\":{\"layers\":[{\"units\":8}]}"
#define RULE    "\"rule\":{\"name\":\"bp\"}"

static int start(void **state)
{
    (void)state;
    return server_start("1", "64M");
}

static const char *code_of(const json_t *reply)
{
    return text(json_object_get(reply, "error"), "code");
}

static const char *message_of(const json_t *reply)
{
    return text(json_object_get(reply, "error"), "message");
}

/* ---- faults of a definition ---- */

struct fault {
    const char *definition, *pointer;
    const char *hint;  // NULL: any or none
    const char *words; // that `allowed` holds; NULL: any
};

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

/* One fault, at that place, in those words. */
static void check_fault(const struct fault *fault)
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
        "POST /v1/experiments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 500000\r\n\r\n{\"name\"",
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

/* ---- datasets ---- */

enum { SIDE = 4, PIXELS = SIDE * SIDE, COUNT = 30 };

static void put32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* What is written of an IDX dataset: a good one, changed here and there. */
struct idx {
    uint32_t magic, n_images, rows, columns, n_labels;
    size_t image_bytes, label_bytes; // after the headers
    bool gz, no_labels, random_gz;
};
static const struct idx good = {0x803, COUNT, SIDE, SIDE, COUNT, COUNT *PIXELS, COUNT, 0, 0, 0};

static void write_part(const char *name, const char *part, const unsigned char *bytes, size_t size,
                       const struct idx *idx)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s/%s%s", server.data, name, part, idx->gz ? ".gz" : "");
    if (!idx->gz || idx->random_gz) {
        file_write(path, bytes, size);
        return;
    }
    gzFile file = gzopen(path, "wb9");
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), (int)size);
    assert_int_equal(gzclose(file), Z_OK);
}

static void write_idx(const char *name, const struct idx *idx)
{
    char path[256];
    unsigned char *images = calloc(1, 16 + idx->image_bytes),
                  *labels = calloc(1, 8 + idx->label_bytes);
    snprintf(path, sizeof path, "%s/%s", server.data, name);
    assert_int_equal(mkdir(path, 0700), 0);
    put32(images, idx->magic);
    put32(images + 4, idx->n_images);
    put32(images + 8, idx->rows);
    put32(images + 12, idx->columns);
    put32(labels, 0x801);
    put32(labels + 4, idx->n_labels);
    for (size_t i = 0; i < idx->label_bytes; i++) {
        labels[8 + i] = (unsigned char)(i % 3);
        if (16 + i * PIXELS < idx->image_bytes)
            images[16 + i * PIXELS] = (unsigned char)(i % 3 * 80);
    }
    write_part(name, "train-images-idx3-ubyte", images, 16 + idx->image_bytes, idx);
    if (!idx->no_labels)
        write_part(name, "train-labels-idx1-ubyte", labels, 8 + idx->label_bytes, idx);
    free(images);
    free(labels);
}

/* A dataset that cannot be used: listed with its fault, and a fault of definitions that name it. */
static void check_bad_dataset(const char *name, const char *words)
{
    char definition[300];
    json_t *one = get(&server, 422, "/v1/datasets/%s", name);
    assert_string_equal(code_of(one), "bad_dataset");
    if (strstr(message_of(one), words) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", name, message_of(one), words);
    json_decref(one);
    snprintf(definition, sizeof definition, "{\"dataset\":{\"name\":\"%s\"}," NETWORK "," RULE "}",
             name);
    check_fault(&(struct fault){definition, "/dataset/name", NULL, "a dataset that can be used"});
    json_t *list = get(&server, 200, "/v1/datasets"), *entry;
    size_t i, found = 0;
    json_array_foreach(json_object_get(list, "datasets"), i, entry)
    {
        found += strcmp(text(entry, "name"), name) == 0 &&
                 json_is_string(json_object_get(entry, "error"));
    }
    assert_int_equal(found, 1);
    json_decref(list);
}

static void train_on(const char *name)
{
    char definition[300];
    snprintf(definition, sizeof definition,
             "{\"dataset\":{\"name\":\"%s\"}," NETWORK "," RULE
             ",\"training\":{\"epochs\":1,\"batch\":10}}",
             name);
    json_decref(await_end(&server, submit(&server, definition), "succeeded"));
}

static void test_idx(void **state)
{
    (void)state;
    struct idx idx = good;
    write_idx("good", &idx);
    train_on("good");
    static const struct {
        const char *name, *words;
        struct idx idx;
    } cases[] = {
        {"cut", "truncated", {0x803, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS - 1, COUNT, 0, 0, 0}},
        {"cut-header", "truncated", {0x803, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
        {"cut-gz", "truncated", {0x803, COUNT, SIDE, SIDE, COUNT, 7, COUNT, 1, 0, 0}},
        {"long", "longer", {0x803, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS + 1, COUNT, 0, 0, 0}},
        {"lying",
         "truncated",
         {0x803, 0xFFFFFFFF, 28, 28, 0xFFFFFFFF, COUNT * PIXELS, COUNT, 0, 0, 0}},
        {"overflow",
         "impossible",
         {0x803, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, COUNT, COUNT * PIXELS, COUNT, 0, 0, 0}},
        {"fewer", "labels for", {0x803, COUNT, SIDE, SIDE, 10, COUNT * PIXELS, 10, 0, 0, 0}},
        {"magic", "begin with", {0x903, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS, COUNT, 0, 0, 0}},
        {"empty-set", "no images", {0x803, 0, SIDE, SIDE, 0, 0, 0, 0, 0, 0}},
        {"flat", "pixels", {0x803, COUNT, 0, SIDE, COUNT, 0, COUNT, 0, 0, 0}},
        {"no-labels",
         "is missing",
         {0x803, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS, COUNT, 0, 1, 0}},
        {"no-gz", "not gzipped", {0x803, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS, COUNT, 1, 0, 1}},
        /* 96 MiB of zeros in 100 kB, under a limit of 64 MiB; what is in it is as declared. */
        {"bomb", "the limit is", {0x803, 6 << 20, SIDE, SIDE, 6 << 20, 6u << 24, 6 << 20, 1, 0, 0}},
        /* as much again behind what is declared */
        {"tail", "longer", {0x803, COUNT, SIDE, SIDE, COUNT, 6u << 24, COUNT, 1, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_idx(cases[i].name, &cases[i].idx);
        if (strcmp(cases[i].name, "cut-header") == 0) {
            char path[256];
            snprintf(path, sizeof path, "%s/cut-header/train-images-idx3-ubyte", server.data);
            assert_int_equal(truncate(path, 7), 0);
        }
        check_bad_dataset(cases[i].name, cases[i].words);
    }
    char path[256];
    idx = good;
    write_idx("empty", &idx);
    snprintf(path, sizeof path, "%s/empty/train-images-idx3-ubyte", server.data);
    file_write(path, "", 0);
    check_bad_dataset("empty", "empty");
    check_alive(&server);
    train_on("good");
}

static void test_npz(void **state)
{
    (void)state;
    float x[COUNT * 2] = {0}, nan[COUNT * 2] = {0};
    int64_t t[COUNT], negative[COUNT];
    char path[256];
    for (int i = 0; i < COUNT; i++) {
        x[2 * i] = (float)(i % 3);
        t[i] = negative[i] = i % 3;
    }
    nan[17] = __builtin_nanf("");
    negative[4] = -1;
    const struct npy xs = {.name = "x",
                           .type = NPY_F4,
                           .rank = 2,
                           .shape = {COUNT, 2},
                           .n = COUNT * 2,
                           .data = x},
                     ts = {.name = "t",
                           .type = NPY_I8,
                           .rank = 1,
                           .shape = {COUNT},
                           .n = COUNT,
                           .data = t};
    struct npy bad_x = xs, bad_t = ts, short_t = ts, named = ts;
    bad_x.data = nan;
    bad_t.data = negative;
    short_t.n = short_t.shape[0] = COUNT - 1;
    strcpy(named.name, "y");
    const struct {
        const char *name, *words;
        struct npy x, t;
    } cases[] = {{"good-npz", NULL, xs, ts},
                 {"nan", "not a finite", bad_x, ts},
                 {"negative", "label -1", xs, bad_t},
                 {"short", "examples", xs, short_t},
                 {"unnamed", "array t is missing", xs, named}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct npy arrays[] = {cases[i].x, cases[i].t};
        snprintf(path, sizeof path, "%s/%s.npz", server.data, cases[i].name);
        assert_int_equal(npz_write(arrays, 2, path, NULL), TET_OK);
        if (cases[i].words != NULL)
            check_bad_dataset(cases[i].name, cases[i].words);
        else
            train_on(cases[i].name);
    }
    snprintf(path, sizeof path, "%s/noise.npz", server.data);
    file_write(path, "PK\x03\x04 not really", 15);
    check_bad_dataset("noise", "noise.npz");
    snprintf(path, sizeof path, "%s/hollow.npz", server.data);
    file_write(path, "", 0);
    check_bad_dataset("hollow", "hollow.npz");
    snprintf(path, sizeof path, "%s/good-npz.npz", server.data);
    assert_int_equal(truncate(path, 300), 0);
    check_bad_dataset("good-npz", "good-npz.npz"); // it was good when it was read before
    check_alive(&server);
}

static bool is_paused(const json_t *run)
{
    return strcmp(text(run, "state"), "paused") == 0;
}

/* A dataset that goes bad after the submission pauses its run, and no other. */
static void test_dataset_vanishes(void **state)
{
    (void)state;
    char path[256];
    const struct idx idx = good;
    write_idx("fleeting", &idx);
    const json_int_t long_run = submit(&server, "{" DATASET "," NETWORK "," RULE
                                                ",\"training\":{\"epochs\":100000,\"batch\":1}}");
    const json_int_t doomed =
        submit(&server, "{\"dataset\":{\"name\":\"fleeting\"}," NETWORK "," RULE
                        ",\"training\":{\"epochs\":1,\"batch\":10}}");
    snprintf(path, sizeof path, "%s/fleeting/train-labels-idx1-ubyte", server.data);
    assert_int_equal(truncate(path, 20), 0);
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", long_run);
    json_decref(ask(&server, "POST", path, NULL, 200));
    json_t *run = daemon_wait(&server, doomed, is_paused);
    assert_non_null(strstr(text(run, "reason"), "truncated"));
    json_decref(run);
    check_alive(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_sweep_too_large),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_npz),
        cmocka_unit_test(test_dataset_vanishes),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
