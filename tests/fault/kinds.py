# SPDX-License-Identifier: Apache-2.0
"""Experiments of every kind that there is, small, with what each comes to when nothing happens to it, and a client that
makes them: submitted, forked, rerun, imported."""
import io, json, zipfile

import numpy as np
from daemon import Client, Daemon, add_page, folder, note

LAB = "lab"  # the dataset that one kind is trained on, uploaded


def dense(name, **more):
    return {"name": name, "tags": ["kill"], "dataset": {"name": "strokes", "train": 320, "test": 60, "validation": 40},
            "network": {"layers": [{"units": 24}, {"units": 16}]}, "rule": {"name": "sal"},
            "optimizer": {"lr": 0.005, "decay": 0.001, "momentum": 0.5},
            "training": {"epochs": 120, "batch": 16, "seed": 1}, "record": {"every": 10}, **more}


RULES = dense("rules", optimizer={"lr": 0.002, "decay": 0.002}, sweep=[{"rule.name": ["bp", "fa", "kp", "sal", "dfa"]},
                              {"rule.name": ["wm"], "rule.mirror": [{"every": 20, "batches": 2}]},
                              {"rule.name": ["usf", "frsf", "brsf"]}])
IMAGES = dense("images", network={"layers": [{"type": "conv2d", "channels": 3, "kernel": 5, "stride": 2},
                                             {"type": "max_pool", "size": 2}, {"type": "flatten"}, {"units": 12}]},
               training={"epochs": 60, "batch": 16, "seed": 1}, sweep={"rule.name": ["sal", "bp"]})
LESIONS = dense("lesions", interventions=[
    {"epoch": 3, "type": "lesion", "group": "V", "fraction": 0.5}, {"step": 77, "type": "shuffle", "group": "B"},
    {"epoch": 6, "type": "freeze", "group": "W", "layer": 2}, {"epoch": 9, "type": "unfreeze", "group": "W", "layer": 2},
    {"step": 240, "type": "noise", "group": "U", "sd": 0.1}, {"epoch": 14, "type": "rate", "group": "W", "factor": 2},
    {"epoch": 16, "type": "rerandomise", "group": "U"}])
PROBES = dense("probes", record={"every": 10, "assembly": True, "activity": True, "spectrum": True,
                                 "traces": {"groups": ["W", "V"], "per_array": 4}, "keep": 3, "keep_best": 2},
               optimizer={"lr": 0.01, "schedule": {"type": "cosine", "factor": 0.01}, "clip": 5})
DELAYS = dense("delays", rule={"name": "sal", "delay": {"batches": 2}, "noise": {"activity": 0.1, "synapses": 0.001},
                               "homeostasis": {"rate": 0.01}}, optimizer={"lr": 0.005, "decay": 0.001},
               sweep={"rule.delay.eligibility": [True, False]})
STOPS = dense("stops", training={"epochs": 400, "batch": 16, "seed": 2, "select": "best",
                                 "early_stopping": {"patience": 40}}, optimizer={"lr": 0.001})
PROTOCOL = {"name": "protocol", "type": "protocol", "dataset": {"name": "strokes"}, "rule": {"name": "sal"},
            "network": {"layers": [{"units": 12, "activation": "tanh"}, {"units": 10, "activation": "tanh"}]},
            "optimizer": {"lr": 0.02, "decay": 0.01}, "protocol": {"layer": 2, "pairings": 300, "patterns": {"n": 40}}}
DIVERGES = dense("diverges", rule={"name": "sal", "delay": {"batches": 4}, "noise": {"activity": 0.1}},
                 optimizer={"lr": 0.01, "decay": 0.001, "momentum": 0.5})
UPLOADED = dense("uploaded", dataset={"name": LAB}, training={"epochs": 400, "batch": 16}, record={"every": 50},
                 optimizer={"lr": 0.002, "decay": 0.001},
                 sweep={"training.seed": [1, 2]})
SUBMITTED = {one["name"]: one for one in (RULES, IMAGES, LESIONS, PROBES, DELAYS, STOPS, PROTOCOL, DIVERGES, UPLOADED)}
CHANGES = {"changes": {"optimizer.lr": 0.002, "training.epochs": 150}}
LONG = dense("long", rule={"name": "bp"}, optimizer={"lr": 0.0001}, training={"epochs": 20000, "batch": 16, "seed": 1}, record={"every": 500})  # to be cancelled


def npz(n, content, inputs=40):
    """A dataset of n examples, as bytes: the same for the same content."""
    file, random = io.BytesIO(), np.random.RandomState(content)
    np.savez(file, x=random.randn(n, inputs).astype("f4"), t=random.randint(0, 4, n))
    return file.getvalue()


