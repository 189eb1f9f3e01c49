// SPDX-License-Identifier: Apache-2.0
/*
 * The dashboard as the real server sends it: its page, the files that the page names, and nothing
 * else. Every reply is held against openapi.json.
 */
#include "api/contract.h"

#include <zlib.h>

#include "web.h"

enum { FIRST_LOAD = 300 * 1024 }; // bytes

static int start(void **state)
{
    (void)state;
    return server_start("1", NULL);
}

static void path_of(const struct web_asset *asset, char path[128])
{
    const bool page = strcmp(asset->name, "index.html") == 0;
    snprintf(path, 128, page ? "/" : "/assets/%s", asset->name);
}

/* What a gzip stream holds; the caller frees. */
static char *unpacked(const struct reply *reply, size_t size)
{
    char *bytes = calloc(1, size + 1);
    z_stream z = {.next_in = (unsigned char *)reply->body,
                  .avail_in = (uInt)reply->size,
                  .next_out = (unsigned char *)bytes,
                  .avail_out = (uInt)size};
    assert_non_null(bytes);
    assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, size);
    assert_int_equal(z.avail_in, 0);
    inflateEnd(&z);
    return bytes;
}

static void fetch(const char *path, const char *encoding, long status, struct reply *reply)
{
    char header[128];
    snprintf(header, sizeof header, "Accept-Encoding: %s", encoding);
    ask_with(&server, "GET", path, NULL, (const char *const[]){header, NULL}, reply);
    expect(reply, status);
}

/* Every file: the same content with gzip and without, each with a tag of its own. */
static void test_files(void **state)
{
    (void)state;
    char path[128], a[256], b[256];
    struct reply plain, packed;
    for (const struct web_asset *asset = web_assets; asset->name != NULL; asset++) {
        path_of(asset, path);
        fetch(path, "identity", 200, &plain);
        fetch(path, "br, gzip", 200, &packed);
        assert_null(reply_header(&plain, "Content-Encoding", a));
        assert_string_equal(reply_header(&packed, "Content-Encoding", a), "gzip");
        assert_string_equal(reply_header(&plain, "Vary", a), "Accept-Encoding");
        assert_non_null(strstr(reply_header(&plain, "Content-Type", a), asset->type));
        assert_string_not_equal(reply_header(&plain, "ETag", a), reply_header(&packed, "ETag", b));
        assert_int_equal(plain.size, asset->size);
        char *text = unpacked(&packed, asset->size);
        assert_memory_equal(text, plain.body, asset->size);
        free(text);
        reply_free(&plain);
        reply_free(&packed);
    }
}

/* Which codings a request takes (RFC 9110, 12.5.3). */
static void test_encodings(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool gzip;
    } cases[] = {{"gzip", true},
                 {"GZIP", true},
                 {"deflate, gzip;q=0.5", true},
                 {"gzip ; q=1", true},
                 {"*", true},
                 {"br;q=1.0, *;q=0.1", true},
                 {"gzip;q=0", false},
                 {"gzip; q=0.000", false},
                 {"gzip;q=0, *", false},
                 {"*;q=0", false},
                 {"identity", false},
                 {"x-gzip2, gzipped", false},
                 {",,;q=1,", false}};
    char value[256];
    struct reply reply;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fetch("/", cases[i].accept, 200, &reply);
        const bool gzip = reply_header(&reply, "Content-Encoding", value) != NULL;
        if (gzip != cases[i].gzip)
            fail_msg("Accept-Encoding: %s: gzip %d", cases[i].accept, gzip);
        reply_free(&reply);
    }
}

static void test_policy(void **state)
{
    (void)state;
    static const char *const paths[] = {"/", "/assets/app.js", "/assets/pages/run.js"};
    static const char *const wanted[] = {"default-src 'none'", "script-src 'self'",
                                         "style-src 'self'", "frame-ancestors 'none'"};
    static const char *const unwanted[] = {"unsafe", "*", "http:", "https:", "data:"};
    char policy[512];
    struct reply reply;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        fetch(paths[i], "identity", 200, &reply);
        assert_non_null(reply_header(&reply, "Content-Security-Policy", policy));
        for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++)
            assert_non_null(strstr(policy, wanted[k]));
        for (size_t k = 0; k < sizeof unwanted / sizeof *unwanted; k++)
            assert_null(strstr(policy, unwanted[k]));
        assert_string_equal(reply_header(&reply, "X-Content-Type-Options", policy), "nosniff");
        reply_free(&reply);
    }
}

/* The page itself obeys it, and names only files that there are. */
static void test_page(void **state)
{
    (void)state;
    static const char *const inline_code[] = {"<script>", "<style",      "style=", " onclick",
                                              " onload",  "javascript:", "://"};
    struct reply page, file;
    size_t n = 0;
    fetch("/", "identity", 200, &page);
    for (size_t i = 0; i < sizeof inline_code / sizeof *inline_code; i++)
        if (strstr(page.body, inline_code[i]) != NULL)
            fail_msg("the page has %s", inline_code[i]);
    for (const char *at = page.body; (at = strstr(at, "\"/assets/")) != NULL; n++) {
        char path[128] = "";
        at++;
        memcpy(path, at, strcspn(at, "\""));
        fetch(path, "gzip", 200, &file);
        reply_free(&file);
    }
    assert_true(n >= 4);
    reply_free(&page);
}

