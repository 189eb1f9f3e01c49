// SPDX-License-Identifier: Apache-2.0
/*
 * Bodies that go into a file: whole, chunked, cut off, too long, too many at once, on a full disk,
 * at the server's end; and what others wait meanwhile.
 */
#include "http/http_private.h"
#include "http_fixture.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum { MOST = 3 << 20, UPLOADS = 2, HASTE_MS = 300 };

static char folder[] = "/tmp/tetrad-spool-XXXXXX";

/* What the handler finds in the file, and whether it is the file's own hash. */
static void keep(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    const struct http_file file = http_body_file(request);
    crypto_hash_sha256_state hash;
    unsigned char bytes[4096], digest[crypto_hash_sha256_BYTES];
    char text[65];
    uint64_t size = 0;
    ssize_t n;
    crypto_hash_sha256_init(&hash);
    while ((n = read(file.fd, bytes, sizeof bytes)) > 0) {
        crypto_hash_sha256_update(&hash, bytes, (size_t)n);
        size += (uint64_t)n;
    }
    crypto_hash_sha256_final(&hash, digest);
    sodium_bin2hex(text, sizeof text, digest, sizeof digest);
    http_reply_json(reply, 200,
                    json_pack("{s:I, s:b, s:s}", "size", (json_int_t)size, "same",
                              size == file.size && strcmp(text, file.sha256) == 0, "sha256", text));
}

/* "field/file:size," of each part, and their bytes' sum. */
struct seen {
    char text[1024];
    unsigned long sum;
    size_t size;
};

static bool see(void *context, const char *field, const char *file, uint64_t offset,
                const char *bytes, size_t n)
{
    struct seen *seen = context;
    const size_t used = strlen(seen->text);
    if (offset == 0)
        snprintf(seen->text + used, sizeof seen->text - used, "%s/%s,", field,
                 file != NULL ? file : "");
    for (size_t i = 0; i < n; i++)
        seen->sum += (unsigned char)bytes[i];
    seen->size += n;
    return file == NULL || strcmp(file, "stop") != 0;
}

static void parts(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    struct seen seen = {0};
    struct tet_error error = {0};
    if (http_body_parts(request, see, &seen, &error) != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        http_reply_json(reply, 200,
                        json_pack("{s:s, s:I, s:I}", "parts", seen.text, "sum",
                                  (json_int_t)seen.sum, "size", (json_int_t)seen.size));
}

static const struct http_route spool_routes[] = {
    {ROLE_VIEWER, "GET", "/healthz", health, HTTP_INLINE, NULL},
    {ROLE_VIEWER, "PUT", "/keep", keep, HTTP_SPOOLED, "text/csv, application/zip"},
    {ROLE_VIEWER, "PUT", "/parts", parts, HTTP_SPOOLED, "multipart/form-data"},
    {ROLE_ADMIN, "PUT", "/admin", keep, HTTP_SPOOLED, "text/csv"},
    {ROLE_VIEWER, NULL, NULL, NULL, HTTP_INLINE, NULL},
};

static enum tet_err viewer(void *context, const struct http_request *request,
                           struct identity *identity, struct tet_error *error)
{
    (void)context, (void)request, (void)error;
    *identity = (struct identity){.user = "eve", .role = ROLE_VIEWER};
    return TET_OK;
}

static int start_patient(void **state, uint32_t patience_ms)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tet_error error = {0};
    const struct http_options options = {.listen = "127.0.0.1:0",
                                         .admit = viewer,
                                         .max_body_bytes = BODY,
                                         .spool_folder = folder,
                                         .max_upload_bytes = MOST,
                                         .max_uploads = UPLOADS,
                                         .patience_ms = patience_ms};
    *state = f;
    f->descriptors = count_descriptors();
    if (http_start(&f->server, &options, spool_routes, f, &f->port, &error) == TET_OK)
        return 0;
    print_error("http_start: %s\n", error.message);
    return -1;
}

static int start_spooling(void **state)
{
    return start_patient(state, 0);
}

static int start_hasty(void **state)
{
    return start_patient(state, HASTE_MS);
}

