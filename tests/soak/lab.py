# SPDX-License-Identifier: Apache-2.0
"""A lab at work: experiments of several kinds that are submitted, cancelled, paused, forked and deleted, datasets that
come and go; and a witness of the events."""
import http.client, io, json, os, random, socket, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "fault")]
import numpy as np
from daemon import FINAL, Client, until

READS = ["/v1/runs/{run}", "/v1/runs/{run}/metrics?points=500", "/v1/runs/{run}/metrics?after=0", "/v1/experiments",
         "/v1/experiments/{experiment}", "/v1/experiments/{experiment}/summary", "/v1/queue", "/v1", "/metrics",
         "/v1/runs/{run}/weights", "/v1/runs/{run}/weights/W1.png?layout=matrix&scale=1", "/v1/datasets",
         "/v1/datasets/strokes/samples.png"]


def definition(name, **more):
    return {"name": name, "dataset": {"name": "strokes", "train": 1000, "test": 200},
            "network": {"layers": [{"units": 64}, {"units": 32}]}, "rule": {"name": "sal"}, "optimizer": {"lr": 0.02},
            "training": {"epochs": 8, "batch": 20, "seed": 1}, "record": {"every": 10}, **more}


# What is trained. Each comes to one digest, whatever goes on beside it.
KINDS = {
    "dense": definition("dense"),
    "momentum": definition("momentum", rule={"name": "bp"}, optimizer={"lr": 0.01, "momentum": 0.9}),
    "lesion": definition("lesion", interventions=[{"epoch": 4, "type": "lesion", "group": "V", "fraction": 0.5}]),
    "convolution": definition("convolution", network={"layers": [
        {"type": "conv2d", "channels": 4, "kernel": 5, "padding": 2}, {"type": "max_pool", "size": 2},
        {"type": "flatten"}, {"type": "dense", "units": 16}]}, training={"epochs": 4, "batch": 20, "seed": 2}),
    "uploaded": definition("uploaded", dataset={"name": "lab-kept"}),
}


def archive(content):
    file, rng = io.BytesIO(), np.random.RandomState(content)
    np.savez(file, x=rng.rand(400, 36).astype("f4"), t=rng.randint(0, 4, 400), x_test=rng.rand(80, 36).astype("f4"),
             t_test=rng.randint(0, 4, 80))
    return file.getvalue()


