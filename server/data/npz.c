// SPDX-License-Identifier: Apache-2.0
/*
 * Archives of arrays, by libzip. See npz.h.
 *
 * Reading trusts nothing: an entry's stated size must follow from its array's head, may not exceed
 * what the compressed bytes can make, and is read to its end, where libzip compares the checksum.
 * Fortran order is undone while reading, so that no second copy is needed. Any thread; no state.
 */
#include "data/npz.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "data/npy.h"
#include "file.h"
#include "space.h"

enum {
    NPZ_ENTRIES = 4096,   // arrays of an archive, at most
    CHUNK = 1 << 16,      // bytes read at once into a buffer
    DEFLATE_RATIO = 1032, // bytes that one byte of deflate makes, at most
    DOS_1980 = 33         // 1 January 1980, the zip format's first day
};

static enum tet_err bad(struct tet_error *error, const char *name, const char *what)
{
    return tet_error_set(error, TET_BAD_DATASET, "array %s: %s", name, what);
}

/* For what libzip refused: it says so of some allocations that fail, and calls others a bad archive. errno is 0 before
 * the call. */
static enum tet_err refused(struct tet_error *error, const char *name, const zip_error_t *why)
{
    if (errno == ENOMEM || zip_error_code_zip(why) == ZIP_ER_MEMORY)
        return tet_error_set(error, TET_NO_MEMORY, "array %s: out of memory", name);
    return bad(error, name, zip_error_strerror((zip_error_t *)(uintptr_t)why));
}

void npz_free(struct npz *npz)
{
    if (!npz)
        return;
    for (size_t i = 0; i < npz->n; i++)
        free(npz->arrays[i].data);
    free(npz->arrays);
    *npz = (struct npz){0};
}

const struct npy *npz_find(const struct npz *npz, const char *name)
{
    for (size_t i = 0; i < npz->n; i++)
        if (strcmp(npz->arrays[i].name, name) == 0)
            return &npz->arrays[i];
    return NULL;
}

/* Opens a regular file without waiting on pipes; *size is the file's. */
static enum tet_err open_archive(zip_t **zip, const char *path, uint64_t *size,
                                 struct tet_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tet_error_set(error, errno == ENOENT ? TET_NOT_FOUND : TET_IO, "%s: %s", path,
                             strerror(errno));
    enum tet_err err = TET_OK;
    struct stat st;
    int code = 0;
    if (fstat(fd, &st) != 0)
        err = tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        err = tet_error_set(error, TET_BAD_DATASET, "%s: not a file", path);
    else if (st.st_size == 0) // to libzip an empty file is an archive
        err = tet_error_set(error, TET_BAD_DATASET, "%s: the file is empty", path);
    else if (errno = 0, (*zip = zip_fdopen(fd, 0, &code)))
        fd = -1; // libzip has closed it
    else
        err = tet_error_set(
            error, code == ZIP_ER_MEMORY || errno == ENOMEM ? TET_NO_MEMORY : TET_BAD_DATASET,
            "%s: not an .npz archive, or cut off", path);
    if (err == TET_OK)
        *size = (uint64_t)st.st_size;
    if (fd >= 0)
        close(fd);
    return err;
}

static enum tet_err take_name(struct npy *array, const char *entry, uint64_t index,
                              struct tet_error *error)
{
    size_t n = entry ? strlen(entry) : 0;
    bool fits = n > 4 && n - 4 < sizeof array->name && strcmp(entry + n - 4, ".npy") == 0;
    for (size_t i = 0; i < n && fits; i++)
        fits = entry[i] > ' ' && entry[i] <= '~';
    if (!fits)
        return tet_error_set(error, TET_BAD_DATASET,
                             "entry %llu of the archive is not named like an array (NAME.npy, "
                             "NAME of 1 to %d printable characters)",
                             (unsigned long long)index, NPY_NAME - 1);
    memcpy(array->name, entry, n - 4);
    array->name[n - 4] = '\0';
    return TET_OK;
}

static enum tet_err read_exactly(zip_file_t *file, void *to, uint64_t n, const char *name,
                                 struct tet_error *error)
{
    unsigned char *at = to;
    while (n > 0) {
        errno = 0;
        zip_int64_t got = zip_fread(file, at, n < INT32_MAX ? n : INT32_MAX);
        if (got < 0)
            return refused(error, name, zip_file_get_error(file));
        if (got == 0)
            return bad(error, name, "shorter than it says");
        at += got;
        n -= (uint64_t)got;
    }
    return TET_OK;
}