static int count_files(void)
{
    DIR *dir = opendir(folder);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static int stop_spooling(void **state)
{
    struct fixture *f = *state;
    http_stop(f->server);
    const int left = count_descriptors() - f->descriptors, files = count_files();
    if (left != 0 || files != 0)
        print_error("%d descriptors, %d files are left\n", left, files);
    free(f);
    return left != 0 || files != 0;
}

static char *pattern(size_t size)
{
    char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    return bytes;
}

static int begin(struct fixture *f, const char *path, const char *headers)
{
    const int fd = client_open(f->port);
    assert_true(fd >= 0);
    assert_true(client_send(fd, "PUT %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, headers));
    return fd;
}

/* ... of a body of so many bytes, once the server has let it in. */
static int begin_admitted(struct fixture *f, int length)
{
    char headers[128];
    snprintf(headers, sizeof headers,
             "Content-Type: text/csv\r\nContent-Length: %d\r\nExpect: 100-continue\r\n", length);
    const int fd = begin(f, "/keep", headers);
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 100);
    return fd;
}

static int put(struct fixture *f, const char *path, const char *type, const char *bytes,
               size_t size)
{
    char headers[256];
    snprintf(headers, sizeof headers, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, size);
    const int fd = begin(f, path, headers);
    client_send_bytes(fd, bytes, size);
    client_read(fd, false, &f->answer);
    close(fd);
    return f->answer.status;
}

static void check_kept(const struct answer *answer, const char *bytes, size_t size)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    char text[65], wanted[128];
    crypto_hash_sha256(digest, (const unsigned char *)bytes, size);
    sodium_bin2hex(text, sizeof text, digest, sizeof digest);
    snprintf(wanted, sizeof wanted, "{\"size\":%zu,\"same\":true,\"sha256\":\"%s\"}\n", size, text);
    assert_string_equal(answer->body, wanted);
}

static void test_whole(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0, 1, 32767, 32768, 65535, 65536, 65537, 1000003, MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *bytes = pattern(sizes[i] + 1);
        assert_int_equal(put(f, "/keep", "text/csv", bytes, sizes[i]), 200);
        check_kept(&f->answer, bytes, sizes[i]);
        free(bytes);
    }
}

static void send_chunks(int fd, const char *bytes, size_t size, size_t chunk)
{
    for (size_t at = 0; at < size; at += chunk) {
        const size_t n = size - at < chunk ? size - at : chunk;
        if (!client_send(fd, "%zx\r\n", n) || !client_send_bytes(fd, bytes + at, n) ||
            !client_send(fd, "\r\n"))
            return;
    }
    client_send(fd, "0\r\n\r\n");
}

static void test_chunked(void **state)
{
    struct fixture *f = *state;
    static const size_t chunks[] = {1009, 40000, 500000};
    const size_t size = 1500001;
    char *bytes = pattern(size);
    for (size_t i = 0; i < 3; i++) {
        const int fd =
            begin(f, "/keep", "Content-Type: application/zip\r\nTransfer-Encoding: chunked\r\n");
        send_chunks(fd, bytes, size, chunks[i]);
        client_read(fd, false, &f->answer);
        assert_int_equal(f->answer.status, 200);
        check_kept(&f->answer, bytes, size);
        close(fd);
    }
    free(bytes);
}

/* A body without an end is refused where it passes the limit, though nobody said its length. */
static void test_too_long(void **state)
{
    struct fixture *f = *state;
    char *bytes = pattern(MOST + 1);
    int fd = begin(f, "/keep", "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n");
    send_chunks(fd, bytes, MOST + 1, 100000);
    client_read(fd, false, &f->answer);
    assert_error(&f->answer, 413, "too_large");
    close(fd);
    /* A length that is too great is refused before a byte of it comes. */
    fd = begin(f, "/keep", "Content-Type: text/csv\r\nContent-Length: 5368709120\r\n");
    client_read(fd, false, &f->answer);
    assert_error(&f->answer, 413, "too_large");
    close(fd);
    free(bytes);
    assert_int_equal(put(f, "/keep", "text/csv", "a", 1), 200);
}

