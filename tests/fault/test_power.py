#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The power goes at a random moment of a server's day: of what is not synced, anything may be on the disk (faults_power.h).
The next server has all that was acknowledged, and the day comes to an undisturbed one's end.

Drawn by TETRAD_SEED: 20 cuts (4 of the daemon with sanitizers), with TETRAD_SOAK=1 as many as fall into MINUTES (10).
CUT=change:seed is one alone."""
import os, random, sqlite3, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import faults
from faults import SANITIZED, Daemon, Day, Faults, finish, folder, note
from daemon import SEED, SOAK, database, tap

CUTS = (1 << 30) if SOAK else 4 if SANITIZED else 20
SECONDS = 60 * float(os.environ.get("MINUTES") or 10) if SOAK else 25.0
rng = random.Random(SEED)


def check_checkpoints(path):
    """A checkpoint is never there without the records before it."""
    with database(path) as db:
        for run, wanted in db.execute("SELECT run, max(records) FROM checkpoint WHERE run IN (SELECT id FROM run WHERE"
                                      " experiment NOT IN (SELECT experiment FROM removal)) GROUP BY run"):
            found, = db.execute("SELECT count(*) FROM metric WHERE run = ? AND sequence < ?", (run, wanted)).fetchone()
            assert found == wanted, f"run {run} has a checkpoint after {wanted} records, and {found} of them"


def cut(change, seed, want):
    """How many steps of the day were acknowledged; None: the day was over before."""
    with folder() as path, folder() as aside:
        controls, day = Faults(path, aside), Day(path)
        controls.control.power, controls.control.cut_at, controls.control.seed = 1, change, seed
        with Daemon(path, wait=False, **controls.environment) as d:
            try:
                d.wait_ready()
                d.client.port = d.port
                if day.go(d.client):
                    d.process.terminate()
            except AssertionError as why:
                if "did not start" not in str(why):
                    raise
            status = d.wait(30)
        if status == 0:
            return None
        assert status == -9, f"the server ended with {status} before the cut: {d.said()}"
        assert controls.control.cut_at == 0, "it was not the cut that ended it"
        if os.path.exists(os.path.join(path, "tetrad.db")):
            try:
                check_checkpoints(path)
            except sqlite3.OperationalError as why:  # before there were tables
                assert "no such table" in str(why) and not day.done, why
        acknowledged = len(day.done)
        finish(day)
        day.check_end(want)
    return acknowledged


def test_power_cuts():
    want, _, changes, _ = faults.undisturbed(power=True)
    begun, cuts, acknowledged, failed = time.monotonic(), 0, [], []
    moments = ((rng.randrange(1, changes), rng.randrange(1 << 30)) for _ in range(CUTS))
    if os.environ.get("CUT"):
        moments = [tuple(map(int, os.environ["CUT"].split(":")))]
    for change, seed in moments:
        if time.monotonic() - begun > SECONDS or len(failed) > 100:
            break
        cuts += 1
        try:
            acknowledged.append(cut(change, seed, want))
        except Exception as why:
            if os.environ.get("CUT"):
                raise
            failed.append(change)
            note(f"CUT={change}:{seed}: {type(why).__name__}: {str(why)[:1500]}")
    met = [n for n in acknowledged if n is not None]
    note(f"seed {SEED}: {cuts} cuts among {changes} changes in {time.monotonic() - begun:.0f} s; "
         f"steps acknowledged before: {sorted(met)}; {len(acknowledged) - len(met)} days were over")
    assert not failed, f"{len(failed)} cuts lost something"
    assert met, "the power never went"


tap.run(globals())
