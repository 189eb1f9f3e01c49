// SPDX-License-Identifier: Apache-2.0
/*
 * The locality audit: its verdicts, that no list can be shorter by a word, and that what a rule
 * hides (reads and writes outside of its updates) is found.
 */
#include "audit.h"

#include <stdio.h>

#include "training.h"

static struct tet_audit audit;

static const struct tet_audit_row *row_of(const char *update)
{
    for (size_t i = 0; i < audit.n; i++)
        if (strcmp(audit.rows[i].update, update) == 0)
            return &audit.rows[i];
    fail_msg("no row %s", update);
    return NULL;
}

static void run_audit(enum tet_rule_name name, const struct tet_rule *rule)
{
    struct tet_error error = {0};
    if (tet_audit_rule(&audit, name, rule, &error) != TET_OK)
        fail_msg("%s", error.message);
}

static void expect(const char *what, const char *update, enum tet_verdict verdict, const char *why)
{
    const struct tet_audit_row *row = row_of(update);
    if (row->verdict != verdict || strstr(row->why, why) == NULL)
        fail_msg("%s, %s: got %s, \"%s\", expected %s, \"%s\"", what, update,
                 tet_verdict_text(row->verdict), row->why, tet_verdict_text(verdict), why);
}

static void verdicts(void **state)
{
    (void)state;
    static const struct {
        enum tet_rule_name rule;
        enum tet_verdict verdict;
        const char *update, *why; // the worst row's
    } cases[] = {
        {TET_RULE_BP, TET_VERDICT_NOT_LOCAL, "s_l", "reads W_{l+1}"},
        {TET_RULE_FA, TET_VERDICT_PAIRED, "m_l", "needs s_l at the ascending neuron"},
        {TET_RULE_KP, TET_VERDICT_PAIRED, "B_l", "needs x_{l-1}, m_l at the descending neuron"},
        {TET_RULE_SAL, TET_VERDICT_LOCAL, "s_l", "gated"},
        {TET_RULE_USF, TET_VERDICT_NOT_LOCAL, "F_l", "reads the sign of W_l"},
        {TET_RULE_FRSF, TET_VERDICT_NOT_LOCAL, "F_l", "reads the sign of W_l"},
        {TET_RULE_BRSF, TET_VERDICT_NOT_LOCAL, "F_l", "reads the sign of W_l"},
        {TET_RULE_DFA, TET_VERDICT_PAIRED, "m_l", "needs s_l at the ascending neuron"},
        {TET_RULE_WM, TET_VERDICT_PAIRED, "m_l", "needs s_l at the ascending neuron"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tet_error error = {0};
        const char *name = tet_rule_info(cases[i].rule)->name;
        assert_int_equal(tet_audit(&audit, cases[i].rule, &error), TET_OK);
        expect(name, cases[i].update, cases[i].verdict, cases[i].why);
        if (audit.verdict != cases[i].verdict)
            fail_msg("%s: got %s", name, tet_verdict_text(audit.verdict));
    }
    assert_int_equal(COUNT(cases), TET_RULES);
}

static void every_rule_keeps_its_list(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++) {
        run_audit((enum tet_rule_name)rule, tet_rule((enum tet_rule_name)rule));
        assert_true(audit.n >= 3);
        for (size_t i = 0; i < audit.n; i++) {
            const struct tet_audit_row *row = &audit.rows[i];
            if (row->verdict == TET_VERDICT_WRONG_LIST || row->checked < 4)
                fail_msg("%s, %s: %s, %s, checked %u",
                         tet_rule_info((enum tet_rule_name)rule)->name, row->update,
                         tet_verdict_text(row->verdict), row->why, row->checked);
        }
    }
}

/* The list without its word number `word`, counted from 0; false: it has no such word. */
enum { SHORTER = 80 };

