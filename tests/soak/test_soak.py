#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server under the load of a whole lab: workers full, event streams, clients that ask, experiments and datasets that
come and go. Nothing is left unanswered, no event lost, no descriptor or thread leaked, no digest changed.

TETRAD_SOAK=1 (`make soak-load`, MINUTES=30) is the long one on a machine that has nothing else to do: it also judges
latencies, the growth of memory and of the files, and what training loses, and ends with a table."""
import os, resource, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from measure import Load, descriptors, folder_bytes, metrics, rss, slope, threads
from lab import READS, Lab, Witness
from daemon import FINAL, SEED, SOAK, Client, Daemon, folder, note, tap, until
import speed

MINUTES = float(os.environ.get("MINUTES") or 30)
STREAMS, METRIC_STREAMS, POLLERS = (900, 100, 50) if SOAK else (250, 50, 25)
SECONDS, ROUND = (60 * MINUTES, 30.0) if SOAK else (8.0, 3.0)
PROBE = 50  # /healthz a second
READERS, AT_ONCE = 8, 16  # STORE_READERS; threads that may read beyond them

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
note(f"seed {SEED}")


class Samples:
    """What the server has, second by second; file sizes every fifth."""

    def __init__(self, daemon, path):
        self.daemon, self.path, self.begun, self.next = daemon, path, time.monotonic(), 0.0
        self.rss, self.files, self.database = [], [], []

    def take(self):
        t = time.monotonic() - self.begun
        if t < self.next:
            return
        self.next = t + 1.0
        self.rss.append((t, rss(self.daemon.process.pid)))
        if len(self.rss) % 5 == 1:
            self.database.append((t, sum(os.path.getsize(self.daemon.database + end) for end in ("", "-wal"))))
            self.files.append((t, folder_bytes(os.path.join(self.path, "tetrad.db.files"))))
            if SOAK and len(self.rss) % 60 == 1:
                note(f"{t:6.0f} s  RSS {self.rss[-1][1] / 1024:7.1f} MiB  database {self.database[-1][1] / 2**20:7.1f} MiB"
                     f"  files {self.files[-1][1] / 2**20:6.2f} MiB  descriptors {len(descriptors(self.daemon.process.pid))}"
                     f"  threads {threads(self.daemon.process.pid)}")


def ask_for(load):
    for path in READS:
        load.say(f"client 1 {path}")
    for k in range(POLLERS - len(READS)):
        load.say(f"client {1 + k % 5 / 4} " + " ".join(READS))
    load.say(f"client {PROBE} /healthz")


def under_load(daemon, lab, seconds, samples):
    """All clients for so long; (listeners' report, askers' report, the witness), once all is quiet again."""
    witness = Witness(daemon.port)
    with Load(daemon.port, "streams", STREAMS, "state,progress", METRIC_STREAMS, "state,progress,metrics") as listeners, \
            Load(daemon.port, "ask") as askers:
        lab.load = askers
        ask_for(askers)
        if lab.last:
            askers.say(f"run {lab.last} 1")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            lab.work()
            samples.take()
            time.sleep(0.1)
        lab.load = None
        asked = askers.end()
        lab.finish()
        until("all listeners to have all", lambda: (heard := listeners.report())["behind"] == 0 and heard, 0.2)
        time.sleep(1.5)  # a round of those that are sent once a second
        heard = listeners.end()
    witness.end()
    return heard, asked, witness


def leaky(daemon):
    """Descriptors but those of the database. Of them there are as many as were needed at once: the store keeps up to 8
    connections of readers, and SQLite the file's descriptor of any more for the next one."""
    found = descriptors(daemon.process.pid)
    logs, files = found.count(daemon.database + "-wal"), found.count(daemon.database)
    assert logs <= 1 + READERS and files <= logs + AT_ONCE, f"{files} of the database, {logs} of its log"
    return len(found) - logs - files


def settled(daemon):
    """(descriptors, threads) once those of clients that have gone are closed: their ends show when an event is sent."""
    client, last = Client(daemon.port), [None]

    def quiet():
        m = metrics(client)
        now = leaky(daemon), threads(daemon.process.pid)
        same, last[0] = now == last[0], now
        return m["tetrad_event_streams"] == 0 and same and now
    found = until("the clients' connections to end", quiet, 0.5)
    client.close()
    return found


def check_events(lab, heard, witness):
    assert heard["missed"] == heard["unequal"] == heard["behind"] == heard["closed"] == 0, heard
    assert heard["open"] == STREAMS + METRIC_STREAMS and heard["counted"] > 20 * STREAMS, heard
    assert witness.missed == 0 and witness.ids == sorted(set(witness.ids))
    client, checked = Client(lab.port), 0
    for run, _, _ in lab.ended:
        states = witness.of(run)
        if states[:1] != ["queued"]:  # submitted before the witness listened
            continue
        checked += 1
        state = client.run(run)["state"]
        assert states[-1] == state, f"run {run}: {states}, and is {state}"
        assert sum(s in FINAL for s in states) == 1, f"run {run} ended more than once: {states}"
    assert checked >= 5, checked
    client.close()


