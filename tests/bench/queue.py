#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the server does with 100,000 runs in its queue.

    make build/tetrad && python3 tests/bench/queue.py [--tetrad build/tetrad] [--small 20000] [--large 10] [--runs 10000]

Starts a server in a folder of its own, lets one long run keep its worker, submits experiments of one run and
experiments of many, and prints how long things take. What a claim takes is measured by build/tests/bench/queue, which
works on the store alone.
"""
import argparse
import http.client
import json
import os
import signal
import subprocess
import tempfile
import time

NETWORK = {"layers": [{"units": 6}, {"units": 5}]}


def definition(name, **more):
    return {"name": name, "dataset": {"name": "strokes", "train": 500, "test": 100}, "network": NETWORK,
            "rule": {"name": "sal"}, "training": {"epochs": 1, "batch": 50}, **more}


class Server:
    def __init__(self, tetrad, folder):
        began = time.monotonic()
        self.process = subprocess.Popen(
            [tetrad, "serve", "--db", f"{folder}/lab.db", "--listen", "127.0.0.1:0", "--workers", "1"], cwd=folder,
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.seconds = time.monotonic() - began
        self.connection = http.client.HTTPConnection("127.0.0.1", int(line.split("http://127.0.0.1:")[1].split()[0]))

    def ask(self, method, path, body=None):
        began = time.monotonic()
        text = json.dumps(body) if body is not None else None
        self.connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        reply = self.connection.getresponse()
        data = reply.read()
        if reply.status >= 300:
            raise SystemExit(f"{method} {path}: {reply.status} {data[:300]}")
        return json.loads(data), time.monotonic() - began

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def show(what, seconds, bound_ms=None):
    seconds = sorted(seconds)
    line = f"{what:<44} median {1e3 * seconds[len(seconds) // 2]:8.2f} ms"
    if len(seconds) > 20:
        line += f"   99 % {1e3 * seconds[int(0.99 * len(seconds))]:8.2f} ms"
    print(line + (f"   (to be below {bound_ms} ms)" if bound_ms else ""), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tetrad", default="build/tetrad")
    parser.add_argument("--small", type=int, default=20000)
    parser.add_argument("--large", type=int, default=10)
    parser.add_argument("--runs", type=int, default=10000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tetrad = os.path.abspath(arguments.tetrad)
        server = Server(tetrad, folder)
        busy, _ = server.ask("POST", "/v1/experiments", definition("busy", network={"layers": [{"units": 1024}]},
                                                                   dataset={"name": "strokes", "train": 20000, "test": 100},
                                                                   training={"epochs": 100000, "batch": 50}))
        show("submit, one run", [server.ask("POST", "/v1/experiments", definition(f"small {i}"))[1]
                                 for i in range(arguments.small)], 5)
        sweep = {"training.seed": list(range(1, arguments.runs + 1))}
        show(f"submit, {arguments.runs} runs", [server.ask("POST", "/v1/experiments",
                                                           definition(f"large {i}", sweep=sweep))[1]
                                                for i in range(arguments.large)])
        length = server.ask("GET", "/v1/queue")[0]["length"]
        print(f"{length} runs in the queue")
        show("submit, one run, to the full queue",
             [server.ask("POST", "/v1/experiments", definition(f"late {i}"))[1] for i in range(500)], 5)
        show("GET /v1/experiments", [server.ask("GET", "/v1/experiments")[1] for _ in range(200)], 20)
        show("GET /v1/experiments?state=queued&q=small",
             [server.ask("GET", "/v1/experiments?state=queued&q=small")[1] for _ in range(200)], 20)
        run = busy["first_run"]
        show("GET /v1/runs/{id}", [server.ask("GET", f"/v1/runs/{run + 1}")[1] for _ in range(500)])
        show("GET /v1/queue", [server.ask("GET", "/v1/queue")[1] for _ in range(200)], 20)
        fresh = []
        for i in range(100):  # each after a change, so that none is remembered
            server.ask("POST", f"/v1/runs/{run + 2}/priority", {"priority": i})
            fresh.append(server.ask("GET", "/v1/queue?limit=500")[1])
        show("GET /v1/queue?limit=500 after a change", fresh, 20)
        server.stop()
        server = Server(tetrad, folder)
        show("start-up", [server.seconds], 2000)
        show("pause 10,000 runs", [server.ask("POST", "/v1/actions", {"action": "pause", "select": {
            "q": "large 0"}})[1]])
        show("cancel everything", [server.ask("POST", "/v1/actions", {"action": "cancel", "select": {
            "owner": "local"}})[1]])
        show("delete everything", [server.ask("POST", "/v1/actions", {"action": "delete", "select": {
            "owner": "local"}})[1]])
        show("submit while rows are removed",
             [server.ask("POST", "/v1/experiments", definition(f"then {i}"))[1] for i in range(200)], 5)
        server.stop()


main()
