// SPDX-License-Identifier: Apache-2.0
/*
 * Hashes datasets, by libsodium. See dataset_digest.h. Any thread; no state.
 */
#include "data/dataset_digest.h"

#include <sodium.h>
#include <string.h>

struct array {
    const void *data;
    uint64_t bytes;
};

static struct array x_of(const struct tet_dataset *d, const struct tet_examples *e)
{
    uint64_t n = (uint64_t)e->n * d->shape.inputs;
    return e->bytes ? (struct array){e->bytes, n} : (struct array){e->floats, n * sizeof(float)};
}

static struct array t_of(const struct tet_dataset *d, const struct tet_examples *e)
{
    if (e->labels)
        return (struct array){e->labels, e->n * sizeof(int32_t)};
    return (struct array){e->targets, (uint64_t)e->n * d->shape.outputs * sizeof(float)};
}

uint64_t dataset_bytes(const struct tet_dataset *d)
{
    return x_of(d, &d->train).bytes + t_of(d, &d->train).bytes + x_of(d, &d->test).bytes +
           t_of(d, &d->test).bytes;
}

static void add(crypto_hash_sha256_state *hash, struct array array)
{
    if (array.bytes > 0)
        crypto_hash_sha256_update(hash, array.data, array.bytes);
}

void dataset_digest(const struct tet_dataset *d, char sha256[SHA256_TEXT])
{
    static const char head[] = "tetrad dataset 1\n";
    const uint64_t numbers[] = {
        d->shape.inputs,
        d->shape.outputs,
        d->shape.channels,
        d->shape.rows,
        d->shape.columns,
        d->train.n,
        d->train.bytes != NULL,
        d->train.labels != NULL,
        d->test.n,
        d->test.bytes != NULL,
        d->test.labels != NULL,
    };
    crypto_hash_sha256_state hash;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&hash);
    crypto_hash_sha256_update(&hash, (const unsigned char *)head, sizeof head - 1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        unsigned char bytes[8];
        for (unsigned k = 0; k < 8; k++)
            bytes[k] = (unsigned char)(numbers[i] >> (8 * k));
        crypto_hash_sha256_update(&hash, bytes, sizeof bytes);
    }
    add(&hash, x_of(d, &d->train));
    add(&hash, t_of(d, &d->train));
    add(&hash, x_of(d, &d->test));
    add(&hash, t_of(d, &d->test));
    crypto_hash_sha256_final(&hash, digest);
    memcpy(sha256, "sha256:", 7);
    sodium_bin2hex(sha256 + 7, SHA256_TEXT - 7, digest, sizeof digest);
}
