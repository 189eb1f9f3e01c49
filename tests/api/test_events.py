#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Server-sent events and the log of a real daemon, over raw sockets. Every event's data is held against
schema/openapi.json."""
import http.client, json, os, socket, ssl, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "fault")]
import tap
from daemon import PATIENCE, Daemon, folder
import jsonschema

with open(os.path.join(tap.ROOT, "schema", "openapi.json"), encoding="utf-8") as file:
    CONTRACT = json.load(file)
KINDS = {"state": "EventState", "progress": "EventProgress", "metrics": "EventMetrics", "changed": "EventChanged",
         "missed": "EventMissed"}
FINAL = ("succeeded", "diverged", "failed", "cancelled")


def definition(epochs=1, seeds=(1,), train=200):
    return {"name": "events", "dataset": {"name": "strokes", "train": train, "test": 20},
            "network": {"layers": [{"units": 8}]}, "rule": {"name": "bp"},
            "training": {"epochs": epochs, "batch": 20}, "record": {"every": 5},
            "sweep": {"training.seed": list(seeds)}}


def check(kind, data):
    schema = {"$ref": f"#/components/schemas/{KINDS[kind]}", "components": CONTRACT["components"]}
    jsonschema.Draft202012Validator(schema).validate(data)


class Stream:
    """A client that takes lines apart itself. A stream has no chunks: it ends with its connection."""

    def __init__(self, port, path, context=None, **headers):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        self.text, self.ended, self.comments, self.last = b"", False, 0, None
        while b"\r\n\r\n" not in self.text:
            self.receive()
            assert not self.ended, self.text
        head, self.text = self.text.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines[1:])
        if self.status == 200:
            assert self.headers["Content-Type"].startswith("text/event-stream"), self.headers
            assert self.headers["Cache-Control"] == "no-store", self.headers
            assert "Transfer-Encoding" not in self.headers and self.headers["Connection"] == "close", self.headers

    def receive(self):
        data = self.socket.recv(65536)
        self.text, self.ended = self.text + data, not data

    def next(self):
        """(kind, data, id of this event or None); None where the stream has ended."""
        while True:
            while b"\n\n" not in self.text:
                if self.ended:
                    return None
                self.receive()
            block, self.text = self.text.split(b"\n\n", 1)
            kind = data = number = None
            for line in block.decode("utf-8").split("\n"):
                if line.startswith(":"):
                    self.comments += 1
                elif line.startswith("id: "):
                    number = int(line[4:])
                    assert self.last is None or number > self.last, f"id {number} after {self.last}"
                    self.last = number
                elif line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                else:
                    assert line == "retry: 2000", line
            if kind is not None:
                check(kind, data)
                return kind, data, number

    def until(self, wanted):
        """All events up to the first that is wanted."""
        found = []
        while not (found and wanted(*found[-1][:2])):
            event = self.next()
            assert event is not None, f"the stream ended after {found[-3:]}"
            found.append(event)
        return found

    def close(self):
        self.socket.close()


def ended(run):
    return lambda kind, data: kind == "state" and data["run"] == run and data["state"] in FINAL


def series_of(events):
    rows = {}
    for kind, data, _ in events:
        for name, one in data["series"].items() if kind == "metrics" else ():
            rows.update({(name, step): value for step, value in zip(one["steps"], one["values"], strict=True)})
    return rows


def test_life_of_a_run():
    """Every state in order, every record, and the same values as GET gives."""
    with folder() as path, Daemon(path, workers=1) as daemon:
        stream = Stream(daemon.port, "/v1/events?types=state,metrics")
        assert stream.headers["X-Accel-Buffering"] == "no" and len(stream.headers["X-Request-Id"]) == 16
        run = daemon.client.submit(definition(epochs=3))[1]["first_run"]
        events = stream.until(ended(run))
        states = [data["state"] for kind, data, _ in events if kind == "state"]
        assert states == ["queued", "running", "succeeded"], states
        assert all(number is not None for _, _, number in events)
        assert series_of(events) == daemon.client.metrics(run)  # all of them before the end
        last = events[-1][1]
        assert last["experiment_state"] == "succeeded" and last["step"] == 30, last
        daemon.stop()
        assert stream.next() is None
        stream.close()


def test_cancel_and_one_run():
    with folder() as path, Daemon(path, workers=1) as daemon:
        status, submitted = daemon.client.submit(definition(epochs=1000, seeds=(1, 2), train=20000))
        first, second = submitted["runs"]
        one = Stream(daemon.port, f"/v1/runs/{first}/events")
        other = Stream(daemon.port, f"/v1/events?experiment={submitted['id']}&run={second}&types=state")
        progress = one.until(lambda kind, data: kind == "progress")[-1][1]["runs"]
        assert [p["run"] for p in progress] == [first], progress
        daemon.client.cancel(f"/v1/experiments/{submitted['id']}")
        events = one.until(ended(first))
        assert events[-1][1]["state"] == "cancelled" and events[-1][1]["reason"] == "cancelled by a user"
        assert not any(data.get("run") == second for _, data, _ in events)
        assert [data["run"] for _, data, _ in other.until(ended(second))] == [second]
        one.close(), other.close()
        daemon.stop()


def test_many_runs_at_once():
    """More runs than are told one by one: their experiment is."""
    with folder() as path, Daemon(path, workers=1) as daemon:
        stream = Stream(daemon.port, "/v1/events?types=state")
        submitted = daemon.client.submit(definition(epochs=100, seeds=range(300)))[1]
        event = stream.until(lambda kind, data: kind == "changed")[-1]
        assert event[1] == {"experiments": [submitted["id"]]}, event
        daemon.client.cancel(f"/v1/experiments/{submitted['id']}")
        stream.until(lambda kind, data: kind == "changed")
        stream.close()
        daemon.stop()


def test_deletion():
    """Told with the action: once, though the rows go little by little; and not again."""
    with folder() as path, Daemon(path, workers=1) as daemon:
        first, second = (daemon.client.submit(definition(epochs=n))[1] for n in (1, 2))
        daemon.await_final(first["runs"] + second["runs"])
        stream = Stream(daemon.port, "/v1/events?types=state")
        for submitted in (first, second):
            assert daemon.client.ask("GET", f"/v1/runs/{submitted['first_run']}")[0] == 200  # kept from now on
            assert daemon.client.ask("DELETE", f"/v1/experiments/{submitted['id']}")[0] == 200
            assert daemon.client.ask("GET", f"/v1/runs/{submitted['first_run']}")[0] == 404
        run = daemon.client.submit(definition())[1]["first_run"]
        changed = [data for kind, data, _ in stream.until(ended(run)) if kind == "changed"]
        assert changed == [{"experiments": [first["id"]]}, {"experiments": [second["id"]]}], changed
        stream.close()
        daemon.stop()


def test_resume():
    with folder() as path:
        with Daemon(path, workers=1) as daemon:
            stream = Stream(daemon.port, "/v1/events?types=state")
            run = daemon.client.submit(definition())[1]["first_run"]
            events = stream.until(ended(run))
            stream.close()
            queued = events[0][2]
            again = Stream(daemon.port, "/v1/events?types=state", Last_Event_ID=queued)
            assert again.until(ended(run)) == events[1:]
            again.close()
            again = Stream(daemon.port, f"/v1/events?types=state&last_event_id={events[1][2]}")
            assert again.until(ended(run)) == events[2:]
            again.close()
            last = events[-1][2]
            daemon.stop()
        with Daemon(path, workers=1) as daemon:  # the ring is gone; ids go on growing
            stream = Stream(daemon.port, f"/v1/runs/{run}/events", Last_Event_ID=last)
            assert stream.next()[:2] == ("missed", {"reason": "too_old"})
            assert stream.last > last
            stream.close()
            stream = Stream(daemon.port, "/v1/events", Last_Event_ID=str(2 ** 64 - 1))
            assert stream.next()[:2] == ("missed", {"reason": "unknown"})
            run = daemon.client.submit(definition())[1]["first_run"]
            assert stream.until(ended(run))[0][2] > last
            stream.close()
            daemon.stop()


def test_bad_requests():
    with folder() as path, Daemon(path, workers=1, TETRAD_MAX_STREAMS="2") as daemon:
        for query, status in (("?types=", 400), ("?types=state,", 400), ("?types=weights", 400), ("?run=0", 400),
                              ("?run=x", 400), ("?experiment=-1", 400), ("?last_event_id=1x", 400), ("?nothing=1", 400),
                              ("?last_event_id=", 400), ("?run=9", 404), ("?experiment=9", 404)):
            got, body = daemon.client.ask("GET", "/v1/events" + query)
            assert got == status, (query, got, body)
            jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Error",
                                             "components": CONTRACT["components"]}).validate(body)
        for header in ("x", "-1", "1 2", "1" * 21, "1.5"):
            assert daemon.client.ask("GET", "/v1/events", Last_Event_ID=header)[0] == 400, header
        assert daemon.client.ask("GET", "/v1/runs/9/events")[0] == 404
        status, _ = daemon.client.ask("HEAD", "/v1/events")
        assert status == 200
        streams = [Stream(daemon.port, "/v1/events") for _ in range(2)]
        more = Stream(daemon.port, "/v1/events")
        assert more.status == 503 and more.headers["Retry-After"] == "10", (more.status, more.headers)
        assert daemon.client.get("/healthz") == {"status": "ok", "storage": "ok", "message": None}
        for stream in [more, *streams]:
            stream.close()
        daemon.stop()


def test_heartbeat():
    with folder() as path, Daemon(path, workers=1, TETRAD_HEARTBEAT="1") as daemon:
        stream = Stream(daemon.port, "/v1/events")
        begun = time.monotonic()
        while stream.text.count(b": heartbeat\n\n") < 2:
            stream.receive()
        took = time.monotonic() - begun
        assert 1.5 < took < 60, took
        stream.close()
        daemon.stop()


def test_over_tls():
    with folder() as path:
        cert, key = os.path.join(path, "cert.pem"), os.path.join(path, "key.pem")
        try:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                            "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
                           check=True, capture_output=True)
        except FileNotFoundError:
            raise tap.Skip("no openssl")
        context = ssl.create_default_context(cafile=cert)
        with Daemon(path, workers=1, wait=False, TETRAD_TLS_CERT=cert, TETRAD_TLS_KEY=key) as daemon:
            line = daemon.process.stdout.readline().decode()
            port = int(line.split("https://", 1)[1].split()[0].rsplit(":", 1)[1])
            stream = Stream(port, "/v1/events?types=state,metrics", context)
            peer = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
            peer.request("POST", "/v1/experiments", json.dumps(definition(epochs=3)), {"Content-Type": "application/json"})
            run = json.load(peer.getresponse())["runs"][0]
            events = stream.until(ended(run))
            assert events[-1][1]["state"] == "succeeded" and "metrics" in {kind for kind, _, _ in events}, events[-1]
            peer.close()
            stream.close()
            daemon.stop()


def log_lines(path):
    with open(os.path.join(path, "stderr"), encoding="utf-8") as log:
        return [json.loads(line) for line in log]


def test_log():
    """A line for each request and each state of a run; nothing secret, and nobody's bytes end a line."""
    with folder() as path, Daemon(path, workers=1, TETRAD_LOG="json", TETRAD_LOG_LEVEL="info") as daemon:
        secret = "tet_0123456789abcdef"
        run = daemon.client.submit(definition())[1]["first_run"]
        daemon.await_final([run])
        daemon.client.ask("GET", f"/v1/runs/{run}?token={secret}", Authorization=f"Bearer {secret}",
                          X_Request_Id="my-id.7")
        daemon.client.ask("GET", "/v1/nothing%0a%1b[31mred")
        daemon.client.connection.request("GET", f"/v1/runs/{run}", headers={"X-Request-Id": 'evil" id'})
        answer = daemon.client.connection.getresponse()
        answer.read()
        assert len(answer.headers["X-Request-Id"]) == 16, answer.headers
        daemon.client.get("/healthz")
        daemon.stop()
        lines = log_lines(path)
        text = json.dumps(lines)
        assert secret not in text and "evil" not in text
        states = [line["state"] for line in lines if line["event"] == "run"]
        assert states == ["queued", "running", "succeeded"], states
        asked = [line for line in lines if line["event"] == "request"]
        assert not any(line["path"] == "/healthz" for line in asked)
        mine = [line for line in asked if line.get("request_id") == "my-id.7"]
        assert len(mine) == 1 and mine[0]["path"] == f"/v1/runs/{run}", mine
        posted = [line for line in asked if line["method"] == "POST"][0]
        assert posted["status"] == 201 and posted["user"] == "local" and posted["bytes"] > 0 and posted["ms"] > 0
        assert any(line["status"] in (400, 404) and "nothing" in line["path"] for line in asked)


def test_log_options():
    for name, value, wanted in (("TETRAD_LOG", "xml", "text or json"), ("TETRAD_LOG_LEVEL", "loud", "debug, info"),
                                ("TETRAD_HEARTBEAT", "0", "1 to 3600"), ("TETRAD_MAX_STREAMS", "0", "1 to 100000")):
        with folder() as path:
            daemon = Daemon(path, wait=False, **{name: value})
            assert daemon.wait(60) == 2, name
            assert wanted in daemon.said(), daemon.said()


tap.run(globals())
