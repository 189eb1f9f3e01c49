#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard in Debian's Chromium, driven by playwright-core from npm: the form's modules, the pages of a lab's daily
work against the replies of a busy server, what a new user does with a real one, and what roles may and may not. The
scripts beside this one print TAP themselves; it prepares, starts the daemon, and hands their lines on.

    TETRAD_SHOTS=FOLDER test_browser.py     takes pictures of all pages too, at three sizes in both themes
    TETRAD_DATA=/path/to/data test_browser.py pictures deploy     takes the README's pictures and tests nothing"""
import hashlib, json, os, re, shutil, signal, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import tap

LARGEST = 150 * 1024  # bytes of a picture of the README
BUILD = os.path.join(tap.ROOT, "build", "browser")
NETWORK = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|CERT|network|timed? ?out", re.I)
count, failed = 0, False


def line(good, name, note=""):
    global count, failed
    count += 1
    failed = failed or not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}{note}", flush=True)


def skip(name, why):
    print(f"# skip: {name}: {why}")
    line(True, name, " # SKIP")


def script(name, *arguments, limit=400, **environment):
    """Runs a script; its tests count as this program's."""
    seen = 0
    node = subprocess.Popen([shutil.which("node"), os.path.join(HERE, name), *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}, start_new_session=True)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(node.pid, signal.SIGKILL))
    signal.alarm(limit)
    for text in node.stdout:
        found = re.match(r"(not ok|ok) \d+ - (.*)", text)
        if found:
            seen += 1
            line(found[1] == "ok", found[2])
        elif not re.match(r"1\.\.\d+$", text):
            print(text if text.startswith("#") else f"# {text}", end="", flush=True)
    status = node.wait()
    signal.alarm(0)
    if (status != 0 and not failed) or seen == 0:
        line(False, f"{name} ended with {status} after {seen} tests")


def driver():
    """playwright-core, installed from the lock file unless it is there; or None and why not."""
    with open(os.path.join(HERE, "package-lock.json"), "rb") as lock:
        stamp = hashlib.sha256(lock.read()).hexdigest()
    module = os.path.join(BUILD, "node_modules", "playwright-core", "index.mjs")
    mark = os.path.join(BUILD, "installed")
    if os.path.exists(module) and os.path.exists(mark) and open(mark).read() == stamp:
        return module, None
    npm = shutil.which("npm")
    if npm is None:
        return None, "there is no npm"
    os.makedirs(BUILD, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), BUILD)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        return None, "npm's registry does not answer"
    if done.returncode != 0 and NETWORK.search(done.stderr):
        return None, "npm's registry cannot be reached"
    if done.returncode != 0:
        raise SystemExit(f"Bail out! npm ci: {done.stderr}")
    with open(mark, "w") as file:
        file.write(stamp)
    return module, None


class Daemon:
    def __init__(self, folder, data=None):
        data = data or os.path.join(folder, "data")
        os.makedirs(data, exist_ok=True)
        self.process = subprocess.Popen([tap.TETRAD, "serve", "--db", os.path.join(folder, "t.db"), "--data", data,
                                         "--listen", "127.0.0.1:0", "--workers", "1"], stdout=subprocess.PIPE, text=True)
        found = re.search(r"http://[\d.]+:\d+", self.process.stdout.readline())
        if not found:
            raise SystemExit("Bail out! the daemon does not start")
        self.base = found[0]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None


def weights(path):
    """The arrays of the network that the user trained: 784 inputs, 128 neurons, 10 classes."""
    import numpy
    if not os.path.exists(path):
        return line(False, "downloaded_weights_are_arrays")
    with numpy.load(path) as arrays:
        good = arrays["W1"].shape == (128, 784) and arrays["W2"].shape == (10, 128) and all(numpy.isfinite(arrays[a]).all() for a in arrays.files)
    line(good and numpy.load(path)["W1"].std() > 0, "downloaded_weights_are_arrays")


def fewer_colours(folder):
    """Gives the pictures 256 colours, or as many fewer as make them small, where python3-pil is there."""
    try:
        from PIL import Image
    except ImportError:
        return print("# python3-pil is not there: the pictures stay as they are")
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith("dashboard-") and name.endswith(".png"):
            with Image.open(path) as image:
                picture = image.convert("RGB")
            for colours in (256, 128, 64, 32):
                picture.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
                if os.path.getsize(path) <= LARGEST:
                    break
            print(f"# {name}: {os.path.getsize(path) / 1024:.0f} KiB")


def tokens(folder):
    """{user: token} of a new database in the folder, as JSON."""
    made = {}
    for user, role in (("chief", "admin"), ("ana", "member"), ("ben", "member"), ("vera", "viewer")):
        command = [tap.TETRAD, "token", "create", "--db", os.path.join(folder, "t.db"), "--user", user, "--role", role, "--json"]
        made[user] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)["token"]
    return json.dumps(made)


def roles(folder, tools):
    os.makedirs(folder)
    given = tokens(folder)
    daemon = Daemon(folder)
    try:
        script("roles.mjs", daemon.base, TOKENS=given, **tools)
    finally:
        daemon.stop()


def stories(daemon, folder, tools):
    if sys.argv[1:2] == ["pictures"]:
        script("shots.mjs", daemon.base, os.path.abspath(sys.argv[2]), "readme", limit=1500, **tools)
        return fewer_colours(os.path.abspath(sys.argv[2]))
    script("pages.mjs", daemon.base, **tools)
    script("user.mjs", daemon.base, folder, **tools)
    weights(os.path.join(folder, "weights.npz"))
    roles(os.path.join(folder, "roles"), tools)
    if os.environ.get("TETRAD_SHOTS"):
        script("shots.mjs", daemon.base, os.path.abspath(os.environ["TETRAD_SHOTS"]), **tools)


def main():
    if shutil.which("node") is None:
        return skip("browser", "there is no node")
    if len(sys.argv) == 1:
        script("modules.mjs")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    module, why = driver()
    if chromium is None or module is None:
        return skip("browser", why or "there is no Chromium")
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(folder, os.environ.get("TETRAD_DATA") if sys.argv[1:2] == ["pictures"] else None)
        try:
            stories(daemon, folder, {"PLAYWRIGHT": module, "CHROMIUM": chromium})
        finally:
            stopped = daemon.stop()
        line(stopped == 0, "the_daemon_stops_by_itself")


main()
print(f"1..{count}")
sys.exit(failed)
