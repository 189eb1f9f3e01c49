#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What event streams cost: memory of each, processor time, and what training loses.

    tests/bench/streams.py [--streams 1000] [--minutes 10] [--workers 1] [--types state,progress]

Starts a server that trains for ever; measures for a third of the time without listeners, then with them, every ten
seconds. A client that reads takes processor time too: on a machine without a spare processor the speed of training
shows that, so the server's own time outside of its workers is given as well."""
import argparse, os, resource, selectors, socket, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "fault")]
from daemon import Daemon, folder, until

LIMIT_KIB = 40.0


class Readers:
    """Streams that are read and counted, on a thread of their own."""

    def __init__(self, port, n, types):
        self.selector, self.sockets = selectors.DefaultSelector(), []
        self.bytes, self.events, self.lost, self.stop = 0, 0, 0, False
        request = f"GET /v1/events?types={types} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for _ in range(n):
            one = socket.create_connection(("127.0.0.1", port), timeout=30)
            one.sendall(request)
            one.setblocking(False)
            self.selector.register(one, selectors.EVENT_READ)
            self.sockets.append(one)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.stop:
            for key, _ in self.selector.select(0.5):
                data = key.fileobj.recv(1 << 16)
                if not data:
                    self.selector.unregister(key.fileobj)
                    self.lost += 1
                self.bytes += len(data)
                self.events += data.count(b"event: ")

    def close(self):
        self.stop = True
        self.thread.join()
        for one in self.sockets:
            one.close()


def metrics(daemon):
    found = {}
    for line in daemon.client.ask("GET", "/metrics")[1].decode().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


def threads_seconds(pid, workers):
    """Processor time of the server's threads but those that train, which are the busiest."""
    tick, times = os.sysconf("SC_CLK_TCK"), []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        times.append((int(fields[11]) + int(fields[12])) / tick)
    return sum(sorted(times)[:-workers])


def measure(daemon, seconds, workers, readers=None):
    """(examples per second, server's seconds per second outside training, RSS at the end in KiB)"""
    begun, m = time.monotonic(), metrics(daemon)
    used, rss = threads_seconds(daemon.process.pid, workers), m["process_resident_memory_bytes"]
    events = readers.events if readers else 0
    while time.monotonic() - begun < seconds:
        time.sleep(min(10.0, max(0.0, begun + seconds - time.monotonic())))
        now = metrics(daemon)
        rss = now["process_resident_memory_bytes"]
        print(f"  {time.monotonic() - begun:6.0f} s  RSS {rss / 1024:9.0f} KiB  streams {now['tetrad_event_streams']:5.0f}  "
              f"events read {readers.events if readers else 0}", flush=True)
    took = time.monotonic() - begun
    speed = (metrics(daemon)["tetrad_samples_total"] - m["tetrad_samples_total"]) / took
    return speed, (threads_seconds(daemon.process.pid, workers) - used) / took, rss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--types", default="state,progress")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    seconds = options.minutes * 60
    with folder() as path, Daemon(path, workers=options.workers) as daemon:
        daemon.client.submit({"name": "for ever", "dataset": {"name": "strokes", "train": 20000, "test": 20},
                              "network": {"layers": [{"units": 256}, {"units": 256}]}, "rule": {"name": "bp"},
                              "training": {"epochs": 100000, "batch": 50},
                              "sweep": {"training.seed": list(range(options.workers))}})
        until("training", lambda: metrics(daemon)["tetrad_workers_busy"] == options.workers)
        time.sleep(3)
        print("without listeners", flush=True)
        before = measure(daemon, seconds / 3, options.workers)
        readers = Readers(daemon.port, options.streams, options.types)
        until("the streams", lambda: metrics(daemon)["tetrad_event_streams"] == options.streams, 0.1)
        print(f"with {options.streams}", flush=True)
        first = measure(daemon, min(20.0, seconds / 3), options.workers, readers)
        after = measure(daemon, seconds, options.workers, readers)
        missed, lost, events = metrics(daemon)["tetrad_events_missed_total"], readers.lost, readers.events
        readers.close()
        daemon.stop()
    each = (after[2] - before[2]) / options.streams
    print(f"memory of a stream   {each:8.1f} KiB  (at the beginning {(first[2] - before[2]) / options.streams:.1f})")
    print(f"server besides work  {100 * before[1]:8.2f} % of a processor before, {100 * after[1]:.2f} % with listeners")
    print(f"training             {before[0]:8.0f} examples/s before, {after[0]:.0f} with listeners "
          f"({100 * (after[0] / before[0] - 1):+.2f} %)")
    print(f"events read          {events:8d}, missed {missed:.0f}, streams lost {lost}")
    return not (each <= LIMIT_KIB and lost == 0 and missed == 0 and events > 0)


if __name__ == "__main__":
    sys.exit(main())