static void test_refused_by_headers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *headers;
        int status;
        const char *code;
    } cases[] = {
        {"/keep", "Content-Type: text/plain\r\nContent-Length: 3000000\r\n", 415,
         "unsupported_media_type"},
        {"/keep", "Content-Type: text/csvx\r\nContent-Length: 3000000\r\n", 415,
         "unsupported_media_type"},
        {"/keep", "Content-Length: 3000000\r\n", 415, "unsupported_media_type"},
        {"/keep", "Content-Type: text/csv\r\n", 411, "length_required"},
        {"/keep", "Content-Type: text/csv\r\nTransfer-Encoding: gzip, chunked\r\n", 411,
         "length_required"},
        {"/keep",
         "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\nContent-Length: 3000000\r\n", 400,
         "bad_request"},
        {"/admin", "Content-Type: text/csv\r\nContent-Length: 3000000\r\n", 403, "forbidden"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int fd = begin(f, cases[i].path, cases[i].headers);
        client_read(fd, false, &f->answer); // without a byte of the body
        assert_error(&f->answer, cases[i].status, cases[i].code);
        close(fd);
    }
}

static void test_digest(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *digest;
        int status;
    } cases[] = {
        {"sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:", 200}, // of "abc"
        {"md5=:AAAA:, sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:", 200},
        {"sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFb0=:", 400},
    };
    for (size_t i = 0; i < 3; i++) {
        char headers[256];
        snprintf(headers, sizeof headers,
                 "Content-Type: text/csv\r\nContent-Length: 3\r\nContent-Digest: %s\r\n",
                 cases[i].digest);
        const int fd = begin(f, "/keep", headers);
        client_send(fd, "abc");
        client_read(fd, false, &f->answer);
        assert_int_equal(f->answer.status, cases[i].status);
        close(fd);
    }
}

/* So many at once, and no more; one that is cut off makes room. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    char *bytes = pattern(200000);
    int fds[UPLOADS];
    for (int i = 0; i < UPLOADS; i++) {
        fds[i] = begin_admitted(f, 200000);
        client_send_bytes(fds[i], bytes, 150000);
    }
    int status = put(f, "/keep", "text/csv", "a", 1);
    assert_int_equal(status, 503);
    assert_header(&f->answer, "Retry-After", "1");
    close(fds[0]);
    for (int tries = 0; tries < 2000 && status != 200; tries++) {
        status = put(f, "/keep", "text/csv", "a", 1);
        usleep(1000);
    }
    assert_int_equal(status, 200);
    client_send_bytes(fds[1], bytes + 150000, 50000);
    client_read(fds[1], false, &f->answer);
    check_kept(&f->answer, bytes, 200000);
    close(fds[1]);
    free(bytes);
}

/* A write that fails as on a full disk: the right answer, and the server goes on. */
static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, small = {200000, RLIM_INFINITY};
    char *bytes = pattern(MOST);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const int status = put(f, "/keep", "text/csv", bytes, MOST);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(status, 503);
    assert_error(&f->answer, 503, "storage_full");
    assert_has(&f->answer, "the disk is full");
    assert_int_equal(put(f, "/keep", "text/csv", bytes, MOST), 200);
    free(bytes);
}

static void test_parts(void **state)
{
    struct fixture *f = *state;
    static const char type[] = "multipart/form-data; boundary=xyz";
    static const char form[] =
        "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\1\2\r\n"
        "--xyz\r\nContent-Disposition: form-data; name=\"b\"; filename=\"f.csv\"\r\n"
        "Content-Type: text/csv\r\n\r\n\3\r\n--xyz--\r\n";
    assert_int_equal(put(f, "/parts", type, form, strlen(form)), 200);
    assert_string_equal(f->answer.body, "{\"parts\":\"a/,b/f.csv,\",\"sum\":6,\"size\":3}\n");
    /* Cut off, without a boundary, and no such body at all. */
    assert_int_equal(put(f, "/parts", type, form, strlen(form) - 12), 400);
    assert_int_equal(put(f, "/parts", "multipart/form-data", form, strlen(form)), 400);
    assert_int_equal(put(f, "/parts", type, "nothing", 7), 400);
    /* A part of more than one buffer. */
    const size_t size = 500000;
    char *bytes = malloc(size + 300);
    const int head = sprintf(
        bytes, "--xyz\r\nContent-Disposition: form-data; name=\"b\"; filename=\"f\"\r\n\r\n");
    memset(bytes + head, 1, size);
    memcpy(bytes + head + size, "\r\n--xyz--\r\n", 11);
    assert_int_equal(put(f, "/parts", type, bytes, (size_t)head + size + 11), 200);
    assert_has(&f->answer, "\"sum\":500000,\"size\":500000");
    free(bytes);
}

