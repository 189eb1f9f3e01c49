#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""First inputs of the fuzzing targets, from real files: seeds.py FOLDER makes FOLDER/TARGET/NAME.

For a corpus that is begun anew: what is committed in tests/fuzz/corpus has grown from these and was minimised
(tests/fuzz/run --minimise). Needs build/tetrad: experiments of several kinds are run, forked and exported. From the
repository's root."""
import gzip, io, json, os, re, shutil, struct, subprocess, sys

sys.path.insert(0, "tests/fault")
import numpy
import daemon

OUT = sys.argv[1]
DATA = "tests/unit/definition/data"


def write(target, name, data):
    os.makedirs(f"{OUT}/{target}", exist_ok=True)
    with open(f"{OUT}/{target}/{name}", "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def read(path):
    with open(path, "rb") as file:
        return file.read()


def part(data):
    return struct.pack("<I", len(data))[:3] + data


def members(how, files):
    return bytes([how]) + b"".join(bytes([len(name)]) + name.encode() + part(data) for name, data in files)


# ---- definitions ----

def short(text):
    return re.sub(r"(?<![0-9.])([0-9]{2})[0-9]+", r"\1", text)


def definitions():
    folder = "schema/examples"
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            write("definition", name, short(json.dumps(json.loads(read(f"{folder}/{name}")))))
    for name in sorted(os.listdir(folder + "/science")):
        if name.endswith(".json"):
            write("definition", "science-" + name, short(json.dumps(json.loads(read(f"{folder}/science/{name}")))))
    for name in ["mnist", "colour", "tall", "reals", "bare", "cifar10"]:
        write("definition", name, json.dumps({"dataset": {"name": name}, "rule": {"name": "sal"}, "training": {"epochs": 2},
                                              "network": {"layers": [{"units": 4}]},
                                              "optimizer": {"loss": "mse"} if name == "reals" else {}}))


# ---- experiments ----

BARE = {"name": "n", "dataset": {"name": "bare", "validation": 4}, "training": {"epochs": 3, "batch": 8},
        "network": {"layers": [{"units": 3}, {"units": 2}]}, "rule": {"name": "sal"}}
KINDS = {
    "dense": {**BARE, "sweep": {"rule.name": ["dfa"]}, "tags": ["x"]},
    "images": {**BARE, "dataset": {"name": "colour"}, "network": {"layers": [
        {"type": "conv2d", "channels": 2, "kernel": 3, "padding": 1}, {"type": "max_pool", "size": 2}, {"units": 3}]}},
    "settings": {**BARE, "rule": {"name": "sal", "center": True, "noise": {"activity": 0.1}},
                 "optimizer": {"momentum": 0.5, "schedule": {"type": "cosine"}},
                 "interventions": [{"step": 3, "type": "freeze", "group": "V"}]},
    "delayed": {**BARE, "rule": {"name": "bp", "delay": {"batches": 2}}, "training": {**BARE["training"], "select": "best",
                "early_stopping": {"patience": 1}}},
    "wired": {**BARE, "rule": {"name": "wm", "groups": {"W": {"connection_probability": 0.5, "dale": {"excitatory": 0.5}}}}},
    "protocol": {"name": "p", "type": "protocol", "dataset": {"name": "bare"}, "rule": {"name": "sal"},
                 "network": {"layers": [{"units": 3}, {"units": 2}]},
                 "training": {"batch": 8}, "protocol": {"layer": 2, "pairings": 3, "patterns": {"type": "random", "n": 2, "sd": 1}}},
    "diverged": {**BARE, "optimizer": {"lr": 1e20}},
}


WHAT_COUNTS = {
    "experiment.json": ["id", "definition", "runs"],
    "run.json": ["id", "state", "progress", "divergence", "train_seconds", "parameters", "memory_bytes", "created_at", "started_at",
                 "ended_at", "reason", "digest", "protocol"]}


def exported(path):
    """The members that an import looks at, as short as they can be."""
    files = []
    for at, _, names in sorted(os.walk(path)):
        for name in sorted(names):
            data, where = read(f"{at}/{name}"), os.path.relpath(f"{at}/{name}", path)
            if name in ("README.md", "summary.json"):
                continue
            if name == "metrics.csv":
                data = b"".join(data.splitlines(True)[:4])
            if name in WHAT_COUNTS:
                value = json.loads(data)
                value = {key: value[key] for key in WHAT_COUNTS[name] if key in value}
                value["hash"] = "$"
                if value.get("digest"):
                    value["digest"] = "$"
                if "runs" in value:
                    value["runs"] = [{"id": run["id"]} for run in value["runs"]]
                data = json.dumps(value).encode()
            files.append((where, data))
    return files


def laboratory(folder):
    """With the small datasets."""
    shutil.copytree(DATA, folder, dirs_exist_ok=True)
    return daemon.Daemon(folder)


def experiments():
    with daemon.folder() as folder, laboratory(folder) as server:
        client = daemon.Client(server.port)
        environment = {**os.environ, "TETRAD_SERVER": f"http://127.0.0.1:{server.port}"}

        def finished(kind, answer):
            daemon.until(kind, lambda: client.run(answer["runs"][-1])["state"] in daemon.FINAL)
            to = f"{folder}/export-{kind}"
            subprocess.run(["build/tetrad", "export", str(answer["id"]), "--out", to], check=True, env=environment)
            files = exported(to)
            write("import", kind, members(1, files))
            if kind == "delayed":
                state = io.BytesIO()
                weights = numpy.load(next(io.BytesIO(data) for name, data in files if name.endswith("weights.npz")))
                numpy.savez(state, **weights, **{"state/selection": numpy.array([1], numpy.float32)})
                write("import", "selection", members(2, [(name, state.getvalue() if name.endswith("weights.npz") else data)
                                                         for name, data in files]))
            for run in answer["runs"]:
                definition = client.run(run)["definition"]
                write("resolved", f"{kind}-{run}", json.dumps({"definition": definition, "changes": {
                    "optimizer.lr": 0.5, "rule.name": "kp", "training.epochs": 9}, "step": 4, "epoch": 1, "batch": 1}))

        for kind, definition in KINDS.items():
            status, answer = client.ask("POST", "/v1/experiments", definition)
            if status != 201:
                sys.exit(f"{kind}: {json.dumps(answer)}")
            finished(kind, answer)
            if kind == "settings":
                status, fork = client.ask("POST", f"/v1/runs/{answer['runs'][0]}/fork",
                                          {"step": 8, "changes": {"optimizer.lr": 0.02}})
                assert status == 201, fork
                finished("fork", fork)


# ---- datasets ----

def datasets():
    def idx(kind):
        names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
        found = []
        for name in names:
            path = f"{DATA}/{kind}/{name}"
            found.append(read(path) if os.path.exists(path) else gzip.decompress(read(path + ".gz"))
                         if os.path.exists(path + ".gz") else None)
        return found

    def small(n, side):
        pixels = bytes(range(n * side * side % 251)) * 9
        return [struct.pack(">IIII", 0x803, n, side, side) + pixels[:n * side * side].ljust(n * side * side, b"\0"),
                struct.pack(">II", 0x801, n) + bytes(i % 3 for i in range(n))]

    for name, files in {"bare": idx("bare"), "small": small(6, 3) + small(3, 3), "broken": idx("broken")}.items():
        for mode in (1, 2, 3):
            how = sum((mode if f is not None else 0) << 2 * i for i, f in enumerate(files))
            data = [gzip.compress(f, mtime=0) if mode == 2 else f for f in files if f is not None]
            data = iter(data)
            write("idx", f"{name}-{mode}", bytes([how]) + b"".join(part(b"" if f is None else next(data)) for f in files))
    for fine, n in ((0, 6), (1, 2)):
        for mode in (1, 3):
            how = sum(mode << 2 * i for i in range(n))
            write("cifar", f"{fine}-{mode}", bytes([fine]) + struct.pack("<H", how) + part(b"\2\0" + b"\3\5\7" * 2) * n)
        how = sum(2 << 2 * i for i in range(n))
        write("cifar", f"{fine}-raw", bytes([fine]) + struct.pack("<H", how) +
              part(gzip.compress((b"\3" + bytes(3072 + fine)) * 2, mtime=0)) * n)
    tables = [(0, b"", b"0,1,2\n1,3,4\n0,5,6.5e-3\n", b""), (1, b"kind", b"a,kind,b\r\n1,0,2\r\n3,1,4\r\n", b""),
              (2, b"", b"label,x\n0,1\n1,2\n", b"label,x\n1,7\n"), (4, b"", b"".join(b"%d,%d\n" % (i % 2, i) for i in range(20)), b""),
              (3, b"1", b'"1",0\n" -2.5 ",1\n', b"5,1\n"), (0, b"", b"\xef\xbb\xbf0,1e300\n1,2\n\n", b"")]
    for i, (flags, label, train, test) in enumerate(tables):
        write("csv", str(i), bytes([flags, 64]) + part(label) + part(train) + test)


def arrays():
    def npy(array, order="C"):
        to = io.BytesIO()
        numpy.save(to, numpy.asarray(array, order=order))
        return to.getvalue()

    folder = "tests/unit/data"
    for name in sorted(os.listdir(folder)):
        if name.endswith(".npz") and os.path.getsize(f"{folder}/{name}") < 20000:
            write("npz", name, b"\0" + read(f"{folder}/{name}"))
    x, labels = numpy.arange(24, dtype=numpy.float32).reshape(4, 6), numpy.array([0, 1, 2, 1])
    kinds = {
        "floats": [("x.npy", npy(x)), ("t.npy", npy(labels))],
        "bytes": [("x.npy", npy(x.astype(numpy.uint8).reshape(4, 2, 3))), ("t.npy", npy(labels.astype(numpy.uint8)))],
        "targets": [("x.npy", npy(x.astype(numpy.float64))), ("t.npy", npy(x[:, :2].copy())),
                    ("x_test.npy", npy(x[:2].astype(numpy.float64))), ("t_test.npy", npy(x[:2, :2].copy()))],
        "images": [("x.npy", npy(x.reshape(4, 1, 2, 3), "F")), ("t.npy", npy(labels.reshape(4, 1).astype(numpy.int8)))],
        "big": [("W1.npy", npy(numpy.zeros((3, 4), numpy.int64))), ("b.npy", npy(numpy.uint64(2**63)))],
    }
    for name, files in kinds.items():
        write("npz", name, members(1, files))
        write("npz", name + "-deflated", members(2, files))


# ---- requests and options ----

def requests():
    targets = """GET /|GET /v1|GET /healthz|GET /readyz|GET /metrics|GET /openapi.json|GET /v1/schema|GET /v1/rules|GET /v1/series
GET /v1/me|GET /v1/users|GET /v1/tokens|GET /v1/audit?limit=5&user=local|GET /v1/examples|GET /assets/app.js|GET /assets/pages/run.js
GET /v1/experiments?limit=1&state=succeeded&owner=local&tag=a&q=fuz&cursor=2|GET /v1/experiments/1|GET /v1/queue?limit=3
GET /v1/experiments/1/summary?metric=test/accuracy&at=best&baseline=training.seed:1|GET /v1/experiments/1/summary?at=epoch:2&steps=true
GET /v1/experiments/1/summary?at=step:3&format=csv|GET /v1/runs/1|HEAD /v1/runs/2|GET /v1/runs/1/metrics?name=train/*,norm/W/1&after=2
GET /v1/runs/1/metrics?points=5&format=ndjson|GET /v1/runs/1/protocol|GET /v1/runs/1/weights?step=3|GET /v1/runs/1/weights.npz
GET /v1/runs/1/weights/W1.npy|GET /v1/runs/2/weights/V1.png?scale=2|GET /v1/datasets|GET /v1/datasets/bare
GET /v1/datasets/bare/samples.png?n=4&part=train&first=1&scale=2|GET /v1/events?types=state,metrics&run=1&last_event_id=7
GET /v1/runs/1/events|DELETE /v1/runs/1|GET http://localhost:80/v1/runs/1?a=%41+b|GET /v1/runs/%31""".replace("\n", "|").split("|")
    headers = ["Host: localhost", "Accept: text/csv;q=0.5, application/json", "If-None-Match: W/\"a\", *", "Last-Event-ID: 12",
               "Authorization: Bearer tet_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Origin: http://localhost",
               "X-Request-Id: abc-1", "Range: bytes=0-9", "Accept: */*", "Expect: 100-continue", "Content-Length: 0",
               "Date: 2026-01-31T12:00:00Z", "Host: [::1]:8080"]
    for i, target in enumerate(targets):
        chosen = headers[i % len(headers):i % len(headers) + 3]
        write("request", f"get{i}", target + "\n" + "\n".join(chosen) + "\n\n")
    for i, body in enumerate(['{"inputs":[[0,1,2,3]]}', '{"part":"test","indices":[0,1],"step":8}', '{"part":"train","indices":[2]}']):
        write("request", f"predict{i}", f"POST /v1/runs/1/predict\nContent-Type: application/json\nContent-Length: 9\n\n{body}")
    definition = json.dumps({**BARE, "sweep": {"training.seed": [1, 2]}})
    write("request", "dry", f"POST /v1/experiments?dry_run=1\nContent-Type: application/json\nContent-Length: 9\n\n{definition}")
    sent = ['{"needed":1}', '{"needed":2,"integer":7,"number":1.5,"boolean":true,"text":"abc","choice":"test","array":[1,9],'
            '"object":{"user":"x","on":null},"any":{}}', '{"integer":1e3,"intege":2,"array":[0,"x"],"object":{"on":1}}', "[]", ""]
    for i, text in enumerate(sent):
        write("sent", str(i), text)
    files = [b"# lab\nworkers = 4\nmemory=8G\nlisten = 127.0.0.1:0 # here\n", b"json = yes\nserver=http://a\n", b"db\n", b"what = 1\n"]
    for i, file in enumerate(files):
        for command in (0, 2, 10):
            write("config", f"{command}-{i}", bytes([command]) + part(b"--workers\0" b"2\0--json\0-5\0a" if i % 2 else b"--memory=2M\0--help") +
                  part(b"TETRAD_HEARTBEAT=5\0TETRAD_DB=x.db") + file)


def checkpoints():
    for circuit in range(6):
        for how in range(3):
            head = bytes([circuit, how])
            write("checkpoint", f"{circuit}-{how}", head)
            write("checkpoint", f"{circuit}-{how}-cursor", head + b"\0\0" + b"".join(struct.pack("<Q", n) for n in (3, 5, 0, 2, 0, 0, 3)))
            write("checkpoint", f"{circuit}-{how}-edits", head + b"\1\0\1" + struct.pack("<HH", 4, 5) + b"\2\1" + part(b"W9") +
                  b"\4\0" + struct.pack("<HI", 3, 0x7fc00000) + b"\3\2" + b"\1\x28" + part(b"state/selection") + b"\0" + struct.pack("<H", 3))


for make in (definitions, experiments, datasets, arrays, requests, checkpoints):
    make()
