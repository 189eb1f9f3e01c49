#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From one server to another: an experiment of each kind is exported, taken in there, and rerun to the same digest."""
import io, json, os, re, subprocess, sys, zipfile

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]
import tap
from client import Server, environment

DENSE = {"name": "sweep <b>\x1b[1m", "tags": ["x"], "dataset": {"name": "strokes", "train": 200, "test": 50, "validation": 20},
         "network": {"layers": [{"units": 8}]}, "rule": {"name": "sal"}, "training": {"epochs": 4, "batch": 20},
         "optimizer": {"momentum": 0.5}, "record": {"every": 5, "keep": 100}}
SWEEP = {**DENSE, "sweep": {"rule.name": ["sal", "bp", "kp"], "training.seed": [1, 2]}}
IMAGES = {**DENSE, "network": {"layers": [{"type": "conv2d", "channels": 3, "kernel": 3}, {"type": "max_pool", "size": 2},
                                          {"units": 6}]}}
PROTOCOL = {"type": "protocol", "dataset": {"name": "strokes"}, "rule": {"name": "sal"},
            "network": {"layers": [{"units": 8, "activation": "tanh"}, {"units": 6, "activation": "tanh"}]},
            "optimizer": {"lr": 0.02, "decay": 0.01},
            "protocol": {"layer": 2, "pairings": 5, "patterns": {"type": "random", "n": 4, "sd": 1}}}
WILD = {**DENSE, "optimizer": {"lr": 1e20}}
ENDLESS = {**DENSE, "training": {"epochs": 100000}}


def members(folder):
    return {os.path.relpath(os.path.join(at, f), folder) for at, _, files in os.walk(folder) for f in files}


def same(a, b, *keys):
    for key in keys:
        assert a[key] == b[key], (key, a[key], b[key])


class Pair:
    """Two servers; the second has had other runs, so that its numbers are others."""

    def __enter__(self):
        self.a, self.b = Server().__enter__(), Server().__enter__()
        self.b.done(DENSE)
        return self

    def __exit__(self, *_):
        self.a.__exit__(), self.b.__exit__()

    def travel(self, id, extra=()):
        """Exports from one, imports to the other; the runs there, as pairs of their numbers."""
        folder = self.a.path(f"export{id}")
        self.a.tetrad("export", str(id), "--out", folder)
        runs = [r["id"] for r in self.a.json("show", str(id))["runs"]]
        assert {os.path.basename(m) for m in members(folder)} >= {"experiment.json", "summary.json", "README.md", *extra}
        taken = self.b.json("import", folder)
        assert [r["was"] for r in taken["runs"]] == runs
        here, there = self.a.json("show", str(id)), self.b.json("show", str(taken["experiment"]))
        same(here, there, "name", "tags", "hash", "definition", "counts", "state")
        same(self.a.json("summary", str(id)), self.b.json("summary", str(taken["experiment"])), "points")
        for r in taken["runs"]:
            was, now = self.a.json("show", "r%d" % r["was"]), self.b.json("show", "r%d" % r["run"])
            same(was, now, "state", "reason", "digest", "hash", "definition", "parameters", "final", "divergence")
            assert now["timeline"][-1]["detail"].get("was", r["was"]) == r["was"]
        return folder, [(r["was"], r["run"]) for r in taken["runs"]]

    def agree(self, pairs):
        """Each is rerun where it is now, to the digest where it came from."""
        for was, now in pairs:
            digest = self.a.json("show", f"r{was}")["digest"]
            assert self.b.tetrad("rerun", f"r{now}", "--watch").endswith(f"the digests agree: {digest}\n")


def readme_runs(s, folder, run, digest):
    """What the README says gives the digest that it says."""
    text = open(folder + "/README.md").read().split(f"## Run r{run}:")[1].split("## Run")[0]
    command = re.search(r"`tetrad (run \S+)`", text)[1].split()
    assert digest == re.search(r"digest `(\S+)`", text)[1]
    done = subprocess.run([tap.TETRAD, *command], cwd=folder, capture_output=True, text=True, env=environment(s.folder))
    assert done.returncode == 0 and digest in done.stdout, done


def test_sweep():
    with Pair() as p:
        e = p.a.done(SWEEP)
        folder, pairs = p.travel(e["id"], ["weights.npz", "metrics.csv"])
        assert len(pairs) == 6
        p.agree(pairs)
        for was, _ in pairs[::3]:
            readme_runs(p.a, folder, was, p.a.json("show", f"r{was}")["digest"])
        assert "\x1b" not in open(folder + "/README.md").read()
        again = p.b.path("again")  # and on from there: the same files but for numbers and times
        there = p.b.json("show", "r%d" % pairs[0][1])["experiment"]
        p.b.tetrad("export", str(there), "--out", again)
        for was, now in pairs:
            for name in ("definition.json", "weights.npz"):
                a, b = (open(f"{f}/runs/{i}/{name}", "rb").read() for f, i in ((folder, was), (again, now)))
                assert a == b, name
            a, b = (open(f"{f}/runs/{i}/metrics.csv").read() for f, i in ((folder, was), (again, now)))
            assert a.replace(f"\n{was},", "\n") == b.replace(f"\n{now},", "\n")


