# SPDX-License-Identifier: Apache-2.0
"""What a lab does with a server that was installed: everything once that reads or writes a file, maps memory, opens a
socket or starts a thread of another kind."""
import csv, io, random, socket

from roots import inside
from daemon import Client, until

SMALL = {"name": "small", "dataset": {"name": "strokes", "train": 500, "test": 100},
         "network": {"layers": [{"units": 32}, {"units": 32}]}, "rule": {"name": "sal"},
         "training": {"epochs": 2}, "record": {"every": 5}}
CONVOLUTION = {"name": "convolution", "dataset": {"name": "strokes", "train": 200, "test": 50},
               "network": {"layers": [{"type": "conv2d", "channels": 4, "kernel": 5}, {"type": "max_pool", "size": 2},
                                      {"type": "flatten"}, {"type": "dense", "units": 16}]},
               "rule": {"name": "bp"}, "training": {"epochs": 1}}


class Lab(Client):
    """A client in a network, with a token."""

    def __init__(self, network, token, port=8080):
        super().__init__(port)
        self.network, self.token = network, token

    def ask(self, method, path, body=None, **headers):
        if self.token is not None:
            headers["Authorization"] = "Bearer " + self.token
        with inside(self.network):
            return super().ask(method, path, body, **headers)

    def send(self, method, path, data, kind):
        """A body of bytes."""
        with inside(self.network):
            self.connection.request(method, path, data, {"Authorization": "Bearer " + self.token, "Content-Type": kind})
            answer = self.connection.getresponse()
            return answer.status, answer.read()

    def ends(self, run):
        ended = until(f"run {run} to end", lambda: (r := self.run(run))["state"] in ("succeeded", "failed", "diverged") and r, 0.05)
        assert ended["state"] == "succeeded", ended
        return ended


def table(rows):
    """A dataset that a class can be told from: CSV."""
    text, numbers = io.StringIO(), random.Random(1)
    out = csv.writer(text)
    out.writerow([f"x{i}" for i in range(8)] + ["kind"])
    for i in range(rows):
        out.writerow([round(numbers.gauss(i % 2, 0.5), 3) for _ in range(8)] + [i % 2])
    return text.getvalue().encode()


def good(answer, *statuses):
    assert answer[0] in (statuses or (200,)), answer
    return answer[1]


def work(lab):
    """A lab's day. Returns the digest of SMALL."""
    assert lab.get("/readyz")["status"] == "ready" and lab.get("/v1/me")["role"] == "admin"
    runs = [lab.submit(one)[1]["first_run"] for one in (SMALL, CONVOLUTION)]
    good(lab.send("PUT", "/v1/datasets/mine?label=kind&test_fraction=0.2", table(400), "text/csv"), 200, 201)
    runs.append(lab.submit({**SMALL, "dataset": {"name": "mine"}})[1]["first_run"])
    ended = [lab.ends(run) for run in runs]
    first = runs[0]
    assert lab.metrics(first)
    assert good(lab.ask("GET", f"/v1/runs/{first}/weights.npz"))[:2] == b"PK"
    assert good(lab.ask("GET", f"/v1/runs/{first}/weights/W1.png"))[:4] == b"\x89PNG"
    assert good(lab.ask("GET", "/v1/datasets/strokes/samples.png"))[:4] == b"\x89PNG"
    good(lab.ask("POST", f"/v1/runs/{first}/predict", {"part": "test", "indices": [0, 1]}))
    fork = good(lab.ask("POST", f"/v1/runs/{first}/fork", {"step": ended[0]["progress"]["step"], "changes": {"training.epochs": 3}}), 201)
    rerun = good(lab.ask("POST", f"/v1/runs/{first}/rerun"), 201)
    for run in (fork["first_run"], rerun["first_run"]):
        lab.ends(run)
    assert b"tetrad_runs{" in good(lab.ask("GET", "/metrics"))
    good(lab.ask("POST", "/v1/admin/backup", {}), 201)
    good(lab.ask("POST", "/v1/admin/retention", {"dry_run": True, "last": 1}))
    assert b"<script" in good(lab.ask("GET", "/"))
    good(lab.ask("PUT", "/v1/users/ana", {"weight": 2, "cap": None}))
    good(lab.ask("POST", "/v1/tokens", {"user": "ana", "role": "member"}), 201)
    stream(lab)
    return ended[0]["digest"]


def stream(lab):
    """An event stream sees a run from its beginning to its end."""
    with inside(lab.network), socket.create_connection(("127.0.0.1", 8080), timeout=60) as s:
        s.sendall(f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {lab.token}\r\n\r\n".encode())
        seen = b""
        while b"\r\n\r\n" not in seen:
            seen += s.recv(65536)
        run = lab.submit({**SMALL, "name": "seen"})[1]["first_run"]
        while not (f'"run":{run},' in (text := seen.decode()) and '"succeeded"' in text):
            piece = s.recv(65536)
            assert piece, text
            seen += piece
