#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is released is built so that a fault in memory is of little use to who finds it: position independent, its tables
read-only once it runs, with canaries and checked calls, no memory both writable and executable."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

LIBRARY = os.path.join(os.path.dirname(tap.TETRAD), "libtetrad.a")
CC = os.environ.get("CC", "cc").split()


def said(*words):
    if not shutil.which(words[0]):
        raise tap.Skip(f"no {words[0]}")
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def test_position_independent():
    assert re.search(r"Type: +DYN", said("readelf", "-hW", tap.TETRAD))
    assert re.search(r"FLAGS_1.*\bPIE\b", said("readelf", "-dW", tap.TETRAD))


def test_tables_are_read_only():
    assert "GNU_RELRO" in said("readelf", "-lW", tap.TETRAD)
    assert re.search(r"BIND_NOW|FLAGS_1.*\bNOW\b", said("readelf", "-dW", tap.TETRAD))


def test_nothing_is_writable_and_executable():
    segments = re.findall(r"^ +(LOAD|GNU_STACK)( +0x[0-9a-f]+){5} ([RWE ]{3})", said("readelf", "-lW", tap.TETRAD), re.M)
    assert {kind for kind, _, _ in segments} == {"LOAD", "GNU_STACK"}, segments
    assert not [s for s in segments if "W" in s[2] and "E" in s[2]], segments


def test_canaries_and_checked_calls():
    symbols = said("readelf", "--dyn-syms", "-W", tap.TETRAD)
    assert "__stack_chk_fail" in symbols
    checked = set(re.findall(r"\b__\w+_chk\b", symbols))
    assert {"__snprintf_chk", "__memcpy_chk"} <= checked, checked


def test_indirect_branches():
    if os.uname().machine != "x86_64":
        raise tap.Skip("endbr64 is of x86_64")
    assert re.search(r"<tet_team_run>:\n.*endbr64", said("objdump", "-d", "--no-show-raw-insn", LIBRARY)), "tet_team_run"


def test_the_library_goes_into_a_shared_object():
    """So that Python, Julia or R can load it: nothing in it wants to be changed where the program lies."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "libtetrad.so")
        said(*CC, "-shared", "-Wl,-z,text,-z,defs", "-Wl,--whole-archive", LIBRARY, "-Wl,--no-whole-archive", "-pthread", "-lm",
             "-o", path)
        assert "TEXTREL" not in said("readelf", "-dW", path)
        said(sys.executable, "-c", f"import ctypes; assert ctypes.CDLL({path!r}).tet_plan_check")


if __name__ == "__main__":
    tap.run(globals())
