// SPDX-License-Identifier: Apache-2.0
/*
 * Spooling: bodies that may be large go into a file without a name, so that nothing is left of one
 * that is cut off, however the server ends.
 *
 * The epoll threads only fill a buffer of SPOOL_BYTES. A write to a disk that is behind makes its
 * caller wait for hundreds of milliseconds, and SHA-256 takes longer than everything else that an
 * epoll thread does; /healthz must not wait for either. So a buffer that cannot take another piece is
 * handed to one thread of this file, with its connection suspended, written and hashed there, and the
 * connection is resumed. The helpers are not used for it: uploads would keep them from others. The
 * client is held up by TCP meanwhile, and memory is one buffer an upload.
 *
 * Threads: spool_admit and spool_take on epoll threads; spool_finish on a helper. `lock` guards the
 * queue and stop.
 */
#include "http/http_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "space.h"

_Static_assert((int)SPOOL_BYTES >= 2 * (int)CONNECTION_BYTES, "a buffer takes at least two pieces");

enum { LOOK_BYTES = 8 << 20 }; // written between two looks at the free space

static enum tet_err disk_error(int reason, struct tet_error *error)
{
    const enum tet_err err = space_error(reason);
    return tet_error_set(error, err, "%s: %s",
                         err == TET_STORAGE_FULL ? "the disk is full" : "the body cannot be kept",
                         strerror(reason));
}

static enum tet_err check_space(const char *folder, uint64_t bytes, struct tet_error *error)
{
    struct space space = {.folder = folder, .what = "the files folder (--files)"};
    return space_check(&space, bytes, error);
}

/* ---- the file ---- */

static enum tet_err open_file(struct spool *spool, const char *folder, struct tet_error *error)
{
    char name[4096];
    spool->fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (spool->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        if (snprintf(name, sizeof name, "%s/upload-XXXXXX", folder) >= (int)sizeof name)
            return disk_error(ENAMETOOLONG, error);
        spool->fd = mkostemp(name, O_CLOEXEC);
        if (spool->fd >= 0)
            (void)unlink(name);
    }
    if (spool->fd < 0)
        return disk_error(errno, error);
    spool->open = true;
    crypto_hash_sha256_init(&spool->hash);
    return TET_OK;
}

/* Writes what is held. */
static enum tet_err flush(struct spool *spool, const char *folder, struct tet_error *error)
{
    enum tet_err err = spool->open ? TET_OK : open_file(spool, folder, error);
    if (err == TET_OK && spool->size - spool->checked >= LOOK_BYTES) {
        spool->checked = spool->size;
        err = check_space(folder, 0, error);
    }
    for (size_t at = 0; err == TET_OK && at < spool->used;) {
        const ssize_t n = write(spool->fd, spool->buffer + at, spool->used - at);
        if (n < 0 && errno != EINTR)
            err = disk_error(errno, error);
        at += n > 0 ? (size_t)n : 0;
    }
    if (err != TET_OK)
        return err;
    crypto_hash_sha256_update(&spool->hash, spool->buffer, spool->used);
    spool->used = 0;
    return TET_OK;
}

/* ---- the thread ---- */

static struct http_request *take(struct spooler *spooler)
{
    struct http_request *request = spooler->head;
    spooler->head = request->next;
    if (spooler->head == NULL)
        spooler->tail = NULL;
    request->next = NULL;
    return request;
}

static void *work(void *argument)
{
    struct spooler *spooler = argument;
    pthread_mutex_lock(&spooler->lock);
    for (;;) {
        while (spooler->head == NULL && !spooler->stop)
            pthread_cond_wait(&spooler->wake, &spooler->lock);
        if (spooler->head == NULL)
            break;
        struct http_request *request = take(spooler);
        const bool stop = spooler->stop;
        pthread_mutex_unlock(&spooler->lock);
        struct spool *spool = &request->spool;
        const enum tet_err err =
            stop ? tet_error_set(&spool->error, TET_BUSY, "the server is stopping")
                 : flush(spool, spooler->folder, &spool->error);
        (void)err; // it is in spool->error for whoever goes on with the request
        MHD_resume_connection(request->connection);
        pthread_mutex_lock(&spooler->lock);
    }
    pthread_mutex_unlock(&spooler->lock);
    return NULL;
}

