// SPDX-License-Identifier: Apache-2.0
/* The table of rules. */
#include "rules/rules.h"

static const struct tet_rule *const rules[TET_RULES] = {
    [TET_RULE_BP] = &tet_rule_bp,     [TET_RULE_FA] = &tet_rule_fa,
    [TET_RULE_KP] = &tet_rule_kp,     [TET_RULE_SAL] = &tet_rule_sal,
    [TET_RULE_USF] = &tet_rule_usf,   [TET_RULE_FRSF] = &tet_rule_frsf,
    [TET_RULE_BRSF] = &tet_rule_brsf, [TET_RULE_DFA] = &tet_rule_dfa,
    [TET_RULE_WM] = &tet_rule_wm,
};

const struct tet_rule *tet_rule(enum tet_rule_name name)
{
    return rules[name];
}

const struct tet_rule_info *tet_rule_info(enum tet_rule_name name)
{
    return &rules[name]->info;
}

void tet_rule_learn_top_down(struct tet_net *net, bool change)
{
    const struct tet_rule *rule = net->rule;
    if (rule->change_stage == NULL) {
        rule->descend(net);
        if (change)
            rule->change(net);
        return;
    }
    for (uint32_t l = net->L; l >= 1; l--) {
        if (l < net->L)
            rule->descend_to(net, l);
        if (change)
            rule->change_stage(net, l);
    }
}

const char *tet_group_name(enum tet_group group)
{
    static const char *const names[TET_GROUPS] = {"W", "B", "V", "U", "D"};
    return names[group];
}
