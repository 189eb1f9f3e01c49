// SPDX-License-Identifier: Apache-2.0
/*
 * Zip archives of an input's members, for npz.c and import.c: with checksums that are right, which no
 * mutation of bytes finds.
 *
 * An input's members: a name with its length before it in one byte, and a part. One thread.
 */
#ifndef TESTS_FUZZ_ARCHIVE_H
#define TESTS_FUZZ_ARCHIVE_H

#include <zlib.h>

#include "fuzz.h"

enum { MEMBERS = 24 };

struct member {
    char name[80];
    uint8_t *bytes; // owned
    size_t size;
};

static inline size_t take_members(struct input *in, struct member members[MEMBERS])
{
    size_t n = 0;
    for (; in->left > 0 && n < MEMBERS; n++) {
        struct member *m = &members[n];
        size_t length = (size_t)take_number(in, 1) % sizeof m->name;
        length = length < in->left ? length : in->left;
        memcpy(m->name, in->at, length);
        m->name[length] = '\0';
        in->at += length;
        in->left -= length;
        const struct input part = take_part(in);
        m->bytes = malloc(part.left + 1);
        HOLDS(m->bytes != NULL);
        memcpy(m->bytes, part.at, part.left);
        m->size = part.left;
    }
    return n;
}

static inline void free_members(struct member members[MEMBERS], size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(members[i].bytes);
}

static inline struct member *find_member(struct member members[MEMBERS], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

/* What local and central headers have in common: from the version needed to the length of the name. */
static inline uint8_t *put_numbers(uint8_t *to, const uint32_t *numbers, const uint8_t *widths)
{
    for (; *widths != 0; numbers++, widths++)
        for (uint8_t i = 0; i < *widths; i++)
            *to++ = (uint8_t)(*numbers >> 8 * i);
    return to;
}

static inline uint8_t *put_header(uint8_t *to, const struct member *m, uint32_t packed,
                                  bool deflated)
{
    const uint32_t crc = (uint32_t)crc32(0, m->bytes, (uInt)m->size);
    const uint32_t numbers[] = {
        20, 0, deflated ? 8 : 0, 0, 0x21, crc, packed, (uint32_t)m->size, (uint32_t)strlen(m->name),
        0};
    return put_numbers(to, numbers, (const uint8_t[]){2, 2, 2, 2, 2, 4, 4, 4, 2, 2, 0});
}

static inline size_t pack(const struct member *m, uint8_t *to, size_t room, bool deflated)
{
    z_stream z = {.next_in = m->bytes, .avail_in = (uInt)m->size, .next_out = to};
    if (!deflated) {
        memcpy(to, m->bytes, m->size);
        return m->size;
    }
    z.avail_out = (uInt)room;
    HOLDS(deflateInit2(&z, 1, Z_DEFLATED, -9, 1, Z_DEFAULT_STRATEGY) == Z_OK);
    HOLDS(deflate(&z, Z_FINISH) == Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

/* put_archive: the members as an archive in the file `slot`. */
static inline const char *put_archive(int slot, const struct member *members, size_t n,
                                      bool deflated)
{
    size_t room = 64, at[MEMBERS], packed[MEMBERS];
    for (size_t i = 0; i < n; i++)
        room += members[i].size + members[i].size / 100 + 256 + 2 * sizeof members[i].name;
    uint8_t *bytes = malloc(room), *to = bytes;
    HOLDS(bytes != NULL);
    for (size_t i = 0; i < n; i++) {
        const struct member *m = &members[i];
        uint8_t *head = to + 4, *data = head + 26 + strlen(m->name);
        at[i] = (size_t)(to - bytes);
        memcpy(to, "PK\3\4", 4);
        packed[i] = pack(m, data, room - (size_t)(data - bytes), deflated);
        memcpy(put_header(head, m, (uint32_t)packed[i], deflated), m->name, strlen(m->name));
        to = data + packed[i];
    }
    const uint32_t directory = (uint32_t)(to - bytes);
    for (size_t i = 0; i < n; i++) {
        const struct member *m = &members[i];
        const uint32_t rest[] = {0, 0, 0, 0, (uint32_t)at[i]};
        memcpy(to, "PK\1\2\24\0", 6);
        to = put_header(to + 6, m, (uint32_t)packed[i], deflated);
        to = put_numbers(to, rest, (const uint8_t[]){2, 2, 2, 4, 4, 0});
        to = (uint8_t *)memcpy(to, m->name, strlen(m->name)) + strlen(m->name);
    }
    const uint32_t end[] = {
        0, 0, (uint32_t)n, (uint32_t)n, (uint32_t)(to - bytes) - directory, directory, 0};
    memcpy(to, "PK\5\6", 4);
    to = put_numbers(to + 4, end, (const uint8_t[]){2, 2, 2, 2, 4, 4, 2, 0});
    const char *path = put_file(slot, bytes, (size_t)(to - bytes));
    free(bytes);
    return path;
}

#endif
