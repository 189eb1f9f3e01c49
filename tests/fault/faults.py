# SPDX-License-Identifier: Apache-2.0
"""What test_io.py, test_power.py and test_clock.py share: the controls of faults.c, and a day in a server's life.

A day is a list of steps, each of which is acknowledged or not and can be asked for again. All days that come to their
end leave the same: the same runs with the same digests, the same files."""
import ctypes, hashlib, io, json, mmap, os, subprocess, sys, time, zipfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import daemon
from daemon import Client, Daemon, FINAL, database, folder, note, preload, tap, until

KINDS = ("open", "write", "sync", "rename", "truncate", "make", "remove", "read")
NAMES = KINDS + tuple("db-" + k for k in KINDS)
ONCE, FROM_THEN_ON, ANY, SHORT = 0, 1, 99, -1
SANITIZED = "address-undefined" in tap.TETRAD


class Control(ctypes.Structure):
    """struct control of faults_control.h."""
    _fields_ = [("count", ctypes.c_uint64 * 16), ("changes", ctypes.c_uint64), ("kind", ctypes.c_int64),
                ("nth", ctypes.c_uint64), ("error", ctypes.c_int64), ("mode", ctypes.c_int64),
                ("fired", ctypes.c_uint64), ("power", ctypes.c_uint64), ("cut_at", ctypes.c_uint64), ("seed", ctypes.c_uint64),
                ("clock", ctypes.c_uint64), ("offset_ns", ctypes.c_int64), ("stopped_ns", ctypes.c_int64),
                ("paused_ns", ctypes.c_int64), ("behind_ns", ctypes.c_int64)]


