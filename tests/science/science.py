#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the tables of the science: what `make science` and `make science-quick` run.

    science.py [--table a] [--data DIR]     every table that is not finished, or one
    science.py --quick                      small forms of all on built-in data, under build/science/quick
    science.py --report                     the page anew from the results that there are; starts nothing

A server of the runner's own (server.py) trains the runs of the definitions in schema/examples/science (tables.py);
what it says becomes OUT/results/TABLE.json, and these become OUT/README.md and its pictures (report.py, figures.py).
Stopped and started again, it goes on: the server's database keeps runs, and a definition is submitted with an
Idempotency-Key. A finished table is made again where its key has changed: its definitions, or what this program
computes (a few mini-batches of each of its rules). Statistics over seeds are the server's.
"""
import argparse
import contextlib
import csv
import fcntl
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import report
import sections
import tables
from server import Refused, Server, wait

FORMAT = 1  # of the results: another makes every table anew


def say(text):
    print(f"science: {text}", flush=True)


def hash_of(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def computes(program, rules):
    """A hash of what a program computes with these rules: losses to the last bit, on a few mini-batches."""
    definition = {"dataset": {"name": "strokes", "train": 640, "test": 20},
                  "network": {"layers": [{"type": "conv2d", "channels": 4, "kernel": 5, "stride": 2}, {"units": 12}]},
                  "rule": {"name": "bp"}, "optimizer": {"lr": 0.02, "decay": 0.01}, "record": {"every": 0},
                  "training": {"epochs": 4}, "sweep": {"rule.name": rules}}
    with tempfile.TemporaryDirectory() as folder:
        path, metrics = os.path.join(folder, "probe.json"), os.path.join(folder, "metrics.csv")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(definition, file)
        run = subprocess.run([program, "run", path, "--data", folder, "--metrics", metrics], text=True,
                             capture_output=True, stdin=subprocess.DEVNULL)
        if run.returncode != 0:
            raise SystemExit(f"science: {program} does not run rules {', '.join(rules)}: {run.stderr.strip()}")
        with open(metrics, newline="", encoding="utf-8") as file:
            return hash_of([row for row in csv.reader(file) if row[2] == "train/loss"])


def key_of(table, quick, program):
    """What a finished table must have been made from."""
    definitions = table.definitions(quick)
    rules = sorted({rule for d in definitions.values() for rule in tables.rules(d)})
    kept_of = [e._replace(quick=None) for e in table.experiments]
    return hash_of([FORMAT, definitions, kept_of, computes(program, rules)])


def choose(runs):
    """{rule: its best rates} of a tuning experiment: the greatest validation/accuracy, then the least loss."""
    chosen = {}
    for run in runs:
        if run["state"] != "succeeded":
            continue
        rank = (-run["final"]["validation/accuracy"], run["final"]["validation/loss"])
        rule = run["parameters"]["rule.name"]
        if rule not in chosen or rank < chosen[rule][0]:
            rates = {path: run["parameters"][path] for path in tables.RATES}
            chosen[rule] = rank, {**rates, "validation/accuracy": run["final"]["validation/accuracy"]}
    missing = {run["parameters"]["rule.name"] for run in runs} - set(chosen)
    if missing:
        raise SystemExit(f"science: no rates of the grid let these rules learn: {', '.join(sorted(missing))}")
    return {rule: rates for rule, (_, rates) in chosen.items()}


def binned(steps, values, width):
    """A series averaged over bins of `width` steps, each at the last step it holds; null where it is not defined (the
    cosine of a modulation that is 0)."""
    bins = {}
    for step, value in zip(steps, values):
        bins.setdefault((step - 1) // width, []).append((step, value))
    return {"steps": [b[-1][0] for b in bins.values()],
            "values": [report.rounded(sections.mean([value for _, value in b]), 4) for b in bins.values()]}


def kept(server, run, spec):
    """What the results keep of a run."""
    whole = server.get(f"/v1/runs/{run['id']}")
    final = {k: report.rounded(v, 6) for k, v in run["final"].items() if not (spec.tuning and k.startswith("test/"))}
    one = {"parameters": run["parameters"], "state": run["state"], "reason": run["reason"], "hash": whole["hash"],
           "digest": run["digest"], "final": final, "steps": whole["progress"]["steps"]}
    if spec.series:
        per_epoch = one["steps"] // whole["definition"]["training"]["epochs"]
        width = max(1, per_epoch // spec.bins)
        one["series"] = {name: binned(*s, width) for name, s in sorted(server.series(run["id"], spec.series).items())}
    return one, whole["train_seconds"]


def summary(server, experiment, metric, baseline):
    """The server's statistics over seeds: a list of points with parameters, n, mean, sd, interval and difference.
    Here alone the shape of GET /v1/experiments/{id}/summary is known."""
    named = ",".join(f"{path}:{value}" for path, value in sorted(baseline.items())) if baseline else None
    return server.get(f"/v1/experiments/{experiment}/summary", metric=metric, baseline=named)["points"]


def submit(server, definition, key):
    """The experiment's number, of an earlier start where that submitted it. What an earlier start left unfinished of
    definitions that have changed since is cancelled; one that was cancelled so and is wanted again is made anew."""
    for attempt in itertools.count():
        again = f"-{attempt}" if attempt else ""
        made = server.ask("POST", "/v1/experiments", definition,
                          Idempotency_Key=f"science-{key[:16]}{hash_of(definition)[:32]}{again}")
        if server.get(f"/v1/experiments/{made['id']}")["state"] != "cancelled":
            break
    for other in server.get("/v1/experiments")["experiments"]:
        if other["id"] != made["id"] and other["state"] in ("queued", "running"):
            server.ask("POST", f"/v1/experiments/{other['id']}/cancel")
    return made["id"]


def train(server, spec, definition, baseline, progress):
    """Its part of the results."""
    number = submit(server, definition, progress.key)
    found = wait(server, number, progress)
    bad = [f"run {r['id']}: {r['state']}: {r['reason']}" for r in found["runs"]
           if r["state"] not in ("succeeded", "diverged")]
    if bad:
        raise SystemExit(f"science: {spec.name}: " + "; ".join(bad[:5]))
    runs, seconds = zip(*(kept(server, run, spec) for run in found["runs"]))
    return {"name": spec.name, "definition": definition, "hash": found["hash"], "runs": list(runs),
            "core_seconds": round(sum(seconds)), "baseline": baseline,
            "summary": {m: report.rounded(summary(server, number, m, baseline), 6) for m in spec.metrics}}


class Progress:
    """One line a table: on a terminal it shows how far its experiments are, and when the present one will end."""

    def __init__(self, table, key):
        self.table, self.key, self.name = table, key, ""
        self.begun = self.first = None

    def start(self, name):
        self.name, self.begun, self.first = name, time.monotonic(), None

    def __call__(self, share, done, runs):
        if not sys.stderr.isatty():
            return
        spent = time.monotonic() - self.begun
        if self.first is None:
            self.first = share  # done by an earlier start
        rate = (share - self.first) / spent if spent > 0 else 0
        left = f", {report.clock((1 - share) / rate)} left" if rate > 0 and share < 1 else ""
        print(f"\r\033[Kscience: table {self.table.key}: {self.name}: {done} of {runs} runs, {100 * share:.0f} %{left}",
              end="" if share < 1 else "\r\033[K", file=sys.stderr, flush=True)


def make_table(server, table, quick, key):
    progress, chosen, experiments = Progress(table, key), {}, []
    for spec in table.experiments:
        progress.start(spec.name)
        definition, baseline = spec.definition(quick), spec.baseline
        if spec.rates:
            definition = tables.with_rates(definition, chosen[spec.rates])
        if baseline:
            baseline = tables.with_own_rates(baseline, definition)
        made = train(server, spec, definition, baseline, progress)
        if spec.tuning:
            made["chosen"] = chosen[spec.name] = choose(made["runs"])
        experiments.append(made)
    return {"format": FORMAT, "table": table.key, "title": table.title, "quick": quick, "key": key,
            "version": server.get("/v1")["version"], "experiments": experiments}


def write(path, text):
    """The whole file or, should the runner die, the one from before."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def unfinished(arguments, names):
    """{table: key} of those to be made."""
    todo = {}
    for name in names:
        key = key_of(tables.TABLES[name], arguments.quick, arguments.tetrad)
        old = report.results(arguments.out).get(name)
        if old and old["key"] == key:
            continue
        if old:
            say(f"table {name}: its definitions, or what this program computes, have changed: made again")
        todo[name] = key
    return todo


