#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The real daemon against requests that are made of its own contract (http_grammar.py), by several clients at once, over
sockets of their own: right ones, wrong ones, cut, pipelined, chunked, with bytes turned, and noise.

The daemon lives; every reply is one that schema/openapi.json has for its route (http_oracle.py); nothing is the server's
fault; ids from replies are used again; a viewer changes nothing, and no token comes back. Beside the sanitized daemon it
looks for findings, beside the release one for memory.

    tests/fuzz/test_http.py [--minutes N]     TETRAD_SEED repeats the clients' choices (not their timing)"""
import argparse, hashlib, io, json, os, random, sqlite3, sys, threading, time, traceback, zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "fault")]
import numpy as np
from daemon import FINAL, SEED, SOAK, Daemon, folder, note, tap, until
from http_grammar import DOCUMENT, EXAMPLES, Grammar, dataset, spoil_text
from http_oracle import judge, strict_json
from http_wire import Wire

arguments = argparse.ArgumentParser()
arguments.add_argument("--minutes", type=float, default=20 if SOAK else 0)
MINUTES = arguments.parse_args().minutes
SANITIZED = "address-undefined" in tap.TETRAD
CLIENTS = 4
SECONDS = MINUTES * 60 or (18 if SANITIZED else 3)
PATIENCE = 60.0  # seconds for one reply
LIMITS = {"TETRAD_MEMORY": "192M", "TETRAD_MAX_QUEUED": "400", "TETRAD_MAX_UPLOAD": "2M", "TETRAD_MAX_CONNECTIONS": "400"}
note(f"seed {SEED}")
sys.setrecursionlimit(20000)  # deep nesting is made and printed
threading.stack_size(64 << 20)


class Findings:
    def __init__(self):
        self.all, self.asked, self.statuses, self.routes, self.lock = [], 0, {}, {}, threading.Lock()

    def add(self, why, request, reply):
        with self.lock:
            if len(self.all) < 5:
                wire = request if isinstance(request, bytes) else request.wire()
                self.all.append(f"{why}\n  sent {wire[:1200]!r}\n  got {reply}")

    def count(self, request, reply):
        with self.lock:
            self.asked += 1
            self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
            if request.route and request.route[0] == request.method and reply.status < 400:
                self.routes[request.route] = self.routes.get(request.route, 0) + 1


