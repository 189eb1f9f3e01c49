// SPDX-License-Identifier: Apache-2.0
/*
 * Holds replies against schema/openapi.json: path, method, status, headers, media type, and the
 * body against its schema. Whatever the document does not say fails: a field, a status, a route;
 * and so does a keyword of the document that is not looked at here.
 */
#ifndef TESTS_CONTRACT_H
#define TESTS_CONTRACT_H

#include "api/daemon.h"

#include <ctype.h>
#include <regex.h>

#include "embed.h"

/* Where a value is not what its schema says: the place in the value, and why. */
struct breach {
    char place[200];
    char why[400];
};

static inline const json_t *contract(void)
{
    static json_t *document;
    if (document == NULL)
        document = json_loads(embed_openapi, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    return document;
}

/* The value itself, or what its $ref ("#/components/...") names. */
static inline const json_t *deref(const json_t *value)
{
    const char *ref = json_string_value(json_object_get(value, "$ref"));
    if (ref == NULL)
        return value;
    char path[200], *rest = path, *name;
    const json_t *found = contract();
    assert_true(strncmp(ref, "#/", 2) == 0 && strlen(ref) < sizeof path);
    strcpy(path, ref + 2);
    while ((name = strsep(&rest, "/")) != NULL)
        found = json_object_get(found, name);
    if (found == NULL)
        fail_msg("openapi.json: %s names nothing", ref);
    return found;
}

__attribute__((format(printf, 3, 4))) static inline bool breach(struct breach *b, const char *place,
                                                                const char *format, ...)
{
    va_list args;
    snprintf(b->place, sizeof b->place, "%s", *place != '\0' ? place : "/");
    va_start(args, format);
    vsnprintf(b->why, sizeof b->why, format, args);
    va_end(args);
    return false;
}

static inline bool is_of_type(const json_t *value, const char *type)
{
    static const char *const known[] = {"object", "array",   "string", "integer",
                                        "number", "boolean", "null"};
    const bool is[] = {json_is_object(value),  json_is_array(value),  json_is_string(value),
                       json_is_integer(value), json_is_number(value), json_is_boolean(value),
                       json_is_null(value)};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(type, known[i]) == 0)
            return is[i];
    fail_msg("openapi.json: unknown type %s", type);
    return false;
}

static inline bool type_fits(const json_t *types, const json_t *value)
{
    bool fits = json_is_string(types) && is_of_type(value, json_string_value(types));
    size_t i;
    json_t *type;
    json_array_foreach(types, i, type)
    {
        fits = fits || is_of_type(value, json_string_value(type));
    }
    return fits;
}

static inline bool matches(const char *pattern, const char *text)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    const bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static inline bool fits(const json_t *schema, const json_t *value, const char *place,
                        struct breach *b);

static inline bool object_fits(const json_t *schema, const json_t *value, const char *place,
                               struct breach *b)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *others = json_object_get(schema, "additionalProperties");
    const char *key;
    json_t *member, *name;
    size_t i;
    char at[200];
    json_array_foreach(json_object_get(schema, "required"), i, name)
    {
        if (json_object_get(value, json_string_value(name)) == NULL)
            return breach(b, place, "there is no %s", json_string_value(name));
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        const json_t *property = json_object_get(properties, key);
        snprintf(at, sizeof at, "%s/%s", place, key);
        if (property == NULL && json_is_false(others))
            return breach(b, at, "a field that openapi.json does not have");
        property = property != NULL ? property : others;
        if (json_is_object(property) && !fits(property, member, at, b))
            return false;
    }
    return true;
}

static inline bool array_fits(const json_t *schema, const json_t *value, const char *place,
                              struct breach *b)
{
    const json_t *items = json_object_get(schema, "items");
    const json_t *least = json_object_get(schema, "minItems");
    char at[200];
    json_t *item;
    size_t i;
    if (json_array_size(value) < (size_t)json_integer_value(least))
        return breach(b, place, "too few items");
    const json_t *most = json_object_get(schema, "maxItems");
    if (most != NULL && json_array_size(value) > (size_t)json_integer_value(most))
        return breach(b, place, "too many items");
    json_array_foreach(value, i, item)
    {
        snprintf(at, sizeof at, "%s/%zu", place, i);
        if (items != NULL && !fits(items, item, at, b))
            return false;
    }
    return true;
}

static inline bool single_fits(const json_t *schema, const json_t *value, const char *place,
                               struct breach *b)
{
    const json_t *low = json_object_get(schema, "minimum"),
                 *high = json_object_get(schema, "maximum"),
                 *length = json_object_get(schema, "minLength");
    const char *pattern = json_string_value(json_object_get(schema, "pattern"));
    if (json_is_integer(value) && json_is_integer(low) && json_is_integer(high)) {
        if (json_integer_value(value) < json_integer_value(low) ||
            json_integer_value(value) > json_integer_value(high))
            return breach(b, place, "out of range");
    } else if (json_is_number(value)) {
        if ((low != NULL && json_number_value(value) < json_number_value(low)) ||
            (high != NULL && json_number_value(value) > json_number_value(high)))
            return breach(b, place, "%g is out of range", json_number_value(value));
    }
    if (json_is_string(value) && json_string_length(value) < (size_t)json_integer_value(length))
        return breach(b, place, "too short");
    if (json_is_string(value) && pattern != NULL && !matches(pattern, json_string_value(value)))
        return breach(b, place, "\"%s\" is not %s", json_string_value(value), pattern);
    return true;
}

