#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any moment of anything that the server does: while experiments of every kind train, while they are
submitted, cancelled, paused, deleted, while datasets and archives are on their way, while it starts, migrates, backs up,
stops. After each kill it starts; all that it acknowledged is there, nothing is half there; in the end every run has the
digest and the metrics that it has when nothing happens.

TETRAD_SEED repeats a run's choices (not its timing); TETRAD_SOAK=1 kills 1,000 times; TETRAD_KILLS=n as often."""
import collections, http.client, os, random, signal, sqlite3, subprocess, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from book import Book, Made, await_removal, check_records, check_rows
from daemon import Daemon, PATIENCE, SEED, SOAK, database, folder, note, tap
from kinds import LAB, SUBMITTED, Follower, Member, Undisturbed, npz

SLOW = 4.0 if "address" in tap.TETRAD or "thread" in tap.TETRAD else 1.0
KILLS = int(os.environ.get("TETRAD_KILLS") or (1000 if SOAK else 30 if SLOW == 1.0 else 12))
REST = 25  # kills after which everything may end, and is deleted
WORKERS, WAITING = 2, 8  # experiments that wait at once
rng = random.Random(SEED)
note(f"seed {SEED}")


class Lab:
    """A folder with a database, and what people do with the server on it until it dies."""

    def __init__(self, path, undisturbed):
        self.path, self.undisturbed, self.book = path, undisturbed, Book(undisturbed)
        self.random, self.number, self.followers = random.Random(SEED + 1), 0, {}
        self.contents = [npz(4000, c) for c in range(3)]
        made = subprocess.run([tap.TETRAD, "token", "create", "--db", path + "/tetrad.db", "--user", "ada", "--role",
                               "admin"], capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        self.token = next(word for word in made.stdout.split() if word.startswith("tet_"))
        with Daemon(path, workers=WORKERS) as daemon:
            client = self.client(daemon)
            assert client.upload(LAB, undisturbed.lab)[0] == 201
            for content, data in enumerate(self.contents):
                status, answer = client.upload("first", data)
                assert status == 201, answer
                self.book.sums[content] = answer["sha256"]
                assert client.ask("DELETE", "/v1/datasets/first")[0] == 200
            status, answer = client.start("lesions", 0, b"")
            self.base_experiment, self.base = answer["id"], answer["runs"][0]
            self.book.made[answer["id"]] = Made("lesions", answer["runs"])
            self.book.tokens[1] = (None, "good")  # ours
            daemon.client.close()
            daemon.client = client
            daemon.await_final(answer["runs"])
            assert client.ask("POST", f"/v1/runs/{self.base}/pin", {})[0] == 200
            self.book.check_server(client, self.base)
            daemon.kill()

    def client(self, daemon):
        return Member(daemon.port, self.token)

    def waiting(self):
        return {e: m for e, m in self.book.made.items() if not m.done}

    # ---- what people do: each an act that is repeated until the server dies ----

    def start(self, client, kind, **how):
        if len(self.waiting()) >= WAITING:
            time.sleep(0.01)
            return None
        self.number += 1
        key = None if kind == "imported" else f"{SEED}-{self.number}"
        if key:
            self.book.asked[key] = kind
        else:
            self.book.imports += 1
        status, answer = client.start(kind, self.base, self.undisturbed.archive, key, **how)
        assert status == 201, (kind, status, answer)
        self.book.counts["acknowledged"] += 1
        self.book.made[answer["id"]] = Made(kind, answer["runs"])
        if key:
            del self.book.asked[key]
        else:
            self.book.imports -= 1
        return answer["id"]

    def submit(self, client):
        self.start(client, self.random.choice([*SUBMITTED, "forked", "rerun"]))

    def take_in(self, client):
        self.start(client, "imported", pieces=12, pause=lambda: time.sleep(self.random.uniform(0, 0.002)))

    def train(self, client):
        for experiment, made in list(self.waiting().items())[-2:]:
            follower = self.followers.setdefault(made.runs[0], Follower(made.runs[0]))
            follower.look(client)
        time.sleep(0.02)
        if len(self.waiting()) < 3:
            self.submit(client)

    def cancel(self, client):
        experiment = self.start(client, "long") or self.random.choice([*self.waiting(), self.base_experiment])
        made = self.book.made[experiment]
        time.sleep(self.random.uniform(0, 0.02))
        one = self.random.choice([None, *made.runs])
        runs = made.runs if one is None else [one]
        made.maybe.update(runs)
        before = {run: client.run(run)["state"] for run in runs}
        client.cancel(f"/v1/experiments/{experiment}" if one is None else f"/v1/runs/{one}")
        made.cancelled.update(run for run in runs if before[run] in ("queued", "paused") or made.kind == "long")

    def hold(self, client):
        if not self.waiting():
            self.submit(client)
        experiment, made = self.random.choice([*self.waiting().items()])
        verb, body = self.random.choice([("pause", None), ("resume", None), ("priority", {"priority": 7})])
        made.paused, made.priority = (made.paused, None) if verb == "priority" else (None, made.priority)
        status, answer = client.ask("POST", f"/v1/experiments/{experiment}/{verb}", body)
        assert status == 200, answer
        if verb == "priority":
            made.priority = 7
        else:
            made.paused = verb == "pause"

    def delete(self, client):
        done = [e for e, m in self.book.made.items() if m.done and e != self.base_experiment]
        if not done:
            return self.train(client)
        experiment = self.random.choice(done)
        self.book.deleting.add(experiment)
        status, answer = client.ask("DELETE", f"/v1/experiments/{experiment}")
        assert status == 200, answer
        self.book.forget(experiment)
        self.book.deleting.discard(experiment)

    def data(self, client):
        name, content = f"up{self.random.randrange(3)}", self.random.randrange(3)
        may = self.book.datasets.setdefault(name, {None})
        assert len(may) == 1, may
        here, = may
        if here is None:
            self.book.datasets[name] = {None, content}
            status, answer = client.upload(name, self.contents[content], pieces=20,
                                           pause=lambda: time.sleep(self.random.uniform(0, 0.001)))
            assert status == 201 and answer["sha256"] == self.book.sums[content], answer
            self.book.datasets[name] = {content}
        elif here == content or self.random.random() < 0.7:
            self.book.datasets[name] = {None, here}
            status, answer = client.ask("DELETE", f"/v1/datasets/{name}")
            assert status == 200, answer
            self.book.datasets[name] = {None}
        else:
            assert client.upload(name, self.contents[content])[0] == 409

    def access(self, client):
        good = [t for t, (text, state) in self.book.tokens.items() if state == "good" and text]
        if len(good) < 2:
            self.book.creating += 1
            status, answer = client.ask("POST", "/v1/tokens", {"user": f"u{self.number}", "role": "viewer"})
            assert status == 201, answer
            self.book.tokens[answer["id"]] = (answer["token"], "good")
            self.book.creating -= 1
        else:
            token = self.random.choice(good)
            text, _ = self.book.tokens[token]
            self.book.tokens[token] = (text, "either")
            status, answer = client.ask("DELETE", f"/v1/tokens/{token}")
            assert status == 200, answer
            self.book.tokens[token] = (text, "revoked")

    def back_up(self, client):
        status, answer = client.ask("POST", "/v1/admin/backup", {})
        assert status in (201, 409), answer  # names are of the second
        if status == 201:
            self.book.backups.add(os.path.basename(answer["file"]))
        time.sleep(0.05)

    def thin(self, client):
        done = {run for m in self.book.made.values() if m.done and m.kind not in ("lesions", "forked") for run in m.runs}
        status, answer = client.ask("POST", "/v1/admin/retention", {"last": 1})
        assert status == 200, answer
        self.book.thinned |= done
        self.submit(client)


MOMENTS = {  # what is done when the kill comes, and within how many seconds of its start it comes
    "train": ("train", 1.2), "submit": ("submit", 0.25), "import": ("take_in", 0.25), "upload": ("data", 0.25),
    "cancel": ("cancel", 0.25), "pause": ("hold", 0.15), "delete": ("delete", 0.1), "token": ("access", 0.05),
    "backup": ("back_up", 0.15), "retention": ("thin", 0.15), "start": (None, 0.06), "stop": ("train", 0.08),
    "migrate": (None, 0.04)}
PLAN = ["submit"] + [moment for moment in MOMENTS for _ in range(4 if moment == "train" else 1) if moment != "submit"]


class People(threading.Thread):
    """Repeats an act until the server dies under it."""

    def __init__(self, lab, daemon, act):
        super().__init__()
        self.act, self.daemon, self.over, self.wrong, self.asking = act, daemon, False, None, False
        self.connection = lab.client(daemon)
        self.start()

    def run(self):
        try:
            while not self.over:
                self.act(self.connection)
        except (OSError, http.client.HTTPException):
            self.asking = True
        except Exception as wrong:
            self.wrong = wrong
        self.connection.close()


def end(daemon):
    """Kills a server that may have ended by itself, as it was told to."""
    daemon.process.kill()
    status = daemon.wait(PATIENCE)
    assert status in (0, -signal.SIGKILL), f"it ended with {status}: {daemon.said()}"


def kill_while(lab, moment):
    """Starts a server, checks everything, kills it in the midst of what is done then. Whether a request was cut off."""
    act, within = MOMENTS[moment]
    delay = rng.uniform(0, within * SLOW)
    if moment == "migrate":
        return kill_migration(delay)
    if moment == "start":
        with Daemon(lab.path, workers=WORKERS, wait=False) as daemon:
            time.sleep(delay)
            daemon.kill()
        return False
    with Daemon(lab.path, workers=WORKERS) as daemon:
        client = lab.client(daemon)
        lab.book.check_server(client, lab.base)
        lab.book.check_folders(lab.path)
        client.close()
        people = People(lab, daemon, getattr(lab, act))
        if moment == "stop":
            time.sleep(delay)
            daemon.process.terminate()
            delay = rng.uniform(0, 0.04 * SLOW)
        time.sleep(delay)
        if moment == "stop":
            end(daemon)
        else:
            daemon.kill()
        people.over = True
        people.join()
        if people.wrong and moment == "stop" and "stopping" in str(people.wrong):
            people.wrong = None  # it may refuse then
        if people.wrong:
            raise people.wrong
        return people.asking


def kill_migration(delay):
    """A database of an older schema: killed while it is brought up to date, until it is."""
    schemas = sorted(os.listdir(os.path.join(tap.ROOT, "schema/sql")))
    version = rng.randrange(1, len(schemas))
    with folder() as path:
        db = sqlite3.connect(path + "/tetrad.db", isolation_level=None)
        for name in schemas[:version]:
            with open(os.path.join(tap.ROOT, "schema/sql", name)) as file:
                db.executescript(file.read())
        with open(os.path.join(tap.ROOT, "server/store/internal.h")) as file:
            application = next(line.split("=")[1].split(",")[0].strip() for line in file
                               if "STORE_APPLICATION_ID =" in line)
        db.executescript(f"PRAGMA application_id = {int(application, 0)}; PRAGMA user_version = {version};"
                         "INSERT INTO experiment (owner, name, hash, created_ms, tags, definition)"
                         " VALUES ('local', 'old', 'sha256:0', 1, '[]', '{}'); PRAGMA journal_mode = WAL;")
        db.close()
        with Daemon(path, workers=1, wait=False) as daemon:
            time.sleep(delay)
            daemon.kill()
        with database(path) as db:
            at, = db.execute("PRAGMA user_version").fetchone()
            assert version <= at <= len(schemas), at
            assert db.execute("SELECT name FROM experiment").fetchall() == [("old",)]
        with Daemon(path, workers=1) as daemon:
            assert [e["name"] for e in daemon.client.experiments()] == ["old"]
            daemon.stop()
        with database(path) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (len(schemas),)
    return False


def rest(lab):
    """Everything may end; it is compared, deleted, and what it took is given back. (pages, free pages)"""
    with Daemon(lab.path, workers=WORKERS) as daemon:
        client = daemon.client = lab.client(daemon)
        lab.book.check_server(client, lab.base)
        for experiment, made in lab.waiting().items():
            made.paused, made.priority = None, None
            if made.kind == "long":
                made.maybe.update(made.runs)
                client.cancel(f"/v1/experiments/{experiment}")
            assert client.ask("POST", f"/v1/experiments/{experiment}/resume")[0] == 200
        for made in lab.waiting().values():
            daemon.await_final(made.runs)
        for run, follower in lab.followers.items():
            if any(run in made.runs for made in lab.book.made.values()):
                follower.look(client)
                assert follower.rows == client.metrics(run), f"run {run}, followed over all deaths"
        lab.followers.clear()
        lab.book.check_server(client, lab.base)
        assert not lab.waiting()
        with database(lab.path, running=True) as db:
            check_records(db)
        attempts = [client.run(run)["attempts"] for made in lab.book.made.values() for run in made.runs]
        for name in lab.book.datasets:
            client.ask("DELETE", f"/v1/datasets/{name}")
            lab.book.datasets[name] = {None}
        for experiment in [e for e in lab.book.made if e != lab.base_experiment]:
            assert client.ask("DELETE", f"/v1/experiments/{experiment}")[0] == 200
            lab.book.forget(experiment)
        await_removal(lab.path)
        lab.book.check_folders(lab.path)
        for name in lab.book.backups:
            check_backup(lab, name)
        lab.book.backups.clear()
        daemon.stop()
        assert not daemon.said(), daemon.said()
    assert not os.path.exists(lab.path + "/tetrad.db-wal"), "its log is left"
    with database(lab.path) as db:
        check_rows(db)
        pages, = db.execute("PRAGMA page_count").fetchone()
        spare, = db.execute("PRAGMA freelist_count").fetchone()
    return pages, spare, max(attempts)


def check_backup(lab, name):
    file = os.path.join(lab.path, "tetrad.db.backups", name)
    db = sqlite3.connect(file)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    os.unlink(file)
    subprocess.run(["rm", "-rf", file + ".files"], check=True)


def test_kill_at_random_moments():
    undisturbed = Undisturbed()
    killed, cut, log, rests, begun = collections.Counter(), collections.Counter(), 0, [], time.monotonic()
    with folder() as path:
        lab = Lab(path, undisturbed)
        for number in range(1, KILLS + 1):
            moment = PLAN[(number - 1) % len(PLAN)]
            asking = kill_while(lab, moment)
            killed[moment] += 1
            cut[moment] += asking
            lab.book.check_file(path, WORKERS)
            wal = path + "/tetrad.db-wal"
            log = max(log, os.path.getsize(wal) if os.path.exists(wal) else 0)
            if number % REST == 0 or number == KILLS:
                rests.append(rest(lab))
                note(f"{number} kills in {time.monotonic() - begun:.0f} s; {lab.book.counts}; {rests[-1]}")
        assert log < 80 << 20, f"the write-ahead log had {log} bytes"
        assert max(pages for pages, _, _ in rests) <= 1.5 * rests[0][0] + 500, f"the database grows: {rests}"
        assert max(spare for _, spare, _ in rests) <= 300, f"free pages are kept: {rests}"
        assert max(attempts for _, _, attempts in rests) >= 3, f"no run was killed twice: {rests}"
    counts = lab.book.counts
    note(f"{KILLS} kills in {time.monotonic() - begun:.0f} s; submissions: {counts['acknowledged']} acknowledged, "
         f"{counts['unanswered']} cut off, {counts['unanswered there']} of them there, whole; {counts['runs compared']} runs"
         f" with the undisturbed digest and metrics; at most {max(a for _, _, a in rests)} attempts; log at most {log >> 10}"
         f" KiB, database {min(p for p, _, _ in rests)} to {max(p for p, _, _ in rests)} pages at rest; by moment (requests"
         f" cut off): {', '.join(f'{m} {n} ({cut[m]})' for m, n in killed.items())}")
    assert sum(cut.values()) >= KILLS // 8, "too few kills fell into a request"
    assert counts["runs compared"] >= KILLS // 4


tap.run(globals())
