# SPDX-License-Identifier: Apache-2.0
"""Requests made of schema/openapi.json and schema/experiment.schema.json: mostly right, with one or a few things wrong.

A Grammar is one client's: its random numbers, and what it has learned from replies (ids, cursors, tags), which it uses
again. Every request is a Request: the operation that it was made from, what will be sent, and how."""
import base64, copy, glob, io, json, os, random, re, sys, urllib.parse, zipfile
import re._parser as sre

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

SCHEMAS = os.path.join(tap.ROOT, "schema")
DOCUMENT = json.load(open(os.path.join(SCHEMAS, "openapi.json"), encoding="utf-8"))
EXPERIMENT = json.load(open(os.path.join(SCHEMAS, "experiment.schema.json"), encoding="utf-8"))
EXAMPLES = [json.load(open(path, encoding="utf-8")) for path in sorted(glob.glob(os.path.join(SCHEMAS, "examples", "*.json")))]
METHODS = ("get", "put", "post", "delete")
OPERATIONS = [(method.upper(), path, operation) for path, item in DOCUMENT["paths"].items()
              for method, operation in item.items() if method in METHODS]
HOSTILE = ["", "\0", "\u202e<script>alert(1)</script>", "=1+1", "../../etc/passwd", "%2F", "%", "a" * 5000, "\U0001f9e0" * 40,
           "é", "\r\nX-Evil: 1", "NaN", "-0", "1e999", "0x10", "1 ", "+1", "null", "'; DROP TABLE run; --", "\ufeff", "\ud7ff",
           2 ** 31, 2 ** 53 + 1, 2 ** 63 - 1, 2 ** 63, 2 ** 64, -1, 0, -2 ** 63, 10 ** 400, 1e308, 5e-324, -0.0, 0.1, 1e-300,
           None, True, False, [], {}, [[]], {"": {}}, {"a": None}, [None] * 100, {"$ref": "#"}]
ACCEPTS = ["*/*", "application/json", "text/csv", "image/png", "text/html, application/json;q=0.1", "application/*", "x",
           "application/json;q=0", "", ";;;,", "text/event-stream", "*/*;q=nan", "a/b" * 300]
TYPES = ["application/json", "application/json; charset=utf-8", "application/json; charset=latin1", "text/plain",
         "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=", "", "application/zip",
         "application/octet-stream", "text/csv", "application/json;;;", "APPLICATION/JSON"]
ODD = [("Range", "bytes=0-1"), ("Expect", "100-continue"), ("Expect", "x"), ("Content-Encoding", "gzip"),
       ("Origin", "http://evil.example"), ("Origin", "null"), ("X-Request-Id", "a b"), ("X-Request-Id", "ok-1"),
       ("X-Forwarded-For", "127.0.0.1"), ("Cookie", "a=b; " * 50), ("Connection", "close"), ("Upgrade", "h2c"),
       ("Last-Event-ID", "99999999999999999999999"), ("Last-Event-ID", "-1"), ("Idempotency-Key", "k" * 500),
       ("If-None-Match", "*"), ("If-None-Match", '"' + "x" * 200 + '"'), ("If-None-Match", 'W/"a", "b"'), ("Content-Digest", "sha-256=:AAAA:"),
       ("Accept-Language", "x" * 9000), ("X-" + "Y" * 300, "1"), ("Authorization", "Basic YTpi"), ("Authorization", "Bearer"),
       ("Authorization", "Bearer " + "x" * 300), ("Content-Length", "5"), ("Content-Length", "-1"), ("Content-Length", "9" * 30),
       ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip"), ("Host", "evil.example"), ("Host", "localhost")]


class Request:
    """method, target and headers as they are sent; body: bytes or None. `route` is (METHOD, path of the document), None
    where it was made wrong on purpose."""

    def __init__(self, method, target, headers, body, route, operation):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.route, self.operation, self.odd = route, operation, False
        self.given = []  # names of query parameters
        self.sent = None  # the body as JSON
        self.nowhere = False  # a part of the path may name nothing at all

    def wire(self):
        head = f"{self.method} {self.target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in self.headers) + "\r\n"
        return head.encode("utf-8", "surrogatepass") + (self.body or b"")


def deref(schema, root):
    while "$ref" in schema:
        found = root
        for part in schema["$ref"].split("/")[1:]:
            found = found[part]
        schema = found
    return schema


def matching(pattern, rng):
    """A text that a regular expression of the document matches."""
    def one(op, value):
        name = str(op)
        if name == "LITERAL":
            return chr(value)
        if name == "NOT_LITERAL" or name == "ANY":
            return "a"
        if name == "IN":
            kind, what = rng.choice([v for v in value if str(v[0]) != "NEGATE"] or [("LITERAL", 97)])
            return chr(rng.randint(*what)) if str(kind) == "RANGE" else chr(what) if str(kind) == "LITERAL" else "1"
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, inner = value
            return "".join(many(inner) for _ in range(rng.randint(low, min(int(high), low + 4))))
        if name == "SUBPATTERN":
            return many(value[-1])
        return many(rng.choice(value[1])) if name == "BRANCH" else ""

    def many(parts):
        return "".join(one(op, value) for op, value in parts)
    return many(sre.parse(pattern))


def number(schema, rng):
    whole = schema.get("type") == "integer" or "integer" in schema.get("type", ())
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100))
    if whole:
        return rng.choice([low, high, rng.randint(low, max(low, min(high, low + 8)))])
    return rng.choice([low, high, low + rng.random() * (high - low), low + rng.random() * min(1.0, high - low)])