/* Everything in the document that is not looked at would be a promise that nobody holds. */
static inline void check_keywords(const json_t *schema)
{
    static const char *const known[] = {
        "$ref",    "type",        "enum",     "const",     "required", "properties",
        "items",   "description", "minItems", "minimum",   "maximum",  "oneOf",
        "anyOf",   "pattern",     "format",   "minLength", "title",    "additionalProperties",
        "maxItems"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || strcmp(key, known[i]) == 0;
        if (!found)
            fail_msg("openapi.json uses the keyword %s, which contract.h does not check", key);
    }
}

static inline bool union_fits(const json_t *schema, const json_t *value, const char *place,
                              struct breach *b)
{
    const json_t *all = json_object_get(schema, "oneOf");
    const bool one = all != NULL;
    json_t *branch;
    size_t n = 0, i;
    if (all == NULL)
        all = json_object_get(schema, "anyOf");
    if (all == NULL)
        return true;
    json_array_foreach(all, i, branch)
    {
        n += fits(branch, value, place, b);
    }
    if (n == 0 || (one && n != 1))
        return n == 0 ? false : breach(b, place, "fits %zu of oneOf", n);
    return true;
}

static inline bool fits(const json_t *schema, const json_t *value, const char *place,
                        struct breach *b)
{
    schema = deref(schema);
    check_keywords(schema);
    const json_t *types = json_object_get(schema, "type"), *all = json_object_get(schema, "enum"),
                 *one = json_object_get(schema, "const");
    json_t *candidate;
    size_t i;
    bool found = all == NULL;
    if (types != NULL && !type_fits(types, value))
        return breach(b, place, "the wrong type");
    json_array_foreach(all, i, candidate)
    {
        found = found || json_equal(candidate, value);
    }
    if (!found || (one != NULL && !json_equal(one, value)))
        return breach(b, place, "none of the values that are allowed");
    return union_fits(schema, value, place, b) && single_fits(schema, value, place, b) &&
           (!json_is_object(value) || object_fits(schema, value, place, b)) &&
           (!json_is_array(value) || array_fits(schema, value, place, b));
}

/* ---- from a request to its response in the document ---- */

/* Whether a path (up to its query) is one of a template: {name} stands for part of a segment. */
static inline bool path_is(const char *template, const char *path)
{
    while (*template != '\0' && *template != '{' && *template == *path)
        template ++, path++;
    if (*template != '{')
        return *template == '\0' && (*path == '\0' || *path == '?');
    const bool number = strncmp(template, "{id}", 4) == 0;
    template = strchr(template, '}') + 1;
    while (*path != '\0' && *path != '/' && *path != '?') {
        if (number && (*path < '0' || *path > '9'))
            return false;
        if (path_is(template, ++path))
            return true;
    }
    return false;
}

/* The document's path item of a path, or NULL. A literal one comes before one with a part. */
static inline const json_t *path_item(const char *path)
{
    const char *template;
    json_t *item, *found = NULL;
    json_object_foreach(json_object_get(contract(), "paths"), template, item)
    {
        if (path_is(template, path) && (found == NULL || strchr(template, '{') == NULL))
            found = item;
    }
    return found;
}

static inline const json_t *response_of(const char *method, const char *path, long status)
{
    char key[16], operation[16] = "";
    const json_t *item = path_item(path),
                 *shared = json_object_get(json_object_get(contract(), "components"), "responses");
    const char *known = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; known[i] != '\0' && i + 1 < sizeof operation; i++)
        operation[i] = (char)tolower(known[i]);
    const json_t *found = json_object_get(item, operation);
    snprintf(key, sizeof key, "%ld", status);
    if (found != NULL)
        return deref(json_object_get(json_object_get(found, "responses"), key));
    return json_object_get(shared, item != NULL ? "Method" : "NotFound");
}