@contextlib.contextmanager
def alone(state):
    """One runner at a time on a state folder."""
    os.makedirs(state, exist_ok=True)
    with open(os.path.join(state, "lock"), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"science: another runner is at work on {state}") from None
        yield


def make(arguments, names):
    """Makes what is not finished, as far as its data are there; returns how many tables that were."""
    todo = unfinished(arguments, names)
    made_tables = 0
    if not todo:
        say("nothing to do: every table is finished")
        return 0
    with Server(arguments.tetrad, arguments.state, arguments.data, arguments.workers) as server:
        there = server.datasets()
        for name, key in todo.items():
            table = tables.TABLES[name]
            if not arguments.quick and table.dataset not in there:
                say(f"table {name} skipped: no dataset {table.dataset} in {arguments.data} (TETRAD_DATA)")
                continue
            begun = time.monotonic()
            made = make_table(server, table, arguments.quick, key)
            write(os.path.join(arguments.out, "results", f"{name}.json"), report.dump(made))
            runs = sum(len(e["runs"]) for e in made["experiments"])
            say(f"table {name}: {table.title}: {runs} runs, {report.clock(time.monotonic() - begun)}")
            made_tables += 1
    return made_tables


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tetrad", default=os.path.join(tables.ROOT, "build", "tetrad"), help="the program")
    parser.add_argument("--data", default=os.environ.get("TETRAD_DATA"), help="folder of datasets [TETRAD_DATA]")
    parser.add_argument("--table", choices=sorted(tables.TABLES), help="this one only")
    parser.add_argument("--quick", action="store_true", help="small forms, on built-in data")
    parser.add_argument("--report", action="store_true", help="only write the page, from the results that there are")
    parser.add_argument("--state", help="folder of the server's database (default: build/science[/quick])")
    parser.add_argument("--out", help="folder of results and page (default: schema/examples/science; quick: STATE)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at once (default: the processors)")
    arguments = parser.parse_args()
    arguments.state = arguments.state or os.path.join(tables.ROOT, "build", "science", *["quick"] * arguments.quick)
    arguments.out = arguments.out or (arguments.state if arguments.quick else tables.DEFINITIONS)
    if arguments.quick or not arguments.data:
        arguments.data = os.path.join(arguments.state, "data")
        os.makedirs(arguments.data, exist_ok=True)
    return arguments


def main():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the server is stopped
    arguments = read_arguments()
    with alone(arguments.state):
        names = [arguments.table] if arguments.table else sorted(tables.TABLES)
        path = os.path.join(arguments.out, "README.md")
        if arguments.report or make(arguments, names) or not os.path.exists(path):
            write(path, report.page(arguments.out, say))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("stopped; started again, it goes on")
        sys.exit(130)
    except Refused as refused:
        sys.exit(f"science: {refused}")
