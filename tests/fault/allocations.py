# SPDX-License-Identifier: Apache-2.0
"""What makes allocations of a program fail: the file that tests/fault/alloc.c and the tests both map."""
import ctypes, mmap, os, subprocess

from daemon import preload, tap

SITES, FRAMES = 1 << 14, 6
OFF, RECORD, FAIL_SITE, FAIL_ONE, FAIL_FROM, FAIL_LARGE = range(6)


class Frame(ctypes.Structure):
    _fields_ = [("object", ctypes.c_uint64), ("offset", ctypes.c_uint64)]


class Site(ctypes.Structure):
    _fields_ = [("id", ctypes.c_uint64), ("count", ctypes.c_uint64), ("ours", ctypes.c_uint64),
                ("frames", Frame * FRAMES)]


class Layout(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("mode", "site", "n", "size", "seen", "failed")] + [
        ("sites", Site * SITES)]


class Control:
    """One file, for one program at a time."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "allocations")
        with open(self.path, "w+b") as file:
            file.truncate(ctypes.sizeof(Layout))
            self.map = mmap.mmap(file.fileno(), 0)
        with open(self.path + ".leaks", "w") as file:
            file.write("leak:libzip.so\n")  # zip_close loses a source where it lacks the memory for another
        self.now = Layout.from_buffer(self.map)

    def environment(self):
        return {**preload("alloc"), "TETRAD_ALLOC": self.path,
                "LSAN_OPTIONS": f"print_suppressions=0:suppressions={self.path}.leaks"}

    def record(self):
        """Counts the allocations of each site from now on."""
        self.now.mode = OFF
        ctypes.memset(ctypes.addressof(self.now.sites), 0, ctypes.sizeof(self.now.sites))
        self.now.seen = self.now.failed = 0
        self.now.mode = RECORD

    def recorded(self):
        """{id: (count, frames of the program, [(object, offset)])} since record()."""
        self.now.mode = OFF
        return {s.id: (s.count, s.ours, [(f.object, f.offset) for f in s.frames if f.object])
                for s in self.now.sites if s.id}

    def arm(self, mode, site=0, n=1, size=0):
        self.now.mode = OFF
        self.now.site, self.now.n, self.now.size, self.now.seen, self.now.failed = site, n, size, 0, 0
        self.now.mode = mode

    def disarm(self):
        """How many allocations have failed."""
        self.now.mode = OFF
        return self.now.failed


def objects_of(process):
    """{where it begins: file} of a running program."""
    found = {}
    with open(f"/proc/{process.pid}/maps") as maps:
        for line in maps:
            fields = line.split()
            if len(fields) > 5 and fields[2] == "00000000":
                found[int(fields[0].split("-")[0], 16)] = fields[5]
    return found


def describe(frames, objects):
    """Where a site is, for a person: innermost first."""
    said = []
    for start, offset in frames:
        name = objects.get(start, tap.TETRAD)
        if os.path.basename(name) != os.path.basename(tap.TETRAD):
            said.append(os.path.basename(name))
            continue
        line = subprocess.run(["addr2line", "-fsie", tap.TETRAD, hex(offset - 1)], capture_output=True, text=True).stdout
        lines = line.split("\n")
        said.append(f"{lines[0]} ({lines[1].split(' (')[0]})" if len(lines) > 1 else hex(offset))
    return " < ".join(said)
