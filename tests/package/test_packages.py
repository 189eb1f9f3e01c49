#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The image and the Debian package, without a container engine and without systemd: the Dockerfile's own steps make both
in Debian systems in folders; the image is started as it says; the package is installed, works in the unit's sandbox, is
upgraded while it trains, removed and purged."""
import contextlib, glob, json, os, shutil, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dockerfile, lab, unit
from roots import Root, note, own_network, prepare, tap
from daemon import until

LONG = {"name": "over the upgrade", "dataset": {"name": "strokes", "train": 4000, "test": 200},
        "network": {"layers": [{"units": 128}, {"units": 128}]}, "rule": {"name": "sal"},
        "training": {"epochs": 160, "seed": 7}}
STATE = "/var/lib/tetrad"
SMALL_DIGEST = {}  # of lab.SMALL, by whom it was trained: all must agree
shared = {}  # what an earlier test has made


def digest(process):
    said = process.communicate(timeout=300)[0]
    found = [line.split()[1] for line in said.splitlines() if line.split()[:1] == ["digest"]]
    assert process.returncode == 0 and len(found) == 1, said
    return found[0]


def train(definition):
    """`tetrad run` of the program that the tests have, outside of all packages, in the background."""
    with open(os.path.join(shared["folder"], definition["name"].replace(" ", "-") + ".json"), "w") as file:
        json.dump(definition, file)
    return subprocess.Popen([tap.TETRAD, "run", file.name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


# ---- the image ----

def test_image_is_built():
    """Every step of the Dockerfile, in a bare Debian; what comes out is no larger than it must be."""
    shared["base"] = prepare()
    shared["folder"] = tempfile.mkdtemp(prefix="tetrad-package-")
    begun = [time.monotonic()]

    def fine(what):
        now = time.monotonic()
        if now - begun[0] > 1:
            note(f"{now - begun[0]:5.1f} s  {what}")
        begun[0] = now

    stages = shared["stages"] = dockerfile.build(os.path.join(tap.ROOT, "Dockerfile"), shared["base"], fine)
    image = stages[""]
    packages = glob.glob(stages["build"].root.at("/src/build/tetrad_*.deb"))
    assert len(packages) == 1, packages
    shared["package"] = shutil.copy(packages[0], shared["folder"])
    bare = int(subprocess.run(["du", "-smx", shared["base"]], capture_output=True, text=True).stdout.split()[0])
    note(f"the image: {image.root.size() - bare} MB over a Debian of {bare} MB; "
         f"the package: {os.path.getsize(shared['package']) / 1e6:.2f} MB")
    assert image.root.status("which", "gcc") != 0, "the image has a compiler"
    assert not os.path.exists(image.root.at("/src")) and not glob.glob(image.root.at("/tmp/*"))
    assert image.root.size() - bare < 80, "the image has grown"


def test_image_works():
    """Started as ENTRYPOINT and CMD say, as USER, it becomes healthy, and does what a server does; it needs a token."""
    if "stages" not in shared:
        raise tap.Skip("there is no image")
    image = shared["stages"][""]
    assert image.user and image.user[0] != 0 and image.ports == [8080] and image.volumes == [STATE]
    with own_network() as network:
        server = image.start(network)
        until("the image to be healthy", lambda: image.healthy(network), 0.1)
        with open(f"/proc/{server.pid}/status") as status:
            words = dict(line.split(":", 1) for line in status)
        assert words["Uid"].split() == [str(image.user[0])] * 4 and words["Name"].strip() == "tetrad", words["Uid"]
        for name, mode in (("admin.token", 0o600), ("tokens/prometheus.token", 0o640)):
            made = os.stat(image.root.at(f"{STATE}/{name}"))
            assert made.st_mode & 0o777 == mode and made.st_uid == image.user[0], (name, oct(made.st_mode))
        stranger = lab.Lab(network, None)
        assert stranger.ask("GET", "/v1/experiments")[0] == 401 and stranger.ask("GET", "/healthz")[0] == 200
        admin = lab.Lab(network, image.root.read(f"{STATE}/admin.token").strip())
        SMALL_DIGEST["image"] = lab.work(admin)
        watcher = lab.Lab(network, image.root.read(f"{STATE}/tokens/prometheus.token").strip())
        assert watcher.ask("GET", "/metrics")[0] == 200 and watcher.ask("POST", "/v1/experiments", lab.SMALL)[0] == 403
        admin.close()
        server.terminate()
        assert server.wait(20) == 0
        assert not image.healthy(network)
        again = image.start(network)  # on the volume that is there: no new tokens
        until("the image to be healthy again", lambda: image.healthy(network), 0.1)
        assert len(admin.get("/v1/tokens")["tokens"]) == 3
        admin.close()
        again.terminate()
        assert again.wait(20) == 0


# ---- the package ----

class System(Root):
    """A Debian in which maintainer scripts find a systemd: `systemctl` asks this test, which starts the unit."""
    STUB = "#!/bin/sh\necho \"$*\" >/run/test/ask\nread -r status said </run/test/answer\n[ -z \"$said\" ] || echo \"$said\"\nexit \"$status\"\n"

    def __init__(self, below, network):
        super().__init__(below)
        self.service, self.asked = unit.Service(self, network), []
        for folder in ("/run/systemd/system", "/run/test"):
            os.makedirs(self.at(folder))
        for name in ("ask", "answer"):
            os.mkfifo(self.at("/run/test/" + name))
        with open(self.at("/usr/bin/systemctl"), "w") as stub:
            stub.write(self.STUB)
        os.chmod(self.at("/usr/bin/systemctl"), 0o755)

    def answer(self, words):
        verb = [word for word in words if not word.startswith("-")][0]
        if verb != "daemon-reload":
            assert words[-1] == "tetrad.service", words
        self.asked.append(verb)
        wanted = self.at("/etc/systemd/system/multi-user.target.wants/tetrad.service")
        if verb == "is-enabled":
            return "0 enabled" if os.path.lexists(wanted) else "1 disabled"
        if verb == "preset":  # Debian's is to enable
            os.makedirs(os.path.dirname(wanted), exist_ok=True)
            os.symlink("/lib/systemd/system/tetrad.service", wanted)
            return "0"
        if verb == "is-active":
            return "0" if self.service.active() else "3"
        if verb in ("stop", "restart"):
            self.service.stop()
        if verb in ("start", "restart"):
            self.service.start()
        assert verb in ("daemon-reload", "start", "stop", "restart"), words
        return "0"

    def manage(self, *words):
        """A command of packages, whose scripts are answered meanwhile."""
        ask = os.open(self.at("/run/test/ask"), os.O_RDONLY | os.O_NONBLOCK)
        try:
            with tempfile.TemporaryFile("w+") as said:
                process = self.start(list(words), stdout=said, stderr=said)
                while process.poll() is None:
                    asked = ""
                    with contextlib.suppress(BlockingIOError):
                        asked = os.read(ask, 4096).decode()
                    if asked:
                        answer = self.answer(asked.split())
                        with open(self.at("/run/test/answer"), "w") as file:
                            file.write(answer + "\n")
                    time.sleep(0.01)
                said.seek(0)
                text = said.read()
            assert process.returncode == 0, f"{' '.join(words)}: {process.returncode}\n{text[-6000:]}"
            return text
        finally:
            os.close(ask)

    def close(self):
        self.service.kill()
        super().close()

    def files(self):
        """Paths outside of what dpkg, apt and the kernel keep for themselves."""
        own = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/cache", "/var/lib/apt", "/var/lib/dpkg", "/var/log")
        found = set()
        for at, folders, names in os.walk(self.path):
            here = at[len(self.path):] or "/"
            folders[:] = [f for f in folders if os.path.join(here, f) not in own]
            found |= {os.path.join(here, name) for name in names + folders}
        return found

    def version(self):
        return self.run("dpkg-query", "-W", "-f", "${Status} ${Version}", "tetrad", good=False)


def older(package, version):
    """The same package as if it were an earlier version's."""
    folder = os.path.join(shared["folder"], "older")
    subprocess.run(["dpkg-deb", "-R", package, folder], check=True)
    with open(folder + "/DEBIAN/control") as file:
        lines = [f"Version: {version}\n" if line.startswith("Version:") else line for line in file]
    with open(folder + "/DEBIAN/control", "w") as file:
        file.writelines(lines)
    out = os.path.join(shared["folder"], f"tetrad_{version}.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", folder, out], check=True, capture_output=True)
    return out