enum tet_err spooler_start(struct spooler *spooler, struct tet_error *error)
{
    const int e = pthread_create(&spooler->thread, NULL, work, spooler);
    if (e != 0)
        return tet_error_set(error, TET_INTERNAL, "a thread cannot be started: %s", strerror(e));
    spooler->started = true;
    return TET_OK;
}

void spooler_stop(struct spooler *spooler)
{
    pthread_mutex_lock(&spooler->lock);
    spooler->stop = true;
    pthread_cond_broadcast(&spooler->wake);
    pthread_mutex_unlock(&spooler->lock);
    if (spooler->started)
        pthread_join(spooler->thread, NULL);
    spooler->started = false;
}

/* Suspends the connection and queues the request; TET_BUSY: the spooler stops, nothing happened. */
static enum tet_err submit(struct spooler *spooler, struct http_request *request,
                           struct tet_error *error)
{
    pthread_mutex_lock(&spooler->lock);
    const bool stop = spooler->stop;
    if (!stop) {
        MHD_suspend_connection(request->connection);
        if (spooler->tail != NULL)
            spooler->tail->next = request;
        else
            spooler->head = request;
        spooler->tail = request;
        pthread_cond_signal(&spooler->wake);
    }
    pthread_mutex_unlock(&spooler->lock);
    return stop ? tet_error_set(error, TET_BUSY, "the server is stopping") : TET_OK;
}

/* ---- a request's part ---- */

enum tet_err spool_admit(struct http_request *request, struct tet_error *error)
{
    struct spooler *spooler = &request->server->spooler;
    if (spooler->folder == NULL)
        return tet_error_set(error, TET_INTERNAL, "there is no folder for uploads");
    const enum tet_err err = check_space(spooler->folder, request->body.length, error);
    if (err != TET_OK)
        return err;
    if (atomic_fetch_add(&spooler->uploads, 1) >= spooler->max_uploads) {
        atomic_fetch_sub(&spooler->uploads, 1);
        return tet_error_set(error, TET_BUSY, "%zu uploads are on their way; try again soon",
                             spooler->max_uploads);
    }
    request->spool.counted = true;
    request->spool.buffer = malloc(SPOOL_BYTES);
    return request->spool.buffer != NULL
               ? TET_OK
               : tet_error_set(error, TET_NO_MEMORY, "no memory for the body");
}

enum tet_err spool_take(struct http_request *request, const char *bytes, size_t size, bool *taken,
                        struct tet_error *error)
{
    struct spool *spool = &request->spool;
    struct http_server *server = request->server;
    *taken = true;
    if (spool->error.err != TET_OK)
        return tet_error_set(error, spool->error.err, "%s", spool->error.message);
    if (atomic_load(&server->draining))
        return tet_error_set(error, TET_BUSY, "the server is stopping");
    if (size > server->spooler.max_bytes - spool->size)
        return tet_error_set(error, TET_TOO_LARGE, "the body has more than %llu bytes",
                             (unsigned long long)server->spooler.max_bytes);
    if (size > SPOOL_BYTES)
        return tet_error_set(error, TET_INTERNAL, "a piece of %zu bytes is too long", size);
    *taken = size <= SPOOL_BYTES - spool->used;
    if (!*taken) // libmicrohttpd keeps it; were anything taken, it would go on with the next chunk
        return submit(&server->spooler, request, error);
    memcpy(spool->buffer + spool->used, bytes, size);
    spool->used += size;
    spool->size += size;
    return TET_OK;
}

/* RFC 9530: Content-Digest: sha-256=:BASE64: , perhaps among others, which are not looked at. */
static enum tet_err check_digest(const struct http_request *request, const unsigned char *digest,
                                 struct tet_error *error)
{
    char wanted[64];
    const char *header = http_header(request, "Content-Digest");
    const char *found = header != NULL ? strcasestr(header, "sha-256=:") : NULL;
    if (found == NULL)
        return TET_OK;
    sodium_bin2base64(wanted, sizeof wanted, digest, crypto_hash_sha256_BYTES,
                      sodium_base64_VARIANT_ORIGINAL);
    const size_t n = strlen(wanted);
    found += strlen("sha-256=:");
    if (strncmp(found, wanted, n) == 0 && found[n] == ':')
        return TET_OK;
    return tet_error_set(error, TET_BAD_REQUEST,
                         "the body is not the one that Content-Digest is of");
}