static inline void check_headers(const json_t *response, const struct reply *reply,
                                 const char *what)
{
    const char *name;
    json_t *header;
    char value[256];
    struct breach b;
    json_object_foreach(json_object_get(response, "headers"), name, header)
    {
        const bool always = strcmp(name, "Cache-Control") == 0 ||
                            strcmp(name, "X-Content-Type-Options") == 0 ||
                            strcmp(name, "Retry-After") == 0 || strcmp(name, "Allow") == 0;
        const char *found = reply_header(reply, name, value);
        if (found == NULL && always)
            fail_msg("%s: there is no header %s", what, name);
        json_t *text = found != NULL ? json_string(found) : NULL;
        if (text != NULL && !fits(json_object_get(deref(header), "schema"), text, name, &b))
            fail_msg("%s: header %s: %s", what, b.place, b.why);
        json_decref(text);
    }
    static const char *const others[] = {"ETag", "Location", "Retry-After"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (reply_header(reply, others[i], value) != NULL &&
            json_object_get(json_object_get(response, "headers"), others[i]) == NULL)
            fail_msg("%s: openapi.json has no header %s here", what, others[i]);
}

/* Fails the test unless the document has the reply. */
static inline void contract_check(const char *method, const char *path, const struct reply *reply)
{
    char what[300], type[256] = "";
    struct breach b;
    const json_t *response = response_of(method, path, reply->status);
    snprintf(what, sizeof what, "%s %.200s: %ld", method, path, reply->status);
    if (response == NULL)
        fail_msg("%s: openapi.json has no such response", what);
    check_headers(response, reply, what);
    const json_t *content = json_object_get(response, "content");
    (void)reply_header(reply, "Content-Type", type);
    type[strcspn(type, ";")] = '\0';
    if (content == NULL)
        assert_int_equal(reply->size, 0);
    if (content == NULL || strcmp(method, "HEAD") == 0)
        return;
    const json_t *media = json_object_get(content, type);
    if (media == NULL)
        fail_msg("%s: openapi.json has no %s here", what, type);
    if (strstr(type, "/json") == NULL)
        return;
    if (reply->json == NULL)
        fail_msg("%s: not JSON: %.200s", what, reply->body);
    if (!fits(json_object_get(media, "schema"), reply->json, "", &b))
        fail_msg("%s: %s: %s in %.1000s", what, b.place, b.why, reply->body);
}

/* ---- requests that are checked ---- */

/* The caller frees the reply. */
static inline void ask_with(const struct daemon *d, const char *method, const char *path,
                            const char *body, const char *const *headers, struct reply *reply)
{
    request(d, method, path, body, body != NULL ? strlen(body) : 0, headers, reply);
    contract_check(method, path, reply);
}

/* The reply's JSON, which the caller frees. */
static inline json_t *ask(const struct daemon *d, const char *method, const char *path,
                          const char *body, long status)
{
    struct reply reply;
    ask_with(d, method, path, body, NULL, &reply);
    expect(&reply, status);
    json_t *json = json_incref(reply.json);
    reply_free(&reply);
    return json;
}

__attribute__((format(printf, 3, 4))) static inline json_t *get(const struct daemon *d, long status,
                                                                const char *format, ...)
{
    char path[512];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return ask(d, "GET", path, NULL, status);
}

static inline json_int_t integer(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static inline const char *text(const json_t *object, const char *key)
{
    assert_true(json_is_string(json_object_get(object, key)));
    return json_string_value(json_object_get(object, key));
}

/* Submits a definition; the id of its first run. */
static inline json_int_t submit(const struct daemon *d, const char *definition)
{
    json_t *submitted = ask(d, "POST", "/v1/experiments", definition, 201);
    const json_int_t run = integer(submitted, "first_run");
    json_decref(submitted);
    return run;
}

static inline bool has_ended(const char *state)
{
    return strcmp(state, "queued") != 0 && strcmp(state, "running") != 0 &&
           strcmp(state, "paused") != 0;
}

/* The run's JSON once `done` says so; asks again and again, a bounded number of times. The caller
 * frees. The one place that lets time pass. */
typedef bool daemon_done_fn(const json_t *run);
static inline json_t *daemon_wait(const struct daemon *d, json_int_t run, daemon_done_fn *done)
{
    const struct timespec pause = {.tv_nsec = WAIT_NS};
    for (int i = 0; i < WAIT_TRIES; i++) {
        json_t *json = get(d, 200, "/v1/runs/%lld", (long long)run);
        if (done(json))
            return json;
        json_decref(json);
        nanosleep(&pause, NULL);
    }
    fail_msg("run %lld does not get there", (long long)run);
    return NULL;
}

static inline bool is_over(const json_t *run)
{
    return has_ended(text(run, "state"));
}

static inline bool is_training(const json_t *run)
{
    return strcmp(text(run, "state"), "running") == 0 &&
           integer(json_object_get(run, "progress"), "step") > 0;
}

/* Waits for the end, which must be `state`. The caller frees. */
static inline json_t *await_end(const struct daemon *d, json_int_t run, const char *state)
{
    json_t *json = daemon_wait(d, run, is_over);
    if (strcmp(text(json, "state"), state) != 0)
        print_message("# run %lld: %s\n", (long long)run,
                      json_string_value(json_object_get(json, "reason")));
    assert_string_equal(text(json, "state"), state);
    return json;
}

/* Trains a small run to its end: the server works. */
static inline void check_alive(const struct daemon *d)
{
    static const char definition[] =
        "{\"name\":\"alive\",\"dataset\":{\"name\":\"strokes\",\"train\":60,\"test\":20},"
        "\"network\":{\"layers\":[{\"units\":8}]},\"rule\":{\"name\":\"bp\"},"
        "\"training\":{\"epochs\":1,\"batch\":20}}";
    json_decref(get(d, 200, "/healthz"));
    json_decref(await_end(d, submit(d, definition), "succeeded"));
}

#endif
