// SPDX-License-Identifier: Apache-2.0
/*
 * Memory: a trainer makes one allocation, of the size that its plan states, and none in a step; an
 * allocation that fails leaves nothing behind.
 */
#include "training.h"

/* ---- allocations, counted ---- */

static struct {
    bool on;
    uint64_t calls, bytes, frees;
    uint64_t fail_at; // the call that fails, from 1; 0: none
} heap;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTED_HEAP 1

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_memalign(size_t alignment, size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void __libc_free(void *p);

static bool refused(size_t n)
{
    if (!heap.on)
        return false;
    heap.calls++;
    heap.bytes += n;
    return heap.calls == heap.fail_at;
}

void *malloc(size_t n)
{
    return refused(n) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return refused(n * size) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return refused(n) ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return refused(n) ? NULL : __libc_memalign(alignment, n);
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
    *p = refused(n) ? NULL : __libc_memalign(alignment, n);
    return *p == NULL ? 12 : 0;
}

void free(void *p)
{
    if (heap.on && p != NULL)
        heap.frees++;
    __libc_free(p);
}
#else
#define COUNTED_HEAP 0
#endif

/* ---- tests ---- */

static struct data data;

static void no_allocation_in_steps(void **state)
{
    (void)state;
    if (!COUNTED_HEAP)
        skip();
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int variant = 0; variant < ODD_PLANS; variant++) {
            struct tet_plan p = odd_plan((enum tet_rule_name)rule, variant);
            p.epochs = 2;
            odd_data(&data, 37, variant);
            static struct log log;
            struct tet_trainer *t = make(&p, &data, &log);
            memset(&heap, 0, sizeof heap);
            heap.on = true;
            const enum tet_event event = run(t);
            heap.on = false;
            assert_int_equal(event, TET_FINISHED);
            assert_int_equal(heap.calls, 0);
            assert_int_equal(heap.frees, 0);
            tet_trainer_destroy(t);
        }
}

/* A trainer's one allocation is what tet_plan_memory says, small or large. */
static void memory_is_known(void **state)
{
    (void)state;
    if (!COUNTED_HEAP)
        skip();
    for (int variant = 0; variant <= ODD_PLANS; variant++)
        for (int rule = 0; rule < TET_RULES; rule++) {
            const bool large = variant == ODD_PLANS;
            struct tet_plan p = odd_plan((enum tet_rule_name)rule, large ? 0 : variant);
            p.standardize = TET_STANDARDIZE_NONE; // which needs memory for a while
            if (large)
                p.hidden[0].units = p.hidden[0].descending_units = 2500;
            odd_data(&data, 38, large ? 0 : variant);
            struct tet_trainer *t = NULL;
            memset(&heap, 0, sizeof heap);
            heap.on = true;
            const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL);
            heap.on = false;
            assert_int_equal(err, TET_OK);
            assert_int_equal(heap.calls, 1);
            tet_trainer_destroy(t);
            const uint64_t stated = tet_plan_memory(&p, &data.set.shape);
            if (heap.bytes != stated)
                fail_msg("rule %d: %llu bytes allocated, tet_plan_memory says %llu", rule,
                         (unsigned long long)heap.bytes, (unsigned long long)stated);
        }
}

static void failing_allocations(void **state)
{
    (void)state;
    if (!COUNTED_HEAP)
        skip();
    for (int variant = 0; variant < ODD_PLANS; variant++) {
        const struct tet_plan p = odd_plan(TET_RULE_SAL, variant);
        odd_data(&data, 39, variant);
        bool failed = true;
        for (uint64_t nth = 1; failed; nth++) {
            struct tet_error error = {0};
            struct tet_trainer *t = (void *)&data;
            memset(&heap, 0, sizeof heap);
            heap.fail_at = nth;
            heap.on = true;
            const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error);
            heap.on = false;
            failed = heap.calls >= nth;
            if (failed) {
                assert_int_equal(err, TET_NO_MEMORY);
                assert_int_equal(error.err, TET_NO_MEMORY);
                assert_null(t);
                assert_int_equal(heap.frees, heap.calls - 1);
            } else
                assert_int_equal(err, TET_OK);
            tet_trainer_destroy(t);
            assert_true(nth > 1 || failed);
        }
    }
    // so does more than there is; and nothing leaks when the plan does not fit the data
    struct tet_plan p = odd_plan(TET_RULE_SAL, 1);
    odd_data(&data, 39, 1);
    p.n_train = 71;
    struct tet_trainer *t = NULL;
    memset(&heap, 0, sizeof heap);
    heap.on = true;
    const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL);
    heap.on = false;
    assert_int_equal(err, TET_BAD_DATASET);
    assert_null(t);
    assert_int_equal(heap.frees, heap.calls);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_allocation_in_steps),
        cmocka_unit_test(memory_is_known),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
