# SPDX-License-Identifier: Apache-2.0
"""A real daemon for the fault tests: started on a port of its own, killed without fail.

A daemon dies with the test, however that ends: it is killed at exit, and by the kernel (PR_SET_PDEATHSIG) if the test
itself is killed. Temporary folders go with it. Daemons are started by the main thread only."""
import atexit, contextlib, ctypes, http.client, io, json, os, random, select, shutil, signal, sqlite3, subprocess
import sys, tempfile, time, zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

SOAK = bool(os.environ.get("TETRAD_SOAK"))
SEED = int(os.environ.get("TETRAD_SEED") or random.SystemRandom().randrange(1 << 30))
PATIENCE = float(os.environ.get("TETRAD_PATIENCE") or 120.0)  # seconds until a test gives up waiting: nothing but a bug takes that long
IDLE = 30.0  # seconds for which a connection is kept without use; the server keeps it for 60
FINAL = ("succeeded", "diverged", "failed", "cancelled")

libc = ctypes.CDLL(None)
alive = set()


@atexit.register
def kill_all():
    for process in alive:
        process.kill()


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda n, frame: sys.exit(128 + n))  # so that atexit and finally run


def note(text):
    print("# " + text.replace("\n", "\n# "), flush=True)


def start_process(command, **options):
    process = subprocess.Popen(command, preexec_fn=lambda: libc.prctl(1, signal.SIGKILL), **options)
    alive.add(process)
    return process


