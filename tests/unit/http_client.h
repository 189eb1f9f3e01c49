// SPDX-License-Identifier: Apache-2.0
/*
 * A small HTTP client over raw sockets for tests: says exactly what it is told to, byte by byte.
 *
 * Every wait for the server has a limit of CLIENT_TIMEOUT_S, after which the test fails. Each test
 * thread uses connections of its own.
 */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CLIENT_TIMEOUT_S = 30, ANSWER_BYTES = 65536 };

struct answer {
    int status;  // 0: the connection ended without an answer
    bool closed; // the connection ended right after it
    char head[4096];
    char body[ANSWER_BYTES];
    size_t size; // of body
};

static inline int client_open(uint16_t port)
{
    struct timeval limit = {.tv_sec = CLIENT_TIMEOUT_S};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static inline bool client_send_bytes(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

__attribute__((format(printf, 2, 3))) static inline bool client_send(int fd, const char *format,
                                                                     ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    bool sent = n >= 0 && client_send_bytes(fd, text, (size_t)n);
    if (n >= 0)
        free(text);
    return sent;
}

/* The value of a header of the answer in `value`, "" where it is absent. */
static inline const char *answer_header(const struct answer *answer, const char *name,
                                        char value[256])
{
    size_t n = strlen(name);
    value[0] = '\0';
    for (const char *line = strstr(answer->head, "\r\n"); line != NULL;
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *from = line + 3 + n + strspn(line + 3 + n, " ");
            snprintf(value, 256, "%.*s", (int)strcspn(from, "\r"), from);
        }
    }
    return value;
}

/* Reads one answer, without its body if `head` (or 1xx, 204, 304). The head is read byte by byte,
 * so that nothing of a pipelined next answer is taken. Reports a bad answer as status -1. */
static inline void client_read(int fd, bool head, struct answer *answer)
{
    size_t n = 0;
    char value[256];
    answer->status = 0;
    answer->size = 0;
    answer->head[0] = answer->body[0] = '\0';
    while (n + 1 < sizeof answer->head && (n < 4 || memcmp(answer->head + n - 4, "\r\n\r\n", 4) != 0)) {
        ssize_t got = recv(fd, answer->head + n, 1, 0);
        if (got <= 0) {
            answer->status = n == 0 && (got == 0 || errno == ECONNRESET) ? 0 : -1;
            return;
        }
        answer->head[++n] = '\0';
    }
    if (sscanf(answer->head, "HTTP/1.1 %d ", &answer->status) != 1)
        answer->status = -1;
    size_t size = (size_t)strtoull(answer_header(answer, "Content-Length", value), NULL, 10);
    if (head || answer->status < 200 || answer->status == 204 || answer->status == 304)
        return;
    if (size >= ANSWER_BYTES || value[0] == '\0') {
        answer->status = -1;
        return;
    }
    while (answer->size < size) {
        ssize_t got = recv(fd, answer->body + answer->size, size - answer->size, 0);
        if (got <= 0) {
            answer->status = -1;
            return;
        }
        answer->size += (size_t)got;
    }
    answer->body[size] = '\0';
}

/* Whether the server ends the connection, with nothing more said. */
static inline bool client_ended(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

#endif