def test_convolution():
    with Pair() as p:
        folder, pairs = p.travel(p.a.done(IMAGES)["id"])
        p.agree(pairs)
        readme_runs(p.a, folder, pairs[0][0], p.a.json("show", "r1")["digest"])


def test_protocol():
    with Pair() as p:
        folder, pairs = p.travel(p.a.done(PROTOCOL)["id"], ["protocol.json"])
        assert not os.path.exists(folder + "/runs/1/weights.npz")
        rows = json.load(open(folder + "/runs/1/protocol.json"))["rows"]
        assert len(rows) > 0 and p.b.json("show", "r%d" % pairs[0][1])["protocol"]["rows"] == rows
        p.agree(pairs)
        readme_runs(p.a, folder, 1, p.a.json("show", "r1")["digest"])
        rows[0]["pattern"] = -1
        json.dump({"rows": rows}, open(folder + "/runs/1/protocol.json", "w"))
        assert "runs/1/protocol.json is not what run.json says" in p.b.refused("import", folder, status=3)


def test_fork():
    """With momentum: a fork goes on from velocities too, which the weights alone do not have."""
    with Pair() as p:
        p.a.done({**DENSE, "record": {"keep": 4}})  # of the fork only the last is kept, and its beginning
        p.a.tetrad("fork", "r1", "--step", "9", "--changes", '{"optimizer.lr": 0.05, "record.keep": 1}', "--watch")
        assert p.a.json("show", "r2")["checkpoints"] == [9, 36]
        folder, pairs = p.travel(2, ["start.npz"])
        names = set(zipfile.ZipFile(folder + "/runs/2/start.npz").namelist())
        assert {"W1.npy", "velocity/W1.npy", "cursor.npy"} <= names, names
        p.agree(pairs)
        assert "start.npz" in open(folder + "/README.md").read()
        def with_start(npz):
            open(folder + "/runs/2/start.npz", "wb").write(npz)
            return p.b.refused("import", folder, status=3)
        whole, final = (open(folder + f"/runs/2/{n}.npz", "rb").read() for n in ("start", "weights"))
        assert "cursor" in with_start(final)
        assert "/fork/digest" in with_start(changed(whole, "W1.npy", -1))
        assert "cursor" in with_start(changed(whole, "cursor.npy", 128))
        assert "no archive" in with_start(whole[:1000])
        os.remove(folder + "/runs/2/start.npz")  # it comes without, and says so
        run = p.b.json("import", folder)["runs"][0]["run"]
        assert "not kept any more" in p.b.refused("rerun", f"r{run}")


def changed(npz, name, at):
    """The archive with another byte in an array."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz)) as old, zipfile.ZipFile(out, "w") as new:
        for n in old.namelist():
            bytes = bytearray(old.read(n))
            if n == name:
                bytes[at] ^= 1
            new.writestr(n, bytes)
    return out.getvalue()


def test_diverged():
    with Pair() as p:
        e = p.a.done(WILD, status=8)
        _, pairs = p.travel(e["id"])
        run = "r%d" % pairs[0][1]
        assert p.b.json("show", run)["divergence"]["step"] >= 1
        assert "both diverged" in p.b.tetrad("rerun", run, "--watch")


def test_cancelled():
    """One that had trained, and one that never began: it has neither weights nor records."""
    with Pair() as p:
        ids = p.a.submit(ENDLESS), p.a.submit(DENSE)
        p.a.await_state("r1", "running")
        assert "ended" in p.b.refused("import", export_open(p.a, 2), status=3)  # a run that waits
        p.a.tetrad("cancel", "1", "2")
        p.a.await_state("r1", "cancelled")
        for id in ids:
            folder, pairs = p.travel(id)
            assert os.path.exists(folder + "/runs/1/weights.npz") or id == 2
            assert "409" in p.b.refused("rerun", "r%d" % pairs[0][1])
        assert members(folder) >= {"runs/2/run.json", "runs/2/definition.json"}
        assert not os.path.exists(folder + "/runs/2/weights.npz")


def export_open(s, id):
    s.tetrad("export", str(id), "--out", s.path("open"))
    return s.path("open")


tap.run(globals())