def test_package_installs():
    """A user of its own, a folder that nobody else can read, a service that is enabled, runs, and wants a token."""
    if "package" not in shared:
        raise tap.Skip("there is no package")
    shared["long"], shared["small"] = train(LONG), train(lab.SMALL)
    shared["network"] = shared["stack"].enter_context(own_network())
    system = shared["system"] = System(shared["base"], shared["network"])
    shared["stack"].callback(system.close)
    shutil.copy(older(shared["package"], "0.0.9"), system.at("/tmp/old.deb"))
    shutil.copy(shared["package"], system.at("/tmp/new.deb"))
    system.run("apt-get", "update")
    needed = subprocess.run(["dpkg-deb", "-f", shared["package"], "Depends"], capture_output=True, text=True).stdout
    system.run("apt-get", "install", "-y", "--no-install-recommends", *[one.split()[0] for one in needed.split(",")])
    shared["before"] = system.files()
    system.manage("dpkg", "-i", "/tmp/old.deb")
    assert system.version() == "install ok installed 0.0.9"
    assert system.service.active() and system.asked.count("start") == 1, system.asked
    uid = unit.identity(system.path, "tetrad")[0]
    assert system.read("/etc/passwd").count("\ntetrad:") == 1 and "/usr/sbin/nologin" in system.run("getent", "passwd", "tetrad")
    with open(f"/proc/{system.service.process.pid}/status") as status:
        words = dict(line.split(":", 1) for line in status)
    assert words["Uid"].split() == [str(uid)] * 4 and int(words["CapBnd"], 16) == 0 and int(words["NoNewPrivs"]) == 1
    for name, mode in ((STATE, 0o700), (STATE + "/data", 0o700), (STATE + "/tetrad.db", 0o600), (STATE + "/admin.token", 0o600)):
        made = os.stat(system.at(name))
        assert made.st_mode & 0o777 == mode and made.st_uid == uid, (name, oct(made.st_mode), made.st_uid)
    assert lab.Lab(shared["network"], None).ask("GET", "/v1/experiments")[0] == 401