/* Elements come first index fastest; each goes to its place in C order. */
static enum tet_err read_fortran(zip_file_t *file, struct npy *array, struct tet_error *error)
{
    size_t bytes = npy_type_bytes(array->type);
    uint64_t stride[NPY_RANK], index[NPY_RANK] = {0}, place = 0, n = 1, left = array->n * bytes;
    for (uint32_t i = array->rank; i-- > 0; n *= array->shape[i])
        stride[i] = n;
    unsigned char *chunk = malloc(CHUNK), *data = array->data;
    if (!chunk)
        return tet_error_set(error, TET_NO_MEMORY, "array %s: out of memory", array->name);
    enum tet_err err = TET_OK;
    while (left > 0 && err == TET_OK) {
        size_t size = left < CHUNK ? (size_t)left : CHUNK;
        err = read_exactly(file, chunk, size, array->name, error);
        for (size_t k = 0; k < size && err == TET_OK; k += bytes) {
            memcpy(data + place * bytes, chunk + k, bytes);
            for (uint32_t i = 0; i < array->rank; i++) {
                place += stride[i];
                if (++index[i] < array->shape[i])
                    break;
                place -= stride[i] * array->shape[i];
                index[i] = 0;
            }
        }
        left -= size;
    }
    free(chunk);
    return err;
}

static enum tet_err read_head(zip_file_t *file, struct npy *array, bool *fortran, uint64_t *size,
                              struct tet_error *error)
{
    unsigned char magic[NPY_MAGIC], length[NPY_TEXT_LENGTH] = {0};
    char text[NPY_TEXT_LIMIT];
    size_t length_bytes = 0;
    enum tet_err err = read_exactly(file, magic, sizeof magic, array->name, error);
    if (err == TET_OK)
        err = npy_length_bytes(magic, array->name, &length_bytes, error);
    if (err == TET_OK)
        err = read_exactly(file, length, length_bytes, array->name, error);
    if (err != TET_OK)
        return err;
    uint32_t n = (uint32_t)length[0] | (uint32_t)length[1] << 8 | (uint32_t)length[2] << 16 |
                 (uint32_t)length[3] << 24;
    if (n > sizeof text)
        return bad(error, array->name, "its .npy head is too long");
    err = read_exactly(file, text, n, array->name, error);
    if (err == TET_OK)
        err = npy_parse(text, n, array, fortran, error);
    *size = NPY_MAGIC + length_bytes + n;
    return err;
}

/* The bytes of the array's data, once head, entry and limit agree about them. */
static enum tet_err data_size(const struct npy *array, const zip_stat_t *st, uint64_t head,
                              uint64_t room, uint64_t *bytes, struct tet_error *error)
{
    *bytes = array->n * npy_type_bytes(array->type);
    if (st->size < head || st->size - head != *bytes)
        return tet_error_set(error, TET_BAD_DATASET,
                             "array %s: its shape takes %llu bytes, the archive has %llu for it",
                             array->name, (unsigned long long)*bytes,
                             (unsigned long long)(st->size < head ? 0 : st->size - head));
    if (*bytes > room)
        return tet_error_set(error, TET_BAD_DATASET,
                             "array %s: %llu bytes are more than the memory limit leaves (%llu)",
                             array->name, (unsigned long long)*bytes, (unsigned long long)room);
    return TET_OK;
}

/* Whether the entry's compressed bytes lie in the file and can make its size. */
static enum tet_err check_entry(const zip_stat_t *st, const char *name, uint64_t file_size,
                                struct tet_error *error)
{
    const zip_uint64_t needed =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if ((st->valid & needed) != needed)
        return bad(error, name, "the archive does not state its size");
    if (st->encryption_method != ZIP_EM_NONE)
        return bad(error, name, "encrypted");
    if (st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE)
        return bad(error, name, "neither stored nor deflated");
    uint64_t ratio = st->comp_method == ZIP_CM_STORE ? 1 : DEFLATE_RATIO;
    if (st->comp_size > file_size || (st->size + ratio - 1) / ratio > st->comp_size)
        return bad(error, name, "the archive's sizes cannot be true");
    return TET_OK;
}

