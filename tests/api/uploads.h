// SPDX-License-Identifier: Apache-2.0
/*
 * For the tests of uploads: one upload in each form, and what is left in the files folder.
 */
#ifndef TESTS_UPLOADS_H
#define TESTS_UPLOADS_H

#include "api/contract.h"

#include <dirent.h>
#include <zlib.h>

#include "data/npz.h"

#define TRAIN                                                                                      \
    "\"network\":{\"layers\":[{\"units\":4}]},\"rule\":{\"name\":\"bp\"},\"training\":{\"batch\":" \
    "2,"                                                                                           \
    "\"epochs\":"

static const char table[] = "a,label,b\n0.5,0,1\n1,2,2\n-1e-3,1,\"3\"\n4,1,5\n0,0,0\n";

static inline int start(void **state)
{
    (void)state;
    return server_start("1", "512M");
}

/* ---- helpers ---- */

/* One upload; the reply's JSON, which the caller frees. */
static inline json_t *put(const char *path, const char *type, const void *bytes, size_t size,
                          long status)
{
    char header[200];
    struct reply reply;
    snprintf(header, sizeof header, "Content-Type: %s", type);
    request(&server, "PUT", path, bytes, size, (const char *const[]){header, NULL}, &reply);
    contract_check("PUT", path, &reply);
    expect(&reply, status);
    json_t *json = json_incref(reply.json);
    reply_free(&reply);
    return json;
}

static inline void put_csv(const char *path, const char *text, long status)
{
    json_decref(put(path, "text/csv", text, strlen(text), status));
}

static inline void delete (const char *name, long status)
{
    char path[256];
    snprintf(path, sizeof path, "/v1/datasets/%s", name);
    json_decref(ask(&server, "DELETE", path, NULL, status));
}

static inline int count_in(const char *folder)
{
    char path[200];
    int n = 0;
    snprintf(path, sizeof path, "%s.files/%s", server.db, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static inline void check_left(int contents)
{
    for (int tries = 0; tries < 2000 && count_in("incoming") > 0; tries++)
        usleep(1000); // a cut connection is noticed soon, not at once
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("datasets"), contents);
}

struct form {
    char *bytes;
    size_t size;
};

static inline void form_add(struct form *f, const char *field, const char *file, const void *bytes,
                            size_t size)
{
    char head[300];
    const int n = snprintf(head, sizeof head,
                           "--XX\r\nContent-Disposition: form-data; name=\"%s\"; "
                           "filename=\"%s\"\r\n\r\n",
                           field, file);
    f->bytes = realloc(f->bytes, f->size + (size_t)n + size + 16);
    assert_non_null(f->bytes);
    memcpy(f->bytes + f->size, head, (size_t)n);
    memcpy(f->bytes + f->size + n, bytes, size);
    memcpy(f->bytes + f->size + n + size, "\r\n", 2);
    f->size += (size_t)n + size + 2;
}

static inline json_t *form_put(struct form *f, const char *path, long status)
{
    memcpy(f->bytes + f->size, "--XX--\r\n", 9);
    json_t *json = put(path, "multipart/form-data; boundary=XX", f->bytes, f->size + 8, status);
    free(f->bytes);
    *f = (struct form){0};
    return json;
}

/* Six images of 2 x 3, in three classes. */
enum { IMAGES = 6, ROWS = 2, COLUMNS = 3 };

static inline void make_images(uint8_t x[IMAGES * ROWS * COLUMNS], int32_t t[IMAGES])
{
    for (int i = 0; i < IMAGES * ROWS * COLUMNS; i++)
        x[i] = (uint8_t)(i * 7);
    for (int i = 0; i < IMAGES; i++)
        t[i] = i % 3;
}

static inline void make_npz(void **bytes, size_t *size)
{
    uint8_t x[IMAGES * ROWS * COLUMNS];
    int32_t t[IMAGES];
    make_images(x, t);
    const struct npy arrays[] = {
        {.name = "x",
         .type = NPY_U1,
         .rank = 3,
         .shape = {IMAGES, ROWS, COLUMNS},
         .n = sizeof x,
         .data = x},
        {.name = "t", .type = NPY_I4, .rank = 1, .shape = {IMAGES}, .n = IMAGES, .data = t},
    };
    assert_int_equal(npz_write_memory(arrays, 2, bytes, size, NULL), TET_OK);
}

#endif
