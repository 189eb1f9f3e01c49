// SPDX-License-Identifier: Apache-2.0
/*
 * Downloads: see fetch.h.
 *
 * Checksums are the MD5 sums that the makers of the datasets publish (for MNIST and KMNIST, which
 * publish none: those that PyTorch's torchvision holds them against). MD5 finds damage, not malice;
 * so what comes is read by the same wary readers as any other file.
 */
#include "fetch.h"

#include <archive.h>
#include <archive_entry.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/md5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "data/catalog.h"
#include "data/cifar.h"
#include "data/idx.h"

enum {
    FILES = 4,
    MIRRORS = 3,
    TRIES = 5,            // of one mirror, while each brings something
    FILE_MAX = 512 << 20, // bytes of a download, or of a file unpacked from it
    MEMORY_MAX = 1 << 30, // of the check
    STALL_S = 30,         // without STALL_BYTES a second: the mirror is given up
    STALL_BYTES = 100,
    PATH_BYTES = 4096
};

struct source_file {
    const char *name, *md5;
};

struct source {
    const char *name;
    const char *mirrors[MIRRORS + 1];
    struct source_file files[FILES + 1];
    const char *const *unpacked; // files to take out of an archive; NULL: the files are no archive
    int n_unpacked;
    enum tet_err (*load)(struct tet_dataset *, const char *, uint64_t, struct tet_error *);
};

#define IDX(a, b, c, d)                                                                            \
    {                                                                                              \
        {"train-images-idx3-ubyte.gz", a}, {"train-labels-idx1-ubyte.gz", b},                      \
            {"t10k-images-idx3-ubyte.gz", c},                                                      \
        {                                                                                          \
            "t10k-labels-idx1-ubyte.gz", d                                                         \
        }                                                                                          \
    }

static const struct source sources[] = {
    {.name = "mnist",
     .mirrors = {"https://ossci-datasets.s3.amazonaws.com/mnist/",
                 "https://storage.googleapis.com/cvdf-datasets/mnist/"},
     .files = IDX("f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
                  "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"),
     .load = idx_load},
    {.name = "fashion-mnist",
     .mirrors = {"https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                 "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"},
     .files = IDX("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
                  "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310"),
     .load = idx_load},
    {.name = "kmnist",
     .mirrors = {"https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                 "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"},
     .files = IDX("bdb82020997e1d708af4cf47b453dcf7", "e144d726b3acfaa3e44228e80efcd344",
                  "5c965bf0a639b31b8f53240b1b52f4d7", "7320c461ea6c1c855c0b718fb2a4b134"),
     .load = idx_load},
    {.name = "cifar10",
     .mirrors = {"https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"},
     .files = {{"cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"}},
     .unpacked = cifar10_names,
     .n_unpacked = CIFAR10_FILES,
     .load = cifar10_load},
    {.name = "cifar100",
     .mirrors = {"https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"},
     .files = {{"cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"}},
     .unpacked = cifar100_names,
     .n_unpacked = CIFAR100_FILES,
     .load = cifar100_load},
};
enum { SOURCES = sizeof sources / sizeof *sources };

const char *fetch_names(void)
{
    return "mnist, fashion-mnist, kmnist, cifar10, cifar100";
}

static enum tet_err io_error(const char *path, struct tet_error *error)
{
    return tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
}

/* ---- one transfer ---- */

struct transfer {
    FILE *file;
    const char *name;
    uint64_t before, got; // bytes in the file before this transfer, and of it
    bool live;            // progress is drawn
    double shown_s;
};

static size_t take(char *bytes, size_t one, size_t n, void *context)
{
    struct transfer *t = context;
    if (n > FILE_MAX - t->before - t->got)
        return 0;
    n = fwrite(bytes, one, n, t->file);
    t->got += n;
    return n;
}

static int show(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                curl_off_t up_now)
{
    (void)up_total, (void)up_now;
    enum { WIDTH = 30 };
    struct transfer *t = context;
    const double s = clock_s();
    if (!t->live || total <= 0 || (s - t->shown_s < 0.1 && now < total))
        return 0;
    t->shown_s = s;
    const double all = (double)t->before + (double)total, done = (double)t->before + (double)now;
    const int filled = (int)(WIDTH * done / all);
    fprintf(stderr, "\r%-28s [%.*s%*s] %5.1f of %.1f MB", t->name, filled,
            "##############################", WIDTH - filled, "", done / 1e6, all / 1e6);
    return 0;
}

/* Appends to the file at path what of the URL it lacks. *again: it may help to try once more. */
static enum tet_err transfer(CURL *curl, const char *url, const char *path, const char *name,
                             bool *again, struct tet_error *error)
{
    char reason[CURL_ERROR_SIZE] = "";
    long status = 0;
    struct transfer t = {.name = name, .live = isatty(STDERR_FILENO) != 0};
    *again = false;
    if ((t.file = fopen(path, "abe")) == NULL || fseeko(t.file, 0, SEEK_END) != 0)
        return io_error(path, error);
    t.before = (uint64_t)ftello(t.file);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 20L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "tetrad/" TETRAD_VERSION);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t.before);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, show);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &t);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    const bool written = fclose(t.file) == 0;
    if (t.live)
        fputc('\n', stderr);
    if (code == CURLE_OK && written)
        return TET_OK;
    if (code == CURLE_WRITE_ERROR || (code == CURLE_OK && !written))
        return io_error(path, error);
    if (t.before > 0 && (code == CURLE_RANGE_ERROR || status == 416)) {
        /* This mirror cannot go on from there, or there is nothing more: from the start. */
        *again = truncate(path, 0) == 0;
    } else {
        *again = t.got > 0; // it was cut
    }
    return tet_error_set(error, TET_ADDRESS, "%s: %s", url,
                         *reason != '\0' ? reason : curl_easy_strerror(code));
}

