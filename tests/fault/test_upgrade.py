#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Databases of every schema are upgraded with all that they hold, also by a server that is killed meanwhile; one of a
newer schema is refused and left as it is.

tests/unit/data/schemas has what the programs of that time wrote (make.py there). The schemas between were never
released: they are made of the one before by the migrations."""
import hashlib, os, random, sqlite3, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import Daemon, SEED, SOAK, database, folder, note, tap
from schemas import NEWEST, make, released

KEPT = f"tetrad.db.before-{NEWEST:04d}"
note(f"seed {SEED}")
rng = random.Random(SEED)

# What the programs of that time say to `tetrad run` of these definitions.
GOING = "sha256:8f5fb9888e693764d7178f44adf4998dd7022e47f5fb835f08ccb2c8bec15330"
WAITING = "sha256:1e3f5160ade1255f049b2aa645488f39c7cfb8f695e51d81aa4c11c7baffab28"


def holds(db):
    """What users would miss: experiments, runs that have ended, metrics, weights, texts of errors."""
    ended = "(SELECT id FROM run WHERE state = 'succeeded')"
    return {"experiments": db.execute("SELECT id, name, owner, hash, created_ms, definition FROM experiment"
                                      " ORDER BY id").fetchall(),
            "runs": db.execute("SELECT id, experiment, state, hash, digest, step, parameters, definition, created_ms,"
                               " ended_ms FROM run JOIN run_definition ON run = id WHERE state = 'succeeded'"
                               " ORDER BY id").fetchall(),
            "tags": db.execute("SELECT tag, experiment FROM experiment_tag ORDER BY 1, 2").fetchall(),
            "metrics": db.execute("SELECT m.run, s.name, m.step, m.value FROM metric m JOIN series s ON s.id = m.series"
                                  f" WHERE m.run IN {ended} ORDER BY 1, 2, 3").fetchall(),
            "weights": db.execute("SELECT c.run, a.name, a.rows, a.columns, k.data FROM checkpoint c"
                                  " JOIN checkpoint_array a ON a.checkpoint = c.id JOIN checkpoint_chunk k"
                                  " ON k.checkpoint = c.id AND k.ordinal = a.ordinal"
                                  f" WHERE c.run IN {ended} ORDER BY c.run, c.id, a.name, k.chunk").fetchall()}


def version_of(file):
    with open(file, "rb") as opened:
        return int.from_bytes(opened.read(64)[60:64], "big")


def check(path, before):
    """A server opens it: nothing is missing, what was trained goes on to the digest of its time."""
    with Daemon(path, workers=1) as daemon:
        client = daemon.client
        names = {e["name"]: client.get(f"/v1/experiments/{e['id']}") for e in client.experiments()}
        assert set(names) == {"done", "going", "waiting"}, names
        for name, digest in (("going", GOING), ("waiting", WAITING)):
            run = names[name]["runs"][0]["id"]
            ended = daemon.await_final([run])[run]
            assert ended["state"] == "succeeded" and ended["digest"] == digest, ended
            assert client.metrics(run)
            assert name != "going" or any(e["event"] == "resumed" for e in ended["timeline"]), ended["timeline"]
        first = names["done"]["runs"][0]["id"]
        for what in ("", "/metrics?points=20", "/weights", "/weights.npz", "/weights/W1.npy"):
            client.get(f"/v1/runs/{first}{what}")
        status, answer = client.ask("POST", f"/v1/runs/{first}/rerun")  # the old weights, bit for bit
        assert status == 201, answer
        run = answer["id"] if "id" in answer and "runs" not in answer else answer["runs"][0]
        again = daemon.await_final([run])[run]
        assert again["digest"] == client.run(first)["digest"] and again["digest"], again
        daemon.stop()
        assert not daemon.said(), daemon.said()
    with database(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (NEWEST,)
        after = holds(db)
        for what, rows in before.items():
            missing = [row for row in rows if row not in after[what]]
            assert not missing, f"{what}: {missing[:3]}"


def test_every_schema():
    assert released()[-1] == NEWEST, "a released schema lacks its file: tests/unit/data/schemas/make.py"
    between = [v for v in range(1, NEWEST + 1) if v not in released()]
    for version in released() + (between if SOAK else rng.sample(between, 2)):
        with folder() as path:
            make(path, version)
            with database(path) as db:
                before = holds(db)
            assert len(before["runs"]) == 2 and before["metrics"] and before["weights"], before
            check(path, before)
            if version == NEWEST:
                assert not os.path.exists(f"{path}/{KEPT}")
                continue
            os.rename(f"{path}/{KEPT}", f"{path}/tetrad.db")  # what was kept is what it was
            with database(path) as db:
                assert db.execute("PRAGMA user_version").fetchone() == (version,)
                assert holds(db) == before
                assert db.execute("SELECT count(*) FROM run WHERE state = 'running'").fetchone() == (1,)


def test_an_upgrade_that_is_killed():
    """At any moment the file is of the old schema, or of the new one."""
    seen = set()
    with folder() as path:
        make(path, 1)
        begun = time.monotonic()
        with Daemon(path, workers=1) as daemon:
            usual = time.monotonic() - begun
            daemon.stop()
    for k in range(100 if SOAK else 12):
        with folder() as path:
            make(path, rng.choice([1, 2, 5]))
            with database(path) as db:
                before = holds(db)
                old, = db.execute("PRAGMA user_version").fetchone()
            begun = time.monotonic()
            daemon = Daemon(path, workers=1, wait=False)
            time.sleep(rng.uniform(0.2, 1.0) * usual)
            daemon.kill()
            with database(path) as db:
                now, = db.execute("PRAGMA user_version").fetchone()
            assert now in (old, NEWEST), f"killed after {time.monotonic() - begun:.3f} s, it has schema {now}"
            seen.add((now == NEWEST, os.path.exists(f"{path}/{KEPT}")))
            if k < 3 or SOAK:
                check(path, before)
                assert not [f for f in os.listdir(path) if ".part" in f], os.listdir(path)
            assert now == old or version_of(f"{path}/{KEPT}") == old
    note(f"a start takes {usual:.3f} s; (upgraded, copy kept): {sorted(seen)}")


def digests(path):
    found = {}
    for name in sorted(os.listdir(path)):
        if os.path.isfile(f"{path}/{name}") and name != "stderr":
            with open(f"{path}/{name}", "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def test_a_newer_schema():
    """Every command that opens the database refuses it, says both versions and what to do, and changes no byte."""
    with folder() as path:
        make(path, NEWEST)
        file = f"{path}/tetrad.db"
        db = sqlite3.connect(file)
        db.execute(f"PRAGMA user_version = {NEWEST + 1}")
        db.close()
        before = digests(path)
        for command in (["serve", "--listen", "127.0.0.1:0", "--db", file], ["token", "list", "--db", file],
                        ["token", "create", "--db", file, "--user", "eve"],
                        ["backup", f"{path}/copy.db", "--db", file], ["restore", file, "--db", f"{path}/other.db"]):
            p = subprocess.run([tap.TETRAD, *command], capture_output=True, text=True, timeout=60,
                               env={**os.environ, "HOME": path})
            assert p.returncode == 5, (command, p)
            assert f"schema version {NEWEST + 1}" in p.stderr and f"up to {NEWEST};" in p.stderr, p.stderr
            assert "as new as the database" in p.stderr and f"before-NNNN" in p.stderr, p.stderr
            assert p.stdout == "" and p.stderr.count("\n") == 1, p
            left = digests(path)
            left.pop("other.db.lock", None)
            assert left == before, f"{command}: {set(left.items()) ^ set(before.items())}"


def test_back_to_the_older_program():
    """The copy that is kept before an upgrade is a backup as any other."""
    with folder() as path:
        make(path, 5)
        with database(path) as db:
            before = holds(db)
        with Daemon(path, workers=1) as daemon:
            daemon.stop()
        os.mkdir(f"{path}/back")
        p = subprocess.run([tap.TETRAD, "restore", f"{path}/{KEPT}", "--db", f"{path}/back/tetrad.db"],
                           capture_output=True, text=True, env={**os.environ, "HOME": path})
        assert p.returncode == 0, p
        assert version_of(f"{path}/back/tetrad.db") == 5
        check(f"{path}/back", before)


def test_no_upgrade_without_a_copy():
    """A folder in which nothing can be made: the server says so, and the database is as it was."""
    with folder() as path:
        make(path, 5)
        os.mkdir(f"{path}/{KEPT}")  # in the copy's place
        open(f"{path}/{KEPT}/x", "w").close()
        daemon = Daemon(path, workers=1, wait=False)
        assert daemon.wait(60) == 9
        assert KEPT in daemon.said() and daemon.said().count("\n") == 1, daemon.said()
        with database(path) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (5,)


tap.run(globals())
