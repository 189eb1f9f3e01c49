#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A full disk, a real one: small file systems in memory, filled by somebody else while the server trains. It takes nothing
in (503 storage_full, with what is free and what is needed), says so wherever it is asked how it is, goes on answering,
lets people cancel and delete, and goes on by itself once there is room, to the digests of runs to which nothing happened."""
import contextlib, os, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import daemon
from daemon import Client, Daemon, FINAL, database, folder, tap, until
from kinds import Member, compare, npz, outcome

SIZE = 24 << 20
ALONE = "TETRAD_FULL_ALONE"  # set: in a mount namespace of our own
SWEEP = {"name": "full", "dataset": {"name": "strokes", "train": 640, "test": 100},
         "network": {"layers": [{"units": 48}, {"units": 32}]}, "rule": {"name": "sal"},
         "optimizer": {"lr": 0.01, "decay": 0.001, "momentum": 0.5}, "training": {"epochs": 60, "batch": 16},
         "record": {"every": 5}, "sweep": {"rule.name": ["sal", "bp"], "training.seed": [1, 2, 3]}}
LARGE = {"name": "large", "dataset": {"name": "strokes", "train": 64, "test": 20},
         "network": {"layers": [{"units": 400}]}, "rule": {"name": "bp"}, "training": {"epochs": 6, "batch": 32},
         "record": {"keep": 6}}


@contextlib.contextmanager
def disk(path, size=SIZE):
    """A file system of its own at path; the test is skipped where none can be had."""
    os.makedirs(path, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True)
    if made.returncode != 0:
        raise tap.Skip(f"no file system can be mounted: {made.stderr.strip()}")
    os.symlink(path + ".stderr", path + "/stderr")  # what the server says is not to be lost
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=False)


class Ballast:
    """What somebody else puts on a disk: all of it but some bytes."""

    def __init__(self, path, leave=0):
        self.file = os.path.join(path, "ballast")
        with open(self.file, "wb", buffering=0) as out:
            try:
                while room(path) > leave:
                    out.write(bytes(min(1 << 16, room(path) - leave)))
            except OSError:
                pass

    def remove(self):
        os.unlink(self.file)


def room(path):
    st = os.statvfs(path)
    return st.f_bavail * st.f_frsize


class Server(Daemon):
    """With the files folder elsewhere, if it is given."""

    def __init__(self, path, files=None, **how):
        more = {"TETRAD_FILES": files} if files else {}
        super().__init__(path, **how, **more)
        self.client.close()
        self.client = Member(self.port)

    def health(self):
        return self.client.get("/healthz")

    def gauge(self, name):
        text = self.client.get("/metrics").decode()
        return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name + " ")))


def refused(server, what, answer, words):
    """A 503 that says all that there is to say."""
    status, value = answer
    assert status == 503, f"{what}: {status} {value}"
    error = value["error"]
    assert error["code"] == "storage_full", f"{what}: {error}"
    for word in (*words, "bytes are free", "are needed"):
        assert word in error["message"], f"{what}: {error['message']}"


def retry_after(server):
    connection = server.client.connection
    connection.request("POST", "/v1/experiments", b'{}', {"Content-Type": "application/json"})
    connection.getresponse().read()
    import json
    connection.request("POST", "/v1/experiments", json.dumps(SWEEP).encode(), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, int(answer.headers["Retry-After"])


wanted = {}


def undisturbed():
    if not wanted:
        with folder() as path, Daemon(path) as server:
            runs = server.client.submit(SWEEP)[1]["runs"]
            server.await_final(runs)
            wanted.update(enumerate(outcome(server.client, run) for run in runs))
            server.stop()
        assert {o["state"] for o in wanted.values()} == {"succeeded"}
    return wanted


def check_end(server, runs):
    want = undisturbed()
    server.await_final(runs)
    for number, run in enumerate(runs):
        compare(outcome(server.client, run), want[number], f"run {run}")


def await_full(server):
    until("the server to see that the disk is full", lambda: server.health()["storage"] == "full")


def await_room(server):
    until("the server to see that there is room", lambda: server.health() == {"status": "ok", "storage": "ok", "message": None})


def begin(server):
    """The sweep under way. Its runs."""
    runs = server.client.submit(SWEEP)[1]["runs"]
    until("a run under way", lambda: server.client.run(runs[0])["progress"]["step"] > 100)
    return runs


def test_all_on_one_disk():
    undisturbed()
    with folder() as top, disk(top + "/d") as path, Server(path) as server:
        client = server.client
        done = client.submit({**SWEEP, "training": {"epochs": 2, "batch": 16}})[1]
        server.await_final(done["runs"])
        archive = b"PK\x05\x06" + bytes(18)
        runs = begin(server)
        ballast = Ballast(path)
        await_full(server)
        refused(server, "submit", client.ask("POST", "/v1/experiments", SWEEP), ["the database (--db)"])
        refused(server, "rerun", client.ask("POST", f"/v1/runs/{done['runs'][0]}/rerun"), ["--db"])
        refused(server, "fork", client.ask("POST", f"/v1/runs/{done['runs'][0]}/fork", {}), ["--db"])
        refused(server, "upload", client.upload("d", npz(100, 1)), ["the files folder (--files)"])
        refused(server, "import", client.send("POST", "/v1/import", archive, "application/zip"), ["--files"])
        refused(server, "backup", client.ask("POST", "/v1/admin/backup", {}), ["--backups"])
        status, seconds = retry_after(server)
        assert status == 503 and seconds >= 5, (status, seconds)
        health = server.health()
        assert health["status"] == "ok" and "bytes are free" in health["message"], health
        status, ready = client.ask("GET", "/readyz")
        assert status == 503 and ready["status"] == "not ready" and "full" in ready["reason"], ready
        assert server.gauge("tetrad_storage_full") == 1 and server.gauge("tetrad_storage_fails") == 0
        for get in ("/v1/experiments", "/v1/queue", f"/v1/runs/{runs[0]}/metrics", f"/v1/runs/{done['runs'][0]}/weights.npz",
                    "/v1/datasets"):
            client.get(get)
        until("nothing to go on", lambda: stands(client, runs))
        assert not {client.run(run)["state"] for run in runs} & {"failed", "diverged", "cancelled"}
        deleted = client.ask("DELETE", f"/v1/experiments/{done['id']}")
        assert deleted[0] == 200, deleted
        assert client.ask("GET", f"/v1/experiments/{done['id']}")[0] == 404
        ballast.remove()
        await_room(server)
        assert client.ask("GET", "/readyz")[0] == 200 and server.gauge("tetrad_storage_full") == 0
        assert client.upload("d", npz(100, 1))[0] == 201
        check_end(server, runs)
        server.stop()
        assert "database_fails" in server.said() and "database_works_again" in server.said(), server.said()
        with database(path) as db:
            assert not db.execute("SELECT 1 FROM removal").fetchall()


def stands(client, runs):
    """Whether nothing moves for a moment, with all of a stretch of training held up."""
    before = [(r["state"], r["progress"]["step"]) for r in map(client.run, runs)]
    time.sleep(1.0)
    return before == [(r["state"], r["progress"]["step"]) for r in map(client.run, runs)]


def test_deleting_makes_room():
    """The disk is filled to the last byte, and the ballast stays: what is deleted is what makes room."""
    with folder() as top, disk(top + "/d", 64 << 20) as path, Server(path) as server:
        client = server.client
        made = client.submit(LARGE)[1]
        server.await_final(made["runs"])
        Ballast(path)
        await_full(server)
        status, answer = client.ask("DELETE", f"/v1/experiments/{made['id']}")
        assert status == 200 and answer["freed_bytes"] > 4 << 20, answer
        await_room(server)
        runs = client.submit({**SWEEP, "training": {"epochs": 1, "batch": 16}})[1]["runs"]
        assert {r["state"] for r in server.await_final(runs).values()} == {"succeeded"}
        server.stop()


def test_two_disks():
    undisturbed()
    with folder() as top, disk(top + "/d") as path, disk(top + "/f", 40 << 20) as files, Server(path, files) as server:
        client = server.client
        ballast = Ballast(files)  # of the files alone: experiments are taken
        await_full(server)
        runs = begin(server)
        refused(server, "upload", client.upload("d", npz(100, 1)), ["--files"])
        assert client.ask("GET", "/readyz")[0] == 200
        ballast.remove()
        await_room(server)
        assert client.upload("d", npz(100, 1))[0] == 201
        ballast = Ballast(files, 1 << 20)  # no room for what is large
        refused(server, "upload", client.upload("e", npz(20000, 1)), ["--files"])
        ballast.remove()
        ballast = Ballast(path)  # of the database alone
        await_full(server)
        refused(server, "submit", client.ask("POST", "/v1/experiments", SWEEP), ["--db"])
        refused(server, "upload", client.upload("g", npz(100, 2)), ["--db"])
        assert client.ask("DELETE", "/v1/datasets/d")[0] == 200
        ballast.remove()
        await_room(server)
        check_end(server, runs)
        server.stop()


def test_killed_and_stopped_while_it_is_full():
    """A server that ends while the disk is full, and the next that begins on it."""
    undisturbed()
    with folder() as top, disk(top + "/d") as path:
        with Server(path) as server:
            runs = begin(server)
            ballast = Ballast(path)
            await_full(server)
            server.kill()
        with Server(path) as server:
            await_full(server)
            refused(server, "submit", server.client.ask("POST", "/v1/experiments", SWEEP), ["--db"])
            server.stop()
        with database(path) as db:
            assert not db.execute("SELECT 1 FROM run WHERE state = 'failed'").fetchall()  # what is running there goes on
        with Server(path) as server:
            await_full(server)
            ballast.remove()
            await_room(server)
            check_end(server, runs)
            server.stop()


def alone():
    """The tests in a mount namespace of our own, so that no file system is left behind; as root in one of users where we
    are none."""
    if os.environ.get(ALONE):
        return
    flags = ["-m"] if os.geteuid() == 0 else ["-rm"]
    if subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode == 0:
        os.environ[ALONE] = "1"
        os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])


alone()
tap.run(globals())
