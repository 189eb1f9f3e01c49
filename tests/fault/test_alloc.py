#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that is not to be had: each place where the program asks for some is refused once, the rest goes on.

What a daemon is asked for (memory.py) is done once to learn the places (alloc.c); then each is refused at its first
occurrence, and at a later one that is drawn. The answer must be the right one or say that there is no memory; the
daemon lives, answers the same request well, and what it acknowledged is there. The same for the start, the end and the
commands. TETRAD_SEED draws what fits the time; TETRAD_SOAK=1 does all. TETRAD_ONLY=NAME does the steps so named."""
import json, os, random, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import memory
from allocations import FAIL_FROM, FAIL_LARGE, FAIL_ONE, FAIL_SITE, Control, describe, objects_of
from daemon import Daemon, SEED, SOAK, database, folder, note, tap

SECONDS = 20.0      # for the daemon's faults in `make check`
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
            note(f"lost: {name}: {describe(frames, self.objects)}")
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
            if not SOAK and time.monotonic() - begun > SECONDS:
                break
            trial.fail(name, place, n, frames)
        after = trial.check_end()
        note(f"{places} places, {len(trial.places)} faults to try, {done} tried in {time.monotonic() - begun:.1f} s: {trial.faults} failed; "
             f"{trial.tolerated} right all the same, {trial.told} said so, {trial.lost} closed the connection; "
             f"{trial.missed} not come to, {trial.crashes} crashes")
        assert not trial.wrong, "\n".join(trial.wrong[:40])
        assert after <= files + 8, f"{after} open files, {files} before"


tap.run(globals())
