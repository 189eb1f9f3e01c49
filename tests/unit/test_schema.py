#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The schema of definitions against an independent validator: it is valid JSON Schema 2020-12, closed,
described throughout, its defaults keep its own rules, and every example passes."""
import glob
import json
import os
import sys

import jsonschema

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "schema")


def check(good, what):
    assert good, what


def walk(schema, node, place):
    """Every schema below node: description, closed objects, default within its own rules."""
    if "$ref" not in node:
        check("description" in node, f"{place}: no description")
    if node.get("type") == "object":
        check("additionalProperties" in node, f"{place}: open object")
    if "default" in node:
        rules = dict(node, **{"$defs": schema["$defs"]})
        found = [e.message for e in jsonschema.Draft202012Validator(rules).iter_errors(node["default"])]
        check(not found, f"{place}: default {node['default']!r}: {found}")
    for name, child in node.get("properties", {}).items():
        walk(schema, child, f"{place}/{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            walk(schema, node[key], f"{place}/{key}")
    for i, child in enumerate(node.get("anyOf", [])):
        walk(schema, child, f"{place}/anyOf/{i}")


def test_schema():
    with open(os.path.join(SCHEMA, "experiment.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    walk(schema, schema, "")
    for name, node in schema["$defs"].items():
        walk(schema, node, f"$defs/{name}")
    examples = sorted(glob.glob(os.path.join(SCHEMA, "examples", "*.json")))
    check(len(examples) >= 5, f"{len(examples)} examples: expected at least 5")
    for path in examples:
        with open(path, encoding="utf-8") as file:
            found = [f"{e.json_path}: {e.message}" for e in validator.iter_errors(json.load(file))]
        check(not found, f"{os.path.basename(path)}: {found}")
    bad = {"dataset": {"name": "strokes"}, "network": {}, "rule": {"name": "bp"}, "optimizer": {"lr": -1}}
    check(list(validator.iter_errors(bad)), "lr -1 passes")


tap.run(globals())
