# SPDX-License-Identifier: Apache-2.0
"""What a server has acknowledged, and what it was asked and never answered: kept by the test, over all the server's
deaths. An answer is a promise; what was not answered may be there, whole, or not at all."""
import os

from daemon import FINAL, database, until
from kinds import Member, compare, outcome


class Made:
    """An experiment that is there."""

    def __init__(self, kind, runs):
        self.kind, self.runs = kind, runs
        self.cancelled, self.maybe = set(), set()  # runs whose cancellation was acknowledged, or asked for
        self.paused, self.priority = None, None    # as acknowledged; None: nothing was, or it is in doubt
        self.done = False                          # all its runs have ended, and were compared


class Book:
    def __init__(self, undisturbed):
        self.undisturbed = undisturbed
        self.made, self.asked, self.imports = {}, {}, 0  # asked: {key: kind} of submissions without an answer
        self.deleted, self.deleting = set(), set()
        self.datasets, self.sums = {}, {}        # {name: contents that it may have, None: not there}; {content: sha256}
        self.tokens, self.creating = {}, 0       # {id: (text, "good", "revoked" or "either")}
        self.backups, self.thinned = set(), set()  # files; runs that retention has seen
        self.ended = {}                          # {run: its row}, which never changes again
        self.counts = dict.fromkeys(("acknowledged", "unanswered", "unanswered there", "runs compared"), 0)

    # ---- after a kill, before the next start ----

    def check_file(self, path, workers):
        """The database is sound, and what was acknowledged is in it."""
        file = os.path.join(path, "tetrad.db")
        assert os.path.getsize(file) > 0, "there is no database"
        with database(path) as db:
            rows = {r[0]: r[1:] for r in db.execute("SELECT id, experiment, state, digest, ended_ms, attempts FROM run")}
            gone = {e for e, in db.execute("SELECT experiment FROM removal")}
            for experiment, made in self.made.items():
                for run in made.runs:
                    there = run in rows and rows[run][0] == experiment and experiment not in gone
                    assert there or experiment in self.deleting, f"run {run} of experiment {experiment} is lost"
            assert sum(row[1] == "running" for row in rows.values()) <= workers, "too many runs are running"
            for run, row in self.ended.items():
                assert rows.get(run, row) == row, f"run {run} had ended as {row} and is now {rows[run]}"
            self.ended.update({run: row for run, row in rows.items() if row[1] in FINAL})
            self.ended = {run: row for run, row in self.ended.items() if run in rows}
            ends = "event IN ('succeeded', 'diverged', 'failed', 'cancelled')"
            twice = db.execute(f"SELECT run, count(*) n FROM timeline WHERE {ends} GROUP BY run HAVING n > 1").fetchall()
            assert not twice, f"runs that ended twice: {twice}"
            lost = db.execute("SELECT id FROM run WHERE state = 'succeeded' AND NOT EXISTS (SELECT 1 FROM checkpoint WHERE"
                              " run = run.id) AND NOT EXISTS (SELECT 1 FROM protocol_result p WHERE p.run = run.id)"
                              " AND experiment NOT IN (SELECT experiment FROM removal)").fetchall()
            assert not lost, f"runs without their end: {lost}"
            many = [r for r, in db.execute("SELECT run FROM checkpoint GROUP BY run HAVING count(*) > 1")]
            assert not self.thinned.intersection(many), f"retention of {self.thinned.intersection(many)} is undone"
            check_counters(db)

    # ---- after the next start ----

    def check_server(self, client, base):
        """Settles what was in doubt, compares what has ended."""
        self.settle_submissions(client, base)
        there = {e["id"] for e in client.experiments()}
        lost = self.made.keys() - there - self.deleting
        assert not lost, f"lost: {lost}"
        assert not there & self.deleted, f"deleted, and there again: {there & self.deleted}"
        for experiment in self.deleting - there:
            self.forget(experiment)
        self.deleting.clear()
        for experiment in sorted(there - self.made.keys()):
            assert self.imports > 0, f"nobody asked for experiment {experiment}"
            self.imports -= 1
            self.adopt("imported", experiment, client)
        self.imports = 0
        for experiment, made in self.made.items():
            if not made.done:
                self.look(client, experiment, made)
        self.check_datasets(client)
        self.check_tokens(client)

    def settle_submissions(self, client, base):
        for key, kind in self.asked.items():
            status, answer = client.start(kind, base, b"", key)
            assert status in (200, 201), (kind, status, answer)
            assert client.start(kind, base, b"", key)[1]["runs"] == answer["runs"], f"{key} made two experiments"
            self.counts["unanswered"] += 1
            self.counts["unanswered there"] += status == 200
            self.adopt(kind, answer["id"], client, answer["runs"])
        self.asked.clear()

    def adopt(self, kind, experiment, client, runs=None):
        if experiment in self.made:
            return
        found = [r["id"] for r in client.get(f"/v1/experiments/{experiment}")["runs"]]
        assert runs in (None, found), f"experiment {experiment} was told as {runs} and has {found}"
        want = 1 if kind == "long" else len(self.undisturbed.want[kind])
        assert len(found) == want, f"{kind}: half of an experiment is there: {found}"
        self.made[experiment] = Made(kind, found)

    def forget(self, experiment):
        self.deleted.add(experiment)
        self.thinned -= set(self.made.pop(experiment).runs)

    def look(self, client, experiment, made):
        whole = client.get(f"/v1/experiments/{experiment}")
        states = {r["id"]: r["state"] for r in whole["runs"]}
        assert list(states) == made.runs, f"experiment {experiment} has runs {list(states)}, of {made.runs}"
        for run, state in states.items():
            assert run not in made.cancelled or state == "cancelled", f"run {run} was cancelled and is {state}"
            assert made.paused is not True or state in ("paused", *FINAL), f"run {run} was paused and is {state}"
            assert made.paused is not False or state != "paused", f"run {run} was resumed and is paused"
        if made.priority is not None:
            runs = [client.run(r) for r, state in states.items() if state == "queued"]
            assert all(r["priority"] == made.priority for r in runs), f"priority of {experiment}: {made.priority}"
        if all(state in FINAL for state in states.values()):
            self.compare(client, made)

    def compare(self, client, made):
        for number, run in enumerate(made.runs):
            got = outcome(client, run)
            if got["state"] == "cancelled":
                assert run in made.cancelled | made.maybe, f"nobody cancelled run {run}"
                continue
            assert made.kind != "long", got["state"]
            compare(got, self.undisturbed.want[made.kind][number], f"{made.kind}, run {run}")
            self.counts["runs compared"] += 1
        made.done = True

    def check_datasets(self, client):
        found = {d["name"]: d["sha256"] for d in client.get("/v1/datasets")["datasets"] if d["source"] == "upload"}
        for name, may in self.datasets.items():
            sums = {None if content is None else self.sums[content] for content in may}
            assert found.get(name) in sums, f"dataset {name} is {found.get(name)}, may be {sums}"
            self.datasets[name] = {content for content in may
                                   if (None if content is None else self.sums[content]) == found.get(name)}

    def check_tokens(self, client):
        listed = {t["id"]: t["revoked_at"] is not None for t in client.get("/v1/tokens")["tokens"]}
        assert self.tokens.keys() <= listed.keys(), f"tokens are lost: {self.tokens.keys() - listed.keys()}"
        new = listed.keys() - self.tokens.keys()
        assert len(new) <= self.creating, f"nobody asked for tokens {new}"
        self.creating = 0
        for token, revoked in listed.items():
            text, state = self.tokens.get(token, (None, "either"))
            assert state == "either" or revoked == (state == "revoked"), f"token {token} was {state}, revoked: {revoked}"
            self.tokens[token] = (text, "revoked" if revoked else "good")
        for text, state in list(self.tokens.values())[-3:]:
            if text:
                other = Member(client.connection.port, text)
                status = other.ask("GET", "/v1/me")[0]
                other.close()
                assert status == (200 if state == "good" else 401), f"a token that is {state}: {status}"

    def check_folders(self, path):
        """While a server runs and nobody does anything: no file without an owner, nothing half."""
        with database(path, running=True) as db:
            owned = {sha.split(":")[1] + ".npz" for sha, in db.execute("SELECT DISTINCT sha256 FROM dataset")}
        files = {f for _, _, names in os.walk(path + "/tetrad.db.files") for f in names} - {"lock"}
        assert files == owned, f"files without an owner, or owners without a file: {files ^ owned}"
        assert not [f for f in os.listdir(path + "/tetrad.db.files/incoming")], "the rest of an upload"
        backups = set(os.listdir(path + "/tetrad.db.backups")) if os.path.isdir(path + "/tetrad.db.backups") else set()
        assert not [f for f in backups if not f.endswith((".db", ".db.files"))], f"half a backup: {backups}"
        assert self.backups <= backups, f"backups are lost: {self.backups - backups}"
        known = ("tetrad.db", "tetrad.db-wal", "tetrad.db-shm", "tetrad.db.lock", "tetrad.db.files", "tetrad.db.backups",
                 "tetrad.db.reserve", "stderr")
        assert set(os.listdir(path)) <= set(known), f"left in the folder: {set(os.listdir(path)) - set(known)}"


