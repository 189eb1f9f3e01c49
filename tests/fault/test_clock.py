#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The clock stops, jumps back by an hour and a year, and ahead: nothing is stuck, nobody is charged for it, times are
times of the clock, tokens expire by it, what is counted in seconds goes on, and digests are an undisturbed server's."""
import datetime, errno, json, os, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import faults
from faults import FROM_THEN_ON, NAMES, SANITIZED, TRAIN, Daemon, Day, Faults, folder
from daemon import SOAK, tap, until

HOUR, YEAR = 3600 * 10**9, 365 * 24 * 3600 * 10**9
LONG = {**TRAIN, "training": {"epochs": 100000, "batch": 16}, "record": {"every": 1000}}
want = None


def reference():
    global want
    if want is None:
        want = faults.undisturbed()[0]
    return want


class Clocked(Daemon):
    """A daemon whose clocks are the test's: self.control."""

    def __init__(self, path, aside, **more):
        faulty = Faults(path, aside)
        self.faults, self.control = faulty, faulty.control
        self.control.clock = 1
        for name, value in more.pop("clock", {}).items():
            setattr(self.control, name, value)
        super().__init__(path, **faulty.environment, **more)
        self.client.port = self.port


def seconds_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def check_times(d, at):
    """What runs say is near one of the moments `at` (s)."""
    for e in d.client.get("/v1/experiments?limit=100")["experiments"]:
        for r in d.client.get(f"/v1/experiments/{e['id']}")["runs"]:
            run = d.client.run(r["id"])
            for name in ("created_at", "started_at", "ended_at"):
                assert run[name] and min(abs(seconds_of(run[name]) - t) for t in at) < 120, (name, run[name], at)


def a_day(change):
    """An undisturbed day's steps, while `change` makes the clock go wrong after the second."""
    with folder() as path, folder() as aside:
        day = Day(path)
        with Clocked(path, aside) as d:
            steps = day.steps(30.0)
            day.steps = lambda patience: steps[:3]
            assert day.go(d.client), day.told
            change(d.control)
            day.steps = lambda patience: steps
            assert day.go(d.client) and not day.told, day.told
            check_times(d, [time.time(), time.time() + d.control.offset_ns / 1e9, d.control.stopped_ns / 1e9])
            check_users(d)
            d.stop()
        del day.steps
        faults.finish(day)
        day.check_end(reference())


def check_users(d):
    """Nobody has had more of the workers than there was time."""
    for user in d.client.get("/v1/users")["users"]:
        had = user["recent_seconds"]
        assert 0 <= had < 600, f"a user has had {had} s: {user}"


def test_the_clock_stands_still():
    a_day(lambda c: setattr(c, "stopped_ns", time.time_ns()))


def test_the_clock_jumps():
    for jump in (-HOUR, -YEAR, YEAR) if SOAK else (-YEAR,) if SANITIZED else (-YEAR, YEAR):
        a_day(lambda c: setattr(c, "offset_ns", jump))


def test_a_jump_is_charged_to_nobody():
    """Runs that are under way when the clock jumps, and are cancelled or end then."""
    for jump in (-YEAR, YEAR):
        with folder() as path, folder() as aside, Clocked(path, aside) as d:
            endless = d.client.submit(LONG)[1]["runs"][0]
            until("the run to be under way", lambda: d.client.run(endless)["progress"]["step"] > 0)
            d.control.offset_ns = jump
            ended = d.client.submit({**TRAIN, "sweep": {"training.seed": [1, 2, 3]}})[1]["runs"]
            d.await_final(ended)
            queue = d.client.get("/v1/queue")
            for going in queue["running"]:
                now = time.time() + jump / 1e9
                assert abs(seconds_of(going["started_at"]) - now) < 60, (going, now)
            d.client.cancel(f"/v1/runs/{endless}")
            d.await_final([endless])
            check_users(d)
            assert (eta := d.client.submit(TRAIN)[1]) and d.await_final(eta["runs"])
            d.stop()


