#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Archives that are after something else, sent to a real server as a stranger would: the right status, and nothing left."""
import glob, http.client, io, json, os, socket, sys, time, warnings, zipfile

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]
import tap
from client import Server

SMALL = {"dataset": {"name": "strokes", "train": 60, "test": 20}, "network": {"layers": [{"units": 4}]},
         "rule": {"name": "sal"}, "training": {"epochs": 1, "batch": 20}, "sweep": {"training.seed": [1, 2]}}
RUN = "runs/1/"


class Lab(Server):
    """A server with one experiment, and what `tetrad export` made of it: name to bytes."""

    def __enter__(self):
        super().__enter__()
        self.done(SMALL)
        self.tetrad("export", "1", "--out", self.path("out"))
        self.files = {os.path.relpath(f, self.path("out")): open(f, "rb").read()
                      for f in glob.glob(self.path("out/**"), recursive=True) if os.path.isfile(f)}
        self.before = self.left()
        return self

    def left(self):
        """What a refused import must not change: experiments, files here and beside it, open files."""
        for _ in range(100):  # a connection is closed soon after its reply
            handles = [os.readlink(f) for f in glob.glob(f"/proc/{self.process.pid}/fd/*") if os.path.lexists(f)]
            handles = [h for h in handles if not h.startswith("socket:")]
            if not any("deleted" in h or "memfd" in h for h in handles):
                break
            time.sleep(0.02)
        files = {f for f in glob.glob(self.path("**"), recursive=True, include_hidden=True) if os.path.isfile(f)}
        return len(self.json("list")["experiments"]), files, sorted(set(handles))

    def await_upload(self):
        """Until a body lies in a file without a name."""
        for _ in range(500):
            if any("deleted" in os.readlink(f) for f in glob.glob(f"/proc/{self.process.pid}/fd/*") if os.path.lexists(f)):
                return
            time.sleep(0.02)
        raise AssertionError("the body goes into no file")

    def post(self, body, kind="application/zip", **headers):
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        connection.request("POST", "/v1/import", body, {"Content-Type": kind, **headers})
        reply = connection.getresponse()
        value = reply.status, json.loads(reply.read())
        connection.close()
        return value

    def refused(self, body, status, says):
        got, reply = self.post(body)
        assert got == status and says in reply["error"]["message"], (got, reply, says)
        assert self.left() == self.before, self.left()


