// SPDX-License-Identifier: Apache-2.0
/* What GET /v1/rules says, as tables for people: see rules.h. */
#include "commands/rules.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definition/rules.h"
#include "json.h"
#include "text.h"

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL ? value : "";
}

/* "W B": the names of an array, in `out`. */
static void join(const json_t *names, char *out, size_t size)
{
    size_t i, n = 0;
    json_t *name;
    out[0] = '\0';
    json_array_foreach(names, i, name)
    {
        if (n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? " " : "",
                                  json_string_value(name));
    }
}

static void print_all(const json_t *rules)
{
    size_t i;
    json_t *rule;
    printf("  %-6s %-10s %-10s %s\n", "rule", "groups", "plastic", "title (source)");
    json_array_foreach(rules, i, rule)
    {
        char groups[32], plastic[32];
        join(json_object_get(rule, "groups"), groups, sizeof groups);
        join(json_object_get(rule, "plastic"), plastic, sizeof plastic);
        printf("  %-6s %-10s %-10s %s (%s)\n", text(rule, "name"), groups, plastic,
               text(rule, "title"), text(rule, "source"));
    }
    printf("\n`tetrad rules NAME` shows a rule's equations and parameters.\n");
}

/* Breaks a text into lines that begin with `indent` spaces. */
static void print_wrapped(const char *words, int indent)
{
    enum { WIDTH = 100 };
    while (*words != '\0') {
        const size_t room = (size_t)(WIDTH - indent), left = strlen(words);
        size_t n = left <= room ? left : room;
        while (n < left && n > 0 && words[n] != ' ')
            n--;
        if (n == 0)
            n = strcspn(words, " ");
        printf("%*s%.*s\n", indent, "", (int)n, words);
        words += n;
        words += strspn(words, " ");
    }
}

static void print_rule(const json_t *rule)
{
    size_t i;
    json_t *p;
    char groups[32], plastic[32];
    join(json_object_get(rule, "groups"), groups, sizeof groups);
    join(json_object_get(rule, "plastic"), plastic, sizeof plastic);
    printf("%s: %s\n%s\n\n", text(rule, "name"), text(rule, "title"), text(rule, "source"));
    print_wrapped(text(rule, "equation"), 2);
    printf("\ngroups of synapses: %s; plastic: %s\n", groups, plastic);
    json_array_foreach(json_object_get(rule, "parameters"), i, p)
    {
        const json_t *value = json_object_get(p, "default");
        char *shown = json_is_null(value) ? NULL : json_text(value);
        if (shown == NULL && !json_is_null(value))
            json_spoil();
        printf("\n%s: %s%s%s\n", text(p, "path"), text(p, "allowed"),
               shown != NULL ? "; default " : "", shown != NULL ? shown : "");
        print_wrapped(text(p, "description"), 2);
        free(shown);
    }
}

int rules_command(const struct options *options)
{
    json_t *all = definition_rules();
    if (all == NULL) {
        fprintf(stderr, "tetrad: out of memory\n");
        return STATUS_MEMORY;
    }
    const json_t *rules = json_object_get(all, "rules");
    const char *name = options->argument[0];
    const json_t *found = NULL;
    struct text_nearest nearest = text_nearest(name != NULL ? name : "");
    int status = STATUS_OK;
    for (size_t i = 0; name != NULL && i < json_array_size(rules); i++) {
        const json_t *rule = json_array_get(rules, i);
        text_consider(&nearest, text(rule, "name"));
        if (strcmp(name, text(rule, "name")) == 0)
            found = rule;
    }
    if (name == NULL)
        print_all(rules);
    else if (found != NULL)
        print_rule(found);
    else {
        fprintf(stderr, "tetrad: there is no rule \"%s\"; `tetrad rules` lists them%s%s\n", name,
                nearest.best != NULL ? "; did you mean " : "",
                nearest.best != NULL ? nearest.best : "");
        status = STATUS_USAGE;
    }
    json_decref(all);
    fflush(stdout);
    if (!json_whole()) {
        fprintf(stderr, "tetrad: out of memory\n");
        status = STATUS_MEMORY;
    }
    return status;
}