class Faults:
    """The controls, and the environment for a daemon on the folder `root`."""

    def __init__(self, root, aside):
        path = os.path.join(aside, "faults")
        with open(path, "wb") as file:
            file.write(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.control = Control.from_buffer(self.page)
        self.control.kind = -1
        self.environment = {**preload("faults"), "FAULTS": path, "FAULTS_ROOT": os.path.realpath(root)}

    def arm(self, kind, nth, error, mode=ONCE):
        c = self.control
        c.nth, c.error, c.mode, c.fired = nth, error, mode, 0
        c.kind = kind

    def disarm(self):
        self.control.kind = -1

    def counts(self):
        return list(self.control.count)


# ---- a day ----

TRAIN = {"dataset": {"name": "strokes", "train": 96, "test": 32}, "rule": {"name": "sal"},
         "network": {"layers": [{"units": 8}]}, "training": {"epochs": 3, "batch": 16},
         "record": {"every": 2, "checkpoint_epochs": 1, "keep": 3}}
DENSE = {"name": "dense", **TRAIN}
SWEEP = {"name": "sweep", **TRAIN, "sweep": {"rule.name": ["sal", "bp"], "training.seed": [1, 2]}}
IMAGES = {"name": "images", **TRAIN, "network": {"layers": [{"type": "conv2d", "channels": 2, "kernel": 3},
                                                           {"type": "max_pool", "size": 2}, {"units": 4}]}}
TABLE = "a,b,label\n" + "".join(f"{i * 7 % 11},{i * 5 % 13},{i % 3}\n" for i in range(60))
OTHER = "a,b,label\n" + "".join(f"{i * 3 % 7},{i * 2 % 9},{i % 2}\n" for i in range(40))
UPLOADED = {"name": "uploaded", **TRAIN, "dataset": {"name": "up"}}


class Refused(Exception):
    """The server said that it cannot, as it may."""


class Day:
    def __init__(self, path):
        self.path, self.done, self.told = path, {}, {}

    def ask(self, client, method, where, body=None, kind=None, key=None, fine=(200, 201)):
        headers = {}
        if isinstance(body, (dict, list)):
            body, kind = json.dumps(body).encode(), "application/json"
        if kind:
            headers["Content-Type"] = kind
        if key:
            headers["Idempotency-Key"] = key
        connection = daemon.http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        try:
            connection.request(method, where, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status in fine:
            return json.loads(data) if answer.headers.get("Content-Type", "").startswith("application/json") else data
        assert answer.status >= 500 or answer.status == 409, f"{method} {where}: {answer.status} {data[:500]}"
        error = json.loads(data)["error"]
        assert error["message"], error
        raise Refused(f"{method} {where}: {answer.status} {error['message']}")

    def runs(self, name):
        return self.done[name]["runs"]

    def submit(self, client, name, definition):
        return self.ask(client, "POST", "/v1/experiments", definition, key=name)

    def put(self, client, name, text):
        return self.ask(client, "PUT", f"/v1/datasets/{name}?label=label&test_fraction=0.25", text.encode(), "text/csv")

    def await_end(self, client, name, patience):
        """Digests of the runs, once all are final."""
        deadline, ended = time.monotonic() + patience, {}
        for run in self.runs(name):
            while (r := self.ask(client, "GET", f"/v1/runs/{run}"))["state"] not in FINAL:
                if time.monotonic() > deadline or r["state"] == "paused":  # until the next start: it lacked something
                    raise Refused(f"run {run} is {r['state']}: {r.get('reason')}")
                time.sleep(0.01)
            assert r["state"] == "succeeded", f"run {run}: {r}"
            ended[json.dumps(r["parameters"], sort_keys=True)] = r["digest"]
        return ended

    def fork(self, client):
        run = self.runs("dense")[0]
        other = {"step": 6, "changes": {"optimizer.lr": 0.01}}
        return self.ask(client, "POST", f"/v1/runs/{run}/fork", other, key="fork")

    def export(self, client):
        """`tetrad export` to a folder, packed."""
        out = os.path.join(self.path, "export")
        subprocess.run(["rm", "-rf", out, out + ".part"], check=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TETRAD_")}
        p = subprocess.run([tap.TETRAD, "export", str(self.done["dense"]["id"]), "--out", out, "--server",
                            f"http://127.0.0.1:{client.port}"], capture_output=True, text=True,
                           env={**environment, "HOME": self.path})
        if p.returncode:
            raise Refused(f"export: {p.stderr}")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for at, _, files in os.walk(out):
                for file in files:
                    whole = os.path.join(at, file)
                    archive.write(whole, os.path.relpath(whole, out))
        self.packed = packed.getvalue()
        return {}

    def take(self, client):
        return self.ask(client, "POST", "/v1/import", self.packed, "application/zip", key="import")

    def backup(self, client):
        try:
            return self.ask(client, "POST", "/v1/admin/backup", {})
        except Refused as why:
            if "is there already" in str(why):  # one of this second that was not acknowledged
                time.sleep(1.1)
                return self.ask(client, "POST", "/v1/admin/backup", {})
            raise

    def remove(self, client, where):
        return self.ask(client, "DELETE", where, fine=(200, 202, 204, 404)) or {}

    def steps(self, patience):
        """(name, what it needs, what it does)."""
        end = lambda name: lambda c: self.await_end(c, name, patience)
        return [("up", (), lambda c: self.put(c, "up", TABLE)),
                ("other", (), lambda c: self.put(c, "other", OTHER)),
                ("dense", (), lambda c: self.submit(c, "dense", DENSE)),
                ("sweep", (), lambda c: self.submit(c, "sweep", SWEEP)),
                ("images", (), lambda c: self.submit(c, "images", IMAGES)),
                ("uploaded", ("up",), lambda c: self.submit(c, "uploaded", UPLOADED)),
                ("gone", (), lambda c: self.submit(c, "gone", DENSE)),
                ("dense ended", ("dense",), end("dense")),
                ("fork", ("dense ended",), self.fork),
                ("export", ("dense ended",), self.export),
                ("import", ("export",), self.take),
                ("backup", ("up", "other"), self.backup),
                ("gone ended", ("gone",), end("gone")),
                ("remove", ("gone ended",), lambda c: self.remove(c, f"/v1/experiments/{self.done['gone']['id']}")),
                ("remove other", ("other", "backup"), lambda c: self.remove(c, "/v1/datasets/other")),
                ("sweep ended", ("sweep",), end("sweep")), ("images ended", ("images",), end("images")),
                ("uploaded ended", ("uploaded",), end("uploaded")), ("fork ended", ("fork",), end("fork"))]

    def go(self, client, patience=30.0):
        """The steps that are not done yet; True: the server is still there."""
        for name, needs, work in self.steps(patience):
            if name in self.done or any(n not in self.done for n in needs):
                continue
            try:
                self.done[name] = work(client)
            except Refused as why:
                self.told[name] = str(why)
            except (OSError, daemon.http.client.HTTPException) as why:
                self.told[name] = repr(why)
                return False
        return True

    # ---- what must hold ----

    def check_kept(self, client):
        """Every acknowledgement is kept."""
        listed = {e["id"]: e for e in self.ask(client, "GET", "/v1/experiments?limit=200")["experiments"]}
        for name in ("dense", "sweep", "images", "uploaded", "gone", "fork"):
            if name in self.done and not (name == "gone" and "remove" in self.done):
                got = self.done[name]
                assert got["id"] in listed or name == "gone", f"experiment {name} ({got['id']}) is lost"
                if got["id"] in listed and name != "fork":
                    again = self.submit(client, name, {"dense": DENSE, "sweep": SWEEP, "images": IMAGES,
                                                       "uploaded": UPLOADED, "gone": DENSE}[name])
                    assert again["id"] == got["id"], f"{name} was submitted twice: {got}, {again}"
        if "import" in self.done:
            assert self.done["import"]["experiment"] in listed, "the imported experiment is lost"
        if "remove" in self.done:
            assert self.done["gone"]["id"] not in listed, "a removed experiment is back"
        datasets = {d["name"] for d in self.ask(client, "GET", "/v1/datasets")["datasets"]}
        if "up" in self.done:
            assert "up" in datasets, f"an upload is lost: {datasets}"
        if "remove other" in self.done:
            assert "other" not in datasets, "a removed dataset is back"
        elif "other" in self.done and "other" not in datasets:
            assert "remove other" in self.told, "an upload is lost"
        if "backup" in self.done:
            self.check_backup(self.done["backup"])

    def check_backup(self, said):
        """It is whole: the database, and the contents that it names."""
        file = said["file"] if os.path.isabs(said["file"]) else os.path.join(self.path, said["file"])
        with folder() as copy:
            daemon.shutil.copy(file, os.path.join(copy, "tetrad.db"))
            with database(copy) as db:
                wanted = {s for s, in db.execute("SELECT sha256 FROM dataset")}
        contents = file + ".files/datasets"
        there = {"sha256:" + n.removesuffix(".npz") for n in os.listdir(contents)} if os.path.isdir(contents) else set()
        assert wanted <= there, f"the backup lacks {wanted - there}"

    def left(self):
        """What the server has on the disk besides the database: {name: digest}."""
        found = {}
        for top in ("tetrad.db.files",):
            for at, _, files in os.walk(os.path.join(self.path, top)):
                for file in files:
                    with open(os.path.join(at, file), "rb") as f:
                        found[os.path.relpath(os.path.join(at, file), self.path)] = hashlib.sha256(f.read()).hexdigest()
        return found

    def digests(self):
        return {name: value for name, value in self.done.items() if name.endswith(" ended")}

    def check_end(self, want):
        """After the day and a stop: as after an undisturbed one."""
        missing = [n for n, *_ in self.steps(0) if n not in self.done]
        assert not missing, f"never done: {missing}: {self.told}"
        assert self.digests() == want.digests(), f"digests: {self.digests()}, want {want.digests()}"
        assert self.left() == want.files, f"files: {self.left()}, want {want.files}"
        backups = os.listdir(os.path.join(self.path, "tetrad.db.backups"))
        partial = [n for n in backups if ".part" in n]
        assert not partial, f"remains of a backup: {partial}"
        for name in backups:
            if name.endswith(".db"):
                self.check_backup({"file": os.path.join("tetrad.db.backups", name)})
        strange = [n for n in os.listdir(self.path) if n.endswith((".part", ".tmp")) or n.startswith("etilqs")]
        assert not strange, f"left over: {strange}"
        with database(self.path) as db:
            assert not db.execute("SELECT 1 FROM run WHERE state NOT IN ('succeeded')").fetchall()


def undisturbed(power=False):
    """(a day without faults, how often each kind of operation was asked for, changes, seconds)."""
    with folder() as path, folder() as aside:
        faults = Faults(path, aside)
        faults.control.power = power
        begun, day = time.monotonic(), Day(path)
        with Daemon(path, **faults.environment) as d:
            client = Client(d.port)
            client.port = d.port
            assert day.go(client), day.told
            assert not day.told, day.told
            day.check_kept(client)
            d.stop()
        took, counts, changes = time.monotonic() - begun, faults.counts(), faults.control.changes
        finish(day)
        day.files = day.left()
        day.check_end(day)
        return day, counts, changes, took


def finish(day, patience=60.0):
    """The rest of a day on a server without faults; it must come to its end."""
    with Daemon(day.path) as d:
        client = d.client
        client.port = d.port
        day.check_kept(client)
        day.told.clear()
        assert day.go(client, patience), f"the server went: {day.told}"
        day.check_kept(client)
        d.stop()
