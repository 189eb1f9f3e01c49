# SPDX-License-Identifier: Apache-2.0
"""A systemd unit, read and started in a system in a folder without systemd: its user, its state folder, its limits, and
its sandbox as far as a program can make one for itself: what may be written, system calls, rights.

    unit.py UNIT ROOT KEY        becomes the command that KEY (ExecStart, ExecStartPre) has in the unit"""
import ctypes, os, resource, shlex, signal, socket, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from roots import CLONE_NEWNET, CLONE_NEWNS, MS_PRIVATE, MS_REC, PATH, call, libc, mount, tap

UNIT = os.path.join(tap.ROOT, "deploy", "tetrad.service")
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
WRITE, EXEC = 2, 4  # PROT_
NAMESPACES = 0x7E020080  # all of CLONE_NEW*


class Unit:
    def __init__(self, path=UNIT):
        with open(path) as file:
            self.lines = [line.strip().partition("=")[::2] for line in file if "=" in line and line[0] not in "#;"]

    def all(self, key):
        return [value for name, value in self.lines if name == key]

    def __getitem__(self, key):
        values = self.all(key)
        assert len(values) == 1, f"{key}: {values}"
        return values[0]

    def is_on(self, key):
        return self[key] in ("true", "yes", "strict", "1")


# ---- system calls ----

def sets():
    """{"@name": members} of this machine's systemd."""
    said = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter"], capture_output=True, text=True, check=True)
    found, one = {}, None
    for line in said.stdout.split("\n"):
        if line.startswith("@"):
            one = found.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.strip().startswith("#") and one is not None:
            one.append(line.strip())
        elif not line.strip() or line.startswith("#"):
            one = None
    return found


def names(known, words):
    """The system calls that a list of names and sets stands for."""
    out = set()
    for word in words:
        out |= names(known, known[word]) if word.startswith("@") else {word}
    return out


def allowed_calls(unit):
    known, allowed = sets(), set()
    for value in unit.all("SystemCallFilter"):
        if value.startswith("~"):
            allowed -= names(known, value[1:].split())
        else:
            allowed |= names(known, value.split())
    return allowed | names(known, ["@default"])


class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Filter:
    """What the unit's system call settings make of seccomp; but what they refuse kills, so that no refusal is overlooked."""
    KILL, ALLOW, ENOSYS = 0x80000000, 0x7FFF0000, 0x00050000 | 38
    MASKED_EQUAL, EQUAL = 7, 4

    def __init__(self):
        self.seccomp = ctypes.CDLL("libseccomp.so.2")
        self.seccomp.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.seccomp.seccomp_init(ctypes.c_uint32(self.KILL)))

    def rule(self, name, *conditions, action=ALLOW):
        number = self.seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # this processor has no such call
            return
        array = (Comparison * len(conditions))(*(Comparison(*c) for c in conditions))
        code = self.seccomp.seccomp_rule_add_array(self.context, ctypes.c_uint32(action), number, len(conditions), array)
        assert code == 0, f"{name}: seccomp says {code}"

    def load(self):
        assert self.seccomp.seccomp_load(self.context) == 0, "seccomp cannot be loaded"


def make_filter(unit):
    f, masked, equal = Filter(), Filter.MASKED_EQUAL, Filter.EQUAL
    special = {"clone", "clone3", "unshare", "setns", "mmap", "mprotect", "pkey_mprotect", "shmat", "socket", "personality",
               "chmod", "fchmod", "fchmodat", "mknod", "mknodat"}
    for name in allowed_calls(unit) - special:
        f.rule(name)
    f.rule("clone", (0, masked, NAMESPACES, 0))  # RestrictNamespaces
    f.rule("clone3", action=Filter.ENOSYS)  # its flags are not to be seen
    for protection in (0, WRITE, EXEC):  # MemoryDenyWriteExecute
        f.rule("mmap", (2, masked, WRITE | EXEC, protection))
    f.rule("mprotect", (2, masked, EXEC, 0))
    for family in unit["RestrictAddressFamilies"].split():
        f.rule("socket", (0, equal, getattr(socket, family), 0))
    for name, argument in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2)):  # RestrictSUIDSGID
        f.rule(name, (argument, masked, 0o6000, 0))
    return f


# ---- the place ----

def mounts():
    """Where something is mounted, as the kernel writes it."""
    with open("/proc/self/mountinfo") as file:
        return [line.split()[4].encode().decode("unicode_escape") for line in file]


