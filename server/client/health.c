// SPDX-License-Identifier: Apache-2.0
/* `tetrad health`: whether a server can do its work, for supervisors of containers and for people. */
#include "client/client.h"

int health_command(const struct options *options)
{
    struct client c;
    int status = STATUS_FAILED;
    json_t *reply = NULL;
    enum tet_err err = client_open(&c, options);
    if (err == TET_OK)
        err = client_get(&c, &reply, "/readyz");
    const char *state = client_text(reply, "status"), *reason = client_text(reply, "reason");
    if (err == TET_OK && *state == '\0') { // a refusal, not an answer of /readyz
        status = client_good(&c, reply, &status) ? STATUS_SERVER : status;
    } else if (err == TET_OK) {
        status = c.status == 200 ? STATUS_OK : STATUS_SERVER;
        if (c.json)
            client_print(reply);
        else
            printf("%s%s%s\n", state, *reason != '\0' ? ": " : "", reason);
    }
    json_decref(reply);
    return client_close(&c, status);
}
