# SPDX-License-Identifier: Apache-2.0
"""What the tests of failing allocations ask a daemon for: steps that can be repeated, each with what it must say.

A step returns (status, what must be the same each time). It leaves nothing behind that changes what another says."""
import http.client, io, json, os, socket

import numpy as np
from daemon import archive, Client, FINAL, until


def definition(name="memory", **more):
    return {"name": name, "dataset": {"name": "strokes", "train": 100, "test": 20},
            "network": {"layers": [{"units": 8}]}, "rule": {"name": "sal"}, "optimizer": {"lr": 0.05},
            "training": {"epochs": 2, "batch": 32, "seed": 1}, "record": {"every": 1}, **more}


CONVOLUTION = definition("convolution", network={"layers": [
    {"type": "conv2d", "channels": 4, "kernel": 3, "stride": 2}, {"type": "flatten"}, {"type": "dense", "units": 8}]},
    dataset={"name": "strokes", "train": 64, "test": 20, "augment": {"crop": 2}})
LESION = definition("lesion", record={"every": 1, "spectrum": True, "traces": {"groups": ["W"]}, "synapses": ["W1/0/0"]},
                    interventions=[{"epoch": 1, "type": "lesion", "group": "V", "fraction": 0.5}])
PROTOCOL = definition("protocol", type="protocol", protocol={
    "layer": 1, "pairings": 3, "patterns": {"type": "random", "n": 4, "sd": 1}})
del PROTOCOL["training"], PROTOCOL["record"]
SWEEP = definition("sweep", sweep=[{"training.seed": [1, 2], "rule.name": ["bp", "kp"]}])
BAD = {"name": "", "rule": {"name": "sall"}, "dataset": {"name": "strike"}, "network": {"layers": [{"units": 0}]},
       "optimiser": {"lr": -1}, "training": {"epochs": "7"}}


def npz(seed):
    rng, out = np.random.default_rng(seed), io.BytesIO()
    np.savez(out, x=rng.random((40, 6), np.float32), t=rng.integers(0, 2, 40),
             x_test=rng.random((10, 6), np.float32), t_test=rng.integers(0, 2, 10))
    return out.getvalue()


def csv(seed):
    rng = np.random.default_rng(seed)
    return ("a,b,label\n" + "".join(f"{x:.3f},{y:.3f},{int(x < y)}\n"
                                     for x, y in rng.random((40, 2)))).encode()


class Asker:
    """One connection a request: what one leaves does not reach the next. `said`: the last answer."""

    def __init__(self, port):
        self.port, self.said = port, None

    def ask(self, method, path, body=None, kind="application/json", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body).encode()
            headers = {k.replace("_", "-"): v for k, v in headers.items()}
            if body is not None:
                headers["Content-Type"] = kind
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            if answer.headers.get("Content-Type", "").startswith("application/json"):
                data = json.loads(data)
            self.said = answer.status, data
        except (OSError, http.client.HTTPException) as lost:
            self.said = 0, repr(lost)
        finally:
            connection.close()
        return self.said

    def ok(self, method, path, body=None, **more):
        status, value = self.ask(method, path, body, **more)
        if status not in (200, 201, 202, 204):
            raise Refused(status, value)
        return value


class Refused(Exception):
    """An answer that is not the one hoped for: (status, body)."""


