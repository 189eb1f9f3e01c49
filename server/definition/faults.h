// SPDX-License-Identifier: Apache-2.0
/*
 * Faults: what is wrong with a definition, collected in full instead of stopping at the first.
 *
 * A fault is {"pointer", "found", "allowed"} and perhaps "hint". One place has one fault: the first
 * wins, so that a value that is wrong in itself is not reported again by a check that depends on
 * it, and a fault that all runs of a sweep share appears once.
 *
 * Threads: one for each.
 */
#ifndef SERVER_DEFINITION_FAULTS_H
#define SERVER_DEFINITION_FAULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct sweep_point;

struct faults {
    json_t *list; // array of faults, at most DEFINITION_MAX_FAULTS
    json_t *seen; // object: the pointers that have a fault
    size_t n;     // faults in all
    size_t hits;  // faults in all, the repeated ones too: grows whenever something is wrong
    bool no_memory;
    const struct sweep_point *point; // the run that is looked at, NULL outside a sweep
};

/* faults_init: false for lack of memory; faults_free is right in either case. */
bool faults_init(struct faults *faults);
void faults_free(struct faults *faults);

/* faults_add: one more fault. `pointer` is in the run's definition; where the sweep has set that
 * place it is turned into the place in the sweep. found NULL: null. The words of what is allowed
 * follow as a format. hint may be NULL. */
void faults_add(struct faults *faults, const char *pointer, const json_t *found, const char *hint,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

/* faults_known: whether the place has a fault already; if so it counts as hit again. Saves making
 * costly words. */
bool faults_known(struct faults *faults, const char *pointer);

/* faults_excuse: from now on the place has no faults (what it would hold could not be told). */
void faults_excuse(struct faults *faults, const char *pointer);

/* faults_nearest: the name nearest to `name` among `names` (strings of an array, or keys of an
 * object), by edit distance; NULL where none is near. */
const char *faults_nearest(const char *name, const json_t *names);

#endif