static void test_tags(void **state)
{
    (void)state;
    char tag[256], header[300];
    struct reply reply;
    fetch("/assets/app.js", "gzip", 200, &reply);
    assert_non_null(reply_header(&reply, "ETag", tag));
    assert_string_equal(reply_header(&reply, "Cache-Control", header), "no-cache");
    reply_free(&reply);
    snprintf(header, sizeof header, "If-None-Match: \"other\", %s", tag);
    const char *const again[] = {"Accept-Encoding: gzip", header, NULL};
    ask_with(&server, "GET", "/assets/app.js", NULL, again, &reply);
    expect(&reply, 304);
    assert_int_equal(reply.size, 0);
    reply_free(&reply);
    ask_with(&server, "GET", "/assets/app.js", NULL,
             (const char *const[]){"Accept-Encoding: identity", header, NULL}, &reply);
    expect(&reply, 200); // the tag is of the other form
    reply_free(&reply);
}

static void test_head(void **state)
{
    (void)state;
    char value[256];
    struct reply head, whole;
    const char *const gzip[] = {"Accept-Encoding: gzip", NULL};
    ask_with(&server, "HEAD", "/assets/app.css", NULL, gzip, &head);
    ask_with(&server, "GET", "/assets/app.css", NULL, gzip, &whole);
    expect(&head, 200);
    assert_int_equal(head.size, 0);
    assert_int_equal((size_t)atol(reply_header(&head, "Content-Length", value)), whole.size);
    assert_string_equal(reply_header(&head, "Content-Encoding", value), "gzip");
    reply_free(&head);
    reply_free(&whole);
}

/* Names are looked up in a table: whatever is not there is not there, however it is written. */
static void test_strange_names(void **state)
{
    (void)state;
    static const char *const names[] = {"/assets/nothing.js",
                                        "/assets/",
                                        "/assets",
                                        "/assets/pages",
                                        "/assets/pages/",
                                        "/assets/pages%2Frun.js",
                                        "/assets/pages/..%2Fapp.js",
                                        "/assets/..%2Findex.html",
                                        "/assets/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
                                        "/assets/../assets/app.js",
                                        "/assets/pages/../app.js",
                                        "/assets/app.js%20",
                                        "/assets/app.js.gz",
                                        "/assets/APP.JS",
                                        "/assets/pages/pages/run.js",
                                        "/assets/run.js",
                                        "/index.html"};
    char path[600] = "/assets/";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *error = get(&server, 404, "%s", names[i]);
        assert_string_equal(text(json_object_get(error, "error"), "code"), "not_found");
        json_decref(error);
    }
    memset(path + strlen(path), 'a', 500);
    json_decref(ask(&server, "GET", path, NULL, 404));
    json_decref(ask(&server, "GET", "/assets/app.js?v=1", NULL, 400));
    json_decref(ask(&server, "GET", "/?next=//example.org", NULL, 400));
    json_decref(ask(&server, "GET", "/assets/app%00.js", NULL, 400));
    json_decref(ask(&server, "POST", "/assets/app.js", "{}", 405));
}

/* The names of the files that a page loads first, each once. */
struct load {
    char names[64][64];
    size_t n;
};

static void add(struct load *load, const char *name, size_t length)
{
    assert_true(length < sizeof load->names[0] && load->n < 64);
    for (size_t i = 0; i < load->n; i++)
        if (strncmp(load->names[i], name, length) == 0 && load->names[i][length] == '\0')
            return;
    memcpy(load->names[load->n++], name, length);
}

/* What a text names: "/assets/NAME", and from "./NAME" or "../NAME", as its modules import. No
 * module of pages/ imports another of them. */
static void add_named(struct load *load, const char *content)
{
    for (const char *at = content; (at = strstr(at, "\"/assets/")) != NULL;) {
        at += strlen("\"/assets/");
        add(load, at, strcspn(at, "\""));
    }
    for (const char *at = content; (at = strstr(at, "from \".")) != NULL;) {
        at += strlen("from \".");
        at += strspn(at, "./");
        add(load, at, strcspn(at, "\""));
    }
}

/* What / needs until the list of experiments is there: what is sent, and, without gzip, what
 * would be. */
static void test_first_load(void **state)
{
    (void)state;
    static struct load load;
    struct reply plain, packed;
    size_t sent = 0, whole = 0;
    char path[128] = "/";
    add(&load, "", 0);
    add(&load, "pages/experiments.js", strlen("pages/experiments.js"));
    for (size_t i = 0; i < load.n; i++) {
        if (i > 0)
            snprintf(path, sizeof path, "/assets/%s", load.names[i]);
        fetch(path, "identity", 200, &plain);
        fetch(path, "gzip", 200, &packed);
        add_named(&load, plain.body);
        sent += packed.size;
        whole += plain.size;
        reply_free(&plain);
        reply_free(&packed);
    }
    print_message("# first load: %zu files, %zu bytes, uncompressed %zu\n", load.n, sent, whole);
    assert_true(load.n >= 10); // the frame's modules were found
    assert_true(sent < FIRST_LOAD && whole < FIRST_LOAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),         cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_policy),        cmocka_unit_test(test_page),
        cmocka_unit_test(test_tags),          cmocka_unit_test(test_head),
        cmocka_unit_test(test_strange_names), cmocka_unit_test(test_first_load)};
    return cmocka_run_group_tests(tests, start, server_stop);
}
