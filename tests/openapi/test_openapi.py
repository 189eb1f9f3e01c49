#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""schema/openapi.json: what a linter says of it, and whether it has the server's routes, all of them and no others."""
import json, os, re, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import npm, tap

DOCUMENT = os.path.join(tap.ROOT, "schema", "openapi.json")
METHODS = ("get", "put", "post", "delete", "patch")


def problems(file):
    modules, why = npm.modules("openapi")
    if modules is None:
        raise tap.Skip(why)
    done = subprocess.run(["node", os.path.join(HERE, "lint.cjs"), modules, file], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


def operations():
    with open(DOCUMENT) as file:
        document = json.load(file)
    return [(m.upper(), path, o) for path, item in document["paths"].items() for m, o in item.items() if m in METHODS]


def test_linter():
    found = problems(DOCUMENT)
    assert not found, "\n".join(found)


def test_linter_sees():
    """The linter is one that finds something."""
    with open(DOCUMENT) as file:
        document = json.load(file)
    del document["paths"]["/healthz"]["get"]["operationId"]
    document["paths"]["/v1/schema"]["get"]["responses"]["200"]["content"]["application/json"] = {"schema": {"$ref": "#/nowhere"}}
    spoilt = os.path.join(tap.ROOT, "build", "spoilt.json")
    with open(spoilt, "w") as file:
        json.dump(document, file)
    found = problems(spoilt)
    os.remove(spoilt)
    assert any("operationId" in line for line in found) and any("nowhere" in line or "resolve" in line for line in found), found


def test_routes():
    with open(os.path.join(tap.ROOT, "server", "api", "routes.c")) as file:
        routes = re.findall(r'\{ROLE_(\w+),\s*"(\w+)",\s*"([^"]+)"', file.read())
    served = {(method, path) for _, method, path in routes}
    described = {(method, path) for method, path, _ in operations()}
    assert served == described, f"served only: {sorted(served - described)}; described only: {sorted(described - served)}"


def test_errors():
    """Every operation says what its failures look like."""
    for method, path, operation in operations():
        for status, response in operation["responses"].items():
            if status >= "400" and path != "/readyz":  # which answers the same either way
                assert "$ref" in response, f"{method} {path} {status}: not one of components/responses"
        if method != "GET":
            assert {"400", "403", "503"} <= set(operation["responses"]), f"{method} {path}: no 400, 403, 503"


if __name__ == "__main__":
    tap.run(globals())
