#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many clients that err and mean harm, all at once: they submit, cancel, pause, resume, reorder, delete, fork, rerun,
import, upload, predict, back up and read the same few experiments, cut their uploads and walk away from replies, while
others send what is no request. One storm ends with kill -9 and one with SIGTERM.

After them: no status that the contract does not list, none that says the server is at fault, no run that is stuck,
equal definitions with equal digests, room for everybody's uploads, a database without orphans, no file without owner.

TETRAD_SEED repeats the clients' choices (not their timing)."""
import http.client, io, json, os, random, re, socket, sys, threading, time, zipfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from daemon import archive, Client, Daemon, FINAL, SEED, SOAK, database, folder, note, tap, until

CLIENTS, SECONDS = (24, 60.0) if SOAK else (12, 4.0)
RETRY = 60.0  # seconds in which what is busy must have ended
note(f"seed {SEED}")
DOCUMENT = json.load(open(os.path.join(tap.ROOT, "schema", "openapi.json")))
PATHS = [(re.compile(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(path)) + "$"), path) for path in DOCUMENT["paths"]]
HOSTILE = ["\u202e<script>alert(1)</script>", "=1+1", 2 ** 64, -1, 1e308, None, [], {}, "../../etc/passwd", "a" * 5000,
           True]
GARBAGE = [b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\n\r\n",
           b"POST /v1/actions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
           b"PUT /v1/datasets/up0 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
           b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
           b"GET /v1/me HTTP/1.1\r\nHost: evil.example\r\n\r\n",
           b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 18446744073709551616\r\n\r\n"]


def definition(**more):
    return {"name": "=storm", "tags": ["@t"], "dataset": {"name": "strokes", "train": 200, "test": 50},
            "network": {"layers": [{"units": 8}, {"units": 6}]}, "rule": {"name": "sal"}, "optimizer": {"lr": 0.02},
            "training": {"epochs": 2, "batch": 16, "seed": 1}, "record": {"every": 3}, **more}


def dataset(n, content):
    file, rng = io.BytesIO(), np.random.RandomState(content)
    np.savez(file, x=rng.rand(n, 16).astype("f4"), t=rng.randint(0, 3, n))
    return file.getvalue()


class Storm:
    """Clients, as a context; at its end all have stopped. What was wrong is in `wrong`."""

    def __init__(self, daemon, number, zipped):
        self.port, self.zipped, self.over = daemon.port, zipped, threading.Event()
        self.last = {"experiments": 1, "runs": 1}
        self.asked, self.wrong, self.lost = 0, [], 0
        self.threads = [threading.Thread(target=self.client, args=(random.Random(SEED * 1000 + number * 100 + i),))
                        for i in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def judge(self, method, path, status, data):
        listed = [DOCUMENT["paths"][name][method.lower()]["responses"] for pattern, name in PATHS
                  if pattern.match(path.split("?")[0]) and method.lower() in DOCUMENT["paths"][name]]
        if status == 500 or not any(str(status) in one for one in listed):
            self.wrong.append((method, path, status, data[:300]))
        if status >= 400 and not json.loads(data)["error"]["message"]:
            self.wrong.append((method, path, status, "no message"))

    def ask(self, rng, method, path, body=None, kind="application/json", cut=False):
        """A request on a connection of its own; cut: half of its body, or of the reply, then gone."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=RETRY)
        try:
            connection.putrequest(method, path)
            if body is not None:
                connection.putheader("Content-Type", kind)
            connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body[:len(body) // 2] if cut and body else body)
            if cut:
                return None
            answer = connection.getresponse()
            data = answer.read()
            self.asked += 1
            self.judge(method, path, answer.status, data)
            return json.loads(data) if answer.status == 201 else None
        except (OSError, http.client.HTTPException):
            self.lost += 1
            return None
        finally:
            connection.close()

    def made(self, answer):
        if answer and "runs" in answer:
            runs = [r["run"] if isinstance(r, dict) else r for r in answer["runs"]]
            self.last["experiments"] = max(self.last["experiments"], answer.get("id", answer.get("experiment", 0)))
            self.last["runs"] = max(self.last["runs"], *runs)

    def one_of(self, rng, what):
        return f"/v1/{what}/{rng.randint(max(1, self.last[what] - 20), self.last[what])}"

    def client(self, rng):
        acts = [self.submit, self.change, self.change, self.change, self.act, self.again, self.data, self.read,
                self.harm]
        while not self.over.is_set():
            rng.choice(acts)(rng)

    def submit(self, rng):
        more = {"dataset": {"name": f"up{rng.randrange(3)}"}} if rng.random() < 0.2 else {}
        self.made(self.ask(rng, "POST", "/v1/experiments", definition(
            training={"epochs": rng.choice([1, 2, 40]), "batch": 16, "seed": 1}, **more, sweep=[
                {"training.seed": list(range(1, rng.randint(2, 5)))},
                {"rule.name": rng.sample(["bp", "kp", "fa"], 2)}])))

    def change(self, rng):
        path = self.one_of(rng, rng.choice(list(self.last)))
        verb = rng.choice(["cancel", "pause", "resume", "priority", ""])
        if verb:
            self.ask(rng, "POST", f"{path}/{verb}", {"priority": rng.randint(-100, 100)})
        else:
            self.ask(rng, "DELETE", self.one_of(rng, "experiments"))

    def act(self, rng):
        action = rng.choice(["cancel", "pause", "resume", "resume", "priority", "delete"])
        self.ask(rng, "POST", "/v1/actions", {
            "action": action, **({"priority": rng.randint(-5, 5)} if action == "priority" else {}),
            "select": rng.choice([{"q": "=STORM"}, {"ids": list(range(self.last["experiments"] - 5, 10000))},
                                  {"state": rng.choice(["paused", *FINAL])}])})

    def again(self, rng):
        path = self.one_of(rng, "runs")
        verb, body = rng.choice([("rerun", None), ("fork", {"changes": {"optimizer.lr": 0.01}}),
                                 ("pin", {"pinned": False}), ("predict", {"part": "test", "indices": [0, 1]})])
        self.made(self.ask(rng, "POST", f"{path}/{verb}", body))

    def data(self, rng):
        k, cut = rng.random(), rng.random() < 0.3
        if k < 0.5:
            content = dataset(rng.choice([60, 3000]), rng.randrange(3))
            self.ask(rng, "PUT", f"/v1/datasets/up{rng.randrange(3)}", content, "application/octet-stream", cut)
        elif k < 0.65:
            self.ask(rng, "DELETE", f"/v1/datasets/up{rng.randrange(3)}")
        elif k < 0.85:
            self.made(self.ask(rng, "POST", "/v1/import", self.zipped, "application/zip", cut))
        else:
            self.ask(rng, "POST", *rng.choice([("/v1/admin/backup", {}), ("/v1/admin/retention", {"last": 1})]))

    def read(self, rng):
        run, experiment = self.one_of(rng, "runs"), self.one_of(rng, "experiments")
        self.ask(rng, "GET", rng.choice([
            run, experiment, f"{run}/metrics?points=10&name=*a*a*a*b", f"{run}/metrics?format=csv",
            f"{run}/weights.npz", f"{run}/weights/W3.W2.png", f"{experiment}/summary",
            f"{experiment}/summary?format=csv", "/v1/queue", "/metrics", "/v1/datasets",
            "/v1/experiments?q=%3Dstorm"]), cut=rng.random() < 0.2)

    def harm(self, rng):
        if rng.random() < 0.5:
            field = rng.choice([*definition(), "sweep", "fork", "protocol"])
            self.ask(rng, "POST", "/v1/experiments?dry_run=1", definition(**{field: rng.choice(HOSTILE)}))
            return
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.2) as peer:
                peer.sendall(rng.choice(GARBAGE))
                if rng.random() < 0.5:
                    peer.recv(1000)
        except OSError:
            pass


def settle(daemon):
    """Resumes what is paused until nothing waits; then there is room for uploads, imports and backups."""
    def quiet():
        queue = client.get("/v1/queue")
        return not queue["length"] and not queue["running"]

    def uploads(number):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=RETRY)
        connection.request("PUT", f"/v1/datasets/after{number}", dataset(50, 100 + number),
                           {"Content-Type": "application/octet-stream"})
        status = connection.getresponse().status
        connection.close()
        return status == 201
    client = Client(daemon.port)
    for _ in range(3):  # what waits for a dataset that is gone is paused again
        until("all runs to end", quiet, 0.1)
        assert client.ask("POST", "/v1/actions", {"action": "resume", "select": {"state": "paused"}})[0] == 200
    until("all runs to end", quiet, 0.1)
    begun = time.monotonic()
    for number in range(5):
        until("room for an upload", lambda: uploads(number), 0.05)
    note(f"room for uploads after {time.monotonic() - begun:.1f} s")
    assert time.monotonic() - begun < 8.0
    until("room for a backup", lambda: client.ask("POST", "/v1/admin/backup", {})[0] == 201, 0.05)
    client.close()


def check_rows(db):
    """No row of what is gone, counters that count, equal digests of equal definitions."""
    for table, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = {c[1] for c in db.execute(f"PRAGMA table_info({table})")}
        for column in columns & {"run", "experiment", "checkpoint"}:
            if table not in ("audit", "experiment_runs"):
                left = db.execute(f"SELECT count(*) FROM {table} WHERE {column} NOT IN (SELECT id FROM {column})")
                assert left.fetchone()[0] == 0, f"{table}: rows of a {column} that is gone"
    for state in ("queued", "running", *FINAL):
        counted = db.execute(f"SELECT coalesce(sum({state}), 0) FROM experiment_runs").fetchone()[0]
        real = db.execute("SELECT count(*) FROM run WHERE state = ? AND experiment NOT IN (SELECT experiment FROM"
                          " removal)", (state,)).fetchone()[0]  # the others go little by little
        assert counted == real, f"{state}: counted {counted}, there are {real}"
    digests = {}
    for key, digest in db.execute("SELECT hash, digest FROM run WHERE state = 'succeeded'"):
        digests.setdefault(key, set()).add(digest)
    assert all(len(found) == 1 for found in digests.values()), digests
    return len(digests)


def test_storm():
    with folder() as path:
        with Daemon(path) as daemon:  # killed
            _, answer = daemon.client.submit(definition(sweep={"training.seed": [1, 2]}))
            daemon.await_final(answer["runs"])
            zipped = archive(daemon.client, answer["id"])
            with Storm(daemon, 0, zipped) as first:
                time.sleep(SECONDS)
                assert not first.lost, f"{first.lost} requests were lost"
                daemon.kill()
        with database(path):
            pass
        with Daemon(path) as daemon:
            with Storm(daemon, 1, zipped) as second:
                second.last = first.last
                time.sleep(SECONDS)
            assert not second.lost, f"{second.lost} requests were lost"
            settle(daemon)
            daemon.stop()
            assert not daemon.said(), daemon.said()
        assert not first.wrong + second.wrong, (first.wrong + second.wrong)[:5]
        with database(path) as db:
            different = check_rows(db)
            contents = {sha.split(":")[1] + ".npz" for sha, in db.execute("SELECT sha256 FROM dataset")}
        files = {f for _, _, names in os.walk(path + "/tetrad.db.files") for f in names} - {"lock"}
        assert files == contents, files ^ contents
        assert not [f for f in os.listdir(path + "/tetrad.db.backups") if not f.endswith((".db", ".db.files"))]
    note(f"{first.asked + second.asked} requests; {different} different definitions trained")


tap.run(globals())