def confine(unit, root):
    """In a mount namespace of this process: all of root read-only but the state folder; an empty /tmp, which is
    read-only too, as the server needs none; few devices; of /proc the processes alone."""
    state = f"{root}/var/lib/{unit['StateDirectory'].split()[0]}"
    call(libc.unshare(CLONE_NEWNS))
    call(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    mount("--bind", state, state)
    devices = tempfile.mkdtemp(dir="/dev/shm")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", devices)
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        open(f"{devices}/{name}", "w").close()
        mount("--bind", f"/dev/{name}", f"{devices}/{name}")
    mount("--rbind", devices, root + "/dev")
    for folder in ("/tmp", "/home", "/root", "/run"):
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root + folder)
    mount("-t", "proc", "-o", "hidepid=invisible,subset=pid", "proc", root + "/proc")
    for place in mounts():
        if (place == root or place.startswith(root + "/")) and place != state and "/dev/" not in place:
            subprocess.run(["mount", "-o", "remount,bind,ro", place], stderr=subprocess.DEVNULL)


def identity(root, user):
    with open(root + "/etc/passwd") as file:
        for line in file:
            if line.startswith(user + ":"):
                return tuple(int(n) for n in line.split(":")[2:4])
    raise AssertionError(f"there is no user {user}")


def become(path, root, command):
    unit = Unit(path)
    uid, gid = identity(root, unit["User"])
    words = shlex.split(unit[command]) if command.startswith("Exec") else ["/bin/sh", "-c", command]
    mode = int(unit["StateDirectoryMode"], 8)
    for folder in unit["StateDirectory"].split():
        folder = f"{root}/var/lib/{folder}"
        if not os.path.isdir(folder):
            os.mkdir(folder)
        os.chown(folder, uid, gid)
        os.chmod(folder, mode)
    calls = make_filter(unit) if has_filter() else None
    confine(unit, root)
    os.chroot(root)
    os.chdir(unit["WorkingDirectory"])
    os.umask(int(unit["UMask"], 8))
    files = min(int(unit["LimitNOFILE"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, files), files))
    resource.setrlimit(resource.RLIMIT_CORE, (int(unit["LimitCORE"]),) * 2)
    assert unit["CapabilityBoundingSet"] == "" and unit.is_on("NoNewPrivileges")
    capability = 0
    while libc.prctl(PR_CAPBSET_DROP, capability) == 0:
        capability += 1
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    call(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    environment = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/var/lib/tetrad", "USER": unit["User"],
                   "STATE_DIRECTORY": "/var/lib/tetrad"}
    if "NOTIFY_SOCKET" in os.environ:
        environment["NOTIFY_SOCKET"] = os.environ["NOTIFY_SOCKET"]
    if calls is not None:
        calls.load()
    os.execve(words[0], words, environment)


def has_filter():
    try:
        ctypes.CDLL("libseccomp.so.2")
        return subprocess.run(["systemd-analyze", "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


# ---- systemd's part ----

class Service:
    """The unit in a system, started and stopped as systemd would. Socket names that begin with @ are of a network, so
    that a confined server finds the one that it is to notify."""

    def __init__(self, root, network, unit="/lib/systemd/system/tetrad.service"):
        self.root, self.network, self.path, self.process = root, network, root.at(unit), None
        self.log = os.path.join(root.work, "service.log")
        self.starts = 0

    def command(self, what, **options):
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), self.path, self.root.path, what], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=lambda: call(libc.setns(self.network, CLONE_NEWNET)), **options)

    def said(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-4000:]

    def active(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """ExecStartPre, then ExecStart until it says that it is ready."""
        before = self.command("ExecStartPre")
        assert before.wait(60) == 0, f"ExecStartPre: {before.returncode}\n{self.said()}"
        name = f"@tetrad-package-{os.getpid()}-{self.starts}"
        self.starts += 1
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        call(libc.setns(self.network, CLONE_NEWNET))
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        told.bind("\0" + name[1:])
        told.settimeout(0.2)
        call(libc.setns(here, CLONE_NEWNET))
        os.close(here)
        self.process = self.command("ExecStart", env={**os.environ, "NOTIFY_SOCKET": name})
        deadline = time.monotonic() + 60
        ready = False
        while not ready and self.active():
            assert time.monotonic() < deadline, f"the service is not ready after 60 s\n{self.said()}"
            try:
                ready = b"READY=1" in told.recv(256).split(b"\n")
            except TimeoutError:
                pass
        told.close()
        assert ready, f"the service ended with {self.process.returncode}\n{self.said()}"

    def stop(self):
        if not self.active():
            return
        self.process.terminate()
        status = self.process.wait(int(Unit(self.path)["TimeoutStopSec"]))
        assert status == 0, f"the service ended with {status}\n{self.said()}"

    def kill(self):
        if self.active():
            self.process.kill()
            self.process.wait()


if __name__ == "__main__":
    become(*sys.argv[1:])
