# SPDX-License-Identifier: Apache-2.0
"""A Dockerfile, done without a container engine: its steps in layers over a Debian in a folder.

Knows what ours uses; an instruction that it does not know is an error, so that nothing is passed over."""
import fnmatch, glob, json, os, re, shlex, shutil, subprocess

from roots import Root, tap


def instructions(path):
    """(name, rest) of each, continued lines joined, without comments."""
    with open(path) as file:
        lines = [line for line in file.read().split("\n") if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").split("\n"):
        if line.strip():
            name, rest = line.split(None, 1)
            yield name.upper(), rest.strip()


def ignored(path):
    """Whether .dockerignore leaves a path of the context out: its last pattern that fits decides."""
    with open(os.path.join(tap.ROOT, ".dockerignore")) as file:
        patterns = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    out = False
    for pattern in patterns:
        bare = pattern.lstrip("!").removeprefix("**/")
        parts = path.split("/")
        ways = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        if "**/" in pattern:
            ways = parts
        if any(fnmatch.fnmatchcase(way, bare) and way.count("/") == bare.count("/") for way in ways):
            out = not pattern.startswith("!")
    return out


def context():
    """The files of the build's context: what git knows here, less what is ignored."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=tap.ROOT,
                            capture_output=True, check=True).stdout.decode().split("\0")
    return [name for name in listed if name and os.path.isfile(os.path.join(tap.ROOT, name)) and not ignored(name)]


class Image:
    """One stage: its system and what it says of how to start it."""

    def __init__(self, base):
        self.root, self.folder, self.user, self.environment = Root(base), "/", None, {}
        self.entrypoint, self.command, self.health, self.volumes, self.ports = [], [], None, [], []

    def start(self, network, extra=(), **options):
        return self.root.start(self.entrypoint + self.command, user=self.user, folder=self.folder, network=network,
                               environment={**self.environment, **dict(extra)}, **options)

    def healthy(self, network):
        return self.root.status(*self.health, user=self.user, folder=self.folder, network=network,
                                environment=self.environment) == 0


def copy(image, stages, rest):
    """COPY [--from=STAGE] SOURCE... TARGET"""
    words = shlex.split(rest)
    source = None
    while words[0].startswith("--"):
        flag, value = words.pop(0).split("=", 1)
        assert flag == "--from", flag
        source = stages[value].root.path
    *names, target = words
    into = os.path.normpath(os.path.join(image.folder, target))
    files = context() if source is None else []
    for name in names:
        if source is not None:
            found = glob.glob(source + name)
            pairs = [(one, os.path.basename(one)) for one in found]
        elif name == ".":
            pairs = [(os.path.join(tap.ROOT, one), one) for one in files]
        else:
            pairs = [(os.path.join(tap.ROOT, one), "") for one in files if one == name]
        assert pairs, f"COPY {rest}: there is no {name}"
        for one, relative in pairs:
            to = image.root.at(os.path.join(into, relative).rstrip("/"))
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(one, to)


def exec_form(rest):
    return json.loads(rest) if rest.startswith("[") else ["/bin/sh", "-c", rest]


def step(image, stages, name, rest):
    if name == "RUN":
        image.root.run("/bin/sh", "-c", rest, user=image.user, folder=image.folder, environment=image.environment)
    elif name == "COPY":
        copy(image, stages, rest)
    elif name == "ENV":
        image.environment.update(one.split("=", 1) for one in shlex.split(rest))
    elif name == "WORKDIR":
        image.folder = os.path.join(image.folder, rest)
        os.makedirs(image.root.at(image.folder), exist_ok=True)
    elif name == "USER":
        image.user = tuple(int(n) for n in rest.split(":"))  # by number, or a supervisor cannot tell that it is not root
    elif name == "ENTRYPOINT":
        image.entrypoint = json.loads(rest)
    elif name == "CMD":
        image.command = json.loads(rest)
    elif name == "VOLUME":
        image.volumes.append(rest)
    elif name == "EXPOSE":
        image.ports.append(int(rest))
    elif name == "HEALTHCHECK":
        flags, command = re.fullmatch(r"((?:--\S+\s+)*)CMD\s+(.*)", rest).groups()
        assert all(re.fullmatch(r"--(interval|timeout|start-period|retries)=\d+s?", f) for f in flags.split()), flags
        image.health = exec_form(command)
    else:
        raise AssertionError(f"the test does not know {name} {rest}")


def build(path, base, fine=lambda what: None):
    """All stages in their order: {name: Image}, and the last as ""; fine(step) is told of each that is done."""
    stages = {}
    for name, rest in instructions(path):
        if name == "FROM":
            what, _, called = rest.partition(" AS ")
            assert re.fullmatch(r"debian:12(-slim)?", what), f"FROM {what}: only Debian 12 is made here"
            image = stages[called] = stages[""] = Image(base)
        else:
            step(image, stages, name, rest)
        fine(f"{name} {rest[:60]}")
    return stages
