#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same bits on every instruction set and processor. The program of neon/ is linked with the library of the build
and run under every set that this processor has; compiled for aarch64, with the library by the Makefile's rules, it runs
under qemu. Its lines, one for each elementary function, kernel and run, are all equal.

On Debian and Ubuntu `deploy/deps test` installs the compiler and qemu."""
import os
import platform
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

BUILD = os.path.dirname(tap.TETRAD)
CROSS = os.path.join(BUILD, "aarch64")
SOURCES = [os.path.join(tap.ROOT, "tests", "unit", "neon", name) for name in ("kernels.c", "runs.c")]
COMPILER, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
FLAGS = ["-std=c17", "-D_GNU_SOURCE", "-O2", "-ffp-contract=off", "-pthread", "-Iinclude", "-Icore",
         "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SETS = {"x86_64": ["avx2", "avx512"], "aarch64": ["neon"]}
LACKING = 3  # exit status of digest
outputs = {}


def command(*words):
    """Runs a command in the root of the repository; an error with what it said if it fails."""
    done = subprocess.run(words, cwd=tap.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}"


def stay_on_one():
    """Threads under qemu take turns on one processor. It lets a load pass a store before it (STLR and LDAR, which
    an aarch64 keeps in order) where the processor below does, and a wake-up between two processors is lost."""
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])


def digests(program, isa, prepare=None):
    """{case: digest} of a program under a set of instructions; None if the processor lacks it."""
    done = subprocess.run(program, env={**os.environ, "TETRAD_ISA": isa}, preexec_fn=prepare, capture_output=True,
                          text=True, timeout=300)
    if done.returncode == LACKING:
        return None
    assert done.returncode == 0, f"{isa}: exit status {done.returncode}: {done.stderr}"
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert lines.pop("isa") == isa, f"asked for {isa}: {done.stdout[:20]}"
    return lines


def same(isa, got, expected):
    different = [case for case in expected if got.get(case) != expected[case]]
    assert not different and len(got) == len(expected), f"{isa} differs from scalar: {' '.join(different)}"


def scalar():
    """The digests that all others have to equal: the reference of this processor."""
    if "scalar" not in outputs:
        program = os.path.join(BUILD, "digest")
        library = os.path.join(BUILD, "libtetrad.a")
        command(os.environ.get("CC", "cc"), *FLAGS, *SOURCES, library, "-lm", "-o", program)
        outputs["scalar"] = digests([program], "scalar")
    return outputs["scalar"]


def test_reference():
    """Every case is there, tells a result of its own, and does not depend on the number of threads."""
    lines = scalar()
    runs = {case for case in lines if case.endswith("/threads-1")}
    assert len(runs) == 50 and len(lines) >= 233, sorted(lines)
    for case in runs:
        for threads in ("2", "4"):
            assert lines[case] == lines[case[:-1] + threads], f"{case}: another result with {threads} threads"
    distinct = [digest for case, digest in lines.items() if not case.endswith(("/threads-2", "/threads-4"))]
    assert len(set(distinct)) == len(distinct), "two cases have one digest"


def test_sets_of_this_processor():
    for isa in SETS.get(platform.machine(), []):
        got = digests([os.path.join(BUILD, "digest")], isa) if scalar() else None
        if got is None:
            print(f"# this processor lacks {isa}")
        else:
            same(isa, got, scalar())


def test_neon_under_qemu():
    missing = [name for name in (COMPILER, QEMU) if shutil.which(name) is None]
    if missing:
        raise tap.Skip(f"no {' and no '.join(missing)}")
    library, program = os.path.join(CROSS, "libtetrad.a"), os.path.join(CROSS, "digest")
    command("make", "-j2", "ARCH=aarch64", f"CC={COMPILER}", "CFLAGS=-O2 -g", f"BUILD={CROSS}", library)
    command(COMPILER, *FLAGS, "-static", *SOURCES, library, "-lm", "-o", program)
    for isa in ("neon", "scalar"):
        got = digests([QEMU, program], isa, stay_on_one)
        assert got is not None, f"the program for aarch64 lacks {isa}"
        same(f"{isa} of aarch64", got, scalar())


tap.run(globals())
