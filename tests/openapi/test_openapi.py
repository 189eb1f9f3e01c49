#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""schema/openapi.json: a linter from npm, what every operation says, and that it has the server's routes and no others."""
import json, os, shutil, subprocess, sys, time, urllib.error, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "api")]
import tap
from client import Server

PATH = os.path.join(tap.ROOT, "schema", "openapi.json")
METHODS = ("get", "put", "post", "delete", "patch")
DOCUMENT = json.load(open(PATH))
OPERATIONS = {(method.upper(), path): operation for path, item in DOCUMENT["paths"].items()
              for method, operation in item.items() if method in METHODS}


def test_linter():
    """In a folder of the build, so that nothing is left in the source."""
    folder = os.path.join(tap.ROOT, "build", "openapi")
    if not shutil.which("npm"):
        raise tap.Skip("no npm")
    os.makedirs(folder, exist_ok=True)
    for name in ("package.json", "package-lock.json", "lint.js"):
        shutil.copy(os.path.join(HERE, name), folder)
    try:
        got = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
                             cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise tap.Skip("npm does not answer")
    if got.returncode != 0 and any(w in got.stderr for w in ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "CERT")):
        raise tap.Skip("npm's registry cannot be reached, or its certificate is not trusted here")
    assert got.returncode == 0, got.stderr
    for text, good in ((json.dumps(DOCUMENT), True), (json.dumps({**DOCUMENT, "paths": {"/x": {"get": 1}}}), False)):
        with open(os.path.join(folder, "document.json"), "w") as file:
            file.write(text)
        done = subprocess.run(["node", "lint.js", "document.json"], cwd=folder, capture_output=True, text=True)
        assert (done.returncode == 0) == good, done.stdout + done.stderr


def test_operations():
    tags, ids = {t["name"] for t in DOCUMENT["tags"]}, set()
    for what, operation in OPERATIONS.items():
        assert operation.get("summary") and operation.get("tags"), what
        assert set(operation["tags"]) <= tags, what
        assert operation["operationId"] not in ids, what
        ids.add(operation["operationId"])
        statuses = set(operation["responses"])
        assert any(s.startswith(("1", "2", "3")) for s in statuses), what
        assert any(s.startswith("4") for s in statuses) and any(s.startswith("5") for s in statuses), what
        parts = {p.split("}")[0] for p in what[1].split("{")[1:]}
        named = [p if "$ref" not in p else DOCUMENT["components"]["parameters"][p["$ref"].split("/")[-1]]
                 for p in operation.get("parameters", []) + DOCUMENT["paths"][what[1]].get("parameters", [])]
        assert {p["name"] for p in named if p["in"] == "path"} == parts, what


def test_references():
    def walk(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                used.add(value["$ref"])
            for v in value.values():
                walk(v)
        elif isinstance(value, list):
            for v in value:
                walk(v)
    used = set()
    walk(DOCUMENT)
    named = {f"#/components/{kind}/{name}" for kind, all in DOCUMENT["components"].items() for name in all
             if kind != "securitySchemes"}
    assert used <= named, used - named
    # contract.h reads these two by their names
    assert named - used <= {"#/components/responses/Method", "#/components/responses/NotFound"}, named - used


def test_routes():
    with Server() as s:
        for path in ("/v1", "/"):
            try:
                index = json.load(urllib.request.urlopen(s.url + path))
                break
            except (urllib.error.HTTPError, ValueError):
                continue
        routes = {(r["method"], r["path"]) for r in index["routes"]}
    assert routes == set(OPERATIONS), routes ^ set(OPERATIONS)


def ask(url, method, path, **headers):
    request = urllib.request.Request(url + path, b"{}" if method in ("POST", "PUT") else None,
                                     {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_refusals_are_listed():
    """What any route may say for reasons that are not its own: a token that is none, an Accept that cannot be met."""
    with Server() as s:
        for (method, path), operation in OPERATIONS.items():
            listed = operation["responses"]
            assert {"400", "401", "403", "429", "500", "503"} <= set(listed), (method, path)
            if not path.endswith("/events"):  # these do not end
                one = path.replace("{id}", "1").replace("{name}", "W1")
                status = ask(s.url, method, one, Accept="font/woff")
                assert str(status) in listed, (method, path, status)
        made = subprocess.run([tap.TETRAD, "token", "create", "--user", "a", "--role", "viewer", "--db", s.path("t.db")],
                              capture_output=True, text=True)
        assert made.returncode == 0, made
        until = time.monotonic() + 10
        while ask(s.url, "GET", "/v1/me") != 401 and time.monotonic() < until:  # another process made it
            time.sleep(0.05)
        status = {ask(s.url, m, p.replace("{id}", "1").replace("{name}", "x"), Authorization="Bearer tet_none")
                  for m, p in OPERATIONS}
        assert status == {401, 429}, status


tap.run(globals())
