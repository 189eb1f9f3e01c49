# SPDX-License-Identifier: Apache-2.0
"""What tests need of npm: a folder's package-lock.json, installed below build/ once."""
import hashlib, os, re, shutil, subprocess

import tap

NETWORK = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|network|timed? ?out", re.I)


def modules(folder):
    """(the folder node_modules, None) of tests/FOLDER's lock file; or (None, why it cannot be had)."""
    here, there = os.path.join(tap.ROOT, "tests", folder), os.path.join(tap.ROOT, "build", "npm", folder)
    with open(os.path.join(here, "package-lock.json"), "rb") as lock:
        stamp = hashlib.sha256(lock.read()).hexdigest()
    found, mark = os.path.join(there, "node_modules"), os.path.join(there, "installed")
    if os.path.exists(mark) and open(mark).read() == stamp:
        return found, None
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None, "there is no npm"
    os.makedirs(there, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(here, name), there)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(command, cwd=there, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        return None, "npm's registry does not answer"
    if done.returncode != 0 and NETWORK.search(done.stderr):
        return None, "npm's registry cannot be reached"
    if done.returncode != 0:
        raise RuntimeError(f"npm ci: {done.stderr}")
    with open(mark, "w") as file:
        file.write(stamp)
    return found, None
