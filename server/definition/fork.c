// SPDX-License-Identifier: Apache-2.0
/*
 * Forks: see fork.h.
 *
 * The changes are read as a sweep of one value each, so that paths and values are checked as
 * everywhere; what comes out is read again by itself, as the definition of the experiment.
 *
 * Any thread.
 */
#include "definition/fork.h"

#include <stdlib.h>
#include <string.h>

#include "definition/faults.h"
#include "definition/resolve.h"
#include "text.h"

struct forking {
    const struct fork_parent *parent;
    const json_t *changes;
    struct definition_context context;
    struct faults faults;
    struct tet_error *error;
    json_t *base; // the parent's definition, on its way to the fork's
    struct tet_plan before, after;
};

static const json_t *get(const json_t *value, const char *key, const char *key2)
{
    return json_object_get(json_object_get(value, key), key2);
}

static void refuse(struct forking *f, const char *path, const char *allowed)
{
    struct text pointer = {0};
    text_puts(&pointer, "/changes");
    text_token(&pointer, path);
    f->faults.no_memory |= pointer.failed;
    faults_add(&f->faults, text_get(&pointer), json_object_get(f->changes, path), NULL, "%s",
               allowed);
    text_free(&pointer);
}

/* ---- which paths ---- */

static bool is_below(const char *path, const char *section)
{
    const size_t n = strlen(section);
    return strncmp(path, section, n) == 0 && path[n] == '.';
}

static bool may_change(const char *path)
{
    static const char *const whole[] = {"name", "tags", "optimizer", "record", "interventions"};
    static const char *const parts[] = {"rule", "optimizer", "training", "record", "interventions"};
    if (strcmp(path, "training.batch") == 0 || strcmp(path, "training.shuffle") == 0 ||
        strcmp(path, "rule.delay") == 0 || is_below(path, "rule.delay"))
        return false; // what waits came from other mini-batches, or is not there
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strcmp(path, whole[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (is_below(path, parts[i]))
            return true;
    return false;
}

/* What a sweep cannot set, since it makes no other run of it. */
static bool is_plain(const char *path)
{
    static const char *const plain[] = {"name",
                                        "tags",
                                        "training.threads",
                                        "record.checkpoint_epochs",
                                        "record.keep",
                                        "record.keep_best"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(path, plain[i]) == 0)
            return true;
    return false;
}

static bool set_plain(json_t *base, const char *path, json_t *value)
{
    const char *dot = strchr(path, '.');
    char section[32];
    if (dot == NULL)
        return json_object_set(base, path, value) == 0;
    snprintf(section, sizeof section, "%.*s", (int)(dot - path), path);
    return json_object_set(json_object_get(base, section), dot + 1, value) == 0;
}

/* ---- the parent's definition, made ready ---- */

/* What a group has from the optimizer is left out: it follows if that is changed. */
static void unwrite_rates(json_t *base)
{
    static const char *const keys[] = {"lr", "decay"};
    json_t *groups = json_object_get(json_object_get(base, "optimizer"), "groups");
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        json_t *group = json_object_get(groups, tet_group_name((enum tet_group)g));
        for (size_t k = 0; k < 2; k++) {
            json_t *rate = resolve_default_rate(base, g, keys[k]);
            const json_t *own = json_object_get(group, keys[k]);
            if (own != NULL && rate != NULL && json_number_value(own) == json_number_value(rate))
                json_object_del(group, keys[k]);
            json_decref(rate);
        }
    }
}

/* Whether the rule has no use for an intervention: as is_of_rule says no of it in a plan. */
static bool lacks(const struct tet_rule_info *info, const json_t *intervention)
{
    const int group = resolve_group(json_string_value(json_object_get(intervention, "group")));
    const char *neurons = json_string_value(json_object_get(intervention, "neurons")),
               *type = json_string_value(json_object_get(intervention, "type"));
    if (neurons != NULL && strcmp(neurons, "descending") == 0)
        return !tet_rule_descends(info);
    if (group >= 0 && info->fixed[group] && type != NULL && strcmp(type, "unfreeze") == 0)
        return true;
    return group >= 0 && !info->group[group];
}

/* What is recorded of groups that the rule lacks. */
static void suit_record(json_t *record, const struct tet_rule_info *info)
{
    json_t *groups = json_object_get(json_object_get(record, "traces"), "groups"),
           *synapses = json_object_get(record, "synapses");
    if (!info->group[TET_V])
        json_object_del(record, "spectrum");
    for (size_t i = json_array_size(groups); i-- > 0;) {
        const int group = resolve_group(json_string_value(json_array_get(groups, i)));
        if (group >= 0 && !info->group[group])
            json_array_remove(groups, i);
    }
    if (json_array_size(groups) == 0)
        json_object_del(record, "traces");
    for (size_t i = json_array_size(synapses); i-- > 0;) {
        struct tet_synapse synapse = {0};
        if (resolve_synapse(json_string_value(json_array_get(synapses, i)), &synapse) &&
            !info->group[synapse.group])
            json_array_remove(synapses, i);
    }
}

/* Without what another rule has no use for, or would have otherwise. */
static void suit_rule(json_t *base, const char *name)
{
    const int old = resolve_rule(json_string_value(get(base, "rule", "name"))),
              rule = resolve_rule(name);
    if (rule < 0 || old < 0)
        return; // the schema's business
    const struct tet_rule_info *info = tet_rule_info((enum tet_rule_name)rule);
    json_t *groups = (json_t *)(uintptr_t)get(base, "rule", "groups"),
           *rates = (json_t *)(uintptr_t)get(base, "optimizer", "groups"),
           *list = json_object_get(base, "interventions");
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const char *group = tet_group_name((enum tet_group)g);
        if (!info->group[g])
            json_object_del(groups, group);
        if (!resolve_has_rates(info, (enum tet_group)g))
            json_object_del(rates, group);
        if (info->fixed[g] != tet_rule_info((enum tet_rule_name)old)->fixed[g])
            json_object_del(json_object_get(groups, group), "plastic");
    }
    if (!info->takes_gate)
        json_object_del(json_object_get(base, "rule"), "gate");
    if (!info->mirrors)
        json_object_del(json_object_get(base, "rule"), "mirror");
    if (!resolve_is_homeostatic(info))
        json_object_del(json_object_get(base, "rule"), "homeostasis");
    for (size_t i = json_array_size(list); i-- > 0;)
        if (lacks(info, json_array_get(list, i)))
            json_array_remove(list, i);
    suit_record(json_object_get(base, "record"), info);
}

