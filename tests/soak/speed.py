# SPDX-License-Identifier: Apache-2.0
"""What training loses to clients, told in two ways, for clients take processor time themselves:

- one worker on a machine of two processors, the clients kept to the second and behind everything else: examples a second
- as many workers as processors: examples per processor second of the threads that train, which what others take of
  the processors leaves alone, and what they do to its caches does not

Stretches with and without clients take turns, so that a machine that slows down slows both."""
import contextlib, os, statistics, time

from measure import Load, metrics, processor_seconds
from lab import READS, Lab
from daemon import Daemon, folder, until

STREAMS, METRIC_STREAMS, POLLERS, TURNS = 900, 100, 50, 5


def for_ever(workers):
    return {"name": "for ever", "dataset": {"name": "strokes", "train": 20000, "test": 20},
            "network": {"layers": [{"units": 256}, {"units": 256}]}, "rule": {"name": "bp"},
            "training": {"epochs": 100000, "batch": 50}, "record": {"every": 100, "checkpoint_epochs": 100},
            "sweep": {"training.seed": list(range(1, workers + 1))}}


@contextlib.contextmanager
def clients(daemon, before):
    with Load(daemon.port, "streams", STREAMS, "state,progress", METRIC_STREAMS, "state,progress,metrics",
              before=before) as listeners, Load(daemon.port, "ask", before=before) as askers:
        askers.say("run 1 1")
        for k in range(POLLERS):
            askers.say(f"client {1 + k % 5 / 4} " + " ".join(READS))
        yield
        heard, asked = listeners.end(), askers.end()
        assert heard["missed"] == heard["unequal"] == asked["unanswered"] == 0, (heard, asked)


class Stretch:
    """Examples, seconds and processor seconds since it began."""

    def __init__(self, daemon, pid):
        self.daemon, self.pid = daemon, pid
        self.begun = self.now()

    def now(self):
        return (metrics(self.daemon.client)["tetrad_samples_total"], time.monotonic(), *processor_seconds(self.pid))

    def end(self):
        """(examples a second, examples per processor second of the workers, processors that the rest took)"""
        samples, wall, train, others = (b - a for a, b in zip(self.begun, self.now()))
        return samples / wall, samples / train, others / wall


def measure(workers, seconds, before):
    """Medians: ((without, with) of examples a second, of examples per processor second, of processors for the rest)."""
    without, beside = [], []
    with folder() as path, Daemon(path, workers=workers) as daemon:
        daemon.client.submit(for_ever(workers))
        until("training", lambda: metrics(daemon.client)["tetrad_workers_busy"] == workers)
        time.sleep(2)
        for _ in range(TURNS):
            stretch = Stretch(daemon, daemon.process.pid)
            time.sleep(seconds)
            without.append(stretch.end())
            with clients(daemon, before):
                time.sleep(1)
                stretch = Stretch(daemon, daemon.process.pid)
                time.sleep(seconds)
                beside.append(stretch.end())
            time.sleep(2)
        daemon.client.cancel("/v1/experiments/1")
        daemon.stop()
    return [(statistics.median(w[i] for w in without), statistics.median(b[i] for b in beside)) for i in range(3)]


def show(pair, unit):
    return f"{pair[1]:,.0f} {unit}, {pair[0]:,.0f} without ({100 * (pair[1] / pair[0] - 1):+.1f} %)"


def judge(table, seconds):
    last = os.cpu_count() - 1
    wall, each, rest = measure(max(1, last), seconds, ("nice", "-n", "19", "taskset", "-c", str(last)))
    what = f"training beside {STREAMS + METRIC_STREAMS} streams and {POLLERS} pollers"
    table.row(f"{what} that have a processor to themselves", show(wall, "examples/s"), ">= -3 %", wall[1] >= 0.97 * wall[0])
    wall, each, rest = measure(os.cpu_count(), seconds, ())
    table.row(f"{what}, workers on all processors: per second of their processor time", show(each, "examples"), ">= -3 %",
              each[1] >= 0.97 * each[0])
    table.row("the same by the clock, the clients' own time included", show(wall, "examples/s"), "told", True)
    table.row("what the server takes besides training", f"{100 * rest[1]:.1f} % of a processor, {100 * rest[0]:.1f} % without",
              "told", True)
