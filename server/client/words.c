// SPDX-License-Identifier: Apache-2.0
/* What the commands read from the command line and say to people: identities, members of replies,
 * refusals: see client.h. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "terminal.h"
#include "text.h"

volatile sig_atomic_t client_interrupted;

static void on_interrupt(int number)
{
    (void)number;
    client_interrupted = 1;
}

void client_catch_interrupt(void)
{
    const struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
}

/* ---- identities ---- */

enum tet_err client_id(struct client *c, const char *text, int allowed, struct client_id *id)
{
    static const char *const forms[] = {[CLIENT_EXPERIMENT] = "an experiment, such as 3",
                                        [CLIENT_RUN] = "a run, such as r7",
                                        [CLIENT_EXPERIMENT + CLIENT_RUN] =
                                            "an experiment, such as 3, or a run, such as r7"};
    if (text == NULL)
        return tet_error_set(&c->error, TET_BAD_REQUEST, "found nothing, allowed %s",
                             forms[allowed]);
    const char *digits = text + (text[0] == 'r');
    char *end = NULL;
    id->run = digits != text;
    id->number = strtoll(digits, &end, 10); // too large a number stays a number that nothing has
    if (digits[0] < '1' || digits[0] > '9' || *end != '\0' || strlen(digits) > 18)
        return tet_error_set(&c->error, TET_BAD_REQUEST, "found \"%.40s\", allowed %s", text,
                             forms[allowed]);
    if (!id->run && allowed == CLIENT_RUN)
        return tet_error_set(&c->error, TET_BAD_REQUEST,
                             "%s is an experiment, allowed %s: did you mean r%s?", text,
                             forms[allowed], text);
    if (id->run && allowed == CLIENT_EXPERIMENT)
        return tet_error_set(&c->error, TET_BAD_REQUEST, "%s is a run, allowed %s", text,
                             forms[allowed]);
    return TET_OK;
}

const char *client_kind(struct client_id id)
{
    return id.run ? "run" : "experiment";
}

const char *client_id_text(struct client_id id, char text[32])
{
    snprintf(text, 32, "%s%lld", id.run ? "r" : "", (long long)id.number);
    return text;
}

/* ---- members of replies ---- */

const char *client_text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL ? value : "";
}

json_int_t client_integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

bool client_ended(const char *state)
{
    return state != NULL && *state != '\0' && strcmp(state, "queued") != 0 &&
           strcmp(state, "running") != 0 && strcmp(state, "paused") != 0;
}

/* ---- what is printed ---- */

/* What is wrong with a request is the caller's command line where no definition was sent. */
static int status_of_refusal(const struct client *c)
{
    if (c->status == 400 && (c->options->command & (COMMANDS_NEW | COMMAND_IMPORT)) == 0)
        return STATUS_USAGE;
    return c->status == 422 || c->status == 400 || c->status == 413 ? STATUS_DEFINITION
                                                                    : STATUS_SERVER;
}

bool client_good(const struct client *c, const json_t *reply, int *status)
{
    if (c->status >= 200 && c->status < 300)
        return true;
    const json_t *error = json_object_get(reply, "error");
    struct text text = {0};
    const char *message = client_text(error, "message");
    text_visible(&text, *message != '\0' ? message : "?");
    fprintf(stderr, "tetrad: the server answers %ld: %s%s\n", c->status, text_get(&text),
            c->status == 401 && c->token[0] == '\0' ? " (--token-file, TETRAD_TOKEN)" : "");
    if (c->json)
        client_print(reply);
    else
        faults_print(stderr, json_object_get(error, "details"));
    text_free(&text);
    *status = status_of_refusal(c);
    return false;
}

void client_print(const json_t *value)
{
    struct text text = {0};
    char *json = json_text(value);
    text_visible(&text, json != NULL ? json : "null");
    puts(text_get(&text));
    fflush(stdout);
    text_free(&text);
    free(json);
}

void client_query(const struct client *c, char *path, const char *key, const char *value)
{
    const size_t n = strlen(path);
    char *escaped = value != NULL ? curl_easy_escape(c->curl, value, 0) : NULL;
    if (escaped != NULL)
        snprintf(path + n, CLIENT_PATH - n, "%c%s=%s", strchr(path, '?') != NULL ? '&' : '?', key,
                 escaped);
    curl_free(escaped);
}

const char *client_where(const struct client *c, char text[512])
{
    text[0] = '\0';
    if (!c->options->fallback[OPTION_SERVER])
        snprintf(text, 512, " --server %s", c->server);
    return text;
}
