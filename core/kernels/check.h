// SPDX-License-Identifier: Apache-2.0
/*
 * What the products ask of their arguments, asserted where NDEBUG is not defined: pointers to whole
 * floats, strides that hold a row, and outputs that lie apart from what is read.
 */
#ifndef CORE_KERNELS_CHECK_H
#define CORE_KERNELS_CHECK_H

#include <assert.h>

#include "kernels/kernels.h"

/* An array of n rows of `ld` floats, the last of which has `width`. */
struct tet_extent {
    const float *at;
    size_t n, ld, width;
};

static inline bool tet_extent_valid(struct tet_extent e)
{
    return e.at != NULL && (uintptr_t)e.at % sizeof(float) == 0 && e.n > 0 && e.ld >= e.width;
}

static inline bool tet_extents_apart(struct tet_extent a, struct tet_extent b)
{
    const uintptr_t a_first = (uintptr_t)a.at, b_first = (uintptr_t)b.at;
    const uintptr_t a_end = a_first + ((a.n - 1) * a.ld + a.width) * sizeof(float);
    const uintptr_t b_end = b_first + ((b.n - 1) * b.ld + b.width) * sizeof(float);
    return a_end <= b_first || b_end <= a_first;
}

static inline struct tet_extent tet_packed_extent(const float *w, const struct tet_packed *p)
{
    const size_t n = tet_packed_floats(p->rows, p->columns);
    return (struct tet_extent){w, 1, n, n};
}

static inline struct tet_extent tet_volume_extent(const float *x, const struct tet_volume *v)
{
    const size_t n = tet_volume_floats(v);
    return (struct tet_extent){x, 1, n, n};
}

static inline void tet_check_output(struct tet_extent out, struct tet_extent in,
                                    const struct tet_packed *p)
{
    assert(p->rows > 0 && p->columns > 0);
    assert(tet_extent_valid(out) && tet_extent_valid(in) &&
           tet_extent_valid(tet_packed_extent(p->w, p)));
    assert(tet_extents_apart(out, in) && tet_extents_apart(out, tet_packed_extent(p->w, p)));
    (void)out, (void)in, (void)p;
}

static inline void tet_check_forward(const struct tet_forward *f)
{
    tet_check_output((struct tet_extent){f->y, f->n, f->ldy, tet_round(f->p->rows)},
                     (struct tet_extent){f->x, f->n, f->ldx, f->p->columns}, f->p);
}

static inline void tet_check_backward(const struct tet_packed *p, size_t n, const float *st,
                                      size_t ldst, const float *yt, size_t ldyt)
{
    tet_check_output((struct tet_extent){yt, p->columns, ldyt, tet_round(n)},
                     (struct tet_extent){st, p->rows, ldst, tet_round(n)}, p);
}

/* Weights and velocities are outputs. */
static inline void tet_check_change(const struct tet_packed *p, struct tet_extent a,
                                    struct tet_extent x)
{
    assert(p->rows > 0 && p->columns > 0 && tet_extent_valid(tet_packed_extent(p->w, p)));
    assert(tet_extent_valid(a) && tet_extents_apart(tet_packed_extent(p->w, p), a));
    assert(tet_extent_valid(x) && tet_extents_apart(tet_packed_extent(p->w, p), x));
    (void)p, (void)a, (void)x;
    assert(p->v == NULL ||
           (tet_extent_valid(tet_packed_extent(p->v, p)) &&
            tet_extents_apart(tet_packed_extent(p->v, p), tet_packed_extent(p->w, p))));
}

static inline void tet_check_drive(const struct tet_drive *d, const struct tet_packed *p)
{
    tet_check_change(p, (struct tet_extent){d->a, d->n, d->lda, tet_round(p->rows)},
                     (struct tet_extent){d->x, d->n, d->ldx, p->columns});
}

static inline void tet_check_convolution(const struct tet_convolution *c)
{
    tet_check_output(tet_volume_extent(c->y, &c->vy), tet_volume_extent(c->x, &c->vx), c->p);
    assert(c->n > 0 && tet_round(c->n) <= c->vx.ld && tet_round(c->n) <= c->vy.ld);
    assert(c->way != TET_CONVOLVE || c->vx.pad >= c->window->padding);
}

static inline void tet_check_convolution_drive(const struct tet_convolution_drive *d,
                                               const struct tet_packed *p)
{
    tet_check_change(p, tet_volume_extent(d->coarse, &d->vcoarse),
                     tet_volume_extent(d->fine, &d->vfine));
    assert(d->n > 0 && tet_round(d->n) <= d->vcoarse.ld && tet_round(d->n) <= d->vfine.ld);
    assert(d->vfine.pad >= d->window->padding);
    (void)d;
}

#endif
