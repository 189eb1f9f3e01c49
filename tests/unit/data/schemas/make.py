#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the database of a released schema: `make.py TETRAD VERSION.sql`, with the program of that time.

An experiment that has ended, one whose run is being trained when the program is killed and has a checkpoint, and one
that waits behind it; then all of it as SQL, to be read and reviewed. A released file is never made again: what it
holds is what users have. The programs, built from the repository's history (git log -- schema/sql):

    0001.sql  cdb6879  the last with schema 1
    0002.sql  144244e  the last with schema 2
    0005.sql  f271ae0  the last with schema 5; 3 and 4 were never released
    0011.sql  7da211b  schema 11; 6 to 10 came with it

The next schema that is released adds its file here, and a line above."""
import json, os, signal, sqlite3, subprocess, sys, tempfile, time, urllib.request


def definition(name, **more):
    return {"name": name, "tags": ["kept"], "dataset": {"name": "strokes", "train": 100, "test": 20},
            "network": {"layers": [{"units": 1}]}, "rule": {"name": "sal"}, "optimizer": {"lr": 0.05},
            "training": {"epochs": 2, "batch": 32, "seed": 1}, "record": {"every": 1}, **more}


DONE = definition("done", training={"epochs": 1, "batch": 32, "seed": 1}, sweep={"training.seed": [1, 2]})
GOING = definition("going", network={"layers": [{"units": 2}]}, dataset={"name": "strokes", "train": 3000, "test": 20},
                   optimizer={"lr": 0.01, "momentum": 0.5}, training={"epochs": 40, "batch": 8, "seed": 1},
                   record={"every": 1000, "keep": 1})
WAITING = definition("waiting", rule={"name": "kp"})


def ask(port, method, path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def fill(port, version):
    done = ask(port, "POST", "/v1/experiments", DONE)
    while ask(port, "GET", f"/v1/experiments/{done['id']}")["state"] != "succeeded":
        time.sleep(0.02)
    if version >= 11:
        ask(port, "PUT", "/v1/users/alice", {"weight": 2, "cap": 4})
        ask(port, "POST", f"/v1/runs/{done['runs'][0]}/pin", {"pinned": True})
    going = ask(port, "POST", "/v1/experiments", GOING)["runs"][0]
    ask(port, "POST", "/v1/experiments", WAITING)
    while ask(port, "GET", f"/v1/runs/{going}")["progress"]["epoch"] < 4:
        pass


def make(program, out):
    version = int(os.path.basename(out).split(".")[0])
    with tempfile.TemporaryDirectory() as folder:
        file = folder + "/tetrad.db"
        server = subprocess.Popen([program, "serve", "--db", file, "--data", folder, "--listen", "127.0.0.1:0",
                                   "--workers", "1"], stdout=subprocess.PIPE, text=True)
        try:
            fill(int(server.stdout.readline().split("http://")[1].split()[0].rsplit(":", 1)[1]), version)
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()
        db = sqlite3.connect(file)
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        assert db.execute("SELECT count(*) FROM run WHERE state = 'running'").fetchone() == (1,)
        with open(out, "w") as sql:
            for name in ("application_id", "user_version"):
                sql.write(f"PRAGMA {name} = {db.execute(f'PRAGMA {name}').fetchone()[0]};\n")
            sql.write("\n".join(db.iterdump()) + "\n")
        db.close()


if __name__ == "__main__":
    make(*sys.argv[1:])
