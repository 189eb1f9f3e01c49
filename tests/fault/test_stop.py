#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One digest and one set of metrics for a definition, wherever and in however many pieces it is trained: `tetrad run`,
the server with one worker or two, any vector width, SIGTERM in the middle of an epoch or an evaluation. And the
checkpoints on the way are what shorter runs end with. (What kill -9 does: test_kill.py.)

TETRAD_SEED repeats a run's choices (not its timing)."""
import io, json, os, random, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from book import check_records, check_rows
from daemon import Daemon, FINAL, SEED, SOAK, database, folder, note, tap, until
from kinds import Follower

TERMS = 40 if SOAK else 4
note(f"seed {SEED}")
rng = random.Random(SEED)


def definition(units=(96, 96), train=1000, epochs=8, every=4, batch=32, test=500, **more):
    return {"name": "fault", "dataset": {"name": "strokes", "train": train, "test": test},
            "network": {"layers": [{"units": n} for n in units]}, "rule": {"name": "sal"},
            "optimizer": {"lr": 0.05, "decay": 0.001}, "training": {"epochs": epochs, "batch": batch, "seed": 1},
            "record": {"every": every}, **more}


# The points of the sweep.
POINTS = [{"rule.name": "sal", "optimizer.lr": 0.05, "optimizer.momentum": 0.0, "training.seed": 3},
          {"rule.name": "bp", "optimizer.lr": 0.01, "optimizer.momentum": 0.9, "training.seed": 2},
          {"rule.name": "kp", "optimizer.lr": 0.02, "optimizer.momentum": 0.5, "training.seed": 1},
          {"rule.name": "sal", "optimizer.lr": 0.02, "optimizer.momentum": 0.5, "training.seed": 1}]
SWEEP = definition(sweep=[{k: [v] for k, v in point.items()} for point in POINTS])


def at_point(point, base):
    one = json.loads(json.dumps(base))
    one.pop("sweep", None)
    for path, value in point.items():
        section, field = path.split(".")
        one[section][field] = value
    return one


def key_of(parameters):
    """A run's point, without what all of them have in common."""
    return f"{parameters.get('rule.name')} {float(parameters.get('optimizer.momentum', 0))}"


def await_step(daemon, run, step):
    """Waits until a run is at a step; it must not end before."""
    def look():
        now = daemon.client.run(run)
        assert now["state"] not in FINAL, now
        return now["progress"]["step"] >= step
    until(f"step {step} of run {run}", look, 0.0)


def await_experiment(daemon, runs):
    """{parameters: (digest, metrics)} of runs that must succeed."""
    ended = daemon.await_final(runs)
    for run in ended.values():
        assert run["state"] == "succeeded", run
        assert run["progress"]["step"] == run["progress"]["steps"], run
    return {key_of(run["parameters"]): (run["digest"], daemon.client.metrics(i)) for i, run in ended.items()}


def same_metrics(got, want, what):
    missing, extra = want.keys() - got.keys(), got.keys() - want.keys()
    assert not missing, f"{what}: {len(missing)} metrics missing: {sorted(missing)[:5]}"
    assert not extra, f"{what}: {len(extra)} metrics too many: {sorted(extra)[:5]}"
    differ = [(k, got[k], want[k]) for k in want if got[k] != want[k]]
    assert not differ, f"{what}: {len(differ)} metrics differ: {differ[:5]}"


def same(got, want, what):
    assert got[0] == want[0], f"{what}: digest {got[0]}, want {want[0]}"
    same_metrics(got[1], want[1], what)


def command(one, **environment):
    """(digest, metrics) of `tetrad run`."""
    with folder() as path:
        with open(f"{path}/it.json", "w") as file:
            json.dump(one, file)
        p = subprocess.run([tap.TETRAD, "run", f"{path}/it.json", "--data", path, "--metrics", f"{path}/it.csv"],
                           capture_output=True, text=True, env={**os.environ, "HOME": path, **environment})
        assert p.returncode == 0, p.stderr
        digest = [line.split()[1] for line in p.stdout.splitlines() if line.split()[:1] == ["digest"]]
        with open(f"{path}/it.csv") as file:
            lines = [line.rstrip("\n").split(",") for line in file][1:]
    assert len(digest) == 1, p.stdout
    rows = {}
    for _, step, series, value in lines:
        assert (series, int(step)) not in rows, f"{series}: step {step} twice"
        rows[series, int(step)] = float(value) if np.isfinite(float(value)) else None
    return digest[0], rows


