// SPDX-License-Identifier: Apache-2.0
/*
 * The harness of the tests that need the real program: starts and stops it, runs its commands, and
 * speaks HTTP to it.
 *
 * The program is what the environment variable TETRAD names, else build/tetrad. Every wait has a
 * bound, after which the test fails. Whatever a test leaves running dies with the test program.
 */
#ifndef TESTS_DAEMON_H
#define TESTS_DAEMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    START_MS = 60000, // until the first line of output, under any sanitizer
    STOP_MS = 10000,  // from SIGTERM to the end: what the program promises
    COMMAND_MS = 120000,
    REPLY_S = 60,
    WAIT_TRIES = 40000, // of WAIT_NS each
    WAIT_NS = 5000000,
    ARGUMENTS = 24
};

/* How long a run goes on that has to be met in its middle, and then to end: ThreadSanitizer makes a step
 * ten times as long. */
#ifdef __SANITIZE_THREAD__
#define LASTING(usual, thread) thread
#else
#define LASTING(usual, thread) usual
#endif

struct daemon {
    char folder[64]; // made by mkdtemp; "" before
    char data[96], db[96];
    pid_t pid; // 0: not running
    uint16_t port;
};

/* ---- files ---- */

static inline void file_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "we");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        fail_msg("%s: %s", path, strerror(errno));
}

/* A new text, also of a file that is not there (""); the caller frees. */
static inline char *file_text(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    if (file != NULL) {
        text[fread(text, 1, (1 << 16) - 1, file)] = '\0';
        fclose(file);
    }
    return text;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* ---- processes ---- */

static inline const char *program(void)
{
    const char *path = getenv("TETRAD");
    return path != NULL && *path != '\0' ? path : "build/tetrad";
}

/* Starts the program; *out is the pipe of its standard output; its errors go to the file. */
static inline pid_t spawn(const char *const *arguments, const char *errors, int *out)
{
    int pipes[2];
    char *argv[ARGUMENTS + 2] = {(char *)(uintptr_t)program()};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        assert_true(i < ARGUMENTS);
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    }
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    const pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int err = open(errors, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || dup2(in, 0) < 0 || dup2(pipes[1], 1) < 0 || dup2(err, 2) < 0)
            _exit(126);
        execv(argv[0], argv);
        _exit(127);
    }
    close(pipes[1]);
    *out = pipes[0];
    return pid;
}

