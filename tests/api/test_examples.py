#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/examples against a real daemon."""
import os, re, subprocess, sys

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]
import tap
from client import Server, environment


def run(*command):
    with Server() as s:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=s.folder,
                              env=environment(s.folder, TETRAD_SERVER=s.url, TETRAD_TOKEN="tet_example"))
        assert done.returncode == 0, done
        return done.stdout


def test_curl():
    out = run("sh", os.path.join(tap.ROOT, "deploy/examples/curl.sh"))
    assert re.search(r"^sal succeeded 0\.\d+ sha256:", out, re.M) and re.search(r"^bp succeeded 0\.\d+ sha256:", out, re.M), out


def test_python():
    out = run("/usr/bin/python3", os.path.join(tap.ROOT, "deploy/examples/experiment.py"))
    assert re.search(r"^succeeded 0\.\d+ sha256:", out, re.M) and "'W1': (32, 784)" in out, out


tap.run(globals())
