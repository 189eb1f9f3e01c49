// SPDX-License-Identifier: Apache-2.0
/* Files that may be gzipped, for idx.c and cifar.c. One thread. */
#ifndef TESTS_FUZZ_GZIPPED_H
#define TESTS_FUZZ_GZIPPED_H

#include <zlib.h>

#include "fuzz.h"

enum gzipped {
    GZIPPED_NONE,  // there is no such file
    GZIPPED_PLAIN, // as it is
    GZIPPED_RAW,   // as it is, though its name ends in .gz
    GZIPPED_HERE   // gzipped by us
};

static inline void gzip_file(int slot, struct input part)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)part.at, .avail_in = (uInt)part.left};
    const size_t most = part.left + 1024;
    uint8_t *to = malloc(most);
    HOLDS(to != NULL && deflateInit2(&z, 1, Z_DEFLATED, 9 + 16, 1, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_out = to;
    z.avail_out = (uInt)most;
    HOLDS(deflate(&z, Z_FINISH) == Z_STREAM_END);
    put_file(slot, to, z.total_out);
    deflateEnd(&z);
    free(to);
}

/* put_gzipped: `slot` is the plain file's, slot + 1 the one's that is named .gz. */
static inline void put_gzipped(int slot, enum gzipped how, struct input part)
{
    if (how == GZIPPED_PLAIN)
        put_file(slot, part.at, part.left);
    else if (how == GZIPPED_RAW)
        put_file(slot + 1, part.at, part.left);
    else if (how == GZIPPED_HERE)
        gzip_file(slot + 1, part);
}

#endif
