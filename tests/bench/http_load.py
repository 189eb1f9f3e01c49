#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the HTTP interface does while every worker trains.

    tests/bench/http_load.py [--seconds 5] [--rows 10000000]

Requests per second by `wrk`; the waiting of a client that asks for /healthz a hundred times a second; and how long the
metrics of a run of ten million rows take, all of them thinned out to 500 points a series."""
import argparse, http.client, os, re, shutil, sqlite3, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "fault")]
from daemon import Client, Daemon, folder, until

SHORT = {"dataset": {"name": "strokes", "train": 1000, "test": 100}, "network": {"layers": [{"units": 16}]},
         "rule": {"name": "sal"}, "training": {"epochs": 2, "batch": 64}}
SERIES = 10


def long(seeds):
    return {"dataset": {"name": "strokes", "train": 10000, "test": 1000}, "network": {"layers": [{"units": 256}, {"units": 256}]},
            "rule": {"name": "sal"}, "training": {"epochs": 100000, "batch": 64}, "record": {"checkpoint_epochs": 100},
            "sweep": {"training.seed": list(range(1, seeds + 1))}}


def wrk(port, path, seconds):
    out = subprocess.run(["wrk", "-t1", "-c8", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}{path}"],
                         capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in out, out
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), re.search(r"99%\s+(\S+)", out)[1]


def waiting(port, path, seconds):
    """A hundred requests a second on one connection: median and 99th percentile, ms."""
    connection, times = http.client.HTTPConnection("127.0.0.1", port), []
    for _ in range(int(100 * seconds)):
        began = time.monotonic()
        connection.request("GET", path)
        connection.getresponse().read()
        times.append(time.monotonic() - began)
        time.sleep(max(0.0, 0.01 - times[-1]))
    times.sort()
    return 1e3 * times[len(times) // 2], 1e3 * times[int(0.99 * len(times))]


def shows(port, seconds, title, *runs):
    print(title)
    for path in ("/healthz", *runs):
        rate, late = wrk(port, path, seconds)
        print(f"  {path:<12} {rate:9.0f} requests/s of 8 connections, 99 % within {late}")
    for path in ("/healthz", "/v1/runs/1"):
        median, late = waiting(port, path, seconds)
        print(f"  {path:<12} a client that asks 100 times a second waits {median:.2f} ms, 99 % within {late:.2f} ms")


def fill(path, rows):
    """Ten series of a run that has ended, as a server from before bins would have left them."""
    base = sqlite3.connect(path)
    names = [base.execute("INSERT INTO series (name) VALUES (?) RETURNING id", (f"bench/{i}",)).fetchone()[0] for i in range(SERIES)]
    base.execute("DELETE FROM metric WHERE run = 1")
    base.executemany("INSERT INTO metric (run, step, series, sequence, value) VALUES (1, ?, ?, ?, ?)",
                     ((k // SERIES + 1, names[k % SERIES], k, (k * 2654435761 % 1000003) / 1000003) for k in range(rows)))
    base.execute("DELETE FROM final WHERE run = 1")
    base.execute("INSERT INTO final (run, series, step, value) SELECT run, series, step, value FROM metric WHERE run = 1 AND step = ?",
                 (rows // SERIES,))
    base.execute("UPDATE run SET draw_level = NULL, steps = ?, step = ? WHERE id = 1", (rows // SERIES, rows // SERIES))
    base.execute("DELETE FROM metric_bin WHERE run = 1")
    base.commit()
    base.close()


def drawn(client, path, times):
    taken = []
    for _ in range(times):
        began = time.monotonic()
        reply = client.get(path)
        taken.append(time.monotonic() - began)
    points = sum(len(s["steps"]) for s in reply["series"].values())
    taken.sort()
    return 1e3 * taken[len(taken) // 2], 1e3 * taken[-1], points


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=10000000)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("there is no wrk: deploy/deps bench installs it")
    with folder() as path:
        daemon = Daemon(path, workers=os.cpu_count())
        client = Client(daemon.port)
        client.ask("POST", "/v1/experiments", SHORT)
        until("the short run", lambda: client.get("/v1/runs/1")["state"] == "succeeded")
        shows(daemon.port, arguments.seconds, "idle", "/v1/runs/1")
        client.ask("POST", "/v1/experiments", long(os.cpu_count()))
        until("training", lambda: client.get("/v1/runs/2")["progress"]["samples_per_s"])
        shows(daemon.port, arguments.seconds, "while every worker trains", "/v1/runs/1", "/v1/runs/2")
        client.ask("POST", "/v1/experiments/2/cancel")
        daemon.stop()
        fill(daemon.database, arguments.rows)
        daemon = Daemon(path, workers=1)
        client = Client(daemon.port)
        print(f"a run of {arguments.rows:,} rows in {SERIES} series, points=500")
        for what, query, times in (("the first time", "name=bench/3", 1), ("one series", "name=bench/3", 20), ("all series", "name=bench/*", 20)):
            median, most, points = drawn(client, f"/v1/runs/1/metrics?points=500&{query}", times)
            print(f"  {what:<14} {median:8.1f} ms, at most {most:.1f} ms ({points} points)")
        daemon.stop()


main()