static enum tet_err make_base(struct forking *f)
{
    const char *rule = json_string_value(json_object_get(f->changes, "rule.name")), *path;
    json_t *value, *sweep = json_object();
    enum tet_err err =
        json_read(&f->base, f->parent->resolved, strlen(f->parent->resolved), f->error);
    json_t *fork = json_pack("{s:I, s:I, s:s}", "run", (json_int_t)f->parent->run, "step",
                             (json_int_t)f->parent->cursor.step, "digest", f->parent->digest);
    if (err == TET_OK && json_object_set_new(f->base, "fork", fork) != 0)
        err = TET_NO_MEMORY;
    else if (err != TET_OK)
        json_decref(fork);
    unwrite_rates(f->base);
    if (rule != NULL)
        suit_rule(f->base, rule);
    json_object_foreach((json_t *)(uintptr_t)f->changes, path, value)
    {
        bool set = true;
        if (!may_change(path))
            refuse(
                f, path,
                "name, tags, optimizer, record, interventions and what is below them, rule.* but "
                "delay, training.* but batch and shuffle: a fork goes on with its parent's "
                "dataset, "
                "network and mini-batches");
        else if (is_plain(path))
            set = set_plain(f->base, path, value);
        else
            set = json_object_set_new(sweep, path, json_pack("[O]", value)) == 0;
        err = err == TET_OK && !set ? TET_NO_MEMORY : err;
    }
    if (err == TET_OK && json_object_size(sweep) > 0 &&
        json_object_set(f->base, "sweep", sweep) != 0)
        err = TET_NO_MEMORY;
    json_decref(sweep);
    return err;
}

/* ---- faults where the caller wrote them ---- */

/* "/sweep/training.epochs/0/..." and "/training/threads" are "/changes/training.epochs/..." and so
 * on. */
static void move_fault(const struct forking *f, json_t *fault)
{
    const char *pointer = json_string_value(json_object_get(fault, "pointer")), *path;
    json_t *value;
    struct text moved = {0};
    if (strncmp(pointer, "/sweep/", 7) == 0) {
        const size_t n = strcspn(pointer + 7, "/");
        const char *rest = pointer + 7 + n;
        rest += strncmp(rest, "/0", 2) == 0 ? 2 : 0;
        text_printf(&moved, "/changes/%.*s%s", (int)n, pointer + 7, rest);
    }
    json_object_foreach((json_t *)(uintptr_t)f->changes, path, value)
    {
        struct text place = {0};
        text_puts(&place, "/");
        for (const char *c = path; *c != '\0'; c++)
            text_add(&place, *c == '.' ? "/" : c, 1);
        const size_t n = place.size;
        if (is_plain(path) && !place.failed && strncmp(pointer, text_get(&place), n) == 0)
            text_printf(&moved, "/changes/%s%s", path, pointer + n);
        text_free(&place);
    }
    if (moved.size > 0 && !moved.failed)
        json_object_set_new(fault, "pointer", json_string(text_get(&moved)));
    text_free(&moved);
}