/* Waits for the end; its status, or -1 where it does not end in time (it is then killed). */
static inline int reap(pid_t pid, int timeout_ms)
{
    const int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd end = {.fd = fd, .events = POLLIN};
    const bool ended = fd >= 0 && poll(&end, 1, timeout_ms) == 1;
    int status = 0;
    if (!ended)
        kill(pid, SIGKILL);
    if (fd >= 0)
        close(fd);
    waitpid(pid, &status, 0);
    return !ended ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Reads until `end` (EOF: until the pipe's end) or until nothing comes for a while. */
static inline void read_output(int fd, int end, char *text, size_t size)
{
    size_t n = 0;
    struct pollfd more = {.fd = fd, .events = POLLIN};
    char c;
    while (poll(&more, 1, START_MS) == 1 && read(fd, &c, 1) == 1) {
        if (n + 1 < size)
            text[n++] = c;
        if (c == end)
            break;
    }
    text[n] = '\0';
}

/* Runs a command of the program to its end. */
struct ended {
    int status;
    char out[8192], err[8192];
};

static inline void run_program(const struct daemon *d, struct ended *ended,
                               const char *const *arguments)
{
    char errors[128];
    int out;
    snprintf(errors, sizeof errors, "%s/command.err", d->folder);
    const pid_t pid = spawn(arguments, errors, &out);
    read_output(out, EOF, ended->out, sizeof ended->out);
    ended->status = reap(pid, COMMAND_MS);
    close(out);
    char *text = file_text(errors);
    snprintf(ended->err, sizeof ended->err, "%s", text);
    free(text);
}

/* ---- the server ---- */

static inline void daemon_folder(struct daemon *d)
{
    *d = (struct daemon){.folder = "/tmp/tetrad-test-XXXXXX"};
    if (mkdtemp(d->folder) == NULL)
        fail_msg("%s: %s", d->folder, strerror(errno));
    snprintf(d->data, sizeof d->data, "%s/data", d->folder);
    snprintf(d->db, sizeof d->db, "%s/t.db", d->folder);
    assert_int_equal(mkdir(d->data, 0700), 0);
}

/* Starts the server on a free port with more arguments (NULL-terminated). The port is in its first
 * line. */
static inline void daemon_start_with(struct daemon *d, const char *const *more)
{
    char errors[128], line[512];
    int out;
    const char *arguments[ARGUMENTS + 1] = {"serve", "--db",     d->db,         "--data",
                                            d->data, "--listen", "127.0.0.1:0", NULL};
    for (size_t n = 7; *more != NULL && n < ARGUMENTS; n++)
        arguments[n] = *more++;
    snprintf(errors, sizeof errors, "%s/serve.err", d->folder);
    d->pid = spawn(arguments, errors, &out);
    read_output(out, '\n', line, sizeof line);
    close(out);
    const char *url = strstr(line, "://127.0.0.1:");
    d->port = url != NULL ? (uint16_t)atoi(url + strlen("://127.0.0.1:")) : 0;
    if (d->port == 0) {
        char *text = file_text(errors);
        print_message("# %s does not start: \"%s\" %s\n", program(), line, text);
        free(text);
        reap(d->pid, 0);
        d->pid = 0;
        fail_msg("no server");
    }
}

/* `memory` may be NULL. */
static inline void daemon_start(struct daemon *d, const char *workers, const char *memory)
{
    daemon_start_with(d, (const char *const[]){"--workers", workers,
                                               memory != NULL ? "--memory" : NULL, memory, NULL});
}

/* SIGTERM: ends in time with status 0, and neither it nor a sanitizer had anything to say. */
static inline void daemon_stop(struct daemon *d)
{
    char errors[128];
    if (d->pid == 0)
        return;
    kill(d->pid, SIGTERM);
    const int status = reap(d->pid, STOP_MS);
    d->pid = 0;
    snprintf(errors, sizeof errors, "%s/serve.err", d->folder);
    char *text = file_text(errors);
    if (status != 0 || *text != '\0')
        print_message("# the server's errors: %s\n", text);
    assert_string_equal(text, "");
    assert_int_equal(status, 0);
    free(text);
}

static inline void daemon_remove(struct daemon *d)
{
    if (d->pid != 0) { // left by a test that failed
        kill(d->pid, SIGKILL);
        reap(d->pid, STOP_MS);
        d->pid = 0;
    }
    if (d->folder[0] != '\0')
        nftw(d->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    d->folder[0] = '\0';
}

/* ---- HTTP ---- */

struct reply {
    long status;
    char head[4096]; // header lines
    char *body;      // terminated
    size_t size;
    json_t *json; // NULL: the body is not JSON
};

static inline void reply_free(struct reply *reply)
{
    json_decref(reply->json);
    free(reply->body);
    *reply = (struct reply){0};
}

static inline size_t keep_body(char *bytes, size_t one, size_t n, void *context)
{
    struct reply *reply = context;
    char *grown = realloc(reply->body, reply->size + n + 1);
    if (grown == NULL)
        return 0;
    reply->body = grown;
    memcpy(grown + reply->size, bytes, n);
    reply->size += n;
    grown[reply->size] = '\0';
    return one * n;
}

static inline size_t keep_head(char *bytes, size_t one, size_t n, void *context)
{
    struct reply *reply = context;
    const size_t used = strlen(reply->head);
    if (strncmp(bytes, "HTTP/", 5) == 0)
        reply->head[0] = '\0';
    else if (used + n < sizeof reply->head)
        snprintf(reply->head + used, sizeof reply->head - used, "%.*s", (int)n, bytes);
    return one * n;
}

/* The value of a header in `value`; NULL where it is absent. */
static inline const char *reply_header(const struct reply *reply, const char *name, char value[256])
{
    const size_t n = strlen(name);
    for (const char *line = reply->head; *line != '\0'; line += strcspn(line, "\n") + 1) {
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *from = line + n + 1 + strspn(line + n + 1, " ");
            snprintf(value, 256, "%.*s", (int)strcspn(from, "\r\n"), from);
            return value;
        }
        if (strchr(line, '\n') == NULL)
            break;
    }
    return NULL;
}

/* What requests come from and go to, where it is not the plain server: an address of this machine such as
 * "127.0.0.5", and the certificate to trust, which also makes it https. NULL: as usual. */
static const char *request_from, *request_trust;

/* One request. body NULL: none. headers: NULL-terminated, NULL: none; a JSON Content-Type is added
 * to a body unless one of them is a Content-Type. The caller frees the reply. */
static inline void request(const struct daemon *d, const char *method, const char *path,
                           const char *body, size_t size, const char *const *headers,
                           struct reply *reply)
{
    static CURL *curl; // keeps its connections from one request to the next
    char url[1024], reason[CURL_ERROR_SIZE] = "";
    struct curl_slist *list = NULL;
    bool typed = false;
    if (curl == NULL)
        curl = curl_easy_init();
    assert_non_null(curl);
    curl_easy_reset(curl);
    *reply = (struct reply){0};
    snprintf(url, sizeof url, "%s://127.0.0.1:%u%s", request_trust != NULL ? "https" : "http",
             d->port, path);
    if (request_trust != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, request_trust);
    if (request_from != NULL)
        curl_easy_setopt(curl, CURLOPT_INTERFACE, request_from);
    for (; headers != NULL && *headers != NULL; headers++) {
        typed = typed || strncasecmp(*headers, "Content-Type", 12) == 0;
        list = curl_slist_append(list, *headers);
    }
    if (body != NULL && !typed)
        list = curl_slist_append(list, "Content-Type: application/json");
    list = curl_slist_append(list, "Expect:");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)REPLY_S);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep_head);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (strcmp(method, "POST") == 0 || body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body != NULL ? body : "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    const CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(list);
    if (code != CURLE_OK)
        fail_msg("%s %s: %s", method, path, *reason != '\0' ? reason : curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    if (reply->size > 0)
        reply->json = json_loadb(reply->body, reply->size, JSON_REJECT_DUPLICATES, NULL);
}

static inline void expect(const struct reply *reply, long status)
{
    if (reply->status != status)
        print_message("# the reply: %ld %.2000s\n", reply->status,
                      reply->body != NULL ? reply->body : "");
    assert_int_equal(reply->status, status);
}

/* The server that a program's tests share: a group's set-up starts it, server_stop is the tear-down. */
static struct daemon server;

static inline int server_start(const char *workers, const char *memory)
{
    daemon_folder(&server);
    daemon_start(&server, workers, memory);
    return 0;
}

static inline int server_stop(void **state)
{
    (void)state;
    daemon_stop(&server);
    daemon_remove(&server);
    return 0;
}

#endif