undisturbed = {}  # parameters of SWEEP: (digest, metrics); filled by the first test that needs it
duration = 0.0    # seconds that SWEEP took on two workers


def reference():
    """What SWEEP gives when nothing happens."""
    global duration
    if not undisturbed:
        with folder() as path, Daemon(path) as daemon:
            begun = time.monotonic()
            _, answer = daemon.client.submit(SWEEP)
            undisturbed.update(await_experiment(daemon, answer["runs"]))
            duration = time.monotonic() - begun
            daemon.stop()
        assert len(undisturbed) == len(POINTS)
        assert len({digest for digest, _ in undisturbed.values()}) == len(POINTS)
        note(f"undisturbed: {len(POINTS)} runs in {duration:.2f} s on 2 workers, "
             f"{sum(len(rows) for _, rows in undisturbed.values())} metrics")
    return undisturbed


# ---- one digest ----

def test_one_digest_on_one_and_two_workers_and_without_a_server():
    want = reference()
    with folder() as path, Daemon(path, workers=1) as daemon:
        _, answer = daemon.client.submit(SWEEP)
        for point, got in await_experiment(daemon, answer["runs"]).items():
            same(got, want[point], f"one worker, {point}")
        daemon.stop()
    for point in POINTS:
        same(command(at_point(point, SWEEP)), want[key_of(point)], f"tetrad run, {point}")


def test_one_digest_on_every_vector_width():
    with open("/proc/cpuinfo") as file:
        flags = next((set(line.split()) for line in file if line.startswith("flags")), set())
    widths = ["scalar"]
    if {"avx2", "fma"} <= flags:
        widths.append("avx2")
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        widths.append("avx512")
    note("vector widths: " + " ".join(widths))
    tiny = definition(units=(37, 19), train=200, test=100, epochs=2, every=1, batch=16)
    for point in POINTS:
        one = at_point(point, tiny)
        want = command(one)
        for isa in widths:
            same(command(one, TETRAD_ISA=isa), want, f"{isa}, {point}")
    one["training"]["epochs"] = 200
    one["optimizer"].update(lr=0.005)
    want = command(one)
    with folder() as path:  # begun on one width, continued on the next
        runs, step = [], 0
        for isa in widths * 2:
            with Daemon(path, workers=1, TETRAD_ISA=isa) as daemon:
                assert daemon.client.get("/readyz")["kernels"] == isa
                if not runs:
                    runs = daemon.client.submit(one)[1]["runs"]
                step += 40
                await_step(daemon, runs[0], step)
                daemon.stop()
        with Daemon(path) as daemon:
            got, = await_experiment(daemon, runs).values()
    same(got, want, "mixed widths")


# ---- SIGTERM ----

def interrupt(path, run, target, follower):
    """Starts, waits for the run's step `target`, stops. (first step seen, the checkpoint's step, batch, seconds), or
    None when the run ended before."""
    with Daemon(path, workers=1) as daemon:
        first = daemon.client.run(run)["progress"]["step"]
        seen = until(f"step {target}", lambda: (r := daemon.client.run(run))["state"] in FINAL
                     or r["progress"]["step"] >= target and r["progress"]["step"], 0.0)
        if rng.random() < 0.5:
            follower.look(daemon.client)
        took = daemon.stop()
    if seen is True:
        return None
    with database(path) as db:
        state, step, reason = db.execute("SELECT state, step, reason FROM run WHERE id = ?", (run,)).fetchone()
        if state in FINAL:
            return None
        assert state == "queued", f"after SIGTERM the run is {state}"
        assert reason, "no reason"
        at, batch = db.execute("SELECT step, batch FROM checkpoint WHERE run = ? ORDER BY step DESC",
                               (run,)).fetchone()
    assert at == step >= seen, f"checkpoint at {at}, run at {step}, seen {seen}"
    return first, at, batch, took