static enum tet_err read_text(struct forking *f, const json_t *value, struct definition **d,
                              json_t **details)
{
    char *text = json_canonical(value);
    if (text == NULL)
        return TET_NO_MEMORY;
    const enum tet_err err = definition_read(d, details, text, strlen(text), &f->context, f->error);
    json_t *fault;
    size_t i;
    json_array_foreach(*details, i, fault)
    {
        move_fault(f, fault);
    }
    free(text);
    return err;
}

/* ---- whether the checkpoint is the fork's too ---- */

static enum tet_err plans(struct forking *f, const json_t *resolved)
{
    struct dataset_spec spec;
    struct dataset_info info;
    json_t *parent = NULL;
    enum tet_err err =
        json_read(&parent, f->parent->resolved, strlen(f->parent->resolved), f->error);
    if (err == TET_OK)
        err = definition_dataset(&spec, resolved, f->error);
    if (err == TET_OK)
        err = catalog_info(f->context.catalog, &spec, &info, f->error);
    if (err == TET_OK)
        err = definition_plan(&f->before, parent, &info, f->error);
    if (err == TET_OK)
        err = definition_plan(&f->after, resolved, &info, f->error);
    json_decref(parent);
    return err;
}

static void check_length(struct forking *f)
{
    struct tet_error why = {0};
    if (tet_cursor_check(&f->after, &f->parent->cursor, &why) == TET_OK)
        return;
    const char *path = json_object_get(f->changes, "training.epochs") != NULL
                           ? "training.epochs"
                           : "training.max_steps";
    char allowed[200];
    snprintf(allowed, sizeof allowed,
             "a length that the checkpoint fits: it is after %llu mini-batches, %u whole epochs%s",
             (unsigned long long)f->parent->cursor.step, f->parent->cursor.epoch,
             f->before.max_steps > 0 ? ", where the parent's max_steps ends" : "");
    if (json_object_get(f->changes, path) != NULL)
        refuse(f, path, allowed);
    else
        faults_add(&f->faults, "/step", NULL, NULL, "%s", allowed);
}

/* A run that the validation part has ended holds the weights that were selected, and goes on no more:
 * a change of how long it trains would do nothing. */
static void check_end(struct forking *f)
{
    static const char *const of_end[] = {"training.epochs", "training.max_steps", "training.select",
                                         "training.early_stopping"};
    const char *path;
    json_t *value;
    if (!f->parent->final)
        return;
    json_object_foreach((json_t *)(uintptr_t)f->changes, path, value)
    {
        for (size_t i = 0; i < sizeof of_end / sizeof *of_end; i++)
            if (strcmp(path, of_end[i]) == 0 || is_below(path, of_end[i]))
                refuse(f, path,
                       "the parent's: its validation part has ended it at this checkpoint, with "
                       "the weights that it selected; an earlier step goes on");
    }
}

/* Parts of a checkpoint that are of the parent's rule: what waits for its signal, and the copy of the
 * best epoch's weights. */
static void check_rule(struct forking *f)
{
    const struct tet_plan *before = &f->before, *after = &f->after;
    const bool *had = tet_rule_info(before->rule)->group, *has = tet_rule_info(after->rule)->group;
    if (before->rule == after->rule)
        return;
    if (after->delay.batches > 0 && after->delay.eligibility)
        refuse(
            f, "rule.name",
            "the parent's: with rule.delay.eligibility what its rule did waits in the checkpoint");
    else if (before->selection.best && after->selection.best &&
             memcmp(had, has, TET_GROUPS * sizeof *had) != 0)
        refuse(f, "rule.name",
               "a rule with the parent's groups of synapses, or training.select last: the best "
               "epoch's weights so far are of them");
}

static bool silences(const struct tet_intervention *v)
{
    return v->type == TET_LESION || v->type == TET_SILENCE_ASCENDING ||
           v->type == TET_SILENCE_DESCENDING;
}

/* A new order of the examples begins with an epoch; wiring, the signs of neurons and lesions were
 * drawn from the old seed. */