class Member(Client):
    """A client with a token, which also sends what is not JSON."""

    def __init__(self, port, token=None):
        super().__init__(port)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method, path, body=None, **headers):
        return super().ask(method, path, body, **self.headers, **headers)

    def send(self, method, path, body, kind, pieces=1, pause=None):
        """A body in pieces; pause() is called between them."""
        self.connection.putrequest(method, path)
        for name, value in {**self.headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()
        size = -(-len(body) // pieces)
        for at in range(0, len(body), size):
            self.connection.send(body[at:at + size])
            if pause:
                pause()
        answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data)

    def upload(self, name, body, **how):
        return self.send("PUT", f"/v1/datasets/{name}", body, "application/octet-stream", **how)

    def start(self, kind, base, archive, key=None, **how):
        """(status, {"id", "runs"}) of an experiment of a kind; base: a finished run for those that need one."""
        headers = {"Idempotency_Key": key} if key else {}
        if kind == "imported":
            status, answer = self.send("POST", "/v1/import", archive, "application/zip", **how)
            if status == 201:
                answer = {"id": answer["experiment"], "runs": [r["run"] for r in answer["runs"]]}
        elif kind == "forked":
            status, answer = self.ask("POST", f"/v1/runs/{base}/fork", CHANGES, **headers)
        elif kind == "rerun":
            status, answer = self.ask("POST", f"/v1/runs/{base}/rerun", **headers)
        else:
            status, answer = self.ask("POST", "/v1/experiments", LONG if kind == "long" else SUBMITTED[kind], **headers)
        return status, answer


class Follower:
    """Reads a run's metrics by `after`, over all restarts."""

    def __init__(self, run):
        self.run, self.after, self.rows = run, 0, {}

    def look(self, client):
        more = True
        while more:
            page = client.get(f"/v1/runs/{self.run}/metrics?after={self.after}")
            add_page(self.rows, page, self.after)
            self.after, more = page["next"], page["more"]


def archive_of(client, experiment):
    """What `tetrad export` writes of an experiment that has ended."""
    file, whole = io.BytesIO(), client.get(f"/v1/experiments/{experiment}")
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("experiment.json", json.dumps(whole))
        for one in whole["runs"]:
            run, at = client.run(one["id"]), f"runs/{one['id']}"
            out.writestr(f"{at}/run.json", json.dumps(run))
            out.writestr(f"{at}/definition.json", json.dumps(run["definition"]))
            out.writestr(f"{at}/metrics.csv", client.get(f"/v1/runs/{one['id']}/metrics?format=csv"))
            out.writestr(f"{at}/weights.npz", client.get(f"/v1/runs/{one['id']}/weights.npz"))
    return file.getvalue()


def outcome(client, run):
    """All that a run came to and that must not depend on what happened on the way."""
    now = client.run(run)
    tables = now.get("protocol")
    told = [(e["step"], e["detail"]) for e in now["timeline"] if e["event"] == "intervention"]
    return {"state": now["state"], "digest": now["digest"], "steps": now["progress"]["step"], "protocol": tables,
            "divergence": now.get("divergence"), "interventions": told, "agrees": now["rerun"] and now["rerun"]["agrees"],
            "metrics": client.metrics(run), "final": now["final"]}


class Undisturbed:
    """want[kind]: the outcomes of its runs, in their order; made by one server to which nothing happens."""

    def __init__(self, workers=2):
        self.want, self.lab = {}, npz(240, 1)
        with folder() as path, Daemon(path, workers=workers) as daemon:
            client = Member(daemon.port)
            assert client.upload(LAB, self.lab)[0] == 201
            runs = {kind: client.start(kind, 0, b"")[1]["runs"] for kind in SUBMITTED}
            for kind, ids in runs.items():
                daemon.await_final(ids)
            self.archive = archive_of(client, client.run(runs["delays"][0])["experiment"])
            base = runs["lesions"][0]
            for kind in ("forked", "rerun", "imported"):
                status, answer = client.start(kind, base, self.archive)
                assert status == 201, (kind, status, answer)
                runs[kind] = answer["runs"]
                daemon.await_final(answer["runs"])
            for kind, ids in runs.items():
                self.want[kind] = [outcome(client, run) for run in ids]
            client.close()
            daemon.stop()
        assert all(same_but(a, b) for a, b in zip(self.want["rerun"], self.want["lesions"]))
        assert all(same_but(a, b) for a, b in zip(self.want["imported"], self.want["delays"]))
        ends = {kind: {o["state"] for o in all} for kind, all in self.want.items()}
        assert ends.pop("diverges") == {"diverged"} and set.union(*ends.values()) == {"succeeded"}, ends
        assert len({o["digest"] for kind in SUBMITTED for o in self.want[kind]}) == sum(
            len(self.want[kind]) for kind in SUBMITTED)
        note(f"undisturbed: {sum(map(len, self.want.values()))} runs of {len(self.want)} kinds, "
             f"{sum(len(o['metrics']) for all in self.want.values() for o in all)} metrics")


def same_but(a, b):
    """Whether two outcomes agree in digest and metrics."""
    return a["digest"] == b["digest"] and a["metrics"] == b["metrics"]


def compare(got, want, what):
    """Fails where an outcome is not the one wanted, and says in what."""
    for part in want:
        if got[part] == want[part]:
            continue
        if part == "metrics":
            a, b = got[part], want[part]
            raise AssertionError(f"{what}: {len(b.keys() - a.keys())} metrics missing, {len(a.keys() - b.keys())} too many, "
                                 f"differing: {[(k, a[k], b[k]) for k in b if k in a and a[k] != b[k]][:5]}")
        raise AssertionError(f"{what}: {part} is {got[part]}, want {want[part]}")