def check_asked(asked):
    assert asked["unanswered"] == 0, asked
    for path, one in asked["paths"].items():
        bad = {s: n for s, n in one["statuses"].items() if s != "200" and not (s == "404" and "{" in path)}
        if "W1.png" in path and bad.get("503", 0) <= one["n"] / 20:
            bad.pop("503", None)  # the server draws two of these at a time
        assert not bad, f"GET {path}: {one['statuses']}"


def late(seconds, q):
    return 1e3 * sorted(seconds)[min(len(seconds) - 1, int(q * len(seconds)))]


class Table:
    """promise | found | wanted, and whether each was kept."""

    def __init__(self):
        self.rows, self.broken = [], []

    def row(self, promise, found, wanted, kept):
        self.rows.append(f"| {promise} | {found} | {wanted} |")
        if not kept:
            self.broken.append(f"{promise}: {found}, wanted {wanted}")

    def end(self):
        print("\n| promise | found | wanted |\n|---|---|---|\n" + "\n".join(self.rows) + "\n", flush=True)
        assert not self.broken, "\n".join(self.broken)


def bounded(points, allowance):
    """Whether what there is in the last third is no more than in the middle one, but for so much."""
    third = len(points) // 3
    return max(y for _, y in points[2 * third:]) <= max(y for _, y in points[third:2 * third]) + allowance


def judge(table, lab, samples, heard, asked, before, after):
    minutes = samples.rss[-1][0] / 60
    steady = [p for p in samples.rss if p[0] > 60 * minutes / 3]  # until then caches fill
    growth = 3600 * slope(steady) / 1024
    table.row(f"memory under {STREAMS + METRIC_STREAMS} streams and {POLLERS} pollers, {minutes:.0f} min: slope of the RSS",
              f"{growth:+.2f} MiB/h at {steady[-1][1] / 1024:.0f} MiB", "< 1 MiB/h", growth < 1)
    table.row("descriptors, threads before and after", f"{before[0]}, {before[1]}; {after[0]}, {after[1]}", "no more",
              after[0] <= before[0] and after[1] <= before[1])
    table.row("database", f"{samples.database[-1][1] / 2**20:.1f} MiB", "bounded", bounded(samples.database, 2**20))
    table.row("folder of files", f"{samples.files[-1][1] / 2**20:.2f} MiB", "bounded", bounded(samples.files, 2**20))
    table.row("events", f"{heard['events']:,} on {heard['open']} streams, 0 lost", "none lost", True)
    table.row("requests", f"{sum(p['n'] for p in asked['paths'].values()):,}, 0 unanswered", "all answered", True)
    table.row("digests", f"{lab.done['succeeded']} runs as undisturbed, {lab.done.get('fork', 0)} of them forks", "equal", True)
    health = asked["paths"]["/healthz"]
    table.row("`/healthz`, 50 a second", f"{health['median']:.2f} ms, 99 % {health['p99']:.2f}", "99 % < 5 ms",
              health["p99"] < 5)
    took = lab.took["submit"]
    table.row("submitting", f"{late(took, 0.5):.2f} ms, 99 % {late(took, 0.99):.2f}", "5, 99 % 20 ms",
              late(took, 0.5) < 5 and late(took, 0.99) < 20)
    for path in ("/v1/experiments", "/v1/queue", "/v1/runs/{run}", "/v1/runs/{run}/metrics?points=500"):
        one = asked["paths"][path]
        wanted = 50 if "points" in path else 20
        table.row(f"`GET {path}`", f"{one['median']:.2f} ms, 99 % {one['p99']:.2f}", f"99 % < {wanted} ms",
                  one["p99"] < wanted)


def test_load():
    with folder() as path, Daemon(path, workers=2, TETRAD_HEARTBEAT="1") as daemon:
        lab = Lab(daemon, SEED)
        lab.undisturbed()
        under_load(daemon, lab, ROUND, Samples(daemon, path))  # whatever is made once is there then
        before, samples = settled(daemon), Samples(daemon, path)
        heard, asked, witness = under_load(daemon, lab, SECONDS, samples)
        after = settled(daemon)
        note(f"did {lab.done}; heard {heard}; took up to {max(p['max'] for p in asked['paths'].values()):.0f} ms")
        for path_, one in asked["paths"].items():
            note(f"{path_:<48} {one['n']:6d}  median {one['median']:8.2f} ms  99 % {one['p99']:8.2f}  max {one['max']:8.2f}")
        assert not lab.failed, "\n".join(lab.failed)
        check_events(lab, heard, witness)
        check_asked(asked)
        assert after[0] <= before[0] and after[1] <= before[1], (
            f"descriptors, threads: {before} before, {after} after: {sorted(descriptors(daemon.process.pid))}")
        daemon.stop()
        if SOAK:
            table = Table()
            judge(table, lab, samples, heard, asked, before, after)
            speed.judge(table, min(SECONDS / 30, 20.0))
            table.end()


tap.run(globals())