static enum tet_err read_array(zip_t *zip, uint64_t i, uint64_t file_size, uint64_t *room,
                               struct npy *array, struct tet_error *error)
{
    zip_stat_t st;
    zip_file_t *file = NULL;
    bool fortran = false;
    uint64_t head = 0, bytes = 0;
    unsigned char beyond;
    if (zip_stat_index(zip, i, 0, &st) != 0)
        return tet_error_set(error, TET_BAD_DATASET, "entry %llu of the archive: %s",
                             (unsigned long long)i, zip_strerror(zip));
    enum tet_err err = take_name(array, st.name, i, error);
    if (err == TET_OK)
        err = check_entry(&st, array->name, file_size, error);
    if (err != TET_OK)
        goto out;
    errno = 0;
    if (!(file = zip_fopen_index(zip, i, 0))) {
        err = refused(error, array->name, zip_get_error(zip));
        goto out;
    }
    if ((err = read_head(file, array, &fortran, &head, error)) != TET_OK ||
        (err = data_size(array, &st, head, *room, &bytes, error)) != TET_OK)
        goto out;
    if (bytes >= SIZE_MAX || !(array->data = malloc((size_t)bytes + 1))) { // + 1: never NULL
        err = tet_error_set(error, TET_NO_MEMORY, "array %s: no memory for %llu bytes", array->name,
                            (unsigned long long)bytes);
        goto out;
    }
    *room -= bytes;
    err = fortran && array->rank > 1 ? read_fortran(file, array, error)
                                     : read_exactly(file, array->data, bytes, array->name, error);
    if (err != TET_OK)
        goto out;
    zip_int64_t more = zip_fread(file, &beyond, 1); // at the end libzip compares the checksum
    if (more != 0)
        err = bad(error, array->name, more > 0 ? "longer than it says" : "its checksum is wrong");
out:
    if (file)
        zip_fclose(file);
    return err;
}

enum tet_err npz_read(struct npz *npz, const char *path, uint64_t max_bytes,
                      struct tet_error *error)
{
    zip_t *zip = NULL;
    uint64_t file_size = 0;
    *npz = (struct npz){0};
    enum tet_err err = open_archive(&zip, path, &file_size, error);
    if (err != TET_OK)
        return err;
    zip_int64_t n = zip_get_num_entries(zip, 0);
    if (n < 0 || n > NPZ_ENTRIES) {
        err = tet_error_set(error, TET_BAD_DATASET, "%s: %lld arrays, at most %d", path,
                            (long long)n, NPZ_ENTRIES);
        goto out;
    }
    if (!(npz->arrays = calloc((size_t)n + 1, sizeof *npz->arrays))) {
        err = tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", path);
        goto out;
    }
    for (uint64_t i = 0; i < (uint64_t)n && err == TET_OK; i++) {
        struct npy *array = &npz->arrays[i];
        err = read_array(zip, i, file_size, &max_bytes, array, error);
        if (err == TET_OK && npz_find(npz, array->name)) // among those before it
            err = bad(error, array->name, "twice in the archive");
        npz->n++;
    }
out:
    zip_discard(zip);
    if (err != TET_OK)
        npz_free(npz);
    return err;
}

/* Adds one stored entry whose bytes stay where they are: head and data as two fragments. */
static bool add_array(zip_t *zip, const struct npy *array, unsigned char head[NPY_HEADER])
{
    char name[NPY_NAME + 4];
    zip_error_t ignored;
    zip_buffer_fragment_t parts[2] = {
        {head, npy_header(head, array->type, array->rank, array->shape)},
        {array->data, array->n * npy_type_bytes(array->type)},
    };
    zip_error_init(&ignored);
    zip_source_t *source =
        zip_source_buffer_fragment_create(parts, parts[1].length > 0 ? 2 : 1, 0, &ignored);
    zip_error_fini(&ignored);
    if (!source)
        return false;
    snprintf(name, sizeof name, "%.*s.npy", NPY_NAME - 1, array->name);
    zip_int64_t i = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    if (i < 0) {
        zip_source_free(source);
        return false;
    }
    return zip_set_file_compression(zip, (zip_uint64_t)i, ZIP_CM_STORE, 0) == 0 &&
           zip_file_set_dostime(zip, (zip_uint64_t)i, 0, DOS_1980, 0) == 0;
}

/* The finished archive out of libzip's buffer. */
static enum tet_err copy_source(zip_source_t *source, void **bytes, size_t *size,
                                struct tet_error *error)
{
    zip_stat_t st;
    if (zip_source_stat(source, &st) != 0 || !(st.valid & ZIP_STAT_SIZE) || st.size >= SIZE_MAX)
        return tet_error_set(error, TET_IO, "the archive cannot be written");
    void *copy = malloc((size_t)st.size + 1);
    if (!copy)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for an archive of %llu bytes",
                             (unsigned long long)st.size);
    bool opened = zip_source_open(source) == 0;
    if (!opened || zip_source_read(source, copy, st.size) != (zip_int64_t)st.size) {
        if (opened)
            zip_source_close(source);
        free(copy);
        return tet_error_set(error, TET_IO, "the archive cannot be written");
    }
    zip_source_close(source);
    *bytes = copy;
    *size = (size_t)st.size;
    return TET_OK;
}