def value_of(schema, root, rng, depth=0):
    """Something that the schema allows, mostly."""
    schema = deref(schema, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return value_of(rng.choice(schema[word]), root, rng, depth)
    kind = schema.get("type", "null")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if kind == "object":
        required = set(schema.get("required", ()))
        return {name: value_of(inner, root, rng, depth + 1) for name, inner in schema.get("properties", {}).items()
                if name in required or rng.random() < 0.3 / (1 + depth)}
    if kind == "array":
        low = schema.get("minItems", 0)
        n = rng.randint(low, min(schema.get("maxItems", low + 3), low + 3))
        return [value_of(schema.get("items", {}), root, rng, depth + 1) for _ in range(n)]
    if kind in ("integer", "number"):
        return number({**schema, "type": kind}, rng)
    if kind == "boolean":
        return rng.random() < 0.5
    if kind != "string":
        return None
    if "pattern" in schema:
        return matching(schema["pattern"], rng)
    return "".join(rng.choice("abzAZ09_ é-") for _ in range(rng.randint(schema.get("minLength", 0), max(8, schema.get("minLength", 0)))))


def places(value, path=()):
    """All containers with their keys, deepest last."""
    found = [(value, key) for key in (value if isinstance(value, dict) else range(len(value)))]
    for container, key in list(found):
        if isinstance(container[key], (dict, list)):
            found += places(container[key])
    return found


def nested(depth, rng):
    value = 1
    for _ in range(depth):
        value = {"a": value} if rng.random() < 0.5 else [value]
    return value


def spoil(value, rng):
    """A copy with one or a few things wrong."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        found = places(value) if isinstance(value, (dict, list)) else []
        if not found:
            return rng.choice(HOSTILE)
        container, key = rng.choice(found)
        k = rng.random()
        if k < 0.5:
            container[key] = copy.deepcopy(rng.choice(HOSTILE))
        elif k < 0.6:
            del container[key]
        elif k < 0.7 and isinstance(container, dict):
            container[rng.choice(["", "lr ", "Name", "\0", "x" * 300, key + "s"])] = container.pop(key)
        elif k < 0.8:
            container[key] = nested(rng.choice([3, 60, 900]), rng)
        elif k < 0.9:
            container[key] = [container[key]] * rng.choice([2, 300])
        else:
            other = rng.choice(found)
            container[key] = copy.deepcopy(other[0][other[1]]) if isinstance(other[0], (dict, list)) and (
                other[1] in other[0] if isinstance(other[0], dict) else other[1] < len(other[0])) else None
    return value


def spoil_text(text, rng):
    at = rng.randrange(len(text) + 1)
    return rng.choice([
        text[:at], text[:at] + b"\0" + text[at:], text[:at] + b"\xff\xfe" + text[at:], b"\xef\xbb\xbf" + text, text + text,
        text + b"}", text.replace(b":", b"::", 1), text.replace(b"1", b"1e999", 1), text.replace(b"1", b"NaN", 1),
        text[:-1] + b',"name":"a","name":"b"}', b"[" * 5000, b'{"a":' * 3000, b"\xed\xa0\x80", b'"\\ud800"', b"", b" " * 2000,
        bytes(rng.randrange(256) for _ in range(60)), text.replace(b'"', b"'"), text[:at] + b"\\u0000" + text[at:]])


def dataset(rng):
    n = rng.choice([0, 1, 12, 40])
    arrays = {"x": np.arange(n * 4, dtype="f4").reshape(n, 4) / 160, "t": np.arange(n) % 3}
    if rng.random() < 0.2:
        arrays[rng.choice(["x", "t", "x_test", "zz"])] = np.array([[np.nan, 1e38]] * n).astype(rng.choice(["f8", "f4", "c8", "U3", "?"]))
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def table(rng):
    rows = [f"{i % 5},{i / 7:.3f},{'ab'[i % 2]}" for i in range(rng.choice([0, 1, 30]))]
    return ("a,b,label\n" + "\n".join(rows) + "\n").encode()


def archive(rng):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as z:
        for name in ("experiment.json", "runs/1/run.json", "runs/1/definition.json", "runs/1/metrics.csv", "../x", "a" * 300):
            if rng.random() < 0.7:
                z.writestr(name, json.dumps(value_of({"$ref": "#/components/schemas/Experiment"}, DOCUMENT, rng)))
    return out.getvalue()


def multipart(rng):
    part = b'--B\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n%s\r\n'
    name = rng.choice([b"train.csv", b"../../x", b"", b"a\\b", b"x.npz", b"train-images-idx3-ubyte.gz"])
    return part % (name, rng.choice([table(rng), dataset(rng)])) + (b"--B--\r\n" if rng.random() < 0.9 else b"")


class Grammar:
    """One client. `name` keeps its datasets, users and keys apart from others'; runs are 1 to n_runs at the beginning;
    zipped: what `tetrad export` would write."""

    def __init__(self, seed, name, n_runs=1, zipped=None):
        self.rng, self.name, self.zipped, self.dry = random.Random(seed), name, zipped, False
        runs = list(range(1, n_runs + 1))
        self.known = {"ExperimentId": runs[:2], "RunId": runs, "TokenId": [99], "ArrayName": ["W1", "W2"], "Cursor": ["x"],
                      "IfNoneMatch": ['"x"'], "DatasetName": ["strokes", name], "UserName": [name],
                      "/v1/runs/{id}/weights/{name}.png": ["W1", "W2"], "/assets/{name}": ["app.js", "app.css", "mithril.js"],
                      "/assets/pages/{name}": ["run.js", "experiment.js"], "IdempotencyKey": [name + "-key"], "SeriesName": ["train/loss", "test/accuracy"]}

    def learn(self, kind, *values):
        """Keeps what a reply has told, the last few of a kind."""
        self.known[kind] = (self.known.get(kind, []) + [v for v in values if v is not None])[-12:]

    def definition(self):
        """Small, so that it is trained in moments; or what the schema allows."""
        rng = self.rng
        if rng.random() < 0.15:
            return value_of(EXPERIMENT, EXPERIMENT, rng)
        one = copy.deepcopy(rng.choice(EXAMPLES)) if rng.random() < 0.4 else {"network": {"layers": [{"units": 4}]}, "rule": {
            "name": rng.choice(["sal", "bp", "fa", "dfa", "kp", "usf", "brsf", "frsf", "wm"])}}
        one["dataset"] = {"name": "strokes", "train": 40, "test": 20}
        one.setdefault("training", {}).update(epochs=1, batch=20, seed=rng.randrange(5))
        one["tags"] = [self.name]
        for field in rng.sample(sorted(EXPERIMENT["properties"]), rng.choice([0, 0, 1, 2])):
            if field not in ("dataset", "training", "network"):
                one[field] = value_of(EXPERIMENT["properties"][field], EXPERIMENT, rng)
        return one

    def parameter(self, parameter):
        """(its name in components or its own, the parameter)"""
        name = parameter["$ref"].split("/")[-1] if "$ref" in parameter else parameter["name"]
        return name, deref(parameter, DOCUMENT)

    def value(self, name, parameter):
        rng = self.rng
        if name in self.known and rng.random() < 0.95:
            return rng.choice(self.known[name])
        return value_of(parameter.get("schema", {}), DOCUMENT, rng)

    def text(self, value):
        value = str(value if not isinstance(value, bool) else int(value))
        return urllib.parse.quote(value.encode("utf-8", "surrogatepass"), safe="")

    def body(self, content):
        """(media type, bytes, JSON or None)"""
        rng = self.rng
        kind = rng.choice(list(content))
        if kind == "application/zip" and self.zipped and rng.random() < 0.5:
            return kind, spoil_text(self.zipped, rng) if rng.random() < 0.3 else self.zipped, None
        if kind == "application/zip":
            return kind, rng.choice([archive, dataset])(rng), None
        if kind == "application/octet-stream":
            return kind, dataset(rng), None
        if kind == "text/csv":
            return kind, table(rng), None
        if kind == "multipart/form-data":
            return kind + "; boundary=B", multipart(rng), None
        schema = content[kind]["schema"]
        definition = schema.get("$ref") == "#/components/schemas/Definition"
        value = self.definition() if definition else value_of(schema, DOCUMENT, rng)
        if isinstance(value, dict) and not definition:
            for key in value:  # what is there is asked for more often than what is not
                if key in ("experiments", "runs", "ids") and isinstance(value[key], list):
                    value[key] = [rng.choice(self.known["RunId"]) for _ in value[key]]
        if rng.random() < 0.4:
            value = spoil(value, rng)
        text = json.dumps(value).encode("utf-8", "surrogatepass")
        return kind, spoil_text(text, rng) if rng.random() < 0.08 else text, value

    def query(self, operation, request):
        """Parameters as text, some wrong."""
        rng, pairs = self.rng, []
        for given in operation.get("parameters", ()):
            name, parameter = self.parameter(given)
            if parameter["in"] == "header" and rng.random() < 0.3:
                request.headers.append((parameter["name"], str(self.value(name, parameter)).replace("\n", "")))
            if parameter["in"] != "query" or rng.random() > 0.35:
                continue
            value = self.value(name, parameter)
            if rng.random() < 0.15:
                value = rng.choice(HOSTILE)
            pairs.append((parameter["name"], self.text(value)))
            if rng.random() < 0.05:
                pairs.append(rng.choice(pairs))
        if rng.random() < 0.05:
            pairs.append((rng.choice(["limti", "", "a%00", "%ff", "x" * 500, "limit[]"]), "1"))
        if self.dry and request.route == ("POST", "/v1/experiments"):
            pairs = [("dry_run", "1")]
        request.given = [urllib.parse.unquote(name) for name, _ in pairs]
        return "?" + "&".join(f"{n}={v}" for n, v in pairs) if pairs else ""

    def path(self, path, operation, request):
        def part(match):
            for given in operation.get("parameters", ()):
                name, parameter = self.parameter(given)
                name = path if name == "name" else name  # one that is of this path alone
                if parameter["in"] == "path" and parameter["name"] == match[1]:
                    hostile = self.rng.random() < 0.08
                    request.nowhere |= hostile
                    return self.text(self.rng.choice(HOSTILE) if hostile else self.value(name, parameter)) or "%20"
            return "1"
        return re.sub(r"\{(.*?)\}", part, path)

    def request(self, token=None, only=None):
        """One request; only: a function of (method, path) that says which."""
        rng = self.rng
        method, path, operation = rng.choice([o for o in OPERATIONS if only is None or only(o[0], o[1])])
        request = Request(method, "", [("Host", "localhost")], None, (method, path), operation)
        request.target = self.path(path, operation, request) + self.query(operation, request)
        if token is not None:
            request.headers.append(("Authorization", "Bearer " + token))
        if "requestBody" in operation:
            kind, request.body, request.sent = self.body(operation["requestBody"]["content"])
            request.headers += [("Content-Type", kind), ("Content-Length", str(len(request.body)))]
        elif method != "GET":
            request.headers.append(("Content-Length", "0"))
        if rng.random() < 0.12:
            request.headers.append(("Accept", rng.choice(ACCEPTS)))
        if rng.random() < 0.12:
            self.distort(request)
        return request

    def distort(self, request):
        """Wrong method, type, header, target."""
        rng, k = self.rng, self.rng.random()
        request.odd = True
        if k < 0.2:
            request.method = rng.choice(["HEAD", "OPTIONS", "PATCH", "POST", "PUT", "DELETE", "TRACE", "get", "G" * 200, "CONNECT"])
        elif k < 0.4:
            request.headers = [(n, rng.choice(TYPES) if n == "Content-Type" else v) for n, v in request.headers]
        elif k < 0.75:
            request.headers += [rng.choice(ODD) for _ in range(rng.choice([1, 1, 2, 40]))]
        elif k < 0.8:
            request.headers = request.headers[1:]
        else:
            path, _, query = request.target.partition("?")
            request.target = rng.choice([path + "/", "/" + path, path.upper(), path + "%00", path + "/..", "*", "http://localhost" + path,
                                         "http://evil.example" + path, path + "?" + "a&" * 400, path + "?" + query + "&" + query,
                                         path + "#x", path + ";x=1", "/" + "a/" * 100, "/" + "%41" * 3000, path + "?" + "x" * 40000])
        if request.method != "HEAD":
            request.route = None