class Witness:
    """Listens to states on a thread of its own: the states of each run, in order."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.connection.request("GET", "/v1/events?types=state")
        self.socket = self.connection.sock  # the reply takes it from the connection
        self.reply = self.connection.getresponse()
        self.states, self.ids, self.missed, self.lock = {}, [], 0, threading.Lock()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        event, number = None, None
        for line in self.reply:
            line = line.decode().rstrip("\n")
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("event: "):
                event = line[7:]
                self.missed += event == "missed"
                if number is not None:
                    self.ids.append(number)
            elif line.startswith("data: ") and event == "state":
                state = json.loads(line[6:])
                with self.lock:
                    self.states.setdefault(state["run"], []).append(state["state"])
            elif line == "":
                event = number = None

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()

    def of(self, run):
        with self.lock:
            return list(self.states.get(run, ()))


class Lab:
    """One client. load: a measure.Load that asks, to be told of new runs."""
    QUEUED, KEPT = 8, 60

    def __init__(self, daemon, seed, load=None):
        self.client, self.port, self.rng, self.load = Client(daemon.port), daemon.port, random.Random(seed), load
        self.digests, self.open, self.ended, self.paused, self.uploads = {}, {}, [], {}, []
        self.took = {"submit": [], "cancel": [], "delete": [], "upload": []}  # seconds
        self.done, self.number, self.failed, self.last = {}, 0, [], None

    # ---- one thing after another ----

    def timed(self, what, work):
        begun = time.monotonic()
        answer = work()
        self.took[what].append(time.monotonic() - begun)
        self.done[what] = self.done.get(what, 0) + 1
        return answer

    def put(self, name, content):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("PUT", f"/v1/datasets/{name}", content, {"Content-Type": "application/octet-stream"})
        reply = connection.getresponse()
        reply.read()
        connection.close()
        assert reply.status in (200, 201), f"PUT {name}: {reply.status}"

    def took_in(self, kind, answer):
        run = answer["runs"][0]
        self.open[run] = (kind, answer["id"])
        if self.load:
            self.load.say(f"run {run} {answer['id']}")
        return run

    def submit(self, kind):
        self.number += 1
        return self.took_in(kind, self.timed("submit", lambda: self.client.submit(
            KINDS[kind], f"soak-{os.getpid()}-{id(self)}-{self.number}")[1]))

    def undisturbed(self):
        """Trains one of each kind by itself, and keeps its digest."""
        self.put("lab-kept", archive(0))
        for kind in KINDS:
            run = self.submit(kind)
            until(f"{kind} to end", lambda: self.client.run(run)["state"] in FINAL, 0.02)
            end = self.client.run(run)
            assert end["state"] == "succeeded", end
            self.digests[kind] = end["digest"]
        self.look()

    def look(self):
        """Puts away what has ended; its digest is to be that of its kind."""
        for run, (kind, experiment) in list(self.open.items()):
            now = self.client.run(run)
            if now["state"] not in FINAL:
                continue
            del self.open[run]
            self.paused.pop(run, None)
            self.ended.append((run, kind, experiment))
            self.done[now["state"]] = self.done.get(now["state"], 0) + 1
            if now["state"] == "succeeded":
                self.last = run
                if now["digest"] != self.digests[kind]:
                    self.failed.append(f"run {run} ({kind}): digest {now['digest']}, undisturbed {self.digests[kind]}")
            elif now["state"] != "cancelled":
                self.failed.append(f"run {run} ({kind}): {now['state']}: {now['reason']}")

    def change(self, run, verb):
        status, answer = self.client.ask("POST", f"/v1/runs/{run}/{verb}")
        assert status in (200, 409), f"{verb} {run}: {status} {answer}"
        return status == 200

    def fork(self):
        """Goes on from the older checkpoint of a run that succeeded: without changes, to the same digest."""
        run, kind, _ = self.rng.choice(self.ended[-10:])
        kept = self.client.run(run)["checkpoints"]
        if len(kept) < 2:
            return
        status, answer = self.client.ask("POST", f"/v1/runs/{run}/fork", {"step": min(kept)})
        assert status == 201, f"fork of {run}: {status} {answer}"
        self.done["fork"] = self.done.get("fork", 0) + 1
        self.took_in(kind, answer)

    def upload(self):
        name = f"lab-{self.number}-{len(self.took['upload'])}"
        self.timed("upload", lambda: self.put(name, archive(self.number)))
        self.uploads.append(name)
        if len(self.uploads) > 3:
            status, answer = self.client.ask("DELETE", f"/v1/datasets/{self.uploads.pop(0)}")
            assert status == 200, answer

    def delete(self):
        run, _, experiment = self.ended.pop(0)
        status, answer = self.timed("delete", lambda: self.client.ask("DELETE", f"/v1/experiments/{experiment}"))
        assert status == 200, f"DELETE {experiment} of run {run}: {status} {answer}"

    def resume(self, after):
        for run, since in list(self.paused.items()):
            if time.monotonic() - since > after:
                del self.paused[run]
                self.change(run, "resume")

    def work(self):
        """A moment of it."""
        self.look()
        while len(self.open) - len(self.paused) < self.QUEUED:
            self.submit(self.rng.choice(list(KINDS)))
        some = self.rng.choice(list(self.open))
        chance = self.rng.random()
        if chance < 0.06:
            self.timed("cancel", lambda: self.change(some, "cancel"))
        elif chance < 0.12 and some not in self.paused and self.change(some, "pause"):
            self.paused[some] = time.monotonic()
            self.done["pause"] = self.done.get("pause", 0) + 1
        elif chance < 0.15 and self.ended:
            self.fork()
        elif chance < 0.20:
            self.upload()
        self.resume(1.0)
        while len(self.ended) > self.KEPT:
            self.delete()

    def finish(self):
        """Nothing is open any more."""
        self.resume(-1.0)

        def over():
            self.look()
            return not self.open
        until("all runs to end", over, 0.1)