def check_counters(db):
    for state in ("queued", "running", "paused", *FINAL):
        counted = db.execute(f"SELECT coalesce(sum({state}), 0) FROM experiment_runs").fetchone()[0]
        real = db.execute("SELECT count(*) FROM run WHERE state = ? AND experiment NOT IN (SELECT experiment FROM"
                          " removal)", (state,)).fetchone()[0]  # the others go little by little
        assert counted == real, f"{state}: counted {counted}, there are {real}"


def check_records(db):
    """Of runs that have ended: rows numbered without a gap, last values right."""
    for run, n, low, high, records in db.execute(
            "SELECT run, count(*), min(sequence), max(sequence), (SELECT records FROM run WHERE id = run) FROM metric"
            " GROUP BY run"):
        assert (low, high + 1, records) == (0, n, n), f"run {run}: {n} rows, numbers {low} to {high}, {records}"
    wrong = db.execute("SELECT run, series, max(step), value FROM metric GROUP BY run, series EXCEPT"
                       " SELECT run, series, step, value FROM final").fetchall()
    assert not wrong, f"last values: {wrong[:3]}"


def check_rows(db):
    """In the end: nothing of what is gone, nothing under way."""
    for table, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = {c[1] for c in db.execute(f"PRAGMA table_info({table})")}
        for column in columns & {"run", "experiment", "checkpoint"} - ({"experiment"} if table == "audit" else set()):
            left = db.execute(f"SELECT count(*) FROM {table} WHERE {column} NOT IN (SELECT id FROM {column})").fetchone()
            assert left[0] == 0, f"{table}: rows of a {column} that is gone"
    assert not db.execute("SELECT 1 FROM run WHERE state = 'running'").fetchall()
    assert not db.execute("SELECT 1 FROM attempt").fetchall(), "an attempt of no run that runs"


def await_removal(path):
    """Until what was deleted is gone, and its pages are given back."""
    def gone():
        with database(path, running=True) as db:
            return not db.execute("SELECT 1 FROM removal").fetchall() and db.execute("PRAGMA freelist_count").fetchone()[0] < 200
    until("what is deleted to go", gone, 0.02)
