#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libtetrad as its users meet it: installed, found by pkg-config, compiled into the example and run; what it exports
and needs; and uninstalled. Installs what has been built, into a folder of its own."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

BUILD = os.path.dirname(tap.TETRAD)
CC = os.environ.get("CC", "cc")
STRICT = "-std=c17 -pedantic -Wall -Wextra -Werror".split()
folder = tempfile.TemporaryDirectory()
PLACE = folder.name
USR = os.path.join(PLACE, "usr")
PROGRAM = os.path.join(PLACE, "train_strokes")
PAGES = {"man": "man/man1/tetrad.1", "bash": "bash-completion/completions/tetrad", "zsh": "zsh/site-functions/_tetrad",
         "fish": "fish/vendor_completions.d/tetrad.fish"}


def command(*words, **more):
    """Output of a command run in the root of the repository; an error with what it said if it fails."""
    done = subprocess.run(words, cwd=tap.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    assert done.returncode == 0, f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}"
    return done.stdout


def make(target):
    built = [os.path.join(BUILD, name) for name in ("tetrad", "libtetrad.a")]
    as_built = [f"--old-file={file}" for file in built]
    # Nobody else could read what a careful administrator's umask makes.
    command("make", target, f"BUILD={BUILD}", f"DESTDIR={PLACE}", "PREFIX=/usr", *as_built, umask=0o077)


def pkg_config(*words):
    """What pkg-config says of the installed tetrad; the prefix is told apart from where it lies for now."""
    here = os.path.join(USR, "lib", "pkgconfig")
    return command("pkg-config", *words, "tetrad", env={**os.environ, "PKG_CONFIG_PATH": here}).split()


def flags():
    return pkg_config(f"--define-variable=prefix={USR}", "--cflags", "--libs")


def files():
    return sorted(os.path.relpath(os.path.join(at, name), USR) for at, _, names in os.walk(USR) for name in names)


def test_install():
    make("install")
    headers = sorted(os.listdir(os.path.join(tap.ROOT, "include", "tetrad")))
    wanted = [f"include/tetrad/{name}" for name in headers]
    wanted += ["bin/tetrad", "lib/libtetrad.a", "lib/pkgconfig/tetrad.pc", "share/tetrad/examples/train_strokes.c"]
    wanted += [f"share/tetrad/examples/{name}" for folder in ("schema", "deploy")
               for name in os.listdir(os.path.join(tap.ROOT, folder, "examples")) if "." in name]
    wanted += [f"share/tetrad/{name}" for name in ("openapi.json", "experiment.schema.json")]
    wanted += [f"share/{name}" for name in PAGES.values()]
    missing = set(wanted) - set(files())
    assert len(headers) >= 4 and "share/tetrad/examples/curl.sh" in wanted and not missing, f"not installed: {missing}"
    closed = [name for name in files() if os.stat(os.path.join(USR, name)).st_mode & 0o444 != 0o444]
    assert not closed, f"not readable by everybody: {closed}"


def test_pages():
    """The manual and the completions are the installed program's own, and shells and man can read them."""
    for form, name in PAGES.items():
        with open(os.path.join(USR, "share", name)) as page:
            assert page.read() == command(os.path.join(USR, "bin", "tetrad"), "completion", form), name
    complete = f'. "{USR}/share/{PAGES["bash"]}"; COMP_WORDS=(tetrad subm); COMP_CWORD=1; _tetrad; echo "${{COMPREPLY[*]}}"'
    assert command("bash", "-c", complete) == "submit\n"


def test_pkg_config():
    version = command(tap.TETRAD, "--version").split()
    assert pkg_config("--modversion")[0] in version, version
    assert pkg_config("--variable=prefix") == ["/usr"]
    libraries = {word for word in flags() if word.startswith("-l") or word == "-pthread"}
    assert libraries == {"-ltetrad", "-lm", "-pthread"}, libraries


def test_headers_stand_alone():
    for name in os.listdir(os.path.join(USR, "include", "tetrad")):
        source = f"#include <tetrad/{name}>\n#include <tetrad/{name}>\nint nothing;\n"
        command(CC, *STRICT, f"-I{USR}/include", "-fsyntax-only", "-xc", "-", input=source)


def test_example():
    """The installed example compiles without a warning and learns; its modulation turns towards the gradient."""
    source = os.path.join(USR, "share", "tetrad", "examples", "train_strokes.c")
    command(CC, "-O2", *STRICT, source, *flags(), "-o", PROGRAM)
    lines = re.findall(r"^ *(\d+) +([\d.]+) % +(-?[\d.]+)$", command(PROGRAM), re.MULTILINE)
    accuracies, cosines = [float(a) for _, a, _ in lines], [float(c) for _, _, c in lines]
    assert [int(epoch) for epoch, _, _ in lines] == list(range(1, 7)), lines
    assert accuracies[-1] > 90.0 and accuracies[-1] > accuracies[0], lines
    assert cosines == sorted(cosines) and cosines[-1] > cosines[0] + 0.2, lines


def test_exports():
    """Every global name begins with tet_."""
    library = os.path.join(USR, "lib", "libtetrad.a")
    output = command("nm", "--extern-only", "--defined-only", "--format=posix", library)
    names = {line.split()[0] for line in output.splitlines() if len(line.split()) > 2}
    others = {name for name in names if not name.startswith("tet_")}
    assert "tet_trainer_create" in names and not others, f"libtetrad.a exports {others}"


def test_needs():
    """The whole library links with the C library, its mathematics and its threads alone."""
    words = " ".join(flags()).replace("-ltetrad", "-Wl,--whole-archive -ltetrad -Wl,--no-whole-archive").split()
    source = os.path.join(USR, "share", "tetrad", "examples", "train_strokes.c")
    command(CC, source, *words, "-o", PROGRAM + "-whole")
    needed = re.findall(r"\(NEEDED\).*\[(\S+)\]", command("readelf", "--dynamic", "--wide", PROGRAM + "-whole"))
    others = [name for name in needed if not re.match(r"(libc|libm|libpthread|ld-linux[\w-]*)\.so", name)]
    assert needed and not others, f"libtetrad.a needs {others}"


def test_uninstall():
    make("uninstall")
    assert not files(), f"left behind: {files()}"


tap.run(globals())
