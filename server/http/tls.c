// SPDX-License-Identifier: Apache-2.0
/*
 * TLS, by libmicrohttpd with GnuTLS: the certificate and the key are read here, so that what is wrong
 * with a file is said with its name. Called by the thread that starts the server.
 */
#include "http/http_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PEM_MAX = 1 << 20 };

const char tls_priorities[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:"
    "-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:-MAC-ALL:+AEAD:%SERVER_PRECEDENCE";

static enum tet_err read_pem(char **text, const char *option, const char *path, const char *holds,
                             struct tet_error *error)
{
    struct stat status;
    ssize_t n = -1;
    *text = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0) {
        const int e = errno;
        if (fd >= 0)
            close(fd);
        return tet_error_set(error, TET_IO, "--%s %s: %s", option, path, strerror(e));
    }
    if (S_ISREG(status.st_mode) && status.st_size < PEM_MAX) {
        *text = calloc(1, (size_t)status.st_size + 1);
        n = *text != NULL ? read(fd, *text, (size_t)status.st_size) : -1;
    }
    close(fd);
    if (n > 0 && strstr(*text, holds) != NULL)
        return TET_OK;
    free(*text);
    *text = NULL;
    return tet_error_set(error, TET_IO, "--%s %s: is no PEM file with a %s", option, path,
                         strcmp(holds, "PRIVATE KEY") != 0 ? "certificate" : "private key");
}

enum tet_err tls_read(struct tls *tls, const char *certificate, const char *key,
                      struct tet_error *error)
{
    *tls = (struct tls){0};
    if (certificate == NULL && key == NULL)
        return TET_OK;
    if (certificate == NULL || key == NULL)
        return tet_error_set(error, TET_BAD_REQUEST, "--%s also needs --%s",
                             key == NULL ? "tls-cert" : "tls-key",
                             key == NULL ? "tls-key" : "tls-cert");
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return tet_error_set(error, TET_INTERNAL, "this libmicrohttpd was built without TLS");
    enum tet_err err =
        read_pem(&tls->certificate, "tls-cert", certificate, "BEGIN CERTIFICATE", error);
    if (err == TET_OK)
        err = read_pem(&tls->key, "tls-key", key, "PRIVATE KEY", error);
    if (err != TET_OK)
        tls_free(tls);
    return err;
}

void tls_free(struct tls *tls)
{
    if (tls->key != NULL)
        explicit_bzero(tls->key, strlen(tls->key));
    free(tls->key);
    free(tls->certificate);
    *tls = (struct tls){0};
}