/* ---- one file ---- */

static enum tet_err check_md5(const char *path, const char *wanted, struct tet_error *error)
{
    struct md5_ctx md5;
    unsigned char bytes[1 << 14], digest[MD5_DIGEST_SIZE];
    char text[2 * MD5_DIGEST_SIZE + 1];
    size_t n;
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return io_error(path, error);
    md5_init(&md5);
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
        md5_update(&md5, n, bytes);
    const bool read_all = !ferror(file);
    fclose(file);
    if (!read_all)
        return io_error(path, error);
    md5_digest(&md5, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    if (strcmp(text, wanted) == 0)
        return TET_OK;
    return tet_error_set(error, TET_BAD_DATASET, "its MD5 sum is %s, it should be %s", text,
                         wanted);
}

static enum tet_err from_mirror(CURL *curl, const char *mirror, const struct source_file *file,
                                const char *path, const struct fetch *fetch,
                                struct tet_error *error)
{
    char url[1024];
    bool again = true;
    enum tet_err err = TET_ADDRESS;
    const size_t n = strlen(mirror);
    const bool slash = n > 0 && mirror[n - 1] == '/';
    if (snprintf(url, sizeof url, "%s%s%s", mirror, slash ? "" : "/", file->name) >=
        (int)sizeof url)
        return tet_error_set(error, TET_BAD_REQUEST, "the mirror's URL is too long");
    for (int tries = 0; tries < TRIES && again && err == TET_ADDRESS; tries++) {
        struct tet_error one = {0};
        err = transfer(curl, url, path, file->name, &again, &one);
        if (err != TET_OK && (!again || err != TET_ADDRESS || tries + 1 == TRIES))
            return tet_error_set(error, err, "%s", one.message);
    }
    if (err != TET_OK || fetch->unverified)
        return err;
    struct tet_error sum = {0};
    err = check_md5(path, file->md5, &sum);
    if (err == TET_BAD_DATASET)
        (void)unlink(path); // or it would be gone on with
    return err == TET_OK ? TET_OK : tet_error_set(error, err, "%s: %s", url, sum.message);
}

static enum tet_err fetch_file(CURL *curl, const struct source *source,
                               const struct source_file *file, const char *part,
                               const struct fetch *fetch, struct tet_error *error)
{
    char path[PATH_BYTES];
    struct tet_error last = {0};
    enum tet_err err = TET_ADDRESS;
    if (snprintf(path, sizeof path, "%s/%s", part, file->name) >= (int)sizeof path)
        return tet_error_set(error, TET_IO, "%s: the name is too long", part);
    if (!fetch->unverified && access(path, F_OK) == 0 && check_md5(path, file->md5, NULL) == TET_OK)
        return TET_OK; // from an earlier try
    const char *const own[] = {fetch->mirror, NULL};
    for (const char *const *mirror = fetch->mirror != NULL ? own : source->mirrors;
         *mirror != NULL && (err == TET_ADDRESS || err == TET_BAD_DATASET); mirror++) {
        if (last.err != TET_OK)
            fprintf(stderr, "%s; trying another mirror\n", last.message);
        last = (struct tet_error){0};
        err = from_mirror(curl, *mirror, file, path, fetch, &last);
    }
    if (err == TET_OK)
        fprintf(stderr, "%s\n", file->name);
    return err == TET_OK ? TET_OK : tet_error_set(error, err, "%s", last.message);
}

/* ---- unpacking ---- */

static enum tet_err unpack_one(struct archive *archive, const char *path, struct tet_error *error)
{
    const void *bytes;
    size_t size;
    la_int64_t offset;
    uint64_t written = 0;
    int code;
    FILE *file = fopen(path, "wbe");
    if (file == NULL)
        return io_error(path, error);
    while ((code = archive_read_data_block(archive, &bytes, &size, &offset)) == ARCHIVE_OK) {
        if ((uint64_t)offset != written || size > FILE_MAX - written)
            break; // sparse, or too large
        if (fwrite(bytes, 1, size, file) != size)
            break;
        written += size;
    }
    if (fclose(file) != 0)
        return io_error(path, error);
    return code == ARCHIVE_EOF
               ? TET_OK
               : tet_error_set(error, TET_BAD_DATASET, "%s: damaged or too large: %s", path,
                               archive_error_string(archive) != NULL ? archive_error_string(archive)
                                                                     : "cannot be written");
}

/* Takes the files that are wanted, by their last names, wherever they lie; nothing else. */
static enum tet_err unpack(const struct source *source, const char *part, const char *to,
                           struct tet_error *error)
{
    char path[PATH_BYTES + 64];
    struct archive_entry *entry;
    struct archive *archive = archive_read_new();
    enum tet_err err = TET_OK;
    snprintf(path, sizeof path, "%s/%s", part, source->files[0].name);
    if (archive == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    archive_read_support_filter_gzip(archive);
    archive_read_support_format_tar(archive);
    int code = archive_read_open_filename(archive, path, 1 << 16);
    while (err == TET_OK && code == ARCHIVE_OK &&
           (code = archive_read_next_header(archive, &entry)) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(entry);
        const char *last =
            name != NULL && strrchr(name, '/') != NULL ? strrchr(name, '/') + 1 : name;
        for (int i = 0; last != NULL && err == TET_OK && i < source->n_unpacked; i++) {
            if (strcmp(last, source->unpacked[i]) != 0 || archive_entry_filetype(entry) != AE_IFREG)
                continue;
            snprintf(path, sizeof path, "%s/%s", to, source->unpacked[i]);
            err = unpack_one(archive, path, error);
        }
    }
    if (err == TET_OK && code != ARCHIVE_EOF)
        err = tet_error_set(error, TET_BAD_DATASET, "%s: %s", source->files[0].name,
                            archive_error_string(archive));
    archive_read_free(archive);
    return err;
}

/* ---- all of it ---- */

static void remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    (void)rmdir(path);
}

static enum tet_err make_folder(const char *path, struct tet_error *error)
{
    return mkdir(path, 0777) == 0 || errno == EEXIST ? TET_OK : io_error(path, error);
}

/* Files and folder reach the disk before the name does. */
static enum tet_err sync_all(const char *path, struct tet_error *error)
{
    DIR *dir = opendir(path);
    bool done = dir != NULL;
    for (struct dirent *entry; done && (entry = readdir(dir)) != NULL;) {
        const int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        done = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
        if (fd >= 0)
            close(fd);
    }
    const enum tet_err err = done ? TET_OK : io_error(path, error);
    if (dir != NULL)
        closedir(dir);
    return err;
}

/* Reads it as a server would, says what it is, and gives it its name. */
static enum tet_err finish(const struct source *source, const char *made, const char *final,
                           struct tet_error *error)
{
    struct tet_dataset d;
    enum tet_err err = source->load(&d, made, MEMORY_MAX, error);
    if (err != TET_OK)
        return err;
    fprintf(stderr, "%s: %u examples to train on, %u to test on, %u classes\n", source->name,
            d.train.n, d.test.n, d.shape.outputs);
    tet_dataset_free(&d);
    err = sync_all(made, error);
    if (err == TET_OK && rename(made, final) != 0)
        err = io_error(final, error);
    return err;
}

static enum tet_err download(const struct source *source, const struct fetch *fetch,
                             const char *part, struct tet_error *error)
{
    CURL *curl = curl_easy_init();
    enum tet_err err = curl != NULL ? TET_OK : tet_error_set(error, TET_NO_MEMORY, "out of memory");
    for (const struct source_file *file = source->files; err == TET_OK && file->name != NULL;
         file++)
        err = fetch_file(curl, source, file, part, fetch, error);
    if (curl != NULL)
        curl_easy_cleanup(curl);
    return err;
}

enum tet_err fetch_dataset(const struct fetch *fetch, struct tet_error *error)
{
    char part[PATH_BYTES], unpacked[PATH_BYTES], final[PATH_BYTES];
    const struct source *source = sources;
    struct stat st;
    while (source < sources + SOURCES && strcmp(source->name, fetch->name) != 0)
        source++;
    if (source == sources + SOURCES)
        return tet_error_set(error, TET_BAD_REQUEST,
                             "there is no \"%.60s\" to fetch; there are: %s", fetch->name,
                             fetch_names());
    if (strlen(fetch->folder) > PATH_BYTES - 100)
        return tet_error_set(error, TET_IO, "the folder's name is too long");
    snprintf(part, sizeof part, "%s/.%s.part", fetch->folder, source->name);
    snprintf(unpacked, sizeof unpacked, "%s/.%s.unpacked", fetch->folder, source->name);
    snprintf(final, sizeof final, "%s/%s", fetch->folder, source->name);
    if (stat(final, &st) == 0) {
        fprintf(stderr, "%s is there already\n", final);
        return TET_OK;
    }
    enum tet_err err = make_folder(fetch->folder, error);
    if (err == TET_OK)
        err = make_folder(part, error);
    if (err == TET_OK)
        err = download(source, fetch, part, error);
    if (err == TET_OK && source->unpacked != NULL) {
        remove_folder(unpacked); // of an earlier try
        err = make_folder(unpacked, error);
        if (err == TET_OK)
            err = unpack(source, part, unpacked, error);
    }
    if (err == TET_OK)
        err = finish(source, source->unpacked != NULL ? unpacked : part, final, error);
    remove_folder(unpacked);
    if (err == TET_OK || err == TET_BAD_DATASET) // what is wrong would stay so; what is cut goes on
        remove_folder(part);
    return err;
}