def pack(files, more=(), method=zipfile.ZIP_DEFLATED):
    """more: (name or ZipInfo, bytes) that come after; names may come twice."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in [*files.items(), *more]:
            z.writestr(name, data)
    return out.getvalue()


def test_as_it_is():
    """The oracle of the others: unchanged it is taken."""
    with Lab() as lab:
        status, reply = lab.post(pack(lab.files))
        assert status == 201 and [r["was"] for r in reply["runs"]] == [1, 2]
        assert lab.left()[0] == 2


def test_names():
    link = zipfile.ZipInfo("runs/1/link")
    link.external_attr = 0o120777 << 16
    with Lab() as lab:
        for name in ("../escaped", "/tmp/escaped", "runs/../../escaped", "runs/1/../../../escaped", "runs\\1\\run.json",
                     "C:\\escaped", "./experiment.json", "runs//1/run.json", "RUNS/1/run.json", "runs/1/run.json/",
                     "runs/1/run.json\n", "runs/1/\u202erun.json", "runs/-1/run.json", "runs/0/run.json", "runs/1e0/run.json",
                     "runs/" + "9" * 30 + "/run.json", "x" * 60000, "t.db", "<script>", "runs/1/run.json ", link):
            lab.refused(pack(lab.files, [(name, b"x")]), 422, "which an export does not have")
        warnings.simplefilter("ignore")  # of Python's, for a name that comes twice
        for name in ("experiment.json", RUN + "run.json"):
            lab.refused(pack(lab.files, [(name, lab.files[name])]), 422, "")
        assert not os.path.exists("/tmp/escaped") and not os.path.exists(lab.path("../escaped"))


def test_digests():
    """One bit of the weights, of the definition or of what is said of them."""
    with Lab() as lab:
        def with_member(name, data):
            return pack({**lab.files, RUN + name: data})
        npz = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(lab.files[RUN + "weights.npz"])) as old, zipfile.ZipFile(npz, "w") as new:
            for name in old.namelist():
                data = bytearray(old.read(name))
                data[-1] ^= name == "W1.npy"
                new.writestr(name, bytes(data))
        lab.refused(with_member("weights.npz", npz.getvalue()), 422, "not what run.json says")
        lab.refused(with_member("weights.npz", lab.files["runs/2/weights.npz"]), 422, "not what run.json says")
        lab.refused(with_member("weights.npz", lab.files[RUN + "weights.npz"][:-40]), 422, "weights.npz")
        lab.refused(with_member("definition.json", lab.files["runs/2/definition.json"]), 422, "hash")
        run = json.loads(lab.files[RUN + "run.json"])
        for change, says in (({"digest": "sha256:" + "0" * 64}, "digest"), ({"hash": "sha256:" + "0" * 64}, "hash"),
                             ({"state": "queued"}, "ended"), ({"id": 2}, "/id"), ({"progress": {"step": 1e300}}, "/progress"),
                             ({"parameters": None}, "/parameters")):
            lab.refused(with_member("run.json", json.dumps({**run, **change})), 422, says)
        lab.refused(with_member("start.npz", lab.files[RUN + "weights.npz"]), 422, "no fork")
        lab.refused(with_member("run.json", b"[" * 1000000), 422, "run.json")
        lab.refused(with_member("run.json", b'{"id":1,"id":1}'), 422, "run.json")
        lab.refused(with_member("metrics.csv", b"run,step,series,value\n1,1,a\0b,1\n"), 422, "metrics.csv")


def test_cut():
    """At every sixteenth of it, and a byte short; and with the directory of another archive."""
    with Lab() as lab:
        whole = pack(lab.files)
        for at in [len(whole) * k // 16 for k in range(16)] + [len(whole) - 1]:
            lab.refused(whole[:at], 422, "zip")
        other = pack({**lab.files, RUN + "run.json": b" " + lab.files[RUN + "run.json"]})
        at, end = other.index(b"PK\x01\x02"), whole.index(b"PK\x01\x02")
        lab.refused(whole[:end] + other[at:], 422, "")


def test_huge():
    with Lab() as lab:
        address = lab.url.removeprefix("http://").split(":")
        head = f"POST /v1/import HTTP/1.1\r\nHost: {':'.join(address)}\r\nContent-Type: application/zip\r\n"
        with socket.create_connection((address[0], int(address[1])), timeout=20) as s:  # it says so, and sends little
            s.sendall((head + f"Content-Length: {5 << 30}\r\n\r\nPK").encode())
            assert s.recv(4096).split()[1] == b"413"
        with socket.create_connection((address[0], int(address[1])), timeout=20) as s:  # it goes away in the middle
            s.sendall((head + f"Content-Length: {10 << 20}\r\n\r\n").encode() + b"x" * (1 << 20))
            lab.await_upload()
        assert lab.left() == lab.before
        bomb = bytearray(pack({**lab.files, "summary.json": b"\0" * (1 << 20)}))
        for sign, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # says that it is 4000 times as large
            at = -1
            while (at := bomb.find(sign, at + 1)) >= 0:
                if bomb[at + offset:at + offset + 4] == (1 << 20).to_bytes(4, "little"):
                    bomb[at + offset:at + offset + 4] = (4000 << 20).to_bytes(4, "little")
        lab.refused(bytes(bomb), 422, "unpacks to more than")
        lab.refused(pack({**lab.files, RUN + "run.json": b" " * (70 << 20)}), 422, "too large")
        for values in (b"[0" + b",0" * (2 << 20) + b"]", b'{"a":[' + b"{}," * (2 << 20) + b"0]}"):  # much in memory
            lab.refused(pack({**lab.files, RUN + "run.json": values}), 422, "too many values")
        rows = b"run,step,series,value\n" + b"1,1,a,1\n" * (17 << 20)
        lab.refused(pack({**lab.files, RUN + "metrics.csv": rows}), 422, "more than 16777216 records")
        rss = next(int(l.split()[1]) for l in open(f"/proc/{lab.process.pid}/status") if l.startswith("VmRSS"))
        assert "/address" in tap.TETRAD or rss < 300 << 10, rss  # KiB; the memory goes back
        many = pack(lab.files, [(f"runs/{k}/run.json", b"{}") for k in range(3, 75000)], zipfile.ZIP_STORED)
        lab.refused(many, 422, "too many")


def test_other_requests():
    with Lab() as lab:
        whole = pack(lab.files)
        assert lab.post(whole, "application/json")[0] == 415
        assert lab.post(whole, "multipart/form-data; boundary=x")[0] == 415
        lab.refused(b"", 422, "zip")
        lab.refused(b"PK\x05\x06" + b"\0" * 18, 422, "no experiment.json")
        locked = bytearray(whole)
        for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # says that it is encrypted
            at = -1
            while (at := locked.find(sign, at + 1)) >= 0:
                locked[at + offset] |= 1
        lab.refused(bytes(locked), 422, "experiment.json")
        assert lab.left() == lab.before


tap.run(globals())