static void check_seed(struct forking *f)
{
    bool drawn = false;
    if (f->before.seed == f->after.seed)
        return;
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const struct tet_group_plan *group = &f->after.group[g];
        drawn = drawn || (group->probability > 0.0f && group->probability < 1.0f) ||
                group->excitatory > 0.0f;
    }
    for (uint32_t i = 0; i < f->before.n_interventions; i++)
        drawn = drawn || (silences(&f->before.interventions[i]) &&
                          f->before.interventions[i].step < f->parent->cursor.step);
    if (f->parent->cursor.batch > 0)
        refuse(f, "training.seed", "the parent's: the checkpoint is in the midst of an epoch");
    else if (drawn)
        refuse(f, "training.seed",
               "the parent's: the wiring of sparse groups, the signs of neurons or a lesion were "
               "drawn from it");
}

static bool is_of_rule(const struct tet_plan *plan, const struct tet_intervention *v)
{
    const struct tet_rule_info *info = tet_rule_info(plan->rule);
    if (v->type == TET_SILENCE_DESCENDING)
        return tet_rule_descends(info);
    if (v->type == TET_UNFREEZE && info->fixed[v->group])
        return false;
    return v->group == TET_GROUPS || info->group[v->group];
}

static bool is_same(const struct tet_intervention *a, const struct tet_intervention *b)
{
    return a->step == b->step && a->type == b->type && a->group == b->group &&
           a->layer == b->layer && a->amount == b->amount;
}

static void check_past(struct forking *f)
{
    const uint64_t step = f->parent->cursor.step;
    const struct tet_plan *after = &f->after, *before = &f->before;
    uint32_t k = 0;
    bool same = true;
    for (uint32_t i = 0; i < before->n_interventions && before->interventions[i].step < step; i++)
        if (is_of_rule(after, &before->interventions[i])) {
            same = same && k < after->n_interventions &&
                   is_same(&before->interventions[i], &after->interventions[k]);
            k++;
        }
    same = same && (k >= after->n_interventions || after->interventions[k].step >= step);
    const char *path;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)f->changes, path, value)
    {
        if (same || strncmp(path, "interventions", 13) != 0)
            continue;
        char allowed[160];
        snprintf(allowed, sizeof allowed,
                 "what leaves the first %u as they are, and is after step %llu: they have happened",
                 k, (unsigned long long)step);
        refuse(f, path, allowed);
        same = true; // said
    }
}

/* ---- all together ---- */

static enum tet_err bad_fork(struct forking *f, json_t **details)
{
    *details = json_incref(f->faults.list);
    return tet_error_set(
        f->error, TET_BAD_DEFINITION, "the fork has %zu fault%s; the first, at %s: allowed: %s",
        f->faults.n, f->faults.n == 1 ? "" : "s",
        json_string_value(json_object_get(json_array_get(f->faults.list, 0), "pointer")),
        json_string_value(json_object_get(json_array_get(f->faults.list, 0), "allowed")));
}

static enum tet_err read_fork(struct forking *f, struct definition **d, json_t **details)
{
    struct definition *changed = NULL;
    enum tet_err err = make_base(f);
    if (err == TET_OK && f->faults.n > 0)
        return bad_fork(f, details);
    if (err == TET_OK)
        err = read_text(f, f->base, &changed, details);
    if (err == TET_OK)
        err = read_text(f, changed->runs[0].resolved, d, details);
    if (err == TET_OK) {
        json_decref((*d)->runs[0].parameters);
        (*d)->runs[0].parameters = json_incref(changed->runs[0].parameters);
        err = plans(f, (*d)->runs[0].resolved);
    }
    definition_free(changed);
    if (err != TET_OK)
        return err;
    check_length(f);
    check_end(f);
    check_rule(f);
    check_seed(f);
    check_past(f);
    return f->faults.n > 0 ? bad_fork(f, details) : TET_OK;
}

enum tet_err fork_read(struct definition **definition, json_t **details,
                       const struct fork_parent *parent, const json_t *changes,
                       const struct definition_context *context, struct tet_error *error)
{
    struct forking f = {.parent = parent, .changes = changes, .context = *context, .error = error};
    enum tet_err err = TET_NO_MEMORY;
    f.context.forking = true;
    *definition = NULL;
    *details = NULL;
    if (faults_init(&f.faults))
        err = read_fork(&f, definition, details);
    if (err == TET_OK && f.faults.no_memory)
        err = TET_NO_MEMORY;
    if (err != TET_OK) {
        tet_error_set(error, err, "%s", tet_err_message(err));
        definition_free(*definition);
        *definition = NULL;
    }
    faults_free(&f.faults);
    json_decref(f.base);
    return err;
}