enum tet_err spool_finish(struct http_request *request, struct tet_error *error)
{
    struct spool *spool = &request->spool;
    unsigned char digest[crypto_hash_sha256_BYTES];
    if (spool->error.err != TET_OK)
        return tet_error_set(error, spool->error.err, "%s", spool->error.message);
    enum tet_err err = flush(spool, request->server->spooler.folder, error);
    if (err == TET_OK && lseek(spool->fd, 0, SEEK_SET) != 0)
        err = disk_error(errno, error);
    if (err != TET_OK)
        return err;
    crypto_hash_sha256_final(&spool->hash, digest);
    sodium_bin2hex(spool->sha256, sizeof spool->sha256, digest, sizeof digest);
    return check_digest(request, digest, error);
}

void spool_free(struct http_request *request)
{
    struct spool *spool = &request->spool;
    if (spool->open)
        close(spool->fd);
    free(spool->buffer);
    if (spool->counted)
        atomic_fetch_sub(&request->server->spooler.uploads, 1);
    *spool = (struct spool){0};
}

struct http_file http_body_file(const struct http_request *request)
{
    const struct spool *spool = &request->spool;
    struct http_file file = {.fd = spool->open ? spool->fd : -1, .size = spool->size};
    memcpy(file.sha256, spool->sha256, sizeof file.sha256);
    return file;
}

/* ---- multipart ---- */

struct parts {
    http_part_fn *visit;
    void *context;
    bool stopped;
};

static enum MHD_Result see_part(void *context, enum MHD_ValueKind kind, const char *key,
                                const char *file, const char *type, const char *coding,
                                const char *bytes, uint64_t offset, size_t size)
{
    (void)kind, (void)type, (void)coding;
    struct parts *parts = context;
    if (!parts->stopped && !parts->visit(parts->context, key, file, offset, bytes, size))
        parts->stopped = true;
    return parts->stopped ? MHD_NO : MHD_YES;
}

/* libmicrohttpd is content with a body that is cut off between two pieces: see whether its last
 * boundary is there. */
static bool has_end(const struct http_request *request)
{
    char boundary[80], end[96], tail[512];
    const char *type = http_header(request, "Content-Type");
    const char *at = type != NULL ? strcasestr(type, "boundary=") : NULL;
    if (at == NULL)
        return false;
    at += strlen("boundary=");
    at += *at == '"';
    const size_t n = strcspn(at, "\"; ");
    if (n == 0 || n > 70) // RFC 2046
        return false;
    snprintf(boundary, sizeof boundary, "%.*s", (int)n, at);
    const int length = snprintf(end, sizeof end, "--%s--", boundary);
    const uint64_t size = request->spool.size;
    const ssize_t got = pread(request->spool.fd, tail, sizeof tail,
                              size > sizeof tail ? (off_t)(size - sizeof tail) : 0);
    return got > 0 && memmem(tail, (size_t)got, end, (size_t)length) != NULL;
}

enum tet_err http_body_parts(const struct http_request *request, http_part_fn *visit, void *context,
                             struct tet_error *error)
{
    struct parts parts = {.visit = visit, .context = context};
    char *buffer = malloc(SPOOL_BYTES);
    struct MHD_PostProcessor *reader =
        MHD_create_post_processor(request->connection, SPOOL_BYTES, see_part, &parts);
    enum tet_err err = TET_OK;
    bool whole = reader != NULL && buffer != NULL && has_end(request);
    ssize_t n = whole ? 1 : 0;
    if (buffer == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "no memory for the body");
    while (n > 0 && whole && !parts.stopped) {
        n = read(request->spool.fd, buffer, SPOOL_BYTES);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            err = disk_error(errno, error);
        else if (n > 0)
            whole = MHD_post_process(reader, buffer, (size_t)n) == MHD_YES;
    }
    if (reader != NULL && MHD_destroy_post_processor(reader) != MHD_YES)
        whole = false;
    free(buffer);
    if (err == TET_OK && !whole && !parts.stopped)
        err = tet_error_set(error, TET_BAD_REQUEST,
                            "the body is no multipart/form-data, or it is cut off");
    return err;
}
