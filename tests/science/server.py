# SPDX-License-Identifier: Apache-2.0
"""A tetrad of the runner's own: started on a database, asked over HTTP, stopped with the runner."""
import ctypes
import http.client
import json
import os
import select
import signal
import subprocess
import time
import urllib.parse

FINAL = ("succeeded", "diverged", "failed", "cancelled")
START_S, STOP_S = 60, 30


class Refused(Exception):
    """The server's answer was an error; status and what it said."""

    def __init__(self, what, status, body):
        super().__init__(f"{what}: {status} {json.dumps(body)}")
        self.status = status


def die_with_parent():
    """SIGTERM when the runner dies, however it does: the server then stops at once and keeps what its runs have."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C goes to the runner, which stops the server in order


class Server:
    """`tetrad serve` on database `state`/tetrad.db and datasets in `data`. A context."""

    def __init__(self, program, state, data, workers):
        self.log = os.path.join(state, "tetrad.log")
        command = [program, "serve", "--db", os.path.join(state, "tetrad.db"), "--data", data,
                   "--listen", "127.0.0.1:0", "--workers", str(workers)]
        deadline = time.monotonic() + START_S
        while (port := self.start(command)) is None:
            with open(self.log, "rb") as log:
                in_use = log.read().rstrip().endswith(b"the database is in use by another server")
            if not in_use or time.monotonic() > deadline:
                raise SystemExit(f"science: {program} serve did not start; see {self.log}")
            time.sleep(0.1)  # the server of a runner that was killed is still ending
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def start(self, command):
        """The port, or None: the program has ended without one."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TETRAD_")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=clean,
                                            preexec_fn=die_with_parent)
        line = self.process.stdout.readline() if select.select([self.process.stdout], [], [], START_S)[0] else b""
        if b"http://" in line:
            return int(line.split(b"http://", 1)[1].split()[0].rsplit(b":", 1)[1])
        self.stop(0.5)
        return None

    def ask(self, method, path, body=None, **headers):
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        self.connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = self.connection.getresponse()
        data = answer.read().decode()
        value = json.loads(data) if "json" in answer.headers.get("Content-Type", "") else data
        if answer.status not in (200, 201):
            raise Refused(f"{method} {path}", answer.status, value)
        return value

    def get(self, path, **query):
        query = {k: v for k, v in query.items() if v is not None}
        return self.ask("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def datasets(self):
        return {one["name"] for one in self.get("/v1/datasets")["datasets"]}

    def series(self, run, names):
        """{name: ([step], [value])} of the series that one of `names` is or, ending in *, begins."""
        found, after, more = {}, 0, True
        while more:
            page = self.get(f"/v1/runs/{run}/metrics", after=after)
            for name, one in page["series"].items():
                if any(name == n or n.endswith("*") and name.startswith(n[:-1]) for n in names):
                    steps, values = found.setdefault(name, ([], []))
                    steps += one["steps"]
                    values += one["values"]
            after, more = page["next"], page["more"]
        return found

    def stop(self, grace_s=0):
        """Waits for its end, after grace_s by SIGTERM, at last by SIGKILL."""
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.stop()


def wait(server, experiment, progress, pause=0.3):
    """The experiment, once all its runs are final. progress(share done, runs done, runs) is called on the way."""
    while True:
        found = server.get(f"/v1/experiments/{experiment}")
        runs = found["runs"]
        final = sum(r["state"] in FINAL for r in runs)
        share = [1.0 if r["state"] in FINAL else r["progress"]["step"] / max(1, r["progress"]["steps"]) for r in runs]
        progress(sum(share) / len(runs), final, len(runs))
        if final == len(runs):
            return found
        time.sleep(pause)