def terminate(one, times):
    """SIGTERM so many times during a run; it must come to the same end. How many fell into an epoch."""
    want = command(one)
    with folder() as path:
        with Daemon(path, workers=1) as daemon:
            _, answer = daemon.client.submit(one)
            run, = answer["runs"]
            steps = daemon.client.run(run)["progress"]["steps"]
            daemon.stop()
        follower, at, took, inside = Follower(run), 0, 0.0, 0
        for target in sorted(rng.randrange(1, max(2, steps * 9 // 10)) for _ in range(times)):
            got = interrupt(path, run, max(target, at + 1), follower)
            if got is None:
                break
            first, now, batch, seconds = got
            assert first >= at, f"it was at step {at} and went on at {first}"
            at, took, inside = now, max(took, seconds), inside + (batch > 0)
        with Daemon(path) as daemon:
            follower.look(daemon.client)
            got, = await_experiment(daemon, [run]).values()
            follower.look(daemon.client)
            attempts = daemon.client.run(run)["attempts"]
            daemon.stop()
        with database(path) as db:
            check_records(db)
            check_rows(db)
    same(got, want, "after SIGTERM")
    same_metrics(follower.rows, want[1], "followed by `after` over SIGTERM")
    note(f"SIGTERM: {attempts} attempts, {inside} stops inside an epoch, the slowest took {took:.2f} s")
    return inside


def test_sigterm_in_the_middle_of_training():
    one = at_point(POINTS[3], definition(epochs=6, every=3))
    assert terminate(one, TERMS) > 0


def test_sigterm_in_the_middle_of_an_evaluation():
    # Two steps, then a long evaluation: nearly every signal falls into one.
    one = definition(units=(64,), train=64, test=4000, epochs=24, every=1)
    terminate(one, TERMS)


# ---- checkpoints ----

def read_npz(data):
    with np.load(io.BytesIO(data)) as arrays:
        return {name: arrays[name].copy() for name in arrays.files}


def look_at_weights(daemon, one, run, steps, kept, digest):
    client = daemon.client
    assert client.get(f"/v1/runs/{run}/weights")["step"] == steps
    for step in range(1, steps + 2):
        for what in ("", ".npz", "/W1.npy"):
            status, value = client.ask("GET", f"/v1/runs/{run}/weights{what}?step={step}")
            assert status == (200 if step in kept else 404), f"step {step} of {kept}: {status}"
            if status == 404:
                assert value["error"]["code"] == "not_found", value
            elif not what:
                assert value["step"] == step and value["final"] == (step == steps), value
                assert value["digest"] == (digest if step == steps else None), value
    for step in kept:  # what is kept is what a shorter run ends with
        short = {**one, "training": {**one["training"], "max_steps": step}}
        other, = client.submit(short)[1]["runs"]
        daemon.await_final([other])
        got, want = (read_npz(client.get(path)) for path in
                     (f"/v1/runs/{run}/weights.npz?step={step}", f"/v1/runs/{other}/weights.npz"))
        assert got.keys() == want.keys()
        assert all(np.array_equal(got[name], want[name]) for name in got), f"step {step}"


def test_checkpoints_are_kept_served_and_pruned():
    base = definition(units=(32, 24), train=320, test=100, epochs=7, every=10, batch=32)
    base["optimizer"].update(lr=0.01, momentum=0.9)
    for every, keep, extra, kept in ((1, 2, {}, [60, 70]), (1, 4, {}, [40, 50, 60, 70]), (3, 2, {}, [60, 70]),
                                     (2, 3, {"max_steps": 45}, [20, 40, 45])):
        one = {**base, "record": {"every": 10, "checkpoint_epochs": every, "keep": keep},
               "training": {**base["training"], **extra}}
        with folder() as path:
            with Daemon(path) as daemon:
                run, = daemon.client.submit(one)[1]["runs"]
                digest, _ = list(await_experiment(daemon, [run]).values())[0]
                steps = daemon.client.run(run)["progress"]["steps"]
                look_at_weights(daemon, one, run, steps, kept, digest)
                daemon.kill()
            with Daemon(path) as daemon:
                look_at_weights(daemon, one, run, steps, kept, digest)
                daemon.stop()


tap.run(globals())
