# SPDX-License-Identifier: Apache-2.0
"""What a running server takes, read from /proc, and the clients of build/tests/soak/load."""
import contextlib, json, os, statistics, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "fault")]
from daemon import alive, start_process, tap

PAGE = os.sysconf("SC_PAGE_SIZE")
WORKER_NICE = 5  # what the server's workers, and the teams that they start, run at


def program():
    """build/tests/soak/load: the release's, whatever server it drives."""
    build = os.path.dirname(tap.TETRAD)
    for flavour in ("address-undefined", "thread"):
        build = build.removesuffix("/" + flavour)
    path = os.path.join(build, "tests/soak/load")
    assert os.path.exists(path), f"{path} is not there: `make tests` builds it"
    return path


class Load:
    """One process of clients, as a context. before: words before its command, such as `nice`."""

    def __init__(self, port, *arguments, before=()):
        self.process = start_process([*before, program(), str(port), *map(str, arguments)], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line == "ready\n", f"the clients did not start: {line!r}"

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def report(self):
        self.say("report")
        return json.loads(self.process.stdout.readline())

    def end(self):
        """The last report."""
        out, _ = self.process.communicate()
        alive.discard(self.process)
        assert self.process.returncode == 0, f"the clients ended with {self.process.returncode}"
        return json.loads(out)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
            alive.discard(self.process)
            self.process.stdin.close()
            self.process.stdout.close()


def rss(pid):
    """KiB."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE / 1024


def descriptors(pid):
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def processor_seconds(pid):
    """(of the threads that train, of the others), of those that live."""
    train = others = 0.0
    for task in os.listdir(f"/proc/{pid}/task"):
        place = f"/proc/{pid}/task/{task}"
        with contextlib.suppress(OSError), open(f"{place}/stat") as stat, open(f"{place}/schedstat") as exact:
            nice, took = int(stat.read().rsplit(")", 1)[1].split()[16]), int(exact.read().split()[0]) / 1e9
            if nice == WORKER_NICE:
                train += took
            else:
                others += took
    return train, others


def folder_bytes(path):
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_blocks * 512
    return total


def slope(points, most=2000):
    """Theil and Sen's line through (x, y): the median of the slopes of all pairs; of at most `most` points."""
    points = points[:: len(points) // most + 1]
    slopes = [(y - b) / (x - a) for i, (x, y) in enumerate(points) for a, b in points[:i] if x > a]
    return statistics.median(slopes) if slopes else 0.0


def metrics(client):
    """/metrics without labels' sense: {line's name with labels: value}."""
    found = {}
    for line in client.ask("GET", "/metrics")[1].decode().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found
