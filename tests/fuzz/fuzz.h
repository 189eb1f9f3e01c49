// SPDX-License-Identifier: Apache-2.0
/*
 * What the fuzzing targets share: promises that end the program when they are broken, inputs cut into
 * parts, files in memory, and what holds of every error and every dataset.
 *
 * A target is a function of bytes alone: equal bytes do the same in any process, no disk is written.
 * One thread.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tetrad/dataset.h>
#include <tetrad/error.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A promise of the code under test, or of its surroundings: libFuzzer keeps the input that breaks it. */
#define HOLDS(promise)                                                                             \
    ((promise) ? (void)0                                                                           \
               : (fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #promise), abort()))

/* ---- inputs in parts ---- */

struct input {
    const uint8_t *at;
    size_t left;
};

/* A little-endian number of `bytes` bytes; what is not there counts as 0. */
static inline uint64_t take_number(struct input *in, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++, in->at++, in->left--) {
        if (in->left == 0)
            break;
        number |= (uint64_t)*in->at << 8 * i;
    }
    return number;
}

/* A part with its length before it, in 3 bytes; the last one ends with the input. */
static inline struct input take_part(struct input *in)
{
    const size_t length = (size_t)take_number(in, 3);
    const struct input part = {in->at, length < in->left ? length : in->left};
    in->at += part.left;
    in->left -= part.left;
    return part;
}

/* A part as a new string; it ends where the part has a zero. */
static inline char *take_text(struct input *in)
{
    const struct input part = take_part(in);
    char *text = strndup((const char *)part.at, part.left);
    HOLDS(text != NULL);
    return text;
}

/* ---- files in memory ---- */

/* Fills the file `slot` (0 to 15), which keeps its descriptor, and gives its path. */
enum { FIRST_SLOT = 200, SLOTS = 16 };
static inline const char *put_file(int slot, const void *bytes, size_t size)
{
    static char path[SLOTS][32];
    struct stat st;
    const int fd = FIRST_SLOT + slot;
    if (fstat(fd, &st) != 0) {
        const int made = memfd_create("input", 0);
        HOLDS(made >= 0 && dup2(made, fd) == fd);
        close(made);
    }
    HOLDS(ftruncate(fd, 0) == 0);
    HOLDS(pwrite(fd, bytes, size, 0) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    snprintf(path[slot], sizeof path[slot], "/proc/self/fd/%d", fd);
    return path[slot];
}

/* A folder whose names lead to slots, from 0 on: the files are there while their slots are. Of the
 * target's own, beside its program. */
static inline void make_links(char folder[4096], const char *const *names, int n)
{
    char link[8192], to[32];
    const ssize_t length = readlink("/proc/self/exe", folder, 4096 - 8);
    HOLDS(length > 0);
    memcpy(folder + length, ".files", 7);
    (void)mkdir(folder, 0777);
    for (int i = 0; i < n; i++) {
        snprintf(link, sizeof link, "%s/%s", folder, names[i]);
        snprintf(to, sizeof to, "/proc/self/fd/%d", FIRST_SLOT + i);
        (void)symlink(to, link);
        HOLDS(readlink(link, to, sizeof to) > 0);
    }
}

static inline void drop_files(void)
{
    for (int slot = 0; slot < SLOTS; slot++)
        (void)close(FIRST_SLOT + slot);
}

/* ---- errors ---- */

/* What comes back fits what the error says; its message is a line of UTF-8; and no input is to blame
 * for want of memory or for a fault of ours. */
static inline void check_error(enum tet_err err, const struct tet_error *error)
{
    HOLDS(err == error->err);
    HOLDS(err != TET_NO_MEMORY && err != TET_INTERNAL);
    if (err == TET_OK)
        return;
    json_t *message = json_string(error->message);
    if (message == NULL || error->message[0] == '\0' || strpbrk(error->message, "\r\n") != NULL)
        fprintf(stderr, "message: \"%s\"\n", error->message);
    HOLDS(message != NULL && error->message[0] != '\0');
    HOLDS(strpbrk(error->message, "\r\n") == NULL);
    json_decref(message);
}

/* Every fault says where, what was found, and what is allowed. */
static inline void check_details(enum tet_err err, const json_t *details)
{
    size_t i;
    json_t *fault;
    HOLDS((details != NULL) == (err == TET_BAD_DEFINITION));
    HOLDS(details == NULL || json_array_size(details) > 0);
    json_array_foreach(details, i, fault)
    {
        const char *pointer = json_string_value(json_object_get(fault, "pointer"));
        const char *allowed = json_string_value(json_object_get(fault, "allowed"));
        HOLDS(pointer != NULL && (pointer[0] == '/' || pointer[0] == '\0'));
        HOLDS(allowed != NULL && allowed[0] != '\0');
        HOLDS(json_object_get(fault, "found") != NULL);
    }
}

/* ---- datasets ---- */

static inline void check_examples(const struct tet_examples *e, const struct tet_shape *shape)
{
    if (e->n == 0)
        return;
    HOLDS((e->bytes != NULL) != (e->floats != NULL));
    HOLDS((e->labels != NULL) != (e->targets != NULL));
    for (size_t i = 0; e->floats != NULL && i < (size_t)e->n * shape->inputs; i++)
        HOLDS(isfinite(e->floats[i]));
    for (size_t i = 0; e->bytes != NULL && i < (size_t)e->n * shape->inputs; i++)
        HOLDS(e->bytes[i] <= 255); // reads it
    for (size_t i = 0; e->labels != NULL && i < e->n; i++)
        HOLDS(e->labels[i] >= 0 && (uint32_t)e->labels[i] < shape->outputs);
    for (size_t i = 0; e->targets != NULL && i < (size_t)e->n * shape->outputs; i++)
        HOLDS(isfinite(e->targets[i]));
}

/* A dataset as its header says, with every array as long as it is said to be (by AddressSanitizer). */
static inline void check_dataset(enum tet_err err, const struct tet_dataset *d)
{
    const struct tet_shape *shape = &d->shape;
    HOLDS((d->memory != NULL) == (err == TET_OK));
    if (err != TET_OK)
        return;
    HOLDS(d->train.n > 0 && shape->inputs > 0 && shape->inputs <= TET_MAX_UNITS);
    HOLDS(shape->outputs > 0 && shape->outputs <= TET_MAX_UNITS);
    HOLDS((uint64_t)shape->channels * shape->rows * shape->columns == shape->inputs);
    check_examples(&d->train, shape);
    check_examples(&d->test, shape);
}

#endif
