// SPDX-License-Identifier: Apache-2.0
/*
 * Uploading datasets, and deleting uploads.
 *
 * An upload is unpacked where nobody sees it, read as the dataset that it says it is, written anew in
 * the one form that training reads (an .npz archive named by the content's digest), moved to its
 * place, and named in the database. One at a time is read and published: a dataset is held in memory
 * for it, as a run would.
 */
#include "api/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/results.h"
#include "data/csv.h"
#include "data/dataset_digest.h"
#include "data/files.h"
#include "data/folder.h"
#include "data/npz_dataset.h"
#include "data/staged.h"
#include "data/uploaded.h"
#include "store/datasets.h"

struct ingest {
    struct api *api;
    const struct http_request *request;
    const char *name, *label; // label: NULL where it was not given
    double test_fraction;
    char folder[FILES_PATH]; // "": none yet
    char source[64];         // /proc/self/fd/N, as messages may name it
    const char *kind;
    struct tet_dataset dataset;
    char sha256[SHA256_TEXT];
};

/* ---- reading it ---- */

struct visit {
    struct staged *staged;
    struct tet_error *error;
};

static bool see_part(void *context, const char *field, const char *file, uint64_t offset,
                     const char *bytes, size_t size)
{
    struct visit *v = context;
    if (file == NULL) {
        tet_error_set(
            v->error, TET_BAD_REQUEST,
            "the form has a field \"%.40s\" that is no file; parameters go into the query",
            field != NULL ? field : "");
        return false;
    }
    if (offset == 0 && staged_file(v->staged, file, v->error) != TET_OK)
        return false;
    return staged_write(v->staged, bytes, size, v->error) == TET_OK;
}

static enum tet_err read_parts(struct ingest *in, struct staged *staged, struct tet_error *error)
{
    struct tet_error inner = {0};
    struct visit visit = {staged, &inner};
    const enum tet_err err = http_body_parts(in->request, see_part, &visit, error);
    staged_end(staged);
    return err == TET_OK && inner.err != TET_OK
               ? tet_error_set(error, inner.err, "%s", inner.message)
               : err;
}

/* One body, one file. */
static enum tet_err read_single(struct ingest *in, bool csv, struct staged *staged,
                                struct tet_error *error)
{
    const struct http_file file = http_body_file(in->request);
    if (file.size == 0)
        return tet_error_set(error, TET_BAD_DATASET, "the upload is empty");
    snprintf(in->source, sizeof in->source, "/proc/self/fd/%d", file.fd);
    staged->form = csv ? STAGED_CSV : STAGED_NPZ;
    snprintf(csv ? staged->train : staged->npz, sizeof staged->npz, "%s", in->source);
    return TET_OK;
}

/* Paths of this machine are nobody's business: they leave the message. */
static void hide(struct tet_error *error, const char *path, const char *shown)
{
    const size_t n = strlen(path), m = strlen(shown);
    char *at = n > 0 ? strstr(error->message, path) : NULL;
    if (at == NULL || m > n)
        return;
    memcpy(at, shown, m);
    memmove(at + m, at + n, strlen(at + n) + 1);
}

static enum tet_err read_dataset(struct ingest *in, struct tet_error *error)
{
    struct staged staged;
    struct tet_error inner = {0};
    char folder[FILES_PATH + 1];
    const char *type = http_header(in->request, "Content-Type");
    const bool multipart = strncasecmp(type, "multipart/", 10) == 0;
    enum tet_err err = files_stage(in->api->files, in->folder, error);
    if (err != TET_OK)
        return err;
    staged_begin(&staged, in->folder);
    err = multipart ? read_parts(in, &staged, &inner)
                    : read_single(in, strncasecmp(type, "text/csv", 8) == 0, &staged, &inner);
    if (err == TET_OK)
        err = staged_load(&staged, in->label, in->test_fraction, in->api->memory_bytes,
                          &in->dataset, &in->kind, &inner);
    /* Training reads the archive into memory and then what it makes of it: npz_dataset.c. */
    const uint64_t most = in->api->memory_bytes / 2;
    if (err == TET_OK && dataset_bytes(&in->dataset) > most)
        err = tet_error_set(
            &inner, TET_BAD_DATASET, "%llu bytes in memory, at most %llu can be read",
            (unsigned long long)dataset_bytes(&in->dataset), (unsigned long long)most);
    if (err == TET_OK)
        return TET_OK;
    snprintf(folder, sizeof folder, "%s/", in->folder);
    hide(&inner, folder, "");
    hide(&inner, in->folder, "upload");
    hide(&inner, in->source, "upload");
    return tet_error_set(error, err, "%s", inner.message);
}