/* The end of the server in the middle of an upload: the client is told, nothing hangs. */
static void test_shutdown(void **state)
{
    struct fixture *f = *state;
    char *bytes = pattern(200000);
    const int fd = begin_admitted(f, 3000000), idle = begin_admitted(f, 3000000);
    client_send_bytes(fd, bytes, 200000);
    http_drain(f->server, 0);
    client_send_bytes(fd, bytes, 1000);
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 503);
    close(fd);
    http_stop(f->server);
    assert_true(client_ended(idle));
    close(idle);
    free(bytes);
    struct tet_error error = {0};
    const struct http_options options = {.listen = "127.0.0.1:0"};
    assert_int_equal(http_start(&f->server, &options, spool_routes, f, &f->port, &error), TET_OK);
}

/* ---- slow senders ---- */

/* Sends pieces of so many bytes, ten in each HASTE_MS, until the server ends it or `pieces` are sent; how many. */
static int drip(int fd, size_t piece, int pieces)
{
    char *bytes = pattern(piece);
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    int sent = 0;
    while (sent < pieces && poll(&answer, 1, HASTE_MS / 10) == 0) {
        client_send_bytes(fd, bytes, piece);
        sent++;
    }
    free(bytes);
    return sent;
}

/* 1 KiB/s is enough for a definition; whoever holds one of few places for uploads has to be faster. */
static void test_slow(void **state)
{
    struct fixture *f = *state;
    const size_t piece = (size_t)UPLOAD_RATE * HASTE_MS / 10000;
    int fds[UPLOADS];
    for (int i = 0; i < UPLOADS; i++)
        fds[i] = begin_admitted(f, MOST);
    for (int i = 0; i < UPLOADS; i++) {
        assert_true(drip(fds[i], piece / 8, 200) < 200);
        client_read(fds[i], false, &f->answer);
        assert_error(&f->answer, 408, "timeout");
        close(fds[i]);
    }
    while (atomic_load(&f->server->spooler.uploads) > 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    /* One that is fast enough takes as long as it takes. */
    const int fd = begin_admitted(f, (int)(60 * 3 * piece));
    assert_int_equal(drip(fd, 3 * piece, 60), 60);
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 200);
    close(fd);
}

/* ---- what others wait ---- */

struct load {
    struct fixture *f;
    atomic_bool stop;
    uint64_t bytes;
};

static void *upload(void *argument)
{
    struct load *load = argument;
    struct fixture *f = calloc(1, sizeof *f);
    char *bytes = pattern(MOST);
    f->port = load->f->port;
    while (!atomic_load(&load->stop))
        if (put(f, "/keep", "text/csv", bytes, MOST) == 200)
            load->bytes += MOST;
    free(bytes);
    free(f);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void test_others(void **state)
{
    enum { ASKED = 400 };
    struct fixture *f = *state;
    struct load load = {.f = f};
    double took[ASKED];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, upload, &load), 0);
    const double begun = now_s();
    const int fd = client_open(f->port);
    for (int i = 0; i < ASKED; i++) {
        const double before = now_s();
        client_send(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client_read(fd, false, &f->answer);
        took[i] = now_s() - before;
        assert_int_equal(f->answer.status, 200);
        usleep(1000);
    }
    const double all = now_s() - begun;
    atomic_store(&load.stop, true);
    pthread_join(thread, NULL);
    close(fd);
    qsort(took, ASKED, sizeof *took, compare);
    print_message("# healthz beside an upload of %.0f MB/s: median %.2f ms, p99 %.2f ms\n",
                  (double)load.bytes / all / 1e6, took[ASKED / 2] * 1e3,
                  took[ASKED * 99 / 100] * 1e3);
    /* The machine that tests may be busy; a wait for the disk would be the median's too. */
    assert_true(took[ASKED / 2] < 0.02);
    assert_true(load.bytes > 0);
}

#define SPOOL(name) cmocka_unit_test_setup_teardown(name, start_spooling, stop_spooling)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL(test_whole),
        SPOOL(test_chunked),
        SPOOL(test_too_long),
        SPOOL(test_refused_by_headers),
        SPOOL(test_digest),
        SPOOL(test_many),
        SPOOL(test_full_disk),
        SPOOL(test_parts),
        SPOOL(test_shutdown),
        SPOOL(test_others),
        cmocka_unit_test_setup_teardown(test_slow, start_hasty, stop_spooling),
    };
    if (mkdtemp(folder) == NULL || sodium_init() < 0)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