static bool drop_word(const char *list, int word, char *shorter)
{
    const char *at = strchr(list, ' ') + 1;
    for (int i = 0; i < word && at != NULL; i++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    if (at == NULL)
        return false;
    const size_t before = (size_t)(at - list), n = strcspn(at, " ");
    snprintf(shorter, SHORTER, "%.*s%s", (int)before, list, at + n + (at[n] == ' '));
    return true;
}

/* Every word of every list is needed, and found to be missing. */
static void no_list_can_be_shorter(void **state)
{
    (void)state;
    for (int name = 0; name < TET_RULES; name++) {
        const struct tet_rule *whole = tet_rule((enum tet_rule_name)name);
        for (int i = 0; whole->reads[i] != NULL; i++) {
            char shorter[SHORTER];
            for (int word = 0; drop_word(whole->reads[i], word, shorter); word++) {
                struct tet_rule rule = *whole;
                char what[120];
                const char update[] = {shorter[0], '_', 'l', '\0'};
                rule.reads[i] = shorter;
                snprintf(what, sizeof what, "%s with \"%s\"", whole->info.name, shorter);
                run_audit((enum tet_rule_name)name, &rule);
                expect(what, update, TET_VERDICT_WRONG_LIST, "reads more");
                assert_int_equal(audit.verdict, TET_VERDICT_WRONG_LIST);
                for (size_t k = 0; k < audit.n; k++) // and nothing else is blamed
                    if (strcmp(audit.rows[k].update, update) != 0)
                        assert_int_not_equal(audit.rows[k].verdict, TET_VERDICT_WRONG_LIST);
            }
        }
    }
}

static void lists_that_are_wrong_otherwise(void **state)
{
    (void)state;
    struct tet_rule rule = *tet_rule(TET_RULE_SAL);
    rule.reads[0] = "s_l: B_{l+1} s_{l+1} gate(g_l) W_{l+1}";
    run_audit(TET_RULE_SAL, &rule);
    expect("sal that lists W", "s_l", TET_VERDICT_NOT_LOCAL, "reads W_{l+1}");
    rule.reads[0] = "s_l: B_{l+1} s_{l+1} g_l m_{l+1} sign(W_{l+1})";
    run_audit(TET_RULE_SAL, &rule);
    expect("sal that lists two", "s_l", TET_VERDICT_NOT_LOCAL,
           "reads m_{l+1}, the sign of W_{l+1}");

    rule = *tet_rule(TET_RULE_SAL);
    for (int i = 2; i + 1 < TET_READS; i++) // without u_l
        rule.reads[i] = rule.reads[i + 1];
    run_audit(TET_RULE_SAL, &rule);
    expect("sal without u_l", "u_l", TET_VERDICT_WRONG_LIST, "does not list this update");

    rule = *tet_rule(TET_RULE_FA);
    rule.reads[4] = "V_l: x_l s_l";
    run_audit(TET_RULE_FA, &rule);
    expect("fa with V", "V_l", TET_VERDICT_WRONG_LIST, "does not make");
}

/* ---- rules that hide something ---- */

static void change_and_write(struct tet_net *net)
{
    tet_rule(TET_RULE_SAL)->change(net);
    net->p[TET_B][2].w[0] += 1.0f; // nobody was told
}

/* Some weights of W_2; one alone may not be there. */
static float some_of_w(const struct tet_net *net)
{
    const float *w = net->p[TET_W][2].w;
    return w[0] + w[1] + w[2] + w[3];
}

static void descend_and_write(struct tet_net *net)
{
    tet_rule(TET_RULE_SAL)->descend(net);
    net->s[1][0] += some_of_w(net);
}

/* Reads W between two updates: a factor for what comes next. */
static void descend_by_size(struct tet_net *net)
{
    const float factor = some_of_w(net);
    tet_rule(TET_RULE_SAL)->descend(net);
    tet_net_look(net, net->u[1], true);
    net->u[1][0] *= factor;
    tet_net_look(net, net->u[1], false);
}

static void what_is_hidden_is_found(void **state)
{
    (void)state;
    struct tet_rule rule = *tet_rule(TET_RULE_SAL);
    rule.change = change_and_write;
    run_audit(TET_RULE_SAL, &rule);
    expect("a hidden write", "B_l", TET_VERDICT_WRONG_LIST, "outside of the updates");
    rule = *tet_rule(TET_RULE_SAL);
    rule.descend = descend_and_write;
    run_audit(TET_RULE_SAL, &rule);
    assert_int_equal(audit.verdict, TET_VERDICT_WRONG_LIST);
    rule.descend = descend_by_size;
    run_audit(TET_RULE_SAL, &rule);
    expect("a hidden read", "u_l", TET_VERDICT_WRONG_LIST, "reads more");
}

static void any_kernels(void **state)
{
    (void)state;
    struct tet_error error = {0};
    setenv("TETRAD_ISA", "scalar", 1);
    assert_int_equal(tet_audit(&audit, TET_RULE_SAL, &error), TET_OK);
    assert_int_equal(audit.verdict, TET_VERDICT_LOCAL);
    assert_int_equal(tet_audit(&audit, TET_RULE_BP, &error), TET_OK);
    assert_int_equal(audit.verdict, TET_VERDICT_NOT_LOCAL);
    setenv("TETRAD_ISA", "none", 1);
    assert_int_equal(tet_audit(&audit, TET_RULE_SAL, &error), TET_BAD_REQUEST);
    unsetenv("TETRAD_ISA");
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test(every_rule_keeps_its_list),
        cmocka_unit_test(no_list_can_be_shorter),
        cmocka_unit_test(lists_that_are_wrong_otherwise),
        cmocka_unit_test(what_is_hidden_is_found),
        cmocka_unit_test(any_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