class Scenario:
    """The steps, on a daemon that has one experiment of each kind, finished."""

    def __init__(self, port, backups):
        self.asker, self.n, self.backups = Asker(port), 0, backups
        self.made = {}  # experiment: {run: digest}, acknowledged
        client = Client(port)
        self.runs, self.digests, self.experiments = {}, {}, {}
        for one in (definition(), CONVOLUTION, LESION, PROTOCOL, SWEEP):
            _, answer = client.submit(one)
            self.runs[one["name"]], self.experiments[one["name"]] = answer["runs"][0], answer["id"]
            for run in answer["runs"]:
                ended = until("a run to end", lambda: (r := client.run(run))["state"] in FINAL and r)
                assert ended["state"] == "succeeded", ended
                self.digests.setdefault(one["name"], []).append(ended["digest"])
        self.zipped = archive(client, self.experiments["memory"])
        client.close()

    def settle(self):
        """Whatever was submitted while there was no memory: it trains, or is ended."""
        quiet = Asker(self.asker.port)

        def look():
            quiet.ask("POST", "/v1/actions", {"action": "cancel", "select": {"state": "paused"}})
            status, queue = quiet.ask("GET", "/v1/queue")
            return status == 200 and not queue["length"] and not queue["running"]
        until("the queue to be empty", look, 0.02)

    def named(self):
        """{name: step}."""
        reads = {path: lambda path=path: self.read(path) for path in self.paths()}
        acts = {name[3:].replace("_", " "): getattr(self, name) for name in dir(self) if name.startswith("do_")}
        return {**reads, **acts}

    def paths(self):
        run, e = f"/v1/runs/{self.runs['memory']}", f"/v1/experiments/{self.experiments['memory']}"
        lesion, convolution = f"/v1/runs/{self.runs['lesion']}", f"/v1/runs/{self.runs['convolution']}"
        return ["/", "/assets/app.js", "/v1", "/v1/rules", "/v1/series", "/v1/examples", "/v1/schema", "/openapi.json",
                "/healthz", "/readyz", "/metrics", "/v1/experiments?limit=5", "/v1/experiments?q=lesion&state=succeeded",
                e, f"/v1/experiments/{self.experiments['sweep']}/summary",
                f"/v1/experiments/{self.experiments['sweep']}/summary?format=csv", run, lesion,
                f"/v1/runs/{self.runs['protocol']}/protocol", f"{run}/metrics", f"{run}/metrics?points=10",
                f"{run}/metrics?format=csv", f"{run}/metrics?format=ndjson", f"{run}/weights", f"{run}/weights.npz",
                f"{run}/weights/W1.npy", f"{run}/weights/W1.png", f"{convolution}/weights/W1.png",
                f"{run}/weights?step=4", "/v1/datasets", "/v1/datasets/strokes", "/v1/datasets/strokes/samples.png",
                "/v1/queue", "/v1/me", "/v1/users", "/v1/tokens", "/v1/audit", "/v1/nothing", "/v1/runs/999999",
                "/v1/runs/x", f"{run}/metrics?points=x"]

    CHANGE = ("/metrics", "/v1", "/v1/audit", "/v1/queue", "/v1/experiments", "/healthz", "/readyz", "/v1/users",
              "/v1/datasets/strokes", "/v1/datasets")

    def read(self, path):
        status, data = self.asker.ask("GET", path)
        changes = path.split("?")[0] in self.CHANGE or path.endswith("weights.npz")
        return status, None if changes and status == 200 else data

    def ended(self, run):
        """A run, once it has ended or waits for the next start."""
        quiet = Asker(self.asker.port)

        def look():
            status, value = quiet.ask("GET", f"/v1/runs/{run}")
            return status == 200 and value["state"] in FINAL + ("paused",) and value
        return until(f"run {run} to end", look, 0.01)

    def train(self, name, one):
        """A run that is submitted trains to the digest that it had."""
        self.n += 1
        status, answer = self.asker.ask("POST", "/v1/experiments", one, Idempotency_Key=f"{name}-{self.n}")
        if status != 201:
            return status, answer
        digests, said = [], []
        for run in answer["runs"]:
            ended = self.ended(run)
            if ended["state"] == "paused":  # it could not begin
                self.asker.ask("POST", f"/v1/runs/{run}/resume")
                said.append(ended)
            else:
                (digests if ended["state"] == "succeeded" else said).append(
                    ended["digest"] if ended["state"] == "succeeded" else ended)
            self.made.setdefault(answer["id"], {})[run] = ended
        if said:
            return 201, {"state": said[0]["state"], "reason": said[0]["reason"]}
        return 201, digests

    def do_train(self):
        return self.train("memory", definition())

    def do_train_a_convolution(self):
        return self.train("convolution", CONVOLUTION)

    def do_train_a_lesion(self):
        return self.train("lesion", LESION)

    def do_train_a_protocol(self):
        return self.train("protocol", PROTOCOL)

    def do_train_a_sweep(self):
        return self.train("sweep", SWEEP)

    def do_check_a_definition(self):
        status, value = self.asker.ask("POST", "/v1/experiments?dry_run=1", SWEEP)
        value.pop("estimated_seconds", None)
        return status, value

    def do_bad_definition(self):
        return self.asker.ask("POST", "/v1/experiments", BAD)

    def do_bad_json(self):
        return self.asker.ask("POST", "/v1/experiments", b'{"name": "x", "rule": {"na')

    def do_bad_type(self):
        return self.asker.ask("POST", "/v1/experiments", b"name=x", kind="application/x-www-form-urlencoded")

    def endless(self):
        self.n += 1
        return definition(f"endless {self.n}", training={"epochs": 100000, "seed": 1, "batch": 32},
                          dataset={"name": "strokes", "train": 5000, "test": 20})

    def do_pause_and_cancel(self):
        answer = self.asker.ok("POST", "/v1/experiments", self.endless())
        e, run = f"/v1/experiments/{answer['id']}", f"/v1/runs/{answer['runs'][0]}"
        self.made[answer["id"]] = {answer["runs"][0]: None}
        try:
            self.asker.ok("POST", f"{e}/priority", {"priority": 5})
            self.asker.ok("POST", f"{run}/priority", {"priority": 3})
            self.asker.ok("POST", f"{run}/pause")
            self.asker.ok("POST", f"{run}/resume")
            self.asker.ok("POST", f"{e}/pause")
            self.asker.ok("POST", f"{e}/resume")
            return 200, self.asker.ok("POST", f"{e}/cancel").keys()
        finally:
            until("a cancellation", lambda: Asker(self.asker.port).ask("POST", f"{e}/cancel")[0] == 200)

    def do_pin(self):
        run = f"/v1/runs/{self.runs['memory']}"
        self.asker.ok("POST", f"{run}/pin", {"pinned": True})
        return 200, self.asker.ok("POST", f"{run}/pin", {"pinned": False})

    def do_predict(self):
        return self.asker.ask("POST", f"/v1/runs/{self.runs['memory']}/predict", {"part": "test", "indices": [0, 1]})

    def do_predict_of_a_convolution(self):
        return self.asker.ask("POST", f"/v1/runs/{self.runs['convolution']}/predict", {"part": "test", "indices": [3]})

    def follow(self, path, body):
        status, answer = self.asker.ask("POST", path, body)
        if status != 201:
            return status, answer
        run = answer["runs"][0] if "runs" in answer else answer["id"]
        run = run["run"] if isinstance(run, dict) else run
        ended = self.ended(run)
        if ended["state"] == "succeeded":
            return 201, ended["digest"]
        return 201, {"state": ended["state"], "reason": ended["reason"]}

    def do_fork(self):
        self.n += 1
        return self.follow(f"/v1/runs/{self.runs['memory']}/fork", {"step": 4, "changes": {"optimizer.lr": 0.01}})

    def do_rerun(self):
        return self.follow(f"/v1/runs/{self.runs['lesion']}/rerun", None)

    def do_act_on_many(self):
        answer = self.asker.ok("POST", "/v1/experiments", self.endless())
        e, quiet = answer["id"], Asker(self.asker.port)
        try:
            self.asker.ok("POST", "/v1/actions", {"action": "pause", "select": {"ids": [e]}})
            self.asker.ok("POST", "/v1/actions", {"action": "cancel", "select": {"ids": [e]}})
            until("the end", lambda: quiet.ask("GET", f"/v1/experiments/{e}")[0] == 200 and quiet.said[1]["state"] == "cancelled")
            return 200, self.asker.ok("POST", "/v1/actions", {"action": "delete", "select": {"ids": [e]}}).keys()
        finally:
            Asker(self.asker.port).ask("POST", f"/v1/experiments/{e}/cancel")

    def do_delete(self):
        answer = self.asker.ok("POST", "/v1/experiments", self.endless())
        e = f"/v1/experiments/{answer['id']}"
        quiet = Asker(self.asker.port)
        until("a cancellation", lambda: quiet.ask("POST", f"{e}/cancel")[0] == 200)
        until("the end", lambda: quiet.ask("GET", e)[0] == 200 and quiet.said[1]["state"] == "cancelled")
        status, said = self.asker.ask("DELETE", e)
        if status < 300:
            until("the experiment to be gone", lambda: quiet.ask("GET", e)[0] == 404)
        return status, None if status < 300 else said

    def upload(self, content, kind, query=""):
        quiet = Asker(self.asker.port)
        status, said = self.asker.ask("PUT", f"/v1/datasets/up{query}", content, kind)
        try:
            if status not in (200, 201):
                return status, said
            one = self.asker.ok("GET", "/v1/datasets/up")
            self.asker.ok("DELETE", "/v1/datasets/up")
            return status, one.get("sha256")
        finally:  # whatever was answered
            until("the upload to be gone", lambda: quiet.ask("DELETE", "/v1/datasets/up")[0] in (200, 204, 404))

    def do_upload_arrays(self):
        return self.upload(npz(1), "application/octet-stream")

    def do_upload_a_table(self):
        return self.upload(csv(1), "text/csv", "?label=label&test_fraction=0.25")

    def do_upload_a_bad_table(self):
        return self.upload(b"a,b,label\n1,2,x\n3,four,y\n", "text/csv", "?label=label&test_fraction=0.25")

    def do_upload_nonsense(self):
        return self.upload(b"PK\x03\x04" + bytes(2000), "application/zip")

    def do_change_a_user(self):
        return 200, sorted(self.asker.ok("PUT", "/v1/users/local", {"weight": 2, "cap": 3}))

    def do_retention(self):
        status, said = self.asker.ask("POST", "/v1/admin/retention", {"last": 1, "tag": "nothing", "dry_run": True})
        return status, None if status == 200 else said

    def do_backup(self):
        if os.path.isdir(self.backups):  # its name is the second's
            for name in os.listdir(self.backups):
                os.unlink(os.path.join(self.backups, name)) if name.endswith(".db") else None
        status, said = self.asker.ask("POST", "/v1/admin/backup", {})
        return status, None if status == 201 else said

    def do_import(self):
        status, said = self.asker.ask("POST", "/v1/import", self.zipped, "application/zip")
        if status == 201:
            self.asker.ok("DELETE", f"/v1/experiments/{said['experiment'] if 'experiment' in said else said['id']}")
        return status, None if status == 201 else said

    def events(self, path):
        with socket.create_connection(("127.0.0.1", self.asker.port), timeout=10) as peer:
            peer.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            data = b""
            while b"\n\n" not in data.split(b"\r\n\r\n", 1)[-1] and len(data) < 100000:
                piece = peer.recv(65536)
                data += piece
                if not piece or not data.startswith(b"HTTP/1.1 200") and b"\n" in data.split(b"\r\n\r\n", 1)[-1]:
                    break
        if not data:
            return 0, "closed"
        status, body = int(data.split()[1]), data.split(b"\r\n\r\n", 1)[-1]
        return status, None if status == 200 else json.loads(body[body.index(b"{"):body.rindex(b"}") + 1])

    def do_events(self):
        return self.events("/v1/events")

    def do_events_of_a_run(self):
        return self.events(f"/v1/runs/{self.runs['memory']}/events")
