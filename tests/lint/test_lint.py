#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What cppcheck, clang's warnings and clang-tidy find in all C of the repository: nothing. Each file is read with the flags
that the Makefile compiles it with. What is not looked for, and why, is in .clang-tidy and tests/lint/cppcheck.

`make lint` runs this alone; FULL=1 adds clang's analyzer, which takes minutes.
On Debian and Ubuntu `deploy/deps lint` installs the tools."""
import concurrent.futures
import glob
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

FULL = os.environ.get("FULL", "") not in ("", "0")
FOLDERS = ("core", "server", "tests")
TARGETS = ("tests", "bench-programs", "build/tests/bench/queue", "build/tests/bench/blas")
# Not for this processor, or without a build of their own here.
ANALYZER = "clang-analyzer-*,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling"


def sources():
    found = [os.path.relpath(path, tap.ROOT) for folder in FOLDERS
             for path in glob.glob(os.path.join(tap.ROOT, folder, "**", "*.c"), recursive=True)]
    return sorted(path for path in found if not path.endswith("kernels/neon.c"))


def flags():
    """{source: flags} of the Makefile, from what it would run."""
    said = subprocess.run(["make", "-n", "-B", "V=1", "CC=clang", "CI=1", "BUILD=build", "SANITIZER=", "COVERAGE=", *TARGETS],
                          cwd=tap.ROOT, capture_output=True, text=True, env={**os.environ, "MAKEFLAGS": ""})
    assert said.returncode == 0, said.stderr
    known = {}
    for line in said.stdout.replace("\\\n", " ").splitlines():
        if not line.startswith("clang "):
            continue
        words = shlex.split(line)[1:]
        files = [word for word in words if word.endswith(".c")]
        if len(files) == 1 and files[0] not in known: # assertions are read too
            known[files[0]] = [w for w in words if w[:2] in ("-D", "-U", "-I", "-W", "-O", "-f", "-m", "-s")
                               and not w.startswith(("-Wl,", "-Wa,", "-shared", "-DNDEBUG"))]
    return known


def in_parallel(work, items):
    """What work says about each, in order, without the empty."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        return [said for said in pool.map(work, items) if said]


def need(tool):
    if not shutil.which(tool):
        raise tap.Skip(f"no {tool}: deploy/deps lint")


def tidy(path, given, *more):
    done = subprocess.run(["clang-tidy", "--quiet", *more, path, "--", *given], cwd=tap.ROOT, capture_output=True, text=True)
    found = done.stdout.strip()
    return found if found or done.returncode == 0 else f"{path}: clang-tidy: exit status {done.returncode}\n{done.stderr}"


def test_the_flags_are_known():
    """Of all but what is built by no rule: those are read with a test's flags."""
    known = flags()
    without = [path for path in sources() if path not in known]
    assert len(known) > 200 and all(path.startswith("tests/") for path in without), without


def test_clang_tidy():
    need("clang-tidy")
    known = flags()
    given = known["tests/unit/test_plan.c"]
    more = [f"--checks={ANALYZER}"] if FULL else []
    findings = in_parallel(lambda path: tidy(path, known.get(path, given), *more), sources())
    assert not findings, "\n".join(findings)


def test_clang_tidy_finds():
    """The configuration finds what it is there for, and so do the Makefile's warnings."""
    need("clang-tidy")
    given = flags()["server/file.c"]
    with tempfile.TemporaryDirectory(dir=os.path.join(tap.ROOT, "build")) as folder:
        for text, check in (("#include <string.h>\nint f(const char *a);\nint f(const char *a)\n{\n    return !strcmp(a, \"b\") || strcmp(a, \"c\") == 1;\n}\n",
                             "bugprone-suspicious-string-compare"),
                            ("int f(long a);\nint f(long a)\n{\n    return a;\n}\n", "shorten-64-to-32")):
            path = os.path.join(folder, "fault.c")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            found = tidy(path, given)
            assert check in found, f"{check} is not found: {found}"


def test_cppcheck():
    need("cppcheck")
    cache = os.path.join(tap.ROOT, "build", "lint")
    os.makedirs(cache, exist_ok=True)
    done = subprocess.run(
        ["cppcheck", f"-j{len(os.sched_getaffinity(0))}", "--quiet", "--error-exitcode=1", "--std=c11",
         "--enable=warning,style,performance,portability", "--inline-suppr", "--suppressions-list=tests/lint/cppcheck",
         f"--cppcheck-build-dir={cache}", "--template={file}:{line}: {severity}: {message} [{id}]",
         "-D_GNU_SOURCE", '-DTETRAD_VERSION=""', "-D__x86_64__", "-D__BYTE_ORDER__=1234", "-D__ORDER_LITTLE_ENDIAN__=1234", "-D__ORDER_BIG_ENDIAN__=4321",
         "-Iinclude", "-Icore", "-Iserver", "-Itests", *FOLDERS],
        cwd=tap.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, f"exit status {done.returncode}\n{done.stderr}"


if __name__ == "__main__":
    tap.run(globals())
