// SPDX-License-Identifier: Apache-2.0
/* The locality audit on the command line: see audit.h. */
#include "commands/audit.h"

#include <stdio.h>
#include <string.h>

#include <tetrad/audit.h>

#include "text.h"

static void print_row(const struct tet_audit_row *row)
{
    printf("  %-6s reads %-28s %-10s %s\n", row->update, row->reads, tet_verdict_text(row->verdict),
           row->why);
}

static enum tet_err audit(enum tet_rule_name rule, bool *local, struct tet_error *error)
{
    struct tet_audit found;
    const struct tet_rule_info *info = tet_rule_info(rule);
    const enum tet_err err = tet_audit(&found, rule, error);
    if (err != TET_OK)
        return err;
    printf("%s, %s: %s\n", info->name, info->title, tet_verdict_text(found.verdict));
    for (size_t i = 0; i < found.n; i++)
        print_row(&found.rows[i]);
    *local = *local && found.verdict <= TET_VERDICT_PAIRED;
    return TET_OK;
}

static void refuse(const char *name, struct tet_error *error)
{
    struct text names = {0};
    struct text_nearest near = text_nearest(name);
    for (int rule = 0; rule < TET_RULES; rule++) {
        const char *known = tet_rule_info((enum tet_rule_name)rule)->name;
        text_printf(&names, "%s%s", rule > 0 ? ", " : "", known);
        text_consider(&near, known);
    }
    tet_error_set(error, TET_BAD_REQUEST, "there is no rule \"%.40s\"%s%s%s; allowed: %s", name,
                  near.best != NULL ? ", did you mean " : "", near.best != NULL ? near.best : "",
                  near.best != NULL ? "?" : "", text_get(&names));
    text_free(&names);
}

int audit_command(const struct options *options)
{
    struct tet_error error = {0};
    const char *name = options->argument[0];
    bool local = true, found = false;
    for (int rule = 0; rule < TET_RULES && error.err == TET_OK; rule++) {
        if (name != NULL && strcmp(name, tet_rule_info((enum tet_rule_name)rule)->name) != 0)
            continue;
        if (found)
            putchar('\n');
        found = true;
        (void)!audit((enum tet_rule_name)rule, &local, &error);
    }
    if (!found)
        refuse(name, &error);
    if (error.err != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
        return status_of(error.err);
    }
    return local ? STATUS_OK : STATUS_FAILED;
}