enum tet_err npz_write_memory(const struct npy *arrays, size_t n, void **bytes, size_t *size,
                              struct tet_error *error)
{
    enum tet_err err = TET_NO_MEMORY;
    zip_error_t ignored;
    zip_source_t *target = NULL;
    zip_t *zip = NULL;
    unsigned char(*heads)[NPY_HEADER] = calloc(n + 1, sizeof *heads);
    *bytes = NULL;
    *size = 0;
    zip_error_init(&ignored);
    if (!heads || !(target = zip_source_buffer_create(NULL, 0, 0, &ignored)))
        goto out;
    if (!(zip = zip_open_from_source(target, ZIP_TRUNCATE, &ignored)))
        goto out;
    zip_source_keep(target); // zip_close frees one hold, we keep one
    for (size_t i = 0; i < n; i++)
        if (!add_array(zip, &arrays[i], heads[i]))
            goto out;
    if (zip_close(zip) != 0) // into memory, of what is in memory: nothing else is short
        goto out;
    zip = NULL;
    err = copy_source(target, bytes, size, error);
out:
    if (zip)
        zip_discard(zip);
    zip_source_free(target);
    zip_error_fini(&ignored);
    free(heads);
    return err == TET_OK ? TET_OK : tet_error_set(error, err, "no memory for the archive");
}

/* Writes the archive; false with the reason, and without a file. */
static bool write_new(const struct npy *arrays, size_t n, const char *path, int *reason)
{
    int code = 0;
    unsigned char(*heads)[NPY_HEADER] = calloc(n + 1, sizeof *heads);
    zip_t *zip = heads ? zip_open(path, ZIP_CREATE | ZIP_EXCL, &code) : NULL;
    bool done = zip != NULL;
    *reason = heads ? EIO : ENOMEM;
    if (heads && !zip && code == ZIP_ER_EXISTS)
        *reason = EEXIST;
    else if (heads && !zip && code == ZIP_ER_MEMORY)
        *reason = ENOMEM;
    errno = 0; // where libzip lacks memory it leaves ENOMEM, whatever it calls it
    for (size_t i = 0; done && i < n; i++)
        done = add_array(zip, &arrays[i], heads[i]);
    if (zip && !done && errno == ENOMEM)
        *reason = ENOMEM;
    if (done && zip_close(zip) == 0) {
        zip = NULL;
    } else if (done) {
        done = false;
        if (zip_error_system_type(zip_get_error(zip)) == ZIP_ET_SYS)
            *reason = zip_error_code_system(zip_get_error(zip));
        else if (errno == ENOMEM)
            *reason = ENOMEM;
    }
    if (zip)
        zip_discard(zip);
    free(heads);
    return done;
}

enum tet_err npz_write_new(const struct npy *arrays, size_t n, const char *path,
                           struct tet_error *error)
{
    int reason = 0;
    bool done = write_new(arrays, n, path, &reason);
    if (done) {
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        done = fd >= 0 && fsync(fd) == 0;
        reason = errno;
        if (fd >= 0)
            close(fd);
        if (!done)
            (void)unlink(path);
    }
    return done ? TET_OK
                : tet_error_set(error, reason == ENOMEM ? TET_NO_MEMORY : space_error(reason),
                                "the archive cannot be written: %s", strerror(reason));
}

/* So that the new name survives a power cut. */
static bool sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? strdup("/")
                   : slash       ? strndup(path, (size_t)(slash - path))
                                 : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    bool done = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL); // EINVAL: nothing to sync there
    if (fd >= 0)
        close(fd);
    return done;
}

/* A new file beside path; its name to *temporary. */
static int open_temporary(const char *path, char **temporary)
{
    static atomic_uint count; // two threads, one path
    for (int tries = 0; tries < 100; tries++) {
        if (asprintf(temporary, "%s.%ld-%u.tmp", path, (long)getpid(),
                     atomic_fetch_add(&count, 1)) < 0) {
            *temporary = NULL;
            return -1;
        }
        int fd = open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0)
            return fd;
        int reason = errno;
        free(*temporary);
        *temporary = NULL;
        errno = reason;
        if (reason != EEXIST)
            return -1;
    }
    return -1;
}

enum tet_err npz_write(const struct npy *arrays, size_t n, const char *path,
                       struct tet_error *error)
{
    void *bytes = NULL;
    size_t size = 0;
    char *temporary = NULL;
    int fd = -1;
    enum tet_err err = npz_write_memory(arrays, n, &bytes, &size, error);
    if (err != TET_OK)
        return err;
    bool done = (fd = open_temporary(path, &temporary)) >= 0 && file_write(fd, bytes, size) &&
                fsync(fd) == 0;
    int reason = errno;
    if (fd >= 0 && close(fd) != 0 && done) {
        done = false;
        reason = errno;
    }
    if (done && !(done = rename(temporary, path) == 0 && sync_folder_of(path)))
        reason = errno;
    if (!done) {
        if (temporary)
            unlink(temporary);
        err = tet_error_set(error, TET_IO, "%s: %s", path, strerror(reason));
    }
    free(temporary);
    free(bytes);
    return err;
}