def until(what, look, pause=0.005):
    """Asks look() until it says something true, and returns that."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}"
        time.sleep(pause)
    return found


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix="tetrad-fault-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Client:
    """One connection that is kept, for one thread. Answers are (status, JSON or bytes)."""

    def __init__(self, port):
        self.connection, self.used = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE), time.monotonic()

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if time.monotonic() - self.used > IDLE:  # the server may have ended it
            self.connection.close()
        self.used = time.monotonic()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.status, json.loads(data.decode("utf-8")) if is_json else data

    def get(self, path):
        status, value = self.ask("GET", path)
        assert status == 200, f"GET {path}: {status} {value}"
        return value

    def submit(self, definition, key=None):
        """(status, answer); 201 or 200."""
        status, value = self.ask("POST", "/v1/experiments", definition, **({"Idempotency_Key": key} if key else {}))
        assert status in (200, 201), f"POST /v1/experiments: {status} {value}"
        assert value["replayed"] == (status == 200), value
        return status, value

    def cancel(self, path):
        status, value = self.ask("POST", path + "/cancel")
        assert status == 200, f"POST {path}/cancel: {status} {value}"
        return value

    def run(self, run):
        return self.get(f"/v1/runs/{run}")

    def metrics(self, run):
        """All of them: {(series, step): value}, with no row twice."""
        rows, after, more = {}, 0, True
        while more:
            page = self.get(f"/v1/runs/{run}/metrics?after={after}")
            add_page(rows, page, after)
            after, more = page["next"], page["more"]
        return rows

    def experiments(self, limit=50):
        """The whole list, page by page."""
        found, cursor = [], ""
        while cursor is not None:
            page = self.get(f"/v1/experiments?limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
            found += page["experiments"]
            cursor = page["next"]
        return found

    def close(self):
        self.connection.close()


def add_page(rows, page, after):
    """Adds a page of metrics to rows; every row must be new and after `after`."""
    for series, one in page["series"].items():
        assert len(one["steps"]) == len(one["values"]) > 0, f"{series}: {one}"
        for step, value in zip(one["steps"], one["values"]):
            assert after < step <= page["next"], f"{series}: step {step} on the page after {after}, next {page['next']}"
            assert (series, step) not in rows, f"{series}: step {step} twice"
            rows[series, step] = value


class Daemon:
    """`tetrad serve` on the database in a folder. As a context, it is killed at the end."""

    def __init__(self, path, workers=2, wait=True, **environment):
        self.path, self.port = path, None
        self.database = os.path.join(path, "tetrad.db")
        self.log = open(os.path.join(path, "stderr"), "ab")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TETRAD_")}
        self.process = start_process(
            [tap.TETRAD, "serve", "--db", self.database, "--data", path, "--listen", "127.0.0.1:0", "--workers",
             str(workers)], stdout=subprocess.PIPE, stderr=self.log, env={**clean, "HOME": path, **environment})
        if wait:
            self.wait_ready()

    def wait_ready(self):
        until("the daemon's first line", lambda: select.select([self.process.stdout], [], [], 0.1)[0])
        line = self.process.stdout.readline().decode()
        assert "http://" in line, f"the daemon did not start: {line!r} {self.said()}"
        self.port = int(line.split("http://", 1)[1].split()[0].rsplit(":", 1)[1])
        self.client = Client(self.port)

    def said(self):
        with open(os.path.join(self.path, "stderr"), "rb") as log:
            return log.read()[-6000:].decode(errors="replace")

    def wait(self, seconds):
        status = self.process.wait(seconds)
        alive.discard(self.process)
        self.process.stdout.close()
        self.log.close()
        if self.port:
            self.client.close()
        return status

    def kill(self):
        """kill -9; it must still have been alive."""
        self.process.kill()
        status = self.wait(PATIENCE)
        assert status == -signal.SIGKILL, f"the daemon had ended before it was killed: {status}\n{self.said()}"

    def stop(self):
        """SIGTERM; exit status 0 within 10 s. Returns the seconds."""
        begun = time.monotonic()
        self.process.terminate()
        try:
            status = self.wait(30)
        except subprocess.TimeoutExpired:
            raise AssertionError("the daemon did not end within 30 s of SIGTERM") from None
        took = time.monotonic() - begun
        assert status == 0, f"the daemon ended with status {status}\n{self.said()}"
        assert took < 10, f"the daemon took {took:.1f} s to end"
        return took

    def await_final(self, runs):
        """The runs, once all are final."""
        return {run: until(f"run {run} to end", lambda: (r := self.client.run(run))["state"] in FINAL and r, 0.02)
                for run in runs}

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None and issubclass(kind, Exception):
            note(f"the daemon said: {self.said()}")
        if self.process.returncode is None:
            self.process.kill()
            self.wait(PATIENCE)


@contextlib.contextmanager
def database(path, running=False):
    """A connection to a copy of the database in a folder, checked for integrity. No daemon may be running, or it is the
    database itself, only to be read."""
    if running:
        connection = sqlite3.connect(f"file:{path}/tetrad.db?mode=ro", uri=True, timeout=PATIENCE)
        try:
            yield connection
        finally:
            connection.close()
        return
    with folder() as copy:
        for name in ("tetrad.db", "tetrad.db-wal", "tetrad.db-journal"):
            if os.path.exists(os.path.join(path, name)):
                shutil.copy(os.path.join(path, name), copy)
        connection = sqlite3.connect(os.path.join(copy, "tetrad.db"))
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            yield connection
        finally:
            connection.close()


def preload(name):
    """The environment that loads build/tests/fault/NAME.so before a program's libraries."""
    build = os.path.dirname(os.path.abspath(tap.TETRAD))
    for flavour in ("address-undefined", "thread"):
        build = build.removesuffix("/" + flavour)
    library = os.path.join(build, "tests/fault", name + ".so")
    assert os.path.exists(library), f"{library} is not there: `make tests` builds it"
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}


def archive(client, experiment):
    """What `tetrad export` writes, of runs that have succeeded."""
    file, whole = io.BytesIO(), client.get(f"/v1/experiments/{experiment}")
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("experiment.json", json.dumps(whole))
        for one in whole["runs"]:
            run = client.run(one["id"])
            out.writestr(f"runs/{run['id']}/run.json", json.dumps(run))
            out.writestr(f"runs/{run['id']}/definition.json", json.dumps(run["definition"]))
            out.writestr(f"runs/{run['id']}/metrics.csv", client.get(f"/v1/runs/{run['id']}/metrics?format=csv"))
            out.writestr(f"runs/{run['id']}/weights.npz", client.get(f"/v1/runs/{run['id']}/weights.npz"))
    return file.getvalue()