def test_package_works_in_its_sandbox():
    """All that a server does, under the unit's system calls (what it refuses kills), with nothing but the state folder to
    write into; and the sandbox holds, or this would prove nothing."""
    system = shared.get("system") or skip()
    if not unit.has_filter():
        note("without systemd-analyze and libseccomp: system calls are not limited")
    token = system.read(STATE + "/admin.token").strip()
    SMALL_DIGEST["package"] = lab.work(lab.Lab(shared["network"], token))
    assert system.service.active(), system.service.said()
    touched = system.service.command("touch /x; touch /etc/x; touch /tmp/x; touch /var/lib/x; touch /usr/bin/x; touch /run/x; "
                                     "touch /dev/x; touch /var/lib/tetrad/x && rm /var/lib/tetrad/x")
    assert touched.wait() == 0
    assert not [name for name in ("/x", "/etc/x", "/tmp/x", "/var/lib/x", "/usr/bin/x", "/run/x") if os.path.exists(system.at(name))]
    assert system.service.said().count("Read-only file system") == 7, system.service.said()
    if unit.has_filter():
        for forbidden in ("unshare -r true", "mount -t tmpfs x /tmp", "chroot / true", "nice -n -5 true; chrt 1 true"):
            assert system.service.command(forbidden).wait() not in (0, 1), forbidden
    # root's own commands leave files that the service can go on with
    system.run("tetrad", "token", "create", "--user", "ana", "--role", "member", "--config", "/etc/tetrad/tetrad.conf")
    uid = unit.identity(system.path, "tetrad")[0]
    owners = {name: os.stat(system.at(f"{STATE}/{name}")).st_uid for name in os.listdir(system.at(STATE))}
    assert set(owners.values()) == {uid}, owners


