#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many clients at once: 200 experiments from 8 clients, none lost, none twice; liveness throughout; cancelling
everything; 20 clients that read while runs are trained.

Latencies are printed, not judged: a test machine has other work. `test_load.py --probe PORT` is the measuring process,
apart from the others so that they do not hold it up."""
import json, multiprocessing, os, random, socket, subprocess, sys, threading, time

if sys.argv[1:2] == ["--probe"]:
    # GET /healthz over one kept connection, as fast as is fair (a pause between two), until standard input ends.
    # Prints the latencies in ns and what was not a 200. In between, it measures itself: how late a sleep of the same
    # pause ends, which is what the machine's other work costs, without the server.
    import select
    try:  # ahead of the clients and of other programs: what is measured is the server's wait for a processor, not ours
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass
    peer = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took, late, bad = [], [], []
    while not select.select([sys.stdin], [], [], 0)[0]:
        begun = time.perf_counter_ns()
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}\n"):
            piece = peer.recv(65536)
            answer += piece
            if not piece or len(answer) > 10000:
                break
        end = time.perf_counter_ns()
        took.append(end - begun)
        if not answer.startswith(b"HTTP/1.1 200 "):
            bad.append(answer.decode(errors="replace"))
            if not piece:
                break
        time.sleep(0.002)
        late.append(time.perf_counter_ns() - end - 2000000)
    print(json.dumps({"took": took, "late": late, "bad": bad[:3]}))
    sys.exit(0)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import Client, Daemon, FINAL, SEED, SOAK, add_page, database, folder, note, start_process, alive, tap, until

CLIENTS, EXPERIMENTS, READERS = 8, 200, 20
note(f"seed {SEED}")


def definition(number, epochs, units=64, every=100, train=1000, batch=32, seed=1):
    return {"name": f"load {number}", "dataset": {"name": "strokes", "train": train, "test": 200},
            "network": {"layers": [{"units": units}, {"units": units}]}, "rule": {"name": "sal"},
            "optimizer": {"lr": 0.01}, "training": {"epochs": epochs, "batch": batch, "seed": seed},
            "record": {"every": every}}


class Probe:
    """The measuring process, as a context."""

    def __init__(self, port):
        self.process = start_process([sys.executable, os.path.abspath(__file__), "--probe", str(port)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        out, _ = self.process.communicate()
        alive.discard(self.process)
        if kind is None:
            self.result = json.loads(out)

    def report(self, when):
        def figures(values):
            values = sorted(values)
            return "median {:.2f} ms, p99 {:.2f} ms, max {:.2f} ms".format(
                *(values[min(len(values) - 1, int(len(values) * q))] / 1e6 for q in (0.5, 0.99, 1.0)))
        took = self.result["took"]
        note(f"healthz while {when}: {len(took)} answers, {figures(took)}, {sum(t > 10e6 for t in took)} over 10 ms; "
             f"a sleep beside it ends late by {figures(self.result['late'])}")
        assert not self.result["bad"], self.result["bad"]
        assert len(took) > 20


def together(work, n):
    """work(k) in n threads at once, each with a client of its own; raises what any raised."""
    errors, gate = [], threading.Barrier(n)

    def one(k):
        try:
            gate.wait()
            work(k)
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=one, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def is_idle(daemon):
    """Whether the process used next to no processor time over a short while."""
    def used():
        with open(f"/proc/{daemon.process.pid}/stat") as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))
    before = used()
    time.sleep(0.2)
    return used() - before <= 2  # clock ticks of 10 ms


def test_200_experiments_from_8_clients():
    rng, answers, lock = random.Random(SEED), {}, threading.Lock()
    twice = set(rng.sample(range(EXPERIMENTS), EXPERIMENTS // 5))
    owners = [[n for n in range(EXPERIMENTS) if n % CLIENTS == k] for k in range(CLIENTS)]
    for n in sorted(twice):  # by another client, at about the same time
        owners[(n + 1) % CLIENTS].append(n)
    owners = [sorted(numbers) for numbers in owners]
    with folder() as path, Daemon(path, workers=2) as daemon:
        def submit(k):
            client = Client(daemon.port)
            for n in owners[k]:
                answer = client.submit(definition(n, epochs=400), f"load-{SEED}-{n}")
                with lock:
                    answers.setdefault(n, []).append(answer)
            client.close()

        def cancel(k):
            client = Client(daemon.port)
            for n in range(k, EXPERIMENTS, CLIENTS):
                client.cancel(f"/v1/experiments/{answers[n][0][1]['id']}")
            client.close()

        with Probe(daemon.port) as probe:
            begun = time.monotonic()
            together(submit, CLIENTS)
            note(f"{EXPERIMENTS + len(twice)} submissions by {CLIENTS} clients in {time.monotonic() - begun:.2f} s")
        probe.report("submitting")
        ids = {}
        for n in range(EXPERIMENTS):
            statuses = sorted(status for status, _ in answers[n])
            assert statuses == ([200, 201] if n in twice else [201]), f"{n}: {statuses}"
            assert len({(a["id"], tuple(a["runs"])) for _, a in answers[n]}) == 1, answers[n]
            ids[n] = answers[n][0][1]["id"]
        assert len(set(ids.values())) == EXPERIMENTS
        runs = [run for n in ids for run in answers[n][0][1]["runs"]]
        assert len(set(runs)) == EXPERIMENTS
        for limit in (200, 37, 500):
            listed = daemon.client.experiments(limit)
            assert [e["id"] for e in listed] == sorted(ids.values(), reverse=True)
            assert {(e["id"], e["name"]) for e in listed} == {(i, f"load {n}") for n, i in ids.items()}
        until("two runs to be trained", lambda: len(daemon.client.get(
            "/v1/experiments?state=running")["experiments"]) == 2)
        with Probe(daemon.port) as probe:
            together(cancel, CLIENTS)
            states = {e["state"] for e in daemon.client.experiments(500)}
            assert states <= set(FINAL), states
            until("an idle server", lambda: is_idle(daemon), 0)
        probe.report("cancelling")
        last = daemon.client.submit(definition(-1, epochs=1))[1]["runs"]
        assert daemon.await_final(last)[last[0]]["state"] == "succeeded"
        for run in runs:
            now = daemon.client.run(run)
            assert now["state"] == "cancelled" and now["ended_at"] is not None, now
        daemon.stop()
        with database(path) as db:
            assert db.execute("SELECT count(*) FROM experiment").fetchone()[0] == EXPERIMENTS + 1
            assert db.execute("SELECT count(*) FROM run").fetchone()[0] == EXPERIMENTS + 1
            assert db.execute("SELECT queued FROM store").fetchone()[0] == 0


def test_20_clients_read_while_runs_are_trained():
    # Many records: metrics of one run fill more than a page of 20,000 rows.
    one = definition(0, epochs=60 if SOAK else 8, units=24, every=2, train=2000, batch=2)
    one["optimizer"]["lr"] = 0.002
    union, asked, lock = {}, [0], threading.Lock()
    with folder() as path, Daemon(path, workers=2) as daemon:
        answer = daemon.client.submit({**one, "sweep": {"training.seed": [1, 2, 3]}})[1]
        runs, over = answer["runs"], threading.Event()

        def follow(client, run, rng):
            rows, after, n, ended, more = {}, 0, 0, False, True
            while more or not ended:
                # A run that has ended before a page was asked for has all its metrics in that page and its next ones.
                ended = ended or client.run(run)["state"] in FINAL
                page = client.get(f"/v1/runs/{run}/metrics?after={after}")
                assert page["run"] == run and page["next"] >= after, page
                add_page(rows, page, after)
                after, more, n = page["next"], page["more"], n + 1
                if not ended:
                    time.sleep(rng.uniform(0, 0.02))
            with lock:
                union.setdefault(run, []).append(rows)
                asked[0] += n

        def watch(client, rng):
            steps, n = dict.fromkeys(runs, 0), 0
            while not over.is_set():
                listed = client.get("/v1/experiments")["experiments"]
                assert [e["id"] for e in listed] == [answer["id"]], listed
                shown = client.get(f"/v1/experiments/{answer['id']}")
                assert [r["id"] for r in shown["runs"]] == runs
                for run in shown["runs"]:
                    step = run["progress"]["step"]
                    assert steps[run["id"]] <= step <= run["progress"]["steps"], (steps, run)
                    steps[run["id"]] = step
                n += 2
                time.sleep(rng.uniform(0, 0.02))
            with lock:
                asked[0] += n

        def read(k):
            client, rng = Client(daemon.port), random.Random(SEED + k)
            if k < 15:
                follow(client, runs[k % len(runs)], rng)
            else:
                watch(client, rng)
            client.close()

        def end():
            daemon_client = Client(daemon.port)
            until("the runs to end", lambda: all(daemon_client.run(r)["state"] in FINAL for r in runs), 0.02)
            over.set()

        ender = threading.Thread(target=end, daemon=True)
        with Probe(daemon.port) as probe:
            ender.start()
            together(read, READERS)
        ender.join()
        probe.report(f"{READERS} clients read")
        note(f"{asked[0]} answers to {READERS} clients")
        for run, state in daemon.await_final(runs).items():
            assert state["state"] == "succeeded", state
            full = daemon.client.metrics(run)
            assert len(full) > 20000, len(full)
            assert len(union[run]) == 5
            for rows in union[run]:
                assert rows == full, f"run {run}: {len(rows)} rows followed, there are {len(full)}"
            for name in ("train/loss", "alignment/modulation/1"):
                assert daemon.client.get(f"/v1/runs/{run}/metrics?name={name}")["series"][name]["steps"] == sorted(
                    step for series, step in full if series == name)
        daemon.stop()
        with database(path) as db:
            rows = db.execute("SELECT count(*) FROM metric WHERE run = ?", (runs[0],)).fetchone()[0]
            assert rows == len(union[runs[0]][0]), rows


def flood(port):
    while True:
        for _ in range(50):
            with socket.socket() as peer:
                try:
                    peer.connect(("127.0.0.1", port))
                except OSError:
                    pass


def test_stop_under_a_flood_of_connections():
    with folder() as path, Daemon(path) as daemon:
        flooders = [multiprocessing.Process(target=flood, args=(daemon.port,), daemon=True) for _ in range(6)]
        for process in flooders:
            process.start()
        try:
            for _ in range(1000):  # it still answers: within its bound of connections, or with 503
                peer = Client(daemon.port)
                assert peer.ask("GET", "/healthz")[0] in (200, 503)
                peer.close()
            note(f"stopped in {daemon.stop():.2f} s")
            assert "could not stop in time" not in daemon.said(), daemon.said()
        finally:
            for process in flooders:
                process.kill()
                process.join()


tap.run(globals())
