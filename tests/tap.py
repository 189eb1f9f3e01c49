# SPDX-License-Identifier: Apache-2.0
"""The little that Python tests share: TAP lines, and where things are.

A test is a function; run(globals()) runs all whose names begin with test_. Skip(why) skips, any exception fails."""
import os, sys, traceback

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TETRAD = os.path.abspath(os.environ.get("TETRAD") or os.path.join(ROOT, "build", "tetrad"))


class Skip(Exception):
    pass


def run(names):
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and callable(f)]
    print(f"1..{len(tests)}")
    failed = 0
    for i, (name, test) in enumerate(tests, 1):
        try:
            test()
            print(f"ok {i} - {name}", flush=True)
        except Skip as why:
            print(f"# skip: {name}: {why}\nok {i} - {name} # SKIP", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {i} - {name}\n{traceback.format_exc()}", flush=True)
    sys.exit(failed > 0)
