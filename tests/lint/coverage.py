#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many of the lines of core/ and of server/ the tests of the build with AddressSanitizer ran, from gcov's counts: at
least 85 in 100 of each. tests/run asks at its end; `make coverage` shows folders and files too.

A process that is killed leaves no counts, so what only a killed server runs is not in them."""
import collections
import concurrent.futures
import glob
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

BUILD = os.path.join(os.path.dirname(tap.TETRAD), "address-undefined")
LEAST = 85.0
GCOV = os.environ.get("GCOV", "gcov")


def read(paths):
    """{source: {line: it ran}} of some objects."""
    lines = collections.defaultdict(dict)
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            done = subprocess.run([GCOV, "--json-format", "--stdout", path], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, f"{GCOV} {path}: {done.stderr}"
            for one in done.stdout.splitlines():
                for file in json.loads(one)["files"]:
                    known = lines[file["file"]]
                    for line in file["lines"]:
                        number = line["line_number"]
                        known[number] = known.get(number, False) or line["count"] > 0
    return lines


def counts():
    """{source: (lines that ran, lines)} of core/ and server/; what no test linked has run nowhere."""
    notes = sorted(path for folder in ("core", "server")
                   for path in glob.glob(os.path.join(BUILD, folder, "**", "*.gcno"), recursive=True))
    if not any(os.path.exists(note[:-4] + "gcda") for note in notes):
        raise tap.Skip("nothing was counted: the build with AddressSanitizer did not run, or is not of make check")
    jobs = len(os.sched_getaffinity(0))
    merged = collections.defaultdict(dict)
    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        for lines in pool.map(read, [notes[k::jobs] for k in range(jobs)]):
            for source, known in lines.items():
                for number, ran in known.items():
                    merged[source][number] = merged[source].get(number, False) or ran
    return {source: (sum(known.values()), len(known)) for source, known in merged.items()
            if source.startswith(("core/", "server/"))}


def share(found, prefix):
    ran = sum(r for source, (r, _) in found.items() if source.startswith(prefix))
    lines = sum(n for source, (_, n) in found.items() if source.startswith(prefix))
    return ran, lines, 100.0 * ran / lines


def table(found):
    folders = sorted({os.path.dirname(source) + "/" for source in found})
    for folder in folders:
        own = {s: n for s, n in found.items() if os.path.dirname(s) + "/" == folder}
        print("%6d of %6d  %5.1f %%  %s" % (*share(own, folder), folder))
        for source, (ran, lines) in sorted(own.items()):
            if ran < LEAST / 100.0 * lines:
                print("%6d of %6d  %5.1f %%      %s" % (ran, lines, 100.0 * ran / lines, os.path.basename(source)))


def main():
    try:
        found = counts()
    except tap.Skip as why:
        print(f"1..1\n# skip: {why}\nok 1 - coverage # SKIP")
        return 0
    if "--table" in sys.argv:
        table(found)
    print("1..2")
    bad = 0
    for number, folder in enumerate(("core/", "server/"), 1):
        ran, lines, percent = share(found, folder)
        bad += percent < LEAST
        print(f"# {folder}: {ran} of {lines} lines ran, {percent:.1f} %, at least {LEAST:.0f} %")
        print(f"{'ok' if percent >= LEAST else 'not ok'} {number} - lines of {folder} that tests run")
    return int(bad > 0)


sys.exit(main())
