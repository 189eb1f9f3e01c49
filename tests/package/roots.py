# SPDX-License-Identifier: Apache-2.0
"""Debian systems in folders: a base that debootstrap makes once, and layers over it in which a test does as it likes.

The test gets a mount namespace of its own, so that no mount outlives it, however it ends. The base and what apt has
downloaded are kept in build/package."""
import contextlib, ctypes, fcntl, glob, os, re, shutil, socket, struct, subprocess, sys, tempfile

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."),
                os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fault")]
import tap
from daemon import note

PLACE = os.path.join(tap.ROOT, "build", "package")
SUITE = "bookworm"
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def call(result):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


libc = ctypes.CDLL(None, use_errno=True)


def mount(*words):
    subprocess.run(["mount", *words], check=True)


def mirror():
    """Where this machine has its packages from, if that is Debian's; else Debian's own."""
    for name in ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]:
        with contextlib.suppress(OSError), open(name) as sources:
            if found := re.search(r"^(?:deb\b.*?|URIs:\s*)(https?://\S+/debian)/?(?:\s|$)", sources.read(), re.M):
                return found[1]
    return "http://deb.debian.org/debian"


def prepare():
    """What every test of packages needs, or a reason to skip it."""
    if os.geteuid() != 0:
        raise tap.Skip("systems in folders need root")
    if shutil.which("debootstrap") is None:
        raise tap.Skip("debootstrap is not installed")
    try:
        call(libc.unshare(CLONE_NEWNS))
        call(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
        probe = tempfile.mkdtemp(prefix="tetrad-package-")
        mount("-t", "tmpfs", "tmpfs", probe)
        subprocess.run(["umount", probe], check=True)
        os.rmdir(probe)
    except (OSError, subprocess.CalledProcessError) as why:
        raise tap.Skip(f"this machine lets nobody mount: {why}") from None
    return base()


def base():
    """The folder of a minimal Debian, of which only copies and layers are changed. One test makes it, others wait."""
    os.makedirs(PLACE, exist_ok=True)
    folder, url = os.path.join(PLACE, SUITE), mirror()
    with open(os.path.join(PLACE, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(folder):
            return folder
        shutil.rmtree(folder + ".new", ignore_errors=True)
        done = subprocess.run(["debootstrap", "--variant=minbase", SUITE, folder + ".new", url],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise tap.Skip(f"debootstrap cannot make a Debian of {url}: {(done.stdout + done.stderr)[-400:]}")
        new = folder + ".new"
        with open(new + "/etc/apt/sources.list", "w") as sources:
            sources.write(f"deb {url} {SUITE} main\n")
            if "debian.org" in url:
                sources.write(f"deb {url}-security {SUITE}-security main\n")
        with open(new + "/etc/dpkg/dpkg.cfg.d/test", "w") as dpkg:  # as in Debian's own slim image; and nothing is synced
            dpkg.write("force-unsafe-io\npath-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\n"
                       "path-exclude /usr/share/locale/*\npath-exclude /usr/share/man/*\n")
        with open(new + "/etc/apt/apt.conf.d/test", "w") as apt:
            apt.write('APT::Keep-Downloaded-Packages "true";\nAPT::Sandbox::User "root";\nAcquire::Languages "none";\n')
        shutil.copy("/etc/resolv.conf", new + "/etc/resolv.conf")
        os.rename(new, folder)
        return folder


class Root:
    """A system that begins as what lies below. Commands run in it as in a container."""

    def __init__(self, below):
        self.work = tempfile.mkdtemp(prefix="work-", dir=PLACE)
        os.chmod(self.work, 0o755)
        self.path = os.path.join(self.work, "root")
        upper, work = os.path.join(self.work, "upper"), os.path.join(self.work, "work")
        for folder in (self.path, upper, work):
            os.mkdir(folder, 0o755)
        layer = subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                                f"lowerdir={below},upperdir={upper},workdir={work}", self.path], capture_output=True)
        if layer.returncode != 0:  # a file system that takes no layers
            subprocess.run(["cp", "-a", "--reflink=auto", below + "/.", self.path], check=True)
            mount("--bind", self.path, self.path)
        mount("-t", "proc", "proc", self.path + "/proc")
        mount("--rbind", "/dev", self.path + "/dev")
        archives = os.path.join(PLACE, "archives", os.path.basename(sys.argv[0]))  # apt locks it
        os.makedirs(archives + "/partial", exist_ok=True)
        mount("--bind", archives, self.path + "/var/cache/apt/archives")
        self.environment = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}

    def at(self, path):
        return self.path + path

    def start(self, words, user=None, folder="/", network=None, environment=(), **options):
        """A process in the system; user: (uid, gid), root where there is none. It dies with the test."""
        def enter():
            if network is not None:
                call(libc.setns(network, CLONE_NEWNET))
            os.chroot(self.path)
            os.chdir(folder)
            if user is not None:
                os.setgroups([])
                os.setresgid(user[1], user[1], user[1])
                os.setresuid(user[0], user[0], user[0])
            libc.prctl(1, 9)  # again: a change of user forgets it

        return subprocess.Popen(words, preexec_fn=enter, env={**self.environment, **dict(environment)},
                                stdin=subprocess.DEVNULL, **options)

    def run(self, *words, good=True, **options):
        """Its output; an error, with what it said, where it fails and must not."""
        process = self.start(list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        said = process.communicate(timeout=600)[0]
        assert not good or process.returncode == 0, f"{' '.join(words)}: exit status {process.returncode}\n{said[-6000:]}"
        return said

    def status(self, *words, **options):
        process = self.start(list(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        return process.wait(timeout=120)

    def read(self, path):
        with open(self.at(path)) as file:
            return file.read()

    def size(self):
        """MB of its files, without what is mounted into it."""
        return int(subprocess.run(["du", "-smx", self.path], capture_output=True, text=True).stdout.split()[0])

    def close(self):
        subprocess.run(["umount", "--recursive", "--lazy", self.path])
        shutil.rmtree(self.work, ignore_errors=True)


@contextlib.contextmanager
def root(below):
    one = Root(below)
    try:
        yield one
    finally:
        one.close()


@contextlib.contextmanager
def inside(network):
    """What this thread does with sockets it does in that network."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        call(libc.setns(network, CLONE_NEWNET))
        yield
    finally:
        call(libc.setns(before, CLONE_NEWNET))
        os.close(before)


@contextlib.contextmanager
def own_network():
    """A network of loopback alone, in which every port is free: a descriptor for `inside` and Root.start."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    call(libc.unshare(CLONE_NEWNET))
    network = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    with socket.socket() as s:  # lo, up
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x1))
    call(libc.setns(before, CLONE_NEWNET))
    os.close(before)
    try:
        yield network
    finally:
        os.close(network)