/* ---- keeping it ---- */

static bool see_digest(void *context, const struct store_dataset *d)
{
    snprintf(context, SHA256_TEXT, "%s", d->sha256);
    return false;
}

/* What can be refused before anything is written; the database has the last word. */
static enum tet_err check_name(struct ingest *in, struct tet_error *error)
{
    bool file = false;
    char sha256[SHA256_TEXT] = "";
    enum tet_err err = catalog_has_file(in->api->catalog, in->name, &file, error);
    if (err == TET_OK && file)
        err = tet_error_set(error, TET_CONFLICT,
                            "%s is a dataset of the server's own; take another name", in->name);
    if (err == TET_OK)
        err = store_datasets_read(in->api->store, in->name, see_digest, sha256, error);
    if (err == TET_OK && in->sha256[0] != '\0' && sha256[0] != '\0' &&
        strcmp(sha256, in->sha256) != 0)
        err = tet_error_set(error, TET_CONFLICT,
                            "%s has another content; delete it first, or take another name",
                            in->name);
    return err;
}

/* The content at its place, with its marker where it was not there before. */
static enum tet_err keep_content(struct ingest *in, bool known, struct tet_error *error)
{
    char staged[FILES_PATH + 16];
    struct files *files = in->api->files;
    if (known)
        return TET_OK;
    snprintf(staged, sizeof staged, "%s/content", in->folder);
    enum tet_err err = npz_dataset_write(&in->dataset, staged, error);
    if (err == TET_OK)
        err = files_mark(files, in->sha256, error);
    if (err == TET_OK)
        err = files_publish(files, staged, in->sha256, error);
    if (err != TET_OK)
        files_withdraw(files, in->sha256);
    return err;
}

/* Under files_lock. */
static enum tet_err publish(struct ingest *in, bool *created, struct tet_error *error)
{
    struct api *api = in->api;
    char path[FILES_PATH];
    struct stat st;
    bool known = false, there = true;
    enum tet_err err = check_name(in, error);
    if (err == TET_OK)
        err = store_dataset_known(api->store, in->sha256, &known, error);
    files_content(api->files, in->sha256, path);
    known = known && stat(path, &st) == 0; // a content that was lost is written again
    if (err == TET_OK)
        err = keep_content(in, known, error);
    if (err != TET_OK)
        return err;
    const struct store_dataset row = {.name = in->name,
                                      .owner = http_identity(in->request)->user,
                                      .kind = in->kind,
                                      .sha256 = in->sha256,
                                      .bytes = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0};
    err = uploaded_put(api->uploaded, in->name, path, in->sha256, error);
    if (err == TET_OK)
        err = store_dataset_put(api->store, &row, created, error);
    if (err != TET_OK)
        uploaded_remove(api->uploaded, in->name); // it was not there: check_name
    if (known)
        return err;
    if (err != TET_OK && store_dataset_known(api->store, in->sha256, &there, NULL) != TET_OK)
        return err; // the marker stays for the next start
    if (err != TET_OK && !there)
        files_withdraw(api->files, in->sha256);
    else
        files_settle(api->files, in->sha256);
    return err;
}

