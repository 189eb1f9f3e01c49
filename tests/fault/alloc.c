// SPDX-License-Identifier: Apache-2.0
/*
 * Makes allocations of a running program fail: loaded before its libraries (LD_PRELOAD), steered by a file that
 * the test maps too, whose name is in TETRAD_ALLOC. Without that file it does nothing.
 *
 * A site is where an allocation is asked for: a hash of the caller and of the two innermost return addresses
 * within the program, each relative to its object, so that a site is the same in every process. So a library's
 * allocation is known by the calls of ours that led to it. A thread that a library began has no frame of the
 * program: its sites are told by the caller's own callers.
 *
 * glibc's own allocations (strdup, asprintf, getline, opendir ...) come here as well: it asks malloc by name. The
 * creation of a thread counts as an allocation: it needs a stack.
 *
 * Threads: any. Who arms it writes `mode` last.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

enum { SITES = 1 << 14, FRAMES = 6, DEPTH = 48 };

enum mode { OFF, RECORD, FAIL_SITE, FAIL_ONE, FAIL_FROM, FAIL_LARGE };

struct frame {
    uint64_t object,
        offset; // where its object begins in this process; the return address within it
};

struct site {
    _Atomic uint64_t id, count; // id 0: none
    uint64_t ours;              // frames of the program among `frames`
    struct frame frames[FRAMES];
};

/* tests/fault/allocations.py has the same layout. */
struct control {
    _Atomic uint64_t mode, site; // site: of FAIL_SITE
    _Atomic uint64_t n; // FAIL_SITE: which of the site's; FAIL_ONE, FAIL_FROM: which of all; from 1
    _Atomic uint64_t size;         // FAIL_LARGE: larger ones than this, bytes
    _Atomic uint64_t seen, failed; // allocations that the mode is about; those that failed
    struct site sites[SITES];      // RECORD: by their ids, open addressing
};

/* What a walk up the stack has found. */
struct walk {
    size_t depth, n, ours;
    struct frame frames[FRAMES];
};

static struct control *control;
static uintptr_t program; // where its object begins
static __thread int inside __attribute__((tls_model("initial-exec")));

/* glibc's own, and AddressSanitizer's where the program has it: what frees must be of the same kind. */
#define REAL(result, name, arguments, given)                                                       \
    extern result __libc_##name arguments;                                                         \
    extern result __interceptor_##name arguments __attribute__((weak));                            \
    static result real_##name arguments                                                            \
    {                                                                                              \
        return __interceptor_##name != NULL ? __interceptor_##name given : __libc_##name given;    \
    }
REAL(void *, malloc, (size_t n), (n))
REAL(void *, calloc, (size_t n, size_t size), (n, size))
REAL(void *, realloc, (void *p, size_t n), (p, n))
REAL(void *, memalign, (size_t alignment, size_t n), (alignment, n))

static uintptr_t object_of(uintptr_t address)
{
    struct dl_find_object found;
    return _dl_find_object((void *)address, &found) == 0 ? (uintptr_t)found.dlfo_map_start : 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("TETRAD_ALLOC");
    const int file = name != NULL ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    program = object_of(getauxval(AT_ENTRY));
    void *all = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    control = all != MAP_FAILED ? all : NULL;
}

/* Keeps the caller, and then the two innermost frames of the program; of a library's thread, the first ones. */
static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *of)
{
    struct walk *w = of;
    const uintptr_t address = _Unwind_GetIP(context), object = object_of(address);
    static uintptr_t own;
    if (own == 0)
        own = object_of((uintptr_t)step);
    if (object == own)
        return _URC_NO_REASON;
    const bool is_ours = object == program;
    if (is_ours && w->ours == 0 && w->n > 1)
        w->n = 1; // libraries' frames between are not part of the site
    if (w->n < FRAMES && (is_ours || w->ours == 0))
        w->frames[w->n++] = (struct frame){object, address - object};
    w->ours += is_ours;
    return w->ours == 2 || ++w->depth == DEPTH ? _URC_NORMAL_STOP : _URC_NO_REASON;
}

static uint64_t id_of(const struct walk *w)
{
    uint64_t id = 14695981039346656037u;
    for (size_t i = 0; i < w->n; i++)
        id = (id ^ w->frames[i].offset) * 1099511628211u ^ id >> 29;
    return id | 1;
}

static void record(const struct walk *w, uint64_t id)
{
    for (size_t k = id % SITES, tries = 0; tries < SITES; k = (k + 1) % SITES, tries++) {
        struct site *s = &control->sites[k];
        uint64_t there = 0;
        if (atomic_compare_exchange_strong(&s->id, &there, id)) {
            s->ours = w->ours;
            memcpy(s->frames, w->frames, w->n * sizeof *w->frames);
        } else if (there != id) {
            continue;
        }
        atomic_fetch_add(&s->count, 1);
        return;
    }
}

static bool is_chosen(size_t size)
{
    const uint64_t mode = atomic_load(&control->mode);
    if (mode == FAIL_LARGE)
        return size > atomic_load(&control->size);
    if (mode == RECORD || mode == FAIL_SITE) {
        struct walk w = {0};
        _Unwind_Backtrace(step, &w);
        const uint64_t id = id_of(&w);
        if (mode == RECORD) {
            atomic_fetch_add(&control->seen, 1);
            record(&w, id);
            return false;
        }
        if (id != atomic_load(&control->site))
            return false;
    }
    const uint64_t place = atomic_fetch_add(&control->seen, 1) + 1, n = atomic_load(&control->n);
    return mode == FAIL_FROM ? place >= n : place == n;
}

/* Whether this allocation is one that fails. */
static bool fails(size_t size)
{
    if (control == NULL || inside > 0 || atomic_load(&control->mode) == OFF)
        return false;
    const int was = errno;
    inside++; // the walk may allocate, the first time
    const bool chosen = is_chosen(size);
    inside--;
    errno = was;
    if (chosen) {
        atomic_fetch_add(&control->failed, 1);
        errno = ENOMEM;
    }
    return chosen;
}

/* ---- what is put in place of glibc's ---- */

void *malloc(size_t n)
{
    return fails(n) ? NULL : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails(size == 0 || n < SIZE_MAX / size ? n * size : SIZE_MAX) ? NULL
                                                                         : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return n > 0 && fails(n) ? NULL : real_realloc(p, n);
}

void *reallocarray(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, bytes);
}

void *memalign(size_t alignment, size_t n);
void *memalign(size_t alignment, size_t n)
{
    return fails(n) ? NULL : real_memalign(alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return fails(n) ? NULL : real_memalign(alignment, n);
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
    void *made = fails(n) ? NULL : real_memalign(alignment, n);
    if (made == NULL)
        return ENOMEM;
    *p = made;
    return 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *),
                   void *of)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (real == NULL)
        real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))(
            uintptr_t)dlsym(RTLD_NEXT, "pthread_create");
    return fails(0) ? EAGAIN : real(thread, attributes, work, of);
}