class Client(threading.Thread):
    """One client: sends until `over`, judges each reply, learns from it."""

    def __init__(self, number, port, tokens, findings, over, dry=False, most=None, only=None, **grammar):
        super().__init__()
        self.number, self.port, self.tokens, self.findings, self.over = number, port, tokens, findings, over
        self.most, self.only = most, only
        self.grammar = Grammar(SEED * 1000 + number, f"c{number}", **grammar)
        self.grammar.dry = dry
        self.rng, self.wire, self.sent = self.grammar.rng, None, 0

    def run(self):
        try:
            while not self.over.is_set() and (self.most is None or self.sent < self.most):
                self.step()
                self.sent += 1
        except Exception:
            self.findings.add(traceback.format_exc(), b"", None)
            self.over.set()
        self.hang_up()

    def hang_up(self):
        if self.wire:
            self.wire.close()
        self.wire = None

    def open(self, timeout):
        self.hang_up()
        self.wire = Wire(self.port, timeout, f"127.0.0.{2 + self.number}")

    def step(self):
        k = self.rng.random()
        if k < 0.86:
            self.whole(self.grammar.request(self.token(), self.only))
        elif k < 0.90:
            self.pipelined()
        elif k < 0.93:
            self.chunked()
        elif k < 0.96:
            self.turned()
        elif k < 0.98:
            self.cut()
        elif k < 0.99:
            self.noise()
        else:
            self.healthy()

    def token(self):
        return self.rng.choice(self.tokens)

    def check(self, request, reply):
        self.findings.count(request, reply)
        wrong = judge(request, reply, [t for t in self.tokens if t])
        if wrong:
            self.findings.add(wrong, request, reply)
            if len(self.findings.all) >= 5:
                self.over.set()
        elif reply.json is not None and reply.status < 400:
            self.learn(request, reply)

    def learn(self, request, reply):
        value, know = reply.json, self.grammar.learn
        know("IfNoneMatch", reply.headers.get("ETag"))
        if not isinstance(value, dict):
            return
        know("Cursor", value.get("next") if isinstance(value.get("next"), str) else None)
        if request.route == ("POST", "/v1/experiments") and reply.status == 201:
            know("ExperimentId", value["id"])
            know("RunId", *value["runs"][:3])
        elif request.route and request.route[1] in ("/v1/runs/{id}/fork", "/v1/runs/{id}/rerun") and reply.status == 201:
            know("RunId", value.get("run", value.get("id")))
        elif request.route == ("POST", "/v1/tokens"):
            know("TokenId", value["id"])
        elif request.route == ("PUT", "/v1/datasets/{name}"):
            know("DatasetName", value["name"])
        elif request.route == ("GET", "/v1/runs/{id}/weights"):
            know("ArrayName", *[a["name"] for a in value.get("arrays", ())][:4])

    def whole(self, request):
        if request.odd or self.wire is None:  # it may not be whole: then nothing is to be waited for
            self.open(0.3 if request.odd else PATIENCE)
        self.wire.send(request.wire())
        reply = self.wire.reply(request.method)
        if reply is None and not request.odd:
            self.findings.add("no reply", request, None)
        if reply is not None:
            self.check(request, reply)
        if reply is None or reply.last or request.odd:
            self.hang_up()
        return reply

    def pipelined(self):
        """All at once; each has its reply, in their order, until one ends the connection."""
        requests = [self.grammar.request(self.token(), self.only) for _ in range(self.rng.randint(2, 5))]
        requests = [r for r in requests if not r.odd and not r.target.split("?")[0].endswith("/events")]
        self.open(PATIENCE)
        self.wire.send(b"".join(r.wire() for r in requests))
        for request in requests:
            reply = self.wire.reply(request.method)
            if reply is None:
                self.findings.add("no reply to a pipelined request", request, None)
                break
            self.check(request, reply)
            if reply.last:
                break
        self.hang_up()

    def unread(self, data, timeout=0.3):
        """What is perhaps no request: whatever comes back is a reply at least, and not the server's fault."""
        self.open(timeout)
        self.wire.send(data)
        while (reply := self.wire.reply(data.split(b" ")[0].decode("latin1"))) is not None:
            if reply.status == 500 or reply.status not in range(200, 506):
                self.findings.add("the server is at fault", data, reply)
            if reply.last:
                break
        self.hang_up()

    def chunked(self):
        request = self.grammar.request(self.token(), self.only)
        head = request.wire()[:len(request.wire()) - len(request.body or b"")]
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length"))
        body, chunks = request.body or b"{}", b""
        for at in range(0, len(body), max(1, len(body) // 3)):
            piece = body[at:at + max(1, len(body) // 3)]
            chunks += b"%x\r\n%s\r\n" % (len(piece), piece)
        chunks += b"0\r\n\r\n"
        if self.rng.random() < 0.6:
            chunks = spoil_text(chunks, self.rng) + self.rng.choice([b"", b"FFFFFFFFFFFFFFFFF\r\n", b"-1\r\n", b"0;x=" + b"y" * 9000])
        self.unread(head[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)

    def turned(self):
        """Some bytes are others."""
        data = bytearray(self.grammar.request(self.token(), self.only).wire())
        for _ in range(self.rng.choice([1, 1, 3, 20])):
            at = self.rng.randrange(min(len(data), 400) if self.rng.random() < 0.7 else len(data))
            data[at:at + self.rng.choice([0, 1, 1, 4])] = bytes([self.rng.randrange(256)]) * self.rng.choice([0, 1, 1, 50])
            data = data or bytearray(b"x")
        self.unread(bytes(data))

    def cut(self):
        request = self.grammar.request(self.token(), self.only).wire()
        self.open(PATIENCE)
        self.wire.send(request[:self.rng.randrange(len(request))])
        self.hang_up()

    def noise(self):
        self.unread(self.rng.choice([b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 100, b"\r\n" * 50, b"GET / HTTP/9.9\r\n\r\n",
                                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"A" * 70000, self.rng.randbytes(300),
                                     b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3000 + b"\r\n", b"GET / HTTP/1.0\r\n\r\n",
                                     b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", b"GET  /  HTTP/1.1\r\nHost:localhost\r\n\r\n"]))

    def healthy(self):
        self.open(PATIENCE)
        self.wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = self.wire.reply()
        if reply is None or reply.status != 200:
            self.findings.add("not healthy", b"GET /healthz", reply)
        self.hang_up()


class Asker:
    """Plain requests with a token, for stories: each reply is judged as any."""

    def __init__(self, port, token):
        self.port, self.token = port, token

    def __call__(self, method, path, body=None, kind="application/json", **headers):
        wire = Wire(self.port, PATIENCE)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        lines = {"Host": "localhost", **({"Authorization": "Bearer " + self.token} if self.token else {}),
                 **({"Content-Type": kind} if data is not None else {}), "Content-Length": len(data or b""), **headers}
        wire.send(f"{method} {path} HTTP/1.1\r\n".encode() + "".join(f"{n}: {v}\r\n" for n, v in lines.items()).encode() +
                  b"\r\n" + (data or b""))
        reply = wire.reply(method)
        wire.close()
        assert reply is not None, f"{method} {path}: no reply"
        return reply.status, strict_json(reply.data) if "json" in reply.headers.get("Content-Type", "") else reply.data


def small(name, **more):
    return {"name": name, "dataset": {"name": "strokes", "train": 40, "test": 20}, "network": {"layers": [{"units": 4}]},
            "rule": {"name": "sal"}, "training": {"epochs": 1, "batch": 20}, **more}


def make_tokens(port):
    """[admin, member, viewer, revoked]; the first ids belong to nobody who is needed."""
    ask = Asker(port, None)
    status, first = ask("POST", "/v1/tokens", {"user": "root", "role": "admin"})
    assert status == 201, first
    ask.token = first["token"]
    for number in range(12):
        assert ask("POST", "/v1/tokens", {"user": f"n{number}", "role": "viewer"})[0] == 201
    made = [ask("POST", "/v1/tokens", {"user": u, "role": r})[1] for u, r in
            (("adam", "admin"), ("mia", "member"), ("vera", "viewer"), ("gone", "admin"))]
    assert ask("DELETE", f"/v1/tokens/{made[3]['id']}")[0] == 200
    assert ask("DELETE", f"/v1/tokens/{first['id']}")[0] == 200
    return [one["token"] for one in made]


def story(ask, name):
    """What replies promise of one another: ids, keys, datasets, tokens."""
    key = {"Idempotency-Key": f"story-{name}"}
    status, made = ask("POST", "/v1/experiments", small(name), **key)
    assert status == 201 and made["replayed"] is False, made
    status, again = ask("POST", "/v1/experiments", small(name), **key)
    assert status == 200 and again["id"] == made["id"] and again["replayed"] is True, again
    assert ask("POST", "/v1/experiments", small(name + "x", tags=["x"]), **key)[0] == 409
    run = made["runs"][0]
    until("the run", lambda: ask("GET", f"/v1/runs/{run}")[1]["state"] in FINAL, 0.05)
    status, rerun = ask("POST", f"/v1/runs/{run}/rerun")
    assert status == 201, rerun
    status, content = ask("PUT", f"/v1/datasets/{name}", dataset(random.Random(4)), "application/octet-stream")
    assert status in (200, 201, 422), content
    if status != 422:
        assert ask("GET", f"/v1/datasets/{name}")[1]["sha256"] == content["sha256"]
        assert ask("DELETE", f"/v1/datasets/{name}")[0] == 200 and ask("GET", f"/v1/datasets/{name}")[0] == 404
    status, token = ask("POST", "/v1/tokens", {"user": name, "role": "viewer"})
    assert status == 201, token
    theirs = Asker(ask.port, token["token"])
    assert theirs("GET", "/v1/me")[1]["user"] == name and theirs("POST", f"/v1/runs/{run}/rerun")[0] == 403
    assert ask("DELETE", f"/v1/tokens/{token['id']}")[0] == 200 and theirs("GET", "/v1/me")[0] == 401
    assert ask("POST", f"/v1/experiments/{made['id']}/cancel")[0] == 200
    until("the rerun to end", lambda: ask("DELETE", f"/v1/experiments/{made['id']}")[0] == 200, 0.05)
    assert ask("GET", f"/v1/experiments/{made['id']}")[0] == 404 and ask("GET", f"/v1/runs/{run}")[0] == 404


def prepare(ask):
    """Runs 1 to 3, of which 3 is a protocol's; what `tetrad export` writes of the first. For importing and reading."""
    protocol = next(one for one in EXAMPLES if one.get("type") == "protocol")
    for definition in (small("=first", sweep={"training.seed": [1, 2]}), protocol):
        status, made = ask("POST", "/v1/experiments", definition)
        assert status == 201, made
        for run in made["runs"]:
            until("the run", lambda: ask("GET", f"/v1/runs/{run}")[1]["state"] in FINAL, 0.05)
    whole, run, out = ask("GET", "/v1/experiments/1")[1], ask("GET", "/v1/runs/1")[1], io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        whole["runs"] = whole["runs"][:1]
        z.writestr("experiment.json", json.dumps(whole))
        z.writestr("runs/1/run.json", json.dumps(run))
        z.writestr("runs/1/definition.json", json.dumps(run["definition"]))
        for name in ("metrics?format=csv", "weights.npz"):
            z.writestr("runs/1/" + name.replace("?format=", "."), ask("GET", "/v1/runs/1/" + name)[1])
    return out.getvalue()


def crowd(port, tokens, findings, seconds=None, **more):
    over = threading.Event()
    clients = [Client(n, port, tokens, findings, over, **more) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    end = time.monotonic() + (seconds or 1e9)
    while time.monotonic() < end and any(client.is_alive() for client in clients) and not over.is_set():
        time.sleep(0.05)
    over.set()
    for client in clients:
        client.join()
    assert not findings.all, "\n".join(findings.all)


def content(database):
    """Digests of all that the database holds, by table, but for when tokens were used and that wrong ones came."""
    digests = {}
    db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    for table, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'sqlite_sequence'").fetchall():
        where = " WHERE action != 'failed tokens'" if table == "audit" else ""
        digest = digests[table] = hashlib.sha256()
        columns = ", ".join(f'"{c[1]}"' for c in db.execute(f"PRAGMA table_info({table})") if c[1] != "used_ms")
        for row in db.execute(f"SELECT {columns} FROM {table}{where} ORDER BY 1"):
            digest.update(repr(row).encode())
    db.close()
    return {table: digest.hexdigest() for table, digest in digests.items()}


def quiet(ask):
    def look():
        ask("POST", "/v1/actions", {"action": "cancel", "select": {"state": "queued"}})
        ask("POST", "/v1/actions", {"action": "cancel", "select": {"state": "paused"}})
        queue = ask("GET", "/v1/queue")[1]
        return not queue["length"] and not queue["running"]
    until("all runs to end", look, 0.1)


def resident(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_contract():
    with folder() as path, Daemon(path, **LIMITS) as daemon:
        tokens = make_tokens(daemon.port)
        admin, member, viewer, revoked = tokens
        findings = Findings()
        crowd(daemon.port, [admin] * 14 + [member] * 4 + [viewer], findings, SECONDS, n_runs=3,
              zipped=prepare(Asker(daemon.port, admin)))
        quiet(Asker(daemon.port, admin))
        story(Asker(daemon.port, admin), "after")
        daemon.stop()
        said = daemon.said()
        assert "ERROR" not in said and "anitizer" not in said and "runtime error" not in said, said
        missed = {o for o in ((m.upper(), p) for p, i in DOCUMENT["paths"].items() for m in i) if o not in findings.routes}
        note(f"{findings.asked} replies, {dict(sorted(findings.statuses.items()))}; without success: {sorted(missed)}")
        assert findings.asked > 20 * SECONDS, "hardly anything was asked"


def test_roles():
    """Nothing that a viewer, a stranger or somebody with an old token sends changes the database."""
    with folder() as path, Daemon(path, **LIMITS) as daemon:
        admin, _, viewer, revoked = make_tokens(daemon.port)
        ask = Asker(daemon.port, admin)
        for name in ("=a", "b"):
            status, made = ask("POST", "/v1/experiments", small(name))
            assert status == 201, made
            daemon_run = made["runs"][0]
            until("the run", lambda: ask("GET", f"/v1/runs/{daemon_run}")[1]["state"] in FINAL, 0.05)
        before = content(daemon.database)
        findings = Findings()
        crowd(daemon.port, [viewer] * 6 + [None, revoked, "tet_" + "x" * 43], findings, most=150 if not MINUTES else 5000)
        changed = {route for route in findings.routes if route[0] != "GET"}
        assert changed <= {("POST", "/v1/runs/{id}/predict")}, changed
        after = content(daemon.database)
        assert after == before, f"a viewer has changed {[table for table in before if after[table] != before[table]]}"
        assert ask("POST", "/v1/runs/1/rerun")[0] == 201 and content(daemon.database) != before  # the digest sees changes
        daemon.stop()


def test_memory():
    """Requests leave nothing behind: of two equal crowds the second takes no more than a little."""
    if SANITIZED:
        raise tap.Skip("the sanitizer keeps what is freed")
    each = 6000 if MINUTES else 900
    with folder() as path, Daemon(path, **LIMITS) as daemon:
        admin, member, viewer, _ = make_tokens(daemon.port)
        assert Asker(daemon.port, admin)("POST", "/v1/experiments", small("m"))[0] == 201
        sizes = []
        for _ in range(3):
            crowd(daemon.port, [admin, member, viewer], Findings(), dry=True, most=each,
                  only=lambda m, p: m == "GET" and not p.endswith(("/events", ".png")))  # the one's end shows
            # late, the other's dataset is kept for the next
            sizes.append(resident(daemon))
        note(f"resident after each {CLIENTS * each} requests: {sizes} KiB")
        assert sizes[2] - sizes[1] <= 2048, sizes
        daemon.stop()


tap.run(globals())