static bool read_query(struct ingest *in, struct http_reply *reply)
{
    struct tet_error error = {0};
    const char *text = http_query(in->request, "test_fraction");
    char *end = NULL;
    in->label = http_query(in->request, "label");
    if (text == NULL)
        return true;
    in->test_fraction = strtod(text, &end);
    const bool number =
        *text != '\0' && *end == '\0' && strspn(text, ".0123456789") == strlen(text);
    if (number && in->test_fraction > 0 && in->test_fraction < 1)
        return true;
    tet_error_set(&error, TET_BAD_REQUEST,
                  "the query parameter 'test_fraction' is bad: allowed: a number between 0 and 1, "
                  "such as 0.2");
    http_reply_error(reply, &error,
                     api_query_fault("test_fraction", text, "a number between 0 and 1"));
    return false;
}

void api_put_dataset(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct ingest in = {.api = context, .request = request, .name = http_part(request, 0)};
    struct tet_error error = {0};
    bool created = false;
    enum tet_err err = TET_OK;
    if (!http_query_only(request, reply, (const char *const[]){"label", "test_fraction", NULL}) ||
        !read_query(&in, reply))
        return;
    if (!folder_name_fits(in.name))
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "a dataset's name has 1 to %d of a-z, A-Z, 0-9, - and _",
                            DATASET_NAME - 1);
    if (err == TET_OK)
        err = check_name(&in, &error);
    files_begin(in.api->files);
    if (err == TET_OK && in.api->stopping)
        err = tet_error_set(&error, TET_BUSY, "the server is stopping");
    if (err == TET_OK)
        err = storage_takes(in.api->storage, STORAGE_FILES, http_body_file(request).size, &error);
    if (err == TET_OK)
        err = read_dataset(&in, &error);
    if (err == TET_OK) {
        dataset_digest(&in.dataset, in.sha256);
        files_lock(in.api->files);
        err = publish(&in, &created, &error);
        if (err == TET_OK) // before anybody can delete it
            api_reply_dataset(in.api, reply, created ? 201 : 200, in.name);
        files_unlock(in.api->files);
    }
    tet_dataset_free(&in.dataset);
    files_unstage(in.folder);
    files_end(in.api->files);
    if (!created)
        http_reply_unchanged(reply);
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
}

/* ---- deleting ---- */

struct found {
    bool there;
    char owner[USER_NAME], sha256[SHA256_TEXT];
};

static bool see_found(void *context, const struct store_dataset *d)
{
    struct found *found = context;
    found->there = true;
    snprintf(found->owner, sizeof found->owner, "%s", d->owner);
    snprintf(found->sha256, sizeof found->sha256, "%s", d->sha256);
    return false;
}

/* Under files_lock. */
static enum tet_err withdraw(struct api *api, const char *name, const struct found *found,
                             struct tet_error *error)
{
    bool last = false, there = true;
    enum tet_err err = files_mark(api->files, found->sha256, error);
    if (err != TET_OK)
        return err;
    err = store_dataset_delete(api->store, name, &last, error);
    if (err == TET_OK)
        uploaded_remove(api->uploaded, name);
    else if (store_dataset_known(api->store, found->sha256, &there, NULL) != TET_OK || !there)
        return err; // the marker stays for the next start
    if (err == TET_OK && last)
        files_withdraw(api->files, found->sha256);
    else
        files_settle(api->files, found->sha256);
    return err;
}

void api_delete_dataset(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    struct found found = {0};
    bool file = false;
    const char *name = http_part(request, 0);
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    files_lock(api->files);
    enum tet_err err = store_datasets_read(api->store, name, see_found, &found, &error);
    if (err == TET_OK && !found.there && folder_name_fits(name))
        err = catalog_has_file(api->catalog, name, &file, &error);
    if (err == TET_OK && file)
        err = tet_error_set(&error, TET_CONFLICT, "%s was not uploaded: it is the server's own",
                            name);
    else if (err == TET_OK && !found.there)
        err = tet_error_set(&error, TET_NOT_FOUND, "there is no dataset of that name");
    if (err == TET_OK && !api_may_change(request, reply, "dataset", found.owner)) {
        files_unlock(api->files);
        return;
    }
    if (err == TET_OK)
        err = withdraw(api, name, &found, &error);
    files_unlock(api->files);
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        http_reply_json(reply, 200, json_pack("{s:s, s:b}", "name", name, "deleted", 1));
}
