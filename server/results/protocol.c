// SPDX-License-Identifier: Apache-2.0
/* Tables of protocol runs: see protocol.h. */
#include "results/protocol.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "text.h"

static const char *const columns[] = {"condition",
                                      "synapses",
                                      "n",
                                      "change_mean",
                                      "change_mean_abs",
                                      "change_relative",
                                      "driven_mean",
                                      "driven_mean_abs",
                                      "driven_relative",
                                      "potentiated",
                                      "depressed",
                                      "unchanged",
                                      "stimulated_n",
                                      "stimulated_mean_abs",
                                      "other_mean_abs"};
enum { COLUMNS = sizeof columns / sizeof *columns };

static json_t *row_json(const struct tet_protocol_row *r)
{
    char synapses[16];
    snprintf(synapses, sizeof synapses, "%s%u", tet_group_name(r->group), r->layer);
    json_t *row = json_pack("{s:s, s:s, s:I}", columns[0], tet_condition_text(r->condition),
                            columns[1], synapses, columns[2], (json_int_t)r->n);
    const double values[] = {r->change_mean, r->change_mean_abs, r->change_relative,
                             r->driven_mean, r->driven_mean_abs, r->driven_relative,
                             r->potentiated, r->depressed,       r->unchanged};
    int failed = row == NULL;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        failed |= json_object_set_new(row, columns[3 + i], json_real(values[i]));
    failed |= json_object_set_new(row, columns[12], json_integer((json_int_t)r->stimulated));
    failed |= json_object_set_new(row, columns[13], json_real(r->stimulated_mean_abs));
    failed |= json_object_set_new(row, columns[14], json_real(r->other_mean_abs));
    if (!failed)
        return row;
    json_decref(row);
    return NULL;
}

json_t *protocol_json(const struct tet_protocol_row *rows, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(array, row_json(&rows[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

void protocol_digest(char digest[STORE_HASH], const json_t *rows)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char *text = json_canonical(rows);
    digest[0] = '\0';
    if (text == NULL)
        return;
    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    strcpy(digest, "sha256:");
    sodium_bin2hex(digest + 7, STORE_HASH - 7, hash, sizeof hash);
    free(text);
}

char *protocol_csv(const json_t *rows)
{
    struct text text = {0};
    size_t i;
    json_t *row;
    for (size_t c = 0; c < COLUMNS; c++)
        text_printf(&text, "%s%s", c > 0 ? "," : "", columns[c]);
    text_puts(&text, "\r\n");
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < COLUMNS; c++) {
            const json_t *value = json_object_get(row, columns[c]);
            char *number = json_is_string(value) ? NULL : json_text(value);
            text_printf(&text, "%s%s", c > 0 ? "," : "",
                        json_is_string(value) ? json_string_value(value)
                        : number != NULL      ? number
                                              : "");
            free(number);
        }
        text_puts(&text, "\r\n");
    }
    return text_take(&text);
}

static double number(const json_t *row, const char *column)
{
    return json_number_value(json_object_get(row, column));
}

void protocol_print(FILE *out, const json_t *rows)
{
    size_t i;
    json_t *row;
    const char *before = "";
    fprintf(out, "  %-11s %-8s %8s  %11s  %11s  %9s   %6s %6s %6s  %11s  %11s\n", "stimulated",
            "synapses", "n", "mean change", "beyond decay", "relative", "up", "down", "same",
            "stimulated", "others");
    json_array_foreach(rows, i, row)
    {
        const char *condition = json_string_value(json_object_get(row, "condition"));
        const char *synapses = json_string_value(json_object_get(row, "synapses"));
        condition = condition != NULL ? condition : "?";
        fprintf(out,
                "  %-11s %-8s %8lld  %+11.3e  %+11.3e  %8.3f %%  %5.1f%% %5.1f%% %5.1f%%  %11.3e "
                " %11.3e\n",
                strcmp(condition, before) == 0 ? "" : condition, synapses != NULL ? synapses : "?",
                (long long)json_integer_value(json_object_get(row, "n")),
                number(row, "change_mean"), number(row, "driven_mean"),
                100.0 * number(row, "driven_relative"), 100.0 * number(row, "potentiated"),
                100.0 * number(row, "depressed"), 100.0 * number(row, "unchanged"),
                number(row, "stimulated_mean_abs"), number(row, "other_mean_abs"));
        before = condition;
    }
    fprintf(out,
            "  beyond decay: less what \"neither\" does; relative: |its change| / |weights|; up, "
            "down, same: of the synapses;\n  stimulated, others: mean size beyond decay where "
            "the presynaptic neuron was active, and where not\n");
}

uint32_t protocol_patterns(const json_t *definition)
{
    const char *type = json_string_value(json_object_get(definition, "type"));
    const json_t *patterns = json_object_get(json_object_get(definition, "protocol"), "patterns");
    if (type == NULL || strcmp(type, "protocol") != 0)
        return 0;
    const json_t *given = json_object_get(patterns, "ascending");
    return given != NULL ? (uint32_t)json_array_size(given)
                         : (uint32_t)json_integer_value(json_object_get(patterns, "n"));
}
