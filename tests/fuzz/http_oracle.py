# SPDX-License-Identifier: Apache-2.0
"""What every reply must be: in schema/openapi.json, whatever was asked."""
import json, re

import jsonschema

from http_grammar import DOCUMENT, OPERATIONS, deref

# Of libmicrohttpd itself, to what it cannot read as a request of ours; of paths and methods that are not in the document.
WIRE = {400, 404, 405, 408, 411, 413, 414, 431, 501, 505}
PATTERNS = [(method, re.compile(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(path)) + "$"), path, operation)
            for method, path, operation in OPERATIONS]
SOMETIMES = {"Location", "ETag", "Content-Encoding", "X-Next-After", "X-Colour-Range"}
validators = {}


def validator(schema):
    key = json.dumps(schema, sort_keys=True)
    if key not in validators:
        validators[key] = jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    return validators[key]


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


def no_twice(pairs):
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value


def strict_json(data):
    return json.loads(data.decode("utf-8"), parse_constant=no_constant, object_pairs_hook=no_twice)


def find_operation(method, target):
    path = re.sub("^http://[^/]*", "", target).split("?")[0].split("#")[0]
    method = "GET" if method == "HEAD" else method
    return next((operation for m, pattern, _, operation in PATTERNS if m == method and pattern.match(path)), None)


def judge_body(reply, response, what):
    kind = (reply.headers.get("Content-Type") or "").split(";")[0]
    content = response.get("content", {})
    if not content:
        return None if not reply.data else f"a body of {kind} where there is none"
    if kind not in content:
        return f"is {kind}, and the document has {sorted(content)}"
    if kind != "application/json":
        return None
    try:
        reply.json = strict_json(reply.data)
    except ValueError as e:
        return f"no JSON: {e}"
    error = next(validator(content[kind].get("schema", {})).iter_errors(reply.json), None)
    return error and f"{what} is not as its schema says: at {error.json_path}: {error.message[:300]}"


def judge_error(request, reply):
    """code, message, and what is wrong by its name."""
    error = reply.json["error"]
    text = json.dumps(error)
    if not error["message"].strip() or not re.search("[a-z]", error["message"]):
        return "no message"
    imported = "/v1/import" in request.target  # its message names the archive's member
    if error["code"] == "bad_definition" and not error.get("details") and not imported:
        return "faults without their fields"
    for fault in error.get("details", ()):
        if "pointer" not in fault and "parameter" not in fault:
            return f"a fault of nothing: {fault}"
        if fault.get("pointer", "") and not fault["pointer"].startswith("/"):
            return f"no JSON pointer: {fault}"
    only_query = request.given and error["code"] == "bad_request" and request.body is None and not request.odd and not request.nowhere
    if only_query and "percent-encoded" not in text and "Idempotency-Key" not in text and not any(
            re.search(r"(?<!\w)" + re.escape(name[:60]) + r"(?!\w)" * (len(name) < 60), text)
            for name in [*request.given, "Last-Event-ID"]):
        return f"one of {[name[:80] for name in request.given]} is wrong, and it does not say which"
    return None


def judge(request, reply, secrets=()):
    """None, or what is wrong with the reply."""
    status = reply.status
    if status == 500 or status > 505:
        return "the server is at fault"
    if any(secret.encode() in reply.data for secret in secrets):
        return "a token comes back"
    if status in WIRE and request.odd and "Content-Type" not in reply.headers:
        return None  # libmicrohttpd's own words to what is no HTTP
    operation = request.operation if request.route and request.method != "HEAD" else find_operation(request.method, request.target)
    response = operation["responses"].get(str(status)) if operation else None
    if response is None and status in WIRE and (request.odd or request.route is None or (request.nowhere and status == 404)):
        response = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    if request.method == "OPTIONS" and status == 204 and not reply.data:
        return None
    if response is None and status in (401, 403, 503) and request.route is None:
        response = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    if response is None:
        return f"{status} is not in the document"
    response = deref(response, DOCUMENT)
    if request.method == "HEAD":
        return "a body to HEAD" if reply.data else None
    missing = [name for name in response.get("headers", ()) if name not in reply.headers and name not in SOMETIMES]
    if missing:
        return f"lacks {missing}"
    if reply.stream:
        return None
    wrong = judge_body(reply, response, f"the body of {status}")
    return wrong or (judge_error(request, reply) if status >= 400 and status != 304 else None)