def test_a_jump_back_holds_up_nobody():
    """A worker that waits a second for a full disk waits a second."""
    with folder() as path, folder() as aside, Clocked(path, aside) as d:
        short = {**TRAIN, "training": {"epochs": 3000, "batch": 16}, "record": {"every": 100, "checkpoint_epochs": 1000}}
        runs = d.client.submit(short)[1]["runs"]
        until("the run to be under way", lambda: d.client.run(runs[0])["progress"]["step"] > 0)
        d.faults.arm(NAMES.index("db-write"), 1, errno.ENOSPC, FROM_THEN_ON)
        until("the run to come to its end", lambda: (p := d.client.run(runs[0])["progress"])["step"] == p["steps"])
        time.sleep(0.5)  # and it cannot say so
        now = d.client.run(runs[0])
        assert now["state"] == "running", now
        d.control.offset_ns = -HOUR
        d.faults.disarm()
        begun = time.monotonic()
        assert d.await_final(runs)[runs[0]]["state"] == "succeeded"
        assert time.monotonic() - begun < 10
        d.stop()


def test_the_monotonic_clock_pauses():
    """As when a machine sleeps: what waits goes on afterwards."""
    with folder() as path, folder() as aside, Clocked(path, aside) as d:
        runs = d.client.submit({**TRAIN, "sweep": {"training.seed": [1, 2, 3, 4]}})[1]["runs"]
        d.control.paused_ns = time.monotonic_ns()
        time.sleep(0.5)
        assert d.client.ask("GET", "/healthz")[0] == 200
        d.control.behind_ns = time.monotonic_ns() - d.control.paused_ns
        d.control.paused_ns = 0
        d.await_final(runs)
        check_users(d)
        d.stop()


def token(path, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TETRAD_")}
    p = subprocess.run([tap.TETRAD, "token", *arguments, "--db", os.path.join(path, "tetrad.db"), "--json"],
                       capture_output=True, text=True, env={**environment, "HOME": path})
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


def test_tokens_expire_by_the_clock_and_failures_by_seconds():
    tomorrow = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).strftime("%Y-%m-%d")
    with folder() as path, folder() as aside, Clocked(path, aside) as d:
        good = token(path, "create", "--user", "ana", "--role", "admin")["token"]
        short = token(path, "create", "--user", "bo", "--role", "member", "--expires", tomorrow)["token"]
        ask = lambda t: d.client.ask("GET", "/v1/me", Authorization="Bearer " + t)[0]
        until("the server to know the tokens", lambda: ask(good) == 200 and ask(short) == 200, 0.7)
        d.control.offset_ns = 49 * HOUR
        until("the token to expire", lambda: ask(short) == 401, 0.7)
        assert ask(good) == 200
        d.control.offset_ns = -YEAR
        until("the token to be good again", lambda: ask(short) == 200, 0.7)
        wrong = "tet_" + "x" * 40
        until("guesses to be held off", lambda: ask(wrong) == 429, 0)
        d.control.offset_ns = YEAR
        assert ask(wrong) == 429, "a jump of the time of day forgives guesses"
        d.control.behind_ns = -120 * 10**9  # two minutes go by: the connection is closed for having been idle
        d.client.close()
        assert ask(wrong) == 401
        d.stop()


def test_a_server_starts_before_its_own_past():
    """Its database is of a year ahead: runs that wait are trained, and later ones."""
    with folder() as path, folder() as aside:
        with Clocked(path, aside, clock={"offset_ns": YEAR}) as d:
            waiting = d.client.submit({**TRAIN, "sweep": {"training.seed": [1, 2]}})[1]["runs"]
            d.kill()
        with Clocked(path, aside) as d:
            d.await_final(waiting)
            later = d.client.submit(TRAIN)[1]["runs"]
            d.await_final(later)
            check_users(d)
            d.stop()


tap.run(globals())