def skip():
    raise tap.Skip("the package is not installed")


def test_upgrade_while_it_trains():
    """The new version starts, with the data of the old one; the run that was being trained ends with the digest of one that
    nobody has disturbed."""
    system = shared.get("system") or skip()
    client = lab.Lab(shared["network"], system.read(STATE + "/admin.token").strip())
    with open(system.at("/etc/tetrad/tetrad.conf"), "a") as conf:
        conf.write("half-life = 12h\n")  # an administrator's change, which must stay
    ended = client.get("/v1/experiments?limit=50")["experiments"]
    run = client.submit(LONG)[1]["first_run"]
    until("a checkpoint", lambda: client.run(run)["progress"]["step"] > 100)  # of the first epoch
    before = system.service.process.pid
    client.close()
    system.manage("dpkg", "-i", "/tmp/new.deb")
    newer = subprocess.run(["dpkg-deb", "-f", shared["package"], "Version"], capture_output=True, text=True).stdout.strip()
    assert system.version() == f"install ok installed {newer}"
    assert system.asked.count("restart") == 1 and system.service.active() and system.service.process.pid != before
    after = client.ends(run)
    assert after["attempts"] == 2, after  # it was being trained
    assert after["digest"] == digest(shared["long"]), "another digest than an undisturbed run's"
    kept = {one["id"] for one in client.get("/v1/experiments?limit=50")["experiments"]}
    assert ended and {one["id"] for one in ended} <= kept
    assert "half-life = 12h" in system.read("/etc/tetrad/tetrad.conf")
    client.close()


def test_remove_and_purge():
    """Removal stops the service and keeps the results; installed again it has them; a purge leaves nothing."""
    system = shared.get("system") or skip()
    token = system.read(STATE + "/admin.token").strip()
    system.manage("dpkg", "-r", "tetrad")
    assert not system.service.active() and not os.path.exists(system.at("/usr/bin/tetrad"))
    assert os.path.exists(system.at(STATE + "/tetrad.db")) and os.path.exists(system.at("/etc/tetrad/tetrad.conf"))
    system.manage("dpkg", "-i", "/tmp/new.deb")
    client = lab.Lab(shared["network"], token)
    assert client.get("/v1/experiments")["experiments"]
    client.close()
    system.manage("dpkg", "-P", "tetrad")
    assert not system.service.active() and not system.version().startswith("install ok")
    left = {name for name in system.files() - shared["before"] if name not in ("/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-")}
    assert not left, f"left behind: {sorted(left)}"
    for file in ("/etc/passwd", "/etc/group"):
        assert "tetrad" not in system.read(file), file


def test_digests_agree():
    """What the image and the package have trained is to the bit what the program of this build trains."""
    if len(SMALL_DIGEST) < 2:
        raise tap.Skip("nothing was trained")
    own = digest(shared["small"])
    assert all(one.endswith(own) for one in SMALL_DIGEST.values()), (own, SMALL_DIGEST)


if __name__ == "__main__":
    with contextlib.ExitStack() as shared["stack"]:
        def clean():
            for image in set(shared.get("stages", {}).values()):
                image.root.close()
            shutil.rmtree(shared.get("folder", ""), ignore_errors=True)
        shared["stack"].callback(clean)
        tap.run(globals())
