#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fairly two members share a server: `tests/bench/shares.py [--runs 50] [--workers 2]`.

Both submit as many short runs at once. Printed: how far apart they are at any time in runs ended, with equal weights, and
how many of the workers' turns each has with weights 3 and 1 while both have work."""
import argparse, json, os, subprocess, sys, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "fault")]
import tap
from daemon import Daemon, folder, until


def token(database, user, role):
    made = subprocess.run([tap.TETRAD, "token", "create", "--user", user, "--role", role, "--db", database, "--json"],
                          capture_output=True, text=True, check=True)
    return json.loads(made.stdout)["token"]


def ask(port, who, method, path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, data=json.dumps(body).encode() if body else None,
                                     headers={"Authorization": f"Bearer {who}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def share(weights, runs, workers):
    """The members' names in the order in which their runs began."""
    with folder() as path:
        database = os.path.join(path, "tetrad.db")
        who = {name: token(database, name, role) for name, role in (("root", "admin"), ("ana", "member"), ("ben", "member"))}
        daemon = Daemon(path, workers=workers)
        for name, weight in weights.items():
            ask(daemon.port, who["root"], "PUT", f"/v1/users/{name}", {"weight": weight, "cap": None})
        made = {}
        for name in weights:
            definition = {"dataset": {"name": "strokes", "train": 5000, "test": 100}, "network": {"layers": [{"units": 64}]},
                          "rule": {"name": "sal"}, "training": {"epochs": 4, "batch": 64},
                          "sweep": {"training.seed": list(range(1, runs + 1))}}
            made[name] = ask(daemon.port, who[name], "POST", "/v1/experiments", definition)["id"]
        until("the runs", lambda: all(ask(daemon.port, who["root"], "GET", f"/v1/experiments/{i}")["state"] == "succeeded"
                                      for i in made.values()), 0.2)
        began, ended = [], []
        for name, experiment in made.items():
            for run in ask(daemon.port, who["root"], "GET", f"/v1/experiments/{experiment}")["runs"]:
                whole = ask(daemon.port, who["root"], "GET", f"/v1/runs/{run['id']}")
                began.append((whole["started_at"], name))
                ended.append((whole["ended_at"], name))
        daemon.stop()
    return [n for _, n in sorted(began)], [n for _, n in sorted(ended)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    _, ended = share({"ana": 1, "ben": 1}, arguments.runs, arguments.workers)
    apart, most = 0, 0
    for name in ended:
        apart += 1 if name == "ana" else -1
        most = max(most, abs(apart))
    last = {name: max(i for i, n in enumerate(ended) if n == name) for name in ("ana", "ben")}
    print(f"equal weights, {arguments.runs} runs each, {arguments.workers} workers: at most {most} runs apart; the last ends "
          f"{abs(last['ana'] - last['ben'])} runs after the other's last")
    began, _ = share({"ana": 3, "ben": 1}, arguments.runs, arguments.workers)
    both = began[:max(i for i, n in enumerate(began) if n == "ana") + 1]
    print(f"weights 3 and 1: {both.count('ana')} runs against {both.count('ben')} while both had work: "
          f"{both.count('ana') / max(1, both.count('ben')):.2f} times as many")


main()
