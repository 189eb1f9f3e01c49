#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that is not to be had: each place where the program asks for some is refused once, the rest goes on.

What a daemon is asked for (memory.py) is done once to learn the places (alloc.c); then each is refused at its first
occurrence, and at a later one that is drawn. The answer must be the right one or say that there is no memory; the
daemon lives, answers the same request well, and what it acknowledged is there. The same for the start, the end and the
commands. TETRAD_SEED draws what fits TETRAD_SECONDS; TETRAD_SOAK=1 does all. TETRAD_ONLY=NAME does the steps so named."""
import json, os, random, shutil, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import memory, schemas
from allocations import FAIL_FROM, FAIL_LARGE, FAIL_ONE, FAIL_SITE, Control, describe, objects_of
from daemon import Daemon, SEED, SOAK, database, folder, note, tap

SECONDS = 3600.0 if SOAK else float(os.environ.get("TETRAD_SECONDS") or 8)  # for the daemon's faults
ONLY = os.environ.get("TETRAD_ONLY", "")
note(f"seed {SEED}")
rng = random.Random(SEED)


def attempt(step):
    try:
        return step()
    except memory.Refused as refused:
        return refused.args


def is_told(result):
    """Whether an answer says that there is no memory."""
    status, said = result
    if not isinstance(said, dict):
        return False
    if status == 201:  # a run that was made, and how it ended
        return said["state"] in ("failed", "paused") and "memory" in (said["reason"] or "")
    return status == 503 and said["error"]["code"] in ("out_of_memory", "busy")  # busy: no memory for a connection


class Trial:
    """A daemon, the scenario, what was found."""

    def __init__(self, path):
        self.path, self.control = path, Control(path)
        self.faults = self.tolerated = self.told = self.lost = self.missed = self.crashes = 0
        self.wrong, self.normal, self.places, self.scenario = [], {}, [], None
        self.start()

    def start(self):
        self.daemon = Daemon(self.path, workers=1, **self.control.environment())
        if self.scenario is None:
            self.objects = objects_of(self.daemon.process)
            self.scenario = memory.Scenario(self.daemon.port, self.path + "/tetrad.db.backups")
            self.steps = {n: s for n, s in self.scenario.named().items() if ONLY in n}
        self.scenario.asker.port = self.daemon.port
        for name, step in self.steps.items():
            result = attempt(step)
            assert self.normal.setdefault(name, result) == result, f"{name}: {result}, and before {self.normal[name]}"

    def learn(self):
        """The places of each step: [(step, place, occurrence)]."""
        seen, later = set(), []
        for name, step in self.steps.items():
            self.control.record()
            result = attempt(step)
            found = self.control.recorded()
            assert result == self.normal[name], f"{name}: {result}, and before {self.normal[name]}"
            for place, (count, _, frames) in found.items():
                if place not in seen:
                    self.places.append((name, place, 1, frames))
                if count > 1:
                    later.append((name, place, rng.randint(2, count), frames))
            seen |= found.keys()
        rng.shuffle(later)
        kept = set()
        for one in later:  # of all steps that come to a place later on, one is drawn
            if one[1] not in kept:
                self.places.append(one)
                kept.add(one[1])
        rng.shuffle(self.places)
        return len(seen)

    def blame(self, name, what, frames, n):
        where = describe(frames, self.objects)
        self.wrong.append(f"{name}: {what}: occurrence {n} of {where}")
        note(self.wrong[-1])

    def died(self):
        return self.daemon.process.poll() is not None

    def fail(self, name, place, n, frames):
        step = self.steps[name]
        self.control.arm(FAIL_SITE, place, n)
        try:
            result = attempt(step)
        except Exception as error:
            result = (-1, repr(error))
        failed = self.control.disarm()
        if self.died() or result[0] == -1 and self.gone():
            self.crashes += 1
            self.blame(name, f"the daemon died ({self.daemon.process.returncode}) {self.daemon.said()[-1500:]}", frames, n)
            self.daemon.wait(10)
            return self.start()
        if not failed:
            self.missed += 1
            return None
        self.faults += 1
        if result == self.normal[name]:
            self.tolerated += 1
        elif is_told(result):
            self.told += 1
        elif result[0] == 0:
            self.lost += 1
            note(f"lost: {name}: {result[1]}: {describe(frames, self.objects)}")
        else:
            self.blame(name, f"{str(result)[:200]}", frames, n)
        return self.again(name, frames, n)

    def gone(self):
        time.sleep(0.3)
        return self.died()

    def again(self, name, frames, n):
        """The same request is answered well."""
        try:
            result = attempt(self.steps[name])
        except Exception as error:
            result = (-1, repr(error))
        if result != self.normal[name]:
            self.blame(name, f"the next answer was {str(result)[:600]}", frames, n)
        if self.died():
            self.daemon.wait(10)
            self.start()

    def check_end(self):
        """The daemon ends well; what was acknowledged is in the database, with its digest."""
        files = len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))
        self.daemon.stop()
        with database(self.path) as db:
            assert db.execute("SELECT count(*) FROM run WHERE state IN ('queued', 'running')").fetchone()[0] == 0
            digests = {}
            for key, digest in db.execute("SELECT hash, digest FROM run WHERE state = 'succeeded'"):
                digests.setdefault(key, set()).add(digest)
            assert all(len(found) == 1 for found in digests.values()), digests
            for experiment, runs in self.scenario.made.items():
                for run, ended in runs.items():
                    if ended and ended["state"] == "succeeded":
                        found = db.execute("SELECT digest FROM run WHERE id = ?", (run,)).fetchone()
                        assert found == (ended["digest"],), f"run {run}: {found}, acknowledged {ended['digest']}"
        backups = self.path + "/tetrad.db.backups"
        left = [f for f in os.path.isdir(backups) and os.listdir(backups) or () if not f.endswith((".db", ".db.files"))]
        assert not left, left
        return files


def test_each_place_of_a_daemon():
    with folder() as path:
        trial = Trial(path)
        begun = time.monotonic()
        places = trial.learn()
        files = len(os.listdir(f"/proc/{trial.daemon.process.pid}/fd"))
        for done, (name, place, n, frames) in enumerate(trial.places, 1):
            if time.monotonic() - begun > SECONDS:
                break
            trial.fail(name, place, n, frames)
        after = trial.check_end()
        note(f"{places} places, {len(trial.places)} faults to try, {done} tried in {time.monotonic() - begun:.1f} s: {trial.faults} failed; "
             f"{trial.tolerated} right all the same, {trial.told} said so, {trial.lost} closed the connection; "
             f"{trial.missed} not come to, {trial.crashes} crashes")
        assert not trial.wrong, "\n".join(trial.wrong[:40])
        assert after <= files + 8, f"{after} open files, {files} before"


# ---- the start and the end ----

def one_start(path, control):
    """A server, from its start to its end: (exit status, what it said)."""
    with Daemon(path, workers=1, wait=False, **control.environment()) as daemon:
        line = daemon.process.stdout.readline().decode()
        if "http://" in line:
            daemon.process.terminate()
        return daemon.wait(60), daemon.said()


def test_each_place_of_a_start():
    """With an upgrade on the way. It serves, or says why not, and the next start is good."""
    with folder() as path, folder() as own:
        schemas.make(path, 5)
        control, again = Control(own), f"{own}/again"
        shutil.copytree(path, again)
        control.record()
        assert one_start(again, control) == (0, "")
        places = [(p, n, f) for p, (count, ours, f) in control.recorded().items() if ours
                  for n in {1, rng.randint(1, count)}]
        rng.shuffle(places)
        began, wrong, done, refused, objects = time.monotonic(), [], 0, 0, {}
        for place, n, frames in places:
            if time.monotonic() - began > SECONDS / 3:
                break
            shutil.rmtree(again)
            shutil.copytree(path, again)
            control.arm(FAIL_SITE, place, n)
            status, said = one_start(again, control)
            done += control.disarm() > 0
            refused += status != 0
            if status < 0 or status != 0 and ("memory" not in said or not said.startswith("tetrad: ")):
                wrong.append(f"{status} {said[-300:]}: occurrence {n} of {describe(frames, objects)}")
            status, said = one_start(again, control)
            if status != 0 or said[:-1].count("\n") > 3:
                wrong.append(f"the next start: {status} {said[-300:]}: occurrence {n} of {describe(frames, objects)}")
            with database(again) as db:
                assert db.execute("SELECT count(*) FROM run").fetchone() == (4,)
                assert db.execute("PRAGMA user_version").fetchone() == (schemas.NEWEST,)
        note(f"{len(places)} faults to try, {done} failed in {time.monotonic() - began:.1f} s, {refused} starts refused")
        assert not wrong, "\n".join(wrong[:40])


# ---- commands ----

SAME = {"run bad", "rules", "a rule", "audit", "completion", "show a run", "summary"}  # in what they print


def commands(path, port):
    """{name: arguments}"""
    one, server = f"{path}/one.json", ["--server", f"http://127.0.0.1:{port}"]
    with open(one, "w") as file:
        json.dump(memory.SWEEP, file)
    with open(f"{path}/bad.json", "w") as file:
        json.dump(memory.BAD, file)
    with open(f"{path}/up.csv", "wb") as file:
        file.write(memory.csv(1))
    here = {"run": ["run", one, "--out", f"{path}/out.npz", "--metrics", f"{path}/out.csv"],
            "run bad": ["run", f"{path}/bad.json"], "rules": ["rules"], "a rule": ["rules", "sal"], "audit": ["audit"],
            "completion": ["completion", "bash"], "token": ["token", "create", "--db", f"{path}/t.db", "--user", "ann", "--role", "member"],
            "tokens": ["token", "list", "--db", f"{path}/t.db"],
            "backup": ["backup", f"{path}/copy.db", "--db", f"{path}/t.db"],
            "restore": ["restore", f"{path}/whole.db", "--db", f"{path}/r.db"]}
    there = {"submit": ["submit", one, "--watch"], "submit json": ["submit", one, "--json"],
             "submit bad": ["submit", f"{path}/bad.json"], "list": ["list"], "list json": ["list", "--json"],
             "show": ["show", "1"], "show a run": ["show", "r1"], "summary": ["summary", "1"], "queue": ["queue"],
             "watch": ["watch", "1"], "export": ["export", "1", "--out", f"{path}/export"],
             "import": ["import", f"{path}/exported"], "datasets": ["dataset", "list"],
             "upload": ["dataset", "upload", f"{path}/up.csv", "--name", "up", "--label", "label"],
             "fork": ["fork", "r1", "--step", "4", "--changes", '{"optimizer.lr": 0.02}'], "rerun": ["rerun", "r1"]}
    return {**here, **{name: [*command, *server] for name, command in there.items()}}


def test_each_place_of_a_command():
    with folder() as path, Daemon(path, workers=1) as daemon:
        daemon.await_final(daemon.client.submit(memory.definition())[1]["runs"])
        control = Control(path)

        def do(command):
            for left in ("copy.db", "out.npz", "out.csv", "r.db", "export"):
                shutil.rmtree(f"{path}/{left}", ignore_errors=True)
                if os.path.isfile(f"{path}/{left}"):
                    os.unlink(f"{path}/{left}")
            return subprocess.run([tap.TETRAD, *command], capture_output=True, text=True, timeout=120, errors="replace",
                                  env={**os.environ, **control.environment(), "HOME": path, "TETRAD_DATA": path})
        all_of_them = {n: c for n, c in commands(path, daemon.port).items() if ONLY in n}
        do(["token", "create", "--db", f"{path}/t.db", "--user", "ann", "--role", "member"])
        do(["backup", f"{path}/whole.db", "--db", f"{path}/t.db"])
        do(["export", "1", "--out", f"{path}/exported", "--server", f"http://127.0.0.1:{daemon.port}"])
        places, normal, objects = [], {}, {}
        for name, command in all_of_them.items():
            control.record()
            p = do(command)
            found = control.recorded()
            same = name in SAME and p.stdout == do(command).stdout
            normal[name] = p.returncode, p.stdout if same else None
            assert p.returncode == {"run bad": 3, "submit bad": 3, "audit": 1}.get(name, 0), (name, p)
            places += [(name, place, n, f) for place, (count, ours, f) in found.items() if ours
                       for n in {1, rng.randint(1, count)}]
        rng.shuffle(places)
        began, wrong, failed, told = time.monotonic(), [], 0, 0
        for name, place, n, frames in places:
            if time.monotonic() - began > SECONDS / 3:
                break
            control.arm(FAIL_SITE, place, n)
            p = do(all_of_them[name])
            if not control.disarm():
                continue
            failed += 1
            status, out = normal[name]
            if p.returncode == status and (out is None or p.stdout == out):
                continue
            told += 1
            if "gcov" in describe(frames, objects):
                continue  # what counts the lines, at the end of all
            if p.returncode == 7 and "resolve host" in p.stderr:
                continue  # so libcurl calls it
            if p.returncode == -11 and "client_open" in describe(frames, objects):
                note(f"{name}: died of libcrypto 3.0, whose start libcurl takes for granted")
                continue
            if p.returncode <= 0 or "tetrad: " not in p.stderr or "memory" not in p.stderr:
                wrong.append(f"{name}: {p.returncode} {p.stderr[-300:]!r} {p.stdout[-80:] if p.returncode == 0 else ''}: "
                             f"occurrence {n} of {describe(frames, objects)}")
                note(wrong[-1])
        note(f"{len(all_of_them)} commands, {len(places)} faults to try, {failed} failed in {time.monotonic() - began:.1f}"
             f" s, {told} of them said so")
        assert not wrong, "\n".join(wrong[:40])


# ---- more than one ----

def test_no_memory_for_a_while():
    """All fail from one on, or all large ones; once there is memory again, all is well."""
    with folder() as path:
        trial = Trial(path)
        steps = list(trial.steps.items())
        for k in range(len(steps) * 3 if SOAK else 40):
            name, step = rng.choice(steps)
            if k % 2:
                trial.control.arm(FAIL_FROM, n=rng.randint(1, 400))
            else:
                trial.control.arm(FAIL_LARGE, size=rng.choice([100, 1000, 10000, 100000]))
            ask = memory.Asker(trial.daemon.port)
            ask.ask("GET", "/v1/runs/1"), ask.ask("POST", "/v1/experiments", memory.definition())
            ask.ask("GET", rng.choice(trial.scenario.paths()))
            trial.control.disarm()
            assert not trial.died(), trial.daemon.said()
            trial.scenario.settle()
            result = attempt(step)
            assert result == trial.normal[name], f"{name}: {result}, and before {trial.normal[name]}"
        trial.check_end()


tap.run(globals())
