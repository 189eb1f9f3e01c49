// SPDX-License-Identifier: Apache-2.0
/* What a rule lists, "B_l: u_{l-1} s_l", read and judged: see audit.h. */
#include "audit.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 24 };

const char *tet_verdict_text(enum tet_verdict verdict)
{
    static const char *const texts[] = {
#define X(name, text) text,
        TET_VERDICTS(X)
#undef X
    };
    return texts[verdict];
}

static bool is_gated(const char *word)
{
    return strncmp(word, "gate(", 5) == 0;
}

bool tet_reads_next(const struct tet_net *net, const char **list, uint32_t l, char *kind,
                    uint32_t *layer)
{
    const char *at = *list + strspn(*list, " ");
    const size_t n = strcspn(at, " ");
    *list = at + n;
    if (n == 0)
        return false;
    const bool gated = is_gated(at);
    if (gated || strncmp(at, "sign(", 5) == 0)
        at += 5;
    *kind = gated && !net->plan.gate ? '-' : at[0];
    *layer = strncmp(at + 1, "_{l+1}", 6) == 0   ? l + 1
             : strncmp(at + 1, "_{l-1}", 6) == 0 ? l - 1
             : strncmp(at + 1, "_L", 2) == 0     ? net->L
                                                 : l;
    return true;
}

const char *tet_reads_of(const struct tet_rule *rule, char kind)
{
    for (size_t i = 0; i < TET_READS && rule->reads[i] != NULL; i++)
        if (rule->reads[i][0] == kind && strncmp(rule->reads[i] + 1, "_l: ", 4) == 0)
            return rule->reads[i] + 5;
    return NULL;
}

static bool has_word(const char *list, const char *word, size_t n)
{
    for (const char *at = list; (at = strstr(at, word)) != NULL && *word != '\0'; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

/* What is at the place of an update: see audit.h. A lateral brings its own; without one, s_l
 * reaches the ascending neuron, and x_l the descending one, by pairing. */
static const struct {
    char kind;
    enum tet_verdict verdict;
    const char *items, *where;
} places[] = {
    {'F', TET_VERDICT_LOCAL, "B_l", NULL},
    {'s', TET_VERDICT_LOCAL, "B_{l+1} F_{l+1} s_{l+1} D_l s_L", NULL},
    {'s', TET_VERDICT_PAIRED, "g_l x_l", "descending"},
    {'m', TET_VERDICT_LOCAL, "V_l g_l", NULL},
    {'m', TET_VERDICT_PAIRED, "s_l", "ascending"},
    {'u', TET_VERDICT_LOCAL, "U_l x_l", NULL},
    {'W', TET_VERDICT_LOCAL, "m_l x_{l-1} x_l g_l", NULL},
    {'W', TET_VERDICT_PAIRED, "s_l", "ascending"},
    {'b', TET_VERDICT_LOCAL, "m_l x_l g_l", NULL},
    {'V', TET_VERDICT_LOCAL, "x_l s_l m_l g_l", NULL},
    {'B', TET_VERDICT_LOCAL, "u_{l-1} s_l s_{l-1}", NULL},
    {'B', TET_VERDICT_PAIRED, "x_{l-1} m_l", "descending"},
    {'U', TET_VERDICT_LOCAL, "s_l x_l u_l", NULL},
};

static enum tet_verdict place_of(char kind, const char *list, const char *word, size_t n,
                                 const char **where)
{
    char item[NAME];
    snprintf(item, sizeof item, "%.*s", (int)(n < NAME ? n : NAME - 1), word);
    if (kind == 'm' && strcmp(item, "s_l") == 0 && has_word(list, "V_l", 3))
        return TET_VERDICT_LOCAL;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (places[i].kind == kind && has_word(places[i].items, item, strlen(item))) {
            *where = places[i].where;
            return places[i].verdict;
        }
    return TET_VERDICT_NOT_LOCAL;
}

void tet_reads_judge(struct tet_audit_row *row)
{
    const char *at = row->reads, *place = "";
    bool gated = false;
    char items[sizeof row->reads] = "";
    for (size_t n; at += strspn(at, " "), (n = strcspn(at, " ")) > 0; at += n) {
        const char *where = "";
        const enum tet_verdict verdict = place_of(row->update[0], row->reads, at, n, &where);
        gated = gated || is_gated(at);
        if (is_gated(at) || verdict == TET_VERDICT_LOCAL || verdict < row->verdict)
            continue;
        if (verdict > row->verdict)
            items[0] = '\0';
        row->verdict = verdict;
        place = where;
        const size_t used = strlen(items);
        const bool sign = strncmp(at, "sign(", 5) == 0;
        snprintf(items + used, sizeof items - used, "%s%s%.*s", used > 0 ? ", " : "",
                 sign ? "the sign of " : "", (int)(sign ? n - 6 : n), sign ? at + 5 : at);
    }
    if (row->verdict == TET_VERDICT_LOCAL && gated)
        snprintf(
            row->why, sizeof row->why,
            "gated, or below max_pool, needs g_l at the descending neuron (paired one to one)");
    if (row->verdict == TET_VERDICT_PAIRED)
        snprintf(row->why, sizeof row->why, "needs %s at the %s neuron (paired one to one)", items,
                 place);
    if (row->verdict == TET_VERDICT_NOT_LOCAL)
        snprintf(row->why, sizeof row->why, "reads %s", items);
}
